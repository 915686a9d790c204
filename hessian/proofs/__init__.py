"""Proofs: one critical point in a ball, its index, and a record that can be replayed; every number is enclosed.

    loss --lowering--> program --kernel--> value, gradient and Hessian on a ball --point--> record

A program is the real function that the loss denotes, as a list of elementary operations with exact constants.  A kernel
encloses it; nothing that is said to be enclosed is ever computed by XLA or rounded to nearest.
"""
