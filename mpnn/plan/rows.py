"""The number of rows of a trace: a kind of dimension, never a number.

A message is traced on tensors whose first dimension is a symbol. Where an operation takes a size, as `view`
and `expand` do, the trace has `Rows` in place of the symbol, and each call puts in its number of rows. If a
message uses the size as a number, in arithmetic or in a branch, its trace would hold for one graph only: such
a message has no plan.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from mpnn.borrowed import FakeTensor, FakeTensorMode, schema_of, symbols


class NotFusableError(Exception):
    """This message cannot become a kernel; the text says why, for `explain`."""


@dataclass(frozen=True)
class Refused:
    """The reason, in words, why there is no kernel or no plan; it has the place of either."""

    reason: str


@dataclass(frozen=True)
class Rows:
    """A dimension that counts the rows; merged with features it is `times` times as long."""

    times: int = 1

    def __repr__(self) -> str:
        return "rows" if self.times == 1 else f"{self.times} rows"


ROWS = Rows()
Size = int | Rows
Shape = tuple[Any, ...]  # a `Size` each

# A message sees only the symbol, so any number does but 0 and 1, which PyTorch treats specially.
_EXAMPLE = 1 << 20


class RowsMode(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Stand-ins for tensors, whose number of rows is the symbol `rows`.

    Args:
        example: a number of rows that PyTorch may look at; no plan depends on it.
    """

    def __init__(self, example: int = _EXAMPLE) -> None:
        of = symbols()
        self._environment = environment = of.environment(duck_shape=False)
        super().__init__(allow_non_fake_inputs=True, shape_env=environment)
        source = of.source("rows")
        symbol = environment.create_symbol(example, source, dynamic_dim=of.dynamic)
        self._symbol = symbol
        self.cache_enabled = False  # it is never emptied, and no two traces share a symbol
        self.rows: Any = environment.create_symintnode(symbol, hint=example, source=source)

    def empty(self, shape: Shape, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """A stand-in of a shape."""
        with self:
            return torch.empty(self.symbolic(shape), dtype=dtype, device=device)

    def like(self, example: Tensor, has_rows: bool) -> Tensor:
        """A stand-in for a tensor; `rows` says whether its first dimension counts the rows."""
        shape = (ROWS, *example.shape[1:]) if has_rows else tuple(example.shape)
        return self.empty(shape, example.dtype, example.device)

    def symbolic(self, value: Any) -> Any:
        """Arguments of an operation as PyTorch takes them."""
        return replaced(value, self.rows)

    def rows_of(self, size: Any) -> Size:
        """A size that PyTorch computed, as a number or as `Rows`.

        Raises:
            NotFusableError: it depends on the number of rows, and not as a multiple of it.
        """
        if not isinstance(size, torch.SymInt):
            return int(size)
        times = size.node.expr / self._symbol
        if times.is_Integer and times > 0:
            return Rows(int(times))
        if size.node.expr.is_Integer:
            return int(size.node.expr)
        raise NotFusableError(f"the message makes a tensor of {size.node.expr} rows or features")

    def shape_of(self, tensor: Tensor) -> Shape:
        """The shape of a stand-in."""
        return tuple([n if type(n) is int else self.rows_of(n) for n in tensor.shape])

    def check(self) -> None:
        """Refuse a trace that holds for some numbers of rows only.

        Raises:
            NotFusableError: PyTorch, or the message, decided something by the number of rows.
        """
        if self._environment.guards:
            condition = str(self._environment.guards[0].expr).replace(str(self._symbol), "E")
            raise NotFusableError(
                f"the message depends on how many edges E there are (it asks whether {condition})"
            )


def mode_of(tensor: Tensor) -> RowsMode:
    """The mode that a stand-in belongs to."""
    assert isinstance(tensor, FakeTensor)
    assert isinstance(tensor.fake_mode, RowsMode)
    return tensor.fake_mode


def replaced(value: Any, num_rows: Any) -> Any:
    """Arguments of an operation with a number of rows in the place of `Rows`."""
    if type(value) is Rows:
        return value.times * num_rows
    if isinstance(value, list | tuple):
        return type(value)([replaced(v, num_rows) for v in value])
    if isinstance(value, dict):
        return {name: replaced(v, num_rows) for name, v in value.items()}
    return value


def mentions_rows(value: Any) -> bool:
    """Whether arguments contain `Rows`."""
    if isinstance(value, dict):
        return any(map(mentions_rows, value.values()))
    if isinstance(value, list | tuple):
        return any(map(mentions_rows, value))
    return type(value) is Rows


def write_rows(graph: fx.Graph, mode: RowsMode) -> None:
    """Write `Rows` where operations take a size that the trace computes from the symbol.

    Raises:
        NotFusableError: an operation takes the number of rows as a number, not as a size.
    """
    for node in graph.nodes:
        if node.op == "output" or _is_size(node):
            continue
        taken = [n for n in node.all_input_nodes if _is_size(n)]
        if node.op == "call_function" and (taken or _holds_symbols(node)):
            for value in outside_sizes(node):
                if any(map(_is_number_of_rows, _leaves(value))):
                    name = str(node.target).partition(".default")[0]
                    raise NotFusableError(f"the message computes with the number of edges ({name})")
            sizes = {n: mode.rows_of(n.meta["val"]) for n in taken}
            node.args = _with_sizes(node.args, sizes, mode)
            node.kwargs = {k: _with_sizes(v, sizes, mode) for k, v in node.kwargs.items()}
    for node in reversed(graph.nodes):
        if node.op == "call_function" and _is_size(node) and not node.users:
            graph.erase_node(node)


def _is_size(value: Any) -> bool:
    symbolic = (torch.SymInt, torch.SymFloat, torch.SymBool)
    return isinstance(value, fx.Node) and isinstance(value.meta.get("val"), symbolic)


def _is_number_of_rows(value: Any) -> bool:
    return _is_size(value) or isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool)


def _holds_symbols(node: fx.Node) -> bool:
    return any(isinstance(v, torch.SymInt | torch.SymFloat) for v in _leaves([node.args, node.kwargs]))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def outside_sizes(node: fx.Node) -> Iterator[Any]:
    """The arguments of an operation that are not sizes by its schema."""
    schema = schema_of(node.target)
    if schema is None:
        yield from (*node.args, *node.kwargs.values())
        return
    given = dict(zip([a.name for a in schema.arguments], node.args, strict=False)) | dict(node.kwargs)
    sizes = _size_names(node.target)
    for name, value in given.items():
        if name not in sizes:
            yield value


@functools.lru_cache(maxsize=1024)
def _size_names(target: Any) -> frozenset[str]:
    return frozenset(a.name for a in schema_of(target).arguments if _takes_sizes(a.real_type))


def _takes_sizes(kind: Any) -> bool:
    while kind.kind() in ("OptionalType", "ListType"):
        kind = kind.getElementType()
    return bool(kind.kind() == "SymIntType")


def _with_sizes(value: Any, sizes: dict[fx.Node, Size], mode: RowsMode) -> Any:
    if isinstance(value, list | tuple):
        return type(value)([_with_sizes(v, sizes, mode) for v in value])
    if isinstance(value, fx.Node):
        return sizes.get(value, value)
    return mode.rows_of(value) if isinstance(value, torch.SymInt) else value
