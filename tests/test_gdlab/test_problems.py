"""The surfaces, checked against their declarations and against second ways of knowing both."""

import functools
import importlib
import inspect
import itertools
import math
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab.problems
from gdlab.problems import (
    Surface,
    bowls,
    classics,
    lattices,
    linear_autoencoder,
    linear_autoencoder_points,
    linear_net_ridge,
    linear_nets,
    octopus,
    octopus_points,
    quadratic_bowl,
    saddles,
    styblinski_tang,
    surface,
    surfaces,
    valleys,
)

pytestmark = pytest.mark.full

# Losses that grow in every direction, with isolated nondegenerate critical points that are all known.
MORSE = [
    name
    for name, entry in surfaces.items()
    if entry.coercive and entry.complete and not any(point.nullity for point in entry.critical_points)
]

# The same formulas, written again with NumPy for one point of the dimension named in the declaration.
TRANSCRIPTIONS = {
    "himmelblau": lambda p: np.sum((np.array([p[0] ** 2 + p[1], p[0] + p[1] ** 2]) - [11, 7]) ** 2),
    "six_hump_camel": lambda p: (
        4 * p[0] ** 2 - 2.1 * p[0] ** 4 + p[0] ** 6 / 3 + p[0] * p[1] - 4 * p[1] ** 2 + 4 * p[1] ** 4
    ),
    "three_hump_camel": lambda p: np.polyval([1 / 6, 0, -1.05, 0, 2, p[1], p[1] ** 2], p[0]),
    "styblinski_tang_2d": lambda p: sum(np.polyval([0.5, 0, -8, 2.5, 0], c) for c in p),
    "rosenbrock_4d": lambda p: sum(100 * (p[i + 1] - p[i] ** 2) ** 2 + (1 - p[i]) ** 2 for i in range(3)),
    "beale": lambda p: sum((c - p[0] * (1 - p[1] ** i)) ** 2 for i, c in ((1, 1.5), (2, 2.25), (3, 2.625))),
    "booth": lambda p: np.sum((np.array([[1, 2], [2, 1]]) @ p - [7, 5]) ** 2),
    "matyas": lambda p: p @ np.array([[0.26, -0.24], [-0.24, 0.26]]) @ p,
    "dixon_price_2d": lambda p: (p[0] - 1) ** 2 + 2 * (2 * p[1] ** 2 - p[0]) ** 2,
    "goldstein_price": lambda p: _goldstein_price_as_published(*p),
    "wolfe_quapp": lambda p: np.polyval([1, 0, -2, p[1] + 0.3, 0], p[0]) + np.polyval([1, 0, -4, 0.1, 0], p[1]),
    "mueller_brown": lambda p: _mueller_brown_with_matrices(p),
    "rastrigin_2d": lambda p: 20 + p @ p - 10 * np.cos(2 * np.pi * p).sum(),
    "double_wells_3d": lambda p: np.array([1, 2, 3]) @ (p**4 - 2 * p**2 + 1),
    "monkey_saddle": lambda p: (complex(*p) ** 3).real,
    "real_part_z4": lambda p: (complex(*p) ** 4).real,
    "peano": lambda p: p[1] ** 2 - 3 * p[0] ** 2 * p[1] + 2 * p[0] ** 4,
    "mexican_hat": lambda p: (np.hypot(*p) ** 2 - 1) ** 2,
    "linear_net": lambda p: 1 - 2 * p.prod() + p.prod() ** 2,
    "linear_net_depth3": lambda p: (1 - p.prod()) ** 2,
    "linear_autoencoder_2_1_2": lambda p: 0.5 * np.linalg.norm(np.outer(p[:2], p[2:]) - np.diag([3, 1])) ** 2,
    "linear_autoencoder_6_2_6": lambda p: _reconstruction_error(p),
    "ill_conditioned_bowl": lambda p: 0.5 * (p[0] ** 2 + 10 * p[1] ** 2),
    "gaussian_well": lambda p: -math.exp(-(p @ p) / 2),
    "plateau": lambda p: 1 - math.exp(-(p[0] ** 2) / 2),
    "hills": lambda p: 0.6 * math.cos(1.5 * p[0]) + 0.05 * (p[0] - 6) ** 2,
    "tilted_double_well": lambda p: np.polyval([0.25, 0, -0.5, 0.1, 0], p[0]),
}


def _goldstein_price_as_published(x, y):
    first = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    return first * (30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2))


