"""Networks of images against torchvision's: the same weights give the same numbers.

make test-peers                                  # every comparison
.venv-peers/bin/python -m tests.peers.vision     # the table of docs/unification.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mpnn import models
from tests.peers.listing import LISTS, listing


@cache
def torchvision() -> Any:
    """The library, also beside a PyTorch for the CPU alone.

    torchvision's operators are built for CUDA, and do not load there. It gives two of them a meaning for
    tensors without numbers when it is imported, and these must exist by then.
    """
    from importlib import import_module

    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)  # what it defines is gone with it
    import_module("torchvision.models.segmentation")
    return import_module("torchvision")


_kept: list[Any] = []


class Network(NamedTuple):
    """One network, and how either library builds it."""

    name: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]

    def __str__(self) -> str:
        return self.name


def _fcn(aux: bool) -> Network:
    def theirs() -> nn.Module:
        build = torchvision().models.segmentation.fcn_resnet50
        return build(weights=None, weights_backbone=None, aux_loss=aux)

    return Network("fcn_resnet50" + "_aux" * aux, lambda: models.fcn_resnet50(aux_loss=aux), theirs)


def _googlenet(aux: bool) -> Network:
    options = {"aux_logits": aux, "init_weights": False}
    return Network(
        "googlenet" + "_aux" * aux,
        lambda: models.googlenet(**options),
        lambda: torchvision().models.googlenet(weights=None, **options),
    )


NETWORKS = [
    Network("resnet18", models.resnet18, lambda: torchvision().models.resnet18()),
    Network("resnet34", models.resnet34, lambda: torchvision().models.resnet34()),
    Network("resnet50", models.resnet50, lambda: torchvision().models.resnet50()),
    _googlenet(False),
    _googlenet(True),
    _fcn(False),
    _fcn(True),
]


def draw(network: nn.Module) -> None:
    """Draw the statistics and the weights of batch normalisation.

    New ones are the identity in evaluation, which would hide another epsilon, order or momentum.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)


def tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors of a network's answer."""
    if isinstance(outputs, dict):
        outputs = [outputs[name] for name in sorted(outputs)]
    for one in [outputs] if isinstance(outputs, Tensor) else outputs:
        if one is not None:
            yield one


class Found(NamedTuple):
    """The largest differences, each relative to the largest entry where that exceeds 1."""

    outputs: float
    gradients: float
    buffers: float


def difference(network: Network, dtype: torch.dtype, training: bool) -> Found:
    """How far our network is from theirs, with the same weights, images and dropout."""
    torch.manual_seed(0)
    theirs = network.theirs()
    draw(theirs)
    ours = network.ours()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 80).to(dtype)
    found = [_computed(one.to(dtype).train(training), images) for one in (ours, theirs)]
    return Found(*(_largest(a, b) for a, b in zip(*found, strict=True)))


def _computed(network: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
    torch.manual_seed(1)  # dropout
    images = images.clone().requires_grad_()
    outputs = list(tensors(network(images)))
    sum((out * torch.randn(out.shape).to(out)).sum() for out in outputs).backward()  # type: ignore[union-attr]
    gradients = {name: p.grad for name, p in network.named_parameters()} | {"images": images.grad}
    return [
        {str(k): out.detach() for k, out in enumerate(outputs)},
        {name: torch.zeros(()) if grad is None else grad for name, grad in gradients.items()},
        dict(network.named_buffers()),
    ]


def _largest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for name, one in theirs.items():
        assert ours[name].shape == one.shape, name
        apart = (ours[name] - one).abs().max() / max(1.0, float(one.abs().max()))
        assert apart.isfinite(), name
        worst = max(worst, float(apart))
    return worst


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_stored_list_is_theirs(network: Network) -> None:
    assert (LISTS / f"{network.name}.txt").read_text() == listing(network.theirs())


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_outputs_gradients_and_buffers_are_theirs(
    network: Network, dtype: torch.dtype, most: float, training: bool
) -> None:
    assert max(difference(network, dtype, training)) <= most


class Operations(TorchDispatchMode):
    """Notes which operations of PyTorch run, on which shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note one, and run it."""
        shapes = [tuple(x.shape) for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        self.noted.append((str(func), shapes))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_operations_are_theirs_one_by_one_so_that_time_and_memory_are(
    network: Network, training: bool
) -> None:
    noted = []
    for build in (network.ours, network.theirs):
        built, images = build().train(training), torch.randn(2, 3, 64, 64)
        with Operations() as operations:
            outputs = list(tensors(built(images)))
            torch.autograd.backward(outputs, [torch.ones_like(out) for out in outputs])
        noted.append(operations.noted)
    assert noted[0] == noted[1]


@pytest.mark.parametrize(
    "options", [{"zero_init_residual": True}, {"groups": 2, "width_per_group": 32}], ids=str
)
def test_options_of_a_resnet_are_theirs(options: dict[str, Any]) -> None:
    network = Network(
        "resnet50", lambda: models.resnet50(**options), lambda: torchvision().models.resnet50(**options)
    )
    assert listing(network.ours()) == listing(network.theirs())
    assert max(difference(network, torch.float64, True)) <= 1e-10


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "googlenet"])
def test_weights_are_drawn_as_theirs(name: str) -> None:
    options = {"init_weights": True} if name == "googlenet" else {"zero_init_residual": True}
    torch.manual_seed(0)
    ours, theirs = (
        getattr(library, name)(**options).state_dict() for library in (models, torchvision().models)
    )
    for entry, value in theirs.items():
        if value.unique().numel() == 1:
            assert torch.equal(ours[entry], value), entry
        elif value.numel() > 10_000:
            assert 0.95 < float(ours[entry].std() / value.std()) < 1.05, entry


def table() -> str:
    """The measured differences in Markdown, with the versions."""
    lines = ["| network | mode | float64 | float32 |", "| --- | --- | --- | --- |"]
    for network in NETWORKS:
        for training, mode in ((False, "evaluation"), (True, "training")):
            found = [max(difference(network, dtype, training)) for dtype in (torch.float64, torch.float32)]
            lines.append(f"| {network} | {mode} | {' | '.join(f'{x:.0e}' if x else '0' for x in found)} |")
    return "\n".join([*lines, "", f"torchvision {torchvision().__version__}, PyTorch {torch.__version__}"])


if __name__ == "__main__":
    print(table())
