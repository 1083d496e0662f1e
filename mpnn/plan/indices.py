"""The position of an entry behind a chain of views, as text of the printed language."""

from __future__ import annotations

from collections.abc import Sequence

from mpnn.plan.ir import Value

Indices = Sequence[str]


def locate(value: Value, at: Indices | str, over: str) -> tuple[Value, Indices | str]:
    """The value behind a chain of views, and where in it the entry `at` of the view stands.

    Args:
        value: what is read.
        at: an index for each of its dimensions, "0" where the length is one; or its linear position.
        over: the operator by which the printed language divides whole numbers.

    Returns:
        The value that the views are of, and the position in it, in the form of `at`.
    """
    while value.op == "view":
        source = value.args[0]
        if isinstance(at, str) and value.name != "reshape":
            at = unravel(at, value.shape, over)
        match value.name:
            case "reshape":
                at = at if isinstance(at, str) else _reshaped(source, at, value.shape)
            case "expand":
                own = at[len(at) - len(source.shape) :]
                at = ["0" if n == 1 else i for i, n in zip(own, source.shape, strict=True)]
            case "permute":
                own = [""] * len(at)
                for position, dim in enumerate(value.detail):
                    own[dim] = at[position]
                at = own
            case _:  # slice
                dim, start, step = value.detail
                at = list(at)
                if step != 1:
                    at[dim] = f"({start} + {step} * {at[dim]})"
                elif start:
                    at[dim] = f"({at[dim]} + {start})"
        value = source
    return value, at


def _reshaped(source: Value, at: Indices, shape: Sequence[int]) -> Indices | str:
    squeezed = [(i, n) for i, n in zip(at, shape, strict=True) if n != 1]
    if [n for _, n in squeezed] == [n for n in source.shape if n != 1]:
        rest = iter(squeezed)
        return [next(rest)[0] if n != 1 else "0" for n in source.shape]
    return linear(at, shape)


def linear(at: Indices, shape: Sequence[int]) -> str:
    """The position of an entry in memory, row by row."""
    terms, stride = [], 1
    for i, n in zip(reversed(at), reversed(shape), strict=True):
        if n != 1:
            factor = i if i.isidentifier() else f"({i})"
            terms.append(i if stride == 1 else f"{factor} * {stride}")
        stride *= n
    return " + ".join(reversed(terms)) or "0"


def unravel(at: str, shape: Sequence[int], over: str) -> list[str]:
    """The index in each dimension of the entry at a linear position."""
    rest = 1
    for n in shape:
        rest *= n
    indices = []
    for n in shape:
        rest //= max(n, 1)
        indices.append("0" if n == 1 else f"(({at}) {over} {max(rest, 1)} % {n})")
    return indices


def broadcast(at: Indices, shape: Sequence[int]) -> list[str]:
    """The indices of an operand that is repeated along dimensions of length one, and along missing ones."""
    own = at[len(at) - len(shape) :]
    return ["0" if n == 1 else i for i, n in zip(own, shape, strict=True)]
