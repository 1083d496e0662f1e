"""The pictures of docs/gallery.md: one network, on two topologies.

python docs/gallery.py
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pictures import INK, LINE, bare, save
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate

from mpnn import Graph, models, topology
from mpnn.graph.adjacency import Topology

SIDE = 24


def _digit(number: int) -> Tensor:
    """Pixels of 1 and -1, `[SIDE * SIDE]`."""
    image = torch.tensor(load_digits().images[number], dtype=torch.float32)[None, None] / 16
    large = interpolate(image, (SIDE, SIDE), mode="bicubic").flatten()
    return torch.where(large > 0.45, 1.0, -1.0)


def hopfield() -> None:
    """Digits are remembered where every neuron is linked with all, and where it is with 60 of 575."""
    patterns = torch.stack([_digit(number) for number in (0, 7, 16)])
    number = patterns.size(1)
    world = nx.watts_strogatz_graph(number, 60, 0.3, seed=1)
    graphs: dict[str, Topology | None] = {
        "every neuron linked with all": None,
        "a small world: 60 links of a neuron": Graph.from_networkx(world),
    }
    noise = torch.rand(patterns.shape, generator=torch.Generator().manual_seed(3)) < 0.2
    spoiled = torch.where(noise, -patterns, patterns)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for part, (name, graph) in zip(figure.subfigures(1, 2), graphs.items(), strict=True):
        network = models.HopfieldNetwork(number, graph).fit(patterns)
        recalled = network.predict(spoiled.T.contiguous()).state.T
        part.suptitle(name, fontsize=9.5, color=INK)
        panels = part.subplots(3, 3)
        for row, title, states in zip(
            panels, ("remembered", "spoiled", "recalled"), (patterns, spoiled, recalled), strict=True
        ):
            for axes, state in zip(row, states, strict=True):
                bare(axes).imshow(state.view(SIDE, SIDE), cmap="Greys", vmin=-1, vmax=1)
            row[0].set_ylabel(title)
    save(figure, "gallery-hopfield.png", colours=16)


def rbm() -> None:
    """Hidden units that see a whole digit, and hidden units that see five by five pixels of it."""
    v = torch.tensor(load_digits().images, dtype=torch.float32).flatten(1) / 16
    fields, _ = topology.grid((8, 8), 5, padding="same").subgraph(
        (torch.arange(64) >= 0, torch.arange(64) >= 0)
    )
    graphs = {"each sees all 64 pixels": None, "each sees 5 × 5 pixels": fields.edge_index}
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    for part, (name, graph) in zip(figure.subfigures(1, 2), graphs.items(), strict=True):
        torch.manual_seed(0)
        machine = models.RBM(64, 64, graph=graph).start_from(v)
        learning = models.ContrastiveDivergence(machine)
        optimizer = torch.optim.SGD(machine.parameters(), lr=0.1, momentum=0.5)
        for _ in range(40):
            for batch in v[torch.randperm(len(v))].split(20):
                optimizer.zero_grad()
                learning.backward(batch)
                optimizer.step()
        weight = machine.weight.detach()
        if graph is not None:
            dense = torch.zeros(64, 64)
            dense[graph[1], graph[0]] = weight
            weight = dense
        part.suptitle(f"hidden units: {name}", fontsize=9.5, color=INK)
        for axes, row in zip(part.subplots(8, 8).flat, weight, strict=True):
            most = float(row.abs().max())
            bare(axes).imshow(row.view(8, 8), cmap="RdBu_r", vmin=-most, vmax=most)
    save(figure, "gallery-rbm.png", colours=64)


def som() -> None:
    """A sheet and a ring are laid over the same samples."""
    draw = np.random.default_rng(0)
    angle, radius = draw.uniform(0, 2 * np.pi, 1500), draw.normal(1, 0.08, 1500)
    x = torch.tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), dtype=torch.float32)
    maps = {
        "a sheet of 10 × 10 units": topology.lattice((10, 10)),
        "a ring of 40 units": topology.lattice(40, torus=True),
    }
    figure = Figure(figsize=(8, 4), layout="constrained")
    for axes, (name, graph) in zip(figure.subplots(1, 2), maps.items(), strict=True):
        found = models.SelfOrganisingMap(graph, 2, sigma=5.0, sigma_decay_function="linear_decay_to_one")
        found.random_weights_init(x).fit(x, 8000)
        src, dst = graph.edge_index
        places = found.weight
        bare(axes, name).scatter(*x.T, s=3, color="#f0b35c", linewidths=0)
        lines = torch.stack([places[src], places[dst]], 1).numpy()
        axes.add_collection(LineCollection(list(lines), colors=LINE, linewidths=0.9))
        axes.scatter(*places.T, s=14, color=INK, zorder=2)
    save(figure, "gallery-som.png", colours=32)


if __name__ == "__main__":
    hopfield()
    rbm()
    som()
