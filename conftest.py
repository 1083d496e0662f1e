"""The environment of every test and doctest."""

import os
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    # Without a GPU, Triton's kernels run in its interpreter. Triton reads the variable when it is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Errors inside the package are raised, instead of caught.
os.environ["MPNN_STRICT"] = "1"

import torch_geometric

import mpnn

# Two workers with a thread each are faster than one with two on small tensors, and never oversubscribe.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else torch.get_num_threads())


@pytest.fixture(autouse=True)
def _names_in_doctests(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(torch=torch, mpnn=mpnn, Graph=mpnn.Graph)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch_geometric.seed_everything(0)  # PyG and networkx draw from Python's and NumPy's generators too
