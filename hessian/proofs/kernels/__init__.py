"""Kernels: how a program is enclosed on a ball."""
