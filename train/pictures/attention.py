"""The attention of a model: the weights of its edges, and a picture of those into a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.models.conv.attention_conv import Attention
from mpnn.train.analysis.smoothing import evaluating
from mpnn.train.pictures.style import LETTER, class_keys, new_figure, plain, scatter, set_title, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NEIGHBOURS = 16  # more cannot be told apart
WIDTH = 6.8  # inches
LONGEST_NODE = 12  # characters of a node's name


class Attended(NamedTuple):
    """The attention of a layer.

    Args:
        name: of the layer in the model.
        graph: the edges that it attends over, with the self loops that it adds.
        weights: `[num_edges, heads]`, those into a node sum to 1.
    """

    name: str
    graph: Graph
    weights: Tensor


@torch.no_grad()
def attention_weights(model: nn.Module, x: Tensor, graph: Graph, **edges: Tensor) -> list[Attended]:
    """Call a model once in evaluation mode, and return the attention of each of its layers that has any.

    Args:
        model: a model with layers such as `GATConv`, `GATv2Conv` or `TransformerConv`.
        x: `[num_nodes, in_channels]`.
        graph: the edges.
        **edges: `edge_attr` and other keywords of the model.

    >>> from mpnn.models import GNN
    >>> ring = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
    >>> attended = attention_weights(GNN(4, 8, 2, conv="gat"), torch.ones(3, 4), ring)
    >>> [(one.name, one.weights.shape) for one in attended]
    [('convs.0', torch.Size([6, 1])), ('convs.1', torch.Size([6, 1]))]
    """
    found: list[Attended] = []
    hooks = []
    for name, layer in model.named_modules():
        if not isinstance(layer, Attention):
            continue

        def note(layer: nn.Module, given: Any, options: Any, out: Any, name: str = name) -> None:
            _, (seen, weights) = layer.forward(*given, **options, return_attention_weights=True)
            seen = seen if isinstance(seen, Graph) else Graph(seen, graph.num_nodes)
            found.append(Attended(name, seen, weights))

        hooks.append(layer.register_forward_hook(note, with_kwargs=True))
    try:
        with evaluating(model):
            model(x, graph, **edges)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def attention_picture(
    attended: Attended,
    node: int,
    classes: Tensor,
    class_names: Sequence[str],
    *,
    node_names: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw a node with the neighbours that it attends to, with wider lines for more weight, and each head.

    Widths and colours go from the smallest weight that is shown to the largest.

    Args:
        attended: one of `attention_weights`.
        node: which node; of its neighbours the 16 with the largest weights are shown.
        classes: `[num_nodes]`, shown by colour.
        class_names: the classes' names.
        node_names: what the nodes are called; by default their numbers.
        title: text above the picture.

    Raises:
        ValueError: no edge goes into the node.
    """
    edges = (attended.graph.dst == node).nonzero().flatten()
    if not len(edges):
        raise ValueError(f"node is {node}, but no edge goes into it: it attends to no node.")
    mean = attended.weights[edges].mean(dim=1)
    order = mean.argsort(descending=True, stable=True)[:MOST_NEIGHBOURS]
    edges, mean = edges[order], mean[order]
    sources = attended.graph.src[edges].tolist()
    weights = attended.weights[edges].cpu().numpy()
    called = [str(k) if node_names is None else plain(node_names[k], LONGEST_NODE) for k in sources]
    labels = ["itself" if k == node else name for k, name in zip(sources, called, strict=True)]
    seen = classes.cpu().numpy()
    with styled():
        keys = class_keys(class_names, sorted({int(seen[k]) for k in [node, *sources]}))
        columns = max(1, int(WIDTH / (0.5 + LETTER * max(len(str(key.get_label())) for key in keys))))
        height = 3.1 + 0.17 * -(-len(keys) // columns) + 0.05 * max(map(len, labels))
        figure = new_figure(WIDTH, height)
        star, heads = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _draw_star(star, node, sources, mean.tolist(), labels, seen)
        star.set_title(f"node {node}" if node_names is None else plain(node_names[node]), fontsize=8)
        figure.legend(handles=keys, loc="outside lower center", ncols=columns, handletextpad=0.2)
        image = heads.imshow(100 * weights.T, cmap="Blues", aspect="auto")
        heads.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor")
        heads.set_yticks(range(weights.shape[1]), [str(k + 1) for k in range(weights.shape[1])])
        heads.set_xlabel("attends to")
        heads.set_ylabel("head")
        heads.spines[:].set_visible(False)
        heads.tick_params(length=0)
        bar = figure.colorbar(image, ax=heads, label="attention [%]")
        bar.outline.set_visible(False)
        set_title(figure, title)
    return figure


def _draw_star(
    axes: Axes,
    node: int,
    sources: list[int],
    mean: list[float],
    labels: list[str],
    classes: np.ndarray,
) -> None:
    others = [k for k, source in enumerate(sources) if source != node]
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(others)) / max(len(others), 1)
    place = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low, widest = min(mean), max(mean)
    digits = 0 if widest - low >= 0.05 else 1 if widest - low >= 0.005 else 2
    for k, (across, up) in zip(others, place, strict=True):
        share = (mean[k] - low) / (widest - low) if widest > low else 1.0
        axes.plot(
            [0, across], [0, up], color="0.35", linewidth=0.6 + 5 * share, alpha=0.25 + 0.6 * share, zorder=0
        )
        axes.text(1.13 * across, 1.13 * up, f"{labels[k]}\n{100 * mean[k]:.{digits}f} %", fontsize=6.5,
                  ha="left" if across > 0.1 else "right" if across < -0.1 else "center",
                  va="bottom" if up > 0.1 else "top" if up < -0.1 else "center")  # fmt: skip
    around = classes[[sources[k] for k in others]]
    scatter(axes, place, around, s=70, edgecolors="white", linewidths=0.6)
    scatter(axes, np.zeros((1, 2)), classes[[node]], s=190, edgecolors="black", linewidths=0.8)
    for k, source in enumerate(sources):
        if source == node:
            axes.text(
                0, 0, f"{100 * mean[k]:.{digits}f}", ha="center", va="center", fontsize=5.5, color="white"
            )
    axes.set(xlim=(-1.7, 1.7), ylim=(-1.45, 1.45), aspect="equal")
    axes.set_axis_off()
