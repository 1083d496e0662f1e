"""Tasks on a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mpnn.datasets import Columns, TextDataset, load_text
from mpnn.models import CausalTransformer, RecurrentLM
from mpnn.train.errors import RunError
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.parts import chosen_shares
from mpnn.train.options import Options
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.text_task import CONTEXT, TextTask

SHARES = (0.1, 0.0)
BATCH_SIZE = 12
STEPS = 100
FIXED = FACES["text"].fixed
SMALL = {
    "hidden": 128,
    "dropout": 0.0,
    "optimizer": "adamw",
    "schedule": "cosine",
    "clip": 1.0,
    "context": CONTEXT,
}
PRESETS: dict[str, dict[str, Any]] = {
    # nanoGPT (Karpathy, 2022), its settings for a CPU: 2000 steps, of which the first 100 warm up. Its
    # learning rate of 0.001 comes to 1.91 nats after as many steps, this one to 1.77.
    "transformer": FIXED["transformer"]
    | SMALL
    | {"layers": 4, "heads": 4, "lr": 0.003, "warmup": 1, "weight_decay": 0.1}
    | {"batch_size": 12, "steps": 100, "epochs": 20},
    # char-rnn (Karpathy, 2015): two layers of 128, batches of 50, and as many steps as above.
    "lstm": FIXED["lstm"]
    | SMALL
    | {"layers": 2, "lr": 0.005, "weight_decay": 0.0, "batch_size": 50, "steps": 100, "epochs": 20},
}


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return PRESETS.get(model, {})


def _make(options: Options, data: TextDataset, kept: Kept | None = None) -> TextTask:
    val_share, test_share = chosen_shares(options, SHARES)
    return TextTask(
        data,
        remembers=options.model == "lstm",
        val_share=val_share,
        test_share=test_share,
        context=options.context or CONTEXT,
        batch_size=options.batch_size or BATCH_SIZE,
        steps=options.steps or STEPS,
        seed=options.seed,
    )


def _build(options: Options, shape: Shape) -> nn.Module:
    size = (shape.out_channels, options.hidden)
    if options.model == "lstm":
        return RecurrentLM(*size, options.layers, options.dropout)
    context = options.context or CONTEXT
    return CausalTransformer(*size, options.heads or 1, options.layers, context, options.dropout)


def _read(path: Path, columns: Columns) -> TextDataset:
    if columns != Columns():
        raise RunError(f"columns are named, but {path} is read as a text, which has none: leave them out")
    return load_text(path)


TEXT = Kind(
    **vars(FACES["text"]),
    data=TextDataset,
    make=_make,
    build=_build,
    published=_published,
    read=_read,
)
