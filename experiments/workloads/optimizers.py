"""Optimizers by name, as functions of the learning rate.

    adam, swats                                 of gdlab
    optax.adam, optax.contrib.muon              of optax
    adam(b1=.5), lookahead(optax.adam)          with hyperparameters, which may be optimizers
    my_file.py:make_optimizer                   that function of the rate, of a file which is run

A transformation of optax that takes no rate, such as optax.scale_by_adam, is followed by a step of that rate.
"""

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

import gdlab
from experiments.cli.settings import InputError
from experiments.workloads.user_loss import function_of
from gdlab.optimizers import named, of_matrices, recent

OURS = (
    *(name for name in named.__all__ if callable(getattr(named, name))),
    *(*of_matrices.__all__, *recent.__all__, "prodigy", "lookahead", "swats"),
    *("cautious", "hyperball", "mars", "sam", "schedule_free"),
)
LIBRARIES = {"": gdlab, "optax": optax, "optax.contrib": optax.contrib}
RATES = ("learning_rate", "max_learning_rate")  # what the rate of an optimizer is called
COMMAS = re.compile(r",(?![^(]*\))")  # outside of brackets


@dataclass(frozen=True)
class Named:
    """An optimizer as a function of its learning rate."""

    made: Callable[..., Any]
    given: tuple[tuple[str, Any], ...]  # hyperparameters by name, of which those that are `Named` get the same rate

    def __call__(self, rate: Any) -> Any:
        """The optimizer with this rate."""
        given = {name: value(rate) if isinstance(value, Named) else value for name, value in self.given}
        of_rate = next((name for name in inspect.signature(self.made).parameters if name in RATES), None)
        if of_rate in given:
            return self.made(**given)
        if of_rate is not None:
            return self.made(**{of_rate: rate}, **given)
        made = self.made(**given)
        has_rate = any(isinstance(value, Named) for _, value in self.given)
        return made if has_rate else optax.chain(made, optax.scale_by_learning_rate(rate))


def named_optimizers(texts: Sequence[str]) -> dict[str, Any]:
    """By name, the functions learning rate -> optimizer.

    Raises:
        InputError: for no name, one of no optimizer, hyperparameters that it does not take, or what no run can use.
    """
    names = [name.strip() for text in texts for name in COMMAS.split(text) if name.strip()]
    if not names:
        raise InputError("optimizers must name at least one optimizer, such as adam; got none")
    return {name: tried(name) for name in names}


def tried(name: str) -> Callable[[Any], Any]:
    """The optimizer of that name, after a look at whether a run can use it, which costs no computation."""
    of_file = ".py:" in name
    made = function_of(name) if of_file else _named(_parsed(name), name)

    def run(rate):
        run = gdlab.minimize(lambda x: jnp.sum(x["a"] ** 2), made(rate), {"a": jnp.ones((2, 2))}, 1)
        return run.params

    try:
        jax.eval_shape(run, 0.1)
    except InputError:
        raise
    except Exception as error:  # other libraries and the user's own code may raise anything
        said = " ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        raise InputError(f"optimizers must be usable by name; {name} raised {said}") from None
    return made


def known() -> dict[str, Callable[..., Any]]:
    """All names, and what they make an optimizer."""
    found = {name: getattr(gdlab, name) for name in OURS}
    for library in ("optax", "optax.contrib"):
        of = LIBRARIES[library]
        for name in sorted(vars(of)):
            value = getattr(of, name)
            if not name.startswith("_") and inspect.isfunction(value) and _makes_one(value):
                found[f"{library}.{name}"] = value
    return found


def _makes_one(function):
    """Whether a function of optax says that it returns a transformation, and takes none apart."""
    said = str(inspect.signature(function).return_annotation)
    return "Transformation" in said


def _parsed(text):
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        raise InputError(f"optimizers must be names, such as adam or adam(b1=.5); got {text!r}") from None


def _named(node, text):
    """What an expression names."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    name = ast.unparse(call.func)
    made = known().get(name)
    if made is None:
        close = difflib.get_close_matches(name, known(), 1, 0.5)
        mean = f": did you mean {close[0]}?" if close else ""
        raise InputError(
            f"optimizers must be names among {', '.join(OURS)}, or of optax or optax.contrib, such as optax.adam, or"
            f" FILE.py:make_optimizer; got {text!r}{mean}"
        )
    takes = {
        label: one
        for label, one in inspect.signature(made).parameters.items()
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    given = {}
    first = [label for label in takes if label not in RATES]
    for label, value in [*zip(first, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]:
        if label not in takes:
            close = difflib.get_close_matches(str(label), takes, 1, 0.5)
            mean = f": did you mean {close[0]}?" if close else ""
            raise InputError(f"{name} must get hyperparameters among {', '.join(takes)}; got {label!r}{mean}")
        given[label] = _value(value, text)
    missing = [
        label for label, one in takes.items() if one.default is one.empty and label not in given and label not in RATES
    ]
    if missing:
        shown = ", ".join(f"{label}=..." for label in missing)
        raise InputError(
            f"optimizers must have all that they need; {name} needs {name}({shown}): numbers, or names of optimizers;"
            " what is neither a function of FILE.py:make_optimizer gives"
        )
    return Named(made, tuple(given.items()))


def _value(node, text):
    """A hyperparameter: a number, a word, a truth, or an optimizer."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _named(node, text)
