"""Autoencoders: layers of neurons, and their way back to the input (Hinton and Salakhutdinov, 2006)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing
from mpnn.functional import linear
from mpnn.layer.shortcut import goes_dense, straight
from mpnn.models.dense.neurons import Linear
from mpnn.models.parts.activation import Activation
from mpnn.models.parts.activation import activation as as_module
from mpnn.models.parts.checks import check_count, check_probability


class MaskingNoise(nn.Module):
    """In training every entry becomes 0 with probability p; the others stay (Vincent et al., 2010).

    Unlike dropout it does not scale what stays: a denoising autoencoder is to fill in what is missing.

    >>> MaskingNoise(1.0)(torch.ones(2, 3)).sum()
    tensor(0.)
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_probability("p", p)
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        # The same numbers wherever the entries of x lie in memory.
        return x.masked_fill(torch.rand_like(x, memory_format=torch.contiguous_format) < self.p, 0.0)

    def extra_repr(self) -> str:
        """The probability."""
        return f"{self.p}"


class Mirrored(MessagePassing):
    """x_j = Σ_i w_ij h_i + c_j: the connections of a layer, run the other way with the same weights.

    Args:
        graph: that of the layer, from its inputs to its outputs.
        bias: whether to add c.

    Shapes: h `[*, out_features]` -> `[*, in_features]`; `weight` is that of the layer,
    `[out_features, in_features]` or `[num_edges]`.

    >>> layer = Linear(4, 2)
    >>> Mirrored(layer.graph)(torch.ones(3, 2), layer.weight).shape
    torch.Size([3, 4])
    """

    has_own_edges = True

    def __init__(self, graph: Graph, bias: bool = True) -> None:
        super().__init__("sum")
        self.graph = graph.reverse()
        self.bias = nn.Parameter(torch.zeros(graph.num_src)) if bias else None

    def message(self, h_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij h_i, from output i to input j."""
        return w[:, None] * h_j

    def forward(self, h: Tensor, weight: Tensor) -> Tensor:
        if weight.dim() == 2 and goes_dense(self, Mirrored):
            return straight(self, "linear map", linear, h, weight.T, self.bias)
        samples = h.flatten(0, -2) if h.dim() > 1 else h[None]
        graph = self.graph.to(h.device)
        out: Tensor = self.propagate(graph, h=(samples.T.contiguous(), None), w=weight.flatten())
        out = out.T if self.bias is None else out.T + self.bias
        return out.reshape(*h.shape[:-1], graph.num_dst)

    def extra_repr(self) -> str:
        """The numbers of neurons."""
        return f"{self.graph.num_src}, {self.graph.num_dst}, bias={self.bias is not None}"


class AutoencoderLayer(nn.Module):
    """h = f(W x + b),   x' = g(V h + c); tied, V is the transpose of W.

    Args:
        in_features: the width of x.
        out_features: the width of h.
        activation: f, a name of `torch.nn` such as "relu", a function, or None.
        out_activation: g.
        tied: whether the way back has the weights of the way there.
        graph: which neurons are connected, bipartite of size `(in_features, out_features)`; by default all.
            The way back has the same connections.
        corruption: the share of x that is masked in training before it is encoded; or a module that spoils x.

    Shapes: x `[*, in_features]`, h `[*, out_features]`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: Activation = None,
        out_activation: Activation = None,
        tied: bool = False,
        graph: Graph | None = None,
        corruption: float | nn.Module = 0.0,
    ) -> None:
        super().__init__()
        self.corruption = _noise(corruption)
        self.encoder = Linear(in_features, out_features, graph=graph)
        self.decoder: Mirrored | Linear
        if tied:
            self.decoder = Mirrored(self.encoder.graph)
        else:
            back = None if graph is None else graph.reverse()
            self.decoder = Linear(out_features, in_features, graph=back)
        self.activation, self.out_activation = as_module(activation), as_module(out_activation)

    def encode(self, x: Tensor) -> Tensor:
        """`[*, in_features]` -> `[*, out_features]`."""
        check_width("x", x, self.encoder.in_features)
        h: Tensor = self.activation(self.encoder(x))
        return h

    def decode(self, h: Tensor) -> Tensor:
        """`[*, out_features]` -> `[*, in_features]`."""
        check_width("h", h, self.encoder.out_features)
        back = self.decoder
        found: Tensor = back(h, self.encoder.weight) if isinstance(back, Mirrored) else back(h)
        x: Tensor = self.out_activation(found)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """What is made of a spoiled x, `[*, in_features]`."""
        return self.decode(self.encode(self.corruption(x)))


