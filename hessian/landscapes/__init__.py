"""Landscapes: all minima and the saddles between them, each orbit once, and the graph that joins them."""
