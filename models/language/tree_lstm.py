"""Tree-LSTMs: a sentence is read from its words up to the root of its tree (Tai et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph, as_graph
from mpnn.functional import linear
from mpnn.graph.adjacency import Topology
from mpnn.layer.schedule import States, Topological
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.recurrent import LSTM
from mpnn.models.language.ids import check_ids, is_program
from mpnn.models.parts.checks import at_least, check_probability, ranges

Cell = Literal["nary", "childsum"]


@ranges(input_size=at_least(1), hidden_size=at_least(1), num_children=at_least(1))
class NaryTreeLSTM(Topological):
    """An LSTM in which each of N children has matrices of its own (eq. 9 to 14).

        i, o, g of node j = σ, σ, tanh of W x_j + Σ_l U_l h_jl + b
        f_jk = σ(W_f x_j + Σ_l U_kl h_jl + b_f)           for every child k
        c_j = i g + Σ_k f_jk c_jk,   h_j = o tanh(c_j)

    The place of a child, left or right in a binary tree, is the type of its edge: a child's state arrives in
    the slot of its type, and the node multiplies all slots at once. For the child-sum Tree-LSTM (eq. 2 to 8)
    use `LSTM` on a tree.

    Args:
        input_size: the width of x.
        hidden_size: the width of h and c.
        num_children: N.
        bias: whether there is b.

    Shapes: x `[num_nodes, input_size]` -> h and c, `[num_nodes, hidden_size]` each; `weight_ih` `[4 *
    hidden_size, input_size]` for the gates i, f, g, o; `weight_hh` `[(3 + N) * hidden_size, N * hidden_size]`
    for i, f_1, ..., f_N, g, o.

    Raises:
        ValueError: a node with more children than N, a type beyond N, a graph with a cycle.

    >>> cell = NaryTreeLSTM(4, 8)
    >>> h, c = cell(torch.randn(5, 4), mpnn.topology.tree([-1, 0, 0, 1, 1]))
    >>> h.shape
    torch.Size([5, 8])
    """

    state: ClassVar[tuple[str, ...]] = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, num_children: int = 2, bias: bool = True) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_children = input_size, hidden_size, num_children
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(
            torch.empty((3 + num_children) * hidden_size, num_children * hidden_size)
        )
        self.bias = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, as torch.nn.LSTM does: uniform in ±1/√hidden_size."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    # What it says -------------------------------------------------------------------------------------

    def prepare(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """W x of all nodes at once."""
        return {**fields, "x": linear(fields["x"], self.weight_ih, self.bias)}

    def message(self, h_j: Tensor, c_j: Tensor, slot: Tensor) -> Tensor:  # type: ignore[override]
        """h_j and c_j in the slots of the child's place, zeros in the others."""
        return torch.cat([slot[:, k : k + 1] * s for s in (h_j, c_j) for k in range(self.num_children)], -1)

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        """The children of a leaf, all zero."""
        return self.weight_hh.new_zeros(num_nodes, 2 * self.num_children * self.hidden_size)

    def update(self, children: Tensor, x: Tensor) -> States:  # type: ignore[override]
        h_children, c_children = children.chunk(2, -1)  # [num_nodes, N * hidden_size]
        x_i, x_f, x_g, x_o = x.chunk(4, -1)
        u_i, *u_f, u_g, u_o = F.linear(h_children, self.weight_hh).chunk(3 + self.num_children, -1)
        c = (x_i + u_i).sigmoid() * (x_g + u_g).tanh()
        for u, c_k in zip(u_f, c_children.chunk(self.num_children, -1), strict=True):
            c = c + (x_f + u).sigmoid() * c_k
        return (x_o + u_o).sigmoid() * c.tanh(), c

    # What it takes ------------------------------------------------------------------------------------

    def forward(self, x: Tensor, graph: Topology) -> States:
        """Read trees, or other directed acyclic graphs.

        Args:
            x: `[num_nodes, input_size]`.
            graph: edges from children to parents; `edge_type` is a child's place, and without one the
                children of a node stand in the order of their numbers.
        """
        graph = as_graph(graph, x.size(0))
        if x.dim() != 2 or x.size(0) != graph.num_nodes or x.size(1) != self.input_size:
            raise ValueError(
                f"x is {list(x.shape)}, but should be [{graph.num_nodes}, {self.input_size}] on this graph."
            )
        place = _order_of_children(graph) if graph.edge_type is None else graph.edge_type
        if not is_program() and place.numel() and int(place.max()) >= self.num_children:
            edge = int(place.argmax())
            raise ValueError(
                f"node {int(graph.dst[edge])} has a child number {int(place[edge])}, but num_children is "
                f"{self.num_children}: children are numbered from 0."
            )
        slot = F.one_hot(place, self.num_children).to(x.dtype)
        found: States = self.propagate(graph, x=x, slot=slot)
        return found

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.input_size}, {self.hidden_size}, num_children={self.num_children}"


