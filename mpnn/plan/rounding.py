"""Casts that a message makes to lose digits: `x.to(torch.bfloat16).to(x.dtype)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from mpnn.plan.homes import op_name
from mpnn.plan.rows import NotFusableError


def refuse_rounding(arguments: Sequence[fx.Node], operations: Sequence[fx.Node]) -> None:
    """Refuse operations by which numbers are rounded below the types of the arguments, and widened again.

    A kernel computes all of a message in one type, which has the digits of its arguments: those lost on
    the way would still be there. Where the last values are of the narrow type, they are rounded as they are
    stored.

    Raises:
        NotFusableError: there are such operations.
    """
    least = min((size for size in map(_float_size, arguments) if size is not None), default=0)
    rounded: set[fx.Node] = set()
    for node in operations:
        size = _float_size(node)
        if size is None:
            continue
        if not rounded.isdisjoint(node.all_input_nodes):
            if size >= least:
                raise NotFusableError("the message rounds numbers to a narrower type")
            rounded.add(node)
        elif op_name(node) == "_to_copy" and size < least:
            rounded.add(node)


def _float_size(node: fx.Node) -> int | None:
    value = node.meta["val"]
    dtype: torch.dtype = (value[0] if isinstance(value, list | tuple) else value).dtype
    return dtype.itemsize if dtype.is_floating_point else None
