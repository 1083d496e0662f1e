"""Networks whose nodes are neurons: perceptrons, radial basis functions, neurons of any directed acyclic graph."""
