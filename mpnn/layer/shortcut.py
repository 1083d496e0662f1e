"""What the layers of dense networks share: when they may skip the graph and go straight to the kernel."""

from __future__ import annotations

from torch import nn

from mpnn.backends import straight, wants_dense
from mpnn.layer.message_passing import MessagePassing

__all__ = ["goes_dense", "straight", "wants_dense"]

# Whether a class says what another says; classes do not change.
_known: dict[tuple[type, type], bool] = {}


def goes_dense(layer: nn.Module, original: type[MessagePassing]) -> bool:
    """Whether a layer may hand its own tensors to the kernel that its messages would be lowered to.

    That `original.message` on the layer's own topology is lowered to this kernel is a matter of the rules,
    and of the tests; it is not decided again at every call. A subclass that says something else takes the way
    through `propagate`.
    """
    if not wants_dense():
        return False
    key = (type(layer), original)
    known = _known.get(key)
    if known is None:
        said = ("message", "aggregate", "update", "propagate")
        known = _known[key] = all(getattr(key[0], name) is getattr(original, name) for name in said)
    return known
