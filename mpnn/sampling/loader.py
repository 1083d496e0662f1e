"""Mini-batches of nodes with their neighbours."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import as_int, checked_positions
from mpnn.sampling.neighbors import check_room, sample_of
from mpnn.sampling.padded import padded_sample
from mpnn.sampling.sample import Sample
from mpnn.sampling.slots import checked_fanouts

_DEFAULTS = inspect.signature(DataLoader.__init__).parameters


class NeighborLoader(DataLoader[int]):
    """Mini-batches of nodes, each with the neighbours drawn for it: a new draw in every epoch.

    Each of several processes draws batches of all the nodes, unless it is given a sampler:
    `DistributedSampler(loader.dataset)` gives each its share. Lightning does so by itself, as with every
    `DataLoader`: it makes the loader again, of its attributes and with `sampler`.

    Args:
        graph: a `Graph` with one set of nodes, or an `edge_index` tensor.
        fanouts: of each layer of the network how many edges enter a node at most; -1 for all.
        nodes: which nodes the batches are of, `[num_seeds]` or a mask `[num_nodes]`; None means all.
        batch_size: how many of them a batch has; the last one has what is left.
        shuffle: whether their order is drawn anew in every epoch.
        padded: whether batches have a fixed size, for which the host need not wait: see `sample_neighbors`.
        sampler: positions in `nodes`, in the order of an epoch, in place of `shuffle`.
        batch_sampler: lists of such positions, a batch each, in place of `batch_size` too.
        **made_again: what Lightning adds: `dataset` and `collate_fn`, which this loader has of its own, and
            defaults of a `DataLoader`.

    Raises:
        TypeError: another option of a `DataLoader`: batches are drawn where they are used, by no workers.

    >>> data = mpnn.datasets.load("karate")
    >>> model = mpnn.models.GNN(data.num_features, 8, data.num_classes, num_layers=2)
    >>> for batch in mpnn.NeighborLoader(data.graph, [5, 5], batch_size=16):
    ...     logits = model(data.x[batch.nodes], batch.graph)[:batch.num_seeds]
    ...     truth = data.y[batch.nodes[:batch.num_seeds]]
    ...     print(logits.shape, truth.shape)
    torch.Size([16, 2]) torch.Size([16])
    torch.Size([16, 2]) torch.Size([16])
    torch.Size([2, 2]) torch.Size([2])
    """

    def __init__(
        self,
        graph: Topology,
        fanouts: Sequence[int],
        *,
        nodes: Tensor | None = None,
        batch_size: int,
        shuffle: bool = False,
        padded: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        **made_again: Any,
    ) -> None:
        for name in made_again.keys() - {"dataset", "collate_fn"}:
            if name in _DEFAULTS and made_again[name] == _DEFAULTS[name].default:
                continue
            raise TypeError(
                f"{name} is {made_again[name]!r}, but NeighborLoader has no such option: it draws each batch "
                "where it is used, on the device of the graph."
            )
        self.graph = as_graph(graph)
        self.graph.require_one_node_set("NeighborLoader")
        if nodes is None:
            nodes = torch.arange(self.graph.num_nodes, device=self.graph.device)
        self.nodes = checked_positions("nodes", nodes, self.graph.num_nodes, self.graph.device)
        self.fanouts = checked_fanouts(fanouts, padded)
        batch_size = as_int("batch_size", batch_size, 1)
        self.shuffle, self.padded = shuffle, padded
        if padded:
            check_room(min(batch_size, self.nodes.numel()), self.fanouts)
        self._is_told = sampler is not None or batch_sampler is not None
        options: dict[str, Any] = {"batch_sampler": batch_sampler, "sampler": sampler}
        options |= {} if batch_sampler is not None else {"batch_size": batch_size}
        # Without nodes there is no order, and PyTorch's sampler raises.
        options["shuffle"] = shuffle and len(self.nodes) > 0
        super().__init__(range(len(self.nodes)), **options)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]
        draw = padded_sample if self.padded else sample_of
        for nodes in self._parts():
            yield draw(self.graph, nodes, self.fanouts, None)

    def _parts(self) -> Iterable[Tensor]:
        """The nodes of each batch."""
        nodes = self.nodes
        if self._is_told:
            told = cast(Iterable[list[int]], self.batch_sampler)
            return (nodes[torch.tensor(part, device=nodes.device)] for part in told)
        if self.shuffle:
            nodes = nodes[torch.randperm(nodes.numel(), device=nodes.device)]
        return torch.split(nodes, cast(int, self.batch_size)) if nodes.numel() else ()
