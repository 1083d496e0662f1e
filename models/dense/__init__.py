"""Layers on grids, chains and complete graphs, by torch.nn's names."""
