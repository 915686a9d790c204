"""experiments: questions about gradient descent, each answered by one file with a figure, a table and a verdict.

`gdlab` and `hessian` meet here and in the tests.  `python -m experiments --help` lists the commands.
"""
