"""The pictures of docs/unification.md and docs/backpropagation.md: one layer on several topologies, neurons.

python docs/pictures.py
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate

from mpnn import Graph, models, topology

HOME = Path(__file__).parent / "images"
INK, LINE, PAPER = "#1c2733", "#2f6db5", "#eceff3"
STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9.5, "text.color": INK}


def save(figure: Figure, name: str, colours: int = 0) -> None:
    """Write a picture; `colours` limits its palette, where that makes the file small and cannot be seen."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=160, facecolor="white", bbox_inches="tight", pad_inches=0.08)
    picture = Image.open(drawn).convert("RGB")
    (picture.quantize(colours) if colours else picture).save(HOME / name, optimize=True)


def bare(axes: Axes, title: str = "") -> Axes:
    """A panel without ticks and frame."""
    axes.set(xticks=[], yticks=[], aspect="equal", title=title)
    axes.spines[:].set_visible(False)
    return axes


# Convolution --------------------------------------------------------------------------------------------


def convolution() -> None:
    """A gradient filter on all pixels of a digit, on the pixels around a hole, and on scattered pixels."""
    digit = torch.tensor(load_digits().images[13], dtype=torch.float32)[None, None] / 16
    image = interpolate(digit, (24, 24), mode="bicubic").clamp(0, 1)[0, 0]
    conv = models.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    everywhere = torch.ones(24, 24, dtype=torch.bool)
    hole = everywhere.clone()
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    hole[(rows - 12) ** 2 + (columns - 9) ** 2 < 20] = False
    scattered = torch.rand(24, 24, generator=torch.Generator().manual_seed(2)) < 0.5
    masks = {"every pixel": everywhere, "a hole": hole, "scattered pixels": scattered}
    figure = Figure(figsize=(8, 8.1), layout="constrained")
    panels = figure.subplots(3, 3)
    titles = iter(("pixels", "messages, inside the frame", "convolved"))
    for row, (name, exists) in zip(panels, masks.items(), strict=True):
        graph, _ = topology.grid((24, 24), 3, padding="same").subgraph((exists.flatten(), exists.flatten()))
        with torch.no_grad():
            found = conv(image[exists][:, None], graph=graph)[:, 0]
        _pixels(row[0], image, exists, "Greys", (0, 1.15), next(titles, ""))
        _links(row[1], exists, graph, next(titles, ""))
        shown = torch.zeros(24, 24)
        shown[exists] = found
        _pixels(row[2], shown, exists, "RdBu_r", (-4, 4), next(titles, ""))
        row[0].add_patch(Rectangle((6.5, 4.5), 10, 10, fill=False, edgecolor=LINE, linewidth=1.2))
        row[0].set_ylabel(name)
    save(figure, "convolution.png")


def _pixels(
    axes: Axes, image: Tensor, exists: Tensor, colours: str, limits: tuple[float, float], title: str
) -> None:
    shown = np.ma.masked_array(image.numpy(), ~exists.numpy())
    palette = mpl.colormaps[colours].with_extremes(bad="#f6d9a8")
    bare(axes, title).imshow(shown, cmap=palette, vmin=limits[0], vmax=limits[1], interpolation="nearest")


def _links(axes: Axes, exists: Tensor, graph: Graph, title: str) -> None:
    where = exists.nonzero().flip(1).numpy()  # column, row
    src, dst = graph.edge_index.numpy()
    inside = ((where >= (7, 5)) & (where <= (16, 14))).all(1)
    shown = inside[src] & inside[dst] & (src != dst)
    lines = np.stack([where[src[shown]], where[dst[shown]]], 1)
    bare(axes, title).add_collection(LineCollection(list(lines), colors=LINE, linewidths=0.9, alpha=0.45))
    axes.scatter(*where[inside].T, s=20, color=INK, zorder=2)
    missing = (~exists).nonzero().flip(1).numpy()
    missing = missing[((missing >= (7, 5)) & (missing <= (16, 14))).all(1)]
    axes.scatter(*missing.T, s=20, color="#f6d9a8", zorder=1)
    axes.set(xlim=(6.3, 16.7), ylim=(14.7, 4.3))


# Recurrence ---------------------------------------------------------------------------------------------

WORDS = ["dogs", "that", "bark", "seldom", "bite"]
PARENTS = [4, 2, 0, 4, -1]
CHANNELS = 8


