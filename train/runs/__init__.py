"""A run: its settings, its model, its folder."""
