"""What this installation is made of, and whether it computes right."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

import torch

import mpnn
from mpnn.backends.triton import has_triton, interprets
from mpnn.models import CONVS, GNN
from mpnn.native.compiler import has_compiler

LIBRARIES = ("torch", "triton", "torch-geometric", "numpy", "scipy", "scikit-learn", "networkx", "matplotlib")
TOLERANCE = 1e-5  # of float32, on sums of a few hundred terms


def facts() -> list[tuple[str, str]]:
    """Names and values: versions, devices, threads and the compiler."""
    rows = [("mpnn", mpnn.__version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    for library in LIBRARIES:
        try:
            rows.append((library, version(library)))
        except PackageNotFoundError:
            rows.append((library, "not installed"))
    rows += mpnn.pyg.companions().items()
    rows.append(("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"))
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    rows.append(("gpu", ", ".join(devices) or "none"))
    rows.append(("compiler", "found" if has_compiler() else "none found: messages run on eager"))
    return rows


def backends() -> list[str]:
    """The backends that run here."""
    on_gpu = has_triton() and torch.cuda.is_available()
    return ["eager", "cpu", "auto", *(["triton"] if on_gpu or interprets() else [])]


def self_test() -> dict[str, str]:
    """Train a step of two layers on each backend; say whether loss and gradients are those of eager."""
    return {name: _verdict(name) for name in backends()}


def _verdict(backend: str) -> str:
    began = time.perf_counter()
    try:
        worst = max(_difference(layer, backend) for layer in ("gcn", "gat", "sage") if layer in CONVS)
    except Exception as error:  # the test reports every kind of failure
        return f"failed: {type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    if worst > TOLERANCE:
        return f"wrong: differs from eager by {worst:.1g}"
    return f"ok, differs from eager by {worst:.1g} ({seconds:.2f} s)"


def _difference(layer: str, backend: str) -> float:
    expected, found = _step(layer, "eager"), _step(layer, backend)
    return max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))


def _step(layer: str, backend: str) -> list[torch.Tensor]:
    on_gpu = backend == "triton" and torch.cuda.is_available()
    with torch.random.fork_rng(devices=[]), mpnn.backend(backend):
        torch.manual_seed(0)
        graph, x = mpnn.Graph(torch.randint(200, (2, 1000)), 200), torch.randn(200, 8)
        model = GNN(8, 16, 4, conv=layer)
        if on_gpu:
            graph, x, model = graph.to("cuda"), x.cuda(), model.cuda()
        loss = model(x, graph).square().mean()
        loss.backward()
    return [loss.detach().cpu(), *(p.grad.cpu() for p in model.parameters() if p.grad is not None)]