def recurrence() -> None:
    """One LSTM, on the words in order and on their dependency tree."""
    torch.manual_seed(8)
    lstm, words = models.LSTM(16, CHANNELS), 2 * torch.randn(len(WORDS), 16)
    with torch.no_grad():
        in_order = lstm(words, graph=topology.chain(len(WORDS)))[0]
        in_tree = lstm(words, graph=topology.tree(PARENTS))[0]
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    height = {0: 2, 1: 0, 2: 1, 3: 0, 4: 3}
    chain = {node: (2.3 * node, 2.5) for node in range(5)}
    tree = {node: (2.3 * node, 1.9 * height[node]) for node in range(5)}
    for level in range(4):
        right.plot([-1.1, 10.2], [1.9 * level] * 2, color=PAPER, zorder=0)
        right.text(-1.4, 1.9 * level, f"level {level}", va="center", ha="right", color="#7b8794", fontsize=8)
    left.set_xlim(-2.1, 11.3)
    right.set_xlim(-3.2, 10.2)
    _states(left, chain, [(k, k + 1) for k in range(4)], in_order, "topology.chain(5)")
    _states(right, tree, [(k, p) for k, p in enumerate(PARENTS) if p >= 0], in_tree, "topology.tree(parents)")
    save(figure, "recurrence.png")


WIDE, HIGH = 0.72, 0.36  # half a box of states


