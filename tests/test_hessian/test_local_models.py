"""Taylor polynomials and the best place on a circle: the lectures' numbers, and brute force."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian

CENTRE = math.pi / 4


def waves(w):
    return jnp.sin(2 * w["a"]) * jnp.exp(w["b"][0] / 2) + w["b"][1] ** 3


def test_the_polynomials_of_the_sine_about_a_quarter_of_pi_have_the_lectures_errors():
    for order, error in ((0, 0.270), (1, 0.437), (2, 0.0836), (3, 0.0343)):
        found = hessian.taylor(jnp.sin, CENTRE, order=order)(CENTRE + 1)
        np.testing.assert_allclose(abs(found - math.sin(CENTRE + 1)), error, rtol=5e-3)
    one = hessian.taylor(jnp.sin, CENTRE, order=1)
    np.testing.assert_allclose(abs(one(CENTRE + 0.1) - math.sin(CENTRE + 0.1)), 3.65e-3, rtol=2e-3)
    np.testing.assert_allclose(abs(one(CENTRE + 3) - math.sin(CENTRE + 3)), 3.43, rtol=2e-3)


@pytest.mark.full
def test_the_coefficients_of_the_sine_are_the_lectures_listing():
    signs = np.array((1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1))
    sums = [float(hessian.taylor(jnp.sin, CENTRE, order=k)(CENTRE + 1)) for k in range(len(signs))]
    factorials = np.array([math.factorial(k) for k in range(len(signs))])
    np.testing.assert_allclose(np.diff(sums, prepend=0), signs / math.sqrt(2) / factorials, atol=1e-15)
    assert abs(sums[10] - math.sin(CENTRE + 1)) <= 1 / math.factorial(11)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_error_in_many_variables_falls_with_one_power_more_than_the_order(order):
    start = {"a": jnp.array(0.3), "b": jnp.array([-0.4, 0.7])}
    near = hessian.taylor(waves, start, order=order)

    def error(h):
        x = jax.tree.map(lambda p: p + h, start)
        return abs(float(near(x) - waves(x)))

    np.testing.assert_allclose(math.log2(error(0.02) / error(0.01)), order + 1, atol=0.1)


def test_the_quadratic_model_is_the_polynomial_of_second_order():
    start = {"a": jnp.array(0.3), "b": jnp.array([-0.4, 0.7])}
    delta = {"a": jnp.array(0.2), "b": jnp.array([0.5, -0.1])}
    there = jax.tree.map(jnp.add, start, delta)
    np.testing.assert_allclose(
        hessian.quadratic_model(waves, start)(delta), hessian.taylor(waves, start, order=2)(there), rtol=1e-14
    )


def lecture(w):
    return (1 - w[0] * w[1]) ** 2


def test_the_linear_minimizer_on_the_circle_is_against_the_gradient():
    at = jnp.array([0.5, 1.0])
    delta = hessian.trust_region_step(lecture, at, radius=0.01)
    np.testing.assert_allclose(delta, 0.01 * np.array([2.0, 1.0]) / math.sqrt(5), rtol=1e-12)
    np.testing.assert_array_equal(hessian.trust_region_step(lecture, jnp.zeros(2), radius=1.0), [0, 0])


@functools.partial(jax.jit, static_argnames="inside")
def on_circle(g, h, radius, inside):
    return hessian.trust_region_step(
        lambda w: g @ w + w @ h @ w / 2, jnp.zeros(2), radius=radius, order=2, inside=inside
    )


@pytest.mark.full
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("radius", [0.01, 0.3, 2.0])
@pytest.mark.parametrize(
    ("g", "eigenvalues"),
    [
        ((1, -2), (0.6, 5)),
        ((1, -2), (-3, 5)),
        ((0, 1), (-3, 5)),
        ((0, 0), (-1, 2)),
        ((1, 1), (-2, -2)),
        ((1, 0), (0, 0)),
    ],
    ids=["bowl", "saddle", "hard case", "on the saddle", "hill", "plane"],
)
def test_the_quadratic_minimizer_is_the_best_of_all_places_tried(g, eigenvalues, radius, inside):
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    h, g = turn @ np.diag(eigenvalues).astype(float) @ turn.T, turn @ np.array(g, float)

    delta = on_circle(jnp.asarray(g), jnp.asarray(h), radius, inside)
    angles = np.linspace(0, 2 * np.pi, 20001)
    radii = np.linspace(0, radius, 101) if inside else np.array([radius])
    places = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    best = np.min(places @ g + np.einsum("...i,ij,...j", places, h, places) / 2)
    length = np.linalg.norm(delta)
    assert length <= radius * (1 + 1e-9)
    assert inside or abs(length / radius - 1) < 1e-9
    assert g @ delta + delta @ h @ delta / 2 <= best + 1e-9 * (1 + abs(best))


@jax.jit
def best_two(at, radius):
    return [hessian.trust_region_step(waves_of_two, at, radius=radius, order=order) for order in (1, 2)]


def test_the_best_point_of_the_circle_turns_to_the_gradient_as_the_circle_shrinks():
    at, turns = jnp.array([0.5, -1.2]), []
    for radius in (1.0, 0.1, 0.01):
        linear, bent = best_two(at, radius)
        turns.append(math.acos(min(1.0, float(linear @ bent) / radius**2)))
    assert 5 < turns[1] / turns[2] < 15  # the angle is proportional to the radius


def waves_of_two(w):
    return jnp.sin(w[0]) + 2 * jnp.cos(w[1]) + w[0] * w[1]


def test_the_best_step_reaches_the_minimum_of_a_parabola():
    for x in (-3.0, 0.0, 2.5):
        step = hessian.newton_step_length(lambda x: 2 * x**2 + 3 * x, x)
        np.testing.assert_allclose(step, abs(x + 0.75), rtol=1e-15)
    assert hessian.newton_step_length(lambda x: 2 * x, 1.0) == jnp.inf
    assert hessian.newton_step_length(lambda x: x**2, 0.0) == 0


def test_wrong_orders_are_refused():
    with pytest.raises(ValueError, match="order must be a whole number, at least 0; got -1"):
        hessian.taylor(jnp.sin, 0.0, order=-1)
    with pytest.raises(ValueError, match="order must be 1 or 2; got 3"):
        hessian.trust_region_step(lecture, jnp.zeros(2), radius=1.0, order=3)


def test_the_best_step_in_many_variables_is_that_along_the_gradient():
    bends, at = np.array([1.0, 4.0]), np.array([3.0, -0.5])
    g = bends * at
    step = hessian.newton_step_length(lambda w: w**2 @ bends / 2, jnp.asarray(at))
    np.testing.assert_allclose(step, np.linalg.norm(g) ** 3 / (g @ (bends * g)), rtol=1e-12)
    np.testing.assert_allclose(
        hessian.newton_step_length(lambda w: -(w**2) @ bends / 2, jnp.asarray(at)), step, rtol=1e-12
    )


def test_what_is_not_said_is_the_second_order_and_the_circle_itself():
    assert hessian.taylor(jnp.exp, 0.0)(1.0) == 2.5
    delta = jax.jit(lambda w: hessian.trust_region_step(lambda w: w[0] + w @ w, w, radius=4.0, order=2))(jnp.zeros(2))
    np.testing.assert_allclose(jnp.linalg.norm(delta), 4)


@pytest.mark.full
@pytest.mark.parametrize(("dtype", "powers"), [("float32", (-30, 25, 37)), ("float64", (-200, 200, 300))])
def test_best_steps_and_circles_do_not_depend_on_the_size_of_the_function(dtype, powers):
    def told(scale, w):
        def f(w):
            return scale * (w[0] ** 2 + 0.5 * w[0] * w[1] - 0.7 * w[1] ** 2 + w[0] - 2 * w[1])

        circles = [hessian.trust_region_step(f, w, radius=0.3, order=order) for order in (1, 2)]
        return jnp.stack([*circles, hessian.newton_step_length(f, w) * jnp.ones(2, dtype)])

    told, at = jax.jit(told), jnp.asarray([0.1, 0.2], dtype)
    expected = told(jnp.ones((), dtype), at)
    g = np.array([1.3, -2.23])
    bent = np.array([[2.0, 0.5], [0.5, -1.4]])
    np.testing.assert_allclose(expected[0], -0.3 * g / np.linalg.norm(g), rtol=1e-5)
    np.testing.assert_allclose(expected[2], np.linalg.norm(g) ** 3 / abs(g @ bent @ g), rtol=1e-5)
    for power in powers:
        np.testing.assert_allclose(told(jnp.asarray(10.0**power, dtype), at), expected, rtol=1e-4)
