"""What a model is built for: widths and counts, which a run keeps to build its model without the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from mpnn.train.errors import RunError


@dataclass(frozen=True)
class Shape:
    """Widths and counts.

    Args:
        name: of the data, for sentences.
        item: what the model tells something of: node, pair, edge, graph, image or text.
        num_features: width of the node features.
        out_channels: width of the output.
        edge_dim: width of the edge features, None without.
        degrees: how many nodes have each in-degree, from 0; empty where the items are of no graph.
        num_relations: how many types of edges there are, 0 without types.
        size: height and width of an image; empty for others.
        mean, scale: of numbers that are learned standardised; empty for other answers.
        learns: what an output is: `"classes"`, `"labels"`, `"numbers"`, ...
    """

    name: str
    item: str
    num_features: int
    out_channels: int
    edge_dim: int | None = None
    degrees: tuple[int, ...] = ()
    num_relations: int = 0
    size: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    learns: str = "classes"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what a JSON file holds.

        Raises:
            RunError: it is something else.
        """
        types = {field.name: str(field.type) for field in fields(cls)}
        try:
            tuples: dict[str, Any] = {name: tuple(map(int, values[name])) for name in ("degrees", "size")}
            tuples |= {name: tuple(map(float, values.get(name, ()))) for name in ("mean", "scale")}
            found = cls(**dict(values) | tuples)
        except (TypeError, KeyError, ValueError) as error:
            raise RunError(f"what a run says of its model's shape is damaged: {error}") from error
        for name, kind in types.items():
            value = getattr(found, name)
            if kind.startswith("int") and not (isinstance(value, int) or (value is None and "None" in kind)):
                raise RunError(f"what a run says of its model's shape is damaged: {name} is {value!r}")
        if not len(found.mean) == len(found.scale) in (0, found.out_channels):
            raise RunError(f"what a run says of its model's shape is damaged: scale is {found.scale}")
        return found
