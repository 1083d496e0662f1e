"""Packages whose public names are imported when the first of them is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def public_names(package: str, *others: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose public names its module `public` imports.

    The first use of any name puts all of them into the package: from then on each is a plain attribute. What
    is imported from below the package, such as the help of the command `mpnn`, does not wait for PyTorch.

    Args:
        package: its name.
        *others: packages below it whose names are also its own, but are imported one by one when they are
            used, since they wait for something slow that no other name needs.
    """

    def names() -> dict[str, Any]:
        public = importlib.import_module(f"{package}.public")
        # What `public` itself imports may ask for a part of the package: then `__all__` is not there yet.
        listed = getattr(public, "__all__", None)
        return (
            {} if listed is None else {"__all__": listed} | {name: getattr(public, name) for name in listed}
        )

    def find(name: str) -> Any:
        if name == "__all__" or not name.startswith("_"):
            found = names()
            vars(sys.modules[package]).update(found)
            if name in found:
                return found[name]
            for other in map(importlib.import_module, others):
                if name in other.__all__:
                    return getattr(other, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        further = (name for other in map(importlib.import_module, others) for name in other.__all__)
        return sorted({*vars(sys.modules[package]), *names(), *further})

    return find, listed
