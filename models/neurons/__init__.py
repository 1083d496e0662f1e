"""Networks whose nodes are neurons: perceptrons, radial basis functions, any directed acyclic graph."""
