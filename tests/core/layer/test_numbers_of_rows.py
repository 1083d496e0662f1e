"""What `scatter` and `softmax` say of numbers that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mpnn


@pytest.mark.parametrize("reduce", [mpnn.scatter, mpnn.softmax])
@pytest.mark.parametrize(
    ("said", "error", "why"),
    [
        ({"num_rows": -1}, ValueError, "num_rows must be 0 or more, got -1"),
        ({"num_rows": 2.5}, TypeError, "num_rows must be an integer, got 2.5"),
        ({"num_rows": "3"}, TypeError, "num_rows must be an integer, got '3'"),
        ({"num_rows": None}, TypeError, "num_rows must be an integer, got None"),
        ({"num_rows": 3, "dim": 1.0}, TypeError, "dim must be an integer, got 1.0"),
        ({"num_rows": 3, "dim": 2}, ValueError, "in dimension 2"),
    ],
)
def test_numbers_that_are_none_are_named(reduce: Any, said: Any, error: type[Exception], why: str) -> None:
    index = torch.tensor([0, 1, 1, 2])
    with pytest.raises(error, match=why):
        reduce(torch.rand(4, 3), index, **said)
    assert reduce(torch.rand(4, 3), index, np.int64(3)).size(1) == 3
