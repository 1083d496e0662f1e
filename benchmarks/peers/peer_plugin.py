"""A plugin of pytest that puts the companions in place before it collects the public tests of a peer.

The helper modules that those tests import (`torch_scatter.testing`) are those of the checkout. Our functions
are no TorchScript: where a test compiles one by `torch.jit.script`, the function itself runs in its place.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import torch

import mpnn


def _load(package: str, checkout: Path) -> None:
    file = checkout / package / "testing.py"
    if not file.exists():
        return
    if package == "pyg_lib":  # whose helpers ask where data may be kept
        sys.modules[package].get_home_dir = lambda: str(Path.home() / ".cache" / "pyg_lib")  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location(f"{package}.testing", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.modules[package].testing = module  # type: ignore[attr-defined]
    spec.loader.exec_module(module)


if os.environ["PEER_OURS"] == "1":
    mpnn.pyg.enable(prefer=True)  # the checkout lies on the path, and would be imported
    if os.environ["PEER_PACKAGE"] != "torch_geometric":
        setattr(torch.jit, "script", lambda function: function)  # noqa: B010
        _load(os.environ["PEER_PACKAGE"], Path(os.environ["PEER_CHECKOUT"]))
