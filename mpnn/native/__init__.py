"""C from Python: the compiler and its cache, C written by hand, memory and matrix products."""
