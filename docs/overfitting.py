"""The picture and the table of docs/overfitting.md: a network with too few images, and what helps.

MPNN_DATA=DIR python docs/overfitting.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pictures import INK, LINE, save

from mpnn.datasets import ImageDataset, load
from mpnn.train import Report, preset, train

LEARNED, TESTED = 1000, 5000  # images of MNIST; half of the first validate
PLAIN: dict[str, Any] = {"hidden": 500, "layers": 3, "dropout": 0.0, "epochs": 100, "monitor": "last"}
REMEDIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "--monitor loss": {"monitor": "loss"},
    "--weight-decay 0.01": {"weight_decay": 0.01},
    "--l1 0.0003": {"l1": 0.0003},
    "--dropout 0.5": {"dropout": 0.5},
    "--augment shift,rotate": {"augment": "shift,rotate"},
    "--ensemble 10": {"ensemble": 10},
    "all but l1": {
        "monitor": "loss",
        "weight_decay": 0.01,
        "dropout": 0.5,
        "augment": "shift,rotate",
        "ensemble": 10,
    },
}


def few(home: Path) -> Path:
    """Write the first images of MNIST's parts to a file."""
    data = load("mnist")
    assert isinstance(data, ImageDataset) and data.test_mask is not None
    pixels = (data.x * data.read_as["deviation"] + data.read_as["mean"]).clamp(0, 1).numpy()
    test = data.test_mask.numpy()
    arrays = {
        "x_train": pixels[~test][:LEARNED],
        "y_train": data.y.numpy()[~test][:LEARNED],
        "x_test": pixels[test][:TESTED],
        "y_test": data.y.numpy()[test][:TESTED],
    }
    np.savez(home / "few.npz", **arrays)
    return home / "few.npz"


def trained(home: Path, more: dict[str, Any], runs: int = 3) -> Report:
    """The runs with a remedy, from other starts and with other parts."""
    asked = preset(
        "mlp", task="image", dataset=str(home / "few.npz"), val_share=0.5, runs=runs, **PLAIN | more
    )
    return train(asked, Path(tempfile.mkdtemp(dir=home)), draw=False)


def main() -> None:
    """Print the table, and draw the curves of the first runs."""
    with tempfile.TemporaryDirectory() as home:
        few(Path(home))
        _draw(Path(home))


def _draw(home: Path) -> None:
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True, sharey=True)
    for axes, (name, more) in zip(panels.flat, REMEDIES.items(), strict=True):
        report = trained(home, more)
        first = report.results[0].history
        mean, deviation = report.test()
        for part, colour in (("train", "#9aa7b5"), ("val", LINE)):
            loss = [row[f"{part}_loss"] for row in first]
            axes.plot(range(1, len(loss) + 1), loss, color=colour, linewidth=1.2, label=part)
        axes.set_title(name, fontsize=8.5, color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(ylim=(0, 0.9))
        lowest, last = min(row["val_loss"] for row in first), first[-1]["val_loss"]
        print(f"| `{name}` | {100 * mean:.1f} ± {100 * deviation:.1f} | {lowest:.3f} | {last:.3f} |")
    panels[0, 0].legend(frameon=False, fontsize=8)
    for axes in panels[1]:
        axes.set_xlabel("epoch", fontsize=8.5)
    for axes in panels[:, 0]:
        axes.set_ylabel("cross-entropy", fontsize=8.5)
    save(figure, "overfitting.png", colours=64)


if __name__ == "__main__":
    main()
