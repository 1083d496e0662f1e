"""What the kinds of tasks on graphs share: features as asked for, and the layers that a model is made of."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from mpnn.models import CONVS
from mpnn.train.errors import RunError
from mpnn.train.inputs.edge_inputs import with_edge_inputs
from mpnn.train.inputs.preparation import Graphs, Preparation
from mpnn.train.options import Options
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.shape import Shape


def layers() -> dict[str, str]:
    """Every layer that a model is made of by name, with a line about it."""
    return {name: conv.description for name, conv in CONVS.items()}


def prepared(
    options: Options,
    data: Graphs,
    kept: Kept | None = None,
    nodes: Tensor | None = None,
    edges: Tensor | None = None,
) -> tuple[Graphs, Preparation]:
    """The graphs with the features that the run and its model want, and how they are made.

    Args:
        options: of the run.
        data: the graphs.
        kept: what the run keeps; None as it begins: then it is found in the data.
        nodes, edges: positions of those that are trained on; None for all.
    """
    found = None if kept is None else kept.preparation
    preparation = found or Preparation.fit(data, options.features, nodes, edges)
    return with_edge_inputs(preparation.apply(data), options.model), preparation


def width(options: Options) -> int:
    """Channels of a hidden layer, all heads together."""
    return options.hidden * (options.heads or 1)


def stack_options(options: Options, shape: Shape, conv: str | None = None) -> dict[str, Any]:
    """What a stack of layers takes.

    Args:
        options: of the run.
        shape: what the model is for.
        conv: the layer; by default the one that the model is called after.

    Raises:
        RunError: the layer has no heads, or reads edge features that the data has not.
    """
    conv = conv or options.model
    found: dict[str, Any] = {
        "num_layers": options.layers,
        "conv": conv,
        "norm": options.norm,
        "act": options.act,
        "residual": options.residual,
        "virtual_node": options.virtual_node,
    }
    takes = _takes(conv)
    if "deg" in takes:
        found["deg"] = torch.tensor(shape.degrees)
    if "num_relations" in takes:
        found["num_relations"] = max(1, shape.num_relations)
    if (
        "edge_dim" in takes
        and takes["edge_dim"].default is inspect.Parameter.empty
        and shape.edge_dim is None
    ):
        raise RunError(f"model is {options.model!r}, which reads edge features, but {shape.name} has none")
    if shape.edge_dim is not None:
        found["edge_dim"] = shape.edge_dim
    return found | _attention(options, conv)


def _attention(options: Options, conv: str) -> dict[str, Any]:
    """The heads of a layer that has them, and the dropout of its attention weights."""
    attentive = [name for name in CONVS if "heads" in _takes(name)]
    found: dict[str, Any] = {"attention_dropout": options.dropout} if conv in attentive else {}
    for name in ("heads", "out_heads", "attention_dropout"):
        value = getattr(options, name)
        if value is not None and conv not in attentive:
            raise RunError(
                f"{name} is {value}, but {options.model} has no heads: {', '.join(attentive)} have"
            )
        if value is not None:
            found[name] = value
    return found


def _takes(conv: str) -> dict[str, inspect.Parameter]:
    """The arguments that build a layer."""
    return dict(inspect.signature(CONVS[conv].build).parameters)
