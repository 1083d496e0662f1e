"""A plan makes all tensors on the device of its inputs, whatever PyTorch's default device is."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mpnn.aggregate import aggregators as aggregate
from mpnn.plan.backward import make_backward
from mpnn.plan.homes import Home
from mpnn.plan.plan import make_plan
from tests.core.backends.test_backend_messages import MESSAGES, NUM_EDGES, Message
from tests.core.running import KERNEL

# Their tensors, made by the user's own function, are on the CPU.
ON_THE_CPU = {"places", "a literal tensor", "the index"}


@pytest.mark.parametrize(
    "message", [m for m in MESSAGES if m.way == KERNEL and m.name not in ON_THE_CPU], ids=str
)
def test_forward_and_backward_stay_on_the_device(message: Message) -> None:
    # The device without data stands for any that is not the CPU: PyTorch refuses to mix it with that.
    placed: dict[str, tuple[Home, Tensor]] = {}
    fixed = {}
    for name in inspect.signature(message.function).parameters:
        field = name[:-2] if name.endswith(("_i", "_j")) else name
        if field not in message.fields:
            continue  # it has a default
        value = message.fields[field]
        if not isinstance(value, Tensor):
            fixed[name] = value
            continue
        per_edge = value.dim() > 0 and value.size(0) == NUM_EDGES
        home = {"_i": Home.DST, "_j": Home.SRC}.get(name[-2:], Home.EDGE if per_edge else Home.SHARED)
        with FakeTensorMode(allow_non_fake_inputs=True):
            placed[name] = (home, torch.empty(value.shape, dtype=value.dtype, device="meta"))
    plan = make_plan(message.function, aggregate.Max(), list(placed), list(placed.values()), fixed)
    assert not isinstance(plan.program, str)
    wanted = tuple(node.meta["val"].is_floating_point() for node in plan.hoisted.inputs)
    backward = make_backward(plan, wanted)
    nodes = [*plan.hoisted.inputs, *backward.hoisted.inputs]
    assert {node.meta["val"].device.type for node in nodes} <= {"meta"}
