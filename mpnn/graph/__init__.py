"""What is connected to what: the graph, what it keeps, and the forms that it comes from."""

from mpnn.graph.graph import Graph

__all__ = ["Graph"]
