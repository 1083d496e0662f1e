"""What a node makes of its messages."""

from mpnn.aggregate.aggregators import AGGREGATORS, Aggregator, scatter, softmax

__all__ = ["AGGREGATORS", "Aggregator", "scatter", "softmax"]
