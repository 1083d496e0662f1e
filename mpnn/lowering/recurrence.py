"""A cell along a chain is a recurrent network, for which PyTorch has fused kernels.

The traced cell is compared with the equations of torch.nn's cells at random points, with its own weights in
every role that their shapes allow. Sums, products, sigmoid and tanh make analytic functions, and two analytic
functions that agree at random points are equal. A single ReLU at the end is allowed: the points at which it
is positive decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn import borrowed
from mpnn.graph.graph import Graph
from mpnn.lowering.cell import Cell
from mpnn.lowering.match import NEAR, POLYNOMIAL, PROBES, same
from mpnn.lowering.rule import NoMatchError
from mpnn.native.gate import CPU
from mpnn.plan.capture import Path
from mpnn.topology import Chain

FARTHEST_STATE = 24  # the largest power of two of a state
ANALYTIC = POLYNOMIAL | {"sigmoid", "tanh", "new_zeros", "zeros_like"}
Weights = tuple[Tensor | None, ...]  # W of the input, W of the state, their biases, the projection
States = tuple[Tensor, ...]
Roles = tuple[int | None, ...]  # for each of `Weights` its place among the values of a cell, behind the input


def _rnn(nonlinearity: Callable[[Tensor], Tensor]) -> Callable[[Tensor, States, Weights], States]:
    def cell(x: Tensor, states: States, weights: Weights) -> States:
        w, u, b, c, _ = weights
        return (nonlinearity(F.linear(x, w, b) + F.linear(states[0], u, c)),)  # type: ignore[arg-type]

    return cell


def _gru(x: Tensor, states: States, weights: Weights) -> States:
    (h,), (w, u, b, c, _) = states, weights
    x_r, x_z, x_n = F.linear(x, w, b).chunk(3, -1)  # type: ignore[arg-type]
    h_r, h_z, h_n = F.linear(h, u, c).chunk(3, -1)  # type: ignore[arg-type]
    z, new = (x_z + h_z).sigmoid(), (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
    return ((1 - z) * new + z * h,)


def _lstm(x: Tensor, states: States, weights: Weights) -> States:
    (h, c), (w, u, b, b_h, projection) = states, weights
    i, f, g, o = (F.linear(x, w, b) + F.linear(h, u, b_h)).chunk(4, -1)  # type: ignore[arg-type]
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if projection is None else F.linear(h, projection), c)


@dataclass(frozen=True)
class RecurrentKernel:
    """A fused recurrent kernel, and the equation that it computes at each node."""

    gates: int
    num_states: int
    cell: Callable[[Tensor, States, Weights], States]
    run: Callable[..., tuple[Tensor, ...]]
    relu: bool = False


LSTM = RecurrentKernel(4, 2, _lstm, borrowed.lstm)
KERNELS = (
    RecurrentKernel(1, 1, _rnn(torch.tanh), borrowed.rnn_tanh),
    RecurrentKernel(1, 1, _rnn(torch.relu), borrowed.rnn_relu, relu=True),
    RecurrentKernel(3, 1, _gru, borrowed.gru),
    LSTM,
)


def in_roles(values: Sequence[Tensor], roles: Roles) -> Weights:
    """The weights of a kernel among the values of a cell."""
    return tuple(None if k is None else values[k] for k in roles)


@dataclass(frozen=True)
class Recurrent:
    """A recognised cell: the kernel, and which value of the cell is each of its weights."""

    kernel: RecurrentKernel
    roles: Roles

    def __call__(self, graph: Graph, values: Sequence[Tensor]) -> tuple[Tensor, States]:
        """The first state of every node, `[num_nodes, hidden]`, and all states of the last nodes."""
        assert isinstance(graph, Chain)
        x, (w, u, b, c, projection) = values[0], in_roles(values, self.roles)
        assert w is not None and u is not None
        parameters = [w, u]
        if b is not None or c is not None:
            parameters += [w.new_zeros(len(w)) if bias is None else bias for bias in (b, c)]
        if projection is not None:
            parameters.append(projection)
        batch = len(graph.lengths)
        start = [x.new_zeros(1, batch, u.size(1)), x.new_zeros(1, batch, len(w) // self.kernel.gates)]
        hx = tuple(start) if self.kernel.num_states == 2 else start[0]
        options = (b is not None or c is not None, 1, 0.0, torch.is_grad_enabled(), False)
        if len(set(graph.lengths)) == 1:
            steps = x.view(batch, -1, x.size(1))
            steps = steps.flip(1) if graph.is_reversed else steps
            out, *final = self.kernel.run(steps, hx, parameters, *options, True)
            out = out.flip(1) if graph.is_reversed else out
            return out.reshape(x.size(0), -1), tuple(state[0] for state in final)
        pack: Packing = graph.memo(("packing", x.device), lambda: Packing.of(graph, x.device))
        data = x.index_select(0, pack.rows)
        out, *final = self.kernel.run(data, pack.batch_sizes, hx, parameters, *options)
        return out.index_select(0, pack.places), tuple(s[0].index_select(0, pack.order) for s in final)


@dataclass(frozen=True)
class Packing:
    """A ragged batch of sequences in the order of `torch.nn.utils.rnn.PackedSequence`."""

    rows: Tensor  # [num_nodes]: the node at each place
    places: Tensor  # [num_nodes]: the place of each node
    batch_sizes: (
        Tensor  # [longest]: the number of sequences that have a t-th node; on the CPU, where kernels take it
    )
    order: Tensor  # [num_graphs]: the rank of each sequence, the longest first

    @classmethod
    def of(cls, graph: Chain, device: torch.device) -> Packing:
        """Lay out the sequences of a chain, from their first node to their last."""
        lengths = torch.tensor(graph.lengths, device=CPU)
        by_length = torch.argsort(lengths, descending=True, stable=True)
        order = torch.empty_like(by_length).scatter_(0, by_length, torch.arange(len(lengths), device=CPU))
        sequence = torch.repeat_interleave(lengths)
        step = torch.arange(graph.num_nodes, device=CPU) - (lengths.cumsum(0) - lengths)[sequence]
        if graph.is_reversed:
            step = lengths[sequence] - 1 - step
        batch_sizes = (lengths[:, None] > torch.arange(int(lengths.max()), device=CPU)).sum(0)
        places = (batch_sizes.cumsum(0) - batch_sizes)[step] + order[sequence]
        rows = torch.empty_like(places).scatter_(0, places, torch.arange(graph.num_nodes, device=CPU))
        return cls(rows.to(device), places.to(device), batch_sizes, order.to(device))


def match_recurrence(cell: Cell, graph: Graph) -> Recurrent:
    """Recognise a cell with the equations of torch.nn's RNN, GRU or LSTM, whose state is h, or h and c."""
    return find_roles(cell, KERNELS)


