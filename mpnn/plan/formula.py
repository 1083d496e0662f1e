"""A per-edge program in words, for the comment above its kernel."""

from __future__ import annotations

from collections import Counter

from mpnn.plan.homes import Home
from mpnn.plan.ir import Output, Over, Program, Value

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "lt": "<", "le": "<=",
    "eq": "==", "ne": "!=", "logical_and": "and", "logical_or": "or",
}  # fmt: skip
OVER = {Home.DST: "the edges that enter a node", Home.SRC: "the edges that leave a node"}
PLACE = {
    Home.SHARED: "shared",
    Home.DST: "at the destination",
    Home.SRC: "at the source",
    Home.EDGE: "of the edge",
}


def formula(program: Program) -> str:
    """Inputs and outputs of a program, a line each; a value that is read twice gets a letter."""
    return _Words(program).text()


class _Words:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.uses: Counter[Value] = Counter()
        self.letters: dict[Value, str] = {}
        self.lines: list[str] = []
        seen: set[Value] = set()
        stack = [v for o in program.outputs for v in (o.value, o.score) if v is not None]
        self.uses.update(stack)
        while stack:
            value = stack.pop()
            if value not in seen:
                seen.add(value)
                self.uses.update(value.args)
                stack.extend(value.args)

    def text(self) -> str:
        inputs = [f"in{k} {list(i.shape)} {PLACE[i.home]}" for k, i in enumerate(self.program.inputs)]
        outputs = [self._output(k, output) for k, output in enumerate(self.program.outputs)]
        return "\n   ".join([f"for {OVER[self.program.by]}:", *inputs, *self.lines, *outputs])

    def _output(self, k: int, output: Output) -> str:
        message = [self._value(v) for v in (output.value, output.score) if v is not None]
        match output.over:
            case Over.EDGE:
                return f"out{k} of the edge = {message[0]}"
            case Over.ALL:
                return f"out{k} = sum over all edges of {message[0]}"
            case Over.ROW:
                return f"out{k} = {output.reduction.formula(*message)}"

    def _value(self, value: Value, nested: bool = False) -> str:
        if value.op == "view" and value.name != "slice":
            return self._value(value.args[0], nested)
        if value.op in ("load", "const"):
            return f"in{value.detail}" if value.op == "load" else f"{value.detail:g}"
        if value in self.letters:
            return self.letters[value]
        text = self._operation(value)
        if self.uses[value] > 1:
            self.letters[value] = f"t{len(self.letters)}"
            self.lines.append(f"{self.letters[value]} = {text}")
            return self.letters[value]
        return f"({text})" if nested and value.name in INFIX else text

    def _operation(self, value: Value) -> str:
        if value.name in INFIX:
            return f" {INFIX[value.name]} ".join(self._value(a, True) for a in value.args)
        if value.op == "view":
            dim, start, step = value.detail
            end = start + step * value.shape[dim]
            picked = f"{':, ' * dim}{start}:{end if end >= 0 else ''}{f':{step}' if step != 1 else ''}"
            return f"{self._value(value.args[0], True)}[{picked}]"
        args = [self._value(a) for a in value.args]
        if value.op == "reduce":
            return f"{value.name}({args[0]}, {list(value.detail)})"
        return f"{value.name or 'join'}({', '.join(args)})"
