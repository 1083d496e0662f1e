"""Tensors that outlive the call that makes them: inference mode, transforms and fake tensors stay outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor

from mpnn.borrowed import transform_level, without_modes, without_transforms
from mpnn.native.gate import has_data
from mpnn.native.reach import imagines


def lasting(index: Tensor) -> Tensor:
    """A tensor that autograd may save, also when it was made under `torch.inference_mode`."""
    if torch.compiler.is_compiling() or not index.is_inference():
        return index
    with torch.inference_mode(False):
        return index.clone()


_AS_IT_IS = nullcontext()


def outliving(edge_index: Tensor | None) -> AbstractContextManager[None]:
    """What the block computes from a topology outlives the evaluation or the transform that is going on.

    So does what is made of edges that are there while other tensors are only imagined.
    """
    if torch.is_inference_mode_enabled() or transform_level() is not None:
        return _outside()
    if imagines() and (edge_index is None or has_data(edge_index)):
        return without_modes()
    return _AS_IT_IS


@contextmanager
def _outside() -> Iterator[None]:
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if transform_level() is not None:
            stack.enter_context(without_transforms())
        yield