def _mueller_brown_with_matrices(p):
    centres = np.array([[1, 0], [0, 0.5], [-0.5, 1.5], [-1, 1]])
    forms = np.array([[[-1, 0], [0, -10]], [[-1, 0], [0, -10]], [[-6.5, 5.5], [5.5, -6.5]], [[0.7, 0.3], [0.3, 0.7]]])
    d = p - centres
    return np.array([-200, -100, -170, 15]) @ np.exp(np.einsum("ti,tij,tj->t", d, forms, d))


def _reconstruction_error(p):
    decoder, encoder = p[:12].reshape(6, 2), p[12:].reshape(2, 6)
    data = np.diag(np.sqrt([6, 4.5, 3, 2, 1, 0.5]))  # six examples with exactly this second moment
    return np.sum((data - decoder @ encoder @ data) ** 2)


@pytest.fixture(autouse=True)
def _double_precision():
    assert jax.config.jax_enable_x64, "these tests compare 1e-10; run them with JAX_ENABLE_X64=1"


@pytest.fixture(params=surfaces.values(), ids=surfaces.keys())
def landscape(request):
    return request.param


class Measured(NamedTuple):
    """Values, gradients and Hessians of a surface, at many points in one program."""

    known: tuple  # at the critical points
    box: tuple  # at ten points of the box
    ahead: tuple  # a small step from the first of those along each axis
    behind: tuple  # and back
    ones: tuple  # at (1, ..., 1)


STEP = 1e-5


@functools.cache
def _measured(name):
    entry = surfaces[name]
    known, steps = np.array([point.x for point in entry.critical_points]), STEP * np.eye(entry.dim)
    box = _points_in_box(entry, 10)
    parts = [known, box, box[0] + steps, box[0] - steps, np.ones((1, entry.dim))]
    measure = jax.jit(jax.vmap(lambda x: (entry.loss(x), jax.grad(entry.loss)(x), jax.hessian(entry.loss)(x))))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    measured = [np.split(np.asarray(rows), ends) for rows in measure(jnp.array(np.concatenate(parts)))]
    return Measured(*zip(*measured, strict=True))


def _points_in_box(entry, number, seed=0):
    low, high = np.array(entry.box).T
    return np.random.default_rng(seed).uniform(low, high, size=(number, entry.dim))


def test_the_gradient_vanishes_at_every_known_point(landscape):
    _, gradients, hessians = _measured(landscape.name).known
    scale = np.maximum(1, np.abs(hessians).max(axis=(1, 2)))
    assert np.all(np.abs(gradients).max(axis=1) <= 1e-10 * scale)


def test_the_value_at_every_known_point_is_the_declared_one(landscape):
    values, _, _ = _measured(landscape.name).known
    np.testing.assert_allclose(values, [p.value for p in landscape.critical_points], rtol=1e-12, atol=1e-12)


def test_the_eigenvalues_at_every_known_point_are_the_declared_ones(landscape):
    measured = np.linalg.eigvalsh(_measured(landscape.name).known[2])
    declared = np.array([p.eigenvalues for p in landscape.critical_points])
    scale = np.maximum(1, np.abs(declared).max(axis=1, keepdims=True))
    np.testing.assert_array_less(np.abs(measured - declared) / scale, 1e-10)


def test_index_nullity_and_kind_count_the_measured_eigenvalues(landscape):
    for measured, point in zip(
        np.linalg.eigvalsh(_measured(landscape.name).known[2]), landscape.critical_points, strict=True
    ):
        tolerance = 1e-10 * max(1, np.abs(measured).max())
        negative, zero = int(np.sum(measured < -tolerance)), int(np.sum(np.abs(measured) <= tolerance))
        positive = landscape.dim - negative - zero
        if negative and positive:
            kind = "saddle"
        elif zero:
            kind = "degenerate"
        else:
            kind = "maximum" if negative else "minimum"
        assert (point.index, point.nullity, point.kind) == (negative, zero, kind)


@pytest.mark.parametrize("name", MORSE)
def test_the_signed_count_of_critical_points_is_one_when_the_loss_grows_everywhere(name):
    assert sum((-1) ** point.index for point in surface(name).critical_points) == 1  # Poincare and Hopf


def test_a_known_point_is_a_saddle_by_two_signs_and_degenerate_by_zeros_and_one_sign():
    for eigenvalues, kind, index, nullity in (
        ((1, 2), "minimum", 0, 0),
        ((-1, -2), "maximum", 2, 0),
        ((1, -2), "saddle", 1, 0),
        ((1, 0, -2), "saddle", 1, 1),
        ((0, -2), "degenerate", 1, 1),
        ((0, 0, -2), "degenerate", 1, 2),
        ((0, 2), "degenerate", 0, 1),
        ((0, 0), "degenerate", 0, 2),
    ):
        point = gdlab.problems.landscape.known_point((0.0, 0.0), 1.0, eigenvalues)
        assert (point.kind, point.index, point.nullity) == (kind, index, nullity)


