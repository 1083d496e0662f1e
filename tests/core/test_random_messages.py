"""Random messages give the results of eager, and the grammar that draws them covers its whole list.

`make fuzz` checks 10,000 seeds; here are the first of them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from mpnn.backends.run import updates as updates_by_passes
from mpnn.lowering import RULES as RULES_OF_KERNELS
from tests.core.running import KERNEL, ways
from tests.random_messages import Case, RefusedError, blocks, check, random_case, updates
from tests.random_messages.check import compare, outcome, program, rules_of
from tests.random_messages.draft import RULES
from tests.random_messages.graphs import KINDS
from tests.random_messages.inputs import DATA, LAYOUTS, WIDTHS
from tests.random_messages.regular import FIRST
from tests.random_messages.regular.attention import BIASES, NEAR
from tests.random_messages.shrink import shrink

SEEDS, BLOCK = 300, 20
REGULAR_SEEDS = UPDATE_SEEDS = 100
TRITON_SEEDS, TRITON_BLOCK = 50, 5
MANY = 10_000


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors inside mpnn are raised, and do not fall back to eager."""
    monkeypatch.setenv("MPNN_STRICT", "1")


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_random_messages_give_what_eager_gives(first: int) -> None:
    assert_pass(range(first, first + BLOCK), "auto")


@pytest.mark.parametrize("first", range(FIRST, FIRST + REGULAR_SEEDS, BLOCK))
def test_random_messages_on_regular_graphs_give_what_eager_gives(first: int) -> None:
    assert_pass(range(first, first + BLOCK), "auto")


@pytest.mark.parametrize("first", range(updates.FIRST, updates.FIRST + UPDATE_SEEDS, BLOCK))
def test_random_updates_give_what_eager_gives(first: int) -> None:
    assert_pass(range(first, first + BLOCK), "auto")


@pytest.mark.parametrize("first", range(0, TRITON_SEEDS, TRITON_BLOCK))
def test_random_messages_give_what_eager_gives_in_triton(first: int) -> None:
    assert_pass(range(first, first + TRITON_BLOCK), "triton")


def assert_pass(seeds: range, backend: str) -> None:
    """Raise with the programs that fail."""
    failed = {}
    for seed in seeds:
        try:
            check(random_case(seed), backend)
        except RefusedError:
            continue
        except AssertionError as failure:
            failed[seed] = str(failure)
    if failed:
        causes = "\n".join(f"seed {seed}: {text.splitlines()[0]}" for seed, text in failed.items())
        raise AssertionError(f"{causes}\n\n" + "\n\n".join(failed.values()))


# The grammar ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said() -> Counter[str]:
    """The number of occurrences of each part in many programs, and the programs."""
    found: Counter[str] = Counter()
    for seed in range(MANY):
        case = random_case(seed)
        text = str(case)
        found.update(case.features)
        found.update(example for example in EXAMPLES if example in text)
    return found


def test_every_part_of_the_grammar_is_said_often_enough(said: Counter[str]) -> None:
    wanted = [
        *(f"operation: {name}" for name in RULES),
        *(f"graph: {kind}" for kind in KINDS),
        *(f"data: {data}" for data in DATA),
        *(f"layout: {layout}" for layout in LAYOUTS),
        *(f"width: {width}" for width in WIDTHS),
        *(f"dtype: {dtype}" for dtype in ("float64", "float32", "bfloat16", "autocast")),
        *(f"form: {form}" for form in ("function", "layer", "lambda")),
        *(
            f"aggr: {name!r}"
            for name in ("sum", "mean", "max", "min", "mul", "logsumexp", "var", "std", "softmax")
        ),
        *(
            f"field: {kind}"
            for kind in ("node", "edge", "shared", "int per edge", "int per node", "bool", "index", "size")
        ),
        *(f"result: {kind}" for kind in ("float", "int", "bool", "two values")),
        *("aggr: Softmax(t=0.5)", "aggr: Softmax(learn=True)", "bipartite: True", "heads: some"),
        *("flow: source_to_target", "flow: target_to_source"),
        *("node_dim: -2", "node_dim: -2 with a dimension before it"),
    ]
    assert [feature for feature in wanted if said[feature] < 20] == []


