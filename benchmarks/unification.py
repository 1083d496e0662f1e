"""The tables of docs/unification.md: what each architecture is, and how far it is from its oracle.

    python benchmarks/unification.py
    python benchmarks/unification.py --only GCN     # a row, by its name

Each row runs in float64 edge by edge (`backend("eager")`) and on its kernel: the one in the last column of
the first table (`backend("dense")`, which refuses a step that no rule matches), or the default backend where
that says none. A number is the largest absolute difference from the oracle over all cases of the row:
outputs, and gradients of all inputs and parameters. Takes less than a minute on one core.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from architectures import ROWS, Row
from oracles import Case, Parameters
from torch import Tensor

import mpnn


def outputs_and_gradients(
    function: Callable[..., Any], inputs: Sequence[Tensor], parameters: Parameters
) -> list[Tensor]:
    """The outputs, and the gradients of one random weighting of them."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = _tensors(function(*leaves))
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(out.shape, generator=generator, dtype=out.dtype) for out in outputs]
    total = sum(((out * weight).sum() for out, weight in zip(outputs, weights, strict=True)), torch.zeros(()))
    wanted = [*leaves, *parameters]
    gradients = torch.autograd.grad(total, wanted, allow_unused=True)
    found = [torch.zeros_like(x) if grad is None else grad for x, grad in zip(wanted, gradients, strict=True)]
    return [out.detach() for out in outputs] + found


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in _tensors(part)]


def difference(case: Case, backend: str) -> float:
    """The largest absolute difference between ours on a backend and the oracle."""
    with mpnn.backend(backend):
        ours = outputs_and_gradients(case.ours, case.inputs, case.our_parameters)
    theirs = outputs_and_gradients(case.theirs, case.inputs, case.their_parameters)
    pairs = zip(ours, theirs, strict=True)
    # A linear layer on a graph has its weights in one row.
    return max(float((a.reshape(b.shape) - b).abs().max()) for a, b in pairs)


def measure(row: Row) -> tuple[float, float]:
    """The differences edge by edge and on the kernel."""
    torch.manual_seed(0)
    cases = row.cases()
    kernel = "auto" if row.kernel.startswith("none") else "dense"
    return max(difference(case, "eager") for case in cases), max(difference(case, kernel) for case in cases)


def shown(number: float) -> str:
    return f"{number:.0e}" if number else "0"


def linked(row: Row) -> str:
    """The row's name and its classes, each with a link to its file."""
    file, *classes = row.links.split()
    links = ", ".join(f"[`{name}`](../models/{file}.py)" for name in classes)
    return links if row.name in classes else f"{row.name}: {links}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def descriptions(rows: Sequence[Row] = ROWS) -> str:
    """The first table: each architecture in words."""
    head = ("layer", "topology", "message", "aggregate", "schedule", "dense kernel it lowers to")
    return table(head, [(linked(r), r.topology, r.message, r.aggregate, r.schedule, r.kernel) for r in rows])


def differences(rows: Sequence[Row] = ROWS) -> str:
    """The second table: each architecture's differences from its oracle."""
    head = ("layer", "what a node becomes", "oracle", "edge by edge", "kernel")
    return table(head, [(r.name, r.equation, r.oracle, *map(shown, measure(r))) for r in rows])


def main() -> None:
    """Read the command line, print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROW")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if row.name in arguments.only]
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(1)
    print(descriptions(rows), differences(rows), sep="\n\n")


if __name__ == "__main__":
    main()
