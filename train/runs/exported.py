"""The model of a run as a file: what it takes, and what it gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from mpnn import Graph
from mpnn.graph.batch import Batch
from mpnn.models import CONVS
from mpnn.models.networks.language_model import LanguageModel
from mpnn.train.portable.export import Portable
from mpnn.train.portable.inputs import ABOUT, Input, Size
from mpnn.train.portable.program import tensors
from mpnn.train.runs.settings import Settings
from mpnn.train.tasks.kept import Kept

FEATURES_OF_EDGES = ("edge_weight", "edge_attr", "edge_type")
OUTPUT = "scores"
MEANS = {
    "classes": "softmax over the last dimension gives the probability of each class",
    "labels": "a sigmoid gives the probability of each label",
    "numbers": "the numbers themselves",
    "codes": "the numbers themselves",
    "pixels": "softmax over dimension 1 gives the probability of each class of a pixel",
    "links": "a sigmoid gives the probability of a link",
}


def portable(model: nn.Module, settings: Settings, kept: Kept, weighted: bool) -> Portable:
    """What becomes a file of a run.

    Args:
        model: of the run.
        settings: of the run.
        kept: of the run.
        weighted: whether the edges that it was trained on have weights.

    """
    make = {"image": _image, "memory": _image, "segment": _image, "text": _text}.get(
        settings.task, _on_graphs
    )
    call, inputs, outputs, more = make(model, settings, kept, weighted)
    names = list(kept.class_names)
    facts = {
        "model": settings.model,
        "task": settings.task,
        "data": kept.shape.name,
        "learns": kept.learns,
        "scores": MEANS.get(kept.learns, "before the softmax"),
        "names": names,
        "preparation": kept.preparation.to_dict(),
    }
    return Portable(model, call, inputs, outputs, facts, more)


Made = tuple[Any, list[Input], list[str], list[list[Tensor]]]


def _on_graphs(model: nn.Module, settings: Settings, kept: Kept, weighted: bool) -> Made:
    """Nodes, pairs of nodes, and whole graphs."""
    shape, reads = kept.shape, CONVS[settings.model].edge_inputs if settings.model in CONVS else ()
    found = [
        name
        for name, there in zip(
            FEATURES_OF_EDGES, (weighted, shape.edge_dim is not None, shape.num_relations > 0), strict=True
        )
        if there and name in reads
    ]
    pointed, paired = settings.task == "graph", settings.task == "edge"

    def drawn(sizes: tuple[int, ...], num_edges: int) -> dict[str, Tensor]:
        count = sum(sizes)
        draw = torch.Generator().manual_seed(count)
        first = torch.tensor([0, *sizes]).cumsum(0)
        owner = torch.randint(len(sizes), (num_edges,), generator=draw)
        room = torch.tensor(sizes)[owner]
        ends = (torch.rand(2, num_edges, generator=draw) * room).long() + first[owner]
        made = {
            "x": torch.rand(count, shape.num_features, generator=draw),
            "edge_index": ends,
            "edge_weight": torch.rand(num_edges, generator=draw),
            "edge_attr": torch.rand(num_edges, shape.edge_dim or 1, generator=draw),
            "edge_type": torch.randint(max(1, shape.num_relations), (num_edges,), generator=draw),
            "ptr": first,
            "pairs": torch.randint(count, (2, num_edges + 2), generator=draw),
        }
        wanted = ["x", "edge_index", *found, *["ptr"] * pointed, *["pairs"] * paired]
        return {name: made[name] for name in wanted}

    def call(network: nn.Module, x: Tensor, edge_index: Tensor, *rest: Tensor) -> Any:
        given = dict(zip(found, rest, strict=False))
        graph = _graph(x.size(0), edge_index, given.pop("edge_type", None), shape.num_relations)
        if pointed:
            graph = graph.derive(graph.edge_index, batch=Batch(rest[-1], rest[-1]))
        return network(x, graph, *rest[-1:] * paired, **given)

    # Sizes of which no two are equal, nor equal to a width.
    widths = {shape.num_features, shape.edge_dim}
    counts = [n for n in (101, 103, 107, 109) if n not in widths]
    sizes = (counts[0] - 60, 20, 40) if pointed else (counts[0],)
    example = drawn(sizes, counts[1])
    more = [drawn((5, 0, 8, 30) if pointed else (43,), 211), drawn((1,), 1)]
    about = ABOUT | {
        "ptr": ({0: Dim("num_graphs") + 1}, "first node of each graph; the last entry is the number of all")
    }
    inputs = [Input(name, value, *about[name]) for name, value in example.items()]
    return call, inputs, [OUTPUT], [list(one.values()) for one in more]


def _graph(num_nodes: int, edge_index: Tensor, edge_type: Tensor | None, num_relations: int) -> Graph:
    if edge_type is None:
        return Graph(edge_index, num_nodes)
    return Graph(edge_index, num_nodes, edge_type, num_edge_types=num_relations)


def _image(model: nn.Module, settings: Settings, kept: Kept, weighted: bool) -> Made:
    shape = (kept.shape.num_features, *kept.shape.size)
    one = Input("x", torch.rand(3, *shape), {0: "batch"}, "images: channels, height, width")
    return _plain_call, [one], [OUTPUT], [[torch.rand(5, *shape)], [torch.rand(1, *shape)]]


def _text(model: nn.Module, settings: Settings, kept: Kept, weighted: bool) -> Made:
    assert isinstance(model, LanguageModel)
    most = model.context

    def drawn(batch: int, length: int) -> list[Tensor]:
        tokens = torch.randint(model.num_tokens, (batch, min(length, most or length)))
        state = tensors(model(tokens)[1])
        return [tokens, *state]

    tokens, *state = drawn(3, 5)
    sizes: dict[int, Size] = {0: "batch", 1: "length" if most is None else Dim("length", max=most)}
    inputs = [Input("tokens", tokens, sizes, "numbers of characters, in the order of `names`")]
    of_state = ("h", "c")[: len(state)]
    about = "what the model remembers: zeros at first, then what the call before gave"
    inputs += [Input(name, part, {1: "batch"}, about) for name, part in zip(of_state, state, strict=True)]
    return _with_state, inputs, [OUTPUT, *of_state], [drawn(2, 7), drawn(1, 1)]


def _plain_call(network: nn.Module, *inputs: Tensor) -> Any:
    return network(*inputs)


def _with_state(network: nn.Module, tokens: Tensor, *state: Tensor) -> Any:
    return network(tokens, state or None)
