"""Optimizers by name, as functions of the learning rate.

    adam, swats                                 of gdlab
    optax.adam, optax.contrib.muon              of optax
    adam(b1=.5), lookahead(optax.adam)          with hyperparameters, which may be optimizers
    optax.chain(optax.clip(1.), optax.sgd)      one after the other
    my_file.py:make_optimizer                   that function of the rate, of a file which is run

A transformation of optax that takes no rate, such as optax.scale_by_adam, is followed by a step of that rate.  What
optax asks for without a default of its own is in `ASSUMED`, so that `optax.clip` alone runs; what no number, word or
optimizer says, such as a function, is refused.
"""

import ast
import difflib
import functools
import inspect
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

import gdlab
from gdlab.ground.leaves import shown
from gdlab.optimizers import named, of_matrices, recent

from ..cli.settings import InputError
from ..workloads.user_loss import function_of

OURS = (
    *(name for name in named.__all__ if callable(getattr(named, name))),
    *(*of_matrices.__all__, *recent.__all__, "prodigy", "lookahead", "swats"),
    *("cautious", "hyperball", "mars", "sam", "schedule_free"),
)
LIBRARIES = {"": gdlab, "optax": optax, "optax.contrib": optax.contrib}
RATES = ("learning_rate", "max_learning_rate")  # what the rate of an optimizer is called
SGD = "optax.sgd"
FILE = "names or FILE.py:make_optimizer, a function of the rate"
FUNCTIONS = types.FunctionType, functools.partial  # optax.nadam is optax.adam with a hyperparameter
ASSUMED = {  # what is taken where optax has no default: the optimizer inside, and the numbers of its own examples
    **dict.fromkeys(("inner", "inner_factory", "optimizer", "base_optimizer", "fast_optimizer", "tx"), SGD),
    "adv_optimizer": "optax.chain(optax.contrib.normalize, optax.sgd(learning_rate=0.05))",
    "clipping": 0.01,
    "decay": 0.9,
    "eta": 0.01,
    "freeze_mask": False,  # nothing is frozen
    "gamma": 0.55,
    "mask": True,  # everything is transformed
    "max_backtracking_steps": 15,
    "max_consecutive_errors": 5,
    "max_delta": 1.0,
    "max_linesearch_steps": 15,
    "max_norm": 1.0,
    "measure": lambda updates: updates,
    "measure_name": "updates",
    "param_labels": "all",
    "slow_step_size": 0.5,
    "should_transform_fn": lambda step, **extra: step >= 0,  # at every step
    "step_size": 1.0,
    "step_size_fn": optax.constant_schedule(1.0),
    "sync_period": 6,
    "threshold": 1.0,
    "transforms": {"all": SGD},
}
WANT = {  # what no run on a loss alone can give
    "optax.MultiSteps": "a function of FILE.py:make_optimizer, which returns its `gradient_transformation()`",
    "optax.monitor": "what is to be measured, by name, and changes no step",
    **dict.fromkeys(
        ("optax.contrib.dpsgd", "optax.contrib.differentially_private_aggregate"),
        "the gradient of each example, and a run has the gradient of the loss",
    ),
    "optax.contrib.scale_by_muon": "parameters that are all matrices; optax.contrib.muon takes any",
    "optax.freeze": "the mask of what is frozen, and an optimizer for the rest: optax.selective_transform takes both",
    "optax.lookahead": "pairs of parameters, optax.LookaheadParams; lookahead takes any",
    "optax.named_chain": "names of its parts; optax.chain takes the parts alone",
}
COMMAS = re.compile(r",(?![^(]*\))")  # outside of brackets


@dataclass(frozen=True)
class Named:
    """An optimizer as a function of its learning rate."""

    made: Callable[..., Any]
    given: tuple[tuple[str, Any], ...]  # hyperparameters by name, of which those that are `Named` get the same rate
    parts: tuple[Any, ...] = ()  # what stands before them without a name: the parts of a chain

    def __call__(self, rate: Any) -> Any:
        """The optimizer with this rate."""
        made = self.without_step(rate)
        return made if self.has_rate else optax.chain(made, optax.scale_by_learning_rate(rate))

    def without_step(self, rate: Any) -> Any:
        """The same; where nothing in it takes the rate, it is not yet used."""
        if self.parts:
            return self.made(*(part.without_step(rate) if isinstance(part, Named) else part for part in self.parts))
        if "inner_factory" in dict(self.given):  # it wants the function itself, and gives one of the same arguments
            return self.made(**dict(self.given))(rate)
        given = {name: _at(rate, value) for name, value in self.given}
        of_rate = self.name_of_rate
        return self.made(**({of_rate: rate} if of_rate else {}), **given)

    @property
    def name_of_rate(self) -> str | None:
        """The argument that gets the rate, where there is one and it has no number yet."""
        found = [name for name in inspect.signature(self.made).parameters if name in RATES]
        return found[0] if found and found[0] not in dict(self.given) else None

    @property
    def has_rate(self) -> bool:
        """Whether the rate, or a number in its place, is in the optimizer already."""
        takes = set(RATES) & set(inspect.signature(self.made).parameters)
        inside = any(isinstance(value, Named | dict) for _, value in self.given)
        return bool(takes) or inside or any(part.has_rate for part in self.parts if isinstance(part, Named))


