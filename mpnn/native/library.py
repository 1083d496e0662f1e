"""The C files of this folder, compiled for given types and constants."""

from __future__ import annotations

import ctypes
import re
from importlib.resources import files

import torch

from mpnn.native.compiler import load
from mpnn.native.toolchain import CompilerError

TYPES = {torch.float32: "float", torch.float64: "double", torch.int32: "int32_t", torch.int64: "int64_t"}


def library(name: str, *, exact: bool = False, **given: torch.dtype | int) -> ctypes.CDLL | None:
    """The functions of a C file, or None without a compiler.

    Args:
        name: the file, without `.c`.
        exact: whether products and sums must round as they are written.
        given: for a `typedef` of the file its dtype, for a `#define` of the file its number.
    """
    source = files("mpnn.native").joinpath(f"{name}.c").read_text()
    for word, meaning in given.items():
        if isinstance(meaning, torch.dtype):
            source, found = re.subn(rf"typedef \w+ {word};", f"typedef {TYPES[meaning]} {word};", source)
        else:
            source, found = re.subn(rf"#define {word} \d+", f"#define {word} {meaning}", source)
        assert found == 1, f"{name}.c leaves no {word} open"
    try:
        return load(source, exact=exact)
    except CompilerError:
        return None