class Autoencoder(nn.Module):
    """A stack of layers, there and back: the narrowest in the middle is the code.

    Args:
        widths: of the input, the hidden layers and the code.
        activation: of the hidden layers, there and back: a name of `torch.nn` such as "relu", a function, or
            None.
        code_activation: of the code; by default none.
        out_activation: of the reconstruction; by default none, so that a loss may take logits.
        tied: whether the way back has the weights of the way there, on the reversed graph.
        graphs: which neurons of a layer are connected with those of the next, for each layer a bipartite
            graph, or None for all.
        corruption: the share of the input that is masked in training (Vincent et al., 2010); or a module; or
            one of these for each layer, which `stages` uses.

    Shapes: x `[*, widths[0]]`, code `[*, widths[-1]]`.

    Raises:
        TypeError, ValueError: fewer than two widths, or one that is no whole number from 1 on.

    >>> model = Autoencoder([8, 6, 2], tied=True)
    >>> model.encode(torch.ones(5, 8)).shape, model(torch.ones(5, 8)).shape
    (torch.Size([5, 2]), torch.Size([5, 8]))
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Activation = "relu",
        *,
        code_activation: Activation = None,
        out_activation: Activation = None,
        tied: bool = False,
        graphs: Sequence[Graph | None] | None = None,
        corruption: float | nn.Module | Sequence[float | nn.Module] = 0.0,
    ) -> None:
        super().__init__()
        check_widths("widths", widths, 2)
        depth = len(widths) - 1
        there = [activation] * (depth - 1) + [code_activation]
        back = [out_activation] + [activation] * (depth - 1)
        one = not isinstance(corruption, list | tuple)
        noise: list[Any] = [corruption] + [0.0] * (depth - 1) if one else [*corruption]  # type: ignore[misc]
        links = [None] * depth if graphs is None else list(graphs)
        for name, given in (("graphs", links), ("corruption", noise)):
            if len(given) != depth:
                raise ValueError(
                    f"{name} has {len(given)} entries, but the widths {list(widths)} make {depth} layers."
                )
        self.layers = nn.ModuleList(
            AutoencoderLayer(
                widths[k],
                widths[k + 1],
                activation=there[k],
                out_activation=back[k],
                tied=tied,
                graph=links[k],
                corruption=noise[k],
            )
            for k in range(depth)
        )
        as_module(activation)  # or the error, also where there is no hidden layer
        if activation == "relu":
            # `Linear` draws within ±1/√in; a signal keeps its size through ReLUs within ±√(6/in) (He et al.,
            # 2015), without which eight layers hardly begin to learn.
            for module in self.modules():
                if isinstance(module, Linear):
                    module.weight.data.mul_(math.sqrt(6))

    def encode(self, x: Tensor) -> Tensor:
        """The code, `[*, widths[-1]]`."""
        for layer in self._layers():
            x = layer.encode(x)
        return x

    def decode(self, code: Tensor) -> Tensor:
        """The input that a code stands for, `[*, widths[0]]`."""
        for layer in reversed(self._layers()):
            code = layer.decode(code)
        return code

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, in training that of a spoiled x."""
        return self.decode(self.encode(self._layers()[0].corruption(x)))

    def stages(self, x: Tensor) -> Iterator[tuple[AutoencoderLayer, Tensor]]:
        """Each layer as an autoencoder of its own, with what it is to be trained on.

        A layer's input is what the layers before it make of x at the moment when the loop comes to it: train
        a layer before the loop goes on (Bengio et al., 2007).

        >>> model = Autoencoder([8, 6, 2], "sigmoid")
        >>> for layer, h in model.stages(torch.rand(20, 8)):
        ...     optimizer = torch.optim.Adam(layer.parameters())
        ...     torch.nn.functional.mse_loss(layer(h), h).backward()
        ...     optimizer.step()
        """
        for layer in self._layers():
            yield layer, x
            with torch.no_grad():
                x = layer.encode(x)

    def _layers(self) -> list[AutoencoderLayer]:
        return list(self.layers)  # type: ignore[arg-type]


def check_widths(name: str, widths: Any, least: int) -> None:
    """Require a sequence of at least `least` whole numbers from 1 on.

    Raises:
        TypeError, ValueError: it is something else.

    >>> check_widths("widths", [3], 2)
    Traceback (most recent call last):
    ValueError: widths must be at least 2 whole numbers, got [3].
    """
    if not isinstance(widths, list | tuple) or len(widths) < least:
        raise ValueError(f"{name} must be at least {least} whole numbers, got {widths!r}.")
    for k, width in enumerate(widths):
        check_count(f"{name}[{k}]", width, 1)


def check_width(name: str, x: Tensor, width: int) -> None:
    """Require a tensor `[*, width]`.

    >>> check_width("x", torch.ones(2, 3), 4)
    Traceback (most recent call last):
    ValueError: x must be [*, 4], got shape [2, 3].
    """
    if x.dim() < 1 or x.size(-1) != width:
        raise ValueError(f"{name} must be [*, {width}], got shape {list(x.shape)}.")


def _noise(given: Any) -> nn.Module:
    if isinstance(given, nn.Module):
        return given
    check_probability("corruption", given)
    return MaskingNoise(given)
