"""What carried a prediction: masks of edges and features that are learned, and gradients along a path."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mpnn.layer.masks import masked

# Of Ying et al. (2019), as PyTorch Geometric has them.
SIZE_OF_EDGES, ENTROPY_OF_EDGES, SIZE_OF_FEATURES, ENTROPY_OF_FEATURES = 0.005, 1.0, 1.0, 0.1
TINY = 1e-15

Score = Callable[[Tensor], Tensor]  # of the features `[num_nodes, channels]` to one number


class Masks(NamedTuple):
    """How much of each edge `[num_edges]` and each feature `[channels]` a prediction needs, from 0 to 1."""

    edges: Tensor
    features: Tensor


class Shares(NamedTuple):
    """What each edge `[num_edges]` and each feature of a node `[num_nodes, channels]` adds to a score."""

    edges: Tensor
    features: Tensor


def explaining_masks(
    model: nn.Module,
    loss: Score,
    x: Tensor,
    num_edges: int,
    *,
    epochs: int = 200,
    lr: float = 0.01,
    seed: int = 0,
) -> Masks:
    """Return the masks of GNNExplainer (Ying et al., 2019): the least that still gives the prediction.

    min over M, F of loss(model(x · σ(F), A · σ(M))) + sizes and entropies of σ(M) and σ(F)

    An edge or a feature that the loss does not depend on has 0.

    Args:
        model: in evaluation mode.
        loss: calls the model on some features, and says how far it is from its prediction.
        x: `[num_nodes, channels]`, the features.
        num_edges: of the graph that `loss` calls the model on.
        epochs, lr: steps of Adam, and their length.
        seed: of the masks' first values.

    Raises:
        ValueError: epochs is below 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}, but should be at least 1.")
    generator = torch.Generator().manual_seed(seed)
    spread = 2**0.5 * (2.0 / (2 * max(1, x.size(0)))) ** 0.5
    of_edges = spread * torch.randn(num_edges, generator=generator)
    of_features = 0.1 * torch.randn(x.size(1), generator=generator)
    masks = [nn.Parameter(mask.to(x.device, x.dtype)) for mask in (of_edges, of_features)]
    optimizer = torch.optim.Adam(masks, lr)
    needed: list[Tensor] = []  # those within reach, as PyTorch Geometric tells them
    for _ in range(epochs):
        edges, features = (mask.sigmoid() for mask in masks)
        with masked(model, edges):
            found = loss(x * features)
        if not needed:  # theirs, too, asks for small masks from the second step on
            needed = [_gradient(found, one, retain_graph=True) != 0 for one in (edges, features)]
        else:
            edges, features = edges[needed[0]], features[needed[1]]
            if edges.numel():
                found = found + SIZE_OF_EDGES * edges.sum() + ENTROPY_OF_EDGES * _entropy(edges)
            if features.numel():
                size = SIZE_OF_FEATURES * features.mean()
                found = found + size + ENTROPY_OF_FEATURES * _entropy(features)
        if found.requires_grad:
            optimizer.zero_grad()
            found.backward(inputs=masks)  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        return Masks(*(mask.sigmoid() * there for mask, there in zip(masks, needed, strict=True)))


def _entropy(mask: Tensor) -> Tensor:
    return -(mask * (mask + TINY).log() + (1 - mask) * (1 - mask + TINY).log()).mean()


def integrated_gradients(
    model: nn.Module, score: Score, x: Tensor, num_edges: int, *, steps: int = 64
) -> Shares:
    """Return what edges and features add to a score, by integrated gradients (Sundararajan et al., 2017).

    Those of edges go from a graph whose messages are all zero to the whole one, and sum to the score less
    that without messages; those of features go from zeros to x, and sum to the score less that of zeros.

    Args:
        model: in evaluation mode.
        score: calls the model on some features, and says the number that is explained.
        x: `[num_nodes, channels]`, the features.
        num_edges: of the graph that `score` calls the model on.
        steps: points of the path; the sums become exact as they grow.

    Raises:
        ValueError: steps is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, but should be at least 1.")
    whole = x.new_ones(num_edges)
    edges, features = torch.zeros_like(whole), torch.zeros_like(x)
    for k in range(steps):
        share = (k + 0.5) / steps
        mask = (share * whole).requires_grad_()
        with masked(model, mask):
            edges += _gradient(score(x), mask) / steps
        part = (share * x.detach()).requires_grad_()
        features += _gradient(score(part), part) / steps
    return Shares(edges, features * x)


def _gradient(score: Tensor, of: Tensor, retain_graph: bool = False) -> Tensor:
    if not score.requires_grad:
        return torch.zeros_like(of)
    (found,) = torch.autograd.grad(score, of, retain_graph=retain_graph, allow_unused=True)
    return torch.zeros_like(of) if found is None else found
