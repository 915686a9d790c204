"""Newton-CG: its linear system against NumPy, its step against closed forms in two variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from hessian.steps.newton_cg import capped

EPS = np.finfo(float).eps


@jax.jit
def system(h, g, damping, accuracy, limit):
    return capped(lambda v: h @ v, g, damping, accuracy, limit)


def test_the_system_is_solved_to_its_accuracy_and_no_further():
    rng = np.random.default_rng(0)
    root, g = rng.normal(size=(6, 6)), rng.normal(size=6)
    h, damping = root @ root.T, 0.1
    shifted = h + 2 * damping * np.eye(6)
    exact, negative = system(h, g, damping, 1e-12, 100)
    np.testing.assert_allclose(exact, np.linalg.solve(shifted, -g), rtol=1e-9)
    assert not negative
    residuals = []
    for accuracy in (0.9, 0.3, 1e-2):
        d, _ = system(h, g, damping, accuracy, 100)
        residuals.append(np.linalg.norm(shifted @ d + g) / np.linalg.norm(g))
        assert residuals[-1] <= accuracy
    assert residuals[0] > residuals[1] > residuals[2] > 1e-9
    first = -g * (g @ g) / (g @ shifted @ g)
    np.testing.assert_allclose(system(h, g, damping, 1e-12, 1)[0], first, rtol=1e-12)
    second = system(h, g, damping, 1e-12, 2)[0]  # the least of the model in the plane of g and H g
    plane = np.linalg.qr(np.stack([g, shifted @ g], axis=1))[0]
    np.testing.assert_allclose(second, plane @ np.linalg.solve(plane.T @ shifted @ plane, -plane.T @ g), rtol=1e-9)
    assert (system(h, 0 * g, damping, 1e-3, 100)[0] == 0).all()


def test_a_direction_of_curvature_below_minus_the_damping_is_returned_instead():
    g = np.array([1.0, 1.0])
    for low, found in ((-0.99, False), (-1.01, True)):
        h = np.diag([low, low])
        d, negative = system(h, g, 1.0, 1e-9, 10)
        assert bool(negative) == found
        np.testing.assert_allclose(d, -g if found else -g / (low + 2), rtol=1e-9)
    h = np.diag([-3.0, 10.0])  # the first direction bends upwards, the second does not
    d, negative = system(h, g, 1.0, 1e-9, 10)
    assert negative
    assert d @ h @ d < -(d @ d)


@jax.jit
def stepped(slope, bends, cubic, quartic, constant, far, wall, damping, accuracy, weight):
    """One step from a point that is so far from the origin, in a loss that is NaN beyond a wall about that point."""

    def loss(w):
        w = w - at
        value = constant + slope @ w + bends @ w**2 / 2 + cubic @ w**3 / 6 + quartic @ w**4
        return jnp.where(jnp.max(jnp.abs(w)) > wall, jnp.nan, value)

    at = jnp.stack([0.0, far])
    method = hessian.newton_cg(damping=damping, accuracy=accuracy, weight=weight)
    return method.update(jax.grad(loss)(at), method.init(at), at, value_fn=loss)[0]


def step(
    slope=(0.0, 0.0), bends=(1.0, 2.0), cubic=(0, 0), quartic=(0, 0), constant=0.0, far=0.0, wall=np.inf, damping=0.1,
    weight=1e-3,
):  # fmt: skip
    arrays = (jnp.asarray(x, float) for x in (slope, bends, cubic, quartic, constant, far, wall))
    return np.asarray(stepped(*arrays, damping, 1e-12, weight))


def test_where_the_curvature_is_positive_it_is_a_damped_newton_step():
    np.testing.assert_allclose(step((3.0, -2.0)), [-3 / 1.2, 2 / 2.2], rtol=1e-9)
    np.testing.assert_allclose(step((3.0, -2.0), damping=1e-3), [-3 / 1.002, 2 / 2.002], rtol=1e-9)


def test_the_step_is_halved_until_the_loss_falls_by_the_cube_of_its_length():
    # A step of 2.5, after which the loss falls by 3 r - r^2 / 2 - 0.06 r^4, too steep there to be taken for its calm
    for weight, want in ((0.77, 2.5), (0.79, 1.25), (8.6, 1.25), (8.7, 0.625)):
        found = step((-3.0, 0.0), quartic=(0.06, 0.0), weight=weight)
        np.testing.assert_allclose(found, [want, 0], rtol=1e-9)


def test_the_step_is_halved_49_times_at_most():
    shortest = 2.5 * 2.0**-49
    np.testing.assert_allclose(step((-3.0, 0.0), wall=1.01 * shortest), [shortest, 0], rtol=1e-9)
    np.testing.assert_array_equal(step((-3.0, 0.0), wall=0.99 * shortest), [0, 0])


def test_along_negative_curvature_it_goes_as_far_as_that_is_and_falls_by_an_eighth():
    for bend, quartic, want in (
        (-0.5, 0.0, 0.5),
        (-1.0, 0.3, 1.0),
        (-1.0, 0.37, 1.0),
        (-1.0, 0.38, 0.5),
        (-5.0, 0.0, 1.0),  # no further than 1 + |theta|
    ):
        found = step(bends=(bend, 2.0), quartic=(quartic, 0.0))
        np.testing.assert_allclose(np.abs(found), [want, 0], atol=1e-9)
    np.testing.assert_allclose(np.abs(step(bends=(-5.0, 2.0), far=3.0)), [4, 0], atol=1e-9)
    visible = np.sqrt(128 * EPS * 1e12 / 0.05)
    np.testing.assert_allclose(np.abs(step(bends=(-0.05, 2.0), constant=1e12)), [visible, 0], rtol=1e-9, atol=1e-9)


def test_the_side_is_that_of_the_gradient_or_else_the_lower_one():
    for cubic, want in ((0.3, -1), (-0.3, 1)):
        np.testing.assert_allclose(step(bends=(-1.0, 2.0), cubic=(cubic, 0.0)), [want, 0], atol=1e-9)
        # a slope too small to tell against the curvature is not asked; a larger one is, whatever lies beyond
        for slope, told in ((9e-4, False), (1.1e-3, True)):
            found = step((slope, 0.0), (-1.0, 2.0), (-0.3, 0.0))
            np.testing.assert_allclose(found, [-1 if told else 1, 0], atol=1e-9)


def test_of_the_system_and_the_random_start_the_better_is_taken():
    # |lambda|^3 = 1 against |g|^2 / |H| = g^2 / 2
    for slope, out in ((1.35, True), (1.45, False)):
        found = step((0.0, slope), (-1.0, 2.0))
        np.testing.assert_allclose(np.abs(found), [1, 0] if out else [0, slope / 2.2], atol=1e-9)
    for slope, out in ((22.0, True), (23.0, False)):  # 64 against g^2 / 8
        found = step((0.0, slope), (-4.0, 8.0))
        np.testing.assert_allclose(np.abs(found), [1, 0] if out else [0, slope / 8.2], atol=1e-9)


def test_the_system_takes_as_many_products_as_are_allowed():
    bends, w, method = jnp.array([1.0, 2.0, 5.0, 7.0]), jnp.zeros(4), hessian.newton_cg(damping=0.1, num_matvecs=2)
    g = jnp.ones(4)
    update = jax.jit(lambda g: method.update(g, method.init(w), w, value_fn=lambda w: g @ w + bends @ w**2 / 2)[0])(g)
    shifted = np.diag(bends) + 0.2 * np.eye(4)  # two products: the least of the model in the plane of g and H g
    plane = np.stack([g, shifted @ g], axis=1)
    np.testing.assert_allclose(update, -plane @ np.linalg.solve(plane.T @ shifted @ plane, plane.T @ g), rtol=1e-9)
    with pytest.raises(ValueError, match="num_matvecs must be a whole number, at least 2; got 1"):
        hessian.newton_cg(num_matvecs=1)


def test_what_the_loss_cannot_show_is_judged_by_the_gradient():
    np.testing.assert_allclose(step((1e-6, 0.0), constant=1e6), [-1e-6 / 1.2, 0], rtol=1e-9)
    # damped so much that the gradient hardly falls, no step is seen to help
    np.testing.assert_array_equal(step((1e-6, 0.0), constant=1e6, damping=9.0), [0, 0])


def test_the_damping_is_by_default_the_root_of_the_gradient_between_its_bounds():
    bends, w, method = jnp.array([2.0, 2e-3]), jnp.zeros(2), hessian.newton_cg(accuracy=1e-12)

    @jax.jit
    def update(g):
        return method.update(g, method.init(w), w, value_fn=lambda w: g @ w + bends @ w**2 / 2)[0]

    for slope, damping in ((1.0, 1e-4), (2e-10, 1e-5), (1e-20, np.sqrt(EPS))):
        g = slope * jnp.array([0.6, 0.8])
        np.testing.assert_allclose(update(g), -g / (bends + 2 * 2 * damping), rtol=1e-6)