def _order_of_children(graph: Graph) -> Tensor:
    """Of each edge, how many edges into the same node come from nodes with smaller numbers."""

    def order() -> Tensor:
        by_child = torch.argsort(graph.src, stable=True)
        by_parent = by_child[torch.argsort(graph.dst[by_child], stable=True)]
        starts = graph.in_degree.cumsum(0) - graph.in_degree
        place = torch.empty_like(by_parent)
        numbers = torch.arange(graph.num_edges, device=place.device)
        place[by_parent] = numbers - starts[graph.dst[by_parent]]
        return place

    return graph.memo("order of children", order)


@ranges(
    num_words=at_least(1),
    input_size=at_least(1),
    hidden_size=at_least(1),
    num_classes=at_least(1),
    num_children=at_least(1),
    dropout=check_probability,
)
class TreeLSTM(nn.Module):
    """The class of every node of parse trees, such as the sentiment of each phrase of a sentence.

    Args:
        num_words: how many words there are.
        input_size: the width of a word's vector.
        hidden_size: of the cell.
        num_classes: of nodes.
        dropout: how much of h is dropped before the last map.
        cell: "nary", a matrix for each place of a child; or "childsum", the sum of all children.
        num_children: of a node at most, for "nary".

    Shapes: words int64 `[num_nodes]`, -1 at nodes without a word; graph from children to parents ->
    `[num_nodes, num_classes]`.

    Raises:
        ValueError: a word that is none; a cell that is neither.

    >>> model = TreeLSTM(num_words=10, input_size=4, hidden_size=8, num_classes=5)
    >>> model(torch.tensor([-1, 7, 3]), mpnn.topology.tree([-1, 0, 0])).shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        num_words: int,
        input_size: int = 300,
        hidden_size: int = 150,
        num_classes: int = 5,
        dropout: float = 0.5,
        cell: Cell = "nary",
        num_children: int = 2,
    ) -> None:
        super().__init__()
        if cell not in ("nary", "childsum"):
            raise ValueError(f"cell is {cell!r}, but must be 'nary' or 'childsum'.")
        self.embed = nn.Embedding(num_words, input_size)
        nn.init.uniform_(self.embed.weight, -0.05, 0.05)
        self.cell = (
            NaryTreeLSTM(input_size, hidden_size, num_children)
            if cell == "nary"
            else LSTM(input_size, hidden_size)
        )
        self.dropout, self.lin = nn.Dropout(dropout), Linear(hidden_size, num_classes)

    def forward(self, words: Tensor, graph: Topology) -> Tensor:
        check_ids("words", words, self.embed.num_embeddings, least=-1)
        has_word = (words >= 0)[:, None]
        x = self.embed(words.clamp(min=0)) * has_word
        h = self.cell(x, graph)[0] if isinstance(self.cell, NaryTreeLSTM) else self.cell(x, graph=graph)[0]
        out: Tensor = self.lin(self.dropout(h))
        return out
