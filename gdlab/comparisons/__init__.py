"""Comparisons: what the runs of a sweep say about the optimizers in it, and what they leave open."""
