"""The comparison of a backend with eager on a random program: outputs and every gradient."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import mpnn
from mpnn.backends.run import by_rows, updates
from mpnn.backends.run.record import recording
from tests.random_messages.case import Case, settings_text, source

# Relative to the largest number of a tensor, or to 1 where that is larger.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 2e-2}
# How many times eager's own error, against float64, a type of lower precision may have.
EAGERS_OWN = 4

Found = dict[str, Tensor]


class RefusedError(Exception):
    """Eager refuses the program, so it tests no backend."""


def check(case: Case, backend: str = "auto") -> None:
    """Raise unless a backend gives the results of eager, on all graphs of the case in order.

    Raises:
        RefusedError: eager refuses the program.
        AssertionError: the message begins with a line that names the tensor or the exception, and ends with
            the program.
    """
    with _passes_on_few_rows():
        _check(case, backend)


def _check(case: Case, backend: str) -> None:
    programs = [program(case, k) for k in range(len(case.graphs))]
    # One message, and one plan, for all graphs of a case.
    for given in programs[1:]:
        given.update(run=programs[0]["run"], learned_tensors=programs[0]["learned_tensors"])
    for k, given in enumerate(programs):
        if k:  # the settings of the first stand in its program
            exec("\n".join(settings_text(case, k)), programs[0])
        try:
            theirs = outcome(given, "eager", case.seed)
        except Exception as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error
        try:
            ours = outcome(given, backend, case.seed)
        except Exception as error:
            raise AssertionError(f"{describe(error)}\n\n{source(case, k)}") from error
        low = case.autocast or case.dtype != "float64"
        exact = outcome(program(case, k, exact=True), "eager", case.seed) if low else theirs
        tolerance = TOLERANCES[torch.bfloat16 if case.autocast else getattr(torch, case.dtype)]
        difference = compare(ours, theirs, exact, tolerance)
        if difference:
            raise AssertionError(f"{difference}\n\n{source(case, k)}")


@contextmanager
def _passes_on_few_rows() -> Iterator[None]:
    """The passes over `update` begin where they spare something, which is beyond the graphs of a case."""
    before = updates.FEW, by_rows.ROWS_AT_ONCE
    updates.FEW, by_rows.ROWS_AT_ONCE = 1, 4
    try:
        yield
    finally:
        updates.FEW, by_rows.ROWS_AT_ONCE = before


def rules_of(case: Case) -> list[str]:
    """The dense rules by which the first run of a case goes, or none."""
    given = program(case, 0)
    with recording() as ran, mpnn.backend("auto"):
        given["run"](given["graph"], **given["fields"])
    return [one.reason.partition(":")[0] for one in ran if one.how == "dense"]


def program(case: Case, graph: int, *, exact: bool = False) -> dict[str, Any]:
    """The names that the program of a case leaves; `exact`, in float64 on the same numbers."""
    text = source(case.but(autocast=False) if exact else case, graph).rsplit("\nwith mpnn.backend", 1)[0]
    if exact:
        text = text.replace(".to(dtype)", ".to(dtype).double()")
    names: dict[str, Any] = {"__name__": "random_message"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, f"<seed {case.seed}>", "exec"), names)
    return names


def outcome(given: Mapping[str, Any], backend: str, seed: int) -> Found:
    """The output and all gradients of one random weighting of it. Warnings are errors."""
    sources = {
        f"gradient of {name}": t
        for name, t in _tensors(given["fields"], given["learned_tensors"]).items()
        if t.requires_grad
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with mpnn.backend(backend):
            output = given["run"](given["graph"], **given["fields"])
            found = {"output": output.detach()}
            if not output.requires_grad:
                return found
            generator = torch.Generator().manual_seed(seed)
            weight = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)
            gradients = torch.autograd.grad(output, list(sources.values()), weight, allow_unused=True)
    for (name, t), gradient in zip(sources.items(), gradients, strict=True):
        found[name] = torch.zeros_like(t) if gradient is None else gradient
    return found


def _tensors(fields: Mapping[str, Any], learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in fields.items():
        if isinstance(value, tuple):
            found |= {
                f"{name} at the {end}": t
                for end, t in zip(("sources", "destinations"), value, strict=True)
                if t is not None
            }
        elif isinstance(value, Tensor):
            found[name] = value
    return found | dict(learned)


def compare(ours: Found, theirs: Found, exact: Found, tolerance: float) -> str:
    """The first difference in one line, or ""."""
    # The terms of a gradient are as large as the output: what they leave of each other is their rounding.
    output = _largest(theirs["output"])
    # A gradient that does not exist counts as zero: it is not asked whether the output requires one.
    for name in ours | theirs:
        some = ours[name] if name in ours else theirs[name]
        a, b, best = (found.get(name, torch.zeros_like(some)) for found in (ours, theirs, exact))
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{name} is {a.dtype} {list(a.shape)}, eager's {b.dtype} {list(b.shape)}"
        rounding = 16 * torch.finfo(a.dtype).eps if a.is_floating_point() else 0.0  # of counts, in float32
        a, b, best = a.to(torch.float64), b.to(torch.float64), best.to(torch.float64)
        difference = _apart(a, b)
        if not difference.numel():
            continue
        allowed = max(tolerance, rounding) * max(1.0, _largest(b), output)
        if best is not b:
            allowed += EAGERS_OWN * float(_apart(b, best).nan_to_num(nan=0, posinf=0).max())
        if not bool((difference <= allowed).all()):
            worst = int(difference.nan_to_num(nan=torch.inf).argmax())
            place = list(map(int, torch.unravel_index(torch.tensor(worst), a.shape)))
            x, y = float(a.flatten()[worst]), float(b.flatten()[worst])
            return f"{name} differs: entry {place} is {x:.12g}, eager's {y:.12g} (allowed {allowed:.2g})"
    return ""


def _largest(values: Tensor) -> float:
    finite = values[values.isfinite()].to(torch.float64).abs()
    return float(finite.max()) if finite.numel() else 0.0


def _apart(a: Tensor, b: Tensor) -> Tensor:
    agree = (a == b) | (a.isnan() & b.isnan())
    return torch.where(agree, torch.zeros_like(a), (a - b).abs())


def describe(error: BaseException) -> str:
    """An exception in one line, with the innermost place of ours that it passed."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/mpnn/" in file or "/models/" in file:
            place = f"{file.rsplit('/mpnn/', 1)[-1]}:{trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    text = " ".join(str(error).split())
    return f"{type(error).__name__} in {place}: {text[:200]}"
