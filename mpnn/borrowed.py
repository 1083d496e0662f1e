"""What is borrowed from inside PyTorch: names that it may change without a word, each with what it is for.

No other file of this package touches a private name of PyTorch, and `tests/core/test_borrowed.py` checks
both: that each of these does what is said here in the PyTorch that is installed, and that there are no more.
With a new PyTorch, this file is the one to read. Objects are handed on as they are, so that a call of one
costs what it costs in PyTorch.

ATen's operations (`torch.ops.aten._softmax`) are no loan: their names are those of a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import _VF, Tensor, nn
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._higher_order_ops import wrap
from torch._library.fake_impl import allocate_size
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.modules import module as _all_modules
from torch.nn.utils.stateless import _reparametrize_module
from torch.overrides import TorchFunctionMode, _pop_mode_temporarily
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map

F = TypeVar("F", bound=Callable[..., Any])

# What a tensor is --------------------------------------------------------------------------------------

dispatch_keys = torch._C._dispatch_keys
"""What the dispatcher sees in a tensor, as `.raw_repr()`.

`native.gate` knows by it numbers in memory from batches, functional wrappers and lazy negatives. Without it
there is no gate, and nothing may be handed to C.
"""

is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
"""Whether a tensor is one that torch.func has wrapped.

Without it the memory of another tensor would be read.
"""

is_batch_of_gradients = torch._C._functorch.is_legacy_batchedtensor
"""Whether a gradient is several at once (`is_grads_batched=True`).

Without it a kernel would read the first.
"""

version_of: Callable[[Tensor], int] = attrgetter("_version")
"""How often a tensor was written into.

Without it what is kept of a GPU's tensors would have to be dropped.
"""

make_subclass: Callable[..., Any] = Tensor._make_subclass
"""A tensor of a class of ours without a constructor's work.

Without it `accelerate` makes values of edges slowly.
"""

use_count: Callable[[Tensor], int] = Tensor._use_count  # type: ignore[attr-defined]
"""How many hold a tensor in C++.

Without it no gradient is written into, and a backward pass takes more memory.
"""

storage_use_count: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)
"""How many hold a tensor's memory, told by `address_of_storage`; None if PyTorch has none: as `use_count`."""

address_of_storage: Callable[[torch.UntypedStorage], int] = attrgetter("_cdata")
"""What `storage_use_count` knows a tensor's memory by."""

# Who sees operations -----------------------------------------------------------------------------------

transform_level: Callable[[], int | None] = torch._C._functorch.maybe_current_level
"""How deep in transforms of torch.func a call is, or None.

Without it kernels would run past `vmap` and `grad`.
"""

tracing_state: Callable[[], Any] = torch._C._get_tracing_state
"""What `torch.jit.trace` is writing, or None. Without it a trace would miss what kernels do."""

dispatch_modes: Callable[[], int] = torch._C._len_torch_dispatch_stack
"""How many modes see each operation. Without it fake tensors and counters would miss what kernels do."""

dispatch_mode: Callable[[Any], Any] = torch._C._get_dispatch_mode
"""PyTorch's own mode of a kind, of `TRACERS`, or None. Without it any mode would count as one of these."""

FAKE = torch._C._TorchDispatchModeKey.FAKE
"""The kind of mode that only imagines tensors."""

TRACERS = (FAKE, torch._C._TorchDispatchModeKey.PROXY, torch._C._TorchDispatchModeKey.FUNCTIONAL)
"""The kinds of PyTorch's own modes; under any other real numbers are computed."""

function_modes: Callable[[], int] = torch._C._len_torch_function_stack
"""How many modes see each function. Without it a plan that is made in one would be seen by it."""


