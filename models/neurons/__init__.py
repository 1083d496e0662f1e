"""Networks whose nodes are neurons: perceptrons, radial functions, acyclic graphs, maps, autoencoders."""
"""Networks whose nodes are neurons: perceptrons, radial basis functions, neurons of any acyclic graph."""
