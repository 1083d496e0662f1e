"""A kernel for another schedule is one rule, with what it reads: here a running sum, along a chain."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing, Schedule, iterate, topology
from mpnn.lowering import NoMatchError, Rule, rules
from mpnn.lowering.rule import Reader
from mpnn.step.step import Step
from mpnn.topology import Chain
from tests.compare import assert_same

CHAIN = topology.chain([4, 2])


def _place(graph: Graph) -> Tensor:
    return torch.arange(graph.num_nodes)


RUNNING = Schedule(_place, name="running")


class Running(MessagePassing):
    """x_i = x_{i-1} + b_i."""

    state = ("x",)

    def update(self, inputs: Tensor, b: Tensor) -> Tensor:
        return inputs + b


class Twice(Running):
    def update(self, inputs: Tensor, b: Tensor) -> Tensor:
        return 2 * inputs + b


@dataclass(frozen=True)
class Functions:
    """A step as the rule reads it: its update, of random numbers."""

    received: Tensor
    b: Tensor
    updated: Tensor

    def fits(self, step: Step) -> bool:
        return True

    def values(self, step: Step) -> list[Tensor]:
        return [step.fields.given["b"]]

    def complete(self, step: Step, found: Tensor) -> tuple[Tensor]:
        return (found,)


def _key(step: Step) -> Hashable:
    if list(step.fields.given) != ["b"]:
        raise NoMatchError("there is no b")
    assert step.update is not None
    return step.update.__func__  # type: ignore[attr-defined]


def _read(step: Step) -> Functions:
    assert step.update is not None
    received, b = torch.randn(2, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Functions(received, b, step.update(received, b=b))


def _match(reading: Functions, graph: Graph) -> Any:
    if not torch.allclose(reading.updated, reading.received + reading.b):
        raise NoMatchError("the update is no sum")
    return _running_sum


def _running_sum(graph: Chain, values: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.cumsum(0) for part in values[0].split(list(graph.lengths))])


RULE = Rule(
    name="running sum",
    topology=(Chain,),
    message="x_j, to which b_i is added",
    aggregate="sum",
    kernel="cumsum",
    match=_match,
    fits=lambda graph: None,
    examples=list,
    reader=Reader("running", _key, _read),
    schedule="running",
)


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, RULE))


def _run(layer: MessagePassing, b: Tensor, schedule: Schedule = RUNNING) -> Any:
    return iterate(layer, CHAIN, torch.zeros_like(b), schedule=schedule, b=b).state


B = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.usefixtures("_known")
def test_a_rule_for_another_schedule_is_found_by_its_name() -> None:
    def on(backend: str) -> Any:
        def run(b: Tensor) -> Any:
            with mpnn.backend(backend):
                return _run(Running(), b)

        return run

    assert_same(on("dense"), on("eager"), [B])
    (step,) = mpnn.explain(_run, Running(), B).steps
    assert (step.way, step.reason) == ("dense", RULE.description)
    assert "Running in running order on Chain" in str(step)


@pytest.mark.usefixtures("_known")
def test_a_layer_that_it_does_not_recognise_goes_wave_by_wave() -> None:
    (alone,) = mpnn.explain(_run, Twice(), B).steps
    assert alone.way == "in order"
    first, *steps = mpnn.explain(_run, Twice(), B.clone().requires_grad_()).steps
    assert (first.way, first.reason) == (
        "levels",
        "no dense kernel: running sum: the update is no sum; "
        "no kernel from node to node: gradients go wave by wave",
    )
    assert len(steps) == 4
    with (
        mpnn.backend("dense"),
        pytest.raises(ValueError, match="no kernel for Twice"),
    ):
        _run(Twice(), B)


def test_without_the_rule_the_schedule_has_none() -> None:
    first = mpnn.explain(_run, Running(), B.clone().requires_grad_()).steps[0]
    assert (first.way, first.reason) == (
        "levels",
        "no dense kernel: no rule is for Chain and the schedule running; "
        "no kernel from node to node: gradients go wave by wave",
    )


@pytest.mark.usefixtures("_known")
def test_a_rule_of_one_schedule_is_not_taken_for_another() -> None:
    backward = Schedule(lambda graph: -_place(graph), name="backward")
    assert torch.equal(_run(Running(), B, backward), B)  # each reads what was 0 before the sweep