def test_known_points_are_distinct_and_in_order(landscape):
    points = landscape.critical_points
    assert len({point.x for point in points}) == len(points)
    assert list(points) == sorted(points, key=lambda p: (p.index, p.value))
    for point in points:
        assert list(point.eigenvalues) == sorted(point.eigenvalues)


@pytest.mark.parametrize("name", [name for name, entry in surfaces.items() if entry.coercive])
def test_no_known_minimum_is_undercut_in_the_box_and_far_away_the_loss_is_large(name):
    entry = surface(name)
    rays = np.random.default_rng(1).normal(size=(100, entry.dim))
    far = 1e3 * np.concatenate([rays / np.linalg.norm(rays, axis=1, keepdims=True), np.eye(entry.dim)])
    points = np.concatenate([_points_in_box(entry, 20_000), far])
    values = jax.jit(jax.vmap(entry.loss))(jnp.array(points))
    assert values[:20_000].min() >= min(point.value for point in entry.critical_points) - 1e-12
    assert values[20_000:].min() > 1e4


# Ways to infinity on which the loss does not grow.
ESCAPES = {
    "linear_net": lambda t: (t, 0),
    "linear_net_depth3": lambda t: (t, t, 0),
    "linear_autoencoder_2_1_2": lambda t: (t, 0, 0, 0),
    "linear_autoencoder_6_2_6": lambda t: (t,) + (0,) * 23,
    "classical_saddle": lambda t: (0, t),
    "quartic_saddle": lambda t: (t, 0),
    "cubic_fold": lambda t: (-t, 0),
    "peano": lambda t: (t, 1.5 * t**2),
    "monkey_saddle": lambda t: (t, t),
    "real_part_z4": lambda t: (t, t),
    "octopus_3d": lambda t: (1.9 * math.e, t, 0),
    "gaussian_well": lambda t: (t, t),
    "plateau": lambda t: (t,),
    "beale": lambda t: (t, 1),
}


def test_a_loss_grows_in_every_direction_or_there_is_a_way_out():
    assert set(ESCAPES) == {name for name, entry in surfaces.items() if not entry.coercive}
    for name, way in ESCAPES.items():
        assert float(surface(name).loss(jnp.array(way(1e3)))) < 20


# Curves of critical points, of which only samples are declared.
CURVES = {
    "linear_net": lambda c: (c, 1 / c),
    "linear_net_depth3": lambda c: (c, 1 / c, 1),
    "linear_autoencoder_2_1_2": lambda c: (3 * c, 0, 1 / c, 0),
    "linear_autoencoder_6_2_6": lambda c: (c,) + (0,) * 11 + (1 / c,) + (0,) * 11,
    "mexican_hat": lambda c: (math.sin(c), math.cos(c)),
    "phase_retrieval_3d": lambda c: (0, math.sin(c) / math.sqrt(3), math.cos(c) / math.sqrt(3)),
}


def test_all_critical_points_are_declared_or_they_fill_a_curve():
    assert set(CURVES) == {name for name, entry in surfaces.items() if not entry.complete}
    for name, curve in CURVES.items():
        for c in (0.7, 1.9):
            np.testing.assert_allclose(jax.grad(surface(name).loss)(jnp.array(curve(c))), 0, atol=1e-14)


def test_the_window_is_centred_on_the_origin_or_on_what_it_shows():
    middles = {name: tuple(round((low + high) / 2, 9) for low, high in entry.box) for name, entry in surfaces.items()}
    named = {"hills": (6,), "rosenbrock_2d": (0, 1), "mueller_brown": (-0.15, 0.9)}
    assert {name: middle for name, middle in middles.items() if any(middle)} == named


