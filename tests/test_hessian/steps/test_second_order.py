"""Steps with curvature, against closed forms and a solver of the subproblem that knows no eigenvectors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from gdlab.problems import rosenbrock, surface
from hessian.steps import second_order
from hessian.steps.eigenbasis import Eigenbasis
from hessian.steps.second_order import Cubic, Flat, Newton, SaddleFree, TrustRegion
from hessian.steps.trust_region import cubic, in_ball, other_leg

pytestmark = pytest.mark.full
EPS = np.finfo(float).eps


def model(seed, n=5, hard=False):
    a, h = jax.random.normal(jax.random.key(seed), (n,)), jax.random.normal(jax.random.key(seed + 99), (n, n))
    values, columns = jnp.linalg.eigh(h + h.T)
    projections = (columns.T @ a).at[0].multiply(0.0 if hard else 1.0)
    return Eigenbasis(values, columns.T, projections, jnp.int32(n))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("radius", [0.01, 1.0, 30.0])
def test_the_step_meets_the_conditions_of_more_and_sorensen(radius, hard):
    for seed in range(10):
        found = model(seed, hard=hard)
        inside, rest, size = in_ball(found, jnp.array(radius))
        p = inside.at[0].add(rest)
        assert size <= radius * (1 + 1e-9)
        used = np.abs(p) > 1e-9 * radius
        mu = (-found.projections / jnp.where(used, p, 1) - found.values)[used]
        np.testing.assert_allclose(mu, mu[-1], rtol=1e-5, atol=1e-6)  # (H + mu) p = -g with one mu
        assert mu[-1] >= max(0, -found.values[0]) - 1e-5
        assert mu[-1] < 1e-5 or size >= radius * (1 - 1e-9)


def test_what_is_left_goes_along_the_first_mode_only_where_its_curvature_is_negative_beyond_doubt():
    band = 100 * EPS  # 50 roundings of 2
    for lowest, left in ((1e-18, False), (0.0, False), (-1e-18, False), (-band, False), (-1.01 * band, True)):
        found = Eigenbasis(jnp.array([lowest, 2.0]), jnp.eye(2), jnp.zeros(2), jnp.int32(2))
        assert (in_ball(found, jnp.array(0.5))[1] > 0) == left


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_of_both_sides_of_a_saddle_the_lower_one_is_taken(side):
    run = gdlab.minimize(
        lambda w, side: w[0] ** 2 - w[1] ** 2 + side * w[1] ** 3 / 2,
        hessian.trust_region(),
        jnp.zeros(2),
        steps=1,
        args=(side,),
    )
    assert run.params[1] * side < 0


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("weight", [0.01, 1.0, 100.0])
def test_the_cubic_step_meets_its_conditions(weight, hard):
    for seed in range(10):
        found = model(seed, hard=hard)
        inside, rest = cubic(found, jnp.array(weight))
        p = inside.at[0].add(rest)
        mu = weight * jnp.linalg.norm(p)
        np.testing.assert_allclose((found.values + mu) * p, -found.projections, atol=1e-6 * jnp.abs(found.values).max())
        assert mu >= -found.values[0] * (1 - 1e-9)


def bowl(x, values, slope, quartic, wall, constant):
    """constant + slope.x + sum values x^2 / 2 + quartic |x|^4, NaN from a wall on."""
    value = constant + slope @ x + values @ x**2 / 2 + quartic * (x @ x) ** 2
    return jnp.where(x @ x > wall**2, jnp.nan, value)


@functools.partial(jax.jit, static_argnums=0)
def moved(method, region, values, slope, quartic, wall, constant, steepness, *hyperparameters):
    flat = Flat(bowl, lambda x: x, (values, slope, quartic, wall, constant))
    found = Eigenbasis(values, jnp.eye(2), slope, jnp.int32(2))
    gradient = jnp.array([steepness, 0.0])
    return method(flat, jnp.zeros(2), constant, gradient, found, region, *hyperparameters)


def move(method, region, values, slope=(0.0, 0.0), quartic=0.0, wall=jnp.inf, constant=0.0, steepness=None, rest=()):
    steepness = np.linalg.norm(slope) if steepness is None else steepness
    return moved(method, *map(jnp.asarray, (region, values, slope, quartic, wall, constant, steepness, *rest)))


SADDLE, VALLEY = (-1.0, 2.0), (1.0, 2.0)
# What is given, then the step, the next radius, and how often the loss was evaluated: two at a time.  From the saddle a
# step of length r brings 1 - 2 quartic r^2 of what was predicted.
RADII = {
    "inside": ({"region": 1.0, "values": VALLEY, "slope": (-0.1, 0.2)}, (0.1, -0.1), 1.0, 2),
    "inside, by a hundredth": ({"region": 1.0, "values": VALLEY, "slope": (-0.99, 0.0)}, (0.99, 0), 2.0, 2),
    "inside, by more": ({"region": 1.0, "values": VALLEY, "slope": (-0.98, 0.0)}, (0.98, 0), 1.0, 2),
    "good, at the boundary": ({"region": 1.0, "values": SADDLE, "quartic": 0.05}, (1, 0), 2.0, 2),
    "fair": ({"region": 1.0, "values": SADDLE, "quartic": 0.3}, (1, 0), 1.0, 2),
    "poor": ({"region": 1.0, "values": SADDLE, "quartic": 0.45}, (1, 0), 0.5, 2),
    "next to nothing": ({"region": 1.0, "values": SADDLE, "quartic": 0.49999}, (0.25, 0), 0.5, 4),
    "a wall": ({"region": 1.0, "values": SADDLE, "wall": 0.1}, (0.0625, 0), 0.125, 6),
    "walls all around": ({"region": 1.0, "values": SADDLE, "wall": 0.0}, (0, 0), 1.0, 60),
    "nothing to do": ({"region": 1.0, "values": VALLEY}, (0, 0), 1.0, 2),
    "not finite": ({"region": 1.0, "values": SADDLE, "constant": jnp.inf}, (0, 0), 1.0, 0),
    "below rounding, calmer": (
        {"region": 1.0, "values": VALLEY, "slope": (-1e-6, 0.0), "constant": 1e6},
        (1e-6, 0),
        1.0,
        2,
    ),
    "below rounding, not calmer": (
        {"region": 1.0, "values": VALLEY, "slope": (-1e-6, 0.0), "constant": 1e6, "steepness": 0.0},
        (0, 0),
        1.0,
        60,
    ),
}


@pytest.mark.parametrize("case", RADII, ids=RADII)
def test_the_radius_doubles_stays_or_shrinks_by_what_the_step_brought(case):
    given, step, radius, evaluations = RADII[case]
    found = move(TrustRegion(), **given)
    np.testing.assert_allclose(jnp.abs(found.theta), np.abs(step), rtol=1e-9)
    assert (float(found.region), int(found.evaluations)) == (radius, evaluations)
    assert bool(found.moved) == any(step)
    assert found.value <= given.get("constant", 0.0)


WEIGHTS = {
    "very good": ({"region": 1.0, "values": SADDLE, "quartic": 0.04}, 1.0, 0.5, 2),
    "nine tenths": ({"region": 1.0, "values": SADDLE, "quartic": 0.05}, 1.0, 1.0, 2),
    "good": ({"region": 1.0, "values": SADDLE, "quartic": 0.06}, 1.0, 1.0, 2),
    "fair": ({"region": 1.0, "values": SADDLE, "quartic": 0.37}, 1.0, 1.0, 2),
    "a quarter": ({"region": 1.0, "values": SADDLE, "quartic": 0.375}, 1.0, 1.0, 2),
    "poor": ({"region": 1.0, "values": SADDLE, "quartic": 0.38}, 1.0, 2.0, 2),
    "just enough": ({"region": 1.0, "values": SADDLE, "quartic": 0.49994}, 1.0, 2.0, 2),
    "next to nothing": ({"region": 1.0, "values": SADDLE, "quartic": 0.49999}, 0.25, 2.0, 4),
    "never below rounding": ({"region": 3e-16, "values": SADDLE}, 1 / 3e-16, 2 * EPS, 2),
    "without curvature": ({"region": 1.0, "values": (0.0, 0.0), "slope": (-1.0, 0.0)}, 1.0, 1.0, 2),
}


@pytest.mark.parametrize("case", WEIGHTS, ids=WEIGHTS)
def test_the_weight_halves_stays_or_doubles_by_what_the_step_brought(case):
    given, size, weight, evaluations = WEIGHTS[case]
    found = move(Cubic(), **given)
    np.testing.assert_allclose(jnp.linalg.norm(found.theta), size, rtol=1e-9)
    assert (float(found.region), int(found.evaluations)) == (weight, evaluations)


def test_the_edges_between_good_and_bad_steps_are_those_of_the_textbook():
    ratios = np.array([-1.0, 0.0, 2e-4, 0.2499, 0.25, 0.75, 0.7501])
    for size, on_boundary, radii in (
        (2.0, True, [0.5, 0.5, 1, 1, 2, 2, 4]),
        (1.0, False, [0.25, 0.25, 0.5, 0.5, 2, 2, 2]),
        (4.0, True, [0.5, 0.5, 2, 2, 2, 2, 4]),
    ):
        np.testing.assert_array_equal(TrustRegion.adapt(2.0, size, ratios, on_boundary), radii)


def test_newton_steps_are_one_line_per_mode():
    slope = (3.0, -4.0)
    for values, rate, damping, newton, free in (
        ((-2.0, 4.0), 1.0, 0.0, (1.5, 1.0), (-1.5, 1.0)),
        ((-2.0, 4.0), 0.5, 2.0, (0.75, 0.5), (-0.375, 1 / 3)),
        ((0.0, 4.0), 1.0, 0.0, (0.0, 1.0), (0.0, 1.0)),
        ((0.0, 4.0), 1.0, 1.0, (0.0, 1.0), (-3.0, 0.8)),
        ((200 * EPS, 4.0), 1.0, 0.0, (0.0, 1.0), (0.0, 1.0)),  # 50 roundings of 4
        ((-256 * EPS, 4.0), 1.0, 0.0, (3 / 256 / EPS, 1.0), (-3 / 256 / EPS, 1.0)),
    ):
        for found, step in (
            (move(Newton(None), 7.0, values, slope, rest=(rate,)), newton),
            (move(SaddleFree(None), 7.0, values, slope, rest=(rate, damping)), free),
        ):
            np.testing.assert_allclose(found.theta, step, rtol=1e-12)
            np.testing.assert_allclose(found.value, bowl(found.theta, np.array(values), np.array(slope), 0, np.inf, 0))
            assert (float(found.region), bool(found.moved), int(found.evaluations)) == (7.0, True, 1)


def test_the_other_side_of_a_triangle_is_zero_within_rounding():
    whole = jnp.array([5.0, 1.0, 1.0, 1.0, 1.0])
    part = jnp.array([3.0, 1.0, 1 - 1e-14, 1 - 1e-13, 1.5])
    np.testing.assert_allclose(other_leg(whole, part), [4, 0, 0, np.sqrt(2e-13), 0], rtol=1e-3)


def test_the_state_of_a_method_is_what_was_asked_for_in_the_dtype_of_the_parameters():
    for method, region in (
        (hessian.trust_region(), 1.0),
        (hessian.cubic_regularization(), 1.0),
        (hessian.trust_region(0.3), np.float32(0.3)),
        (hessian.newton(), 0.0),
        (hessian.saddle_free_newton(), 0.0),
    ):
        state = method.init(jnp.zeros(2, jnp.float32))
        assert (float(state.region), state.region.dtype) == (region, jnp.float32)
    w, grads = jnp.array([3.0, 1.0]), jnp.array([6.0, -2.0])
    method = hessian.saddle_free_newton(0.5, damping=2.0)
    step = jax.jit(functools.partial(method.update, value_fn=lambda w: w[0] ** 2 - w[1] ** 2))
    update, after = step(grads, method.init(w), w)
    np.testing.assert_allclose(update, [-0.75, 0.25])
    assert (after.key != method.init(w).key).all()


def test_the_loss_that_is_given_is_not_computed_again():
    def loss(w):
        return w @ w

    for value, seen in ((None, 5.0), (7.0, 7.0), (np.float32(7.0), 5.0)):  # in half the precision it is no measure
        assert second_order.flattened(W, W, value, loss)[2] == seen
    for params, value_fn, missing in ((None, loss, "params"), (W, None, "value_fn"), (None, None, "params")):
        with pytest.raises(ValueError, match=f"^{missing} must be given to update: .*; got None"):
            second_order.flattened(W, params, None, value_fn)


def test_a_flat_loss_is_a_key_whatever_data_it_holds():
    one, other = (Flat(bowl, jnp.ravel, (W,)) for _ in range(2))
    assert len({one, other}) == 2


W = jnp.array([1.0, 2.0])


METHODS = {
    "trust_region": hessian.trust_region,
    "cubic_regularization": hessian.cubic_regularization,
    "newton_cg": hessian.newton_cg,
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_saddles_are_left_and_the_loss_never_rises(method):
    loss = surface("linear_net_ridge").loss
    starts = jnp.array([[0.0, 0.0], [1e-8, 0.0], [0.5, -0.5], [1.7, -0.2]], jnp.float32)

    def run(start):
        return gdlab.minimize(loss, method(), start, 40)

    runs = jax.jit(jax.vmap(run))(starts)
    assert (np.diff(runs.history["loss"], axis=1) <= 0).all()
    np.testing.assert_allclose(jax.vmap(loss)(runs.params), 0.19, rtol=1e-5)


@pytest.mark.parametrize("method", [hessian.cubic_regularization, hessian.newton_cg])
def test_the_valley_is_followed_to_its_end(method):
    run = gdlab.minimize(rosenbrock, method(), jnp.array([-1.2, 1.0]), 60)
    np.testing.assert_allclose(run.params, 1, atol=1e-6)


def test_newton_goes_to_the_nearest_saddle_and_saddle_free_newton_away_from_it():
    loss = surface("linear_net_ridge").loss
    start = jnp.array([0.2, 0.1])
    assert jnp.linalg.norm(gdlab.minimize(loss, hessian.newton(), start, 20).params) < 1e-12
    free = gdlab.minimize(loss, hessian.saddle_free_newton(), start, 12).params
    np.testing.assert_allclose(free, np.sqrt(0.9), atol=1e-9)
    stuck = gdlab.minimize(loss, hessian.saddle_free_newton(), jnp.array([0.5, -0.5]), 12).params
    assert jnp.linalg.norm(stuck) < 1e-9  # on the stable manifold it is no better than others
    helped = gdlab.minimize(
        loss, hessian.with_saddle_escape(hessian.saddle_free_newton(), every=10), jnp.array([0.5, -0.5]), 60
    )
    np.testing.assert_allclose(jnp.abs(helped.params), np.sqrt(0.9), atol=1e-9)


def test_krylov_spaces_see_the_way_out_that_the_gradient_does_not():
    def loss(x):
        return jnp.sum((1 - x[0] * x[1]) ** 2) + jnp.sum(jnp.arange(3, 101) * x[2:] ** 2)

    x = jnp.zeros(100).at[0].set(0.5).at[1].set(-0.5)
    run = gdlab.minimize(loss, hessian.trust_region(krylov=12), x, 25)
    assert loss(run.params) < 1e-6


def test_dense_and_krylov_agree_where_the_spaces_are_everything():
    x = jnp.array([-1.0, 0.3, 0.8, -0.2, 0.5, 1.1])
    dense, some, full = (
        gdlab.minimize(rosenbrock, hessian.trust_region(0.3, krylov=krylov), x, 1).params for krylov in (None, 3, 5)
    )
    np.testing.assert_allclose(dense, full, rtol=1e-6)
    assert (some != dense).any()


def test_hyperparameters_are_leaves_and_bad_ones_are_named():
    assert len(jax.tree.leaves(hessian.trust_region(0.5))) == 2  # key and radius
    for krylov in (0, True, 1.5):
        with pytest.raises(ValueError, match=f"krylov must be None for the dense .* number, at least 1; got {krylov}"):
            hessian.newton(krylov=krylov)
    with pytest.raises(ValueError, match="value_fn must be given to update"):
        hessian.newton().update(jnp.zeros(2), hessian.newton().init(jnp.zeros(2)), jnp.zeros(2))


def test_steps_go_through_trees_in_their_own_dtype():
    def loss(w):
        return (1 - jnp.sum(w["a"] * w["b"])) ** 2

    w = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros(2, jnp.float32)}
    run = gdlab.minimize(loss, hessian.trust_region(), w, 30)
    assert run.params["a"].dtype == jnp.float32
    assert loss(run.params) < 1e-6


@pytest.mark.parametrize(("dtype", "powers"), [("float32", (-30, 25, 35)), ("float64", (-200, 200, 300))])
@pytest.mark.parametrize("krylov", [None, 1], ids=["dense", "krylov"])
def test_the_trust_region_does_not_depend_on_the_size_of_the_loss(dtype, powers, krylov):
    """A loss that is c times another has the same steps within the same radius, hard case included."""
    method = hessian.trust_region(0.5, krylov=krylov)

    @functools.partial(jax.jit, static_argnums=2)
    def step(scale, at, bent):
        def loss(w):
            bowl = w[0] ** 2 + 0.5 * w[0] * w[1] + 0.7 * w[1] ** 2 + w[0] - 2 * w[1]
            return scale * (w[0] * w[1] + 0.3 * (w[0] - w[1]) if bent else bowl)

        return method.update(jax.grad(loss)(at), method.init(at), at, value_fn=loss)[0]

    for bent in (False, True):
        expected = step(jnp.ones((), dtype), jnp.zeros(2, dtype), bent)
        np.testing.assert_allclose(jnp.linalg.norm(expected), 0.5, rtol=1e-5)
        for power in powers:
            moved = step(jnp.asarray(10.0**power, dtype), jnp.zeros(2, dtype), bent)
            np.testing.assert_allclose(moved, expected, rtol=1e-4)


def test_complex_parameters_have_no_hessian_here():
    def loss(w):
        return jnp.sum(jnp.abs(w) ** 2)

    said = "params must be a pytree of real floating arrays; got complex128 at params"
    for method in (hessian.newton(), hessian.trust_region(krylov=1), hessian.newton_cg()):
        with pytest.raises(TypeError, match=said):
            gdlab.minimize(loss, method, jnp.ones(4, complex), 2)