def _at(rate, value):
    """A hyperparameter, with the rate in every optimizer."""
    if isinstance(value, dict):
        return {label: _at(rate, one) for label, one in value.items()}
    return value(rate) if isinstance(value, Named) else value


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
    made = function_of(name, "optimizers", FILE) if ".py:" in name else _named(_parsed(name), name)

    def run(rate):
        run = gdlab.minimize(lambda x: jnp.sum(x["a"] ** 2), made(rate), {"a": jnp.ones((2, 2))}, 1)
        return run.params

    try:
        _transformation(name, made(0.1))
        jax.eval_shape(run, 0.1)
    except InputError:
        raise
    except Exception as error:  # other libraries and the user's own code may raise anything
        said = " ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        raise InputError(f"optimizers must be usable by name; {name} raised {said}") from None
    return made


def _transformation(name, made):
    """Refuse what a function of the user returned in place of an optimizer."""
    if not (callable(getattr(made, "init", None)) and callable(getattr(made, "update", None))):
        raise InputError(f"optimizers must be functions rate -> optimizer; {name} returned {shown(made)}")


def known() -> dict[str, Callable[..., Any]]:
    """All names, and what they make an optimizer."""
    found = {name: getattr(gdlab, name) for name in OURS}
    for library in ("optax", "optax.contrib"):
        of = LIBRARIES[library]
        for name in sorted(vars(of)):
            value = getattr(of, name)
            if not name.startswith("_") and isinstance(value, FUNCTIONS) and _makes_one(value):
                found[f"{library}.{name}"] = value
    return found


def _makes_one(function):
    """Whether a function of optax says that it returns a transformation, or says nothing and takes a rate or scales."""
    signature = inspect.signature(function)
    silent = signature.return_annotation is signature.empty
    silent_one = silent and ("learning_rate" in signature.parameters or function.__name__.startswith("scale_by_"))
    return "Transformation" in str(signature.return_annotation) or silent_one


def _parsed(text):
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        raise InputError(f"optimizers must be names, such as adam or adam(b1=.5); got {text!r}") from None


def _named(node, text):
    """What an expression names."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    name = ast.unparse(call.func)
    if name in WANT:
        raise InputError(f"optimizers must need only a loss and numbers; {name} wants {WANT[name]}")
    made = known().get(name)
    if made is None:
        close = difflib.get_close_matches(name, known(), 1, 0.5)
        mean = f": did you mean {close[0]}?" if close else ""
        raise InputError(
            f"optimizers must be names among {', '.join(OURS)}, or of optax or optax.contrib, such as optax.adam, or"
            f" FILE.py:make_optimizer; got {text!r}{mean}"
        )
    signature = inspect.signature(made).parameters
    if any(one.kind is one.VAR_POSITIONAL for one in signature.values()):
        if not call.args:
            raise InputError(f"optimizers must have all that they need; {name} needs {name}(one, another, ...)")
        return Named(made, (), tuple(_value(value, text) for value in call.args))
    takes = {label: one.default for label, one in signature.items() if one.kind is not one.VAR_KEYWORD}
    return Named(made, tuple(_hyperparameters(call, name, takes, text).items()))


def _hyperparameters(call, name, takes, text):
    """The hyperparameters of a call by name, those that are assumed among them."""
    given = {}
    first = [label for label in takes if label not in RATES]
    if len(call.args) > len(first):
        raise InputError(f"{name} must get at most {len(first)} hyperparameters; got {len(call.args)}")
    for label, value in [*zip(first, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]:
        if label not in takes:
            close = difflib.get_close_matches(str(label), takes, 1, 0.5)
            mean = f": did you mean {close[0]}?" if close else ""
            raise InputError(f"{name} must get hyperparameters among {', '.join(takes)}; got {label!r}{mean}")
        given[label] = _value(value, text)
    missing = [label for label in first if takes[label] is inspect.Parameter.empty and label not in given]
    unknown = [label for label in missing if label not in ASSUMED]
    if unknown:
        shown = ", ".join(f"{label}=..." for label in unknown)
        raise InputError(
            f"optimizers must have all that they need; {name} needs {name}({shown}): numbers, or names of optimizers;"
            " what is neither a function of FILE.py:make_optimizer gives"
        )
    own = {"optimizer": "sgd"} if name in OURS else {}
    return {**given, **{label: _assumed({**ASSUMED, **own}[label]) for label in missing}}


def _assumed(value):
    """What is assumed, with its optimizers."""
    if isinstance(value, dict):
        return {label: _assumed(one) for label, one in value.items()}
    return _named(_parsed(value), value) if str(value).startswith(("optax.", "sgd")) else value


def _value(node, text):
    """A hyperparameter: a number, a word, a truth, or an optimizer."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _named(node, text)
