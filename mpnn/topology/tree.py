"""Every node has one parent: the topology of parse trees and of computations over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn.graph.checks import INTEGER_TYPES
from mpnn.topology.cycle import show_cycle
from mpnn.topology.implicit import Implicit

Parents = Tensor | Sequence[int]


class Tree(Implicit):
    """Every node sends to its parent; reversed, it receives from its parent.

    Edge e belongs to the e-th node that has a parent.
    """

    parent: Tensor  # [num_nodes], -1 at a root; not to be written into
    lengths: tuple[int, ...]  # nodes of each tree

    _by_destination = False

    def __init__(self, parent: Tensor, lengths: tuple[int, ...]) -> None:
        num_nodes = parent.numel()
        num_edges = int((parent >= 0).sum())
        super().__init__(
            (num_nodes, num_nodes),
            num_edges,
            device=parent.device,
            sizes=[(n, n) for n in lengths],
            parent=parent,
            lengths=lengths,
        )

    def _forward_edges(self) -> Tensor:
        child = (self.parent >= 0).nonzero().squeeze(1)
        return torch.stack([child, self.parent[child]])

    def _forward_in_degree(self) -> Tensor:
        # One bin more, at the front, collects the roots.
        return torch.bincount(self.parent + 1, minlength=self.num_nodes + 1)[1:]

    def _forward_out_degree(self) -> Tensor:
        return (self.parent >= 0).long()

    def node_level(self) -> Tensor:
        """`[num_nodes]`: the height of each node above its leaves; reversed, its depth below the root."""
        return self.memo("node_level", lambda: _depth_and_height(self.parent)[0 if self.is_reversed else 1])


def tree(parents: Parents | Sequence[Parents], *, device: torch.device | str | None = None) -> Tree:
    """Edges from every child to its parent: a tree as a Tree-LSTM reads it, from the leaves to the root.

    Args:
        parents: the parent of each node, -1 for a root, of which there may be several; or, for a batch, one
            such list per tree, each counting its own nodes from 0.
        device: where the tree lives; by default where `parents` is.

    Raises:
        TypeError: a parent that is not an integer.
        IndexError: a parent that is not among the nodes; the message names the first.
        ValueError: parents that go round in a cycle, which the message shows.

    >>> tree([-1, 0, 0, 1]).edge_index
    tensor([[1, 2, 3],
            [0, 0, 1]])
    >>> tree([[-1, 0], [1, -1]])
    Tree(num_nodes=4, num_edges=2, num_graphs=2)
    """
    given: Any = parents
    if not isinstance(given, Tensor) and (isinstance(given, str) or not hasattr(given, "__len__")):
        raise TypeError(f"parents is {parents!r}, but must be a list of integers, or several.")
    is_batch = not isinstance(parents, Tensor) and any(isinstance(p, Tensor | Sequence) for p in parents)
    names = [f"parents[{k}]" for k in range(len(parents))] if is_batch else ["parents"]
    each = [torch.as_tensor(p, device=device) for p in (parents if is_batch else [parents])]
    each = [_as_integers(p, name) for p, name in zip(each, names, strict=True)]
    # All trees are checked at once: a batch of many small ones is made anew for every step of a training.
    return Tree(_numbered(torch.cat(each), each, names), tuple(p.numel() for p in each))


def _as_integers(parent: Tensor, name: str) -> Tensor:
    if parent.dim() != 1:
        raise ValueError(f"{name} must be one list of integers, got shape {list(parent.shape)}.")
    if parent.numel() and parent.dtype not in INTEGER_TYPES:
        raise TypeError(f"{name} must hold integers, got {parent.dtype}.")
    return parent.to(torch.int64)


def _numbered(parent: Tensor, each: list[Tensor], names: list[str]) -> Tensor:
    """The parents of all trees, each of which counts its own nodes, in the numbers of the whole."""
    lengths = torch.tensor([p.numel() for p in each], device=parent.device)
    tree = torch.repeat_interleave(lengths)
    starts = lengths.cumsum(0) - lengths
    outside = (parent < -1) | (parent >= lengths[tree])
    if outside.any():
        bad = int(outside.nonzero()[0])
        k = int(tree[bad])
        raise IndexError(
            f"{names[k]}[{bad - int(starts[k])}] is {int(parent[bad])}, but must be -1 (a root) or a node "
            f"(0..{int(lengths[k]) - 1})."
        )
    whole = torch.where(parent >= 0, parent + starts[tree], parent)
    node = torch.arange(len(whole), device=whole.device)
    # Parents numbered before their children, or all behind them, cannot go round.
    if not ((whole < node).all() or ((whole > node) | (whole < 0)).all()):
        ancestor = _ancestor(whole, int(lengths.max()))
        if (ancestor >= 0).any():
            round_about = int(ancestor[ancestor >= 0][0])
            k = int(tree[round_about])
            cycle = show_cycle(each[k].tolist(), round_about - int(starts[k]))
            raise ValueError(
                f"{names[k]} goes round in a cycle, {cycle}: a tree has none, its root has parent -1."
            )
    return whole


def _ancestor(parent: Tensor, generations: int) -> Tensor:
    """The ancestor of each node, at least `generations` up, or -1."""
    ancestor = torch.cat([parent, parent.new_tensor([-1])])  # entry -1 is the parent of no parent
    for _ in range(generations.bit_length()):
        ancestor = ancestor[ancestor]
    return ancestor[:-1]


def _depth_and_height(parent: Tensor) -> tuple[Tensor, Tensor]:
    """Generations above and below every node, by pointer doubling, in logarithmically many rounds."""
    ancestor = torch.cat([parent, parent.new_tensor([-1])])
    depth = (ancestor >= 0).long()
    height = torch.zeros_like(depth)
    generations = 1  # that `ancestor` looks up; depth and height are right up to here
    while bool((ancestor >= 0).any()):
        height = height.scatter_reduce(0, ancestor % len(ancestor), height + generations, "amax")
        height[-1] = 0  # what came together here belongs to no node
        depth = depth + depth[ancestor]
        ancestor = ancestor[ancestor]
        generations *= 2
    return depth[:-1], height[:-1]
