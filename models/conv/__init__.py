"""Layers on any graph."""
