"""Networks whose nodes are neurons: perceptrons, radial basis functions, any directed acyclic graph."""
"""Networks whose nodes are neurons: maps of units, and codes that layers of neurons learn."""
