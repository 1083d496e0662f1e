"""The shortest program that still fails in the way that a seed does."""

from __future__ import annotations

import multiprocessing
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from signal import Signals

from tests.random_messages.case import Case, Edges, Regular, Statement, mentions
from tests.random_messages.generate import pruned, random_case

Judge = Callable[[Case, str], str]

PATIENCE = 120.0
SIMPLE_DATA = "torch.randn(({n}, %s), generator={g}, dtype=torch.float64).to(dtype)"


def shrunk(seed: int, backend: str) -> str:
    """The cause and the program in the shortest form found."""
    case = random_case(seed)
    cause = verdict(case, backend)
    if not cause:
        return f"seed {seed} passes."
    case, cause = shrink(case, backend, cause)
    return f"{cause}\n\n{case}"


def shrink(case: Case, backend: str, cause: str, judge: Judge | None = None) -> tuple[Case, str]:
    """Take away as long as it still fails in the same way."""
    judge = judge or verdict
    wanted, seen = kind_of(cause), {case}
    found = True
    while found:
        found = False
        for candidate in simpler(case):
            candidate = pruned(candidate)
            if candidate in seen:
                continue
            seen.add(candidate)
            new = judge(candidate, backend)
            if new and kind_of(new) == wanted:
                case, cause, found = candidate, new, True
                print(
                    f"{len(case.statements)} statements, graphs of {sum(g.size for g in case.graphs)}",
                    file=sys.stderr,
                )
                break
    return case, cause


def kind_of(cause: str) -> str:
    """What two failures of the same cause have in common."""
    cause = cause.splitlines()[0]
    if " differs: " in cause:
        return "output differs" if cause.startswith("output") else "gradient differs"
    return re.sub(r"\d+|'[^']*'", "#", cause)[:90]


def verdict(case: Case, backend: str) -> str:
    """Why a case fails, in one line; "" if it passes or is refused. The case runs in a fresh process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_judge, args=(case, backend, there))
    child.start()
    there.close()
    answer = None
    if here.poll(PATIENCE):
        try:
            answer = here.recv()
        except EOFError:
            answer = None
    else:
        child.kill()
        answer = "no answer"
    child.join()
    if answer is None:
        code = child.exitcode or 0
        return f"the process ended ({Signals(-code).name if code < 0 else code})"
    return str(answer)


def _judge(case: Case, backend: str, there: Connection) -> None:
    import torch

    from tests.random_messages.check import RefusedError, check

    torch.set_num_threads(1)
    try:
        check(case, backend)
    except AssertionError as failure:
        there.send(str(failure).splitlines()[0])
    except RefusedError:
        there.send("")
    else:
        there.send("")


def simpler(case: Case) -> Iterator[Case]:
    """Cases with something taken away, the largest things first."""
    if len(case.graphs) > 1:
        for k in range(len(case.graphs)):
            yield case.but(graphs=case.graphs[k : k + 1], settings=case.settings[k : k + 1])
    yield from _results(case)
    yield from _statements(case)
    if case.update_statements:
        for simple in (*_results(_turned(case)), *_statements(_turned(case))):
            yield _turned(simple)
    plain = {
        "form": "function",
        "update": "",
        "flow": "source_to_target",
        "autocast": False,
        "dtype": "float64",
    }
    for name, value in plain.items():
        if getattr(case, name) != value and not (name == "form" and case.flow != "source_to_target"):
            yield case.but(**{name: value})
    if case.update or (case.form == "layer" and case.flow == "source_to_target" and "learn" not in case.aggr):
        yield case.but(form="function", update="")
    for aggr in ("'sum'", "'max'"):
        if aggr != case.aggr and case.aggr != "'sum'" and not case.result.startswith("("):
            yield case.but(aggr=aggr)
    yield from _graphs(case)
    yield from _fields(case)
    yield from _widths(case)


def _turned(case: Case) -> Case:
    """The case with message and update in each other's place: what shortens one shortens the other."""
    parameters = tuple(p for p in case.parameters if p != "inputs")
    return case.but(
        statements=case.update_statements,
        result=case.update,
        parameters=("inputs", *case.update_parameters),
        update_statements=case.statements,
        update=case.result,
        update_parameters=parameters,
    )


def _results(case: Case) -> Iterator[Case]:
    names = [*case.parameters, *(s.name for s in case.live)]
    pair = case.result.startswith("(")
    for name in names:
        if name != case.result:
            yield case.but(result=name, aggr="'sum'" if pair else case.aggr)
    if pair:
        for name in names:
            if mentions(case.result, name) and case.result != f"({name}, {name})":
                yield case.but(result=f"({name}, {name})")


