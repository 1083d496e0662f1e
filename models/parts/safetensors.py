"""Weights in the safetensors format: the length of a header, a header in JSON, the numbers of all tensors.

The format is described at https://github.com/huggingface/safetensors. Nothing in such a file can run; its
lengths and offsets are a stranger's, and are checked before a number is read.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from mpnn import files

LENGTH = 8  # bytes that say how long the header is
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: Path, error: files.Kind) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        error: the file cannot be read, is cut off, or says of a tensor what cannot be.
    """
    content = files.read(path, error)
    if len(content) < LENGTH:
        raise error(f"{path} is cut off: it holds {len(content)} bytes")
    start = LENGTH + int.from_bytes(content[:LENGTH], "little")
    if start > len(content):
        raise error(
            f"{path} is cut off or no safetensors file: its header should end at byte {start:,}, but it "
            f"holds {len(content):,} bytes"
        )
    header = _header(content[LENGTH:start], path, error)
    header.pop("__metadata__", None)
    found, ends = {}, 0
    for name, entry in sorted(header.items(), key=lambda one: _offsets(one[1])):
        dtype, shape, (first, last) = _entry(name, entry, path, error)
        if first != ends:
            raise error(f"{path} is damaged: {name!r} begins at byte {first:,} of the data, not at {ends:,}")
        ends = last
        if start + last > len(content):
            raise error(
                f"{path} is cut off: {name!r} should end at byte {start + last:,}, but it holds "
                f"{len(content):,} bytes"
            )
        numbers = bytearray(content[start + first : start + last])
        flat = torch.frombuffer(numbers, dtype=dtype) if numbers else torch.empty(0, dtype=dtype)
        found[name] = flat.view(shape)
    if start + ends != len(content):
        raise error(f"{path} is damaged: {len(content) - start - ends:,} bytes at its end are of no tensor")
    return found


def _header(text: bytes, path: Path, error: files.Kind) -> dict[str, Any]:
    try:
        header = json.loads(text.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as fault:
        raise error(f"{path} is damaged or no safetensors file: {fault}") from fault
    if not isinstance(header, dict):
        raise error(f"{path} is damaged: its header holds no names")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _offsets(entry: Any) -> tuple[Any, ...]:
    """What the tensors are sorted by; an entry without offsets gets its sentence later."""
    given = entry.get("data_offsets") if isinstance(entry, dict) else None
    return tuple(given) if _are_counts(given) else (-1,)


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in value)


def _entry(
    name: str, entry: Any, path: Path, error: files.Kind
) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    """The type, the shape, and the first and last byte of a tensor."""
    entry = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not (_are_counts(shape) and _are_counts(offsets) and len(offsets) == 2 and isinstance(kind, str)):
        raise error(f"{path} is damaged: its header does not say what {name!r} is")
    if kind not in TYPES:
        raise error(f"{path}: {name!r} is of type {kind}, but only {', '.join(TYPES)} are read")
    dtype = TYPES[kind]
    size = prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != size:
        raise error(
            f"{path} is damaged: {name!r} should hold {size:,} bytes, {kind} {shape}, but has "
            f"{offsets[1] - offsets[0]:,}"
        )
    return dtype, shape, (offsets[0], offsets[1])
