"""Runs: an optimizer applied to a loss step by step, for as long as it takes, with its data and its rate."""
