"""Embeddings of nodes, learned from random walks."""
