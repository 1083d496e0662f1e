"""A model as a program of PyTorch's own operations, for all sizes of its inputs at once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export

from mpnn.borrowed import sizes_of_any_number
from mpnn.native.reach import standing_alone
from mpnn.train.errors import RunError
from mpnn.train.portable.inputs import Input, dims_of, size_name
from mpnn.train.portable.quiet import quiet
from mpnn.train.portable.recurrent import TRACED, InOne

Call = Callable[..., Any]

CLOSE = 1e-4  # of the largest number: sums over other orders of the edges differ by less


class Called(nn.Module):
    """A model that takes tensors in order, whatever else its own call takes.

    Args:
        model: the network.
        call: `call(model, *tensors)`.
        names: of the tensors.
    """

    def __init__(self, model: nn.Module, call: Call, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model

        def forward(*inputs: Tensor) -> Any:
            with InOne():
                return flat(call(model, *inputs))

        # What `torch.export` calls the inputs.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind) for name in names]
        )
        self.forward = forward


def flat(output: Any) -> Tensor | tuple[Tensor, ...]:
    """One tensor as it is, all tensors of anything else in order."""
    return output if isinstance(output, Tensor) else tuple(tensors(output))


def tensors(output: Any) -> list[Tensor]:
    """All tensors in order."""
    if isinstance(output, Tensor):
        return [output]
    parts = (
        output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else ()
    )
    return [tensor for part in parts for tensor in tensors(part)]


def program_of(
    model: nn.Module, call: Call, inputs: Sequence[Input], checked: Sequence[Sequence[Tensor]]
) -> ExportedProgram:
    """Trace a model, and compare the program with it.

    Args:
        model: the network, in evaluation.
        call: `call(model, *tensors)`.
        inputs: what it is traced with; the sizes that may change are all different.
        checked: further inputs, of other sizes, on which the program must give what the model gives.

    Raises:
        RunError: the model cannot be one program for all sizes and all values of its inputs; or the program
            gives something else than the model.
    """
    module = Called(model, call, [one.name for one in inputs]).eval()
    dims = dims_of(inputs)
    sizes = {one.name: {k: dims[size_name(size)] for k, size in one.sizes.items()} for one in inputs}
    given = tuple(one.example for one in inputs)
    try:
        with torch.no_grad(), standing_alone(), sizes_of_any_number(), quiet():
            program = export(module, given, dynamic_shapes=sizes, strict=False)
    except Exception as error:  # whatever a layer raises when it is traced
        raise RunError(f"{_name(model)} cannot be exported: {_reason(error)}") from error
    for node in program.graph.nodes:
        if getattr(node.target, "namespace", "aten") == "mpnn" and node.target not in TRACED:
            raise RunError(
                f"{_name(model)} cannot be exported: it calls {node.target}, which is no "
                "operation of PyTorch's own"
            )
    for example in (given, *checked):
        _check(program, module, example, model)
    return program


@torch.no_grad()
def _check(program: ExportedProgram, module: nn.Module, given: Sequence[Tensor], model: nn.Module) -> None:
    wanted, found = tensors(module(*given)), tensors(program.module()(*given))
    for one, other in zip(found, wanted, strict=True):
        scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        if one.shape != other.shape or not torch.allclose(
            one.double(), other.double(), rtol=0, atol=CLOSE * scale, equal_nan=True
        ):
            shapes = ", ".join(str(list(tensor.shape)) for tensor in given)
            raise RunError(
                f"{_name(model)} cannot be exported: on inputs of the shapes {shapes} the traced program "
                "gives something else than the model"
            )


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _reason(error: Exception) -> str:
    """One sentence of what PyTorch says in many."""
    text = " ".join(str(error).split())
    if "data-dependent" in text or "DataDependent" in type(error).__name__:
        return f"what it computes depends on values of its inputs, not on their sizes alone ({text[:200]})"
    fixed = re.findall(r"You marked (\w+) as dynamic but your code specialized it", text)
    if fixed:
        return f"it fixes {' and '.join(fixed)} at that of the example"
    bounded = re.findall(
        r"Not all values of (\w+) = .*? satisfy the generated guard (.*?)(?= - |Suggested|$)", text
    )
    if bounded:
        return "it takes only some sizes: " + "; ".join(
            f"{name}, where {guard.strip()}" for name, guard in bounded
        )
    return text[:400] or type(error).__name__
