"""A mask on the edges of the graph that a model is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from mpnn.layer.message_passing import MessagePassing
from mpnn.layer.watched import EXPLAIN


@contextmanager
def masked(model: nn.Module, mask: Tensor) -> Iterator[None]:
    """Inside a `with` block, the messages along each edge are weighed in every layer of a model.

    Args:
        model: a layer or a model of layers.
        mask: `[num_edges]`, a weight for each edge of the graph that the model is called with; self loops
            that a layer adds have a weight of 1.

    >>> from mpnn.models import SAGEConv
    >>> conv, edge = SAGEConv(2, 3), torch.tensor([[0], [1]])
    >>> with masked(conv, torch.zeros(1)):
    ...     alone = conv(torch.ones(2, 2), edge)
    >>> torch.equal(alone[0], alone[1])
    True
    """
    layers = [one for one in model.modules() if isinstance(one, MessagePassing) and not one.has_own_edges]
    put = {EXPLAIN: True, "_edge_mask": mask, "_apply_sigmoid": False}
    before = [{name: vars(layer)[name] for name in put if name in vars(layer)} for layer in layers]
    for layer in layers:
        vars(layer).update(put)
    try:
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            for name in put:
                vars(layer).pop(name, None)
            vars(layer).update(old)