# What the known faults were found with. A text of the program, and how often it must be there.
EXAMPLES = (
    *("% 10007", "* 10007", "clamp(max=20014)", "* torch.arange(", "5 * ", "len(", ".numel()", "math.log("),
    *(".softmax(", ".logsumexp(", "].mul_(3)", "] = 0\n", "nn.GRUCell(", "nn.LSTMCell(", "nn.Dropout(0.5)"),
    *(".expand(x_j.size(0), -1)", ".expand_as(x_", ".repeat(", "pruned(", "weight_norm(", "Adapter("),
    *("torch.cat([x_i, x_j], ", "torch.where(", "F.elu(", "F.softplus(", "torch.sinc(", "F.hardtanh("),
    *("F.relu6(", "torch.xlogy(", "/ (", "> 0) / (", "* e", "einsum(", "bmm(", "F.linear(", "nn.LayerNorm("),
    *("nn.Embedding(", "torch.stack(", ".flip(", ".roll(", ".sort(", "[::2]", ".t()", "// 2", ">> 1", "~"),
    "torch.autocast(",
)


def test_every_example_of_a_known_fault_is_said(said: Counter[str]) -> None:
    assert [example for example in EXAMPLES if said[example] < 3] == []


@pytest.fixture(scope="module")
def said_of_regular_graphs() -> Counter[str]:
    """The same of messages on regular graphs."""
    return Counter(f for seed in range(FIRST, FIRST + 2000) for f in random_case(seed).features)


def test_every_form_on_a_regular_graph_is_said_often_enough(said_of_regular_graphs: Counter[str]) -> None:
    kinds = ("attention", "linear", "convolution", "pooling", "rnn", "gru", "lstm", "child sum")
    numbers = ("literal", "held", "set", "tensor", "refilled", "given", "shared")
    wanted = [
        *(f"kind: {kind}" for kind in kinds),
        *(f"number: {number}" for number in numbers),
        *(f"change: {change}" for change in (*BIASES, *NEAR)),
        *(f"dtype: {dtype}" for dtype in ("float64", "float32", "bfloat16")),
        *("flow: target_to_source", "form: layer", "form: function", "aggr: Softmax(learn=True)"),
    ]
    assert [feature for feature in wanted if said_of_regular_graphs[feature] < 5] == []


def test_messages_on_regular_graphs_run_by_every_rule() -> None:
    """A comparison of other kernels would not test the rules."""
    found = rules_by_which_run(range(FIRST, FIRST + REGULAR_SEEDS))
    assert sum(found.values()) > 0.4 * REGULAR_SEEDS
    found += rules_by_which_run(range(FIRST + REGULAR_SEEDS, FIRST + 2 * REGULAR_SEEDS))
    assert [rule.name for rule in RULES_OF_KERNELS if found[rule.name] < 1] == []


def rules_by_which_run(seeds: range) -> Counter[str]:
    """How many messages run by each rule."""
    found: Counter[str] = Counter()
    for case in map(random_case, seeds):
        if not is_refused(case):
            found.update(set(rules_of(case)))
    return found


def test_every_form_of_an_update_is_said_often_enough() -> None:
    seeds = range(updates.FIRST, updates.FIRST + 1000)
    said = Counter(f for seed in seeds for f in random_case(seed).features)
    wanted = [*(f"update: {name}" for name in updates.FORMS), "aggr: DegreeScaler", "bipartite: True"]
    assert [feature for feature in wanted if said[feature] < 20] == []


def test_updates_run_by_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Counter[str] = Counter()
    run = updates_by_passes.run

    def noting(finish: Any, step: Any, reduce: Any) -> Any:
        found.update(name for name in ("map_first", "count_itself", "wide") if getattr(finish, name))
        found.update({getattr(target, "__name__", "") for _, target, *_ in finish.late.steps})
        return run(finish, step, reduce)

    monkeypatch.setattr(updates_by_passes, "run", noting)
    monkeypatch.setattr(updates_by_passes, "FEW", 1)
    for case in map(random_case, range(updates.FIRST, updates.FIRST + UPDATE_SEEDS)):
        given = program(case, 0)
        given["run"](given["graph"], **given["fields"])
    passes = ("map_first", "count_itself", "wide", "add_in_place", "add_product")
    assert [name for name in passes if found[name] < 1] == []


def test_eager_refuses_few_programs() -> None:
    seeds = [*range(SEEDS), *range(FIRST, FIRST + REGULAR_SEEDS)]
    refused = [seed for seed in seeds if is_refused(random_case(seed))]
    assert len(refused) < 0.1 * SEEDS, refused