def known_while_compiling(function: F) -> F:
    """A decorator: PyTorch's compiler calls the function, and takes what it returns for a constant.

    It is `torch.compiler.assume_constant_result`, which is slow to import. Without the mark, the compiler
    stops at what it cannot look into: signatures, context variables, the dispatcher's state.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def begins_no_graph(function: F) -> F:
    """Let `torch.compile` go through a function as part of a caller, and never begin there.

    Where it cannot compile a caller as one graph, it tries each function that is called there by itself.
    Without this it would spend minutes on functions of this package, which then run kernels and have nothing
    to compile.
    """
    try:
        from torch._C._dynamo import eval_frame

        skip = eval_frame._FrameAction.SKIP
        strategy = eval_frame._FrameExecStrategy(skip, skip)  # for the function, and for what it calls
        eval_frame.set_code_exec_strategy(function.__code__, strategy)
    except (ImportError, AttributeError):
        pass  # another PyTorch, which then compiles in vain
    return function


@known_while_compiling
def transformed() -> bool:
    """Whether forward-mode differentiation or torch.func looks at every operation.

    Without `forward_ad._current_level` a kernel would give tensors without a tangent.

    >>> transformed()
    False
    """
    return transform_level() is not None or forward_ad._current_level >= 0


# Work that no mode or transform sees -------------------------------------------------------------------

without_modes = _disable_current_modes
"""A context in which no mode sees operations.

Without it what outlives a trace would be made of fake tensors.
"""

without_function_mode = _pop_mode_temporarily
"""A context without the innermost of `function_modes`. Without it they would see a plan being made."""

without_transforms = temporarily_clear_interpreter_stack
"""A context outside of all transforms of torch.func.

Without it a graph would keep tensors of a transform's.
"""

with_dispatch = torch._C._ForceDispatchKeyGuard
"""A context in which the dispatcher heeds the given keys.

Without it nothing can be differentiated in an operation.
"""

DISPATCHED = (torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set())
"""The keys that it heeds and those that it leaves out outside of any operation, for `with_dispatch`."""

# Traces ------------------------------------------------------------------------------------------------

__all__ = [
    "FakeTensor",  # tensors without data, with shape and type: without them no message can be traced
    "FakeTensorMode",  # the context that makes them
    "OpOverload",  # the class of ATen's operations, by which a program is known to name no other function
    "TorchDispatchMode",  # the class of modes that see operations: `Work` counts with one
    "TorchFunctionMode",  # the class of modes that see functions: dropout and views are read in one
    "core_aten_decompositions",  # ATen's operations in terms of fewer: kernels know the few
    "get_decompositions",  # the same for operations by name
    "make_fx",  # writes down the operations of a function: the front end to all plans
    "tree_map",  # a function of all that stands in arguments: a value of edges is settled by it
]

switch_of_gradients: Callable[[bool], None] = torch._C._set_grad_enabled
"""What `torch.no_grad()` in a message looks like to a mode.

Without it its gradients would be wrong, silently.
"""


def schema_of(operation: Any) -> Any:
    """The types of an operation's arguments, and which of them it writes into; None for another function.

    Without it no plan knows which numbers are sizes, and none may be made of a message that writes.
    """
    return getattr(operation, "_schema", None)


def sizes_of_any_number() -> AbstractContextManager[Any]:
    """A context in which `torch.export` does not take sizes of 0 and 1 for special.

    Without it an exported program would be one for two graphs or more, two edges or more.
    """
    from torch.fx.experimental import _config

    return cast(AbstractContextManager[Any], cast(Any, _config).patch(backed_size_oblivious=True))


class Symbols(NamedTuple):
    """What makes a size that is a symbol."""

    environment: Any  # `ShapeEnv`
    dynamic: Any  # `DimDynamic.DYNAMIC`
    source: Any  # `ConstantSource`


def symbols() -> Symbols:
    """What `FakeTensorMode` needs for a number of rows that is a symbol; a second to import.

    Without it rows would have to be told from features by an odd number.
    """
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

    return Symbols(ShapeEnv, DimDynamic.DYNAMIC, ConstantSource)


def unknown_size() -> int:
    """In an operation's fake implementation, a number that only the data will tell.

    The public `torch.library.get_ctx().new_dynamic_size()` refuses unless the user changes a setting of
    PyTorch's. Without it graphs cannot be made inside a compiled function.
    """
    size: int = allocate_size(torch.library.get_ctx()._shape_env)  # type: ignore[no-untyped-call]
    return size


region: Any = getattr(wrap, "dynamo_bypassing_wrapper", None)
"""Lets the compiler trace a function into a graph of its own; None where PyTorch has none.

