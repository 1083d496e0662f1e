"""What a node makes of its messages."""

from mpnn.aggregate.aggregators import AGGREGATORS, Aggregator, scatter, softmax
from mpnn.aggregate.reduction import PerNode, Reduction

__all__ = ["AGGREGATORS", "Aggregator", "PerNode", "Reduction", "scatter", "softmax"]
