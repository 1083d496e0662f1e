"""Recurrent cells along chains, trees and other acyclic graphs, and what is near them."""

from __future__ import annotations

from random import Random

from tests.random_messages.case import Case, Definition, Field, Regular, Statement
from tests.random_messages.regular.graphs import acyclic


def cell(random: Random, seed: int, dtype: str) -> Case:
    """A case."""
    graphs = tuple(acyclic(random) for _ in range(random.choice([1, 2])))
    kind = random.choice(["rnn", "gru", "lstm", "lstm", "child sum", "child sum"])
    if kind != "child sum" and random.random() < 0.7:
        while not all("chain" in graph.text for graph in graphs):
            graphs = tuple(acyclic(random) for _ in graphs)
    wide, width = random.choice([1, 2, 3, 4]), random.choice([1, 2, 3, 4])
    if random.random() < 0.03:
        wide = 0
    return {"rnn": _rnn, "gru": _gru, "lstm": _lstm, "child sum": _child_sum}[kind](
        random, seed, dtype, graphs, wide, width
    )


class _Written:
    """The lines of an update, each with its name."""

    def __init__(self, random: Random, wide: int, width: int, gates: int) -> None:
        self.random, self.width = random, width
        self.statements: list[Statement] = []
        biases = [random.choice(["", "", ", bias=False"]) for _ in range(2)]
        self.definitions = [
            Definition("lin", f"nn.Linear({wide}, {gates * width}{biases[0]})"),
            Definition("loop", f"nn.Linear({width}, {gates * width}{biases[1]})"),
        ]
        self.changes: list[str] = []

    def maybe(self, name: str, share: float = 0.05) -> bool:
        """Whether a change happens; it is noted."""
        happens = self.random.random() < share
        if happens:
            self.changes.append(name)
        return happens

    def say(self, name: str, text: str) -> str:
        self.statements.append(Statement(name, (f"{name} = {text}",), name))
        return name

    def projected(self) -> str:
        return "own.lin(x)"

    def looped(self, text: str) -> str:
        """The map of the state, with a change."""
        if self.maybe("doubled state", 0.03):
            text = f"2 * {text}"
        if self.maybe("detached state", 0.04):
            text = f"{text}.detach()"
        if self.maybe("state plus a number", 0.03):
            text = f"({text} + 0.1)"
        if self.maybe("state kept", 0.05):
            text = f"{text}.clone()"
        if self.maybe("lower precision", 0.04):
            text = f"{text}.to(torch.bfloat16).to(dtype)"
        if self.maybe("tied", 0.03):
            text = f"({text} + own.loop.weight.sum())"
        return f"own.loop({text})"

    def act(self, function: str, text: str, share: float = 0.04) -> str:
        """An activation, or another."""
        if self.maybe(f"another than {function}", share):
            function = self.random.choice(["relu", "sigmoid", "tanh", "exp", "abs", "sin"])
        if self.random.random() < 0.3 and function in ("relu", "sigmoid", "tanh"):
            return f"torch.{function}({text})"
        return f"({text}).{function}()"


def _done(
    w: _Written,
    seed: int,
    kind: str,
    dtype: str,
    graphs: tuple[Regular, ...],
    wide: int,
    result: str,
    states: int,
) -> Case:
    message = {1: ["def message(self, h_j):", "    return h_j"]}.get(
        states, ["def message(self, h_j, c_j):", "    return torch.cat([h_j, c_j], -1)"]
    )
    if w.maybe("scaled message", 0.03):
        message[-1] += " * 0.5"
    if w.maybe("message with the input", 0.03):
        message = [message[0].replace("h_j", "h_j, x_j"), message[1] + " + x_j.sum(-1, keepdim=True)"]
    if kind == "child sum":
        inner = "sigmoid" if w.random.random() < 0.95 else "tanh"
        split = f"{w.width}:{2 * w.width}"
        forget = f"(self.lin(x_i) + self.loop(h_j))[:, {split}].{inner}()"
        if w.maybe("shared forget gate", 0.05):
            forget = f"self.lin(x_i)[:, {split}].{inner}()"
        if w.maybe("forget gate of the child", 0.05):
            forget = f"(self.lin(x_j) + self.loop(h_j))[:, {split}].{inner}()"
        named = "x_i, h_j, c_j" + (", x_j" if "x_j" in forget else "")
        message = [f"def message(self, {named}):", f"    return torch.cat([h_j, {forget} * c_j], -1)"]
    total = sum([w.width] * states)
    start = w.random.choices(["zeros", "ones"], [20, 1])[0]
    nothing = [
        "def nothing(self, num_nodes, fields):",
        f"    return self.lin.weight.new_{start}(num_nodes, {total})",
    ]
    names = ("h",) if states == 1 else ("h", "c")
    truncate = ["truncate = 2"] if w.maybe("truncated", 0.03) else []
    learned = w.random.random() < 0.8
    fields = [
        Field(
            "x",
            "node",
            f"torch.randn(({{n}}, {wide}), generator={{g}}, dtype=torch.float64).to(dtype)",
            w.random.randrange(1000),
            learned,
        )
    ]
    parameters = ["inputs", "x"]
    if w.maybe("another field", 0.04):
        fields.append(
            Field("y", "node", f"torch.randn(({{n}}, {w.width}), generator={{g}}).to(dtype)", 3, True)
        )
        parameters.append("y")
        w.statements.append(Statement("more", ("more = y * 1",), "another field"))
        result = f"({result.strip('()').split(',')[0]} + more,{result.partition(',')[2]}"
    aggr = w.random.choices(["'sum'", "'mean'", "'max'"], [20, 1, 1])[0]
    return Case(
        seed=seed,
        graphs=graphs,
        bipartite=False,
        fields=tuple(fields),
        parameters=tuple(parameters),
        statements=tuple(w.statements),
        result=result,
        definitions=tuple(w.definitions),
        aggr=aggr,
        form="cell",
        dtype=dtype,
        cell=(f"state = {names}", *truncate, *message, *nothing),
        features=(f"kind: {kind}", *(f"change: {name}" for name in w.changes), f"dtype: {dtype}"),
    )


