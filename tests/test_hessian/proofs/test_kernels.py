"""Ball arithmetic contains what it must: each rule against power series, each program against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.full

flint = pytest.importorskip("flint")

from hessian.proofs.kernels import arb as judge  # noqa: E402
from hessian.proofs.lowering import lowered  # noqa: E402
from hessian.proofs.program import FUNCTIONS, Operation, Program  # noqa: E402

OUTSIDE = {"log": 0.7, "sqrt": 0.7, "rsqrt": 0.7, "acosh": 1.7, "cbrt": 0.7}  # where all the others have a value
SERIES = {  # by composition, where a series has no method of this name
    "neg": lambda x: -x,
    "square": lambda x: x * x,
    "abs": lambda x: x,
    "sign": lambda x: x * 0 + 1,
    "floor": lambda x: x * 0 + x[0].floor(),
    "expm1": lambda x: x.exp() - 1,
    "log1p": lambda x: (x + 1).log(),
    "cbrt": lambda x: (x.log() / 3).exp(),
    "logistic": lambda x: 1 / (1 + (-x).exp()),
    "sinh": lambda x: (x.exp() - (-x).exp()) / 2,
    "cosh": lambda x: (x.exp() + (-x).exp()) / 2,
    "tanh": lambda x: 1 - 2 / ((x * 2).exp() + 1),
    "asinh": lambda x: (x + (x * x + 1).sqrt()).log(),
    "acosh": lambda x: (x + (x * x - 1).sqrt()).log(),
    "atanh": lambda x: ((1 + x) / (1 - x)).log() / 2,
}


def series(name, x):
    """f(x), f'(x), f''(x) by power series."""
    at = flint.arb_series([x, 1], prec=3)
    made = SERIES[name](at) if name in SERIES else getattr(at, name)()
    return made[0], made[1], 2 * made[2]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shift", [0.0, 0.11, 0.29])
def test_a_rule_contains_the_power_series_at_more_bits(name, shift):
    x = OUTSIDE.get(name, 0.3) + shift
    with judge.bits(53):
        made = judge.derivatives(name, flint.arb(x))
    with judge.bits(200):
        for ball, exact in zip(made, series(name, flint.arb(x)), strict=True):
            assert ball.overlaps(exact)
            assert float(ball.rad()) <= 1e-14 * max(1, abs(float(ball)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_rule_on_a_wide_ball_contains_it_everywhere(name):
    middle = OUTSIDE.get(name, 0.3) + 0.2
    with judge.bits(53):
        wide = judge.derivatives(name, flint.arb(middle, 0.1))
    for x in np.linspace(middle - 0.0999, middle + 0.0999, 9):
        with judge.bits(200):
            assert all(ball.overlaps(exact) for ball, exact in zip(wide, series(name, flint.arb(x)), strict=True))


X = np.random.default_rng(0).normal(size=(5, 3))
TABLE = jnp.array([[0.3, -1.2], [2.0, 0.7]])

IMAGE = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 5, 2)))
SPREAD = jnp.linspace(-1.0, 1.0, 12)
window = jax.lax.reduce_window


def convolved(w, padding, strides=(1, 1), dilation=(1, 1), feature_group_count=1, **more):
    """A convolution with a kernel that w spans."""
    taps = jnp.sin(jnp.outer(w, jnp.arange(1.0, 9))).reshape(2, 3, 2 // feature_group_count, -1)
    made = jax.lax.conv_general_dilated(
        IMAGE, taps, strides, padding, rhs_dilation=dilation, feature_group_count=feature_group_count,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), **more,
    )  # fmt: skip
    return made if feature_group_count == 1 else made[..., 0].reshape(-1)[:12]


