"""`check_layer`: a layer of any author through the laws, as scikit-learn's `check_estimator`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import nn

from mpnn.testing.laws import LAWS, Law
from mpnn.testing.subject import WIDTH, EdgeInput, Subject


def check_layer(
    layer: nn.Module | Callable[[], nn.Module],
    *,
    in_channels: int | None = None,
    edges: Mapping[str, EdgeInput] | None = None,
    per_graph: bool = False,
    bipartite: bool = False,
    call: Callable[..., Any] | None = None,
    laws: Iterable[Law] = LAWS,
) -> None:
    """Put a layer through the laws that every layer of this package obeys.

    It is called as `layer(x, graph, **edges)`, on copies, in float64 unless a law says otherwise. The graphs
    are random, with isolated nodes, self loops and repeated edges, and a few odd ones without edges or nodes.

    Args:
        layer: the layer, or a function that makes one, by which saving is tested more strictly: what a
            state_dict leaves out differs then.
        in_channels: the width of its node features; by default its attribute of that name.
        edges: what else `forward` takes of the edges, by name: a number k for features `[num_edges, k]`,
            `range(k)` for types `[num_edges]`, None for positive numbers `[num_edges]`. By default
            `edge_weight`, `edge_attr` and `edge_type` where it has such parameters, and attributes `edge_dim`
            and `num_relations` that tell how many.
        per_graph: it gives one row per graph, not one per node.
        bipartite: it also takes a pair of features and a graph from one node set to another.
        call: how it is called, `call(layer, x, graph, **edges)`, where that is otherwise; returns one tensor.
        laws: which; `mpnn.testing.laws("half precision is near double")` are all but one.

    Raises:
        AssertionError: it breaks a law; the message names the law and shows the numbers.
        ValueError: it is not known how wide its features are, or what it takes of the edges.

    >>> from mpnn.testing import check_layer
    >>> check_layer(mpnn.models.SAGEConv(8, 4), bipartite=True)
    """
    build = partial(copy.deepcopy, layer) if isinstance(layer, nn.Module) else layer
    one = build()
    name = type(one).__name__
    subject = Subject(
        name,
        build,
        _edges_of(one, name) if edges is None else dict(edges),
        _width_of(one, name) if in_channels is None else in_channels,
        per_graph,
        bipartite,
        call,
    )
    for law in laws:
        try:
            law(subject)
        except Exception as error:
            raised = "" if isinstance(error, AssertionError) else f"it raised {type(error).__name__}: "
            raise AssertionError(f"{name} breaks the law that {law.name}: {raised}{error}") from error


def _width_of(layer: nn.Module, name: str) -> int:
    width = getattr(layer, "in_channels", None)
    if isinstance(width, tuple) and len(set(width)) == 1:
        width = width[0]
    if width == -1:  # it takes the width that comes
        return WIDTH
    if not isinstance(width, int) or width < 1:
        raise ValueError(
            f"{name}.in_channels is {width!r}, which does not say how wide x is: pass in_channels=."
        )
    return width


def _edges_of(layer: nn.Module, name: str) -> dict[str, EdgeInput]:
    found: dict[str, EdgeInput] = {}
    for k, parameter in enumerate(inspect.signature(layer.forward).parameters.values()):
        if k < 2 or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name == "edge_weight":
            found["edge_weight"] = None
        elif parameter.name == "edge_attr" and isinstance(width := getattr(layer, "edge_dim", None), int):
            found["edge_attr"] = width
        elif parameter.name == "edge_type" and isinstance(types := _types_of(layer), int):
            found["edge_type"] = range(types)
        elif parameter.default is parameter.empty or parameter.name in ("edge_attr", "edge_type"):
            if parameter.default is None and parameter.name == "edge_attr" and hasattr(layer, "edge_dim"):
                continue  # built without
            raise ValueError(
                f"{name}.forward takes {parameter.name}, and it is not known what that is: pass "
                f"edges={{{parameter.name!r}: 3}} for 3 features, range(3) for types, None for weights."
            )
    return found


def _types_of(layer: nn.Module) -> Any:
    return getattr(layer, "num_relations", getattr(layer, "num_edge_types", None))
