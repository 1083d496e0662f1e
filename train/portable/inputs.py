"""What a file takes: tensors by name, with the sizes that may be others from call to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.export import Dim

from mpnn.train.errors import RunError

Size = str | Dim
Sizes = Mapping[int, Size]  # by dimension

# What is usually called so.
ABOUT: dict[str, tuple[dict[int, str], str]] = {
    "x": ({0: "num_nodes"}, "features of the nodes"),
    "edge_index": ({1: "num_edges"}, "row 0 is where each edge comes from, row 1 where it goes to"),
    "edge_weight": ({0: "num_edges"}, "weights of the edges"),
    "edge_attr": ({0: "num_edges"}, "features of the edges"),
    "edge_type": ({0: "num_edges"}, "which relation each edge is"),
    "pairs": ({1: "num_pairs"}, "pairs of nodes to score: row 0 with row 1"),
}


@dataclass(frozen=True)
class Input:
    """A tensor that a file takes.

    Args:
        name: what it is called.
        example: one of the right type and widths.
        sizes: the dimensions that may have another size, each with what it counts.
        about: what it is, for people.
    """

    name: str
    example: Tensor
    sizes: Sizes = field(default_factory=dict)
    about: str = ""

    @property
    def shape(self) -> list[int | str]:
        """Each size as a number, or as what it counts."""
        return [size_name(self.sizes[k]) if k in self.sizes else n for k, n in enumerate(self.example.shape)]

    @property
    def dtype(self) -> str:
        """As other programs write it: float32, int64."""
        return str(self.example.dtype).removeprefix("torch.")

    def described(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"name": self.name, "dtype": self.dtype, "shape": self.shape, "about": self.about}

    def resized(self, wanted: Mapping[str, int]) -> Self:
        """One with other sizes, its rows again and again."""
        example = self.example
        for dimension, size in self.sizes.items():
            count = example.size(dimension)
            places = torch.arange(wanted[size_name(size)]) % max(1, count)
            example = example.index_select(dimension, places.to(example.device)) if count else example
        return replace(self, example=example)


def size_name(size: Size) -> str:
    """What a size counts."""
    return size if isinstance(size, str) else str(size.__name__)


def inputs_of(examples: Mapping[str, Tensor], sizes: Mapping[str, Sizes] | None) -> list[Input]:
    """The inputs of a model, from examples by name.

    Args:
        examples: one tensor for each.
        sizes: by name and dimension what each size that may change counts; known for `x`, `edge_index` and
            the others of `ABOUT`.

    Raises:
        RunError: it is not said which sizes of an input may change, or that is said of something else.
    """
    said = dict(sizes or {})
    found = []
    for name, example in examples.items():
        if not isinstance(example, Tensor):
            raise RunError(f"input {name} is a {type(example).__name__}, but a file takes tensors only")
        usual, about = ABOUT.get(name, (None, ""))
        own: Sizes | None = said.pop(name, usual)
        if own is None:
            raise RunError(
                f"nothing says which sizes of input {name} may change: give sizes={{{name!r}: "
                "{0: 'batch'}} or the like, or {} for none"
            )
        for dimension in own:
            if not 0 <= dimension < example.dim():
                raise RunError(
                    f"sizes names dimension {dimension} of input {name}, whose shape is {list(example.shape)}"
                )
        found.append(Input(name, example, own, about))
    for name in said:
        raise RunError(f"sizes names {name!r}, which is none of the inputs {', '.join(examples)}")
    return found


def dims_of(inputs: Sequence[Input]) -> dict[str, Dim]:
    """A dimension of `torch.export` for each thing that is counted; inputs that count the same share it."""
    found: dict[str, Dim] = {}
    for one in inputs:
        for size in one.sizes.values():
            name = size_name(size)
            known = found.setdefault(name, Dim(name) if isinstance(size, str) else size)
            if not isinstance(size, str) and known is not size:
                raise RunError(f"sizes holds two dimensions called {name!r}")
    return found


def distinct_sizes(inputs: Sequence[Input]) -> dict[str, int]:
    """A size for each, all different from each other and from all that are fixed.

    Two sizes of an example that happen to be equal would be taken for one, and a size of 1 for what is the
    same for all. No size is smaller than that of the example, so that numbers of nodes stay valid.
    """
    taken = {n for one in inputs for k, n in enumerate(one.example.shape) if k not in one.sizes}
    found: dict[str, int] = {}
    for name, dim in dims_of(inputs).items():
        least = max(
            one.example.size(k) for one in inputs for k, size in one.sizes.items() if size_name(size) == name
        )
        size = max(3, least)
        while size in taken:
            size += 1
        size = min(size, _most(dim))
        taken.add(size)
        found[name] = size
    return found


def most(inputs: Sequence[Input], name: str) -> int:
    """The highest that what is counted may be."""
    return _most(dims_of(inputs)[name])


def _most(dim: Dim) -> int:
    highest = getattr(dim, "max", None)
    return highest if isinstance(highest, int) else ANY


ANY = 2**62
