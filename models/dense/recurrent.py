"""Recurrence: messages in topological order, on a chain, a tree, or any directed acyclic graph.

Each class takes torch.nn's arguments, tensors and state_dict, and, given a `graph`, features of its nodes: on
a tree, `LSTM` is the child-sum Tree-LSTM (Tai et al., 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from mpnn import Graph, as_graph
from mpnn.graph.adjacency import Topology
from mpnn.layer.schedule import States, Topological
from mpnn.layer.shortcut import straight, wants_dense
from mpnn.lowering.batch import Batch
from mpnn.models.parts.checks import at_least, check_probability, ranges
from mpnn.topology import chain

_chain = lru_cache(maxsize=64)(chain)


class Step(Topological):
    """One layer of a recurrent network, in one direction."""

    state: ClassVar[tuple[str, ...]] = ("h",)
    w_ih: Tensor
    b_ih: Tensor | None
    w_hh: Tensor
    b_hh: Tensor | None

    def __init__(self, layer: nn.RNNBase, suffix: str) -> None:
        super().__init__()
        for name in ("ih", "hh", "hr"):
            setattr(self, f"w_{name}", getattr(layer, f"weight_{name}_{suffix}", None))
            setattr(self, f"b_{name}", getattr(layer, f"bias_{name}_{suffix}", None))
        self.mode, self.hidden_size = layer.mode, layer.hidden_size

    def prepare(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**fields, "x": F.linear(fields["x"], self.w_ih, self.b_ih)}

    def message(self, h_j: Tensor) -> Tensor:
        return h_j

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        return self.w_hh.new_zeros(num_nodes, self.w_hh.size(1))


class RNNStep(Step):
    """h_i = tanh(W x_i + U Σ_j h_j + b), or ReLU."""

    def update(self, inputs: Tensor, x: Tensor, h0: Tensor | None = None) -> States:  # type: ignore[override]
        h = inputs if h0 is None else inputs + h0
        total = x + F.linear(h, self.w_hh, self.b_hh)
        return (total.tanh() if self.mode == "RNN_TANH" else total.relu(),)


class GRUStep(Step):
    """Reset and update gates (Cho et al., 2014) on h = Σ_j h_j."""

    def update(self, inputs: Tensor, x: Tensor, h0: Tensor | None = None) -> States:  # type: ignore[override]
        h = inputs if h0 is None else inputs + h0
        x_r, x_z, x_n = x.chunk(3, -1)
        h_r, h_z, h_n = F.linear(h, self.w_hh, self.b_hh).chunk(3, -1)
        z = (x_z + h_z).sigmoid()
        new = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
        return (new + z * (h - new),)


class LSTMStep(Step):
    """Gates on Σ_j h_j, and a forget gate for each j (Tai et al., 2015, eq. 2 to 8)."""

    state: ClassVar[tuple[str, ...]] = ("h", "c")
    w_hr: Tensor | None

    def message(self, x_i: Tensor, h_j: Tensor, c_j: Tensor) -> Tensor:  # type: ignore[override]
        return torch.cat([h_j, self.forget(x_i, h_j) * c_j], -1)

    def forget(self, x: Tensor, h: Tensor) -> Tensor:
        """The forget gate, `[num_edges, hidden_size]`."""
        gate = slice(self.hidden_size, 2 * self.hidden_size)
        bias = None if self.b_hh is None else self.b_hh[gate]
        return (x[:, gate] + F.linear(h, self.w_hh[gate], bias)).sigmoid()

    def nothing(self, num_nodes: int, fields: Mapping[str, Any]) -> Tensor:
        return self.w_hh.new_zeros(num_nodes, self.w_hh.size(1) + self.hidden_size)

    def update(  # type: ignore[override]
        self, inputs: Tensor, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None
    ) -> States:
        h, c = inputs[:, : -self.hidden_size], inputs[:, -self.hidden_size :]
        if h0 is not None and c0 is not None:
            h, c = h + h0, c + self.forget(x, h0) * c0
        i, _, g, o = (x + F.linear(h, self.w_hh, self.b_hh)).chunk(4, -1)
        c = c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h if self.w_hr is None else F.linear(h, self.w_hr), c


ORDER = ("input_size", "hidden_size", "num_layers")
SIZES = dict.fromkeys(ORDER, at_least(1)) | {"dropout": check_probability}


@ranges(ORDER, **SIZES)
class RNN(nn.RNN):
    """`torch.nn.RNN`, on sequences and on directed acyclic graphs.

    Shapes: as torch.nn's; with `graph`, input `[num_nodes, input_size]` -> output `[num_nodes, directions *
    hidden_size]`, and the states of the nodes without outgoing edges, `[layers * directions, num_such_nodes,
    hidden_size]`: on a chain, torch's final states. If a graph has not as many first nodes as last ones, two
    directions return them as a list.

    With `truncate=k` gradients are cut every k steps, or levels of the graph (truncated backpropagation
    through time); the outputs stay the same.

    Raises:
        ValueError: a graph with a cycle, which the message shows; `hx` together with a graph; sequences of no
            steps.
    """

    step: ClassVar[type[Step]] = RNNStep

    def forward(
        self, input: Any, hx: Any = None, *, graph: Topology | None = None, truncate: int | None = None
    ) -> Any:
        if graph is None and truncate is None and type(self).step is RNNStep and wants_dense():
            return straight(self, "recurrence", super().forward, input, hx)
        return _recur(self, input, hx, graph, truncate)


@ranges(ORDER, **SIZES)
class GRU(nn.GRU):
    """`torch.nn.GRU`, on sequences and on directed acyclic graphs; shapes and errors as for `RNN`."""

    step: ClassVar[type[Step]] = GRUStep

    def forward(
        self, input: Any, hx: Any = None, *, graph: Topology | None = None, truncate: int | None = None
    ) -> Any:
        if graph is None and truncate is None and type(self).step is GRUStep and wants_dense():
            return straight(self, "recurrence", super().forward, input, hx)
        return _recur(self, input, hx, graph, truncate)


@ranges(ORDER, **SIZES, proj_size=at_least(0))
class LSTM(nn.LSTM):
    """`torch.nn.LSTM`, on sequences and on directed acyclic graphs; shapes and errors as for `RNN`.

    On a tree it is the child-sum Tree-LSTM (Tai et al., 2015).

    >>> lstm = LSTM(4, 8)
    >>> lstm(torch.randn(5, 3, 4))[0].shape
    torch.Size([5, 3, 8])
    >>> tree = mpnn.topology.tree([-1, 0, 0, 1, 1])
    >>> output, (h, c) = lstm(torch.randn(5, 4), graph=tree)
    >>> output.shape, h.shape
    (torch.Size([5, 8]), torch.Size([1, 1, 8]))
    """

    step: ClassVar[type[Step]] = LSTMStep

    def forward(
        self, input: Any, hx: Any = None, *, graph: Topology | None = None, truncate: int | None = None
    ) -> Any:
        if graph is None and truncate is None and type(self).step is LSTMStep and wants_dense():
            return straight(self, "recurrence", super().forward, input, hx)
        return _recur(self, input, hx, graph, truncate)


# On any directed acyclic graph, by messages -------------------------------------------------------------


def _recur(layer: Any, input: Any, hx: Any, graph: Topology | None, truncate: int | None) -> Any:
    if graph is not None:
        if hx is not None:
            raise ValueError(
                "hx was given with a graph, but the first nodes of a graph have no state before them."
            )
        graph = graph if isinstance(graph, Graph) else as_graph(graph, input.size(0))
        _check_nodes(input, graph)
        return _run(layer, input, graph, None, truncate)
    if isinstance(input, PackedSequence):
        return _recur_packed(layer, input, hx, truncate)
    is_batched = input.dim() == 3
    if input.dim() not in (2, 3):
        raise ValueError(f"input must have 2 or 3 dimensions, got shape {list(input.shape)}.")
    # [batch, length, channels]
    x = input if layer.batch_first and is_batched else input.transpose(0, 1) if is_batched else input[None]
    batch, length = x.shape[:2]
    if length == 0:
        raise ValueError(f"input must have at least one step, got shape {list(input.shape)}.")
    if hx is not None and not is_batched:
        hx = _each(hx, lambda h: h.unsqueeze(1))
    out, hidden = _run(layer, x.flatten(0, 1), _chain((length,) * batch, device=x.device), hx, truncate)
    out = out.view(batch, length, out.size(1))
    if not is_batched:
        return out.squeeze(0), _each(hidden, lambda h: h.squeeze(1))
    return out if layer.batch_first else out.transpose(0, 1), hidden


def _recur_packed(layer: Any, input: PackedSequence, hx: Any, truncate: int | None) -> Any:
    padded, lengths = pad_packed_sequence(input, batch_first=True)
    batch = Batch.of(tuple(lengths.tolist()), padded.device)
    rows = batch.unpad(padded)
    out, hidden = _run(layer, rows, _chain(batch.lengths, device=rows.device), hx, truncate)
    order = input.sorted_indices
    wide = batch.pad(out) if order is None else batch.pad(out)[order]
    sizes = lengths if order is None else lengths[order.cpu()]
    data = pack_padded_sequence(wide, sizes, batch_first=True).data
    return PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices), hidden


def _run(layer: Any, x: Tensor, graph: Graph, hx: Any, truncate: int | None) -> Any:
    """All layers and directions, on nodes."""
    initial: States | None = (hx,) if isinstance(hx, Tensor) else hx
    finals: list[States] = []
    for k in range(layer.num_layers):
        outputs = []
        for direction in range(1 + layer.bidirectional):
            way = graph.reverse() if direction else graph
            step = layer.step(layer, f"l{k}_reverse" if direction else f"l{k}")
            step.truncate = truncate
            fields = {"x": x}
            if initial is not None:
                fields |= _at_first(way, [h[len(finals)] for h in initial])
            out, final = step.scan(way, **fields)
            finals.append(final)
            outputs.append(out)
        x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        if layer.dropout and k + 1 < layer.num_layers:
            x = F.dropout(x, layer.dropout, layer.training)
    each = [list(parts) for parts in zip(*finals, strict=True)]
    same = len({len(part) for part in each[0]}) == 1
    hidden = tuple(torch.stack(parts) if same else parts for parts in each)
    return x, hidden[0] if len(hidden) == 1 else hidden


def _at_first(graph: Graph, states: list[Tensor]) -> dict[str, Tensor]:
    """What the first nodes start from, among zeros for the others: `h0`, or `h0` and `c0`."""
    first = graph.memo("first nodes", lambda: (graph.in_degree == 0).nonzero().squeeze(1))
    rows = [h.new_zeros(graph.num_nodes, h.size(1)).index_copy(0, first, h) for h in states]
    return dict(zip(("h0", "c0"), rows, strict=False))


def _each(hidden: Any, function: Callable[[Tensor], Tensor]) -> Any:
    return function(hidden) if isinstance(hidden, Tensor) else tuple(map(function, hidden))


def _check_nodes(x: Tensor, graph: Graph) -> None:
    if not isinstance(x, Tensor) or x.dim() != 2 or x.size(0) != graph.num_nodes:
        shape = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"with a graph of {graph.num_nodes} nodes, input must be [num_nodes, input_size], got {shape}."
        )
