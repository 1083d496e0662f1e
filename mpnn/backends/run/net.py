"""The net under compiled kernels: what fails inside this package leads to `eager`, and is said once.

With the environment variable `MPNN_STRICT=1` it is raised instead, as in every test of this package.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mpnn.step.step import Step
from mpnn.strict import is_strict

What = Step | Callable[..., Any] | str

# What another way would meet as well, or make worse.
NOT_OURS = (MemoryError, torch.OutOfMemoryError, RecursionError)


def title(what: What) -> str:
    """A name for a step or its message: its layer and what that calls."""
    if isinstance(what, str):
        return what
    if isinstance(what, Step) and what.recurrence is not None:
        return what.recurrence.name
    message = what.message if isinstance(what, Step) else what
    owner = getattr(message, "__self__", None)
    name = getattr(message, "__name__", type(message).__name__)
    return f"{type(owner).__name__}.{name}()" if isinstance(owner, nn.Module) else name


def caught(what: What, error: Exception, instead: str = "in plain PyTorch") -> str:
    """A fault of this package: raised where that is wanted, else said once; the reason in words.

    Raises:
        Exception: the error, if it is not ours or faults are to be raised.
    """
    if is_strict() or isinstance(error, NOT_OURS) or "can't allocate memory" in str(error):
        raise error
    first = (str(error).strip().splitlines() or [""])[0]
    reason = f"an error of mpnn's own ({type(error).__name__}: {first})"
    key = f"{title(what)} {reason}"
    if key not in _said:
        _said.add(key)
        warnings.warn(
            f"mpnn computes {title(what)} {instead} after {reason}: results are right, and slower. Please "
            "report it with the code of the message.",
            RuntimeWarning,
            stacklevel=3,
        )
    return reason


_said: set[str] = set()
