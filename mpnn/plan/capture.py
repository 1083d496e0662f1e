"""What a message function depends on besides its arguments: attributes of its layer, closures, globals.

A plan is traced once and serves every later call with the same fingerprint. Tensors that the function reaches
by itself (`self.att`, a variable of the enclosing scope) are found again by path at each call, so that a
parameter that was replaced, moved or swapped by `functional_call` is never stale.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from types import CellType, CodeType
from typing import Any, cast

from torch import Tensor, nn

from mpnn.plan.homes import NotFusableError

SCALARS = (bool, int, float, str, type(None))
Path = tuple[str, ...]


def fingerprint(function: Callable[..., Any], aggregator: nn.Module) -> Hashable:
    """Everything that could change the trace of a function, as far as it is not a tensor.

    Raises:
        NotFusableError: the function closes over something that has no fingerprint.
    """
    return (_of_function(function), _of_module(aggregator))


def _of_function(function: Callable[..., Any]) -> Hashable:
    owner = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    if isinstance(function, nn.Module):
        return _of_module(function)
    code = getattr(plain, "__code__", None)
    if code is None:
        raise NotFusableError(f"the message is a {type(function).__name__}, not a Python function")
    parts: list[Hashable] = [code]
    if isinstance(owner, nn.Module):
        parts.append(_of_module(owner))
    elif owner is not None:
        raise NotFusableError(f"the message is a method of a {type(owner).__name__}, which is not a module")
    if plain.__closure__:
        parts += [_of_value(cell.cell_contents) for cell in plain.__closure__]
    if plain.__defaults__:
        parts += [_of_value(default) for default in plain.__defaults__]
    return tuple(parts)


def _of_module(module: nn.Module) -> Hashable:
    own = tuple([(k, v) for k, v in module.__dict__.items() if isinstance(v, SCALARS)])
    children = tuple([_of_module(m) for m in module._modules.values() if m is not None])
    return (type(module), own, children) if children else (type(module), own)


def _of_value(value: Any) -> Hashable:
    if isinstance(value, SCALARS):
        return (type(value), value)
    if isinstance(value, Tensor):
        return Tensor
    if isinstance(value, nn.Module):
        return _of_module(value)
    if isinstance(value, tuple | list):
        return (type(value), *map(_of_value, value))
    if isinstance(value, type) or type(value).__name__ == "module":
        return cast(Hashable, value)
    if callable(value) and hasattr(value, "__code__"):
        return _of_function(value)
    if callable(value) and type(value).__name__ in ("builtin_function_or_method", "OpOverloadPacket"):
        return id(value)
    raise NotFusableError(f"the message closes over a {type(value).__name__}")


def find(tensor: Tensor, function: Callable[..., Any], aggregator: nn.Module) -> Path | None:
    """The path by which a function reaches a tensor; None for one that it makes itself."""
    for path, candidate in _reachable(function, aggregator):
        if candidate is tensor or _same_memory(candidate, tensor):
            return path
    return None


def _same_memory(a: Tensor, b: Tensor) -> bool:
    same = a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype
    return same and a.numel() > 0 and a.device == b.device and a.data_ptr() == b.data_ptr()


def fetch(path: Path, function: Callable[..., Any], aggregator: nn.Module) -> Tensor:
    """The tensor at a path now."""
    root, *rest = path
    plain: Any = getattr(function, "__func__", function)
    value: Any
    if root == "self":
        value = getattr(function, "__self__", function)
    elif root == "aggregator":
        value = aggregator
    elif root == "global":
        value = plain.__globals__[rest.pop(0)]
    else:
        value = plain.__closure__[int(rest.pop(0))].cell_contents
    for name in rest:
        value = value[int(name)] if isinstance(value, tuple | list) else getattr(value, name)
    assert isinstance(value, Tensor)
    return value


def _reachable(function: Callable[..., Any], aggregator: nn.Module) -> Iterator[tuple[Path, Tensor]]:
    owner = getattr(function, "__self__", function if isinstance(function, nn.Module) else None)
    if owner is not None:
        yield from _tensors_of(("self",), owner)
    yield from _tensors_of(("aggregator",), aggregator)
    plain = getattr(function, "__func__", function)
    cells: tuple[CellType, ...] = getattr(plain, "__closure__", None) or ()
    for k, cell in enumerate(cells):
        yield from _tensors_of(("closure", str(k)), cell.cell_contents)
    code, names = getattr(plain, "__code__", None), getattr(plain, "__globals__", {})
    for name in _names(code) if code is not None else ():
        if name in names:
            yield from _tensors_of(("global", name), names[name])


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _tensors_of(path: Path, value: Any) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, tuple | list):
        for k, item in enumerate(value):
            yield from _tensors_of((*path, str(k)), item)
    elif isinstance(value, nn.Module):
        for name, item in value.__dict__.items():
            if isinstance(item, Tensor):
                yield (*path, name), item
        for name, tensor in (*value._parameters.items(), *value._buffers.items()):
            if tensor is not None:
                yield (*path, name), tensor
        for name, child in value._modules.items():
            yield from _tensors_of((*path, name), child)
