"""What both packages stand on: results that say what they are, names that are imported late, compilation in a hurry.

`hessian` imports nothing else of `gdlab`.
"""
