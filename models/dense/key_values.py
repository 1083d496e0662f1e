"""What attention has read: keys and values that are kept, so that a step of generation costs one row."""

from __future__ import annotations

import torch
from torch import Tensor


class KeyValues:
    """The keys and values that attention has read, so that a longer sequence is read from where it ended.

    Args:
        grows: whether every call adds its keys; else those of the first call are all, as those of a memory
            that every step of a decoder reads.

    >>> attention = mpnn.models.MultiheadAttention(8, num_heads=2, batch_first=True)
    >>> cache = KeyValues()
    >>> for word in torch.randn(3, 5, 8).split(1, 1):
    ...     out, _ = attention(word, word, word, need_weights=False, cache=cache)
    >>> out.shape, cache.length
    (torch.Size([3, 1, 8]), 5)
    """

    def __init__(self, *, grows: bool = True) -> None:
        self._grows = grows
        self._held: tuple[Tensor, Tensor] | None = None  # [batch, heads, length, head_dim] each

    @property
    def length(self) -> int:
        """How many keys of each sequence there are."""
        return 0 if self._held is None else self._held[0].size(2)

    @property
    def is_complete(self) -> bool:
        """Whether no key will be added."""
        return self._held is not None and not self._grows

    def read(self) -> tuple[Tensor, Tensor]:
        """All keys and values, `[batch, heads, length, head_dim]` each."""
        if self._held is None:
            raise ValueError("the cache is empty: append keys and values first.")
        return self._held

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add rows `[batch, heads, length, head_dim]`, and return all.

        Raises:
            ValueError: they are of another batch, or of heads of another number or width.
        """
        if self._held is not None:
            one, other = ((x.size(0), x.size(1), x.size(3)) for x in (self._held[0], k))
            if one != other:
                raise ValueError(
                    f"the cache holds (batch, heads, head_dim) = {one}, but was given {other}: a cache is of "
                    "one attention layer and one batch."
                )
            k, v = (torch.cat(pair, 2) for pair in zip(self._held, (k, v), strict=True))
        self._held = (k, v)
        return k, v

    def copy(self) -> KeyValues:
        """A cache that goes on from here without changing this one; no number is copied."""
        other = KeyValues(grows=self._grows)
        other._held = self._held
        return other

    def rows(self, index: Tensor) -> KeyValues:
        """The caches of some rows of the batch, in the order of `index`: what beams go on from."""
        other = self.copy()
        if self._held is not None:
            k, v = self._held
            other._held = (k.index_select(0, index), v.index_select(0, index))
        return other
