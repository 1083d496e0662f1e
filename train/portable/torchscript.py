"""A traced program as TorchScript, for programs that load such files, as those in C++ do."""

from __future__ import annotations

import io
import math
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from mpnn.train.errors import RunError
from mpnn.train.portable.quiet import quiet

# Checks that were made when the program was traced.
CHECKS = ("_assert_scalar", "_assert_tensor_metadata", "_assert_async", "sym_constrain_range",
          "sym_constrain_range_for_size")  # fmt: skip
OF_NUMBERS: dict[Any, Any] = {
    torch.sym_max: max,
    torch.sym_min: min,
    torch.sym_float: float,
    torch.sym_int: int,
}


def to_torchscript(program: ExportedProgram, extra: dict[str, str]) -> bytes:
    """The bytes of a file for `torch.jit.load`.

    Tracing a model with `torch.jit.trace` would fix sizes of the example that Python reads: the program that
    `torch.export` traced, with its symbolic sizes, is compiled instead.

    Args:
        program: operations of PyTorch's own.
        extra: texts to be kept in the file, by name.
    """
    buffer = io.BytesIO()
    try:
        with quiet():
            script = torch.jit.script(_module(program))
            torch.jit.save(script, buffer, _extra_files=extra)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the model cannot be written as TorchScript: {reason[:400]}") from error
    return buffer.getvalue()


def _module(program: ExportedProgram) -> fx.GraphModule:
    """The program as code that TorchScript's compiler can read: no classes, no checks, plain names."""
    root, graph = nn.Module(), fx.Graph()
    kept = {**program.state_dict, **program.constants}
    places: dict[fx.Node, Any] = {}
    given = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            spec = given[node.name]
            if spec.kind is InputKind.USER_INPUT:
                places[node] = graph.placeholder(node.name)
            else:
                name = f"w{len(places)}"
                root.register_buffer(name, _plain(kept[spec.target]))
                places[node] = graph.get_attr(name)
        elif node.op == "call_function":
            if _name(node) not in CHECKS:
                places[node] = graph.node_copy(node, places.__getitem__)
                places[node].target = _target(node)
                _without_device(places[node])
                _spell_floats(graph, places[node])
        elif node.op == "output":
            found = [places[one] for one in node.args[0]]
            graph.output(found[0] if len(found) == 1 else tuple(found))
    graph.eliminate_dead_code()
    return fx.GraphModule(root, graph)


def _plain(tensor: Any) -> Tensor:
    kept: Tensor = tensor.detach()
    return kept


def _name(node: fx.Node) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet, "__name__", ""))


def _target(node: fx.Node) -> Any:
    """The operation by a name that TorchScript knows."""
    if _name(node) == "sym_size":
        return torch.ops.aten.size
    packet = getattr(node.target, "overloadpacket", None)
    return packet or OF_NUMBERS.get(node.target, node.target)


def _without_device(node: fx.Node) -> None:
    """Let new tensors be where PyTorch makes them by itself, the CPU."""
    for name in ("device", "layout", "pin_memory"):
        if name in node.kwargs:
            node.kwargs = {key: value for key, value in node.kwargs.items() if key != name}


def _spell_floats(graph: fx.Graph, node: fx.Node) -> None:
    """Infinities and NaN as calls, since code has no numbers for them."""

    def spelled(value: Any) -> Any:
        if not isinstance(value, float) or math.isfinite(value):
            return value
        with graph.inserting_before(node):
            return graph.call_function(float, (str(value),))

    node.args = fx.node.map_aggregate(node.args, spelled)
    node.kwargs = fx.node.map_aggregate(node.kwargs, spelled)