def _rnn(random: Random, seed: int, dtype: str, graphs: tuple[Regular, ...], wide: int, width: int) -> Case:
    w = _Written(random, wide, width, 1)
    total = w.say("total", f"{w.projected()} + {w.looped('inputs')}")
    if w.maybe("bias", 0.05):
        w.definitions.append(Definition("extra", f"learned(torch.ones({width}))"))
        total = w.say("biased", f"{total} + own.extra")
    if w.maybe("tiny term", 0.04):
        total = w.say("biased", f"{total} + 1e-13 * (1e7 * inputs) ** 2")
    h = w.say("h", w.act(random.choice(["tanh", "relu"]), total, 0.1))
    if w.maybe("residual", 0.05):
        h = w.say("summed", "h + inputs")
    return _done(w, seed, "rnn", dtype, graphs, wide, f"({h},)", 1)


def _gru(random: Random, seed: int, dtype: str, graphs: tuple[Regular, ...], wide: int, width: int) -> Case:
    w = _Written(random, wide, width, 3)
    if random.random() < 0.2:
        w.definitions = [
            Definition("lin", f"nn.Linear({wide}, 1)"),
            Definition("unit", f"nn.GRUCell({wide}, {width})"),
        ]
        w.say("h", f"own.unit(x, inputs{' * 0.5' if w.maybe('half of the state') else ''})")
        return _done(w, seed, "gru", dtype, graphs, wide, "(h,)", 1)
    w.say("a", w.projected())
    w.say("b", w.looped("inputs"))
    order = [0, 1, 2]
    if w.maybe("gates in another order", 0.06):
        random.shuffle(order)
    r, z, n = (
        (f"a[:, {k * width}:{(k + 1) * width}]", f"b[:, {k * width}:{(k + 1) * width}]") for k in order
    )
    w.say("r", w.act("sigmoid", f"{r[0]} + {r[1]}"))
    w.say("z", w.act("sigmoid", f"{z[0]} + {z[1]}"))
    inner = f"{n[0]} + r * {n[1]}" if not w.maybe("reset gate outside", 0.05) else f"r * ({n[0]} + {n[1]})"
    w.say("n", w.act("tanh", inner))
    last = (
        "(1 - z) * n + z * inputs" if not w.maybe("update gate swapped", 0.06) else "z * n + (1 - z) * inputs"
    )
    w.say("h", random.choice([last, "n + z * (inputs - n)"]) if last.startswith("(1") else last)
    return _done(w, seed, "gru", dtype, graphs, wide, "(h,)", 1)


def _lstm(
    random: Random,
    seed: int,
    dtype: str,
    graphs: tuple[Regular, ...],
    wide: int,
    width: int,
    child: bool = False,
) -> Case:
    w = _Written(random, wide, width, 4)
    w.say("gates", f"{w.projected()} + {w.looped(f'inputs[:, :{width}]')}")
    w.say("before", f"inputs[:, {width}:]")
    names = ["i", "f", "g", "o"]
    if w.maybe("gates in another order", 0.06):
        random.shuffle(names)
    for k, name in enumerate(names):
        if name == "f" and child:
            continue
        w.say(name, w.act("tanh" if name == "g" else "sigmoid", f"gates[:, {k * width}:{(k + 1) * width}]"))
    kept = "before" if child else "f * before"
    if not child and w.maybe("coupled gates", 0.05):
        kept = "(1 - i) * before"
    w.say("c", f"{kept} + i * g")
    if w.maybe("memory clamped", 0.03):
        w.say("c", "c.clamp(-1, 1)")
    w.say("h", f"o * {'c' if w.maybe('memory without tanh', 0.05) else w.act('tanh', 'c')}")
    if not child and random.random() < 0.1:
        w.definitions.append(Definition("project", f"nn.Linear({width}, {width}, bias=False)"))
        w.say("h2", "own.project(h)")
        return _done(w, seed, "lstm", dtype, graphs, wide, "(h2, c)", 2)
    result = "(c, h)" if w.maybe("states swapped", 0.03) else "(h, c)"
    return _done(w, seed, "child sum" if child else "lstm", dtype, graphs, wide, result, 2)


def _child_sum(
    random: Random, seed: int, dtype: str, graphs: tuple[Regular, ...], wide: int, width: int
) -> Case:
    return _lstm(random, seed, dtype, graphs, wide, width, child=True)
