"""`torch.classes.pyg.CPUHashMap`: at which place each of some keys is."""

from __future__ import annotations

import torch
from torch import Tensor

# PyTorch's numbers for types, which the original returns.
_NUMBER_OF = {torch.int16: 2, torch.int32: 3, torch.int64: 4}


class CPUHashMap:
    """Finds the places of keys.

    Args:
        key: int16, int32 or int64 `[num_keys]`, each once.
        num_submaps: how the original divides its memory; it changes nothing here.

    >>> CPUHashMap(torch.tensor([10, 30, 20])).get(torch.tensor([30, 40]))
    tensor([ 1, -1])
    """

    def __init__(self, key: Tensor, num_submaps: int = 0) -> None:
        if key.dtype not in _NUMBER_OF or key.dim() != 1 or key.device.type != "cpu":
            raise TypeError(
                f"key must be an int16, int32 or int64 tensor [num_keys] on the CPU, got {key.dtype} "
                f"{list(key.shape)} on {key.device}."
            )
        self._keys, self._number_of_submaps = key.clone(), num_submaps
        self._sorted, self._place = torch.sort(self._keys)
        again = (self._sorted[1:] == self._sorted[:-1]).nonzero()
        if again.numel():
            raise RuntimeError(f"key holds {int(self._sorted[again[0]])} more than once: give each key once.")

    def get(self, query: Tensor) -> Tensor:
        """The place of each key `[num_queries]` int64, -1 of one that is not there."""
        if not self._keys.numel():
            return torch.full(query.shape, -1)
        place = torch.searchsorted(self._sorted, query.to(self._sorted.dtype).contiguous())
        place = place.clamp(max=self._sorted.numel() - 1)
        return torch.where(self._sorted[place] == query, self._place[place], -1)

    def keys(self) -> Tensor:
        """The keys as they were given."""
        return self._keys

    def size(self) -> int:
        """How many keys there are."""
        return self._keys.numel()

    def dtype(self) -> int:
        """PyTorch's number for the keys' type."""
        return _NUMBER_OF[self._keys.dtype]

    def device(self) -> torch.device:
        """The CPU."""
        return self._keys.device
