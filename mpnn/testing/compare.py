"""One comparison for all laws and tests: the same outputs and the same gradients as an oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SEED = 12345


def assert_same(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    inputs: Sequence[Any] | Mapping[str, Any],
    atol: float = 1e-10,
    *,
    gradients: bool = True,
) -> None:
    """Raise unless two functions or modules agree in every output and every gradient.

    Both are called on copies of `inputs`, each after the same seed. The gradients are those of one random
    weighting of all outputs, with respect to every floating-point input and, where both are modules, every
    parameter; one that does not exist counts as zero.

    Args:
        ours: what is tested.
        theirs: the oracle.
        inputs: the positional arguments of both, nested as they like; a mapping's keys serve in messages.
        atol: the largest difference allowed, relative to the oracle's largest entry where that exceeds 1.
        gradients: whether gradients are compared as well.

    Raises:
        AssertionError: the message names the tensor and its largest difference.
    """
    named = dict(inputs) if isinstance(inputs, Mapping) else {f"input {k}": x for k, x in enumerate(inputs)}
    ours_found = dict(_evaluate(ours, named, gradients))
    theirs_found = dict(_evaluate(theirs, named, gradients))
    if ours_found.keys() != theirs_found.keys():
        raise AssertionError(
            f"only ours has {sorted(ours_found.keys() - theirs_found.keys())}, "
            f"only theirs has {sorted(theirs_found.keys() - ours_found.keys())}."
        )
    for name, value in ours_found.items():
        assert_close(value, theirs_found[name], atol, name)


def assert_close(ours: Tensor, theirs: Tensor, atol: float = 1e-10, name: str = "output") -> None:
    """Raise unless two tensors agree in shape, type and every entry (NaN agrees with NaN)."""
    if ours.shape != theirs.shape:
        raise AssertionError(f"{name} has shape {list(ours.shape)}, theirs has {list(theirs.shape)}.")
    if ours.dtype != theirs.dtype:
        raise AssertionError(f"{name} has type {ours.dtype}, theirs has {theirs.dtype}.")
    if ours.numel() == 0:
        return
    ours, theirs = ours.detach().to(torch.float64), theirs.detach().to(torch.float64)
    agree = (ours == theirs) | (ours.isnan() & theirs.isnan())
    difference = torch.where(agree, torch.zeros_like(ours), (ours - theirs).abs())
    finite = theirs[theirs.isfinite()]
    scale = max(1.0, float(finite.abs().max())) if finite.numel() else 1.0
    # The negation is what catches a NaN.
    if not bool((difference <= atol * scale).all()):
        worst = int(difference.nan_to_num(nan=torch.inf).argmax())
        raise AssertionError(
            f"{name} differs by up to {difference.flatten()[worst].item():.3g} (allowed {atol * scale:.3g}): "
            f"entry {list(map(int, torch.unravel_index(torch.tensor(worst), ours.shape)))} is "
            f"{ours.flatten()[worst].item():.17g}, theirs is {theirs.flatten()[worst].item():.17g}."
        )


def _evaluate(
    function: Callable[..., Any], inputs: Mapping[str, Any], gradients: bool
) -> Iterator[tuple[str, Tensor]]:
    copies = {name: _copy(value) for name, value in inputs.items()}
    torch.manual_seed(SEED)
    outputs = list(_tensors("output", function(*copies.values())))
    yield from outputs
    if not gradients:
        return
    sources = [
        (name, x)
        for key, value in copies.items()
        for name, x in _tensors(f"gradient of {key}", value)
        if x.is_floating_point()
    ]
    if isinstance(function, nn.Module):
        sources += [(f"gradient of {name}", p) for name, p in function.named_parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(SEED)
    total = torch.zeros((), dtype=torch.float64)
    for _, output in outputs:
        if output.is_floating_point():
            weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            total = total + (weight.to(output.device, output.dtype) * output).sum().to(total)
    found: Sequence[Tensor | None] = [None] * len(sources)
    if total.requires_grad:
        found = torch.autograd.grad(total, [x for _, x in sources], allow_unused=True)
    for (name, x), gradient in zip(sources, found, strict=True):
        yield name, torch.zeros_like(x) if gradient is None else gradient


def _copy(value: Any) -> Any:
    """Fresh leaves, so that no gradient and no in-place change reaches the other side."""
    if isinstance(value, Tensor):
        if 0 in value.stride():
            return value.detach().clone().requires_grad_(value.is_floating_point())
        # A view keeps its strides, and a test of non-contiguous input its point.
        copy = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
        copy.copy_(value.detach())
        return copy.requires_grad_(copy.is_floating_point())
    if isinstance(value, tuple | list):
        return type(value)(map(_copy, value))
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return value


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for k, one in enumerate(value):
            yield from _tensors(f"{name}[{k}]", one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _tensors(f"{name}[{key!r}]", one)