# To six digits; most of them can be checked by hand.
LOSSES_AT_THE_STARTS = {
    "linear_net": [0.999998, 3.0625, 1, 1.5625],
    "linear_net_ridge": [0.999998, 3.3125, 1, 1.6125],
    "linear_net_depth3": [0.765625, 1, 1, 1.26562],
    "linear_autoencoder_2_1_2": [4.9725, 5, 4.78125],
    "linear_autoencoder_6_2_6": [17.7094, 17, 13.7188],
    "classical_saddle": [4.999999, 0, 5],
    "double_well_quadratic": [0.495025, 0, 0.245],
    "quadratic_saddle_quartic": [0.495025, 0, 0.245],
    "mexican_hat": [2.25, 0.975156, 1],
    "quartic_min": [2, 0],
    "quartic_saddle": [0.9999, 0, 1],
    "cubic_fold": [0.999, 0, 1.25],
    "peano": [0.375, 0, 1],
    "monkey_saddle": [0.11, 0, 1],
    "real_part_z4": [0.0476, 0, 1],
    "octopus_3d": [1.3266, 0, 1.35914],
    "matrix_factorization_3d": [3.0761, 2.5, 2.76562],
    "phase_retrieval_3d": [0.809075, 0.666667, 0.6875],
    "ill_conditioned_bowl": [9.5, 13.25],
    "quadratic_bowl_kappa_1e1": [8.89801, 3.9151],
    "quadratic_bowl_kappa_1e4": [5243.35, 435.897],
    "booth": [74, 1301],
    "matyas": [7.46, 25],
    "gaussian_well": [-0.535261, -0.00150344, -6.10194e-13],
    "plateau": [0.988891, 0.999996, 1],
    "rosenbrock_2d": [24.2, 1],
    "rosenbrock_3d": [24.2, 2],
    "rosenbrock_4d": [532.4, 3, 3.70824],
    "beale": [41.25, 755.203, 14.2031],
    "tilted_double_well": [0.290625, -0.009375],
    "hills": [3.92352, 3.52602],
    "himmelblau": [170, 260, 13.3119],
    "six_hump_camel": [2.16562, 1.60573, 0],
    "three_hump_camel": [5.58281, 4.86667, 0.877362],
    "dixon_price_2d": [22, 0.666667, 2],
    "goldstein_price": [1876, 1595.41, 35],
    "wolfe_quapp": [-2.9, 4.5576, -3.9803],
    "mueller_brown": [-43.5216, 21.5731, -40.6648],
    "styblinski_tang_1d": [0, 10, 0.195612],
    "styblinski_tang_2d": [0, 0, -24.8338, -18.8044],
    "double_wells_2d": [2.6875, 2.8818, 1, 2.125],
    "double_wells_3d": [5.1718, 4, 5.125],
    "rastrigin_1d": [23.9802, 35.1802],
    "rastrigin_2d": [35.73, 55.2303, 20.2513, 27.2011],
}


def test_every_start_is_where_its_loss_says():
    for name, entry in surfaces.items():
        losses = [float(entry.loss(jnp.array(start))) for start in entry.starts]
        np.testing.assert_allclose(losses, LOSSES_AT_THE_STARTS[name], rtol=5e-6, atol=1e-15, err_msg=name)


def test_the_box_contains_the_starts_and_the_known_points(landscape):
    low, high = np.array(landscape.box).T
    assert landscape.box == tuple((float(a), float(b)) for a, b in landscape.box)
    for x in (*landscape.starts, *(point.x for point in landscape.critical_points)):
        assert len(x) == landscape.dim == len(landscape.box)
        assert np.all((low <= x) & (x <= high))


def test_where_there_is_a_saddle_a_start_lies_exactly_on_it(landscape):
    flat = {point.x for point in landscape.critical_points if point.kind == "saddle"}
    assert not flat or flat & set(landscape.starts)


# Where descent goes from the last start: a point that is no minimum, by symmetry of the surface.
TRAPS = {
    "linear_net": (0, 0),
    "linear_net_ridge": (0, 0),
    "linear_net_depth3": (0, 0, 0),
    "linear_autoencoder_2_1_2": (0, 1, 0, 1),
    "linear_autoencoder_6_2_6": next(p.x for p in linear_autoencoder_points() if p.value == 17 - 4.5 - 3),
    "classical_saddle": (0, 0),
    "double_well_quadratic": (0, 0),
    "quadratic_saddle_quartic": (0, 0),
    "quartic_saddle": (0, 0),
    "cubic_fold": (0, 0),
    "peano": (0, 0),
    "monkey_saddle": (0, 0),
    "real_part_z4": (0, 0),
    "dixon_price_2d": (1 / 3, 0),
    "double_wells_2d": (0, 1),
    "double_wells_3d": (0, 1, 0),
    "styblinski_tang_2d": (0.1567312567803401, 2.746802770990837),
    "rastrigin_2d": (0.5025460365546747, 0),
}


@pytest.mark.parametrize("name", TRAPS)
def test_descent_from_the_last_start_ends_at_a_point_that_is_no_minimum(name):
    entry = surface(name)
    declared = next(point for point in entry.critical_points if point.x == TRAPS[name])
    rate = 0.3 / max(1.0, *(abs(e) for point in entry.critical_points for e in point.eigenvalues))
    gradient = jax.grad(entry.loss)
    steps = 10_000 if declared.nullity else 200  # the approach along flat directions is slower than any exponential
    end = jax.lax.fori_loop(0, steps, lambda _, x: x - rate * gradient(x), jnp.array(entry.starts[-1]))
    assert declared.kind in ("saddle", "degenerate")
    np.testing.assert_allclose(end, declared.x, atol=0.05 if declared.kind == "degenerate" else 1e-3)


