"""Parts of layers: linear maps, small networks, activations, caches and checks of arguments."""
