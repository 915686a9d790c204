"""Optimizers: the named cells of the grid direction x scale, what wraps them, and how to read their steps."""