def _states(
    axes: Axes, at: dict[int, tuple[float, float]], edges: list[tuple[int, int]], states: Tensor, title: str
) -> None:
    bare(axes, title)
    for src, dst in edges:
        (x, y), (to_x, to_y) = at[src], at[dst]
        # From the border of one box to that of the other.
        part = min(WIDE / (abs(to_x - x) or 1e-9), HIGH / (abs(to_y - y) or 1e-9))
        dx, dy = part * (to_x - x), part * (to_y - y)
        ends = (x + dx, y + dy), (to_x - 1.08 * dx, to_y - 1.08 * dy)
        axes.add_patch(
            FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=10, color=LINE, shrinkA=0, shrinkB=0)
        )
    palette, side = mpl.colormaps["RdBu_r"], HIGH
    for node, (x, y) in at.items():
        for channel, value in enumerate(states[node].tolist()):
            corner = (x - WIDE + side * (channel % 4), y - HIGH + side * (1 - channel // 4))
            colour = palette(0.5 + 0.7 * value)
            axes.add_patch(
                Rectangle(corner, side, side, facecolor=colour, edgecolor="white", lw=0.4, zorder=3)
            )
        box = Rectangle((x - WIDE, y - HIGH), 2 * WIDE, 2 * HIGH, fill=False, edgecolor=INK, lw=1, zorder=4)
        axes.add_patch(box)
        side_of_label = -1 if y == 0 else 1  # arrows leave the leaves upwards
        alignment = "top" if y == 0 else "bottom"
        axes.text(x, y + 1.3 * side_of_label * HIGH, WORDS[node], ha="center", va=alignment)
    axes.set(ylim=(-1.5, 7))


# Attention ----------------------------------------------------------------------------------------------


def attention() -> None:
    """The same queries and keys on three topologies: the edges, and their weights."""
    torch.manual_seed(1)
    count = 24
    attend, x = models.MultiheadAttention(16, 1), 1.5 * torch.randn(count, 16)
    links = torch.randint(count, (2, 72), generator=torch.Generator().manual_seed(3)).unique(dim=1)
    loops = torch.arange(count).expand(2, -1)
    graphs = {
        "topology.complete(24)": topology.complete(count),
        "topology.band(24, 2)": topology.band(count, 2),
        "a random sparse Graph": Graph(torch.cat([links, loops], 1).unique(dim=1), count),
    }
    angle = torch.linspace(0, 2 * torch.pi, count + 1)[:-1]
    ring = torch.stack([angle.sin(), angle.cos()], 1).numpy()
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    panels = figure.subplots(2, 3)
    for (top, bottom), (name, graph) in zip(panels.T, graphs.items(), strict=True):
        with torch.no_grad():
            weights = attend(x, x, x, graph=graph)[1].numpy()
        src, dst = graph.edge_index.numpy()
        lines = LineCollection(
            [ring[[s, d]] for s, d in zip(src, dst, strict=True)],
            colors=[(*mpl.colors.to_rgb(LINE), min(1, 0.06 + 1.6 * w)) for w in weights],
            linewidths=0.4 + 2.2 * weights,
        )
        bare(top, name).add_collection(lines)
        top.scatter(*ring.T, s=16, color=INK, zorder=3)
        top.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
        matrix = np.ma.masked_all((count, count))
        matrix[dst, src] = weights
        palette = mpl.colormaps["Blues"].with_extremes(bad=PAPER)
        bare(bottom).imshow(matrix, cmap=palette, vmin=0, vmax=0.6, interpolation="nearest")
        bottom.set_xlabel("source j")
    panels[1, 0].set_ylabel("destination i")
    save(figure, "attention.png", colours=128)


# Maps ---------------------------------------------------------------------------------------------------


def maps() -> None:
    """Units of three maps among the samples that they have learned from, with the edges between them."""
    torch.manual_seed(0)
    angle, far = 2 * torch.pi * torch.rand(3000), (0.3 + 0.7 * torch.rand(3000)).sqrt()
    x = torch.stack([far * angle.cos(), far * angle.sin()], 1)
    tree = topology.tree([-1, *((k - 1) // 2 for k in range(1, 63))])
    graphs = {
        "a square lattice": topology.lattice((8, 8)),
        "a ring": topology.lattice(63, torus=True),
        "a tree": Graph(torch.cat([tree.edge_index, tree.edge_index.flip(0)], 1), 63),
    }
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, (name, graph) in zip(figure.subplots(1, 3), graphs.items(), strict=True):
        som = models.SelfOrganisingMap(
            graph,
            2,
            sigma=5.0,
            sigma_decay_function=lambda sigma, t, steps: sigma * (0.5 / sigma) ** (t / steps),
        )
        units = som.random_weights_init(x).fit(x, 20_000, random_order=True).weight.numpy()
        bare(axes, name)
        axes.scatter(*x[:1500].T.numpy(), s=2, color="0.82", linewidths=0)
        links = units[graph.edge_index.T.numpy()]
        axes.add_collection(LineCollection(list(links), colors=LINE, linewidths=0.9))
        axes.scatter(*units.T, s=11, color=INK, linewidths=0, zorder=3)
    save(figure, "maps.png", colours=32)


# Backpropagation ----------------------------------------------------------------------------------------

SOURCES = [0, 1, 0, 1, 2, 1, 2, 3, 4, 0, 4, 5, 6, 7, 6, 7, 5]
TARGETS = [3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 9, 9, 9]
PLACES = [(0, 4), (0, 2), (0, 0), (2, 4), (2, 2), (2, 0), (4, 3), (4, 1), (6, 3), (6, 1)]
RADIUS = 0.5


def backpropagation() -> None:
    """Ten neurons: activations along the edges, and deltas against them."""
    torch.manual_seed(0)
    network = models.NeuronGraph(Graph(torch.tensor([SOURCES, TARGETS]), 10)).double()
    with torch.no_grad():
        network.weight.copy_(torch.randn(17, dtype=torch.float64))
        network.bias.copy_(torch.randn(10, dtype=torch.float64))
        h = network(torch.tensor([0.5, -1.0, 0.8], dtype=torch.float64))
    error = torch.zeros_like(h)
    error[8:] = h[8:] - torch.tensor([1.0, -1.0])
    found = network.backpropagate(h, error)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _neurons(left, h, network.weight.detach(), "h_i = f(Σ_j w_ij h_j + b_i)", back=False)
    _neurons(right, found.delta, found.weight, "δ_j = f'(a_j) (e_j + Σ_k w_kj δ_k)", back=True)
    left.set_xlabel("edges: w")
    right.set_xlabel("edges: ∂L/∂w = h · δ")
    save(figure, "backpropagation.png", colours=128)


def _neurons(axes: Axes, values: Tensor, edges: Tensor, title: str, *, back: bool) -> None:
    bare(axes, title)
    palette = mpl.colormaps["RdBu_r"]
    scale, of_edges = float(values.abs().max()), float(edges.abs().max())
    for source, target, weight in zip(SOURCES, TARGETS, edges.tolist(), strict=True):
        ends = (PLACES[target], PLACES[source]) if back else (PLACES[source], PLACES[target])
        arrow = FancyArrowPatch(
            *ends,
            arrowstyle="-|>",
            mutation_scale=9,
            color=palette(0.5 + 0.45 * np.sign(weight)),
            linewidth=0.6 + 2.4 * abs(weight) / of_edges,
            shrinkA=17,
            shrinkB=17,
        )
        axes.add_patch(arrow)
    for neuron, ((x, y), value) in enumerate(zip(PLACES, values.tolist(), strict=True)):
        colour = palette(0.5 + 0.35 * value / scale)
        axes.add_patch(Circle((x, y), RADIUS, facecolor=colour, edgecolor=INK, linewidth=1, zorder=3))
        axes.text(
            x, y, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center", fontsize=7.5, zorder=4
        )
        axes.text(x, y + 1.25 * RADIUS, str(neuron), ha="center", va="bottom", fontsize=7, color="#7b8794")
    axes.set(xlim=(-0.7, 6.7), ylim=(-0.8, 5.1))


def main() -> None:
    """Draw all of them."""
    HOME.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        convolution()
        recurrence()
        attention()
        maps()
        backpropagation()


if __name__ == "__main__":
    main()
