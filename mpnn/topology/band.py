"""Attention that looks back, or not too far: causal and sliding windows."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.topology.arguments import Lengths, as_count, as_each, as_lengths
from mpnn.topology.ragged import Sequences

Device = torch.device | str | None


class Causal(Sequences):
    """Node i receives from every j <= i of its sequence."""

    def __init__(self, lengths: tuple[int, ...], device: Device) -> None:
        super().__init__(lengths, [n * (n + 1) // 2 for n in lengths], device=device)

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(i), i + 1

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        return num_dst - j


class Band(Sequences):
    """Node i receives from i - left·dilation, ..., i - dilation, i, i + dilation, ..., i + right·dilation."""

    left: int
    right: int
    dilation: int

    def __init__(
        self, lengths: tuple[int, ...], left: int, right: int, dilation: int, device: Device
    ) -> None:
        edges = [n + _num_pairs(n, left, dilation) + _num_pairs(n, right, dilation) for n in lengths]
        super().__init__(lengths, edges, device=device, left=left, right=right, dilation=dilation)

    @property
    def causal(self) -> bool:
        """Whether no node receives from a later one."""
        return (self.left if self.is_reversed else self.right) == 0

    @property
    def _step(self) -> int:
        return self.dilation

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        before = (i // self.dilation).clamp(max=self.left)
        behind = ((num_src - 1 - i) // self.dilation).clamp(max=self.right)
        return i - self.dilation * before, before + 1 + behind

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        before = (j // self.dilation).clamp(max=self.right)
        behind = ((num_dst - 1 - j) // self.dilation).clamp(max=self.left)
        return before + 1 + behind


def _num_pairs(length: int, reach: int, dilation: int) -> int:
    """How many pairs of positions have distance dilation, 2·dilation, ..., reach·dilation."""
    reach = min(reach, max(length - 1, 0) // dilation)
    return reach * length - dilation * reach * (reach + 1) // 2


def causal(lengths: Lengths, *, device: Device = None) -> Causal:
    """Node i receives from every j <= i, itself too: the attention of a language model.

    Args:
        lengths: the number of nodes, or that of each sequence of a batch.
        device: where edges are enumerated when they are asked for.

    >>> causal(3).edge_index
    tensor([[0, 0, 1, 0, 1, 2],
            [0, 1, 1, 2, 2, 2]])
    """
    return Causal(as_lengths("lengths", lengths), device)


def band(
    lengths: Lengths,
    window: int | tuple[int, int],
    *,
    causal: bool = False,
    dilation: int = 1,
    device: Device = None,
) -> Band:
    """Node i receives from itself and at most `window` nodes to each side: sliding windows.

    (Beltagy, Peters and Cohan, 2020, figure 2, whose window counts both sides together.)

    Args:
        lengths: the number of nodes, or that of each sequence of a batch.
        window: how many nodes to each side, or `(left, right)`.
        causal: only to the left, which holds the earlier nodes.
        dilation: the distance between the nodes that a node receives from.
        device: where edges are enumerated when they are asked for.

    >>> band(4, 1, causal=True).edge_index
    tensor([[0, 0, 1, 1, 2, 2, 3],
            [0, 1, 1, 2, 2, 3, 3]])
    >>> band(1_000_000, 256, dilation=2).num_edges
    512868416
    """
    left, right = as_each("window", window, 2)
    if causal and isinstance(window, tuple) and right:
        raise ValueError(f"window is {window}, but causal=True allows no node on the right: pass {left}.")
    dilation = as_count("dilation", dilation, at_least=1)
    return Band(as_lengths("lengths", lengths), left, 0 if causal else right, dilation, device)
