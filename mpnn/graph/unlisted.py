"""Graphs that know their edges by something shorter than a list of them."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

import torch
from torch import Tensor

from mpnn.graph.facts import Facts
from mpnn.graph.graph import Graph
from mpnn.graph.incidence import Incidence


class _Abstract(ABCMeta):
    """Abstract methods, and an `isinstance` as cheap as any: every call of a layer asks for the topology."""

    __instancecheck__ = type.__instancecheck__  # past the registry of classes that only pose as subclasses


class Unlisted(Graph, metaclass=_Abstract):
    """A graph whose `edge_index` is made only when it is asked for."""

    def __init__(self, facts: Facts, num_edges: int, device: torch.device) -> None:
        # Not Graph.__init__, which checks an edge_index: there is none.
        Incidence.__init__(self, None, facts)
        self._num_edges, self._device, self._is_on_cpu = num_edges, device, device.type == "cpu"

    @abstractmethod
    def _enumerate_edges(self) -> Tensor:
        """`[2, num_edges]` int64."""

    @property
    def edge_index(self) -> Tensor:
        """`[2, num_edges]` int64: sources in row 0, destinations in row 1."""
        if self._edge_index is None:
            self._edge_index = self._enumerate_edges()
        return self._edge_index

    @property
    def num_edges(self) -> int:
        """How many edges there are."""
        return self._num_edges

    @property
    def device(self) -> torch.device:
        """Where the edges are, or will be."""
        return self._device

    @property
    def is_on_cpu(self) -> bool:
        """Whether that is the host's memory."""
        return self._is_on_cpu
