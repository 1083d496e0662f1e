"""The writes of a message into tensors: which of them a trace may have, and which are refused.

A message may write into tensors that it made, and into its copies of the nodes' rows. The trace then has
operations with the same result that write nowhere.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from mpnn.borrowed import FakeTensor, TorchDispatchMode, schema_of
from mpnn.plan.homes import op_name
from mpnn.plan.rows import NotFusableError


class NoRealWrites(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses writes into tensors that outlive the trace: an operation on such tensors alone really runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if schema_of(func).is_mutable and any(
            isinstance(t, Tensor) and not isinstance(t, FakeTensor) for t in _written(func, args, kwargs)
        ):
            raise NotFusableError("the message writes into a tensor that is not its own")
        return func(*args, **kwargs)


def _written(operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operation writes into."""
    arguments = schema_of(operation).arguments
    given = {said.name: value for said, value in zip(arguments, args, strict=False)} | kwargs
    writes = [said.name for said in arguments if said.alias_info is not None and said.alias_info.is_write]
    return [given[name] for name in writes if name in given]


def writes(node: fx.Node) -> bool:
    """Whether an operation writes into one of its arguments."""
    schema = schema_of(node.target)
    return schema is not None and schema.is_mutable


def check_writes(graph: fx.Graph, copies: Sequence[bool]) -> None:
    """Refuse a write into a tensor that the function did not make, or one that the derivative would miss."""
    own = {n for n, copy in zip(graph.find_nodes(op="placeholder"), copies, strict=False) if copy}
    for node in filter(writes, graph.nodes):
        if op_name(node) in ("set_", "resize_", "resize_as_"):
            raise NotFusableError(f"the message gives a tensor other contents ({op_name(node)})")
        for source in _written(node.target, node.args, node.kwargs):
            while _is_part(source):
                if op_name(source) == "detach":
                    raise NotFusableError("the message writes into a tensor behind its gradient's back")
                source = source.all_input_nodes[0]
            if source.op != "call_function" and source not in own:
                raise NotFusableError("the message writes into a tensor that is not its own")


def _is_part(node: fx.Node) -> bool:
    """Whether a value is the first argument of its operation, or a view of that."""
    if node.op != "call_function" or not node.all_input_nodes:
        return False
    if node.target is operator.getitem:
        return True
    returned = schema_of(node.target).returns
    return bool(returned) and returned[0].alias_info is not None


def leave_inputs(graph: fx.Graph) -> None:
    """Drop the final copies back into inputs: where an input is a copy, nothing reads it afterwards."""
    for node in [n for n in graph.nodes if writes(n)]:
        if op_name(node) != "copy_" or node.users or node.args[0].op != "placeholder":
            raise NotFusableError(f"the message writes in a way that is not followed ({op_name(node)})")
        graph.erase_node(node)
