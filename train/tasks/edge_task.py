"""Edges: which there are (link prediction), and what their classes, labels or numbers are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import NodeDataset
from mpnn.models import GAE
from mpnn.train.errors import RunError
from mpnn.train.tasks.held_out import HeldOut
from mpnn.train.tasks.kept import OTHER_SOURCE, OTHER_TARGET, PART, SOURCE, TARGET, Items
from mpnn.train.tasks.links import Links
from mpnn.train.tasks.node_task import named_graph, node_names
from mpnn.train.tasks.objective import Aim, objective
from mpnn.train.tasks.pairs import Pairs, draw_unlinked
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask, edge_features, in_a_part, warn_of_bad_features

LINKS, UNDIRECTED = "links", "undirected"  # of what a run keeps of its graph


class LinkTask(SupervisedTask):
    """Tell pairs of nodes that are linked from others (Kipf & Welling, 2016).

    The model sees only the links to train on. As many pairs without a link are drawn for each part: once for
    the parts to validate and to test on, and anew in each epoch for training. Models are called as
    `model(x, graph, pairs)`, with `edge_attr` where the data has it, and return a score `[num_pairs, 1]`.
    The items are all links, then as many others.

    Args:
        held: the graph of the links to train on, and the links of each part, see `hold_out`.
        seed: of the pairs without a link that models are validated and tested on.
        hits: k of the metric Hits@k.
        self_links: whether in training each node is linked with itself too, as by Kipf and Welling, whose
            adjacency matrix has ones on its diagonal.

    Raises:
        RunError: the graph has too few pairs without a link.
    """

    item = "pair"

    def __init__(
        self,
        held: HeldOut,
        *,
        seed: int = 0,
        hits: int = 20,
        self_links: bool = False,
    ) -> None:
        data, ends, split, self.undirected, others = held
        count = ends.size(1)
        if others is None:
            others = draw_unlinked(
                data.num_nodes,
                ends,
                count,
                undirected=self.undirected,
                generator=torch.Generator().manual_seed(seed),
                distinct=True,
            )
        self.pairs = torch.cat([ends, others], dim=1)
        y = (torch.arange(2 * count, device=others.device) < count).unsqueeze(1)
        both = Split(*(torch.cat([part, part + count]) for part in split))
        super().__init__(data, Links(hits), y, both, data.num_features, data.edge_dim)
        self.graph = data.graph
        self._edges = edge_features(data.edge_attr)
        links = ends[:, split.train]
        self._links = (
            links.cpu()
        )  # on the host, which draws the pairs of every epoch and must know how many fit
        loops = torch.arange(data.num_nodes if self_links else 0, device=others.device)
        self._there = torch.cat([links, loops.expand(2, -1)], dim=1)
        warn_of_bad_features(data.name, data.x)

    def batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        """All links to train on, and as many pairs that are no such links."""
        count = self._there.size(1)
        others = draw_unlinked(self.data.num_nodes, self._links, count, undirected=self.undirected)
        others = others.to(self.device, non_blocking=True)
        y = torch.arange(2 * count, device=self.device) < count
        return [(torch.cat([self._there, others], dim=1), y.unsqueeze(1))]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Binary cross-entropy, and the model's own penalty if it is an autoencoder."""
        pairs, y = batch
        if not isinstance(model, GAE):
            return self.objective.loss(model(self.data.x, self.graph, pairs, **self._edges), y)
        scores, penalty = model.reconstruct(self.data.x, self.graph, pairs, **self._edges)
        return self.objective.loss(scores, y) + penalty

    def outputs(self, model: nn.Module) -> Tensor:
        """The scores of all links and of as many others."""
        scores: Tensor = model(self.data.x, self.graph, self.pairs, **self._edges)
        return scores

    def names(self) -> dict[str, list[str]]:
        """The names of both nodes."""
        return pair_names(self.data, self.pairs)

    def items(self) -> Items | None:
        """Each link, the pair without a link that stands against it, and their part."""
        if not self.data.node_names:
            return None
        links, others = (pair_names(self.data, pairs) for pairs in self.pairs.chunk(2, dim=1))
        parts = self.parts()[: len(links[SOURCE])]
        columns = links | {OTHER_SOURCE: others[SOURCE], OTHER_TARGET: others[TARGET], PART: parts}
        return in_a_part(columns)

    def known_graph(self) -> dict[str, Any] | None:
        """The links to train on, and all links, which are not missing."""
        graph = named_graph(self.data)
        return graph and graph | {LINKS: self.pairs.chunk(2, dim=1)[0].cpu(), UNDIRECTED: self.undirected}

    def attempt(self, model: nn.Module) -> None:
        """One pair."""
        model(self.data.x, self.graph, self.pairs[:, :1], **self._edges)

    def example(self) -> tuple[Tensor, Graph, dict[str, Tensor]]:
        """The links to train on."""
        return self.data.x, self.graph, self._edges

    def degrees(self) -> Tensor:
        """Histogram of the in-degrees among the links to train on."""
        in_degree: Tensor = self.graph.in_degree
        return in_degree.bincount()


