"""C from Python: a compiler, its cache, and the one program that is not generated: sorting edges by row."""
