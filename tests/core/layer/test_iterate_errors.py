"""What iterate and Schedule refuse, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mpnn import Graph, MessagePassing, Schedule, iterate, topology
from tests.compare import assert_close


class Plain(MessagePassing):
    state = ("x",)


class Nearer(MessagePassing):
    state = ("x",)

    def message(self, x_i: Tensor, k_j: Tensor) -> Tensor:
        return 0.1 * (k_j - x_i)


BETWEEN = topology.complete_bipartite(3, 3)
ONE_BY_ONE = Schedule.asynchronous(torch.arange(3))
RING = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
X = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [
        (
            lambda: iterate(MessagePassing(), RING, X),
            ValueError,
            "MessagePassing.state does not give it one name",
        ),
        (
            lambda: iterate(Plain(), RING, [X]),  # type: ignore[arg-type]
            TypeError,
            "state must be a tensor, or tensors .* got list",
        ),
        (lambda: iterate(Plain(), RING, {"h": X}), ValueError, "state has h, but Plain.state names x"),
        (
            lambda: iterate(torch.nn.Linear(2, 2), RING, X),  # type: ignore[arg-type]
            TypeError,
            "layer must be a MessagePassing .* Linear",
        ),
        (lambda: iterate(Plain(), RING, X, x=X), TypeError, "x was given as a field, but is the state"),
        (
            lambda: iterate(Plain(), RING, X[:2]),
            ValueError,
            "the state x has 2 rows, but the graph has 3 nodes",
        ),
        (lambda: iterate(Plain(), RING, X[0, 0]), ValueError, r"the state x has shape \[\]"),
        (lambda: iterate(Plain(node_dim=1), RING, X.T), ValueError, "nodes in dimension 1, but must be"),
        (lambda: iterate(Plain(), RING, X, z=X), TypeError, "'z', which no function asks for"),
        (
            lambda: iterate(Plain(), RING, X, schedule="random"),
            ValueError,
            "schedule is 'random', but must be",
        ),
        (lambda: iterate(Plain(), RING, X, schedule="topological"), ValueError, "graph has a cycle"),
        (lambda: iterate(Plain(), RING, X, steps=-1), ValueError, "sweeps is -1, but must be at least 0"),
        (
            lambda: iterate(Plain(), RING, X, steps=1.5),  # type: ignore[arg-type]
            TypeError,
            "sweeps must be a number of sweeps, got 1.5",
        ),
        (
            lambda: iterate(Plain(), RING, X, until="now"),  # type: ignore[arg-type]
            TypeError,
            "until must be a number or a function",
        ),
        (lambda: iterate(Plain(), RING, X, until=-0.1), ValueError, "until is -0.1, but the largest change"),
        (
            lambda: iterate(Plain(), RING, X, schedule=Schedule(torch.ones(2))),
            ValueError,
            "rank has 2 entries",
        ),
        (lambda: Schedule(torch.ones(2, 2)), ValueError, r"rank must be a tensor \[num_nodes\], got shape"),
        (
            lambda: Schedule([0, 1]),  # type: ignore[arg-type]
            TypeError,
            r"rank must be a tensor \[num_nodes\], got list",
        ),
        (
            lambda: Schedule(torch.tensor([0.0, torch.nan])),
            ValueError,
            "rank has entries that cannot be ordered",
        ),
        (
            lambda: Schedule.asynchronous(torch.tensor([0, 2, 2])),
            ValueError,
            "permutation must name each of the 3",
        ),
        (
            lambda: iterate(Plain(), RING, X, schedule=Schedule.parallel(clamped=torch.tensor([3]))),
            IndexError,
            "clamped\\[0\\] is 3",
        ),
        (
            lambda: iterate(Plain(), BETWEEN, X),
            TypeError,
            "message.. asks for x_j, but on a bipartite graph the destinations alone have the state",
        ),
        (
            lambda: iterate(Nearer(), BETWEEN, X[:2], k=(X, None)),
            ValueError,
            "the state x has 2 rows, but the graph has 3 destination nodes",
        ),
        (
            lambda: iterate(Nearer(flow="target_to_source"), BETWEEN, X, k=(X, None)),
            ValueError,
            "flow is 'target_to_source', but on a bipartite graph the destinations have the state",
        ),
        (
            lambda: iterate(Nearer(), BETWEEN, X, schedule=ONE_BY_ONE, k=(X, None)),
            ValueError,
            "the graph is bipartite .* a schedule ranks one set",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        call()


def test_a_state_keeps_its_form() -> None:
    class Wider(Plain):
        def update(self, inputs: Tensor) -> Tensor:
            return torch.cat([inputs, inputs], -1)

    class Two(Plain):
        def update(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return inputs, inputs

    with pytest.raises(
        ValueError, match=r"Wider.update\(\) turns the state x from .* \[3, 2\] into .* \[3, 4\]"
    ):
        iterate(Wider(), RING, X)
    with pytest.raises(ValueError, match=r"Two.update\(\) must return a tensor for each of x, got 2 values"):
        iterate(Two(), RING, X)


def test_a_field_of_nodes_has_no_plain_name_in_a_message() -> None:
    class Ambiguous(Plain):
        def message(self, x_j: Tensor, x: Tensor) -> Tensor:
            return x_j + x[0]

    with pytest.raises(TypeError, match=r"message\(\) asks for 'x', which nodes have.*x_j or x_i"):
        iterate(Ambiguous(), RING, X)


def test_a_schedule_stays_what_it_was_made_of() -> None:
    ranks = torch.tensor([0, 1, 2])
    schedule = Schedule(ranks)
    before = iterate(Plain(), RING, X, schedule=schedule).state
    ranks.zero_()
    assert torch.equal(schedule.rank, torch.tensor([0, 1, 2]))  # type: ignore[arg-type]
    assert_close(iterate(Plain(), RING, X, schedule=schedule).state, before)
    with pytest.raises(AttributeError):
        schedule.sweeps = 3  # type: ignore[misc]
