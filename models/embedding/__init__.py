"""Vectors of nodes, learned from walks."""
