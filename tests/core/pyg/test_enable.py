"""The companions are in place where they are asked for, and gone without a trace when they are not."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
import torch_geometric.typing

import mpnn
from mpnn.pyg.faces import COMPANIONS

NAMES = [one.name for one in COMPANIONS]


def state() -> dict[str, Any]:
    """All that PyTorch Geometric and Python know of the companions."""
    known: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in NAMES:
            known[name] = module
        if name.startswith("torch_geometric.") and isinstance(module, ModuleType):
            known |= {
                f"{name}:{key}": value
                for key, value in vars(module).items()
                if key in NAMES or key.startswith("WITH_") or key in ("SparseTensor", "SparseStorage")
            }
    for companion in COMPANIONS:
        for path in companion.operators:
            known[path] = path.split(".")[1] in vars(getattr(torch.ops, path.split(".")[0]))
    return known


def test_a_context_leaves_nothing_behind() -> None:
    before = state()
    with mpnn.pyg.enabled():
        assert state() != before
        assert all(name in sys.modules for name in NAMES)
    assert state() == before


def test_a_context_that_fails_leaves_nothing_behind() -> None:
    before = state()
    with pytest.raises(KeyError), mpnn.pyg.enabled():
        raise KeyError
    assert state() == before


def test_a_context_within_a_context_ends_nothing() -> None:
    with mpnn.pyg.enabled():
        with mpnn.pyg.enabled():
            pass
        assert all(name in sys.modules for name in NAMES)


def test_pytorch_geometric_is_told() -> None:
    flags = {name for companion in COMPANIONS for name in companion.told if name.startswith("WITH_")}
    assert not any(getattr(torch_geometric.typing, name) for name in flags)
    with mpnn.pyg.enabled():
        assert all(getattr(torch_geometric.typing, name) for name in flags)


def test_companions_are_said() -> None:
    assert mpnn.pyg.companions()["torch_scatter"].startswith("not installed; mpnn.pyg.enable()")
    with mpnn.pyg.enabled():
        assert mpnn.pyg.companions()["torch_scatter"].startswith("ours")


def test_what_is_installed_stays_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("torch_scatter")
    monkeypatch.setitem(sys.modules, "torch_scatter", real)
    with mpnn.pyg.enabled():
        assert sys.modules["torch_scatter"] is real
        assert mpnn.pyg.companions()["torch_scatter"] == "installed"
    with (
        pytest.raises(RuntimeError, match="torch_scatter is imported already"),
        mpnn.pyg.enabled(prefer=True),
    ):
        pass
    assert sys.modules["torch_scatter"] is real


ORDERS = {
    "ours first": "import mpnn; mpnn.pyg.enable(); import torch_geometric",
    "theirs first": "import torch_geometric, torch_geometric.nn; import mpnn; mpnn.pyg.enable()",
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_imports_does_not_matter(order: str) -> None:
    program = f"""{ORDERS[order]}
import torch_geometric.typing as t, torch_geometric.utils as u, torch
import torch_scatter, torch_scatter.composite
from torch_scatter.scatter import scatter_max
from torch_geometric.testing import has_package
assert t.WITH_TORCH_SCATTER and t.torch_scatter is torch_scatter and has_package("torch_scatter>=2.1")
assert u.segment(torch.ones(3), torch.tensor([0, 1, 3])).tolist() == [1, 2]
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
