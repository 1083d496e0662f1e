"""The table of elementwise operations, and the text of the printer."""

from __future__ import annotations

from mpnn.backends import point
from mpnn.plan.operations import POINT


def test_every_printer_writes_every_operation() -> None:
    assert set(point.C) == set(point.TRITON) == POINT


def test_operations_have_as_many_places_as_operands() -> None:
    for name, text in [*point.C.items(), *point.TRITON.items()]:
        places = {digit for digit in "012" if f"{{{digit}}}" in text}
        assert places == set("012"[: len(places)]) != set(), f"{name}: {text}"
