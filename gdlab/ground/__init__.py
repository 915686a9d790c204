"""What both packages stand on: checks, leaves of models, boxes, results, names imported late, options of compilers.

`hessian` imports nothing else of `gdlab`, but the stores of `gdlab.storage`.
"""
