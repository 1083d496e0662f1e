"""Modules by type of node or edge, with PyG's names in a state_dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from mpnn.models.parts.linear import Projection, reset

Key = str | tuple[str, ...]


def internal_key(key: Key, container: type[nn.Module] = nn.ModuleDict) -> str:
    """The name in a `torch.nn` container, which takes no dots and no names of its own attributes.

    >>> internal_key(("author", "writes", "paper")), internal_key("keys"), internal_key("v1.0")
    ('<author___writes___paper>', '<keys>', 'v1#0')
    """
    name = f"<{'___'.join(key)}>" if isinstance(key, tuple) else key
    return (f"<{name}>" if name in dir(container) else name).replace(".", "#")


class ByKey(nn.ModuleDict):
    """A `torch.nn.ModuleDict` whose keys are types of nodes or edges."""

    def __init__(self, modules: Mapping[Any, nn.Module]) -> None:
        super().__init__({internal_key(key): module for key, module in modules.items()})
        self._keys: list[Any] = list(modules)

    def __getitem__(self, key: Key) -> nn.Module:
        return super().__getitem__(internal_key(key))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def keys(self) -> list[Any]:  # type: ignore[override]
        """The types, in order."""
        return list(self._keys)

    def items(self) -> list[tuple[Any, nn.Module]]:  # type: ignore[override]
        """Each type with its module."""
        return [(key, self[key]) for key in self._keys]


class MapsByType(nn.Module):
    """A linear map for every type of node: PyG's `HeteroDictLinear`."""

    def __init__(self, in_channels: Mapping[str, int], out_channels: int) -> None:
        super().__init__()
        self.lins = nn.ModuleDict(
            {internal_key(name): Projection(width, out_channels) for name, width in in_channels.items()}
        )
        self.reset_parameters()  # as PyG draws, a second time

    def __getitem__(self, node_type: str) -> Projection:
        lin = self.lins[internal_key(node_type)]
        assert isinstance(lin, Projection)
        return lin

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for lin in self.lins.values():
            reset(lin)

    def forward(self, x_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {node_type: self[node_type](x) for node_type, x in x_dict.items()}
