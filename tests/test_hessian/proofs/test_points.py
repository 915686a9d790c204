"""Points of networks with up to hundreds of parameters are proved by balls over arrays, and Arb agrees where it can."""

import dataclasses
import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import hessian

pytestmark = pytest.mark.full

pytest.importorskip("flint")
pytest.importorskip("ival")

from hessian.proofs import point  # noqa: E402
from hessian.proofs.kernels import adjoint, points  # noqa: E402
from hessian.proofs.kernels import arb as judge  # noqa: E402
from hessian.proofs.kernels.balls import SHORT, Balls, _bound_of_product  # noqa: E402
from hessian.proofs.lowering import lowered  # noqa: E402
from hessian.proofs.program import NotProved  # noqa: E402
from hessian.proofs.replay import read, replayed  # noqa: E402

ACTIVATIONS = {"tanh": jnp.tanh, "softplus": jax.nn.softplus, "gelu": jax.nn.gelu, "sigmoid": jax.nn.sigmoid}


def network(sizes, examples, activation=jnp.tanh, decay=0.02, classes=False, seed=0):
    draw = np.random.default_rng(seed)
    x = jnp.asarray(draw.normal(size=(examples, sizes[0])))
    shapes = list(itertools.pairwise(sizes))
    params = [
        (jnp.asarray(draw.normal(size=s) / np.sqrt(s[0])), jnp.asarray(draw.normal(size=s[1]) / 9)) for s in shapes
    ]
    labels = jnp.asarray(draw.integers(0, sizes[-1], examples))
    targets = jnp.asarray(draw.normal(size=(examples, sizes[-1])))
    start, unravel = jax.flatten_util.ravel_pytree(params)

    def loss(w):
        h = x
        *hidden, (a, b) = unravel(w)
        for c, d in hidden:
            h = activation(h @ c + d)
        made = h @ a + b
        picked = jnp.take_along_axis(jax.nn.log_softmax(made), labels[:, None], 1)
        return (-jnp.mean(picked) if classes else jnp.mean((made - targets) ** 2)) + decay * jnp.sum(w**2)

    return loss, start


def minimum(loss, start):
    slope = jax.jit(jax.value_and_grad(loss))
    return jnp.asarray(scipy.optimize.minimize(slope, np.asarray(start), jac=True, method="BFGS", tol=1e-9).x)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("classes", [False, True])
def test_the_minimum_of_a_regularized_network_is_proved_and_arb_agrees(tmp_path, name, classes):
    loss, start = network((4, 5, 3), 16, ACTIVATIONS[name], classes=classes)
    at = minimum(loss, start)
    proof = hessian.prove(loss, at)
    assert (proof.kind, proof.ball.kernel) == ("minimum", "balls")
    assert np.all(np.linalg.eigvalsh(jax.jit(jax.hessian(loss))(jnp.asarray(proof.center))) > 0)
    proof.save(tmp_path / "proof.json")
    replay = replayed(read(tmp_path / "proof.json"))
    assert replay.passed
    assert "Arb" in replay.by
    false = dataclasses.replace(proof, ball=proof.ball._replace(index=1))
    assert not replayed(false).passed


def test_more_parameters_than_arb_replays_and_their_record(tmp_path):
    loss, start = network((6, 12, 8, 4), 32)
    proof = hessian.prove(loss, minimum(loss, start))
    assert (start.size, proof.kind) == (224, "minimum")
    proof.save(tmp_path / "proof.json")
    assert replayed(read(tmp_path / "proof.json")).passed
    for change in ({"index": 1}, {"radius": tuple(1e3 * r for r in proof.ball.radius)}):
        assert not replayed(dataclasses.replace(proof, ball=proof.ball._replace(**change))).passed
    center = ((1, -1), *proof.ball.center[1:])
    assert not replayed(dataclasses.replace(proof, ball=proof.ball._replace(center=center))).passed


def test_gradient_and_hessian_contain_those_of_arb():
    for classes in (False, True):
        loss, start = network((2, 3, 2), 7, classes=classes)
        program, center = lowered(loss, start)
        slopes, bends = adjoint.derivatives(program, Balls(center))
        with judge.bits(200):
            exact = judge.jet(program, [judge.arb(x) for x in center.tolist()])
            for i in range(len(center)):
                assert slopes.low[i] <= exact.gradient[i, 0]
                assert slopes.high[i] >= exact.gradient[i, 0]
                for j in range(len(center)):
                    assert bends.low[i, j] <= exact.hessian[i, j]
                    assert bends.high[i, j] >= exact.hessian[i, j]
        assert np.max(bends.rad) < 1e-11


def test_planted_saddles_of_many_parameters_have_their_index_and_degenerate_ones_are_not_proved():
    draw = np.random.default_rng(4)
    for n in (15, 40, 90):
        basis, _ = np.linalg.qr(draw.normal(size=(n, n)))
        values = draw.choice([-1.0, 1.0], n) * 10 ** draw.uniform(-4, 4, n)
        at = jnp.asarray(draw.normal(size=n))

        def loss(w, h, at=at):
            return (w - at) @ h @ (w - at) / 2 + jnp.sum((w - at) ** 4)

        matrix = jnp.asarray((basis * values) @ basis.T)
        assert hessian.prove(loss, at + 1e-9, matrix).index == (values < 0).sum()
        flat = jnp.asarray((basis * np.r_[0.0, values[1:]]) @ basis.T)
        program, center = lowered(loss, at, flat)
        with pytest.raises(NotProved):
            points.proved_at(program, center)


def test_a_network_without_regularization_has_flat_directions_and_is_not_proved():
    loss, start = network((3, 12, 1), 6, decay=0.0)
    program, center = lowered(loss, minimum(loss, start))
    with pytest.raises(NotProved):
        points.proved_at(program, center)


def test_far_from_a_critical_point_nothing_is_said():
    loss, start = network((4, 5, 3), 16)
    program, center = lowered(loss, start + 1.0)
    with pytest.raises(NotProved):
        point.proved_at(program, center, (53,))


def test_sums_and_products_of_wide_balls_hold_all_that_exact_arithmetic_makes_of_their_ends():
    mids, rads = np.random.default_rng(6).normal(size=(2, 2, 500)), np.random.default_rng(7).uniform(1, 50, (2, 2, 500))
    a, b = (Balls(mid, rad) for mid, rad in zip(mids.reshape(2, -1), rads.reshape(2, -1), strict=True))
    for made, exact in ((a + b, Fraction.__add__), (a * b, Fraction.__mul__)):
        for i in range(1000):
            ends = [[Fraction(one.mid[i]) + sign * Fraction(one.rad[i]) for sign in (-1, 1)] for one in (a, b)]
            for both in itertools.product(*ends):
                assert abs(exact(*both) - Fraction(made.mid[i])) <= Fraction(made.rad[i])


@pytest.mark.parametrize(("terms", "excess"), [(10, 1e-4), (SHORT + 1, 1e-10)])
def test_the_bound_of_a_product_of_radii_is_above_it_and_close(terms, excess):
    a, b = np.random.default_rng(8).uniform(size=(3, terms)), np.random.default_rng(9).uniform(size=(terms, 2))
    bound = _bound_of_product(a, b)
    for i, j in np.ndindex(3, 2):
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a[i], b[:, j], strict=True))
        assert exact <= Fraction(bound[i, j]) <= exact * (1 + Fraction(excess))