LOSSES = {
    "polynomial": lambda w: w[0] ** 3 * w[1] - w[2] ** -2 + w[1] ** 4,
    "network": lambda w: jnp.mean((jnp.tanh(X @ jnp.stack([w, w**2]).T) @ w[:2] - 1) ** 2),
    "softmax": lambda w: -jnp.log(jax.nn.softmax(w)[1]) + jnp.sum(w**2),
    "logsumexp": jax.nn.logsumexp,
    "smooth activations": lambda w: jnp.sum(jax.nn.gelu(w) + jax.nn.softplus(w) + jax.nn.sigmoid(w) * jax.nn.silu(w)),
    "layer norm": lambda w: jnp.sum(jax.nn.standardize(w) ** 3) + w[0],
    "norm": lambda w: jnp.linalg.norm(w) + jnp.prod(w),
    "real power": lambda w: w[0] ** 2.5 + jnp.exp2(w[1]),
    "decided kinks": lambda w: jax.nn.relu(w[0]) + jnp.abs(w[1]) + jnp.maximum(w[2], w[0]) + jnp.max(w) * w[1],
    "where": lambda w: jnp.sum(jnp.where(w > 0.5, w**2, jnp.sin(w))),
    "clip": lambda w: jnp.sum(jnp.clip(w, 0.4, 0.8) * w),
    "indices": lambda w: w[jnp.array([2, 0])] @ TABLE @ w[1:] + jnp.pad(w, 2)[::-1] @ jnp.arange(7.0),
    "batched product": lambda w: jnp.sum(jnp.einsum("bij,bj->i", jnp.asarray(X).reshape(1, 5, 3), w[None]) ** 3),
    "cumulative": lambda w: jnp.sum(jnp.cumsum(w) ** 2) + jnp.cumsum(w[::-1])[1] * w[2],
    "loop": lambda w: jax.lax.fori_loop(0, 4, lambda i, x: x * 0.5 + w[0] * jnp.sin(x) / (i + 1.0), w[1]),
    "scan": lambda w: jax.lax.scan(lambda x, y: (x * y + w[2], x**2), w[0], w)[1] @ w,
    "split and concatenate": lambda w: jnp.sum(jnp.concatenate([*jnp.split(w, 3), w * 2]) ** 3),
    "dynamic slice": lambda w: jax.lax.dynamic_slice(w, (1,), (2,)) @ jnp.ones(2) * w[0],
    "convolution": lambda w: jnp.sum(jnp.tanh(convolved(w, "SAME", strides=(2, 1), dilation=(1, 2))) ** 2),
    "transposed convolution": lambda w: jnp.sum(jnp.tanh(convolved(w, ((1, 0), (2, -1)), lhs_dilation=(2, 1))) ** 2),
    "grouped convolution": lambda w: jnp.sum(jnp.sin(convolved(w, "VALID", feature_group_count=2)) * SPREAD),
    "pooled": lambda w: jnp.sum(window(jnp.outer(w, w + 1), 0.0, jax.lax.add, (2, 2), (1, 2), "SAME") ** 2),
    "largest of a window": lambda w: jnp.sum(window(w, -jnp.inf, jax.lax.max, (2,), (1,), "SAME") ** 2),
    "running": lambda w: jnp.sum(jnp.cumprod(w) * w[::-1]) + jnp.sum(jax.lax.cummax(w) ** 2),
    "running reversed": lambda w: jnp.sum(jax.lax.cummin(w, reverse=True) ** 2 + jax.lax.cumlogsumexp(w) ** 2),
    "scattered sum": lambda w: jnp.sum(jnp.ones(4).at[jnp.array([0, 2, 0])].add(w) ** 3),
    "segments": lambda w: jnp.sum(jax.ops.segment_sum(jnp.outer(w, w), jnp.array([1, 0, 1]), 3) ** 2),
    "scattered rows": lambda w: jnp.sum(jnp.zeros((4, 3)).at[jnp.array([3, 9, 3])].add(jnp.outer(w, w)) ** 2),
    "moments": lambda w: jnp.var(w) + jnp.std(w * jnp.arange(1.0, 4)) + jnp.mean(w) ** 2,
    "exact gelu": lambda w: jnp.sum(jax.nn.gelu(w, approximate=False) + jax.scipy.special.ndtr(w)),
    "angle": lambda w: jnp.arctan2(w[0], w[1]) * jnp.arctan2(w[2], -w[1]) + jnp.hypot(w[0], w[2]),
    "periodic": lambda w: (
        jnp.sum((w - jnp.round(w)) ** 2 * w) + jnp.sum((w % 0.7) ** 3 + jnp.ceil(w) * jnp.floor(w) * w)
    ),
    "entropy": lambda w: jnp.sum(jax.scipy.special.entr(w + 1)) + jnp.sum(jnp.nan_to_num(w) ** 2),
    "stopped gradient": lambda w: jax.lax.stop_gradient(w[0]) * w[1] ** 2,
}

