"""How the kernels of a backend are made and called, whatever their language."""
