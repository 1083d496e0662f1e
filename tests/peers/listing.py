"""What the weights of a network are called, and their shapes: one line each.

python -m tests.peers.listing     # writes the lists of torchvision's networks, which `make test` reads
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

LISTS = Path(__file__).parents[1] / "models" / "vision" / "listed"


def listing(network: nn.Module) -> str:
    """The entries of the state_dict in their order, then the number of parameters."""
    entries = (
        f"{name} {'x'.join(map(str, value.shape)) or '1'}" for name, value in network.state_dict().items()
    )
    return "\n".join([*entries, f"parameters {sum(p.numel() for p in network.parameters())}", ""])


if __name__ == "__main__":
    from tests.peers.vision import NETWORKS

    LISTS.mkdir(exist_ok=True)
    for network in NETWORKS:
        (LISTS / f"{network.name}.txt").write_text(listing(network.theirs()))
