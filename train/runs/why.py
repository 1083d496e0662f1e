"""Why a trained model says what it says of a node, a pair of nodes, or a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from mpnn import Graph, explain, sample_neighbors
from mpnn.datasets import GraphDataset, NodeDataset
from mpnn.datasets.problems import nearest
from mpnn.train.analysis.explaining import explaining_masks, integrated_gradients
from mpnn.train.analysis.smoothing import evaluating
from mpnn.train.errors import RunError
from mpnn.train.pictures.why import Drawn, why_picture
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.node_task import node_names
from mpnn.train.tasks.objective import Classification, Regression, objective_of
from mpnn.train.tasks.task import edge_features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINK = "link"


@dataclass(frozen=True)
class Why:
    """What carried a prediction.

    `importance` is the mask of GNNExplainer (Ying et al., 2019): how much of an edge or a feature the
    prediction needs, from 0 to 1. `effect` is what it adds to `score`, by integrated gradients (Sundararajan
    et al., 2017). Each table begins with what is most important.

    Args:
        item: what was asked about, as "node 12".
        said: what the model says of it: a class, a label, "link", or a number's name.
        score: its probability, or the number.
        edges: a row for each edge that reaches the prediction: `source`, `target`, `importance`, `effect`.
        neighbours: a row for each node in reach: `node`, `hops`, `importance` (of the most important edge
            from it), `effect` (of all of its features).
        features: a row for each feature: `feature`, `importance`, `effect` (in all nodes).
    """

    item: str
    said: str
    score: float
    edges: pd.DataFrame
    neighbours: pd.DataFrame
    features: pd.DataFrame

    @cached_property
    def table(self) -> pd.DataFrame:
        """All three below each other, with `what` a row is about."""
        edges = self.edges.assign(name=self.edges.source + " -> " + self.edges.target)
        parts = {
            "edge": edges,
            "neighbour": self.neighbours.rename(columns={"node": "name"}),
            "feature": self.features.rename(columns={"feature": "name"}),
        }
        columns = ["what", "name", "source", "target", "hops", "importance", "effect"]
        each = [part.assign(what=what).reindex(columns=columns) for what, part in parts.items()]
        return pd.concat([part.astype({"hops": "Int64"}) for part in each if len(part)], ignore_index=True)

    def draw(self) -> Figure:
        """The neighbourhood, edges drawn by importance, beside the features."""
        title = f"{self.item}: {self.said} ({self.score:.3g})"
        return why_picture(Drawn(self.edges, self.neighbours, self.features), title)


class Question(NamedTuple):
    """What is asked: a graph as the model reads it, and which nodes of it the answer is about."""

    item: str
    data: NodeDataset
    about: list[int]
    answer: Callable[[nn.Module, Tensor, Graph, dict[str, Tensor], Tensor], Tensor]  # a row of the output
    whole: bool = False  # whether all of the graph may matter


class _Part(NamedTuple):
    """As much of the graph as matters, and which nodes of the whole it has."""

    x: Tensor
    graph: Graph
    edges: dict[str, Tensor]
    about: Tensor
    nodes: Tensor


def question_of(
    task: str,
    data: NodeDataset | GraphDataset,
    node: str | int | None = None,
    edge: tuple[str | int, str | int] | None = None,
    graph: int | None = None,
) -> Question:
    """The question about a node, an edge or a graph of the data, which the model of such a task can answer.

    Raises:
        RunError: it is about nothing, about several things, or about what the model tells nothing of.
    """
    asked = {"node": node, "edge": edge, "graph": graph}
    given = [name for name, value in asked.items() if value is not None]
    if given != [task]:
        what = ", ".join(f"{name} {asked[name]!r}" for name in given) or "nothing"
        raise RunError(f"the model tells something of {task}s, but {what} is asked about: give one {task}")
    if isinstance(data, GraphDataset):
        return ask_graph(data, int(str(graph)))
    if edge is not None:
        return ask_pair(data, *map(str, edge))
    return ask_node(data, str(node))


def ask_node(data: NodeDataset, node: str) -> Question:
    """A question about a node, by its name."""
    place = _place(data, node)

    def answer(model: nn.Module, x: Tensor, graph: Graph, edges: Any, about: Tensor) -> Tensor:
        row: Tensor = model(x, graph, **edges)[about[0]]
        return row

    return Question(f"node {node}", data, [place], answer)


def ask_pair(data: NodeDataset, source: str, target: str) -> Question:
    """A question about two nodes, by their names."""
    places = [_place(data, node) for node in (source, target)]
    if places[0] == places[1]:
        raise RunError(f"edge is {source!r}, {target!r}, but should be two nodes")

    def answer(model: nn.Module, x: Tensor, graph: Graph, edges: Any, about: Tensor) -> Tensor:
        row: Tensor = model(x, graph, about[:, None], **edges)[0]
        return row

    return Question(f"edge {source} -> {target}", data, places, answer)


def ask_graph(data: GraphDataset, number: int) -> Question:
    """A question about one graph of many, by its number."""
    if not 0 <= number < data.num_graphs:
        raise RunError(f"graph is {number}, but {data.name} has graphs 0 to {data.num_graphs - 1}")
    attr = None if data.edge_attr is None else data.edge_attr[number]
    one = NodeDataset(data.name, Graph.batch([data.graphs[number]]), data.x[number], edge_attr=attr)

    def answer(model: nn.Module, x: Tensor, graph: Graph, edges: Any, about: Tensor) -> Tensor:
        row: Tensor = model(x, graph, **edges)[0]
        return row

    return Question(f"graph {number}", one, [], answer, whole=True)


def _place(data: NodeDataset, node: str) -> int:
    names = node_names(data)
    if node not in names:
        raise RunError(f"{node!r} is no node that the run knows{nearest(node, names)}")
    return names.index(node)


def why(
    model: nn.Module,
    kept: Kept,
    question: Question,
    *,
    of: str | None = None,
    epochs: int = 200,
    seed: int = 0,
) -> Why:
    """Answer a question.

    Args:
        model: of the run.
        kept: what the run keeps.
        question: what is asked.
        of: which class, label or number is explained; None is the likeliest, or the first number.
        epochs: of GNNExplainer.
        seed: of its masks.

    Raises:
        RunError: the model knows no such class, label or number.
    """
    with evaluating(model):
        part, row = _part(model, question)
        column, name = _column(kept, row, of)

        def answer(x: Tensor) -> Tensor:
            return question.answer(model, x, part.graph, part.edges, part.about)

        def score(x: Tensor) -> Tensor:
            return _scores(kept, answer(x))[column]

        def loss(x: Tensor) -> Tensor:
            return _loss(kept, answer(x), row, column)

        count = part.graph.num_edges
        masks = explaining_masks(model, loss, part.x, count, epochs=epochs, seed=seed)
        shares = integrated_gradients(model, score, part.x, count)
        said = float(_scores(kept, row)[column])
    names = node_names(question.data)
    called = [names[k] for k in part.nodes.tolist()]
    src, dst = (ends.cpu() for ends in part.graph.edge_index)
    importance, effect = masks.edges.cpu(), shares.edges.detach().cpu()
    there = ((importance > 0) | (effect != 0)).nonzero().flatten()
    edges = _sorted(
        source=[called[k] for k in src[there].tolist()],
        target=[called[k] for k in dst[there].tolist()],
        importance=importance[there].tolist(),
        effect=effect[there].tolist(),
    )
    hops = _hops(src[there], dst[there], part.about.cpu(), len(called))
    best = torch.zeros(len(called)).scatter_reduce(0, src[there], importance[there].float(), "amax")
    reached = [k for k in range(len(called)) if hops[k] >= 0]
    of_nodes = shares.features.detach().sum(1).cpu()
    neighbours = _sorted(
        node=[called[k] for k in reached],
        hops=[hops[k] for k in reached],
        importance=best[reached].tolist(),
        effect=of_nodes[reached].tolist(),
    )
    features = _sorted(
        feature=feature_names(kept, part.x.size(1)),
        importance=masks.features.tolist(),
        effect=shares.features.detach().sum(0).tolist(),
    )
    return Why(question.item, name, said, edges, neighbours, features)


def _sorted(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _part(model: nn.Module, question: Question) -> tuple[_Part, Tensor]:
    """As much of the graph as the answer depends on, and the answer.

    A model of n steps reads n hops, and of the last nodes how many neighbours they have: n + 1 hops. What
    reads all nodes, as a norm over a graph, shows in another answer, and takes the whole graph.
    """
    data = question.data
    device = data.x.device
    edges = edge_features(data.edge_attr)
    about = torch.tensor(question.about, dtype=torch.int64, device=device)
    everything = _Part(data.x, data.graph, edges, about, torch.arange(data.num_nodes, device=device))
    with torch.no_grad():
        answers: list[Tensor] = []
        given = (model, data.x, data.graph, edges, about)
        steps = explain(lambda: answers.append(question.answer(*given))).steps
        (row,) = answers
        if question.whole:
            return everything, row
        sample = sample_neighbors(data.graph, about, [-1] * (len(steps) + 1), seed=0)
        if sample.graph.num_nodes == data.num_nodes:
            return everything, row
        some = {name: values[sample.edges] for name, values in edges.items()}
        near = torch.arange(len(about), device=device)
        part = _Part(data.x[sample.nodes], sample.graph, some, near, sample.nodes)
        again = question.answer(model, part.x, part.graph, part.edges, part.about)
    close = again.shape == row.shape and torch.allclose(again, row, rtol=1e-3, atol=1e-4)
    return (part if close else everything), row


def _hops(src: Tensor, dst: Tensor, about: Tensor, count: int) -> list[int]:
    """How many edges lie between each node and what was asked about, -1 where none leads there."""
    hops = torch.full((count,), -1)
    frontier = torch.zeros(count, dtype=torch.bool)
    frontier[about if len(about) else slice(None)] = True
    distance = 0
    while frontier.any():
        hops[frontier] = distance
        reached = torch.zeros_like(frontier)
        reached[src[frontier[dst]]] = True
        frontier, distance = reached & (hops < 0), distance + 1
    found: list[int] = hops.tolist()
    return found


def _learns(kept: Kept) -> str:
    return "labels" if kept.learns == "links" else kept.learns


def _names(kept: Kept) -> tuple[str, ...]:
    return (LINK,) if kept.learns == "links" else kept.class_names


def _scores(kept: Kept, row: Tensor) -> Tensor:
    """Probabilities, or numbers as they are."""
    objective = objective_of(_learns(kept), _names(kept))
    if isinstance(objective, Regression):
        return row
    return row.softmax(-1) if isinstance(objective, Classification) else row.sigmoid()


def _column(kept: Kept, row: Tensor, of: str | None) -> tuple[int, str]:
    """Which output is explained, and what it is called."""
    names = _names(kept)
    if of is not None and of not in names:
        raise RunError(f"of is {of!r}, but the model tells {', '.join(names)}{nearest(of, names)}")
    likeliest = 0 if kept.learns == "numbers" else int(row.argmax())
    column = likeliest if of is None else names.index(of)
    return column, names[column]


def _loss(kept: Kept, row: Tensor, before: Tensor, column: int) -> Tensor:
    """How far a masked answer is from what the model says: cross-entropy, or a squared difference."""
    if kept.learns == "numbers":
        return (row[column] - before[column]).square()
    if kept.learns == "classes":
        return -row.log_softmax(-1)[column]
    there = (before[column] > 0).to(row.dtype)
    return nn.functional.binary_cross_entropy_with_logits(row[column], there)


def feature_names(kept: Kept, count: int) -> list[str]:
    """What the features are called: by the columns of a table, or by their numbers."""
    preparation = kept.preparation
    if preparation.highest is not None:
        return [f"degree {k}" for k in range(count)]
    named = () if preparation.nodes is None else preparation.nodes.features
    return list(named) if len(named) == count else [f"feature {k}" for k in range(count)]
