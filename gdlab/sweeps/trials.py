"""Trials: a study of optuna whose batches are one compiled call each.

    ask n points  ->  vmap(fn)(points)  ->  tell n values

Any study with `ask` and `tell` will do; this file imports none.  No trial is left running: one that
gets no value is told that it failed.
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Number
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.ground.checks import function, whole
from gdlab.ground.leaves import shown
from gdlab.sweeps.axes import names_of, range_of

Study = TypeVar("Study")  # an `optuna.Study`, or what has its `ask` and `tell`


def trials(study: Study, fn: Callable[..., jax.Array], count: int, /, *, batch: int = 32, **ranges: Any) -> Study:
    """Ask a study for trials, compute them batch by batch in one compiled program, and tell it the values.

    A trial whose value is not finite is reported as failed, so that it does not mislead the sampler; so are the
    trials of a batch that ends in an exception or is interrupted.

    Args:
        study: an `optuna.Study`, or what has its `ask` and `tell`; of samplers that wait for values, such as TPE, ask
            for `constant_liar=True`, lest a batch repeats itself.
        fn: `fn(**one value per range) -> value`: one real number, or as many as the study has objectives, as a vector
            or a tuple; traced once, or once for every choice of names.
        count: how many trials, at least 1.
        batch: how many at a time, at least 1; the last batch may have fewer.
        **ranges: by name, `(low, high)` or `(low, high, "log")`, as for `gdlab.draws`, whose values are whole numbers
            where low and high are; or names, as for an axis of `gdlab.sweep`: a sequence of strings, or a mapping from
            names to anything, which `fn` gets untraced.

    Returns:
        The study.

    Raises:
        TypeError: for a function that is none, or that returns something else; no trial is asked for then.
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
    choices = {name: _names(name, given) for name, given in ranges.items() if _is_of_names(given)}
    spans = {name: _span(name, given) for name, given in ranges.items() if name not in choices}
    ask = getattr(study, "ask", None)
    if not (callable(ask) and callable(getattr(study, "tell", None))):
        msg = f"study must have ask and tell, as one of optuna has; got {shown(study)}"
        raise TypeError(msg)
    objectives = len(study.directions) if hasattr(study, "directions") else None
    programs = _Programs(fn, choices, spans, batch, objectives)
    programs.trace(next(itertools.product(*choices.values())))  # looks at what comes back, before a trial is asked for
    for first in range(0, count, batch):
        with _told(study, objectives) as asked:
            for _ in range(min(batch, count - first)):
                asked.append(ask())
            picked, rows = zip(*(_suggested(trial, choices, spans) for trial in asked), strict=True)
            values = programs.values(picked, rows)
            for value in values:
                _tell(study, asked[0], value if np.isfinite(value).all() else np.full_like(value, np.nan))
                del asked[0]
    return study


class _Span(NamedTuple):
    """A range of numbers."""

    low: float
    high: float
    log: bool
    dtype: np.dtype  # of whole numbers or of floats


def _is_of_names(given):
    strings = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
    return bool(given) and (isinstance(given, Mapping) or strings)


def _names(name, given):
    return names_of(name, given, given.values() if isinstance(given, Mapping) else given)


def _span(name, given):
    low, high, log = range_of(name, given, ", or names, such as ['gd', 'adam'] or {16: 16, 64: 64}")
    if not (isinstance(low, Integral) and isinstance(high, Integral)):
        return _Span(float(low), float(high), log, jax.dtypes.canonicalize_dtype(float))
    dtype = jax.dtypes.canonicalize_dtype(int)
    whole(f"the lowest of {name}", int(low), int(jnp.iinfo(dtype).min))
    whole(f"the highest of {name}", int(high), int(low), int(jnp.iinfo(dtype).max))
    return _Span(int(low), int(high), log, dtype)


def _suggested(trial, choices, spans):
    """The names and the numbers that a trial is about."""
    picked = tuple(trial.suggest_categorical(name, list(labels)) for name, labels in choices.items())
    numbers = []
    for name, span in spans.items():
        suggest = trial.suggest_int if isinstance(span.low, int) else trial.suggest_float
        numbers.append(suggest(name, span.low, span.high, log=span.log))
    return picked, numbers


@contextlib.contextmanager
def _told(study: Any, objectives: int | None) -> Iterator[list[Any]]:
    """The trials that wait for a value; those that still do when something ends the batch have failed."""
    waiting: list[Any] = []
    try:
        yield waiting
    finally:
        for trial in waiting:
            with contextlib.suppress(Exception):  # what ended the batch is what is raised
                _tell(study, trial, np.full(objectives, np.nan) if objectives else np.nan)


def _tell(study, trial, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna warns of the NaN by which it is told that a trial failed
        study.tell(trial, np.asarray(value).tolist())


class _Programs:
    """The function over a batch of numbers, traced and compiled once for every choice of names."""

    def __init__(self, fn, choices, spans, batch, objectives):
        self.fn, self.choices, self.spans, self.batch, self.objectives = fn, choices, spans, batch, objectives
        self.traced: dict[tuple, Any] = {}
        self.compiled: dict[tuple, Any] = {}

    def trace(self, picked):
        """The program of some names; TypeError where the function returns something else than values."""
        if picked not in self.traced:
            names = {name: self.choices[name][label] for name, label in zip(self.choices, picked, strict=True)}

            def one(point):
                return self._value(self.fn(**dict(zip(self.spans, point, strict=True)), **names))

            columns = [jax.ShapeDtypeStruct((self.batch,), span.dtype) for span in self.spans.values()]
            # The numbers are a list, because a compiled function would sort the names of a dict.
            self.traced[picked] = jax.jit(jax.vmap(one, axis_size=self.batch)).trace(columns)
        return self.traced[picked]

    def values(self, picked, rows):
        """The values of some trials, in their order."""
        values = [np.nan] * len(rows)
        for names in dict.fromkeys(picked):
            places = [place for place, chosen in enumerate(picked) if chosen == names]
            filled = [rows[place] for place in (places * self.batch)[: self.batch]]  # one shape serves all batches
            columns = [
                np.array(column, span.dtype)
                for column, span in zip(zip(*filled, strict=True), self.spans.values(), strict=True)
            ]
            if names not in self.compiled:
                self.compiled[names] = self.trace(names).lower().compile()
            found = np.asarray(self.compiled[names](columns), float)
            for place, value in zip(places, found, strict=False):
                values[place] = value
        return values

    def _value(self, returned):
        """The returned value as a number or a vector; TypeError unless it has one number for each objective."""
        parts = returned if isinstance(returned, tuple | list) else [returned]
        if parts and all(map(_is_real, parts)) and (parts[0] is returned or all(np.ndim(part) == 0 for part in parts)):
            value = jnp.asarray(returned)
            wanted = self.objectives or max(value.size, 1)
            if value.shape == (wanted,) or (value.shape == () and wanted == 1):
                return value
        number = "one real number" if self.objectives in (None, 1) else f"{self.objectives} real numbers"
        came = jax.tree.map(lambda leaf: jax.typeof(leaf) if _is_real(leaf) else leaf, returned)
        msg = f"fn must return {number}, one for each objective of the study; got {shown(came)}"
        raise TypeError(msg)


def _is_real(value):
    kinds = jnp.floating, jnp.integer, jnp.bool_
    array = isinstance(value, jax.Array | np.ndarray | np.generic | Number)
    return array and any(jnp.issubdtype(jnp.result_type(value), kind) for kind in kinds)
