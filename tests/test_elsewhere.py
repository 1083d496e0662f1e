"""The device of `tests.elsewhere` behaves as a device."""

from __future__ import annotations

import pytest
import torch

from tests.elsewhere import Far, elsewhere


def test_what_mixes_devices_is_noticed() -> None:
    with elsewhere() as device:
        x = torch.ones(3, device=device)
        literal = torch.tensor([1.0], device=device)
        assert isinstance(x, Far) and isinstance(literal, Far) and x.device == literal.device == device
        assert not isinstance(x.cpu(), Far)
        with pytest.raises(AssertionError, match="mixes tensors on lazy:0 with tensors on the CPU"):
            x + torch.ones(3)
        with pytest.raises(AssertionError, match="numpy"):
            x.numpy()
        with pytest.raises(AssertionError, match=r"index_add.* adds up in another order each time"):
            x.index_add(0, torch.zeros(2, dtype=torch.int64, device=device), literal.expand(2) / 3)
        assert x.add_(literal).tolist() == [2, 2, 2]


def test_gradients_stay_on_the_device() -> None:
    with elsewhere() as device:
        layer = torch.nn.Linear(3, 2).to(device)
        layer(torch.ones(4, 3, device=device)).sum().backward()
        assert all(isinstance(p, torch.nn.Parameter) and p.grad is not None for p in layer.parameters())
        assert all(p.grad.device == device for p in layer.parameters() if p.grad is not None)