@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_the_loss_equals_its_numpy_transcription(name):
    points = _points_in_box(surface(name), 20)
    values = jax.jit(jax.vmap(surface(name).loss))(jnp.array(points))
    np.testing.assert_allclose(values, [TRANSCRIPTIONS[name](p) for p in points], rtol=1e-12, atol=1e-12)


def test_gradient_and_hessian_equal_central_differences(landscape):
    _, box, ahead, behind, _ = _measured(landscape.name)
    for order in (0, 1):
        exact, differences = box[order + 1][0], (ahead[order] - behind[order]) / (2 * STEP)
        scale = max(1.0, float(np.abs(exact).max()), 1e-4 * abs(float(box[0][0])))
        np.testing.assert_allclose(exact, differences, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_the_dtype_of_theta_is_the_dtype_of_the_loss(landscape, dtype):
    with jax.numpy_dtype_promotion("strict"):
        assert jax.eval_shape(landscape.loss, jnp.zeros(landscape.dim, dtype)).dtype == dtype


def test_float32_agrees_with_float64(landscape):
    points, exact = _points_in_box(landscape, 10), _measured(landscape.name).box[0]
    scale = max(1.0, float(np.abs(exact).max()))
    rounded = jax.jit(jax.vmap(landscape.loss))(jnp.array(points, jnp.float32))
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=1e-5 * scale)


def test_one_point_alone_is_as_in_a_compiled_batch_and_integers_and_lists_are_points(landscape):
    (expected,) = _measured(landscape.name).ones[0]
    ones = [1] * landscape.dim
    for given in (jnp.array(ones), np.ones(landscape.dim), ones):
        assert float(landscape.loss(given)) == pytest.approx(float(expected), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("name", ["linear_net", "himmelblau", "plateau", "styblinski_tang_2d"])
@pytest.mark.parametrize("shape", [(), (2, 5)])
def test_another_shape_is_refused_with_the_way_to_do_it(name, shape):
    with pytest.raises(ValueError, match=r"theta must be a 1-D array.*got shape \(.*; use jax.vmap"):
        surface(name).loss(jnp.ones(shape))


def test_the_wrong_number_of_coordinates_is_refused():
    with pytest.raises(ValueError, match=r"^theta must be a 1-D array of 2 numbers, got shape \(3,\); use jax.vmap"):
        surface("himmelblau").loss(jnp.ones(3))
    with pytest.raises(ValueError, match=r"theta must hold 2 n p weights with n = 6 variances, .* 12; got 13"):
        linear_autoencoder(jnp.ones(13))


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError) as caught:
        surface("monkey")
    *names, last = map(repr, sorted(surfaces))
    assert str(caught.value) == f"name must be {', '.join(names)} or {last}; got 'monkey'"


# Their functions of the same name hide these modules in the package.
MORE = [importlib.import_module(f"gdlab.problems.{name}") for name in ("octopus", "recovery")]


def test_every_declared_surface_is_in_the_catalogue_under_its_name():
    declared = {
        entry
        for module in (linear_nets, saddles, bowls, valleys, classics, lattices, *MORE)
        for _, entry in inspect.getmembers(module, lambda member: isinstance(member, Surface))
    }
    assert declared == set(surfaces.values())
    assert all(surface(name) is entry and entry.name == name for name, entry in surfaces.items())


def test_every_public_name_exists_and_every_loss_is_public():
    assert all(hasattr(gdlab.problems, name) for name in gdlab.problems.__all__)
    for entry in surfaces.values():
        assert getattr(entry.loss, "func", entry.loss).__name__ in gdlab.problems.__all__


def test_three_by_the_power_of_the_dimension():
    for dim in (1, 3):
        roots = jnp.array([-2.903534027771177, 0.1567312567803401, 2.746802770990837])
        points = jnp.stack(jnp.meshgrid(*[roots] * dim), axis=-1).reshape(-1, dim)
        assert points.shape[0] == 3**dim
        np.testing.assert_allclose(jax.vmap(jax.grad(styblinski_tang))(points), 0, atol=1e-13)


def test_the_lectures_numbers_of_the_linear_net():
    loss = surface("linear_net").loss
    along = [round(float(loss(jnp.array([s, s]))), 4) for s in (0.01, 0.1, 0.5)]
    across = [round(float(loss(jnp.array([s, -s]))), 4) for s in (0.01, 0.1, 0.5)]
    assert along == [0.9998, 0.9801, 0.5625]
    assert across == [1.0002, 1.0201, 1.5625]
    np.testing.assert_array_equal(jax.jit(jax.hessian(loss))(jnp.zeros(2)), [[0, -2], [-2, 0]])


