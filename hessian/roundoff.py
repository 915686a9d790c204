"""How far rounding moves a gradient and a Hessian: the same program, with each operation's result changed a little.

    x o y   ->   (x o y) (1 + u xi),        xi uniform in [-1, 1], u the error of the operation in relative terms

The spread of the results is the rounding error that the program can make (Monte Carlo arithmetic: Parker 1997).  Unlike
a multiple of eps |H| it knows what was added up and cancelled: sum(softmax(w)) is constant, and its Hessian, rounding
alone, is as large as its spread.  Sums of m terms get u sqrt(m) sum |terms| on top, since they round inside.

Whole numbers that stay below 1 / eps are added and multiplied without rounding, and so is a product with 0, 1, -1 or a
power of two.  Which numbers are whole is read off the program: comparisons, counts, constants, and what is made of
them.  A mask that is compared with 0 therefore stays on its side.

| function | what it returns |
|---|---|
| `spread` | samples of the rounding errors of the gradient and of products with the Hessian |
| `jittered` | a function whose every operation rounds at random |
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.jaxprs import Literal
from hessian.jaxprs import opened, scan_parts
from hessian.numerics import unit
from hessian.product import Loss, Params, gradient_and_product

SAFETY = 10  # how many times its spread rounding may be
POOL = 8191  # random numbers, a prime: operations read them from different places
STRIDE, TURN = 1237, 577  # how far apart two operations, and two turns of a loop, read
UNIFORM = np.random.default_rng(0).uniform(-1, 1, POOL)  # fixed, so that a verdict is the same each time
# These move or compare numbers and round nothing.
EXACT = {
    "abs", "broadcast_in_dim", "clamp", "concatenate", "copy", "copy_p", "device_put", "dynamic_slice",
    "dynamic_update_slice", "expand_dims", "gather", "imag", "iota", "max", "min", "neg", "optimization_barrier",
    "pad", "pvary", "real", "reduce_max", "reduce_min", "reduce_precision", "reshape", "rev", "select_and_gather_add",
    "select_n", "sign", "slice", "sort", "split", "squeeze", "stop_gradient", "transpose",
}  # fmt: skip
# What keeps numbers whole: how large they are afterwards, at most, from the sizes before.
WHOLE: dict[str, Callable[..., float]] = {
    **dict.fromkeys({*EXACT, "convert_element_type"} - {"reduce_precision"}, lambda sizes, *_: max(sizes)),
    "add": lambda sizes, *_: sum(sizes),
    "add_any": lambda sizes, *_: sum(sizes),
    "sub": lambda sizes, *_: sum(sizes),
    "mul": lambda sizes, *_: math.prod(sizes),
    "integer_pow": lambda sizes, equation, _: (
        sizes[0] ** equation.params["y"] if equation.params["y"] > 0 else math.inf
    ),
    "square": lambda sizes, *_: sizes[0] ** 2,
    "iota": lambda sizes, equation, _: equation.params["shape"][equation.params["dimension"]],
    "reduce_sum": lambda sizes, equation, inputs: sizes[0] * _terms(equation, inputs),
    "dot_general": lambda sizes, equation, inputs: math.prod(sizes) * _terms(equation, inputs),
}
# Errors of XLA's functions on a CPU in units of eps, where they are more than 1: of exp, tanh, expm1, logistic, erfc,
# exp2, cosh, sinh and erf_inv by its own table, of log1p 128 as a release of it made; the others are guessed, amply.
ERRORS = {
    "exp": 2, "tanh": 7, "expm1": 5, "logistic": 4, "log1p": 128, "erf": 8, "erfc": 350, "exp2": 720, "cosh": 500,
    "sinh": 500, "pow": 4, "erf_inv": 500_000, "lgamma": 100, "digamma": 100, "cbrt": 4, "tan": 4,
}  # fmt: skip


def spread(loss: Loss, params: Params, args: tuple, draws: int) -> tuple[jax.Array, jax.Array]:
    """Rounding errors of the gradient, shape (draws, n), and of H z for fixed z of length 1, shape (draws, n)."""
    theta, unravel = ravel_pytree(params)

    def both(x, z):
        slope, image = gradient_and_product(loss, unravel(x), args, unravel(z))
        return ravel_pytree(slope)[0], ravel_pytree(image)[0]

    pools = jnp.stack([jnp.asarray(np.roll(UNIFORM, STRIDE * i), theta.dtype) for i in range(draws)])
    z = jax.vmap(lambda pool: unit(jnp.resize(pool, theta.shape)))(pools)
    with jax.default_matmul_precision("highest"):
        run = jittered(both, theta, theta)
        # Errors of both signs: half of the difference is free of what the program gives without them.
        g, image = jax.vmap(run, (0, None, 0))(jnp.concatenate([pools, -pools]), theta, jnp.concatenate([z, z]))
    return (g[:draws] - g[draws:]) / 2, (image[:draws] - image[draws:]) / 2


def jittered(function: Callable[..., Any], *like: Any) -> Callable[..., Any]:
    """(pool, *args) -> function(*args), where the errors are read from the pool, shape (POOL,), for args like these.

    Loops and branches are entered; an operation that is not known to round inside is taken for one that rounds once.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*like)

    def run(pool, *args):
        out, _ = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), _Errors(pool))
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return run


