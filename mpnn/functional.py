"""The few operations that layers share, as PyTorch's own by results, and often faster on many rows.

>>> x, weight, bias = torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4)
>>> torch.equal(mpnn.functional.linear(x, weight, bias), torch.nn.functional.linear(x, weight, bias))
True
"""

from __future__ import annotations

from mpnn.native.products import linear, matmul

__all__ = ["linear", "matmul"]
