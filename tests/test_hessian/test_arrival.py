"""No strict saddle holds us: from on it, from beside it, from its stable manifold, in both precisions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.problems import surface, surfaces

STRICT = ["linear_net", "linear_autoencoder_6_2_6", "matrix_factorisation_3d", "himmelblau"]


def starts_at_saddles(name):
    """On each strict saddle, 1e-8 beside it, and 1e-2 along its positive eigenvectors."""
    entry, rng = surface(name), np.random.default_rng(0)
    found = []
    for point in entry.critical_points:
        if point.index:
            x = np.array(point.x)
            values, vectors = np.linalg.eigh(jax.hessian(entry.loss)(jnp.array(x)))
            beside = rng.normal(size=x.size)
            positive = vectors[:, values > 1e-9 * np.abs(values).max()]
            along = rng.normal(size=positive.shape[1])
            found += [x, x + 1e-8 * beside / np.linalg.norm(beside)]
            if along.size:
                found.append(x + 1e-2 * positive @ along / np.linalg.norm(along))
    return np.array(found)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", STRICT)
def test_every_strict_saddle_is_left_for_a_proved_second_order_point(name, dtype):
    loss = surface(name).loss
    ends = jax.vmap(lambda x: hessian.arrive(loss, x))(jnp.array(starts_at_saddles(name), dtype))
    assert ends.arrived.all(), ends.reason
    assert (ends.loss < ends.loss_before).all()
    hessians = np.asarray(jax.vmap(jax.hessian(loss))(ends.params.astype(float)))
    lowest, highest = np.linalg.eigvalsh(hessians)[:, [0, -1]].T
    # A run stops within about sqrt(eps) of the point, where a flat valley may curve downwards by as much.
    assert (lowest >= -10 * jnp.sqrt(jnp.finfo(dtype).eps) * highest).all()


OPTIMIZERS = {
    "gd": lambda: gdlab.gd(0.1),
    "momentum": lambda: gdlab.momentum(0.05),
    "adam": lambda: gdlab.adam(0.01),
    "optax adam": lambda: optax.adam(0.01),
    "optax sgd": lambda: optax.sgd(0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_any_optimizer_leaves_the_saddle_and_ends_with_a_certificate(optimizer):
    loss = surface("linear_net_ridge").loss
    starts = jnp.array([[0.0, 0.0], [1e-8, 0.0], [0.5, -0.5]])
    arrive = functools.partial(hessian.arrive, optimizer=optimizer(), rounds=20)
    ends = jax.vmap(lambda x: arrive(loss, x))(starts)
    assert (ends.reason == "a minimum: the gradient vanishes and every eigenvalue is positive").all()
    np.testing.assert_allclose(ends.loss, 0.19, rtol=1e-12)


def nan_beyond(x):
    return jnp.where(x[0] > 2.5, jnp.nan, (x[0] - 3) ** 2 + x[1] ** 2)


ENDS = {
    "a degenerate saddle": (surface("monkey_saddle").loss, (0.0, 0.0), {}, "a degenerate second-order point"),
    "a plateau": (surface("gaussian_well").loss, (60.0, 0.0), {}, "a plateau"),
    "an unbounded surface": (surface("classical_saddle").loss, (0.0, 0.0), {}, "unbounded"),
    "NaN at the start": (lambda x: jnp.sum(jnp.log(x)), (-1.0, 1.0), {}, "not finite"),
    "an exhausted budget": (surface("rosenbrock_2d").loss, (-1.2, 1.0), {"finish": 3}, "the budget is spent"),
    "no budget on a saddle": (surface("linear_net").loss, (0.0, 0.0), {"finish": 0}, "negative curvature is left"),
    "a wall of NaN": (nan_beyond, (0.0, 1.0), {}, "no step lowers the loss visibly"),
    "an optimizer that diverges": (
        surface("double_well_quadratic").loss,
        (3.0, 1.0),
        {"optimizer": optax.sgd(10.0), "finish": 0},
        "the budget is spent",
    ),
    "negative curvature below rounding": (
        lambda x: 1e12 + 1e-6 * jnp.cos(1e-6 * x[1]) + 1e-12 * x[0] ** 2,
        (0.0, 0.0),
        {},
        "negative curvature is left",
    ),
}


@pytest.mark.parametrize(("loss", "start", "options", "reason"), ENDS.values(), ids=ENDS)
def test_each_other_end_has_its_reason_and_the_best_point(loss, start, options, reason):
    end = hessian.arrive(loss, jnp.array(start), **options)
    assert end.reason.startswith(reason), end.certificate
    assert bool(end.arrived) == reason.startswith("a degenerate")
    assert not end.loss > end.loss_before
    np.testing.assert_array_equal(end.loss, loss(end.params))


def test_the_plateau_of_the_lectures_is_no_trap():
    end = hessian.arrive(surface("plateau").loss, jnp.array([6.0]))  # |g| = 9e-8 there
    assert end.arrived
    assert end.loss < 1e-15


def test_a_tree_of_parameters_and_data_go_through():
    def loss(params, x, y):
        return jnp.mean((params["out"] @ (params["in"] @ x) - y) ** 2)

    x = jnp.eye(3)
    end = hessian.arrive(loss, {"in": jnp.zeros((2, 3)), "out": jnp.zeros((3, 2))}, x, jnp.diag(jnp.array([3.0, 2, 1])))
    assert end.arrived
    np.testing.assert_allclose(end.loss, 1 / 9, rtol=1e-9)  # the smallest singular value is missed


def test_more_parameters_than_a_matrix_is_made_of():
    def loss(x):
        return jnp.sum(jnp.arange(1, x.size + 1) * (x**2 - 1) ** 2) / x.size

    end = hessian.arrive(loss, jnp.zeros(600), finish=60)
    assert end.loss < 1e-3 * end.loss_before


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="rounds must be a whole number, at least 0; got -1"):
        hessian.arrive(jnp.sum, jnp.zeros(2), rounds=-1)
    with pytest.raises(ValueError, match=r"steps must be a whole number, at least 1; got 0\.5"):
        hessian.arrive(jnp.sum, jnp.zeros(2), steps=0.5)


@pytest.mark.parametrize("name", ["monkey_saddle", "quartic_saddle", "peano", "cubic_fold", "real_part_z4"])
def test_a_degenerate_saddle_is_never_called_a_minimum(name):
    end = hessian.arrive(surfaces[name].loss, jnp.zeros(2))
    assert end.point.kind == "degenerate"
    assert end.reason.startswith("a degenerate second-order point")
