"""A message on a regular graph as it is being written, from a form that a rule knows to one near it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.random_messages.case import Case, Definition, Field, Regular, Statement
from tests.random_messages.inputs import drawn

LITERALS = ("0.5", "2", "-0.3", "0.125", "-1", "3.7", "1 / 3", "0", "0.0010000000000500001")
Change = Callable[["Sketch", str], str]  # from a value of the message to another


@dataclass
class Sketch:
    """The parts of a case so far."""

    random: Random
    graphs: tuple[Regular, ...]
    square: bool  # whether sources and destinations are the same nodes
    statements: list[Statement] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    ties: bool = False  # whether equal numbers may be drawn

    def say(self, text: str, what: str = "form") -> str:
        """A new name for an expression."""
        name = f"v{len(self.statements)}"
        self.statements.append(Statement(name, (f"{name} = {text}",), what))
        return name

    def chance(self, share: float) -> bool:
        """Whether something of a probability happens."""
        return self.random.random() < share

    def read(self, parameter: str) -> str:
        """A parameter of the message."""
        if parameter not in self.parameters:
            self.parameters.append(parameter)
        return parameter

    def node(self, name: str, shape: Sequence[int], at: str, data: str = "") -> str:
        """A field of the nodes at one end, `at` "i" or "j", as the message reads it."""
        known = [f for f in self.fields if f.name == name]
        if not known:
            per = "node" if self.square else "destination" if at == "i" else "source"
            self.add(name, per, shape, data)
        return self.read(f"{name}_{at}")

    def edge(self, name: str, shape: Sequence[int], data: str = "") -> str:
        """A field of the edges."""
        self.add(name, "edge", shape, data)
        return self.read(name)

    def shared(self, name: str, shape: Sequence[int], data: str = "") -> str:
        """A field that all edges share."""
        self.add(name, "shared", shape, data)
        return self.read(name)

    def fresh(self, name: str) -> str:
        """A name that no field has."""
        names = {f.name for f in self.fields}
        return next(n for n in (name, *(f"{name}{k}" for k in range(2, 99))) if n not in names)

    def add(self, name: str, per: str, shape: Sequence[int], data: str = "") -> None:
        """A field, of numbers as they may be: random, rounded, not contiguous."""
        rows: tuple[object, ...] = () if per == "shared" else ("{n}",)
        full = (*rows, *shape)
        learned = self.chance(0.8)
        text = data or drawn(self.random, DATA if self.ties else UNTIED)
        match text:
            case "-inf":
                text = f"torch.where(torch.rand({_size(full)}, generator={{g}}) > 0.4, 0.0, -torch.inf)"
                learned = False
            case "every other row" if rows:
                text = f"{_normal(('{2n}', *shape))}.to(dtype)[::2]"
            case "every other column" if shape:
                text = f"{_normal((*full[:-1], 2 * full[-1]))}.to(dtype)[..., ::2]"  # type: ignore[operator]
            case "transposed" if len(full) > 1:
                text = f"{_normal((*full[:-2], full[-1], full[-2]))}.to(dtype).mT"
            case "large":
                text = f"1e3 * {_normal(full)}"
            case "rounded":
                text = f"{_normal(full)}.round()"
            case _ if text in DATA:
                text = _normal(full)
        text = text if ".to(dtype)" in text else f"({text}).to(dtype)"
        self.fields.append(Field(name, per, text, self.random.randrange(1000), learned))

    def add_whole(self, name: str, per: str, shape: Sequence[int], below: str = "4") -> None:
        """A field of whole numbers."""
        full = (*(() if per == "shared" else ("{n}",)), *shape)
        text = f"torch.randint(0, {below}, {_size(full)}, generator={{g}})"
        self.fields.append(Field(name, per, text, self.random.randrange(1000), False))

    def own(self, shape: Sequence[int]) -> str:
        """A tensor that the message holds."""
        name, seed = f"t{len(self.definitions)}", self.random.randrange(1000)
        drawn = f"torch.randn({_size(shape)}, generator=g({seed}), dtype=torch.float64)"
        kind = "learned" if self.chance(0.6) else "fixed"
        self.definitions.append(Definition(name, f"{kind}({drawn})"))
        return f"own.{name}"

    def number(self) -> str:
        """One number: written, held, given, a tensor; it may be another one in the next call."""
        kind = self.random.choice(
            ["literal", "literal", "held", "set", "tensor", "refilled", "given", "shared"]
        )
        self.features.append(f"number: {kind}")
        name = f"c{len(self.definitions) + len(self.fields)}"
        match kind:
            case "literal":
                return self.random.choice(LITERALS)
            case "held":
                self.definitions.append(Definition(name, self.random.choice(["0.5", "2", "-0.3"])))
            case "set":
                self.definitions.append(Definition(name, "0.5"))
                self.settings.append(f"own.{name} = 0.25 * ({{k}} + 1)")
            case "tensor":
                return self.own(self.random.choice([(), (1,)]))
            case "refilled":
                self.definitions.append(Definition(name, "fixed(torch.tensor(0.5))"))
                self.settings.append(f"own.{name}.fill_(0.25 * ({{k}} + 1))")
            case "given":
                self.fields.append(Field(name, "number", "0.25 * ({k} + 1)", 0, False))
                return self.read(name)
            case _:
                return self.shared(name, self.random.choice([(), (1,)]))
        return f"own.{name}"

    def change(self, value: str, changes: Mapping[str, tuple[float, Change]], share: float = 0.5) -> str:
        """The value after some changes."""
        names = {name: weight for name, (weight, _) in changes.items()}
        while self.chance(share):
            name = drawn(self.random, names)
            self.features.append(f"change: {name}")
            value = self.say(changes[name][1](self, value), name)
        return value

    def case(self, seed: int, result: str, aggr: str, kind: str, dtype: str, **more: object) -> Case:
        """The whole."""
        form = "layer" if self.chance(0.4) else "function"
        flow, update = "source_to_target", ""
        if form == "layer":
            flow = "target_to_source" if self.chance(0.25) and self.square else flow
            update = self.random.choice(["", "", "inputs * 2"])
        settings = tuple(
            "\n".join(s.replace("{k}", str(k + 1)) for s in self.settings) for k in range(len(self.graphs))
        )
        case = Case(
            seed=seed,
            graphs=self.graphs,
            bipartite=False,
            fields=tuple(self.fields),
            parameters=tuple(self.parameters),
            statements=tuple(self.statements),
            result=result,
            definitions=tuple(self.definitions),
            aggr=aggr,
            flow=flow,
            form=form,
            update=update,
            dtype=dtype,
            settings=settings if any(settings) else (),
        )
        features = [f"kind: {kind}", f"aggr: {aggr}", f"dtype: {dtype}", f"form: {form}", f"flow: {flow}"]
        return case.but(features=tuple(dict.fromkeys([*features, *self.features])), **more)


DATA = {
    "random": 8,
    "rounded": 1,
    "large": 0.4,
    "every other row": 0.7,
    "every other column": 0.7,
    "transposed": 0.7,
}
UNTIED = {name: weight for name, weight in DATA.items() if name not in ("rounded",)}


def _size(shape: Sequence[object]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _normal(shape: Sequence[object]) -> str:
    return f"torch.randn({_size(shape)}, generator={{g}}, dtype=torch.float64)"
