"""`mpnn explain` and `mpnn diagnose`: what a model runs on, and how its nodes depend on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

import mpnn
from mpnn.backends.run.record import listener
from mpnn.datasets import NodeDataset
from mpnn.train.analysis.smoothing import evaluating, layer_states, message_passing_layers, over_smoothing
from mpnn.train.analysis.squashing import balanced_forman_curvature, influence_by_distance
from mpnn.train.choices import FORMATS
from mpnn.train.command import say
from mpnn.train.command.subject import Subject, find_subject
from mpnn.train.errors import RunError
from mpnn.train.pictures.diagnosis import smoothing_picture, squashing_picture
from mpnn.train.pictures.style import save_picture
from mpnn.train.tasks.node_task import node_names

SMOOTHING, SQUASHING = "smoothing", "squashing"
NODES = 16  # the outputs of so few are derived
EDGES = 2000  # the curvature of so few is computed


def explain(arguments: dict[str, Any]) -> int:
    """Print the kernels that a model runs on, layer by layer, in a step of training."""
    code = arguments.pop("c_code", False)
    subject = find_subject(arguments.pop("model"), arguments)
    x, graph, edges = subject.inputs
    network = subject.network.train()
    begins: list[tuple[int, str]] = []  # how many steps had run before each layer
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, _, name=name: begins.append((len(listener() or ()), name))
        )
        for name, layer in message_passing_layers(network)
    ]
    explanation = mpnn.explain(network, x, graph, **edges)
    for hook in hooks:
        hook.remove()
    out = say.console()
    out.print(str(subject), markup=False)
    layers = dict(message_passing_layers(network))
    for number, step in enumerate(explanation.steps):
        for name in (name for begin, name in begins if begin == number):
            out.print(f"\n{name}: {_in_a_line(layers[name])}", markup=False)
        out.print(str(step), markup=False)
    if code:
        out.print(explanation.source, markup=False, soft_wrap=True)
    return 0


def _in_a_line(layer: nn.Module) -> str:
    extra = layer.extra_repr()
    return f"{type(layer).__name__}({extra})"


def diagnose(arguments: dict[str, Any]) -> int:
    """Print and draw over-smoothing and over-squashing of a model."""
    name, node, out = arguments.pop("model"), arguments.pop("node", None), arguments.pop("out", None)
    kind = arguments.pop("pictures", FORMATS[0])
    subject = find_subject(name, arguments)
    x, graph, edges = subject.inputs
    if graph.num_edges == 0:
        raise RunError(f"{subject.task.data.name} has no edges: there is nothing to diagnose")
    if node is not None and not 0 <= node < graph.num_nodes:
        raise RunError(
            f"node is {node}, but should be one of the {graph.num_nodes} nodes, 0..{graph.num_nodes - 1}"
        )
    console = say.console()
    console.print(str(subject), markup=False)

    smooth = over_smoothing(subject.network, x, graph, **edges)
    table = say.table("layer", "channels", "Dirichlet energy / |h|²", "MAD linked", "MAD all")
    for row in smooth:
        table.add_row(row.name, str(row.channels), *(f"{value:.3g}" for value in row[2:]))
    console.print("\nOver-smoothing: how much nodes differ behind each layer", markup=False)
    console.print(table)

    generator = torch.Generator().manual_seed(subject.settings.seed)
    nodes = (
        [node] if node is not None else torch.randperm(graph.num_nodes, generator=generator)[:NODES].tolist()
    )
    influence = _influence(subject, x, graph, edges, nodes)
    table = say.table("distance", "mean norm of the Jacobian", "pairs")
    for distance, norm, pairs in influence:
        table.add_row(str(distance), f"{norm:.3g}", str(pairs))
    whose = f"node {node}" if node is not None else f"{len(nodes)} nodes"
    console.print(
        f"\nOver-squashing: how much the output of {whose} depends on nodes so far away", markup=False
    )
    console.print(table)

    some = torch.randperm(graph.num_edges, generator=generator)[:EDGES]
    curvature = balanced_forman_curvature(graph, some.to(x.device))
    _print_curvature(console, subject, graph, some, curvature)

    home = Path(out) if out is not None else subject.run or Path("runs", f"diagnose-{_stem(subject)}")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"folder {home} cannot be made: {error.strerror}") from error
    title = f"{subject.settings.model} on {subject.task.data.name}"
    files = [f"{name}.{kind}" for name in (SMOOTHING, SQUASHING)]
    save_picture(smoothing_picture(smooth, title=title), home / files[0])
    save_picture(squashing_picture(influence, curvature, title=title), home / files[1])
    console.print(f"\nDrawn in {home}: {', '.join(files)}", markup=False, soft_wrap=True)
    return 0


def _influence(
    subject: Subject, x: Tensor, graph: mpnn.Graph, edges: dict[str, Any], nodes: list[int]
) -> list[tuple[int, float, int]]:
    def last_state(x: Tensor) -> Tensor:
        return layer_states(subject.network, x, graph, **edges)[-1].value

    with evaluating(subject.network):
        return influence_by_distance(last_state, x, graph, nodes)


def _print_curvature(
    console: Console, subject: Subject, graph: mpnn.Graph, some: Tensor, curvature: Tensor
) -> None:
    known = curvature.isfinite()
    if not known.any():
        return
    some, curvature = some[known], curvature[known]
    i, j = graph.edge_index[:, some[int(curvature.argmin())]].tolist()
    data = subject.task.data
    names = node_names(data) if isinstance(data, NodeDataset) else list(map(str, range(graph.num_nodes)))
    console.print(
        f"\nBalanced Forman curvature of {len(curvature)} edges: mean {curvature.mean():.2f}, "
        f"{100 * (curvature < 0).double().mean():.0f} % below 0; the worst bottleneck is "
        f"{names[i]} - {names[j]}, {curvature.min():.2f}",
        markup=False,
    )


def _stem(subject: Subject) -> str:
    return f"{Path(subject.settings.dataset).name.split('.')[0]}-{subject.settings.model}"
