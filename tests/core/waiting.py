"""What makes the host wait for a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# On a GPU these need to know what is in a tensor, and wait for it.
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive",
    "bincount", "is_nonzero", "equal",
}  # fmt: skip


class NoWaiting(TorchDispatchMode):
    """Raises where PyTorch would wait for a GPU, also when all of it runs on the CPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        chosen = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(isinstance(one, Tensor) and one.dtype == torch.bool for one in chosen)
        counted = name == "repeat_interleave" and not (kwargs or {}).get("output_size")
        if name in WAITING or by_mask or counted:
            raise AssertionError(f"{func} waits for the device.")
        return func(*args, **(kwargs or {}))