def test_the_lectures_numbers_of_the_plateau():
    loss = surface("plateau").loss
    assert round(float(loss(jnp.array([6.0]))), 8) == 0.99999998
    assert float(jax.grad(loss)(jnp.array([6.0]))[0]) == pytest.approx(9.1e-8, rel=5e-3)


def test_the_lectures_curve_of_the_bowl_with_the_best_rate():
    gradient, x = jax.grad(quadratic_bowl), jnp.array([3.0, 1.0])
    losses = []
    for step in range(101):
        if step in (0, 5, 20, 100):
            losses.append(float(f"{float(quadratic_bowl(x)):.2g}"))
        x = x - 2 / 11 * gradient(x)
    assert losses == [9.5, 1.3, 3.1e-3, 3.5e-17]


def test_the_condition_of_a_bowl_and_the_decay_of_a_net_can_be_mapped_and_differentiated():
    bends = jax.vmap(lambda c: jnp.diag(jax.hessian(quadratic_bowl)(jnp.zeros(3), c)))(jnp.array([1.0, 100.0]))
    np.testing.assert_allclose(bends, [[1, 1, 1], [1, 10, 100]], rtol=1e-14)
    assert float(jax.grad(linear_net_ridge, argnums=1)(jnp.array([1.0, 2.0]), 0.1)) == 5.0


@pytest.mark.parametrize(("chosen", "value", "index"), [((0, 1), 6.5, 0), ((0, 2), 8.0, 1), ((4, 5), 15.5, 8)])
def test_the_autoencoder_has_the_lectures_losses_and_indices(chosen, value, index):
    points = [p for p in linear_autoencoder_points() if {i // 2 for i in range(12) if p.x[i]} == set(chosen)]
    assert [(p.value, p.index, p.nullity) for p in points] == [(value, index, 4)]


def test_index_of_a_full_rank_autoencoder_counts_the_larger_variances_left_out():
    variances = (5.0, 3.0, 2.5, 1.0, 0.25)
    points = linear_autoencoder_points(variances, code=3)
    assert len(points) == 1 + 5 + 10 + 10
    assert sum(point.index == 0 for point in points) == 1
    bend = jax.jit(jax.vmap(lambda x: jax.hessian(linear_autoencoder)(x, variances)))
    for point, hessian in zip(points, bend(jnp.array([point.x for point in points])), strict=True):
        chosen = [j for j in range(5) if any(point.x[3 * j : 3 * j + 3])]
        if len(chosen) == 3:
            outside = [j for j in range(5) if j not in chosen]
            assert point.index == sum(variances[j] > variances[i] for i in chosen for j in outside)
            assert point.nullity == 9
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian), point.eigenvalues, atol=1e-12)


def test_renaming_the_variables_of_a_double_well_changes_nothing():
    first, second = surface("double_well_quadratic"), surface("quadratic_saddle_quartic")
    for point in jnp.array(_points_in_box(first, 20)):
        assert first.loss(point) == second.loss(point[::-1])


def test_one_hessian_and_four_different_points():
    family = [surface(name) for name in ("quartic_min", "quartic_saddle", "cubic_fold", "peano")]
    assert {entry.critical_points for entry in family} == {family[0].critical_points}
    assert {p.kind for entry in family for p in entry.critical_points} == {"degenerate"}
    below = [bool(entry.loss(jnp.array([-0.1, 0.015])) < 0) for entry in family]
    assert below == [False, False, True, True]
    assert surface("quartic_saddle").loss(jnp.array([0.1, 0.0])) < 0


def test_the_octopus_is_twice_continuously_differentiable_from_tube_to_tube():
    """Which fixes every coefficient of its polynomials, and how far each tube lies below the one before."""
    stiffness, tau, gamma = 3.0, 2.0, 0.7

    @jax.jit
    @jax.vmap
    def measured(x):
        loss = functools.partial(octopus, stiffness=stiffness, tau=tau, gamma=gamma)
        return loss(x), jax.grad(loss)(x), jax.hessian(loss)(x)

    rest = np.array([-0.9, 0.4]) * tau
    seams = [(*[4.1 * tau] * k, -z * tau, *rest[: 2 - k]) for k in range(3) for z in (1, 2)]
    for before, behind in zip(*(measured(end * jnp.array(seams)) for end in (1 - 1e-9, 1 + 1e-9)), strict=True):
        np.testing.assert_allclose(before, behind, atol=1e-5)
    for point in octopus_points(3, stiffness, tau, gamma):
        value, gradient, hessian = (one[0] for one in measured(jnp.array([point.x])))
        np.testing.assert_allclose(value, point.value, rtol=1e-12)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian), point.eigenvalues, rtol=1e-12)
    for k, point in enumerate(([0.5, -0.6, 0.7], [-4.1, 0.5, 0.7], [4.1, -4.2, 0.5], [4.1, 3.5, -4.2])):
        x = tau * np.array(point)
        left, own, waiting = (np.abs(x[:k]) - 4 * tau) ** 2, x[k : k + 1] ** 2, x[k + 1 :] ** 2
        drop = octopus_points(1, stiffness, tau, gamma)[0].value
        expected = stiffness * (left.sum() + waiting.sum()) - gamma * own.sum() + k * drop
        np.testing.assert_allclose(measured(jnp.array([x]))[0][0], expected, rtol=1e-12)


