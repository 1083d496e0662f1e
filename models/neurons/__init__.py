"""Networks whose nodes are neurons: perceptrons, radial functions, acyclic graphs, maps, autoencoders."""