def _statements(case: Case) -> Iterator[Case]:
    for k, statement in enumerate(case.live):
        before = [*(s.name for s in case.live[:k]), *case.parameters]
        for line in statement.lines[1:]:
            yield _with(case, statement, tuple(x for x in statement.lines if x != line))
        for name in before:
            if statement.lines == (f"{statement.name} = {name}",):
                continue
            yield _without(case, statement, name)
        for name in before:
            for other in before:
                if other != name and mentions(statement.lines[0].split(" = ", 1)[1], name):
                    yield _with(case, statement, tuple(_renamed(x, name, other) for x in statement.lines))


def _with(case: Case, old: Statement, lines: tuple[str, ...]) -> Case:
    return case.but(statements=tuple(replace(s, lines=lines) if s is old else s for s in case.live))


def _without(case: Case, old: Statement, name: str) -> Case:
    kept = tuple(
        replace(s, lines=tuple(_renamed(line, old.name, name) for line in s.lines))
        for s in case.live
        if s is not old
    )
    return case.but(statements=kept, result=_renamed(case.result, old.name, name))


def _renamed(text: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![\w.'\"]){re.escape(old)}\b", new, text)


def _graphs(case: Case) -> Iterator[Case]:
    for k, graph in enumerate(case.graphs):
        if isinstance(graph, Regular):
            for text in _simpler_texts(graph.text):
                yield case.but(graphs=(*case.graphs[:k], Regular(text), *case.graphs[k + 1 :]))
            continue
        pairs = graph.pairs
        half = len(pairs) // 2
        shorter = [pairs[:half], pairs[half:]] if half else []
        if len(pairs) <= 12:
            shorter += [pairs[:j] + pairs[j + 1 :] for j in range(len(pairs))]
        for some in shorter:
            yield case.but(graphs=(*case.graphs[:k], replace(graph, pairs=some), *case.graphs[k + 1 :]))
        used = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs})
        if not case.bipartite:
            both = sorted({*used[0], *used[1]})
            used = both, both
        smaller = Edges(
            len(used[0]), len(used[1]), tuple((used[0].index(a), used[1].index(b)) for a, b in pairs)
        )
        if smaller != graph and pairs:
            yield case.but(graphs=(*case.graphs[:k], smaller, *case.graphs[k + 1 :]))
    if case.bipartite and all(isinstance(g, Edges) and g.num_src == g.num_dst for g in case.graphs):
        yield case.but(bipartite=False)


def _simpler_texts(text: str) -> Iterator[str]:
    """The text of a regular graph without an option or an entry, or with a smaller number."""
    for part in (r"\.reverse\(\)", r", \w+='?[\w]+'?", r", \w+=[\[(][^=]*[\])](?=[,)])", r", \d+(?=\])"):
        for found in re.finditer(part, text):
            yield text[: found.start()] + text[found.end() :]
    for found in re.finditer(r"\d+", text):
        for smaller in sorted({int(found[0]) // 2, int(found[0]) - 1}):
            if smaller >= 0:
                yield f"{text[: found.start()]}{smaller}{text[found.end() :]}"


def _fields(case: Case) -> Iterator[Case]:
    for k, field in enumerate(case.fields):
        changed = []
        if field.learned:
            changed.append(replace(field, learned=False))
        plain = re.sub(r"(\[::2\]|\[:, ::2\])$", "", field.text).replace("{2n}", "{n}")
        plain = re.sub(r"\((3000?) \* ", "(", plain)
        if plain != field.text:
            changed.append(replace(field, text=plain))
        for new in changed:
            yield case.but(fields=(*case.fields[:k], new, *case.fields[k + 1 :]))


def _widths(case: Case) -> Iterator[Case]:
    text = " ".join([*(f.text for f in case.fields), *(d.text for d in case.definitions)])
    numbers = sorted(
        {int(n) for n in re.findall(r"(?<![\w.{])\d+(?![\w.}])", text) if 1 < int(n) < 100}, reverse=True
    )
    for old in numbers:
        for new in sorted({1, 2, 3, old // 2}):
            if 0 < new < old:
                yield _resized(case, old, new)


def _resized(case: Case, old: int, new: int) -> Case:
    def change(text: str) -> str:
        return re.sub(rf"(?<![\w.{{\-]){old}(?![\w.}}])(?!\)\)\.to)", str(new), text)

    return case.but(
        fields=tuple(replace(f, text=change(f.text)) for f in case.fields),
        definitions=tuple(replace(d, text=change(d.text)) for d in case.definitions),
        statements=tuple(replace(s, lines=tuple(map(change, s.lines))) for s in case.live),
    )