# Whose Hessian XLA gets wrong as one program: a sum over windows of one padded entry becomes that entry everywhere.
BY_OPERATIONS = {"cumulative"}


@pytest.mark.full
@pytest.mark.parametrize("name", LOSSES)
def test_a_program_is_the_loss_and_its_jet_the_derivatives(name):
    loss, w = LOSSES[name], jnp.array([0.3, 0.9, -0.6]) if name != "real power" else jnp.array([0.3, 0.9, 0.2])
    program, start = lowered(loss, w)
    with judge.bits(80):
        made = judge.jet(program, [flint.arb(float(x)) for x in start])
    if name == "stopped gradient":  # the record speaks of the function, not of what its author wants differentiated
        loss = lambda w: w[0] * w[1] ** 2  # noqa: E731
    compiled = (lambda fn: fn) if name in BY_OPERATIONS else jax.jit
    value, gradient, hessian = compiled(lambda w: (loss(w), jax.grad(loss)(w), jax.hessian(loss)(w)))(w)
    np.testing.assert_allclose(float(made.value), value, rtol=1e-13)
    np.testing.assert_allclose([float(made.gradient[i, 0]) for i in range(3)], gradient, rtol=1e-11, atol=1e-12)
    table = [[float(made.hessian[i, j]) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(table, hessian, rtol=1e-10, atol=1e-11)


def test_a_jet_on_a_ball_contains_the_jets_of_its_points():
    rng = np.random.default_rng(1)
    for name in ("network", "softmax", "layer norm", "decided kinks", "scan"):
        program, start = lowered(LOSSES[name], jnp.array([0.3, 0.9, -0.6]))
        with judge.bits(53):
            wide = judge.jet(program, [flint.arb(float(x), 1e-2) for x in start])
        for _ in range(5):
            inside = start + rng.uniform(-0.99e-2, 0.99e-2, 3)
            with judge.bits(100):
                thin = judge.jet(program, [flint.arb(float(x)) for x in inside])
            assert wide.value.overlaps(thin.value)
            assert wide.gradient.overlaps(thin.gradient)
            assert wide.hessian.overlaps(thin.hessian)


UNDECIDED = {
    "max": lambda w: jnp.maximum(w[0], 0.0),
    "abs": lambda w: jnp.abs(w[0]),
    "where": lambda w: jnp.where(w[0] < 0, w[0] ** 2, w[0] ** 3),
    "sign": lambda w: jnp.sign(w[0]) * w[0] ** 4,
    "cube root": lambda w: jnp.cbrt(w[0]),
    "log": lambda w: jnp.log(w[0] + 0.0),
    "division": lambda w: 1 / w[0],
    "root": lambda w: jnp.sqrt(w[0]),
    "inverse sine": lambda w: jnp.arcsin(w[0] + 1.0),
    "a jump": lambda w: jnp.floor(w[0]) * w[0] ** 2,
    "the cut of an angle": lambda w: jnp.arctan2(w[0], w[0] - 1.0),
    "what is not finite where it is chosen": lambda w: jnp.where(w[0] < 1.0, jnp.inf, w[0]),
}


@pytest.mark.parametrize("name", UNDECIDED)
@pytest.mark.parametrize("radius", [0.0, 1e-3])
def test_what_a_ball_does_not_decide_is_refused(name, radius):
    program, _ = lowered(UNDECIDED[name], jnp.zeros(1))
    with judge.bits(53), pytest.raises(judge.Refused, match=r"undecided|leaves its domain"):
        judge.jet(program, [flint.arb(0, radius)])


def test_a_rule_that_forgets_the_curvature_of_what_is_inside_would_be_seen():
    program = Program((Operation("input", (), 1, (1,)), Operation("square", (0,), 1), Operation("exp", (1,), 1)))
    with judge.bits(53):
        made = judge.jet(program, [flint.arb(0.5)])
    x = 0.5
    np.testing.assert_allclose(float(made.hessian[0, 0]), (2 + 4 * x**2) * np.exp(x**2), rtol=1e-14)


def test_the_precision_comes_back_after_an_error():
    before = flint.ctx.prec
    with pytest.raises(RuntimeError), judge.bits(99):
        raise RuntimeError
    assert flint.ctx.prec == before
