"""A message as it is being written: the values so far, and the operations that may follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.random_messages.case import Definition, Statement, mentions
from tests.random_messages.value import LIMITS, Limits, Value, broadcast

# What PyTorch does by matrix products, whose rows have other bits in another place.
PRODUCTS = ("@", "linear(", "matmul(", "einsum(", "bmm(", "own.map")

Production = Callable[["Draft"], "Value | None"]


@dataclass(frozen=True)
class Rule:
    """An operation of the grammar."""

    name: str
    write: Production
    weight: float
    anywhere: bool  # whether it also fits where edges are not the first dimension


RULES: dict[str, Rule] = {}


def rule(name: str, weight: float = 1.0, *, anywhere: bool = False) -> Callable[[Production], Production]:
    """Name an operation of the grammar; it returns None where nothing fits it."""

    def register(write: Production) -> Production:
        if name in RULES:
            raise ValueError(f"two operations are called {name!r}.")
        RULES[name] = Rule(name, write, weight, anywhere)
        return write

    return register


@dataclass
class Draft:
    """A message in the making."""

    random: Random
    dtype: str
    values: list[Value]
    num_edges: int  # the most in any graph of the case
    learns: bool = True
    statements: list[Statement] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    rule: str = ""

    @property
    def limits(self) -> Limits:
        """How far numbers may go."""
        return LIMITS[self.dtype]

    def pick(self, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        """A value that fits, the last ones first."""
        fitting = [value for value in self.values if fits(value)]
        if not fitting:
            return None
        if self.random.random() < 0.5:
            return fitting[-1]
        return self.random.choice(fitting)

    def number(self, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        """A floating value that fits."""
        return self.pick(lambda value: value.kind == "float" and fits(value))

    def edges(self, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        """A floating value with one row for each edge."""
        return self.number(lambda value: value.rows and fits(value))

    def beside(self, a: Value, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        """Another floating value that an elementwise operation takes together with `a`."""
        return self.number(
            lambda b: b.text != a.text and (a.rows or b.rows) and broadcast(a, b) is not None and fits(b)
        )

    def choice(self, options: Sequence[str]) -> str:
        """One of several texts."""
        return self.random.choice(options)

    def emit(
        self,
        text: str,
        like: Value,
        shape: tuple[int, ...] | None = None,
        *,
        size: float | None = None,
        error: float | None = None,
        whole: bool | None = None,
        kind: str | None = None,
        rows: bool | None = None,
        then: Sequence[str] = (),
    ) -> Value | None:
        """A new name for an expression; None where its numbers would go too far.

        `then` is written below it, `{}` for the name: what happens in place.
        """
        size = like.size if size is None else size
        whole = like.whole if whole is None else whole
        error = like.error if error is None else error
        if whole and like.error == 0 and size <= self.limits.exact:
            error = 0.0
        if size > self.limits.size or error > self.limits.error:
            return None
        name = f"v{len(self.statements)}"
        lines = (f"{name} = {text}", *(line.format(name) for line in then))
        self.statements.append(Statement(name, lines, self.rule))
        value = Value(
            name,
            like.shape if shape is None else shape,
            like.rows if rows is None else rows,
            like.kind if kind is None else kind,
            size,
            error,
            whole and size <= self.limits.exact,
            error == 0 or self._is_steady(lines),
        )
        self.values.append(value)
        return value

    def _is_steady(self, lines: Sequence[str]) -> bool:
        read = [v for v in self.values if any(mentions(line, v.text) for line in lines)]
        return all(v.steady for v in read) and not any(word in line for line in lines for word in PRODUCTS)

    def define(self, text: str, prefix: str = "map") -> str:
        """A module or tensor that the message holds; the name under which the message reads it."""
        name = f"{prefix}{len(self.definitions)}"
        self.definitions.append(Definition(name, text))
        return f"own.{name}"

    def tensor(self, shape: tuple[int, ...], *, scale: float = 1.0, whole: bool = False) -> str:
        """A tensor that the message holds."""
        seed = self.random.randrange(1000)
        if whole:
            drawn = f"torch.randint(-2, 3, {shape}, generator=g({seed}))"
        else:
            drawn = f"torch.randn({shape}, generator=g({seed}), dtype=torch.float64)"
            drawn = drawn if scale == 1 else f"{scale:.3g} * {drawn}"
        learned = self.learns and self.random.random() < 0.7
        return self.define(f"{'learned' if learned else 'fixed'}({drawn})", "t")

    def has(self, name: str) -> bool:
        """Whether the message takes a parameter of that name."""
        return any(value.text == name for value in self.values)
