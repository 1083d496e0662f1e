"""A model becomes a file that runs without this package."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import __version__
from mpnn.train.choices import PORTABLE
from mpnn.train.errors import RunError
from mpnn.train.fitting.checkpoint import write
from mpnn.train.portable.inputs import Input, Sizes, distinct_sizes, inputs_of, most
from mpnn.train.portable.onnx_file import to_onnx
from mpnn.train.portable.program import Call, program_of, tensors
from mpnn.train.portable.recurrent import with_own
from mpnn.train.portable.torchscript import to_torchscript

FACTS = "mpnn.json"  # in the file, what it takes and gives; in ONNX a property of the model
VERSION = 1  # of these facts


@dataclass(frozen=True)
class Portable:
    """What becomes a file.

    Args:
        model: the network, in evaluation, on the CPU.
        call: `call(model, *tensors)`.
        inputs: what the file takes.
        outputs: names of what it gives.
        facts: what else is written into the file, as plain values.
        checked: inputs of further sizes, on which the file's program must give what the model gives.
    """

    model: nn.Module
    call: Call
    inputs: Sequence[Input]
    outputs: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    checked: Sequence[Sequence[Tensor]] = ()


def export(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    path: str | Path,
    *,
    to: str | None = None,
    sizes: Mapping[str, Sizes] | None = None,
) -> Path:
    """Write a model as a file that runs without mpnn, on inputs of other sizes, too.

    Args:
        model: the network; it is exported as in evaluation, for the CPU.
        inputs: example tensors by name, in the order of the arguments of `model.forward`. They are passed by
            position.
        path: of the file.
        to: "onnx"; "pt2" (`torch.export.load`); or "torchscript" (`torch.jit.load`). By default what the
            ending of `path` says: `.onnx`, `.pt2` or `.pt`.
        sizes: by name and dimension, what the sizes that may change count: `{"x": {0: "batch"}}`, or a
            `torch.export.Dim` that has a maximum. What counts the same has the same size. Known for `x`,
            `edge_index`, `edge_weight`, `edge_attr`, `edge_type` and `pairs`.

    Returns:
        The path.

    Raises:
        RunError: the model cannot be exported, and why; or a package is not installed.

    >>> import tempfile
    >>> model = mpnn.models.GCNConv(3, 2)
    >>> ring = {"x": torch.randn(4, 3), "edge_index": torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])}
    >>> with tempfile.TemporaryDirectory() as home:
    ...     loaded = torch.export.load(export(model, ring, f"{home}/gcn.pt2")).module()
    >>> torch.allclose(loaded(*ring.values()), model(*ring.values()), atol=1e-6)
    True
    """
    given = inputs_of(inputs, sizes)
    traced = distinct_sizes(given)
    larger = {name: min(2 * count + 1, most(given, name)) for name, count in traced.items()}
    was_training, place = model.training, {tensor.device for tensor in inputs.values()}
    if place - {torch.device("cpu")}:
        raise RunError("inputs are on another device than the CPU, for which files are written")
    model.eval()
    try:
        one = Portable(
            model,
            lambda network, *values: network(*values),
            [one.resized(traced) for one in given],
            (),
            {"model": type(model).__name__},
            [[one.example for one in given], [one.resized(larger).example for one in given]],
        )
        return write_file(one, path, to)
    finally:
        model.train(was_training)


def write_file(one: Portable, path: str | Path, to: str | None = None) -> Path:
    """Write what `Portable` says; see `export` for the arguments and the errors."""
    path = Path(path)
    to = to or _format_of(path)
    if to not in PORTABLE:
        raise RunError(f"to is {to!r}, but should be one of {', '.join(PORTABLE)}")
    program = program_of(one.model, one.call, one.inputs, one.checked)
    with torch.no_grad():
        made = tensors(one.call(one.model, *(given.example for given in one.inputs)))
    names = list(one.outputs) or (["output"] if len(made) == 1 else [f"output{k}" for k in range(len(made))])
    text = json.dumps(
        {
            "version": VERSION,
            "mpnn": __version__,
            **one.facts,
            "inputs": [given.described() for given in one.inputs],
            "outputs": names,
        },
        indent=2,
    )
    if to == "onnx":
        content = to_onnx(program, one.inputs, names, {FACTS: text})
    elif to == "torchscript":
        content = to_torchscript(with_own(program), {FACTS: text})
    else:
        buffer = io.BytesIO()
        torch.export.save(with_own(program), buffer, extra_files={FACTS: text})
        content = buffer.getvalue()
    write(path, content)
    return path


def _format_of(path: Path) -> str:
    for name, ending in PORTABLE.items():
        if path.suffix == ending:
            return name
    raise RunError(
        f"the file {str(path)!r} ends in none of {', '.join(PORTABLE.values())}: say to= one of "
        f"{', '.join(PORTABLE)}"
    )
