"""What a graph is besides its edges, and how another graph takes it over: by origin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.batch import Batch
from mpnn.graph.checks import (
    Size,
    checked_edge_index,
    checked_edge_time,
    checked_edge_type,
    checked_num_edge_types,
    checked_size,
)
from mpnn.graph.lifetime import lasting


class EdgeFacts(NamedTuple):
    """What every edge carries besides its ends: `[num_edges]`, or None where edges carry no such thing.

    Every graph that is made of another takes all of them over. One more is a line here, a check in `CHECKS`
    and an argument of `Graph`.
    """

    edge_type: Tensor | None = None  # int64
    edge_time: Tensor | None = None  # int64 or floating point

    def named(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        return {name: values for name, values in zip(self._fields, self, strict=True) if values is not None}

    def check_nothing(self, what: str) -> None:
        """Raise ValueError, which begins with `what`, if there is one that new edges would need as well."""
        for name in self.named():
            raise ValueError(
                f"{what} with {name}: no {name.removeprefix('edge_')} is known for the new edges; "
                f"graph.carrying({name}=None) has none."
            )

    def changed(self, change: Callable[[Tensor], Tensor]) -> EdgeFacts:
        """Each of them changed in the same way."""
        return EdgeFacts(*[None if values is None else lasting(change(values)) for values in self])

    def of(self, origin: Tensor) -> EdgeFacts:
        """Those of the edges numbered `origin`; zeros where there are no edges, only padding."""
        if torch.compiler.is_compiling():  # which cannot ask how many there are
            return self.changed(lambda values: values[origin])
        return self.changed(lambda values: values[origin] if len(values) else values.new_zeros(len(origin)))

    @classmethod
    def joined(cls, each: Sequence[EdgeFacts]) -> EdgeFacts:
        """Of several graphs one behind the other, which all have the same kinds of them, or ValueError."""
        joined: list[Tensor | None] = []
        for name, column in zip(cls._fields, zip(*each, strict=True), strict=True):
            known = [values for values in column if values is not None]
            if not known:
                joined.append(None)
                continue
            if len(known) != len(column):
                raise ValueError(f"some graphs have {name} and others do not: a batch needs all or none.")
            if len({values.dtype for values in known}) > 1:
                raise ValueError(f"graphs differ in the dtype of {name}: a batch needs graphs of one kind.")
            joined.append(lasting(torch.cat(known)))
        return cls(*joined)


NO_EDGE_FACTS = EdgeFacts()
CHECKS = (checked_edge_type, checked_edge_time)  # of `EdgeFacts`, in its order


def checked_edge_facts(
    edge_index: Tensor, edges: EdgeFacts, take: Callable[[str, Tensor], Tensor] = lambda _, values: values
) -> EdgeFacts:
    """Each beside `edge_index`, in the type in which a graph keeps it: see `Graph` for the errors.

    `take` gets each with its name, and returns what is to be kept of it.
    """
    return EdgeFacts(
        *[
            None if values is None else take(name, check(values, edge_index))
            for name, check, values in zip(EdgeFacts._fields, CHECKS, edges, strict=True)
        ]
    )


class Facts(NamedTuple):
    """What a graph is besides its edges.

    A graph that is made of another has numbers for where its edges and nodes are from, their origin; what
    edges carry and what is known of nodes follows by these, in `carried` alone.
    """

    size: Size  # (num_src, num_dst)
    bipartite: bool  # whether sources and destinations are two sets of nodes
    edges: EdgeFacts = NO_EDGE_FACTS
    num_edge_types: int = 1
    batch: Batch | None = None  # where the graphs begin that it is a batch of
    fleeting: bool = False  # whether it is made for one step
    loopless: Tensor | None = None  # as many edges without loops: a padded sample has those in its padding

    def carried(
        self, origin: Tensor | None, nodes: tuple[Tensor, Tensor] | None, but: Collection[str] = ()
    ) -> Facts:
        """The same of other edges and nodes.

        Args:
            origin: `[num_edges']`, which edge each is; None for the same edges.
            nodes: which source each is, and which destination; None for the same nodes.
            but: what is not to be looked at, because it will be said.
        """
        facts = self
        if nodes is not None:
            facts = facts._replace(size=(nodes[0].numel(), nodes[1].numel()))
            if self.batch is not None and "batch" not in but:
                facts = facts._replace(batch=self.batch.keep(*nodes))
        if origin is not None:
            if "edges" not in but:
                facts = facts._replace(edges=self.edges.of(origin))
            if self.loopless is not None and "loopless" not in but:
                facts = facts._replace(loopless=lasting(self.loopless[:, origin]))
        return facts

    def reverse(self) -> Facts:
        """With every edge turned round."""
        return self._replace(
            size=(self.size[1], self.size[0]),
            batch=None if self.batch is None else self.batch.reverse(),
            loopless=None if self.loopless is None else lasting(self.loopless.flip(0)),
        )

    def to(self, device: torch.device) -> Facts:
        """On another device."""
        away = device.type != "cpu"  # what comes from there must have come before the host reads it
        return self._replace(
            edges=self.edges.changed(lambda values: values.to(device, non_blocking=away)),
            batch=None if self.batch is None else self.batch.to(device),
            loopless=None if self.loopless is None else self.loopless.to(device, non_blocking=away),
        )

    @classmethod
    def joined(cls, each: Sequence[Facts], device: torch.device) -> Facts:
        """Of a batch of several graphs, which are all bipartite or all not.

        The padding of samples among them is forgotten: their loops are looked for again.
        """
        sizes = [facts.size for facts in each]
        graphs = [size for facts in each for size in facts.sizes]
        return cls(
            size=(sum(num_src for num_src, _ in sizes), sum(num_dst for _, num_dst in sizes)),
            bipartite=each[0].bipartite,
            edges=EdgeFacts.joined([facts.edges for facts in each]),
            num_edge_types=max(facts.num_edge_types for facts in each),
            batch=Batch.of(graphs, device),
            fleeting=True,
        )

    @property
    def sizes(self) -> list[Size]:
        """`(num_src, num_dst)` of each graph of the batch; of a single graph its own."""
        return [self.size] if self.batch is None else self.batch.sizes


def check_restored(edge_index: Tensor | None, facts: Facts) -> None:
    """Raise unless what a file says of a graph fits together: see `Graph` for the errors."""
    if type(facts) is not Facts or type(facts.size) is not tuple or type(facts.edges) is not EdgeFacts:
        raise TypeError(f"a saved graph should hold its facts, but holds {type(facts).__name__}.")
    if facts.batch is not None:
        for ptr, count in zip(facts.batch, facts.size, strict=True):
            if ptr.is_meta:
                continue
            if ptr.dim() != 1 or int(ptr[0]) != 0 or int(ptr[-1]) != count or bool((ptr.diff() < 0).any()):
                raise ValueError(
                    f"the graphs of a saved batch should have {count} nodes, one after the other."
                )
    if edge_index is None or type(edge_index) is not Tensor:
        return
    for name, index in (("edge_index", edge_index), ("loopless", facts.loopless)):
        if index is not None and (index.dtype != torch.int64 or index.shape != edge_index.shape):
            raise ValueError(f"{name} of a saved graph is {index.dtype} {list(index.shape)}.")
        if index is not None:
            checked_size(facts.size, checked_edge_index(index))
    checked = checked_edge_facts(edge_index, facts.edges).named()
    for name, values in facts.edges.named().items():
        if checked[name].dtype != values.dtype:
            raise ValueError(f"{name} of a saved graph is {values.dtype}.")
    if "edge_type" in checked:
        checked_num_edge_types(facts.num_edge_types, checked["edge_type"])
