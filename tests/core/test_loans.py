"""No file but `mpnn/borrowed.py` reaches inside PyTorch."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from mpnn import borrowed

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("mpnn", "models", "datasets", "train")


def private_names() -> frozenset[str]:
    """The private attributes of what PyTorch hands out."""
    graph = symbolic_trace(nn.ReLU()).graph
    things: list[Any] = [
        torch.ones(1), torch.Tensor, nn.Linear(1, 1), nn.Conv2d(1, 1, 1), nn.ConvTranspose2d(1, 1, 1),
        torch.autograd.Function, torch.ones(1).untyped_storage(), graph, next(iter(graph.nodes)),
        torch.ops.aten.relu, torch.ops.aten.relu.default, torch.Generator(), torch.device("cpu"),
        borrowed.FakeTensorMode(), torch.autograd.forward_ad, torch._C,
    ]  # fmt: skip
    names = {name for thing in things for name in dir(thing)}
    names |= {"_raw_saved_tensors", "_shape_env", "_dynamo_marked_constant", "_is_replica"}
    return frozenset(name for name in names if name.startswith("_") and not name.startswith("__"))


PRIVATE = private_names()


def loans(source: str) -> list[str]:
    """The lines of a file that reach inside PyTorch."""
    tree, lines = ast.parse(source), source.splitlines()
    torchs, own = _names_of_torch(tree), _defined(tree) | ours()
    reaching = (node for node in ast.walk(tree) if _reaches_in(node, torchs, own))
    found = {node.lineno for node in reaching if isinstance(node, ast.expr | ast.stmt)}
    return [f"line {number}: {lines[number - 1].strip()}" for number in sorted(found)]


def _reaches_in(node: ast.AST, torchs: set[str], own: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == "torch" and any(
            _is_private([*(node.module or "").split("."), name.name]) for name in node.names
        )
    if isinstance(node, ast.Import):
        return any(n.name.split(".")[0] == "torch" and _is_private(n.name.split(".")) for n in node.names)
    if isinstance(node, ast.Attribute):
        first, *path = _path(node)
        if first in torchs:
            return "aten" not in path and _is_private(path)
        return node.attr in PRIVATE and node.attr not in own
    if isinstance(node, ast.Constant):
        return node.value in PRIVATE and node.value not in own
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super":
        return bool(node.args) and _path(node.args[0])[0] in torchs
    return False


def _is_private(path: list[str]) -> bool:
    return "experimental" in path or any(p.startswith("_") and not p.endswith("__") for p in path)


def _path(node: ast.expr) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(names)]


def _names_of_torch(tree: ast.Module) -> set[str]:
    """What a file calls modules of PyTorch and what it imports from there."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(n.asname or "torch") for n in node.names if n.name.split(".")[0] == "torch"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            found |= {n.asname or n.name for n in node.names}
    return found


def _defined(tree: ast.Module) -> set[str]:
    """The private names that the classes of a file give to themselves, and what it may not do without."""
    found = set(borrowed.OVERRIDDEN)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in borrowed.OVERRIDDEN:
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _path(node)[0] == "self":
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@functools.cache
def ours() -> frozenset[str]:
    """The private names that classes of this package give to themselves."""
    return frozenset().union(*(_defined(ast.parse((ROOT / file).read_text())) for file in files()))


def files() -> Iterator[Path]:
    """The files of the package but for the one that may."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.resolve() == file and file.name != "borrowed.py":
                yield file.relative_to(ROOT)


@pytest.mark.parametrize("file", list(files()), ids=str)
def test_no_other_file_reaches_inside_pytorch(file: Path) -> None:
    found = loans((ROOT / file).read_text())
    lines = "\n".join(found)
    assert not found, f"{file} reaches inside PyTorch, which mpnn/borrowed.py alone may:\n{lines}"


@pytest.mark.parametrize(
    "line",
    [
        "import torch\ntorch._C._functorch.maybe_current_level()",
        "from torch._subclasses.fake_tensor import FakeTensor",
        "from torch.fx.experimental.proxy_tensor import make_fx",
        "from torch import _VF",
        "import torch._dynamo",
        "from torch.nn.modules import module as _all\n_all._global_forward_hooks",
        "def f(x): return x._version",
        "def f(ctx): return ctx._raw_saved_tensors",
        "def f(layer): return layer._forward_pre_hooks",
        "def f(layer): return layer.__dict__['_modules']",
        "def f(node): return getattr(node.target, '_schema', None)",
        "import torch\nrows = super(torch.autograd.Function, kind).apply",
        "def f(): pass\nf._dynamo_marked_constant = True",
        "import torch\ntorch.ops.mkldnn._linear_pointwise",
        "import torch\ntorch.autograd.forward_ad._current_level",
    ],
)
def test_a_loan_is_found(line: str) -> None:
    assert len(loans(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "import torch\ntorch.ops.aten._softmax.default",
        "class A:\n    def _version(self): pass\n    def f(self): return self._version()",
        "def f(x): return x.shape, x.__dict__, point._replace(x=0)",
        "from torch.utils.data import DataLoader",
    ],
)
def test_what_is_public_or_ours_is_no_loan(line: str) -> None:
    assert not loans(line)


def test_every_loan_says_what_it_is_for() -> None:
    body = ast.parse((ROOT / "mpnn/borrowed.py").read_text()).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert ast.get_docstring(node), node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in ("F", "__all__"):
                continue
            said = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            assert said, f"line {node.lineno} of mpnn/borrowed.py takes something and does not say what for."


def test_every_loan_is_used() -> None:
    words = re.compile(r"\w+")
    elsewhere = {word for file in files() for word in words.findall((ROOT / file).read_text())}
    within = words.findall((ROOT / "mpnn/borrowed.py").read_text())
    elsewhere |= {"OVERRIDDEN"} if elsewhere.issuperset(borrowed.OVERRIDDEN) else set()
    for name in [*borrowed.__all__, *_given(ast.parse((ROOT / "mpnn/borrowed.py").read_text()))]:
        assert name in elsewhere or within.count(name) > 1, f"no file uses borrowed.{name}."


def _given(tree: ast.Module) -> Iterator[str]:
    """What a file defines for others."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
