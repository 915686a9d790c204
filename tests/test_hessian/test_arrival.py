"""No strict saddle holds us: from on it, from beside it, from its stable manifold, in both precisions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.problems import rosenbrock, surface

STRICT = {
    "plane, float32": (("linear_net", "himmelblau", "six_hump_camel"), jnp.float32),
    "plane, float64": (("linear_net", "himmelblau", "six_hump_camel"), jnp.float64),
    "autoencoder": (("linear_autoencoder_6_2_6",), jnp.float64),
    "factorisation, float32": (("matrix_factorisation_3d",), jnp.float32),
}


def one_of(losses):
    """One loss that is many: `which` chooses, so that all of them compile together."""
    losses = list(losses)
    return lambda x, which: jax.lax.switch(which, losses, x)


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


@pytest.mark.parametrize(("names", "dtype"), STRICT.values(), ids=STRICT)
def test_every_strict_saddle_is_left_for_a_proved_second_order_point(names, dtype):
    loss, starts = one_of(surface(name).loss for name in names), [starts_at_saddles(name) for name in names]
    which = jnp.repeat(jnp.arange(len(names)), np.array([len(x) for x in starts]))
    ends = jax.vmap(lambda x, i: hessian.arrive(loss, x, i))(jnp.array(np.concatenate(starts), dtype), which)
    assert ends.arrived.all(), ends.reason
    assert (ends.loss < ends.loss_before).all()
    hessians = np.asarray(jax.vmap(jax.hessian(loss))(ends.params.astype(float), which))
    lowest, highest = np.linalg.eigvalsh(hessians)[:, [0, -1]].T
    # A run stops within about sqrt(eps) of the point, where a flat valley may curve downwards by as much.
    assert (lowest >= -10 * jnp.sqrt(jnp.finfo(dtype).eps) * highest).all()


OPTIMIZERS = {"gd": lambda: gdlab.gd(0.1), "optax adam": lambda: optax.adam(0.01)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_any_optimizer_leaves_the_saddle_and_ends_with_a_certificate(optimizer):
    loss = surface("linear_net_ridge").loss
    starts = jnp.array([[0.0, 0.0], [1e-8, 0.0], [0.5, -0.5]])
    arrive = functools.partial(hessian.arrive, optimizer=optimizer(), rounds=20)
    ends = jax.vmap(lambda x: arrive(loss, x))(starts)
    assert (ends.reason == "a minimum: the gradient vanishes and every eigenvalue is positive").all()
    np.testing.assert_allclose(ends.loss, 0.19, rtol=1e-12)


# The loss, the start, how many steps at most, and what the reason begins with.
ENDS = {
    "a degenerate minimum": (surface("quartic_min").loss, (0.0, 0.0), 500, "a degenerate second-order point"),
    "a monkey saddle": (surface("monkey_saddle").loss, (0.0, 0.0), 500, "unbounded"),
    "a saddle that falls along curves only": (surface("peano").loss, (0.0, 0.0), 500, "unbounded"),
    "a fold": (surface("cubic_fold").loss, (0.0, 0.0), 500, "unbounded"),
    "a degenerate saddle above a valley": (
        lambda x: (1 - x[0] ** 2 * x[1]) ** 2 + 0.1 * jnp.sum(x**4),
        (0.0, 0.0),
        500,
        "a minimum",
    ),
    "a degenerate saddle without budget": (surface("monkey_saddle").loss, (0.0, 0.0), 0, "a degenerate second-order"),
    "a plateau": (surface("gaussian_well").loss, (60.0, 0.0), 500, "a plateau"),
    "the plateau of the lectures": (
        lambda x: surface("plateau").loss(x[:1]) + x[1] ** 2,  # |g| = 9e-8 there
        (6.0, 0.0),
        500,
        "a minimum",
    ),
    "an unbounded surface": (surface("classical_saddle").loss, (0.0, 0.0), 500, "unbounded"),
    "NaN at the start": (lambda x: jnp.sum(jnp.log(x)), (-1.0, 1.0), 500, "not finite"),
    "an exhausted budget": (surface("rosenbrock_2d").loss, (-1.2, 1.0), 3, "the budget is spent"),
    "no budget on a saddle": (surface("linear_net").loss, (0.0, 0.0), 0, "negative curvature is left"),
    "a wall of NaN": (
        lambda x: jnp.where(x[0] > 2.5, jnp.nan, (x[0] - 3) ** 2 + x[1] ** 2),
        (0.0, 1.0),
        500,
        "no step lowers the loss visibly",
    ),
    "negative curvature below rounding": (
        lambda x: 1e12 + 1e-6 * jnp.cos(1e-6 * x[1]) + 1e-12 * x[0] ** 2,
        (0.0, 0.0),
        500,
        "negative curvature is left",
    ),
}
ANY_END = one_of(loss for loss, *_ in ENDS.values())


def end_of(name):
    _, start, budget, _ = ENDS[name]
    return hessian.arrive(ANY_END, jnp.array(start), list(ENDS).index(name), finish=budget)


@pytest.mark.parametrize("name", ENDS)
def test_each_end_has_its_reason_and_the_best_point(name):
    end, (loss, _, _, reason) = end_of(name), ENDS[name]
    assert end.reason.startswith(reason), end.certificate
    assert bool(end.arrived) == (reason.startswith("a ") and reason != "a plateau")
    assert not end.loss > end.loss_before
    np.testing.assert_allclose(end.loss, loss(end.params), rtol=1e-13)


def test_degenerate_saddles_are_left_where_something_lower_is_near_and_only_there():
    assert end_of("a degenerate saddle above a valley").loss < 0.3
    assert end_of("a degenerate minimum").escapes == 0


def test_an_optimizer_that_diverges_ends_at_the_lowest_point_it_met():
    loss = surface("double_well_quadratic").loss
    end = hessian.arrive(loss, jnp.array([3.0, 1.0]), optimizer=optax.sgd(10.0), finish=0)
    assert end.reason.startswith("the budget is spent")
    assert end.loss <= end.loss_before


def test_a_valley_of_ten_dimensions_costs_less_than_fourteen_dense_newton_steps():
    end = hessian.arrive(rosenbrock, jnp.array([-1.2, 1.0] * 5))
    assert end.arrived
    assert end.gradients + 2 * end.products < 14 * (1 + 2 * 10)


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
