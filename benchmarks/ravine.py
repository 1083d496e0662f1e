"""The paths of optimisers down a ravine, thirty times as steep across as along.

    python benchmarks/ravine.py                                     # the table of docs/optimisers.md
    python benchmarks/ravine.py --picture docs/images/ravine.png    # and its picture

f = ½ (u² + 30 v²), u along the ravine and v across, 30 degrees off the axes, without noise. Each optimiser
has the learning rate, of 0.005, 0.01, 0.02 and so on to 2, with which it needs the fewest steps to come below
0.0001 for good. Takes seconds.
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from mpnn.train import Recipe
from mpnn.train.fitting.optimizer import build_optimizer
from mpnn.train.pictures.style import COLOURS, STYLE

STEEP, START, LOW, STEPS = torch.tensor([1.0, 30.0]), torch.tensor([-2.2, 0.2]), 1e-4, 400
TURN = torch.tensor([[0.75**0.5, -0.5], [0.5, 0.75**0.5]])  # by 30 degrees
RATES = [digit * 10.0**power for power in (-3, -2, -1) for digit in (5, 10, 20)]  # from 0.005 to 2
OPTIMISERS: dict[str, tuple[dict[str, Any], str]] = {
    "SGD": ({"optimizer": "sgd"}, "θ - η g"),
    "momentum": ({"optimizer": "sgd", "momentum": 0.9}, "v = 0.9 v + g; θ - η v"),
    "Nesterov": (
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        "v = 0.9 v + g; θ - η (g + 0.9 v)",
    ),
    "AdaGrad": ({"optimizer": "adagrad"}, "s = s + g²; θ - η g / (√s + ε)"),
    "RMSProp": ({"optimizer": "rmsprop"}, "s = 0.99 s + 0.01 g²; θ - η g / (√s + ε)"),
    "Adam": (
        {"optimizer": "adam"},
        "m = 0.9 m + 0.1 g; s = 0.999 s + 0.001 g²; θ - η m̂ / (√ŝ + ε)",
    ),
}


def height(at: Tensor) -> Tensor:
    """The value of f, `[...]`, at points `[..., 2]`."""
    return 0.5 * (STEEP * (at @ TURN).square()).sum(-1)


def path(settings: dict[str, Any], lr: float) -> Tensor:
    """The points, `[STEPS + 1, 2]`."""
    point = nn.ParameterList([START.clone()])
    optimizer = build_optimizer(point, Recipe(lr=lr, weight_decay=0.0, **settings))
    points = [START]
    for _ in range(STEPS):
        optimizer.zero_grad()
        height(point[0]).backward()
        optimizer.step()
        points.append(point[0].detach().clone())
    return torch.stack(points)


def steps_down(points: Tensor) -> int:
    """After how many steps a path stays below `LOW`; more than there are if it does not."""
    above = (~(height(points) < LOW)).nonzero()
    return int(above[-1]) + 1 if above.numel() else 0


def best(settings: dict[str, Any]) -> tuple[float, Tensor]:
    """The learning rate with the fewest steps, and its path."""
    found = {lr: path(settings, lr) for lr in RATES}
    lr = min(found, key=lambda rate: steps_down(found[rate]))
    return lr, found[lr]


def table(found: dict[str, tuple[float, Tensor]]) -> str:
    """A Markdown table."""
    rows = [
        f"| {name} | {OPTIMISERS[name][1]} | {lr:g} | {steps_down(points)} |"
        for name, (lr, points) in found.items()
    ]
    return "\n".join(["| optimiser | a step | η | steps |", "|---|---|---|---|", *rows])


def draw(found: dict[str, tuple[float, Tensor]], file: Path) -> None:
    """Each path on the lines of equal height."""
    x, y = torch.meshgrid(torch.linspace(-2.7, 1.1, 120), torch.linspace(-2.2, 0.9, 120), indexing="xy")
    heights = height(torch.stack([x, y], -1)).sqrt()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.3), layout="constrained")
        panels = figure.subplots(2, 3, sharex=True, sharey=True).flatten()
        for axes, colour, (name, (lr, points)) in zip(panels, COLOURS, found.items(), strict=False):
            axes.contour(x, y, heights, levels=10, colors="#c9d1da", linewidths=0.7)
            axes.plot(*points.T, color=colour, marker="o", markersize=2.2, linewidth=1)
            axes.plot(0, 0, marker="+", color="black", markersize=7)
            axes.set(
                title=f"{name}, η = {lr:g}: {steps_down(points)} steps", xlim=(-2.7, 1.1), ylim=(-2.2, 0.9)
            )
            axes.title.set_fontsize(8.5)
        figure.supxlabel("θ_1", fontsize=8.5)
        figure.supylabel("θ_2", fontsize=8.5)
        drawn = BytesIO()
        figure.savefig(drawn, dpi=120)
    Image.open(drawn).convert("RGB").quantize(64).save(file, optimize=True)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    found = {name: best(settings) for name, (settings, _) in OPTIMISERS.items()}
    print(table(found))
    if arguments.picture is not None:
        draw(found, arguments.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
