"""Fixtures for several folders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mpnn.backends.run import under_compile as compiled


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Reset PyTorch's compiler before and after."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that the compiler has traced."""
    made: list[Any] = []
    init = compiled._Region.__init__

    def noted(self: Any, *args: Any) -> None:
        init(self, *args)
        made.append(self)

    monkeypatch.setattr(compiled._Region, "__init__", noted)
    return made
