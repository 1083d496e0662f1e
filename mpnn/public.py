"""The public names of `mpnn`."""

from mpnn import functional, topology
from mpnn.aggregate.aggregators import Aggregator, scatter, softmax
from mpnn.backends import backend
from mpnn.explain import explain
from mpnn.graph.adjacency import as_graph
from mpnn.graph.csr import CSR
from mpnn.graph.graph import Graph
from mpnn.graph.hetero import HeteroGraph, HeteroPart
from mpnn.interop import as_pyg
from mpnn.interop.accelerate import accelerate, acceleration
from mpnn.layer.energy import EnergyLayer, energy
from mpnn.layer.iterate import EachSweep, Iterated, iterate
from mpnn.layer.message_passing import MessagePassing, propagate
from mpnn.native.memory import keep_freed_memory
from mpnn.native.pool import release_kept_memory
from mpnn.sampling.hetero import HeteroSample
from mpnn.sampling.loader import NeighborLoader
from mpnn.sampling.neighbors import sample_neighbors
from mpnn.sampling.sample import Sample
from mpnn.sampling.walks import random_walks
from mpnn.step.draws import uniforms
from mpnn.step.schedule import Schedule

__all__ = [
    "CSR",
    "Aggregator",
    "EachSweep",
    "EnergyLayer",
    "Graph",
    "HeteroGraph",
    "HeteroPart",
    "HeteroSample",
    "Iterated",
    "MessagePassing",
    "NeighborLoader",
    "Sample",
    "Schedule",
    "accelerate",
    "acceleration",
    "as_graph",
    "backend",
    "energy",
    "explain",
    "functional",
    "iterate",
    "keep_freed_memory",
    "propagate",
    "random_walks",
    "release_kept_memory",
    "sample_neighbors",
    "scatter",
    "softmax",
    "topology",
    "uniforms",
]

as_pyg.watch()
