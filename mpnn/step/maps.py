"""Linear maps of node features that a layer leaves to the core: when they are done, and in which order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn.graph.graph import Graph
from mpnn.native.products import is_large, linear, of_few_rows
from mpnn.native.reach import in_reach, only_autograd_follows
from mpnn.native.row_blocks import has_several
from mpnn.step.fields import Mapped
from mpnn.step.plain import weights_of


def mapped(module: nn.Module, x: Tensor, graph: Graph, shape: tuple[int, ...]) -> Tensor | Mapped:
    """A linear map of node features as a field, `[num_nodes, *shape]`.

    On a large graph the field is the map itself, a `Mapped`: `propagate` computes it, if it can, some
    thousand nodes at a time, and adds up the gradients of x and of the parameters in the same way. It is
    computed at once if the module must be called, or if PyTorch must see each operation.
    """
    # Asked first: a compiled function would be one for graphs of up to that number of nodes.
    compiling = torch.compiler.is_compiling()
    if type(graph) is Graph and not compiling and has_several(graph.size) and _may_wait(x):
        known = weights_of(module)
        if known is not None and in_reach(known.weight):
            return Mapped(x, *known, shape)
    out: Tensor = module(x)
    return out.view(-1, *shape)


def _may_wait(x: Tensor) -> bool:
    return in_reach(x) and only_autograd_follows(x)


def map_and_dot(module: nn.Module, x: Tensor, *vectors: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """H = W x for each head, and its products a·h with some vectors.

    a·(W x) = (Wᵀ a)·x. If x is no wider than h, the products are computed from x, before h. Then their
    gradients come last, when the gradient at h is no longer in memory. For little work the plain order is
    faster.

    Shapes: x `[num_nodes, in_channels]`, each vector `[1, heads, channels]` -> h
    `[num_nodes, heads, channels]`, each product `[num_nodes, heads]`.

    >>> h, (score,) = map_and_dot(nn.Linear(3, 4, bias=False), torch.ones(5, 3), torch.ones(1, 2, 2))
    >>> h.shape, torch.allclose(score, h.sum(-1))
    (torch.Size([5, 2, 2]), True)
    """
    _, heads, channels = vectors[0].shape
    if torch.compiler.is_compiling() or not is_large(x, heads * channels):
        h = module(x).view(-1, heads, channels)
        return h, tuple([(h * vector).sum(-1) for vector in vectors])
    rows = head_rows(*vectors)
    known = weights_of(module)
    if known is not None and known.bias is None and x.size(-1) <= known.weight.size(0):
        products = linear(x, of_few_rows(rows, known.weight))
        return module(x).view(-1, heads, channels), products.chunk(len(vectors), -1)
    h = module(x)
    return h.view(-1, heads, channels), linear(h, rows).chunk(len(vectors), -1)


def dot_of_map(module: nn.Module, x: Tensor, vector: Tensor) -> Tensor:
    """a·(W x) = (Wᵀ a)·x for each head: W x, which may be wider than x, need not exist.

    Shapes: x `[num_rows, in_channels]`, vector `[1, heads, channels]` -> `[num_rows, heads]`.
    """
    known = weights_of(module)
    if known is None or known.bias is not None:
        h: Tensor = module(x)
        return (h.view(-1, *vector.shape[1:]) * vector).sum(-1)
    return linear(x, of_few_rows(head_rows(vector), known.weight))


def head_rows(*vectors: Tensor) -> Tensor:
    """Vectors for each head, `[1, heads, channels]` each, as a matrix `[count * heads, heads * channels]`.

    Its product with h is a·h for each head; entry by entry, the products would fill a tensor as large as h.
    """
    together = torch.cat(vectors)
    count, heads, channels = together.shape
    if heads == 1:  # a gradient through the blocks would have other strides than the vectors
        return together.view(count, channels)
    blocks = torch.diag_embed(together.transpose(1, 2), dim1=1, dim2=2)  # count, heads, heads, channels
    return blocks.view(count * heads, heads * channels)
