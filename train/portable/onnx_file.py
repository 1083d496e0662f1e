"""A traced program as an ONNX file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

from mpnn.train.errors import RunError
from mpnn.train.portable.inputs import Input
from mpnn.train.portable.quiet import quiet
from mpnn.train.portable.recurrent import of_onnx


def to_onnx(
    program: ExportedProgram, inputs: Sequence[Input], outputs: Sequence[str], extra: Mapping[str, str]
) -> bytes:
    """The bytes of an ONNX file.

    Args:
        program: operations of PyTorch's own.
        inputs: what it takes.
        outputs: names of what it gives.
        extra: texts to be kept in the file, by name.

    Raises:
        RunError: the packages that write ONNX are not installed, or ONNX has no such operation.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise RunError(
            "to is 'onnx', which the packages onnx and onnxscript write: pip install 'mpnn[export]'"
        ) from None
    try:
        with quiet():
            made: Any = torch.onnx.export(
                program,
                input_names=[one.name for one in inputs],
                output_names=list(outputs),
                custom_translation_table=of_onnx(),
                verbose=False,
            )
    except Exception as error:  # whatever the packages raise
        raise RunError(f"the model cannot be written as ONNX: {_reason(error)}") from error
    proto = made.model_proto
    names = _sizes(proto, inputs)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]
    for key, text in extra.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    written: bytes = proto.SerializeToString()
    return written


def _sizes(proto: Any, inputs: Sequence[Input]) -> dict[str, str]:
    """What each symbol of PyTorch's counts."""
    found = {}
    for value, one in zip(proto.graph.input, inputs, strict=True):
        for dimension, name in zip(value.type.tensor_type.shape.dim, one.shape, strict=True):
            if dimension.dim_param and isinstance(name, str):
                found[dimension.dim_param] = name
    return found


def _reason(error: Exception) -> str:
    """Which operation, and why: the packages tell a story."""
    text = str(error).partition("Exception summary")[2] or str(error)
    found = re.search(r"%\w+ : .*?target=torch\.ops\.([\w.]+)", text)
    if "No decompositions" in text or "No ONNX function" in text:
        what = f"there is no ONNX function for {found[1]}" if found else "an operation has no ONNX function"
        return f"{what} in the package onnxscript"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)[:400]