def is_refused(case: Case) -> bool:
    """Whether eager does not run it."""
    try:
        outcome(program(case, 0), "eager", case.seed)
    except Exception:
        return True
    return False


def test_most_messages_run_on_a_kernel() -> None:
    """A comparison of eager with eager would test nothing."""
    ran = [runs_on_a_kernel(random_case(seed)) for seed in range(100, 140)]
    assert sum(ran) > 0.4 * len(ran)


def runs_on_a_kernel(case: Case) -> bool:
    """Whether all steps of it do."""
    given = program(case, 0)
    try:
        return set(ways(lambda: given["run"](given["graph"], **given["fields"]))) == {KERNEL}
    except Exception:  # that is for the comparison to say
        return False


def test_a_seed_gives_the_same_program_in_another_process() -> None:
    code = "from tests.random_messages.generate import random_case\nprint(random_case(11), random_case(12))"
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    assert digest(there) == digest(f"{random_case(11)} {random_case(12)}\n")


def digest(text: str) -> str:
    """A short name of a text: the programs themselves would be a long message."""
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_program_of_a_seed_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(str(random_case(13)), "seed 13", "exec"), {"__name__": "pasted"})
    assert float(capsys.readouterr().out.removeprefix("tensor(").split(",")[0].rstrip(")\n")) < 1e-9


# The comparison ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [1.0 + 1e-9, torch.nan, torch.inf])
def test_a_number_that_differs_is_found(bad: float) -> None:
    right = {"output": torch.tensor([1.0, 0.5, torch.nan], dtype=torch.float64)}
    wrong = {"output": torch.tensor([bad, 0.5, torch.nan], dtype=torch.float64)}
    assert compare(right, right, right, 1e-10) == ""
    assert compare(wrong, right, right, 1e-10).startswith("output differs: entry [0]")
    assert compare(right, wrong, wrong, 1e-10).startswith("output differs: entry [0]")


def test_a_gradient_that_only_one_has_is_found_unless_it_is_zero() -> None:
    output = {"output": torch.zeros(2)}
    assert compare(output, {**output, "gradient of x": torch.zeros(2)}, output, 1e-10) == ""
    one = {**output, "gradient of x": torch.ones(2)}
    assert compare(output, one, one, 1e-10).startswith("gradient of x differs")


def test_another_type_is_found() -> None:
    wide, narrow = {"output": torch.zeros(2)}, {"output": torch.zeros(2, dtype=torch.bfloat16)}
    assert "torch.bfloat16 [2]" in compare(wide, narrow, narrow, 1.0)


def test_a_failing_program_is_made_short() -> None:
    def fails_with_tanh(case: Case, backend: str) -> str:
        held = [line for s in case.live for line in s.lines]
        return "output differs: it has tanh" if any("tanh()" in line for line in held) else ""

    cases = (random_case(seed) for seed in range(1000))
    case = next(c for c in cases if len(c.statements) > 5 and fails_with_tanh(c, "auto"))
    short, _ = shrink(case, "auto", "output differs: it has tanh", fails_with_tanh)
    assert len(short.live) == 1
    assert sum(graph.size for graph in short.graphs) <= 1


# Many seeds ----------------------------------------------------------------------------------------------

CRASHES = """
import json, os, signal, sys
first, end = map(int, sys.argv[sys.argv.index("--block") + 1].split(":"))
for seed in range(first, end):
    print(json.dumps([seed, "began", ""]), flush=True)
    if seed == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    verdict = ["failed", "it differs"] if seed == 5 else ["passed", ""]
    print(json.dumps([seed, *verdict]), flush=True)
"""


def test_a_crash_ends_no_more_than_its_own_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(blocks, "COMMAND", [sys.executable, "-c", CRASHES])
    report = tmp_path / "report"
    summary = blocks.run_seeds([range(8)], 2, "auto", (), report)
    assert summary.passed == 6
    assert summary.failed[3].startswith("the process ended by SIGSEGV")
    assert str(random_case(3)) in report.read_text()
    assert summary.failed[5] == "it differs"
    assert str(summary).splitlines()[-1].startswith("6 passed, 2 failed")


def test_a_process_that_does_not_begin_is_an_error_and_not_a_failing_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "COMMAND", [sys.executable, "-c", "raise SystemExit('no such module')"])
    with pytest.raises(RuntimeError, match="no such module"):
        blocks.run_seeds([range(8)], 1, "auto")