class _Errors:
    """The pool, and where the next operation reads it."""

    def __init__(self, pool):
        self.pool, self.twice, self.place = pool, jnp.concatenate([pool, pool]), 0
        self.factors = {}

    def like(self, x, numbers=None):
        """Numbers in [-1, 1] of this shape and real dtype, or as many of these."""
        self.place = (self.place + STRIDE) % POOL
        numbers = self.twice if numbers is None else numbers
        some = jax.lax.slice(numbers, (self.place,), (self.place + min(x.size, POOL),))
        many = some if x.size <= POOL else jnp.tile(some, math.ceil(x.size / POOL))[: x.size]
        return many.reshape(x.shape).astype(jnp.finfo(x.dtype).dtype)

    def factor(self, x, error):
        """What x is multiplied by for a relative error of so many eps."""
        real = jnp.finfo(x.dtype).dtype
        if (real, error) not in self.factors:
            self.factors[real, error] = 1 + (error * jnp.finfo(real).eps * self.twice.astype(real))
        return self.like(x, self.factors[real, error]).astype(x.dtype)

    def of_turn(self, turn):
        """The pool of one turn of a loop."""
        first = (self.place + TURN * (turn % POOL)) % POOL
        return _Errors(jax.lax.dynamic_slice(self.twice, (first,), (POOL,)))


