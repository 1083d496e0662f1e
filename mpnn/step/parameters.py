"""What the functions of a layer ask for, read off the names of their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from mpnn.borrowed import known_while_compiling

# What a function may ask for besides the fields: facts about the topology, under PyG's names.
TOPOLOGY_NAMES = frozenset(
    {"edge_index", "edge_index_i", "edge_index_j", "index", "ptr", "size", "size_i", "size_j", "dim_size"}
)


class Residency(Enum):
    """Where a value lives: one per destination node, per source node, or as it was passed."""

    DST = "_i"
    SRC = "_j"
    GIVEN = ""

    __hash__ = object.__hash__  # an enumeration's own is slow, and part of every call


class Parameter(NamedTuple):
    """One parameter of a user's function."""

    name: str  # "x_j"
    field: str  # "x"
    residency: Residency
    required: bool


_signatures: WeakKeyDictionary[Callable[..., Any], tuple[Parameter, ...]] = WeakKeyDictionary()


def parameters_of(function: Callable[..., Any], skip: int = 0) -> tuple[Parameter, ...]:
    """The parameters of a function, method or module, without the first `skip`.

    Raises:
        TypeError: the function takes *args or **kwargs, which would leave open what it asks for.
    """
    function = function.forward if isinstance(function, torch.nn.Module) else function
    if inspect.ismethod(function):
        # A method is a new object at each call, its function is not; `self` is the first parameter.
        function, skip = function.__func__, skip + 1
    if torch.compiler.is_compiling():
        return tuple(_parameter(word.strip("?"), word[-1] != "?") for word in _spelt(function).split())[skip:]
    if not inspect.isfunction(function):
        return _signature(function)[skip:]
    known = _signatures.get(function)
    if known is None:
        known = _signatures[function] = _signature(function)
    return known[skip:]


def _signature(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    return tuple(_parameter(p.name, p.default is p.empty) for p in _named_parameters(function))


# PyTorch's compiler cannot look into signatures: it takes this string as it is.
@known_while_compiling
def _spelt(function: Callable[..., Any]) -> str:
    """The parameters of a function in one string, those that are not required with a question mark."""
    return " ".join(p.name if p.default is p.empty else f"{p.name}?" for p in _named_parameters(function))


def _named_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(f"{name} does not say which parameters it has: wrap it in a function.") from None
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            name = getattr(function, "__name__", repr(function))
            raise TypeError(f"{name}() takes {parameter}: name every field that it needs instead.")
    return parameters


def _parameter(name: str, required: bool) -> Parameter:
    if name not in TOPOLOGY_NAMES:
        for residency in (Residency.DST, Residency.SRC):
            if name.endswith(residency.value) and len(name) > len(residency.value):
                return Parameter(name, name[: -len(residency.value)], residency, required)
    return Parameter(name, name, Residency.GIVEN, required)


class Asked:
    """What several functions ask for, by their names: the part of a call that is the same for every call."""

    __slots__ = ("_known", "_needed", "_needed_besides_types", "fields", "functions", "lifted")

    def __init__(self, functions: Mapping[str, tuple[Parameter, ...]]) -> None:
        everything = [parameter for parameters in functions.values() for parameter in parameters]
        self.functions = functions
        self.lifted = [p for p in everything if p.residency is not Residency.GIVEN]
        own = [p for p in everything if p.field not in TOPOLOGY_NAMES or p.residency is not Residency.GIVEN]
        self._needed = frozenset(p.field for p in own if p.required)
        self._needed_besides_types = frozenset(p.field for p in own if p.required and p.name != "edge_type")
        self.fields = frozenset(p.field for p in everything)
        self._known = self.fields - TOPOLOGY_NAMES

    def fits(self, given: Mapping[str, Any], typed: bool) -> bool:
        """Whether no required field is missing, and a function asks for every field.

        A typed graph has the field `edge_type` itself.
        """
        needed = self._needed_besides_types if typed else self._needed
        # By name: the compiler of PyTorch 2.11 does not know the operators.
        return needed.issubset(given) and self._known.issuperset(given)
