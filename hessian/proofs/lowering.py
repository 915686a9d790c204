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

from gdlab.ground.jaxprs import Literal
from hessian.jaxprs import opened, scan_parts
from hessian.precision import first
from hessian.proofs.equations import bound, exact, floating, is_logaddexp, narrows, seen, worked_out
from hessian.proofs.program import FUNCTIONS, Program, pruned
from hessian.proofs.rules import Rules
from hessian.proofs.shifts import without_shifts
from hessian.proofs.sums import Sums
from hessian.proofs.tape import Real, Truth, Uncovered, floats, shape_of

# Operations that only move what they get, and are made of places by themselves.
MOVES = [
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
    "unstack",
]
MOVES += ["gather", "dynamic_slice", "dynamic_update_slice", "split", "copy", "copy_p", "scatter", "select_n"]
# Operations whose own jaxpr is what they do, once, to their inputs.
CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
)
SAME = ("stop_gradient", "optimization_barrier", "sharding_constraint")  # stop_gradient too: its value is its argument
PAIRS = {"add": "add", "add_any": "add", "sub": "sub", "mul": "mul", "div": "div", "max": "max", "min": "min"}


def lowered(loss: Callable[..., Any], params: Any, *args: Any) -> tuple[Program, np.ndarray]:
    """The program of `loss(params, *args)` as a function of all numbers in params, and these numbers.

    Raises:
        Uncovered: where the loss holds an operation without a rule, a narrowing conversion, or a loop without a length.
        TypeError: for what `jit`, `vmap` or `grad` traces.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, args))):
        msg = "params and further arguments must be numbers: proofs are made on the host, outside of jit, vmap and grad"
        raise TypeError(msg)
    narrow = jnp.result_type(float) != jnp.float64  # 64 bits are off for whoever asks
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), params)
        flat, unravel = jax.flatten_util.ravel_pytree(wide)
        closed = jax.make_jaxpr(lambda flat: first(loss(unravel(flat), *args)))(flat)
        if closed.out_avals[0].shape != ():
            msg = f"loss must return a scalar; got shape {closed.out_avals[0].shape}"
            raise ValueError(msg)
        tape = _Lowering(flat.size, narrow)
        (out,) = tape.evaluate(closed.jaxpr, closed.consts, [Real(0, flat.shape)])
        tape.emit("take", [tape.real(out)], (), (0,))
        program = pruned(*without_shifts(tape.operations, tape.guarded))
    if not all(np.isfinite(one.detail).all() for one in program.operations if one.name == "constant"):
        msg = "a constant must be finite; where one masks, as in softmax, a large one such as -1e30 does"
        raise Uncovered(msg)
    return program, np.asarray(flat)


class _Lowering(Rules, Sums):
    """Equations into operations: calls are entered, loops unrolled, moves made on places."""

    def evaluate(self, jaxpr, consts, args):
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(seen, consts), *args], strict=True))
        for equation in (one for one in jaxpr.eqns if one.outvars):  # others print or call back, and make no number
            inputs = [seen(one.val) if isinstance(one, Literal) else known[one] for one in equation.invars]
            made = self.outputs(equation, inputs)
            for variable, value in zip(equation.outvars, made, strict=True):
                if tuple(shape_of(value)) != tuple(variable.aval.shape):
                    msg = f"{equation.primitive.name} has no rule here for these shapes"
                    raise Uncovered(msg)
                known[variable] = value
        return [seen(one.val) if isinstance(one, Literal) else known[one] for one in jaxpr.outvars]

    def outputs(self, equation, inputs):
        """What one equation makes."""
        name, params = equation.primitive.name, equation.params
        if name in ("scan", "cond"):
            return getattr(self, "_" + name)(equation, inputs)
        if name == "pure_callback":
            msg = "the loss calls a function that is not JAX, whose numbers cannot be enclosed"
            raise Uncovered(msg)
        if name in CALLS:
            inner = next(params[field] for field in ("jaxpr", "call_jaxpr", "fun_jaxpr") if field in params)
            if is_logaddexp(inner):
                return [self._logaddexp(*inputs)]
            return self.evaluate(*opened(inner), inputs)
        if not any(isinstance(one, Real | Truth) or floats(one) for one in inputs):
            known = worked_out(equation, inputs, self.narrow)
            if known is not None:
                return known
        elif any(not floating(out.aval) and out.aval.dtype != bool for out in equation.outvars):
            msg = f"{name} makes whole numbers of what is not known here, and has no rule"
            raise Uncovered(msg)
        if narrows(equation):
            msg = f"{name} rounds to {equation.outvars[0].aval.dtype}; what is proved must be computed in one precision"
            raise Uncovered(msg)
        if name in SAME:
            return list(inputs)
        if name in MOVES and not (name == "select_n" and isinstance(inputs[0], Truth)):
            unknown = any(isinstance(one, Real | Truth) for one in inputs)
            return self._moved(equation, inputs) if unknown else bound(equation, inputs)
        rule = getattr(self, "_" + name.replace("-", "_"), None)
        if rule is not None:
            return [rule(params, *inputs)]
        if name in PAIRS:
            known = exact(name, *inputs) if all(map(floats, inputs)) else None
            return [self.pair(PAIRS[name], *inputs) if known is None else known]
        if name in FUNCTIONS:
            return [self.function(name, inputs[0])]
        msg = f"{name} has no rule here; what is proved must be made of the operations of hessian.proofs.program"
        raise Uncovered(msg)

    # ----------------------------------------------------------------------------------------------------- moves

    def _moved(self, equation, inputs):
        """Moves made on places: whole numbers that JAX moves exactly."""
        truths = any(isinstance(one, Truth) for one in inputs)
        values, starts, given = [], 0, []
        if equation.params.get("update_jaxpr") is not None:
            msg = f"{equation.primitive.name} with a function has no rule here"
            raise Uncovered(msg)
        for i, (one, of) in enumerate(zip(inputs, equation.invars, strict=True)):
            which = equation.primitive.name == "select_n" and i == 0
            if which or (of.aval.dtype != bool if truths else not floating(of.aval)):
                given.append(one)
                continue
            value = self.truth(one) if truths else self.real(one)
            size = math.prod(value.shape)
            given.append(np.arange(starts, starts + size, dtype=np.int32).reshape(value.shape))
            values.append(value)
            starts += size
        made = bound(equation, given, **({"fill_value": -1} if "fill_value" in equation.params else {}))
        if any(places.size and (places.min() < 0 or places.max() >= starts) for places in made):
            msg = f"{equation.primitive.name} beyond the end of an array has no rule here"
            raise Uncovered(msg)
        return [self.taken(values, places) for places in made]

    def _select_n(self, params, which, *cases):
        del params
        shape = shape_of(cases[0])
        which, (no, yes) = self.broadcast(which, shape), cases  # of truths there are two
        if any(isinstance(one, Truth) or one.dtype == bool for one in cases if not isinstance(one, Real)):
            either = self._and(None, which, yes), self._and(None, self._not(None, which), no)
            return self._or(None, *either)
        no, yes = (self._finite(which, case, side) for side, case in enumerate(cases))
        return self.emit("select", [which, no, yes], shape)

    def _finite(self, which, case, side):
        """A case as numbers; where it is not finite zero, beside a logarithm that has no value if it is chosen."""
        if not floats(case) or np.isfinite(case).all():
            return self.real(case)
        known = np.isfinite(case)
        signs = [np.ones(case.shape), np.where(known, 1.0, -1.0)]
        chosen = self.emit("select", [which, *map(self.real, signs if side else signs[::-1])], case.shape)
        self.guarded.append(self.function("log", chosen).place)
        return self.real(np.where(known, case, 0.0))

    # ----------------------------------------------------------------------------------------- loops and branches

    def _scan(self, equation, inputs):
        params, (fixed, kept) = equation.params, scan_parts(equation)
        body, length = params["jaxpr"], params["length"]
        constants, carry, sequences = inputs[:fixed], list(inputs[fixed : fixed + kept]), inputs[fixed + kept :]
        made: list[list[Any]] = []
        for turn in range(length)[:: -1 if params["reverse"] else 1]:
            rows = [self._row(one, turn) for one in sequences]
            out = self.evaluate(body.jaxpr, body.consts, [*constants, *carry, *rows])
            carry = out[:kept]
            made.append(out[kept:])
        made = made[:: -1 if params["reverse"] else 1]
        if not made and len(equation.outvars) > kept:
            msg = "scan of no turns has no rule here"
            raise Uncovered(msg)
        return [*carry, *(self._stacked([row[i] for row in made]) for i in range(len(made[0]) if made else 0))]

    def _row(self, value, turn):
        if not isinstance(value, Real | Truth):
            return value[turn]
        places = np.arange(math.prod(value.shape)).reshape(value.shape)
        return self.taken([value], places[turn])

    def _stacked(self, rows):
        if not any(isinstance(row, Real | Truth) or floats(row) for row in rows):
            return np.stack([np.asarray(row) for row in rows])
        truths = any(isinstance(row, Truth) for row in rows)
        rows = [self.truth(row) if truths else self.real(row) for row in rows]
        size = math.prod(rows[0].shape)
        return self.taken(rows, np.arange(len(rows) * size).reshape(len(rows), *rows[0].shape))

    def _cond(self, equation, inputs):
        which, *operands = inputs
        if isinstance(which, Real | Truth):
            msg = "cond must be decided before any number is known; use jnp.where"
            raise Uncovered(msg)
        branches = equation.params["branches"]
        branch = branches[int(np.clip(int(which), 0, len(branches) - 1))]
        return self.evaluate(branch.jaxpr, branch.consts, operands)
