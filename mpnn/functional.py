"""Operations that layers share: the results of PyTorch's own, and often faster on many rows.

>>> x, weight, bias = torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4)
>>> torch.equal(mpnn.functional.linear(x, weight, bias), torch.nn.functional.linear(x, weight, bias))
True
"""

from __future__ import annotations

from mpnn.native.dropout import dropout
from mpnn.native.products import linear, matmul
from mpnn.native.skip_gram import MOST_NEGATIVES, train_skip_gram
from mpnn.plan.typed import typed_linear

__all__ = ["MOST_NEGATIVES", "dropout", "linear", "matmul", "train_skip_gram", "typed_linear"]
