"""What adds up: programs of reductions, products, windows and scattered sums, run by NumPy, are what JAX computes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

pytestmark = pytest.mark.full

pytest.importorskip("flint")
pytest.importorskip("ival")

from hessian.proofs.lowering import lowered  # noqa: E402

PAIRS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum}
ONES = {"exp": np.exp, "log": np.log, "neg": np.negative, "square": np.square}


def run(program, x):
    """The value of a program, one operation after the other."""
    made = []
    for name, inputs, size, detail in program.operations:
        given = [made[i] for i in inputs]
        if name == "input":
            made.append(np.asarray(x, float))
        elif name == "constant":
            made.append(np.array(detail))
        elif name == "take":
            made.append(np.concatenate(given)[np.asarray(detail, int)])
        elif name in ("sum", "logsumexp"):
            rows = given[0].reshape(size, *detail)
            made.append(rows.sum(1) if name == "sum" else np.log(np.exp(rows).sum(1)))
        elif name == "matmul":
            b, m, k, n = detail
            made.append((given[0].reshape(b, m, k) @ given[1].reshape(b, k, n)).reshape(-1))
        else:
            made.append({**PAIRS, **ONES}[name](*given))
        assert made[-1].shape == (size,)
    (value,) = made[-1]
    return value


CUBE = (2, 3, 4)
A, B = np.random.default_rng(1).integers(-3, 4, (3, 4, 2, 5)).astype(float), np.arange(1.0, 13).reshape(4, 3)


def window(x, monoid, start, shape, strides=(1, 1, 1), padding=((0, 0),) * 3, **more):
    return lax.reduce_window(x, start, monoid, shape, strides, padding, **more)


def conv(x, kernel, order=("NCH", "OIH", "NCH"), strides=(1,), padding=((0, 0),), **more):
    return lax.conv_general_dilated(x, jnp.asarray(kernel), strides, padding, dimension_numbers=order, **more)


TAPS = np.arange(-5.0, 13).reshape(2, 3, 3)
TABLES = {
    "a product over two axes": lambda x: jnp.einsum("abc,bcde->ade", x, A),
    "over one of each": lambda x: jnp.einsum("abc,bcde->aebd", x, A),
    "in batches": lambda x: jnp.einsum("abc,cb->bac", x, B),
    "in two batches": lambda x: jnp.einsum("abc,bcde->bcae", x, A),
    "with itself": lambda x: jnp.einsum("abc,dbc->adb", x, x + 1),
    "of nothing in common": lambda x: jnp.einsum("abc,d->dcab", x, jnp.arange(3.0)),
    "of no inner number": lambda x: jnp.concatenate([x.reshape(-1), (x[..., :0] @ jnp.zeros((0, 2))).reshape(-1)]),
    **{f"sums along {axes}": lambda x, axes=axes: x.sum(axes) for axes in (0, 1, 2, (0, 2), (1, 2), (0, 1, 2))},
    **{f"products along {axis}": lambda x, axis=axis: jnp.prod(x, axis) for axis in range(3)},
    **{f"largest along {axis}": lambda x, axis=axis: x.max(axis) - 2 * x.min(axis) for axis in (0, 1, (1, 2))},
    **{
        f"{fn.__name__} along {axis}{', reversed' * back}": lambda x, fn=fn, axis=axis, back=back: fn(
            x, axis, reverse=back
        )
        for fn, axis, back in itertools.product(
            (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin), range(3), (False, True)
        )
    },
    "running logarithms of sums": lambda x: lax.cumlogsumexp(x / 9, 1),
    "a convolution": lambda x: conv(x, TAPS),
    "padded, with strides": lambda x: conv(x, TAPS, strides=(2,), padding=((2, 1),)),
    "cut, dilated": lambda x: conv(x, TAPS[..., :2], padding=((3, -1),), lhs_dilation=(2,), rhs_dilation=(3,)),
    "channels last": lambda x: conv(x, np.arange(16.0).reshape(2, 4, 2) - 7, ("NHC", "HIO", "CNH"), padding=((1, 2),)),
    "in groups": lambda x: conv(x, np.arange(12.0).reshape(6, 1, 2) - 5, feature_group_count=3),
    "windows": lambda x: window(x, lax.add, 0.0, (1, 2, 3), (1, 1, 2), ((0, 0), (1, 0), (2, 1))),
    "dilated windows": lambda x: window(x, lax.add, 0.0, (1, 2, 2), window_dilation=(1, 2, 3)),
    "windows of dilated numbers": lambda x: window(x, lax.add, 0.0, (2, 2, 2), base_dilation=(1, 2, 1)),
    "largest of windows": lambda x: window(x, lax.max, -jnp.inf, (1, 2, 2), (1, 2, 1), ((0, 0), (1, 0), (1, 1))),
    "smallest of windows": lambda x: window(x, lax.min, jnp.inf, (2, 1, 3), (1, 1, 1), ((1, 1), (0, 0), (0, 2))),
    "scattered rows": lambda x: jnp.ones((4, 3, 4)).at[jnp.array([3, 0])].add(x),
    "scattered twice, and beyond": lambda x: x.at[:, jnp.array([1, 1, 5])].add(x[:, :3]),
    "scattered numbers": lambda x: x.at[jnp.array([0, 1, 0]), jnp.array([2, 0, 2])].add(x[0]),
    "segments": lambda x: jax.ops.segment_sum(x.reshape(6, 4), jnp.array([2, 0, 2, 1, 2, 0]), 4),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_program_run_by_numpy_is_what_jax_computes(name):
    table, draw = TABLES[name], np.random.default_rng(2)
    weights = draw.integers(-4, 5, jax.eval_shape(table, jnp.zeros(CUBE)).shape).astype(float)
    loss = lambda x: jnp.sum(weights * table(x.reshape(CUBE)))  # noqa: E731
    program, _ = lowered(loss, jnp.arange(24.0))
    x = draw.permutation(24) / 4 - 3  # different numbers, whose sums and products are exact
    np.testing.assert_allclose(run(program, x), jax.jit(loss)(x), rtol=1e-12, atol=1e-11)
