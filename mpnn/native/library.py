"""The C files of this folder, compiled for the types and constants at hand."""

from __future__ import annotations

import ctypes
import re
from importlib.resources import files

import torch

from mpnn.native.compiler import CompilerError, load

TYPES = {torch.float32: "float", torch.float64: "double", torch.int32: "int32_t", torch.int64: "int64_t"}


def library(name: str, *, exact: bool = False, **given: torch.dtype | int) -> ctypes.CDLL | None:
    """The functions of a file; None without a compiler.

    Args:
        name: of the file, without its ending.
        exact: whether products and sums must round as they are written.
        given: what a `typedef` of the file's, or a `#define` of a number, is to stand for instead.
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
