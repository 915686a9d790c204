"""Trials: a study of optuna whose batches are one compiled call each.

    ask n points  ->  vmap(fn)(points)  ->  tell n values

Any study with `ask` and `tell` will do; this file imports none.
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.arguments import function, whole
from gdlab.axes import range_of


def trials(study: Any, fn: Callable[..., jax.Array], count: int, /, *, batch: int = 32, **ranges: Any) -> Any:
    """Ask a study for trials, compute them batch by batch in one compiled program, and tell it the values.

    A trial whose value is not finite is told as failed, so that a sampler learns nothing wrong from it.

    Args:
        study: an `optuna.Study`, or what has its `ask` and `tell`; of samplers that wait for values, such as TPE, ask
            for `constant_liar=True`, lest a batch repeats itself.
        fn: `fn(**one number per range) -> value`, a scalar, or a vector with one number per objective; traced once.
        count: how many trials, at least 1.
        batch: how many at a time, at least 1; the last batch may have fewer.
        **ranges: by name, `(low, high)` or `(low, high, "log")`, as for `gdlab.draws`.

    Returns:
        The study.

    Raises:
        TypeError: for a function that is none.
        ValueError: for a count, a batch or a range that is not allowed.

    >>> class Study:
    ...     told = ()
    ...     def ask(self):
    ...         return self
    ...     def suggest_float(self, name, low, high, log=False):
    ...         return high
    ...     def tell(self, trial, value):
    ...         self.told += (value,)
    >>> trials(Study(), lambda lr: 2 * lr, 3, batch=2, lr=(0.0, 1.5)).told
    (3.0, 3.0, 3.0)
    """
    function("fn", fn, "fn(lr=...) -> value")
    count, batch = whole("count", count), whole("batch", batch)
    if not ranges:
        msg = 'ranges must name at least one hyperparameter, such as lr=(1e-4, 1.0, "log"); got none'
        raise ValueError(msg)
    bounds = {name: range_of(name, given) for name, given in ranges.items()}
    # A list, because a compiled function would sort the names of a dict.
    compute = jax.jit(jax.vmap(lambda point: fn(**dict(zip(bounds, point, strict=True)))))
    for first in range(0, count, batch):
        asked = [study.ask() for _ in range(min(batch, count - first))]
        rows = [
            [trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in bounds.items()]
            for trial in asked
        ]
        rows += [rows[0]] * (batch - len(rows))  # one shape, so that one program serves the last batch as well
        values = np.asarray(compute(list(jnp.asarray(rows, float).T)), float)
        for trial, value in zip(asked, values, strict=False):
            _tell(study, trial, value)
    return study


def _tell(study, trial, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna warns of the NaN by which it is told that a trial failed
        study.tell(trial, np.where(np.isfinite(value).all(), value, np.nan).tolist())
