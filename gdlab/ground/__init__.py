"""What both packages stand on: leaves of models, boxes, results, names that are imported late, options of compilers.

`hessian` imports nothing else of `gdlab`.
"""
