"""What a companion is made of: a package's name and the names in it, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Companion:
    """A package of PyTorch Geometric's, with our functions.

    Args:
        name: as in `import name`.
        version: whose functions and arguments it has.
        modules: for each module, by its name within the package ("" for the package itself), what it holds.
        operators: by namespace and name, as in `torch.ops.namespace.name`.
        classes: the same of `torch.classes`.
        remark: what its users should know.
        told: what names of PyTorch Geometric's modules then mean, such as `WITH_TORCH_SCATTER`.
    """

    name: str
    version: str
    modules: Mapping[str, Mapping[str, Any]]
    operators: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    classes: Mapping[str, type[Any]] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""

    def build(self) -> dict[str, ModuleType]:
        """New modules by their full names: the package, then those in it."""
        package = _module(self.name, self.modules[""], is_package=True)
        package.__version__ = self.version  # type: ignore[attr-defined]
        made = {self.name: package}
        for inner, names in self.modules.items():
            if inner:
                full = f"{self.name}.{inner}"
                made[full] = _module(full, names, is_package=False)
                # As in the originals, a function hides a module of its name: `torch_scatter.scatter`.
                if inner not in self.modules[""]:
                    setattr(package, inner, made[full])
        return made


def names_of(*modules: ModuleType) -> dict[str, Any]:
    """What `from module import *` brings, of several modules."""
    return {name: getattr(module, name) for module in modules for name in module.__all__}


def _module(name: str, names: Mapping[str, Any], is_package: bool) -> ModuleType:
    module = ModuleType(name, "Put here by `mpnn.pyg.enable()`.")
    module.__spec__ = ModuleSpec(name, loader=None, origin="mpnn.pyg", is_package=is_package)
    module.__file__ = "mpnn.pyg"
    if is_package:
        module.__path__ = []
    for key, value in names.items():
        setattr(module, key, value)
    module.__all__ = list(names)  # type: ignore[attr-defined]
    return module
