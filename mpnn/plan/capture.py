"""What a message function depends on besides its arguments: attributes of its layer, closures, globals.

A plan is traced once and serves every later call with the same fingerprint. Tensors that the function reaches
by itself (`self.att`, a variable of the enclosing scope) are found again by path at each call, so that a
parameter that was replaced, moved or swapped by `functional_call` is never stale.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from enum import Enum
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mpnn.aggregate.aggregators import LogSumExp, Max, Mean, Min, Mul, Softmax, Std, Sum, Var
from mpnn.aggregate.reduction import Reduction
from mpnn.borrowed import BUFFERS, MODULES, PARAMETERS, has_hooks
from mpnn.plan.composed import Composed
from mpnn.plan.functions import (
    all_names,
    attribute_names,
    forget_functions,
    functions_behind,
    global_names,
    written_names,
)
from mpnn.plan.rows import NotFusableError

SCALARS = (bool, int, float, str, type(None))
_SCALARS = frozenset(SCALARS)
PLAIN = (*SCALARS, complex, bytes, Enum, torch.dtype, torch.device, type, ModuleType, Reduction)
Path = tuple[str, ...]

# Attributes that `nn.Module` itself needs, and no message reads.
_INTERNAL = frozenset(nn.Module().__dict__) - {"training"}
# The attributes that an aggregator's `split` reads; of most classes it reads none.
_OPTIONS: dict[type[nn.Module], tuple[str, ...]] = {
    **dict.fromkeys([Sum, Mean, Max, Min, Mul, LogSumExp, Var, Std], ()),
    Softmax: ("t", "semi_grad"),
}
_MISSING = object()
_DEEPEST = 8  # how far functions that call functions are followed


def fingerprint(function: Callable[..., Any], aggregator: nn.Module) -> Hashable:
    """Everything that could change the trace of a function, as far as it is not a tensor.

    That is its code, its defaults and what it closes over, and of its layer and its module's globals what
    the code names.

    Raises:
        NotFusableError: the function reads something that has no fingerprint.
    """
    return (_of_function(function), _of_module(aggregator), torch.get_default_dtype())


class _Reads(NamedTuple):
    """What a piece of code may read, by name."""

    attributes: tuple[str, ...] | None  # of its `self`, but for methods; None when any may be
    methods: frozenset[str]  # of its class
    globals: tuple[tuple[dict[str, Any], str], ...]
    written: tuple[tuple[str, bool], ...]  # what it assigns to, and whether as an attribute


_reads: dict[tuple[CodeType, int, type | None], _Reads] = {}


def _reads_of(plain: Any, owner: type | None) -> _Reads:
    key = (plain.__code__, id(plain.__globals__), owner)
    known = _reads.get(key)
    if known is None:
        if len(_reads) > 4096:
            _reads.clear()
        known = _reads[key] = _find_reads(plain, owner)
    return known


def forget(owner: type) -> None:
    """Keep nothing of the methods of a class; it is found out anew where it is needed."""
    for key in [key for key in list(_reads) if key[2] is owner]:
        _reads.pop(key, None)
    forget_functions(owner)


def _find_reads(plain: Any, owner: type | None) -> _Reads:
    functions = functions_behind(plain, owner)
    names = dict.fromkeys(name for f in functions for name in attribute_names(f.__code__))
    written = [pair for f in functions for pair in written_names(f.__code__)]
    mentioned = {name for f in functions for name in all_names(f.__code__)}
    if "is_grad_enabled" in mentioned:
        raise NotFusableError(
            f"{plain.__name__}() asks whether gradients are enabled, which a trace is without"
        )
    dynamic = not mentioned.isdisjoint(("getattr", "vars", "__dict__", "__getattr__"))
    found = {
        (id(f.__globals__), name): (f.__globals__, name)
        for f in functions
        if not _is_library(f.__module__)
        for name in global_names(f.__code__)
        if name in f.__globals__
    }
    methods = frozenset([n for n in names if type(getattr(owner, n, None)) is FunctionType])
    attributes = () if owner is None else tuple([n for n in names if n not in methods])
    return _Reads(None if dynamic else attributes, methods, tuple(found.values()), tuple(written))


@functools.lru_cache(4096)
def _is_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in ("torch", "torch_geometric", "mpnn", "numpy", "builtins")


def _of_function(function: Callable[..., Any], depth: int = 0, may_write: bool = False) -> Hashable:
    if isinstance(function, Composed):
        inner = tuple(function.inner)
        each = [_of_function(part, depth, may_write=True) for part in function.parts]
        return (cast(Hashable, type(function)), inner, *each)
    if isinstance(function, nn.Module):
        return _of_module(function, depth)
    owner = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        raise NotFusableError(f"the message is a {type(function).__name__}, not a Python function")
    if depth > _DEEPEST or (owner is None and depth and _is_library(plain.__module__)):
        return cast(Hashable, code)
    if owner is not None and not isinstance(owner, nn.Module):
        raise NotFusableError(f"the message is a method of a {type(owner).__name__}, which is not a module")
    reads = _reads_of(plain, None if owner is None else type(owner))
    for name, is_attribute in reads.written:
        if not (may_write and is_attribute):
            raise NotFusableError(f"{plain.__name__}() writes {name!r}, which a kernel would not")
    parts: list[Hashable] = [code]
    if owner is not None:
        if reads.attributes is None:
            parts.append(_of_module(owner, depth, is_called=False))
        else:
            parts.append(cast(Hashable, type(owner)))
            own = owner.__dict__
            for name in reads.attributes:
                value = own.get(name, _MISSING)
                kind = type(value)
                parts.append((kind, value) if kind in _SCALARS else _of_attribute(owner, name, depth))
            if not reads.methods.isdisjoint(own):  # the layer has an attribute in the place of a method
                own_methods = [name for name in own if name in reads.methods]
                parts += [(name, _of_attribute(owner, name, depth)) for name in own_methods]
    parts += [_of_value(namespace.get(name), depth) for namespace, name in reads.globals]
    if plain.__closure__:
        parts += [_of_value(cell.cell_contents, depth) for cell in plain.__closure__]
    if plain.__defaults__:
        parts += [_of_value(default, depth) for default in plain.__defaults__]
    if plain.__kwdefaults__:
        parts.append(_of_value(plain.__kwdefaults__, depth))
    return tuple(parts)


def _of_attribute(module: nn.Module, name: str, depth: int) -> Hashable:
    own = module.__dict__
    if name in own:
        return None if name in _INTERNAL else _of_value(own[name], depth)
    if name in own[MODULES]:
        return _of_value(own[MODULES][name], depth)
    for tensors in (own[PARAMETERS], own[BUFFERS]):
        if name in tensors:
            return tensors[name] is None
    if name in getattr(own[MODULES].get("parametrizations"), MODULES, ()):
        raise NotFusableError(f"{type(module).__name__} computes its {name} at each call")
    shared = getattr(type(module), name, None)
    if shared is None or type(shared) is FunctionType:
        return None
    return _of_value(shared, depth) if isinstance(shared, (*PLAIN, tuple, list, dict)) else None


def _of_module(module: nn.Module, depth: int = 0, is_called: bool = True) -> Hashable:
    parts: list[Hashable] = [cast(Hashable, type(module))]
    own = module.__dict__
    if is_called and has_hooks(own):
        raise NotFusableError(f"{type(module).__name__} has hooks, which a kernel would not call")
    options = _OPTIONS.get(type(module))
    if options is not None:
        return (*parts, *[_of_value(own.get(name)) for name in options])
    for name, value in own.items():
        if name not in _INTERNAL:
            parts.append((name, (type(value), value) if type(value) in _SCALARS else _of_value(value, depth)))
    for tensors in (own[PARAMETERS], own[BUFFERS]):
        if tensors:
            parts += [name for name, tensor in tensors.items() if tensor is None]
    modules = own[MODULES]
    if modules:
        if "parametrizations" in modules:
            raise NotFusableError(f"{type(module).__name__} computes its weights at each call")
        parts += modules
        parts += [_of_module(m, depth) for m in modules.values() if m is not None]
    if not _is_library(type(module).__module__) and hasattr(type(module).forward, "__code__"):
        reads = _reads_of(type(module).forward, type(module))
        parts += [_of_value(namespace.get(name), depth + 1) for namespace, name in reads.globals]
    return tuple(parts)


def _of_value(value: Any, depth: int = 0) -> Hashable:
    if isinstance(value, PLAIN):
        return (type(value), value)
    if isinstance(value, Tensor):
        return Tensor
    if isinstance(value, nn.Module):
        return _of_module(value, depth + 1)
    if isinstance(value, tuple | list):
        return (type(value), *[_of_value(v, depth) for v in value])
    if isinstance(value, dict):
        return (type(value), *[(key, _of_value(v, depth)) for key, v in value.items()])
    if isinstance(value, functools.partial):
        return (_of_value(value.func, depth), _of_value(value.args, depth), _of_value(value.keywords, depth))
    if callable(value) and hasattr(value, "__code__"):
        return _of_function(value, depth + 1)
    if callable(value) and type(value).__name__ in ("builtin_function_or_method", "OpOverloadPacket"):
        return id(value)
    raise NotFusableError(f"the message reads a {type(value).__name__}, which may change unseen")


def find(tensor: Tensor, function: Callable[..., Any], aggregator: nn.Module) -> list[Path]:
    """The paths by which a function reaches a tensor; none for one that it makes itself."""
    return [
        path
        for path, candidate in _reachable(function, aggregator)
        if candidate is tensor or _same_memory(candidate, tensor)
    ]


def same_tensor(paths: Sequence[Path], function: Callable[..., Any], aggregator: nn.Module) -> bool:
    """Whether several paths still end at one tensor, as a weight has two paths if it has two names."""
    first, *others = [fetch(path, function, aggregator) for path in paths]
    return all(tensor is first or _same_memory(tensor, first) for tensor in others)


def _same_memory(a: Tensor, b: Tensor) -> bool:
    if is_lazy(a) or is_lazy(b):  # it has no shape yet, and no memory
        return False
    same = a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype
    return same and a.numel() > 0 and a.device == b.device and a.data_ptr() == b.data_ptr()


def fetch(path: Path, function: Callable[..., Any], aggregator: nn.Module) -> Tensor:
    """The tensor that is at a path now."""
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
    for name in all_names(code) if code is not None else ():
        if name in names:
            yield from _tensors_of(("global", name), names[name])


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
        for name, tensor in (*value.__dict__[PARAMETERS].items(), *value.__dict__[BUFFERS].items()):
            if tensor is not None:
                yield (*path, name), tensor
        for name, child in value.__dict__[MODULES].items():
            yield from _tensors_of((*path, name), child)
