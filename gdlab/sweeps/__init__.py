"""Sweeps: one function on every point of a grid of axes, batched, stored, labelled."""
