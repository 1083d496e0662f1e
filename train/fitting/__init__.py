"""How a model learns: the loop, the optimiser, checkpoints and when to stop."""
