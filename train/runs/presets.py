"""Published hyper-parameters by task, model and data set. A flag or argument overrides them."""

from __future__ import annotations

from typing import Any

from mpnn.datasets import DATASETS
from mpnn.train.runs.build import FIXED
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

# Shchur et al., 2018: what their search on Cora and CiteSeer found best for each model, from their code;
# 20 nodes of each class to train on, patience 50. They allow 100,000 epochs, which no run comes near.
RANDOM_SPLITS = {
    "split": "per-class",
    "largest_component": True,
    "layers": 2,
    "epochs": 2000,
    "patience": 50,
    "monitor": "loss",
}
SHCHUR: dict[str, dict[str, Any]] = {
    "gcn": RANDOM_SPLITS
    | {"hidden": 64, "dropout": 0.8, "lr": 0.01, "weight_decay": 0.001, "decayed": "first"},
    "gat": RANDOM_SPLITS
    | {"hidden": 8, "heads": 8, "out_heads": 1, "dropout": 0.6, "attention_dropout": 0.3, "act": "elu"}
    | {"lr": 0.01, "weight_decay": 0.01},
    "sage": RANDOM_SPLITS
    | {"hidden": 32, "dropout": 0.4, "lr": 0.001, "weight_decay": 0.1, "decayed": "first"},
}
BY_DATASET = {
    ("node", dataset): SHCHUR
    for dataset in ("amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics")
}

# Xu et al., 2019, section 7: 5 layers counting the input, 32 hidden units, batches of 32, dropout in front of
# the output, a learning rate of 0.01 that halves every 50 epochs, at most 350 epochs. The patience is ours.
GIN_ON_GRAPHS = {
    "hidden": 32,
    "layers": 4,
    "norm": "batch",
    "jk": "cat",
    "readout": "sum",
    "dropout": 0.5,
    "batch_size": 32,
    "lr": 0.01,
    "weight_decay": 0.0,
    "schedule": "step",
    "decay": 0.5,
    "decay_every": 50,
    "epochs": 350,
    "patience": 100,
}
# For the others nobody has published one set of settings; these are like those.
ON_GRAPHS = GIN_ON_GRAPHS | {
    "hidden": 64,
    "layers": 3,
    "jk": None,
    "readout": "mean",
    "epochs": 200,
    "patience": 50,
}
ATTENTION_ON_GRAPHS = ON_GRAPHS | {"hidden": 16, "heads": 4}

GRAPH_PRESETS: dict[str, dict[str, Any]] = {
    "gin": GIN_ON_GRAPHS,
    "gat": ATTENTION_ON_GRAPHS,
    "gatv2": ATTENTION_ON_GRAPHS,
    "transformer": ATTENTION_ON_GRAPHS,
}
# Kipf & Welling, 2016, section 3: two GCN layers to 32, then 16 channels, 200 epochs, no dropout. Their
# code leaves bags of words as they are, zeros and ones, and reconstructs the diagonal too.
AUTOENCODER = {
    "features": "binary",
    "hidden": 32,
    "embedding": 16,
    "layers": 2,
    "dropout": 0.0,
    "lr": 0.01,
    "weight_decay": 0.0,
    "epochs": 200,
    "monitor": "auc",
    "self_links": True,
}
# For the others nobody has published one set of settings.
ON_EDGES = {"hidden": 64, "layers": 2, "dropout": 0.2, "lr": 0.01, "weight_decay": 0.0, "epochs": 200}
ATTENTION_ON_EDGES = ON_EDGES | {"hidden": 16, "heads": 4, "out_heads": 1}

EDGE_PRESETS: dict[str, dict[str, Any]] = {
    "gae": AUTOENCODER,
    "vgae": AUTOENCODER,
    "gat": ATTENTION_ON_EDGES,
    "gatv2": ATTENTION_ON_EDGES,
    "transformer": ATTENTION_ON_EDGES,
}
# LeCun et al., 1998, did 20 passes by gradient descent with a step size for each weight; momentum
# takes its place.
IMAGE_PRESETS: dict[str, dict[str, Any]] = {
    "lenet": FIXED["image", "lenet"]
    | {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "schedule": "cosine", "weight_decay": 5e-4}
    | {"batch_size": 64, "epochs": 15}
}
TEXT = {"optimizer": "adamw", "hidden": 128, "dropout": 0.0, "clip": 1.0, "schedule": "cosine", "context": 64}
TEXT_PRESETS: dict[str, dict[str, Any]] = {
    # nanoGPT (Karpathy, 2022), its settings for a CPU: 2000 steps, of which the first 100 warm up. Its
    # learning rate of 0.001 comes to 1.91 nats after as many steps, this one to 1.77.
    "transformer": FIXED["text", "transformer"]
    | TEXT
    | {"layers": 4, "heads": 4, "lr": 0.003, "warmup": 1, "weight_decay": 0.1}
    | {"batch_size": 12, "steps": 100, "epochs": 20},
    # char-rnn (Karpathy, 2015): two layers of 128, batches of 50, and as many steps as above.
    "lstm": FIXED["text", "lstm"]
    | TEXT
    | {"layers": 2, "lr": 0.005, "weight_decay": 0.0, "batch_size": 50, "steps": 100, "epochs": 20},
}
BY_TASK: dict[str, tuple[dict[str, dict[str, Any]], dict[str, Any]]] = {
    "node": (PRESETS, SMALL),
    "edge": (EDGE_PRESETS, ON_EDGES),
    "graph": (GRAPH_PRESETS, ON_GRAPHS),
    "image": (IMAGE_PRESETS, {}),
    "text": (TEXT_PRESETS, {}),
}


def preset(model: str, task: str = "node", **overrides: Any) -> Settings:
    """Return the settings that `model` was published with, else small ones that suit most, with changes.

    Where the model was published on the data set with settings of its own, it is those.

    >>> preset("gat", dataset="cora", runs=20).heads
    8
    >>> preset("gin", task="graph").readout
    'sum'
    """
    by_model, others = BY_TASK.get(task, ({}, {}))
    of_dataset = BY_DATASET.get((task, overrides.get("dataset", "")), {})
    published = of_dataset.get(model, by_model.get(model, others))
    entry = DATASETS.get(overrides.get("dataset", Settings.dataset))
    if published is AUTOENCODER and (entry is None or not entry.reads_files):
        published = published | {"features": "given"}  # these need not be bags of words
    if overrides.get("shared_epoch") or overrides.get("monitor") == "last":  # then no run may stop early
        published = published | {"patience": None}
    return Settings(model=model, task=task, **(published | overrides))