# Losses of any size, at one that no declaration has.
OTHER_SIZES = {
    "quadratic_bowl": (1, lambda p: 0.5 * p[0] ** 2),
    "dixon_price": (4, lambda p: (p[0] - 1) ** 2 + sum((i + 1) * (2 * p[i] ** 2 - p[i - 1]) ** 2 for i in (1, 2, 3))),
    "mexican_hat": (3, lambda p: (np.linalg.norm(p) ** 2 - 1) ** 2),
    "double_well_quadratic": (3, lambda p: np.polyval([0.25, 0, -0.5, 0, 0], p[0]) + 0.5 * (p[1] ** 2 + p[2] ** 2)),
    "quadratic_saddle_quartic": (3, lambda p: np.polyval([0.25, 0, -0.5, 0, 0], p[2]) + 0.5 * (p[0] ** 2 + p[1] ** 2)),
    "gaussian_well": (3, lambda p: -math.exp(-(p @ p) / 2)),
    "plateau": (3, lambda p: 1 - math.exp(-(p @ p) / 2)),
    "rosenbrock": (5, lambda p: sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(p))),
    "styblinski_tang": (3, lambda p: sum(np.polyval([0.5, 0, -8, 2.5, 0], c) for c in p)),
    "double_wells": (1, lambda p: (p[0] ** 2 - 1) ** 2),
    "rastrigin": (3, lambda p: 30 + p @ p - 10 * np.cos(2 * np.pi * p).sum()),
    "phase_retrieval": (2, lambda p: (3 * (p @ p) ** 2 - 2 * (p @ p) - 4 * p[0] ** 2 + 3) / 4),
    "matrix_factorization": (
        6,
        lambda p: np.linalg.norm(p.reshape(3, 2) @ p.reshape(3, 2).T - np.diag([3, 2, 1])) ** 2 / 4,
    ),
    "linear_autoencoder": (
        12,
        lambda p: np.sum(((np.eye(6) - np.outer(p[:6], p[6:])) * np.sqrt([6, 4.5, 3, 2, 1, 0.5])) ** 2),
    ),
}


def test_losses_of_any_size_equal_their_numpy_transcription_at_other_sizes():
    for name, (size, formula) in OTHER_SIZES.items():
        loss = getattr(gdlab.problems, name)
        for point in np.random.default_rng(0).normal(size=(2, size)):
            np.testing.assert_allclose(loss(jnp.array(point)), formula(point), rtol=1e-12, err_msg=name)
    assert float(octopus(jnp.array([1.0]))) == -1
    assert float(octopus(jnp.array([1.0, 2.0]), gamma=0.5, stiffness=2.0)) == 7.5


