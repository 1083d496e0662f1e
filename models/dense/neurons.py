"""The linear layer as messages between neurons, with all connections or some of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing
from mpnn.functional import linear
from mpnn.layer.names import also_named
from mpnn.layer.shortcut import goes_dense, straight
from mpnn.models.parts.checks import at_least, ranges
from mpnn.topology import complete_bipartite

Device = torch.device | str | None


@also_named(in_channels="in_features", out_channels="out_features")
@ranges(in_features=at_least(0), out_features=at_least(0))
class Linear(nn.Linear, MessagePassing):
    """y_i = Σ_{j→i} w_ij x_j + b_i, with one number w_ij for every connection.

    Neurons are nodes, and the samples of a batch are their features. Without a graph every input neuron has
    an edge to every output neuron: `torch.nn.Linear`, with its arguments and state_dict. With a `graph` from
    input to output neurons, only the weights of its edges exist: a pruned layer, a layer with local receptive
    fields.

    Args:
        in_features: the number of input neurons.
        out_features: the number of output neurons.
        bias: whether to add b.
        graph: which neurons are connected; `bipartite` of size `(in_features, out_features)`.

    Shapes: x `[*, in_features]` -> `[*, out_features]`; weight `[out_features, in_features]`, or with a graph
    `[num_edges]`.

    Raises:
        ValueError: a graph of another size.

    >>> Linear(4, 2)(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    >>> edges = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1]])
    >>> pruned = Linear(4, 2, graph=Graph(edges, (4, 2)))
    >>> pruned.weight.shape, pruned(torch.ones(3, 4)).shape
    (torch.Size([4]), torch.Size([3, 2]))
    """

    has_own_edges = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        graph: Graph | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        if graph is None:
            graph = complete_bipartite(in_features, out_features)
        elif graph.size != (in_features, out_features):
            raise ValueError(
                f"graph has size {graph.size}, but must be (in_features, out_features) = "
                f"{(in_features, out_features)}."
            )
        else:
            self.weight = nn.Parameter(self.weight.new_empty(graph.num_edges))
        self.graph = graph
        self.reset_parameters()

    @classmethod
    def pruned(cls, layer: nn.Linear, keep: Tensor) -> Linear:
        """A layer with the weights of `layer` where `keep [out_features, in_features]` is true.

        >>> layer = torch.nn.Linear(4, 2)
        >>> Linear.pruned(layer, layer.weight.abs() > 0.1)(torch.ones(3, 4)).shape
        torch.Size([3, 2])
        """
        if keep.shape != layer.weight.shape or keep.dtype != torch.bool:
            raise ValueError(
                f"keep must be boolean {list(layer.weight.shape)}, got {keep.dtype} {list(keep.shape)}."
            )
        dst, src = keep.nonzero().T
        size = (layer.in_features, layer.out_features)
        graph = Graph(torch.stack([src, dst]), size)
        weight = layer.weight
        new = cls(*size, layer.bias is not None, weight.device, weight.dtype, graph=graph)
        with torch.no_grad():
            new.weight.copy_(weight[dst, src])
            if layer.bias is not None:
                new.bias.copy_(layer.bias)
        return new

    def reset_parameters(self) -> None:
        """Draw the parameters anew, each within ±1/√in, where `in` counts the connections of its neuron."""
        if self.weight.dim() == 2:
            super().reset_parameters()
            return
        bound = self.graph.in_degree.clamp(min=1).to(self.weight.dtype).rsqrt().to(self.weight.device)
        with torch.no_grad():
            dst = self.graph.dst.to(self.weight.device)
            self.weight.uniform_(-1, 1).mul_(bound[dst])
            if self.bias is not None:
                self.bias.uniform_(-1, 1).mul_(bound)

    def message(self, x_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        return w[:, None] * x_j

    def forward(self, input: Tensor) -> Tensor:
        if self.weight.dim() == 2 and goes_dense(self, Linear):
            return straight(self, "linear map", linear, input, self.weight, self.bias)
        samples = input.flatten(0, -2) if input.dim() > 1 else input[None]
        graph = self.graph.to(input.device)
        out: Tensor = self.propagate(graph, x=(samples.T.contiguous(), None), w=self.weight.flatten())
        out = out.T if self.bias is None else out.T + self.bias
        return out.reshape(*input.shape[:-1], self.out_features)
