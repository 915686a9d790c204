"""From a loss to the real function that it denotes: its jaxpr, operation by operation, into a program.

What is known before any number is (whole numbers, truths, places) is worked out here and exactly; all that floats
becomes an operation, however constant it is, for a rounded constant is another function.  Moves of any kind (slice,
gather, pad, ...) are made on the places instead of the numbers.  An operation without a rule is refused by name.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from hessian.proofs.equations import bound, floating, is_logaddexp, narrows, seen
from hessian.proofs.program import FUNCTIONS, Program, pruned
from hessian.proofs.tape import Real, Tape, Truth, Uncovered, floats, shape_of

# Operations that only move what they get, and are made of places by themselves.
MOVES = frozenset(
    [
        "reshape",
        "squeeze",
        "expand_dims",
        "transpose",
        "broadcast_in_dim",
        "slice",
        "rev",
        "concatenate",
        "pad",
        "stack",
        "gather",
        "dynamic_slice",
        "dynamic_update_slice",
        "split",
        "copy",
        "copy_p",
        "scatter",
        "select_n",
    ]
)
SAME = ("stop_gradient", "optimization_barrier", "sharding_constraint")  # stop_gradient too: its value is its argument
PAIRS = {"add": "add", "add_any": "add", "sub": "sub", "mul": "mul", "div": "div", "max": "max", "min": "min"}


def lowered(loss: Callable[..., Any], params: Any, *args: Any) -> tuple[Program, np.ndarray]:
    """The program of `loss(params, *args)` as a function of all numbers in params, and these numbers.

    Raises:
        Uncovered: where the loss holds an operation without a rule, a narrowing conversion, or a loop without a length.
    """
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), params)
        flat, unravel = jax.flatten_util.ravel_pytree(wide)
        closed = jax.make_jaxpr(lambda flat: loss(unravel(flat), *args))(flat)
        if closed.out_avals[0].shape != ():
            msg = f"loss must return a scalar; got shape {closed.out_avals[0].shape}"
            raise ValueError(msg)
        tape = _Lowering(flat.size)
        (out,) = tape.evaluate(closed.jaxpr, closed.consts, [Real(0, flat.shape)])
        out = tape.real(out)
        if out.place != len(tape.operations) - 1 or out.place == 0:
            out = tape.emit("take", [out], (), (0,))
        return pruned(tape.operations[: out.place + 1]), np.asarray(flat)


class _Lowering(Tape):
    """The rules that turn equations into operations."""

    def evaluate(self, jaxpr, consts, args):
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(seen, consts), *args], strict=True))
        for equation in jaxpr.eqns:
            inputs = [seen(one.val) if isinstance(one, Literal) else known[one] for one in equation.invars]
            known.update(zip(equation.outvars, self.outputs(equation, inputs), strict=True))
        return [seen(one.val) if isinstance(one, Literal) else known[one] for one in jaxpr.outvars]

    def outputs(self, equation, inputs):
        """What one equation makes."""
        name, params = equation.primitive.name, equation.params
        if name in ("scan", "cond"):
            return getattr(self, "_" + name)(params, inputs)
        inner = next((params[field] for field in ("jaxpr", "call_jaxpr", "fun_jaxpr") if field in params), None)
        if name != "while" and (hasattr(inner, "eqns") or hasattr(inner, "jaxpr")):
            if is_logaddexp(inner):
                return [self._logaddexp(*inputs)]
            return self.evaluate(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs)
        exact = not any(isinstance(one, Real | Truth) or floats(one) for one in inputs)
        if exact and not any(floating(out.aval) for out in equation.outvars):
            return bound(equation, inputs)
        if exact and name in ("iota", "bitcast_convert_type", "convert_element_type", "random_bits"):
            return bound(equation, inputs)
        if narrows(equation):
            msg = f"{name} rounds to {equation.outvars[0].aval.dtype}; what is proved must be computed in one precision"
            raise Uncovered(msg)
        if name in SAME:
            return list(inputs)
        if name in MOVES and not (name == "select_n" and isinstance(inputs[0], Truth)):
            return self._moved(equation, inputs)
        rule = getattr(self, "_" + name, None)
        if rule is not None:
            return [rule(params, *inputs)]
        if name in PAIRS:
            return [self.pair(PAIRS[name], *inputs)]
        if name in FUNCTIONS:
            return [self.function(name, inputs[0])]
        msg = f"{name} has no rule here; what is proved must be made of the operations of hessian.proofs.program"
        raise Uncovered(msg)

    # ------------------------------------------------------------------------------------------- entry by entry

    def _logaddexp(self, a, b):
        a, b = self.function("exp", self.real(a)), self.function("exp", self.real(b))
        return self.function("log", self.pair("add", a, b))

    def _integer_pow(self, params, x):
        x = self.real(x)
        return (
            self.emit("square", [x], x.shape) if params["y"] == 2 else self.emit("power", [x], x.shape, [params["y"]])
        )

    def _pow(self, params, x, y):
        del params
        exponents = {float(one) for one in np.asarray(y).reshape(-1)} if not isinstance(y, Real) else set()
        if len(exponents) == 1 and (k := exponents.pop()) == int(k):
            return self._integer_pow({"y": int(k)}, x)
        return self.function("exp", self.pair("mul", y, self.function("log", x)))  # x^y where x > 0

    def _exp2(self, params, x):
        del params
        return self.function("exp", self.pair("mul", self.function("log", np.float64(2.0)), x))

    def _clamp(self, params, low, x, high):
        del params
        return self.pair("min", self.pair("max", x, low), high)

    def _convert_element_type(self, params, x):
        to = params["new_dtype"]
        if isinstance(x, Truth):
            if not jnp.issubdtype(to, jnp.floating):
                msg = "a truth that depends on numbers cannot become a whole number here"
                raise Uncovered(msg)
            one, zero = (self.broadcast(self.real(np.float64(v)), x.shape) for v in (1.0, 0.0))
            return self.emit("select", [x, zero, one], x.shape)
        if not jnp.issubdtype(to, jnp.floating):
            msg = "convert_element_type of numbers to whole numbers has no rule here"
            raise Uncovered(msg)
        return x if isinstance(x, Real) else self.real(x)

    # ---------------------------------------------------------------------------------------------------- truths

    def _lt(self, params, a, b):
        del params
        return self.compared("less", a, b)

    def _gt(self, params, a, b):
        return self._lt(params, b, a)

    def _ge(self, params, a, b):
        return self._not(params, self._lt(params, a, b))

    def _le(self, params, a, b):
        return self._not(params, self._lt(params, b, a))

    def _eq(self, params, a, b):
        del params
        if isinstance(a, Real) and a == b:
            return np.ones(a.shape, bool)  # a number is itself: the guard against NaN
        return self.compared("equal", a, b)

    def _ne(self, params, a, b):
        same = self._eq(params, a, b)
        return ~same if isinstance(same, np.ndarray) else self._not(params, same)

    def _not(self, params, x):
        del params
        return self.emit("not", [self.truth(x)], shape_of(x), kind=Truth)

    def _and(self, params, a, b):
        del params
        return self.emit("and", [self.truth(a), self.truth(b)], shape_of(a), kind=Truth)

    def _or(self, params, a, b):
        del params
        return self.emit("or", [self.truth(a), self.truth(b)], shape_of(a), kind=Truth)

    def _is_finite(self, params, x):
        del params
        return np.ones(shape_of(x), bool)  # what is not finite is refused where it is computed

    # ----------------------------------------------------------------------------------------- sums and products

    def _reduce_sum(self, params, x):
        x, length, shape = self.grouped(x, params["axes"])
        return self.emit("sum", [x], shape, [length]) if length else self.real(np.zeros(shape))

    def _reduced(self, name, params, x):
        x, length, shape = self.grouped(x, params["axes"])
        places = np.arange(math.prod(x.shape)).reshape(*shape, length)
        parts = [self.taken([x], places[..., i]) for i in range(length)]
        while len(parts) > 1:
            paired = [self.pair(name, *parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
            parts = paired + parts[2 * len(paired) :]
        return parts[0]

    def _reduce_max(self, params, x):
        return self._reduced("max", params, x)

    def _reduce_min(self, params, x):
        return self._reduced("min", params, x)

    def _reduce_prod(self, params, x):
        return self._reduced("mul", params, x)

    def _cumsum(self, params, x):
        x, axis = self.real(x), params["axis"]
        length = x.shape[axis]
        upper = np.triu(np.ones((length, length)))
        back = {"axes": (axis,)}
        last, _, rest = self.grouped(x, back["axes"])
        count = math.prod(rest)
        steps = self.real(upper.T if params["reverse"] else upper)
        made = self.emit("matmul", [last, steps], (*rest, length), [1, count, length, length])
        return self.taken([made], np.moveaxis(np.arange(math.prod(x.shape)).reshape(*rest, length), -1, axis))

    def _dot_general(self, params, a, b):
        a, b = self.real(a), self.real(b)
        (inner_a, inner_b), (batch_a, batch_b) = params["dimension_numbers"]
        free_a = [i for i in range(len(a.shape)) if i not in (*inner_a, *batch_a)]
        free_b = [i for i in range(len(b.shape)) if i not in (*inner_b, *batch_b)]
        places_a = np.arange(math.prod(a.shape)).reshape(a.shape).transpose([*batch_a, *free_a, *inner_a])
        places_b = np.arange(math.prod(b.shape)).reshape(b.shape).transpose([*batch_b, *inner_b, *free_b])
        shape = [a.shape[i] for i in (*batch_a, *free_a)] + [b.shape[i] for i in free_b]
        sizes = [
            math.prod(of.shape[i] for i in axes) for of, axes in ((a, batch_a), (a, free_a), (a, inner_a), (b, free_b))
        ]
        if not sizes[2]:
            return self.real(np.zeros(shape))
        return self.emit("matmul", [self.taken([a], places_a), self.taken([b], places_b)], shape, sizes)

    # ----------------------------------------------------------------------------------------------------- moves

    def _moved(self, equation, inputs):
        """Moves made on places: whole numbers that JAX moves exactly."""
        truths = any(isinstance(one, Truth) for one in inputs)
        values, starts, given = [], 0, []
        for one, of in zip(inputs, equation.invars, strict=True):
            if of.aval.dtype != bool if truths else not floating(of.aval):
                given.append(one)
                continue
            value = self.truth(one) if truths else self.real(one)
            size = math.prod(value.shape)
            given.append(np.arange(starts, starts + size, dtype=np.int32).reshape(value.shape))
            values.append(value)
            starts += size
        made = bound(equation, given)
        if any(places.size and (places.min() < 0 or places.max() >= starts) for places in made):
            msg = f"{equation.primitive.name} beyond the end of an array has no rule here"
            raise Uncovered(msg)
        return [self.taken(values, places) for places in made]

    def _select_n(self, params, which, *cases):
        del params
        shape = which.shape
        if len(cases) != 2:
            msg = "select_n of more than two has no rule here"
            raise Uncovered(msg)
        no, yes = (self.broadcast(self.real(one), shape) for one in cases)
        return self.emit("select", [which, no, yes], shape)

    # ----------------------------------------------------------------------------------------- loops and branches

    def _scan(self, params, inputs):
        body, length = params["jaxpr"], params["length"]
        fixed, kept = params["num_consts"], params["num_carry"]
        constants, carry, sequences = inputs[:fixed], list(inputs[fixed : fixed + kept]), inputs[fixed + kept :]
        made: list[list[Any]] = []
        for turn in range(length)[:: -1 if params["reverse"] else 1]:
            rows = [self._row(one, turn) for one in sequences]
            out = self.evaluate(body.jaxpr, body.consts, [*constants, *carry, *rows])
            carry = out[:kept]
            made.append(out[kept:])
        made = made[:: -1 if params["reverse"] else 1]
        return [*carry, *(self._stacked([row[i] for row in made]) for i in range(len(made[0]) if made else 0))]

    def _row(self, value, turn):
        if not isinstance(value, Real):
            return value[turn]
        places = np.arange(math.prod(value.shape)).reshape(value.shape)
        return self.taken([value], places[turn])

    def _stacked(self, rows):
        if not any(isinstance(row, Real) for row in rows) and not any(floats(row) for row in rows):
            return np.stack([np.asarray(row) for row in rows])
        rows = [self.real(row) for row in rows]
        size = math.prod(rows[0].shape)
        return self.taken(rows, np.arange(len(rows) * size).reshape(len(rows), *rows[0].shape))

    def _cond(self, params, inputs):
        which, *operands = inputs
        if isinstance(which, Real | Truth):
            msg = "cond must be decided before any number is known; use jnp.where"
            raise Uncovered(msg)
        branch = params["branches"][int(np.clip(int(which), 0, len(params["branches"]) - 1))]
        return self.evaluate(branch.jaxpr, branch.consts, operands)