def find_roles(cell: Cell, kernels: tuple[RecurrentKernel, ...], several: bool = False) -> Recurrent:
    """The kernel whose equations are those of the cell, and the role of each weight.

    With `several`, the equations must also hold for a node with two incoming edges: the sum of both h, and
    the sum of both c with a forget gate for each.

    Raises:
        NoMatchError: there is no such kernel.
    """
    operations = cell.first.operations | cell.following.operations
    relu = sum(n.name.startswith("relu") for n in cell.following.module.graph.nodes)
    known = ANALYTIC | {"relu"} if relu == 1 and not operations & {"tanh", "sigmoid"} else ANALYTIC
    foreign = operations - known
    if foreign:
        raise NoMatchError(f"the cell uses {', '.join(sorted(foreign))}")
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    # Beyond `NEAR` they are large, so that a term with a small coefficient is seen.
    powers = torch.randint(FARTHEST_STATE, (PROBES, 1), generator=generator).double()
    powers[:NEAR] = 0
    x, before = (2**powers * draw(PROBES, cell.width) for _ in range(2))
    states, others = (tuple(2**powers * draw(PROBES, width) for width in cell.states) for _ in range(2))
    weights = {path: draw(*shape) for path, shape in cell.weights.items()}
    wanted = [*cell.first([x], weights), *cell.following([x, before, *states], weights)]
    if several:
        wanted += cell.joining([x, before, *states, *others], weights)
    nothing = tuple(map(torch.zeros_like, states))
    for kernel in kernels:
        if kernel.num_states != len(states) or kernel.relu != (relu == 1):
            continue
        for paths in _roles(cell, kernel):
            chosen = tuple(None if path is None else weights[path] for path in paths)
            found = [*kernel.cell(x, nothing, chosen), *kernel.cell(x, states, chosen)]
            if several:
                found += _joined(x, states, others, chosen)
            if all(same(ours, theirs) for ours, theirs in zip(found, wanted, strict=True)):
                places = {path: k for k, path in enumerate(cell.weights, 1)}
                return Recurrent(kernel, tuple(None if path is None else places[path] for path in paths))
    names = "an LSTM with a forget gate for each" if several else "one of torch.nn's RNN, GRU and LSTM"
    raise NoMatchError(f"the cell is not {names}")


def _joined(x: Tensor, states: States, others: States, weights: Weights) -> States:
    """The states of an LSTM's node with two incoming edges."""
    w, u, b, b_h, projection = weights
    (h, c), (h_2, c_2) = states, others

    def forget(h: Tensor) -> Tensor:
        return (F.linear(x, w, b) + F.linear(h, u, b_h)).chunk(4, -1)[1].sigmoid()  # type: ignore[arg-type]

    kept = forget(h) * c + forget(h_2) * c_2
    i, _, g, o = (F.linear(x, w, b) + F.linear(h + h_2, u, b_h)).chunk(4, -1)  # type: ignore[arg-type]
    c = kept + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if projection is None else F.linear(h, projection), c)


def _roles(cell: Cell, kernel: RecurrentKernel) -> Iterator[tuple[Path | None, ...]]:
    """Every assignment of the cell's weights to those of a kernel that their shapes allow."""
    state, hidden = cell.states[0], cell.states[-1]
    rows = kernel.gates * hidden
    shapes = cell.weights
    biases = [path for path, shape in shapes.items() if shape == (rows,)]
    # A kernel knows that there is a projection by the smaller state.
    projections = [path for path, shape in shapes.items() if shape == (state, hidden) and state < hidden]
    for w in (path for path, shape in shapes.items() if shape == (rows, cell.width)):
        for u in (path for path, shape in shapes.items() if shape == (rows, state) and path != w):
            for b, c in permutations([*biases, None, None], 2):
                used = {w, u, b, c} - {None}
                if len(used) == len(shapes):
                    yield w, u, b, c, None
                for projection in projections if len(used) + 1 == len(shapes) else ():
                    if projection not in used:
                        yield w, u, b, c, projection


def fits_recurrence(graph: Graph) -> None:
    """Require a node in every sequence of the batch."""
    assert isinstance(graph, Chain)
    if min(graph.lengths, default=0) < 1:
        raise NoMatchError("the batch has sequences without nodes")