Messages are then traced in plain operations: right, and slow.
"""

with_parameters: Callable[..., Any] = _reparametrize_module
"""A context in which a module has other parameters.

Without it `torch.export` would freeze a message's weights.
"""

is_any_autocast: Callable[[], bool] = torch._C._is_any_autocast_enabled
"""Whether `torch.autocast` is on for any device; the public question needs a device's name, a slow string.

Without it each call takes half a microsecond more.
"""

# Differentiation ---------------------------------------------------------------------------------------


def saved_as_they_are(ctx: Any, part: slice) -> list[Any]:
    """Some of what an operation saved for its way back, though others of it were written into since.

    Raises:
        RuntimeError: one of these was written into.

    Without it such a program fails where PyTorch's own operations go on.
    """
    return [one.unpack() for one in ctx._raw_saved_tensors[part]]


def applied_outside_transforms(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """`function.apply` without its part that serves torch.func, half of its time.

    Without it each call takes some microseconds more.
    """
    return cast(Callable[..., Any], super(torch.autograd.Function, cast(Any, function)).apply)


# Modules -----------------------------------------------------------------------------------------------

PARAMETERS, BUFFERS, MODULES = "_parameters", "_buffers", "_modules"
"""Where a module's `__dict__` has its parts.

A plan's key is made of these at every call; `named_parameters()` is slow.
"""

REPLICA = "_is_replica"
"""What stands in the `__dict__` of a copy that `nn.DataParallel` makes for one call.

Without it one would be kept.
"""

OVERRIDDEN = ("_save_to_state_dict", "_load_from_state_dict")
"""Methods of modules that `Linear` extends for weights without a shape. Without them such cannot be saved."""


def parameters_in(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """A module's own parameters by name, in a tenth of the time of `named_parameters(recurse=False)`."""
    return module._parameters


def modules_in(module: nn.Module) -> dict[str, nn.Module | None]:
    """The modules in a module by name, in a tenth of the time of `named_children()`."""
    return module._modules


def has_hooks(own: dict[str, Any]) -> bool:
    """Whether a call of the module with this `__dict__` runs any hook.

    Without it a kernel that reads a module's weights would pass over what a hook does to them.
    """
    return bool(
        own["_forward_pre_hooks"]
        or own["_forward_hooks"]
        or own["_backward_pre_hooks"]
        or own["_backward_hooks"]
        or _all_modules._global_forward_pre_hooks
        or _all_modules._global_forward_hooks
        or _all_modules._global_backward_pre_hooks
        or _all_modules._global_backward_hooks
    )


padding_of: Callable[[Any], Sequence[int]] = attrgetter("_reversed_padding_repeated_twice")
"""A convolution's padding in front and behind, last dimension first, `"same"` in numbers.

Else written again.
"""


def output_padding(layer: Any, *given: Any) -> Sequence[int]:
    """How much a transposed convolution's output is larger for an `output_size`: else written again."""
    return cast(Sequence[int], layer._output_padding(*given))


# Kernels -----------------------------------------------------------------------------------------------

lstm: Callable[..., Any] = _VF.lstm
"""The fused kernel of `nn.LSTM`. Without these four, recurrent layers go level by level."""

gru: Callable[..., Any] = _VF.gru
"""That of `nn.GRU`."""

rnn_tanh: Callable[..., Any] = _VF.rnn_tanh
"""That of `nn.RNN`."""

rnn_relu: Callable[..., Any] = _VF.rnn_relu
"""That of `nn.RNN(nonlinearity="relu")`."""

onednn_is_on: Callable[[], bool] = torch._C._get_mkldnn_enabled
"""Whether `torch.backends.mkldnn.flags` allow oneDNN. Without it a user could not switch its kernels off."""


def has_onednn_linear() -> bool:
    """Whether there is `onednn_linear`. If not, products are MKL's, half as fast on AMD's processors."""
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X W^T + b by oneDNN, whatever `torch.nn.functional.linear` would choose."""
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""))


def formulas_of_operations() -> Any:
    """How many operations a product, a convolution or an attention is; slow to import, so here.

    Without it `explain` would count one for each number that is written.
    """
    from torch.utils.flop_counter import flop_registry

    return flop_registry
