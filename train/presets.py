"""Published hyper-parameters by model. A flag or argument overrides what is written here."""

from __future__ import annotations

from typing import Any

from mpnn.train.settings import Settings

GAT = {
    "hidden": 8,
    "heads": 8,
    "out_heads": 1,
    "dropout": 0.6,
    "act": "elu",
    "lr": 0.005,
    "weight_decay": 5e-4,
    "epochs": 1000,
    "patience": 100,
    "monitor": "both",
}
SMALL = {"hidden": 16, "dropout": 0.5, "lr": 0.01, "weight_decay": 5e-4, "epochs": 200}

PRESETS: dict[str, dict[str, Any]] = {
    # Kipf & Welling, 2017, section 5.2: L2 on the first layer only, at most 200 epochs.
    "gcn": SMALL | {"decayed": "first"},
    # Veličković et al., 2018, section 3.3: 8 heads of 8 channels, one output head, patience 100. They allow
    # 100,000 epochs; the patience ends a run long before 1000.
    "gat": GAT,
    "gatv2": GAT,
    "transformer": GAT | {"dropout": 0.5},
    # Hamilton et al., 2017, give no settings for citation graphs; these are those of DGL's example.
    "sage": SMALL,
    # Xu et al., 2019, classify graphs, not nodes: the width is theirs, the rest is ours.
    "gin": SMALL | {"hidden": 64},
}


def preset(model: str, **overrides: Any) -> Settings:
    """Return the settings that `model` was published with, else small ones that suit most, with changes.

    >>> preset("gat", dataset="cora", runs=20).heads
    8
    """
    return Settings(model=model, **(PRESETS.get(model, SMALL) | overrides))
