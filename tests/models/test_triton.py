"""Every layer on the kernels in Triton: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn.backends.run import fused
from mpnn.backends.triton import has_triton
from mpnn.testing import Data, Subject
from tests.compare import assert_close
from tests.core.running import ways
from tests.core.waiting import never_waits
from tests.laws import SUBJECTS, sample

if not has_triton():
    pytest.skip("Triton is not installed", allow_module_level=True)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# A stack runs the same kernels as its layer.
ALONE = [subject for subject in SUBJECTS if not subject.name.startswith("GNN of")]


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the CPU behave as a GPU: seeds are tensors."""
    monkeypatch.setattr(fused, "draw_seed", lambda device: torch.randint(2**31, (), device=device))
    yield


def step(subject: Subject, module: nn.Module, data: Data) -> list[Tensor]:
    """The output, and the gradients of all features and parameters."""
    assert isinstance(data.x, Tensor)
    given = {"x": data.x, **{name: data.edges[name] for name in subject.edges}}
    inputs = {name: v.detach().requires_grad_() for name, v in given.items() if v.is_floating_point()}
    out = subject.call(module, Data(data.graph, inputs["x"], data.edges | inputs))
    leaves = [*inputs.values(), *module.parameters()]
    found = torch.autograd.grad(out.square().sum(), leaves, allow_unused=True)
    return [out.detach(), *(gradient for gradient in found if gradient is not None)]


@pytest.mark.parametrize("subject", ALONE, ids=str)
def test_what_is_a_kernel_in_c_is_one_in_triton_computes_the_same_and_never_waits(subject: Subject) -> None:
    module, data = subject.make(), sample()
    went: dict[str, list[str]] = {}
    found: dict[str, list[Tensor]] = {}

    def run(backend: str, device: str) -> None:
        found[backend] = step(subject, module.to(device), data.to(device))

    for backend, device in (("cpu", "cpu"), ("triton", DEVICE)):
        with mpnn.backend(backend):
            went[backend] = ways(partial(run, backend, device))
    assert went["triton"] == went["cpu"]
    for ours, theirs in zip(found["triton"], found["cpu"], strict=True):
        assert_close(ours.cpu(), theirs, 1e-10)
    there = data.to(DEVICE)
    with mpnn.backend("triton"):
        step(subject, module, there)
        with never_waits():
            step(subject, module, there)
