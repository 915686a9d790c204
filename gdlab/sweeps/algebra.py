"""Algebra: a program without the factors that cancel, which a compiler keeps, as they round.

    -e ((v + e g) / e)  =  -(v + e g)           x 1  =  x / 1  =  x           the choice that is always made

A step moves by -eta / sigma * m, and the m of momentum is v / eta: where sigma is 1 that is -v, and the quotient takes
longer than the rest of the step.  What is read of a step keeps its quotient.  And a sigma that is a root of a float is
far from the ends of their range, where a step takes other units.

A factor cancels only where 0, inf and NaN are sound: e is 1 where it would be 0, and v is a sum with a multiple of e,
which is not finite where e is not.  Comparisons are settled for NaN and inf as well.  Whole numbers are left alone:
their quotient drops the remainder.

| function | what it is |
|---|---|
| `simplified` | the program without such factors, at any depth of its loops |
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from gdlab.ground.jaxprs import ClosedJaxpr, Literal
from gdlab.sweeps.lanes import CALLS, parts_of_scan

Range = tuple[float, float]
ANYWHERE: Range = (-np.inf, np.inf)


def simplified(program: Any) -> Any:
    """The closed jaxpr without factors that cancel; within a rounding or two of it.

    >>> program = jax.make_jaxpr(lambda v: -v * 1.0)(2.0)
    >>> [equation.primitive.name for equation in simplified(program).eqns]
    ['neg']
    """
    return _simplified(program, {})


def _simplified(program, numbers):
    """The program, some of whose arguments are known numbers, by their places."""

    def run(*args):
        given = [numbers.get(place, arg) for place, arg in enumerate(args)]
        return _Walk().run(program.jaxpr, program.consts, given)

    return jax.make_jaxpr(run)(*program.in_avals)


class _Walk:
    """One way through a program, which remembers how each value was made."""

    def __init__(self):
        self.made: dict[int, tuple[Any, str, tuple[Any, ...]]] = {}  # by the identity of the value, which it holds
        self.rules: dict[str, Any] = {
            "mul": self.product,
            "div": self.quotient,
            "select_n": self.choice,
            "and": self.both,
            "gt": lambda x, y: self.is_less(y, x),
            "lt": self.is_less,
        }

    def run(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """The outputs of a program."""
        known: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def value(variable):
            return variable.val if isinstance(variable, Literal) else known[variable]

        for equation in jaxpr.eqns:
            inputs = tuple(value(variable) for variable in equation.invars)
            known.update(zip(equation.outvars, self.outputs(equation, inputs), strict=True))
        return [value(variable) for variable in jaxpr.outvars]

    def outputs(self, equation: Any, inputs: tuple[Any, ...]) -> list[Any]:
        """The outputs of an operation, by its rule where that finds a shorter way."""
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            inner = params[CALLS[name]]
            return self.run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs)
        shorter = self.rules[name](*inputs) if name in self.rules else None
        if name == "convert_element_type":
            shorter = self.converted(inputs[0], params["new_dtype"])
        if shorter is not None:
            return [self.spread(shorter, equation.outvars[0].aval)]
        params = {key: _within(parameter, self.numbers(name, params, inputs)) for key, parameter in params.items()}
        found = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(params))
        if equation.primitive.multiple_results:
            return found
        self.made[id(found)] = found, name, inputs
        return [found]

    def spread(self, x: Any, aval: Any) -> Any:
        """A number in every place of a shape."""
        if np.shape(x) == aval.shape and isinstance(x, jax.Array):
            return x
        found = jax.lax.broadcast_in_dim(np.asarray(x, aval.dtype) if _is_number(x) else x, aval.shape, ())
        self.made[id(found)] = found, "broadcast_in_dim", (x,)
        return found

    def source(self, x: Any) -> Any:
        """The number that stands in every place of an array; the array where there is none."""
        while (how := self.how(x))[0] == "broadcast_in_dim" and np.ndim(how[1][0]) == 0:
            x = how[1][0]
        return x

    def how(self, x: Any) -> tuple[str, tuple[Any, ...]]:
        """How a value was made: by which operation, of what."""
        return self.made.get(id(x), (x, "", ()))[1:]

    def known(self, x: Any) -> Any:
        """The number that stands in every place of an array, where it is known."""
        source = self.source(x)
        return source if _is_number(source) else None

    def is_one(self, x: Any) -> bool:
        """Whether each number of an array is known to be 1."""
        return self.known(x) is not None and self.known(x) == 1

    def product(self, x: Any, y: Any) -> Any:
        """What a product is without the factors that cancel."""
        for one, other in ((x, y), (y, x)):
            if self.is_one(other):
                return one
            name, parts = self.how(other)
            if name != "div":
                continue
            numerator, denominator = parts[0], self.source(parts[1])
            if not self.cancels(numerator, denominator):
                continue
            if self.source(one) is denominator:
                return numerator
            name, negated = self.how(self.source(one))
            if name == "neg" and self.source(negated[0]) is denominator:
                return jax.lax.neg(numerator)
        return None

    def cancels(self, numerator: Any, denominator: Any) -> bool:
        """Whether e (v / e) is v, rounded, for all e: it is 1 in place of 0, and v is not finite where e is not."""
        name, parts = self.how(denominator)
        if name != "select_n" or len(parts) != 3 or not self.is_one(parts[2]):
            return False
        (test, compared), rate = self.how(self.source(parts[0])), self.source(parts[1])
        guarded = test == "eq" and self.source(compared[0]) is rate and self.known(compared[1]) == 0
        return guarded and np.issubdtype(denominator.dtype, np.inexact) and self.has_factor(numerator, rate)

    def has_factor(self, x: Any, factor: Any) -> bool:
        """Whether a sum has a term that is a multiple of the factor."""
        name, parts = self.how(x)
        if name == "add":
            return any(self.has_factor(part, factor) for part in parts)
        return name == "mul" and any(self.source(part) is factor for part in parts)

    def quotient(self, x: Any, y: Any) -> Any:
        """What is divided by 1."""
        return x if self.is_one(y) else None

    def choice(self, which: Any, *cases: Any) -> Any:
        """The case that is known to be chosen."""
        place = self.known(which)
        return None if place is None else cases[int(place)]

    def converted(self, x: Any, dtype: Any) -> Any:
        """A known number in another dtype, where NumPy converts it as the compiler does."""
        number = self.known(x)
        if number is None or np.iscomplexobj(number):
            return None
        to_whole = not jax.numpy.issubdtype(dtype, np.inexact)
        if to_whole and not abs(float(number)) < 2**31:
            return None
        found = np.asarray(number).astype(dtype)
        return found[()] if not to_whole or found == number else None

    def both(self, x: Any, y: Any) -> Any:
        """False where one of two is, or where the one says that a number is finite and the other what none can be."""
        for one, other in ((x, y), (y, x)):
            known = self.known(one)
            if known is not None and known.dtype == np.bool_ and not known:
                return np.bool_(False)
            (name, parts), (test, compared) = self.how(one), self.how(other)
            if name != "is_finite" or test not in ("lt", "gt"):
                continue
            lower, upper = compared if test == "lt" else compared[::-1]
            if parts[0] is upper and self.known(lower) is not None and self.known(lower) >= self.range_of(upper)[1]:
                return np.bool_(False)
        return None

    def is_less(self, x: Any, y: Any) -> Any:
        """Whether each number of x is less than each of y, where y is known, and x as well or nowhere below it."""
        number = self.known(y)
        if number is None:
            return None
        if (other := self.known(x)) is not None:
            return np.bool_(other < number)
        return np.bool_(False) if self.range_of(x)[0] >= number else None  # as of NaN

    def range_of(self, x: Any) -> Range:
        """The numbers that an array may hold, apart from NaN, and at the upper end from inf."""
        if np.iscomplexobj(x):
            return ANYWHERE
        if (number := self.known(x)) is not None:
            return float(number), float(number)
        name, inputs = self.how(self.source(x))
        if name == "sqrt":
            (low, high), largest = self.range_of(inputs[0]), float(jax.numpy.finfo(x.dtype).max)
            return max(low, 0.0) ** 0.5, min(high, largest) ** 0.5
        if name in ("max", "add"):
            (low, high), (least, most) = map(self.range_of, inputs)
            return (max(low, least), max(high, most)) if name == "max" else (low + least, high + most)
        return ANYWHERE

    def numbers(self, name: str, params: Any, inputs: tuple[Any, ...]) -> dict[int, Any]:
        """The known numbers among what a scan hands to each of its turns, by their places."""
        count = parts_of_scan(params)[0] if name == "scan" else 0
        known = [self.known(x) for x in inputs[:count]]
        return {place: number for place, number in enumerate(known) if number is not None}


def _is_number(x: Any) -> bool:
    """Whether a value is a number of the program itself."""
    return np.ndim(x) == 0 and not isinstance(x, jax.Array)


def _within(parameter: Any, numbers: dict[int, Any]) -> Any:
    """A parameter of an operation, simplified where it is a program or several."""
    if type(parameter) is tuple:  # the branches of a condition
        return tuple(_within(one, numbers) for one in parameter)
    return _simplified(parameter, numbers) if isinstance(parameter, ClosedJaxpr) else parameter