class EdgeTask(SupervisedTask):
    """Tell the classes, labels or numbers of edges, some of which are known.

    The model sees all edges. If each edge is there in both directions with the same answer, the two are one
    item. Models are called as `model(x, graph, pairs)` and return `[num_pairs, out_channels]`.

    Args:
        data: graph, features and answers of the edges.
        pairs: the items, see `labelled_pairs`.
        y: their answers.
        split: which of them are to train, to validate and to test on.
        aim: loss, class_weights and known_counts, see `objective`.
    """

    item = "edge"

    def __init__(
        self,
        data: NodeDataset,
        pairs: Tensor,
        y: Tensor,
        split: Split,
        **aim: Unpack[Aim],
    ) -> None:
        found = objective(y[split.train], data.edge_class_names, **aim)
        super().__init__(data, found, y, split, data.num_features, data.edge_dim)
        self.pairs = pairs
        self._edges = edge_features(data.edge_attr)
        warn_of_bad_features(data.name, data.x)

    def batches(self) -> Iterable[None]:
        """The whole graph at once."""
        return (None,)

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        """Loss over the training edges."""
        train = self.split.train
        output = model(self.data.x, self.data.graph, self.pairs[:, train], **self._edges)
        return self.objective.loss(output, self.y[train])

    def outputs(self, model: nn.Module) -> Tensor:
        """Of all items."""
        output: Tensor = model(self.data.x, self.data.graph, self.pairs, **self._edges)
        return output

    def names(self) -> dict[str, list[str]]:
        """The names of both nodes."""
        return pair_names(self.data, self.pairs)

    def items(self) -> Items | None:
        """The nodes of each edge and its part; None if edges have no names, or two have the same."""
        ends = [*zip(*self.names().values(), strict=True)]
        if not self.data.node_names or len({*ends}) < len(ends):
            return None
        return in_a_part(self.names() | {PART: self.parts()})

    def attempt(self, model: nn.Module) -> None:
        """One pair."""
        model(self.data.x, self.data.graph, self.pairs[:, :1], **self._edges)

    def example(self) -> tuple[Tensor, Graph, dict[str, Tensor]]:
        """All there is."""
        return self.data.x, self.data.graph, self._edges

    def degrees(self) -> Tensor:
        """Histogram of the graph's in-degrees."""
        in_degree: Tensor = self.data.graph.in_degree
        return in_degree.bincount()


def pair_names(data: NodeDataset, pairs: Tensor) -> dict[str, list[str]]:
    """Columns with the names of the two nodes of each pair."""
    names = node_names(data)
    sources, targets = pairs.tolist()
    return {SOURCE: [names[node] for node in sources], TARGET: [names[node] for node in targets]}


def labelled_pairs(data: NodeDataset) -> tuple[Tensor, Tensor]:
    """Return the edges whose answers are to be learned, `[2, num_items]`, and the answers.

    Raises:
        RunError: there are none.
    """
    if data.edge_y is None:
        raise RunError(f"{data.name} has no classes, labels or numbers of edges to learn: predict links")
    pairs = Pairs.of(data.graph)
    order = pairs.pair.argsort(stable=True)
    owner = pairs.pair[order]
    first = order[torch.cat([owner.new_ones(1, dtype=torch.bool), owner[1:] != owner[:-1]]) & (owner >= 0)]
    loops = bool((pairs.pair < 0).any())
    if loops or not pairs.undirected or not torch.equal(data.edge_y[first][pairs.pair], data.edge_y):
        return data.graph.edge_index, data.edge_y
    return data.graph.edge_index[:, first], data.edge_y[first]
