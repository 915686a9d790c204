"""What numerical faults and the strictest settings of JAX do to every piece, many of them in one program each.

The optimizers are those of `cases`, the functions of hessian one row each below.
"""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian

pytestmark = pytest.mark.full

# name -> a number or a few of them that a function of hessian finds for a loss at a point
FUNCTIONS = {
    "hvp": lambda f, x: hessian.hvp(f, x)(x),
    "spectrum": lambda f, x: hessian.spectrum(f, x).eigenvalues,
    "extremal": lambda f, x: hessian.extremal(f, x, which="both").eigenvalues,
    "classify": lambda f, x: hessian.classify(f, x).lowest.value,
    "classify, lanczos": lambda f, x: hessian.classify(f, x, method="lanczos").gradient_norm,
    "escape": lambda f, x: hessian.escape(f, x).params,
    "trace": lambda f, x: hessian.trace(f, x).value,
    "diagonal": lambda f, x: hessian.diagonal(f, x).value,
    "density": lambda f, x: hessian.density(f, x, probes=2).nodes,
    "keskar": lambda f, x: hessian.sharpness(f, x, measure="keskar").value,
    "taylor": lambda f, x: hessian.taylor(f, x)(x),
    "newton_step_length": lambda f, x: hessian.newton_step_length(f, x),
    "trust_region_step": lambda f, x: hessian.trust_region_step(f, x, radius=0.5, order=2),
}


def well(w):
    return (1 - w[0] * w[1]) ** 2 + (w[0] - 1) ** 2 / 4


def bowl(params):
    """A loss in the dtype of its parameters."""
    whole = jnp.sum(params["w"] ** 2) + (params["w"][0] - 2 * params["b"]) ** 2
    return whole + jnp.sum(params["u"] ** 2) + jnp.sum(params["u"][0]) ** 2


def steps(optimizers, params):
    """The parameters after three steps of each optimizer."""

    def step(walks, _):
        moved = {}
        for name, (place, state) in walks.items():
            value, grads = jax.value_and_grad(bowl)(place)
            updates, state = optimizers[name].update(grads, state, place, value=value)
            moved[name] = jax.tree.map(jnp.add, place, updates), state
        return moved, None

    begun = {name: (params, optimizer.init(params)) for name, optimizer in optimizers.items()}
    walks, _ = jax.lax.scan(step, begun, length=3)
    return {name: place for name, (place, _) in walks.items()}


def every_optimizer():
    return {name: case.make(cases.RATE) for name, case in cases.OPTIMIZERS.items()}


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def dtypes(dtype):
    """Those of the ends of every optimizer and of the findings of every function, by tracing alone."""
    ends = jax.eval_shape(steps, every_optimizer(), cast(cases.start(), dtype))
    found = {
        name: jax.eval_shape(lambda x, function=function: function(well, x), jnp.array([0.5, -1.5], dtype))
        for name, function in FUNCTIONS.items()
    }
    return {str(leaf.dtype) for leaf in jax.tree.leaves([ends, found])}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_piece_is_traced_under_the_strictest_promotions(dtype):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert dtypes(dtype) == {dtype}


@pytest.mark.parametrize("name", ["hvp", "spectrum", "classify", "escape", "taylor", "trust_region_step"])
def test_no_nan_is_made_on_the_way_at_a_saddle_or_far_from_one(name):
    with jax.debug_nans(True):
        for point in (jnp.ones(2), jnp.zeros(2), jnp.array([1e3, -1e3])):
            assert jnp.isfinite(FUNCTIONS[name](well, point)).all()


def test_without_x64_everything_is_float32():
    with jax.enable_x64(False):
        assert dtypes("float32") == {"float32"}


def test_nan_or_overflow_in_one_lane_leaves_the_others_bit_for_bit():
    sound = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf, 2 * leaf]), cases.start())
    spoilt = [jax.tree.map(lambda leaf, bad=bad: leaf.at[1].set(bad), sound) for bad in (jnp.nan, 1e200)]
    run = jax.jit(jax.vmap(steps, in_axes=(None, 0)))
    wanted = run(every_optimizer(), sound)
    for lanes in spoilt:
        got = run(every_optimizer(), lanes)
        jax.tree.map(
            lambda a, b: np.testing.assert_array_equal(a[jnp.array([0, 2])], b[jnp.array([0, 2])]), got, wanted
        )


def test_a_condition_of_1e16_is_no_minimum_for_certain_and_no_saddle():
    point = hessian.classify(lambda w: w[0] ** 2 + 1e-16 * w[1] ** 2, jnp.zeros(2))
    assert point.kind == "degenerate"
    assert int(point.inertia.zero) == 1
    assert hessian.condition_number(jnp.array([1e-16, 1.0])) == jnp.inf
    assert hessian.classify(lambda w: w[0] ** 2 - 1e-10 * w[1] ** 2, jnp.zeros(2)).kind == "saddle"


def test_a_loss_that_overflows_is_undetermined_and_has_no_way_out():
    def steep(w):
        return jnp.exp(jnp.sum(w) * 1e3)

    point = jnp.array([1.0, 1.0])
    assert hessian.classify(steep, point).kind == "undetermined"
    assert hessian.escape(steep, point).reason == "the loss, gradient or Hessian is not finite"
    run = gdlab.minimize(steep, gdlab.adam(0.1), point, steps=3)
    assert run.why == "not finite"


def test_a_function_that_raises_while_it_runs_loses_no_chunk_before_it(tmp_path):
    fail = [True]

    def read(x):
        if fail and x > 4:
            raise RuntimeError("no data")
        return np.asarray(2 * x)

    def doubled(a):
        return jax.pure_callback(read, jax.ShapeDtypeStruct((), a.dtype), a, vmap_method="sequential")

    how = {"chunk": 2, "store": tmp_path / "store", "a": jnp.arange(8.0)}
    with pytest.raises(RuntimeError, match="no data"):
        gdlab.sweep(doubled, **how)
    assert len(list((tmp_path / "store").glob("chunk-*"))) == 2
    fail.clear()
    np.testing.assert_array_equal(gdlab.sweep(doubled, **how)["value"], 2 * jnp.arange(8.0))


def test_a_loss_that_raises_while_it_is_traced_is_heard_and_leaves_nothing_behind():
    fail = [True]

    def loss(w):
        if fail:
            raise RuntimeError("no data")
        return jnp.sum(w**2)

    optimizer, start = gdlab.adam(0.1), jnp.ones(2)
    for call in (
        lambda: gdlab.minimize(loss, optimizer, start, steps=3),
        lambda: hessian.classify(loss, start),
        lambda: hessian.escape(loss, start),
    ):
        with pytest.raises(RuntimeError, match="no data"):
            call()
    fail.clear()
    assert gdlab.minimize(loss, optimizer, start, steps=3).why == "steps"
    assert hessian.classify(loss, start).kind == "not critical"