def test_what_no_surface_can_be_given_is_named():
    problems = gdlab.problems
    for call, said in (
        (lambda: problems.matrix_factorization(jnp.ones(4)), "theta must hold n p numbers with n = 3 eigenvalues mu"),
        (lambda: problems.quadratic_bowl(jnp.ones(2), 0), r"condition must lie in \(0, inf\); got 0"),
        (lambda: problems.linear_net_ridge(jnp.ones(2), -1), r"decay must lie in \[0, inf\); got -1"),
        (lambda: octopus(jnp.ones(2), tau=0), r"tau must lie in \(0, inf\); got 0"),
        (lambda: octopus_points(0), "dim must be a whole number, at least 1; got 0"),
        (lambda: linear_autoencoder_points((2.0, 1.0), 3), "code must be a whole number, from 1 to 2; got 3"),
        (lambda: linear_autoencoder_points((2.0, 1.0), 0), "code must be a whole number, from 1 to 2; got 0"),
        (lambda: linear_autoencoder_points((1.0, 1.0)), "variances must be distinct positive numbers in falling order"),
        (lambda: linear_autoencoder_points((1.0, 0.0)), "variances must be distinct positive numbers in falling order"),
        (lambda: linear_autoencoder_points(()), "variances must be distinct positive numbers in falling order"),
        (lambda: linear_autoencoder_points(("a",)), "variances must be distinct positive numbers in falling order"),
        (lambda: surface("plateau").loss(jnp.ones((1, 1))), r"theta must be a 1-D array, got shape \(1, 1\)"),
        (lambda: surface("hills").loss(jnp.ones(2)), r"theta must be a 1-D array of 1 number, got shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    assert len(linear_autoencoder_points((2.0, 1.0), 2)) == 4


def test_the_surfaces_of_the_lectures_say_where_they_come_from():
    cited = {
        name: entry.source.rpartition("S")[2] for name, entry in surfaces.items() if re.search(r"\bS\d", entry.source)
    }
    assert cited == {
        "linear_net": "52; Baldi & Hornik 1989 in the scalar case",
        "ill_conditioned_bowl": "7",
        "plateau": "62",
        "tilted_double_well": "10",
        "hills": "75",
    }


@pytest.mark.parametrize("dim", [2, 3])
def test_atoms_attract_and_repel_in_pairs_and_start_in_a_ball_with_room_for_all(dim):
    x = np.random.default_rng(1).normal(size=(5, dim))
    distances = [np.linalg.norm(one - other) for one, other in itertools.combinations(x, 2)]
    energy = sum(4 * (r**-12 - r**-6) for r in distances)
    np.testing.assert_allclose(gdlab.problems.lennard_jones(jnp.asarray(x)), energy, rtol=1e-12)
    if dim == 3:
        np.testing.assert_allclose(gdlab.problems.lennard_jones(jnp.asarray(x.ravel())), energy, rtol=1e-12)
    for bad in (jnp.zeros(()), jnp.ones(4), jnp.zeros((0,)), jnp.ones((1, 2, 3))):
        with pytest.raises(
            ValueError, match=r"theta must be an array of shape \(atoms, d\), or \(3 atoms,\), got shape"
        ):
            gdlab.problems.lennard_jones(bad)
    atoms = 10 * dim
    starts = np.asarray(gdlab.problems.lennard_jones_starts(atoms, 400, dim=dim, key=jax.random.key(3)))
    assert starts.shape == (400, atoms, dim)
    radii = np.linalg.norm(starts, axis=-1) / (0.9 * atoms ** (1 / dim))
    assert 0.95 < radii.max() <= 1 + 1e-12
    # Uniform: the share of the ball's volume within is the power of the radius.
    np.testing.assert_allclose(np.mean(radii**dim), 0.5, atol=4 / math.sqrt(12 * radii.size))


def test_couplings_of_a_spin_glass_have_variance_one_over_the_spins_and_none_binds_itself():
    couplings = gdlab.problems.spin_glass_couplings(60, key=jax.random.key(1))
    upper = couplings[np.triu_indices(60, 1)]
    np.testing.assert_allclose(jnp.var(upper) * 60, 1, atol=4 * math.sqrt(2 / upper.size))
    assert upper.all()
    np.testing.assert_array_equal(couplings, couplings.T)
    assert not jnp.diag(couplings).any()
    assert gdlab.problems.spin_glass_couplings(2).shape == (2, 2)
    for theta, given in ((jnp.zeros(()), jnp.ones((1, 1))), (jnp.zeros(0), jnp.ones((1, 1))), (jnp.ones((2, 2)), 3)):
        with pytest.raises(ValueError, match="theta must be a 1-D array of at least one angle, got shape"):
            gdlab.problems.spin_glass(theta, jnp.asarray(given, float))
    with pytest.raises(
        ValueError, match=r"couplings must have shape \(3, 3\), one more than there are angles, got shape"
    ):
        gdlab.problems.spin_glass(jnp.zeros(2), jnp.ones((2, 2)))


def test_a_spin_glass_is_the_sum_over_pairs_of_unit_vectors_and_rests_where_all_are_parallel():
    couplings = gdlab.problems.spin_glass_couplings(5)
    theta = np.random.default_rng(0).uniform(0, 7, 4)
    angles = np.concatenate([[0.0], theta])
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    energy = -sum(couplings[i, j] * units[i] @ units[j] for i in range(5) for j in range(i))
    assert float(gdlab.problems.spin_glass(jnp.asarray(theta), couplings)) == pytest.approx(float(energy), rel=1e-12)
    slopes = jax.vmap(jax.grad(gdlab.problems.spin_glass), (0, None))
    parallel = jnp.pi * jnp.array(list(itertools.product([0.0, 1.0], repeat=4)))
    np.testing.assert_allclose(slopes(parallel, couplings), 0, atol=1e-14)