def _evaluate(jaxpr, consts, args, errors, sizes=None):
    """The outputs of a jaxpr, and the sizes of those that are whole numbers; `sizes` are those of the args."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    whole = {var: _size_of(value) for var, value in zip(jaxpr.constvars, consts, strict=True)}
    whole |= dict(zip(jaxpr.invars, sizes or [None] * len(args), strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else known[atom]

    def size(atom):
        return _size_of(atom.val) if isinstance(atom, Literal) else whole[atom]

    for equation in jaxpr.eqns:
        inputs, within = [read(atom) for atom in equation.invars], [size(atom) for atom in equation.invars]
        values, found = _result(equation, inputs, within, errors)
        known.update(zip(equation.outvars, values, strict=True))
        whole.update(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars], [size(atom) for atom in jaxpr.outvars]


def _result(equation, inputs, sizes, errors):
    """The outputs of one equation, rounded at random, and the sizes of those that are whole numbers."""
    name, params = equation.primitive.name, equation.params
    unknown = [None] * len(equation.outvars)
    if name == "scan":
        return _scan(equation, inputs, sizes, errors), unknown
    if name == "while":
        return _while(params, inputs, sizes, errors), unknown
    if name == "cond":
        branches = [_branch(branch, errors, sizes[1:]) for branch in params["branches"]]
        return jax.lax.switch(inputs[0], branches, *inputs[1:]), unknown
    if name == "stated_error":  # of a loss that is not JAX
        x, error = inputs
        return [x + error * errors.like(x)], unknown
    inner = next((params[field] for field in ("jaxpr", "call_jaxpr", "fun_jaxpr") if field in params), None)
    if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
        return _inside(inner, inputs, errors, sizes)
    out = equation.primitive.bind(*inputs, **params)
    outputs = list(out) if equation.primitive.multiple_results else [out]
    found = [_whole(equation, inputs, sizes, x) for x in outputs]
    if name in EXACT or (name == "convert_element_type" and not _narrows(inputs[0], outputs[0])):
        return outputs, found
    if all(size is not None for size in found) or (name in ("mul", "div") and _only_scales(name, inputs, sizes)):
        return outputs, found
    summed = _summed(equation, inputs)
    return [_moved(x, ERRORS.get(name, 1), summed, errors) for x in outputs], found


def _size_of(value):
    """The largest size of the whole numbers of a constant; None for a large one, for others, and for what is traced."""
    if isinstance(value, jax.core.Tracer) or jnp.size(value) > POOL or not _is_real(jnp.result_type(value)):
        return None
    numbers = np.asarray(value, float)
    return float(np.max(np.abs(numbers), initial=0)) if np.all(numbers == np.round(numbers)) else None


def _is_real(dtype):
    kinds = jnp.bool_, jnp.integer, jnp.floating
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def _whole(equation, inputs, sizes, out):
    """How large the whole numbers of an output are at most, where all are exact; None where they may not be whole."""
    dtype = jnp.result_type(out)
    if jnp.issubdtype(dtype, jnp.bool_) or not _is_real(dtype):
        return 1.0 if jnp.issubdtype(dtype, jnp.bool_) else None
    size = None if None in sizes else WHOLE.get(equation.primitive.name, lambda *_: None)(sizes, equation, inputs)
    if jnp.issubdtype(dtype, jnp.integer):
        largest = 2.0 ** jnp.iinfo(dtype).bits
        return largest if size is None or jnp.iinfo(dtype).min == 0 else min(size, largest)
    return size if size is not None and size <= 1 / jnp.finfo(dtype).eps else None


def _only_scales(name, inputs, sizes):
    """Whether a product or a ratio changes no digit: one factor, or the divisor, is 0, 1, -1 or a power of two."""
    if name == "mul" and any(size is not None and size <= 1 for size in sizes):
        return True
    scales = inputs[1:] if name == "div" else inputs
    fixed = [x for x in scales if not isinstance(x, jax.core.Tracer) and jnp.size(x) <= POOL]
    fixed = [x for x in fixed if _is_real(jnp.result_type(x))]
    return any(np.all(np.isin(np.abs(np.frexp(np.asarray(x, float))[0]), (0, 0.5))) for x in fixed)


def _narrows(x, converted):
    """Whether a conversion rounds."""
    before, after = jnp.result_type(x), converted.dtype
    floating = jnp.issubdtype(before, jnp.inexact) and jnp.issubdtype(after, jnp.inexact)
    return floating and jnp.finfo(before).nmant > jnp.finfo(after).nmant


def _moved(x, error, summed, errors):
    """The number x after a relative error of so many eps, and the error of the sum that made it."""
    if not jnp.issubdtype(jnp.result_type(x), jnp.inexact) or jnp.size(x) == 0:
        return x
    eps = jnp.asarray(jnp.finfo(x.dtype).eps)
    x = x * errors.factor(x, error)
    return x if summed is None else x + (eps * summed * errors.like(x)).astype(x.dtype)


def _summed(equation, inputs):
    """The root of the number of terms times the sum of their sizes, for operations that add inside; else None."""
    if equation.primitive.name not in ("reduce_sum", "dot_general", "conv_general_dilated"):
        return None
    terms, sizes = _terms(equation, inputs), [jnp.abs(x) for x in inputs]
    if terms < 2 or not jnp.issubdtype(sizes[0].dtype, jnp.floating):
        return None
    return math.sqrt(terms) * equation.primitive.bind(*sizes, **equation.params)


def _terms(equation, inputs):
    """How many terms a sum, a product of matrices or a convolution adds up."""
    if equation.primitive.name == "reduce_sum":
        return inputs[0].size // max(equation.outvars[0].aval.size, 1)
    if equation.primitive.name == "dot_general":
        return math.prod(inputs[0].shape[axis] for axis in equation.params["dimension_numbers"][0][0])
    return inputs[1].size


def _inside(inner, inputs, errors, sizes=None):
    """The outputs of a jaxpr within the jaxpr, and the sizes of those that are whole."""
    jaxpr, consts = opened(inner)
    return _evaluate(jaxpr, consts, inputs, errors, sizes)


def _branch(closed, errors, sizes):
    return lambda *operands: _inside(closed, operands, errors.of_turn(0), sizes)[0]


def _scan(equation, inputs, sizes, errors):
    params = equation.params
    fixed, kept = scan_parts(equation)
    first = fixed + kept
    within = [*sizes[:fixed], *[None] * kept, *sizes[first:]]  # of what is carried nothing is known

    def turn(carry, xs):
        count, *state = carry
        out, _ = _inside(params["jaxpr"], [*inputs[:fixed], *state, *xs], errors.of_turn(count), within)
        return [count + 1, *out[:kept]], out[kept:]

    start = [jnp.int32(0), *inputs[fixed:first]]
    carry, ys = jax.lax.scan(turn, start, inputs[first:], length=params["length"], reverse=params["reverse"])
    return [*carry[1:], *ys]


def _while(params, inputs, sizes, errors):
    split = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    of_test, of_body, state = inputs[: split[0]], inputs[split[0] : split[1]], inputs[split[1] :]
    within = [*sizes[split[0] : split[1]], *[None] * len(state)]

    def going(carry):
        return _evaluate_exactly(params["cond_jaxpr"], [*of_test, *carry[1:]])

    def turn(carry):
        out, _ = _inside(params["body_jaxpr"], [*of_body, *carry[1:]], errors.of_turn(carry[0]), within)
        return [carry[0] + 1, *out]

    return jax.lax.while_loop(going, turn, [jnp.int32(0), *state])[1:]


def _evaluate_exactly(closed, inputs):
    return jax.core.eval_jaxpr(*opened(closed), *inputs)[0]
