"""Over-smoothing: how alike the nodes become with every layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph
from mpnn.aggregate.reduce import add_rows_
from mpnn.models import AttentionalAggregation, GlobalPool

POOLING = (GlobalPool, AttentionalAggregation)
MOST_NODES = 3000  # a larger graph is measured on a random part of its nodes
CHUNK = 1 << 22  # numbers in a block of distances
ALIKE = 1e-12  # a cosine distance below this is rounding


class LayerState(NamedTuple):
    """What a layer of message passing gave: `[num_nodes, channels]`, before norm and activation."""

    name: str
    value: Tensor


class Smoothness(NamedTuple):
    """How alike nodes are behind a layer.

    Args:
        name: of the layer.
        channels: width of its output.
        energy: `dirichlet_energy` for each unit of ‖X‖², which does not depend on the scale of X.
        near: `mean_average_distance` of linked nodes.
        everywhere: `mean_average_distance` of all nodes.
    """

    name: str
    channels: int
    energy: float
    near: float
    everywhere: float


@torch.no_grad()
def over_smoothing(
    model: nn.Module, x: Tensor, graph: Graph, *, seed: int = 0, **edges: Tensor
) -> list[Smoothness]:
    """Measure how alike the nodes are at the input and behind each layer, in evaluation mode.

    Args:
        model: called as `model(x, graph, **edges)`.
        x: `[num_nodes, in_channels]`.
        graph: with both directions of each edge.
        seed: of the 3000 nodes that are drawn from a larger graph.
        **edges: `edge_attr` and other keywords of the model.

    >>> from mpnn.models import GNN
    >>> path = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
    >>> [row.name for row in over_smoothing(GNN(3, 8, 2), torch.eye(3), path)]
    ['input', 'convs.0', 'convs.1']
    """
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(graph.num_nodes, generator=generator)[:MOST_NODES].to(x.device)
    with evaluating(model):
        states = [LayerState("input", x), *layer_states(model, x, graph, **edges)]
    rows = []
    for name, value in states:
        h = value.flatten(1)
        size = h.square().sum()
        energy = dirichlet_energy(h, graph) / size if size > 0 else size
        near, everywhere = mean_average_distance(h, graph), mean_average_distance(h[some])
        rows.append(Smoothness(name, h.size(1), float(energy), float(near), float(everywhere)))
    return rows


def layer_states(model: nn.Module, *inputs: Any, **options: Any) -> list[LayerState]:
    """Call a model once, and return what each of its layers of message passing gave, in order.

    Any model: layers are the outermost modules that have `propagate`, ours or PyTorch Geometric's. One that
    is called twice is there twice. The model's mode, training or not, stays as it is.

    Args:
        model: what is called.
        *inputs, **options: its arguments.

    Raises:
        ValueError: no layer of message passing ran.

    >>> from mpnn.models import GNN
    >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> [(state.name, state.value.size(1)) for state in layer_states(GNN(4, 16, 2), torch.ones(3, 4), ring)]
    [('convs.0', 16), ('convs.1', 2)]
    """
    states: list[LayerState] = []
    hooks = []
    for name, layer in message_passing_layers(model):
        if isinstance(layer, POOLING):
            continue

        def note(layer: nn.Module, given: Any, out: Any, name: str = name) -> None:
            states.append(LayerState(name, out[0] if isinstance(out, tuple) else out))

        hooks.append(layer.register_forward_hook(note))
    try:
        model(*inputs, **options)
    finally:
        for hook in hooks:
            hook.remove()
    if not states:
        raise ValueError(f"{type(model).__name__} ran no layer of message passing.")
    return states


def message_passing_layers(model: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules of a model that pass messages, by name; pooling over whole graphs is one."""
    if hasattr(model, "propagate") and hasattr(model, "message"):
        yield name or type(model).__name__, model
        return
    for key, child in model.named_children():
        yield from message_passing_layers(child, f"{name}.{key}" if name else key)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards as it was."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def dirichlet_energy(x: Tensor, graph: Graph, *, normalised: bool = True) -> Tensor:
    """How much neighbours differ: 0 if features are all alike, a scalar.

    Normalised, it is tr(Xᵀ Δ X) of the Laplacian Δ = I - D̃^-1/2 (A + I) D̃^-1/2 with D̃ = D + I (Cai and Wang,
    2020),

        1/2 Σ_{j→i} ‖ x_i / √(1 + d_i) - x_j / √(1 + d_j) ‖²,

    else the mean over the nodes of Σ_{j→i} ‖ x_i - x_j ‖² (Rusch et al., 2023).

    Args:
        x: `[num_nodes, channels]`.
        graph: with both directions of each edge.
        normalised: which of the two.

    >>> edge = Graph(torch.tensor([[0, 1], [1, 0]]))
    >>> dirichlet_energy(torch.tensor([[0.0], [2.0]]), edge, normalised=False)
    tensor(4.)
    """
    if normalised:
        scaled = x / (1 + graph.in_degree).to(x.dtype).sqrt().unsqueeze(1)
        return (scaled[graph.dst] - scaled[graph.src]).square().sum() / 2
    return (x[graph.dst] - x[graph.src]).square().sum() / max(graph.num_nodes, 1)


def mean_average_distance(x: Tensor, graph: Graph | None = None) -> Tensor:
    """MAD: the mean cosine distance between the states of nodes (Chen et al., 2020, eqs. 2 to 4), a scalar.

    First over each node's partners, of those pairs whose distance is not 0, then over the nodes that have
    any; 0 if no node has.

    Args:
        x: `[num_nodes, channels]`.
        graph: the pairs are its edges; None: all pairs.

    >>> mean_average_distance(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]))
    tensor(1.)
    """
    direction = F.normalize(x.double(), dim=1)
    if graph is None:
        total, count = _all_pairs(direction)
    else:
        distance = _positive(1 - (direction[graph.dst] * direction[graph.src]).sum(dim=1))
        total, count = x.new_zeros(2, len(x), dtype=torch.float64)
        add_rows_(total, graph.dst, distance)
        add_rows_(count, graph.dst, (distance > 0).double())
    mean = total[count > 0] / count[count > 0]
    return (mean.mean() if len(mean) else total.new_zeros(())).to(x.dtype)


def _all_pairs(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of each node's distances to all others, and how many are not 0."""
    totals, counts = [], []
    for block in torch.split(direction, max(1, CHUNK // max(1, len(direction)))):
        distance = _positive(1 - block @ direction.T)
        totals.append(distance.sum(dim=1))
        counts.append((distance > 0).double().sum(dim=1))
    return torch.cat(totals), torch.cat(counts)


def _positive(distance: Tensor) -> Tensor:
    return torch.where(distance > ALIKE, distance, 0.0)
