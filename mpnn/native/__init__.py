"""C from Python: a compiler, its cache, and the programs that are not generated."""
