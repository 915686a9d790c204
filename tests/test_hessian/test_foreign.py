"""Losses that are not JAX, beside the same ones in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from hessian import foreign
from hessian.foreign import _Host, stated_error
from hessian.roundoff import POOL, jittered

POINT = jnp.array([0.3, -0.7])


def of_numpy(w):
    """(1 - w0 w1)^2 + sin(w0), and its gradient."""
    rest = 1 - w[0] * w[1]
    return rest**2 + np.sin(w[0]), np.array([-2 * rest * w[1] + np.cos(w[0]), -2 * rest * w[0]])


def of_jax(w):
    return (1 - w[0] * w[1]) ** 2 + jnp.sin(w[0])


def saddle(w):
    return (1 - w[0] * w[1]) ** 2, -2 * (1 - w[0] * w[1]) * w[::-1]


def two_wells(w):
    return (w[0] ** 2 - 1) ** 2 + w[1] ** 2, np.array([4 * w[0] * (w[0] ** 2 - 1), 2 * w[1]])


@pytest.mark.full
def test_a_landscape_of_it_is_that_of_its_formula():
    starts = jnp.array([[0.5, 1.0], [-2.0, 0.3]])
    found = hessian.landscape(hessian.foreign_loss(two_wells), starts, modes=1, strings=0, batch=2)
    np.testing.assert_allclose(found.minima.loss, [0, 0], atol=1e-9)
    np.testing.assert_allclose(np.sort(found.minima.params[:, 0]), [-1, 1], atol=1e-6)
    np.testing.assert_allclose(found.saddles.loss, [1], rtol=1e-9)
    assert sorted(found.joins[0].tolist()) == [0, 1]


def test_value_gradient_and_products_are_those_of_jax_to_the_accuracy_that_is_stated():
    loss = hessian.foreign_loss(of_numpy)
    value, slope = jax.value_and_grad(loss)(POINT)
    np.testing.assert_allclose(value, of_jax(POINT), rtol=1e-15)
    np.testing.assert_allclose(slope, jax.grad(of_jax)(POINT), rtol=1e-14)
    v = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(hessian.hvp(loss, POINT)(v), hessian.hvp(of_jax, POINT)(v), atol=1e-8)
    many = jax.jit(jax.vmap(lambda t: hessian.hvp(loss, POINT * t)(v)))(jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(many[1], hessian.hvp(of_jax, POINT)(v), atol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_what_a_product_may_be_off_is_more_than_it_is(scale):
    def fast(w):
        return np.sin(w[0] / scale) + w[0] * w[1], np.array([np.cos(w[0] / scale) / scale + w[1], w[0]])

    host = _Host(fast, jax.tree.structure(0), ((2,),), 1e-10 / scale, 0.04)
    for x in np.linspace(-1, 1, 7):
        product, error = host.differences(np.array([x, 0.2]), np.array([3.0, 4.0]))
        exact = np.array([-np.sin(x / scale) / scale**2 * 3 + 4, 3.0])
        assert (np.abs(product - exact) <= error).all()
        assert (error <= 1e-5 / scale**2).all()


@pytest.mark.full
def test_verdicts_take_the_stated_accuracy_for_rounding():
    def valley(w):  # its second curvature is 2e-4
        return w[0] ** 2 + 1e-4 * w[1] ** 2, np.array([2 * w[0], 2e-4 * w[1]])

    assert hessian.classify(hessian.foreign_loss(valley), jnp.zeros(2)).kind == "minimum"
    assert hessian.classify(hessian.foreign_loss(valley, accuracy=1e-3), jnp.zeros(2)).kind == "degenerate"
    assert hessian.classify(hessian.foreign_loss(saddle, accuracy=1e-3), jnp.zeros(2)).kind == "saddle"


def test_the_longest_step_is_the_seventh_root_of_the_accuracy_unless_it_is_given():
    np.testing.assert_allclose(hessian.foreign_loss(saddle, accuracy=1e-7).step, 0.1, rtol=1e-12)
    assert hessian.foreign_loss(saddle, step=0.5).step == 0.5


def test_a_run_descends_and_a_saddle_is_left():
    loss = hessian.foreign_loss(saddle)
    run = gdlab.minimize(loss, gdlab.gd(0.1), POINT, 5)
    ours = gdlab.minimize(lambda w: (1 - w[0] * w[1]) ** 2, gdlab.gd(0.1), POINT, 5)
    np.testing.assert_allclose(run.params, ours.params, rtol=1e-13)
    way = hessian.escape(loss, jnp.zeros(2))
    np.testing.assert_allclose([way.curvature, way.loss_after], [-2.0, 0.25], atol=1e-6)


def test_a_proof_is_refused_in_a_sentence():
    pytest.importorskip("flint")
    reason = "the loss calls a function that is not JAX, whose numbers cannot be enclosed"
    assert hessian.prove(hessian.foreign_loss(saddle), jnp.zeros(2)).reason == reason


WRONG = {
    "no pair": (lambda w: 1.0, r"must return \(energy, gradient\)"),
    "another shape": (lambda w: (1.0, np.zeros(3)), r"a gradient like params, of shapes \[\(2,\)\]; got \[\(3,\)\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_energy_with_its_gradient_is_named(name):
    fn, said = WRONG[name]
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=said):
        jax.grad(hessian.foreign_loss(fn))(POINT)
    with pytest.raises(TypeError, match="energy_and_gradient must be a function"):
        hessian.foreign_loss(3.0)


NO_GRADIENT = {
    "forces": lambda w: (of_numpy(w)[0], -of_numpy(w)[1]),
    "another unit": lambda w: (of_numpy(w)[0], 1.889726 * of_numpy(w)[1]),
    "of one coordinate": lambda w: (of_numpy(w)[0], of_numpy(w)[1] * [1, 0]),
    "at a minimum": lambda w: (w @ w, -2 * w),
}


@pytest.mark.parametrize("name", NO_GRADIENT)
def test_what_is_not_the_gradient_of_its_energy_is_refused_before_anything_is_compiled(name):
    point = jnp.zeros(2) if name == "at a minimum" else POINT
    with pytest.raises(
        ValueError, match=r"^energy_and_gradient must return the gradient of its energy, which changes by"
    ):
        hessian.classify(hessian.foreign_loss(NO_GRADIENT[name]), point)


def test_a_function_that_returns_its_energy_alone_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"^energy_and_gradient must return \(energy, gradient\)"):
        hessian.escape(hessian.foreign_loss(lambda w: w @ w), POINT)


ROUGH = {
    "rounded energies": lambda w: (float(np.float32(1e4 + of_numpy(w)[0])), of_numpy(w)[1]),
    "far above its changes": lambda w: (1e15 + of_numpy(w)[0], of_numpy(w)[1]),
    "a kink": lambda w: (np.abs(w).sum(), np.sign(w)),
    "far away": lambda w: (1e8 * of_numpy(w)[0], 1e8 * of_numpy(w)[1]),
    "constant": lambda w: (3.0, 0 * w),
}


@pytest.mark.parametrize("name", ROUGH)
def test_energies_that_tell_little_are_taken(name):
    point = np.array([1e-9, 0.5]) if name == "a kink" else POINT
    assert np.isfinite(hessian.foreign_loss(ROUGH[name])(jnp.asarray(point)))


def test_derivatives_beyond_the_second_are_refused():
    loss = hessian.foreign_loss(saddle)
    with pytest.raises(TypeError, match="two are known"):
        jax.jvp(lambda x: hessian.hvp(loss, x)(POINT), (POINT,), (POINT,))


def test_a_gradient_that_is_not_finite_gives_no_curvature():
    loss = hessian.foreign_loss(lambda w: (0.0, w * np.nan))
    assert np.isnan(hessian.hvp(loss, POINT)(POINT)).all()


def test_a_function_of_numpy_that_is_given_as_it_is_is_told_of_foreign_losses():
    with pytest.raises(TypeError, match=r"hessian\.foreign_loss for a function with its own gradient"):
        hessian.classify(lambda x: np.sum(np.asarray(x) ** 2), jnp.ones(2))


def host(fn, *, n=1, accuracy=1e-10, step=1.0, checked=True):
    """The function on the host, and the points at which it was asked."""
    asked = []

    def counted(x):
        asked.append(np.array(x))
        return fn(x)

    found = _Host(counted, jax.tree.structure(0), ((n,),), accuracy, step)
    if checked:
        foreign.CHECKED.add(found)
    return found, asked


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_differences_are_exact_to_the_sixth_power_and_say_how_far_those_of_order_four_are(scale):
    for power, product, apart in ((1, 1, 0), (3, 0, 0), (5, 0, 4 / 16), (7, 36 / 64, 56 / 64)):
        # c_k = 2 (k h)^p at h = 1/2: (45 - 9 2^p + 3^p) h^(p - 1) / 30, and (8 - 2^p) h^(p - 1) / 6
        one, _ = host(lambda x, p=power: (0.0, scale * x**p))
        found = one._at_step(np.zeros(1), np.ones(1), 0.5)
        np.testing.assert_allclose(np.ravel(found), [scale * product, scale * apart], atol=1e-15)


def test_the_step_is_halved_until_formulas_agree_to_rounding_and_the_best_is_kept():
    rounding = 6 / 11 * 1e-2  # so that it makes 0.01 / h; of six points two are those of the step before
    for slope, product, error, asked in (
        (lambda x: 2 * x, 2, 0.02, 6 + 4),
        (lambda x: x**5, 0, 4 / 256 + 0.04, 6 + 2 * 4),  # at h = 1/4, where 4 h^4 is less
        (lambda x: x**7, 36 / 8**6, 36 * 63 / 8**6 + 0.08, 6 + 3 * 4),  # at 1/8, by what changed since 1/4
        (np.sign, 74 / 30, 74 / 60 + 0.02, 6 + 12 * 4),  # at 1/2: it agrees nowhere
    ):
        one, points = host(lambda x, slope=slope: (0.0, slope(x)), accuracy=rounding)
        found = one.differences(np.zeros(1), np.array([5.0]))
        np.testing.assert_allclose(np.ravel(found), [5 * product, 5 * error], rtol=1e-12, atol=1e-13)
        assert len(points) == asked
        assert np.abs(points).max() == 3
    # rounding of 0.12 / h: at h = 1/4 the formulas agree, but all in all 1/2 was better
    one, _ = host(lambda x: (0.0, x**5), accuracy=6 / 11 * 0.12)
    np.testing.assert_allclose(one.differences(np.zeros(1), np.ones(1))[1], 4 / 16 + 0.24, rtol=1e-12)
    for vector in (np.zeros(2), np.array([np.inf, 1.0])):
        np.testing.assert_array_equal(host(saddle, n=2)[0].differences(np.ones(2), vector), [vector, vector])


def test_a_gradient_counts_as_that_of_its_energy_within_a_percent_of_the_larger():
    for share, said in ((1.0100, True), (1.0102, False), (0.9901, True), (0.9899, False)):
        one, asked = host(lambda w, share=share: (w @ w / 2, share * w), n=3, step=0.04, checked=False)
        if said:
            one.check(np.ones(3))
            assert len(asked) == 1 + 4  # a slope, and energies at four points of one step
        else:
            with pytest.raises(ValueError, match="which changes by"):
                one.check(np.ones(3))
            assert len(asked) == 1 + 4 * 7
        assert (one in foreign.CHECKED) == said


def in_one_number(energy, slope, **more):
    """Whether a slope is taken for that of an energy, a step of 1 to the right of 0."""
    one, _ = host(lambda x: (energy(x[0] - 1), np.array([slope])), checked=False, **more)
    try:
        one.check(np.zeros(1))
    except ValueError:
        return False
    return True


def test_energies_are_compared_by_differences_of_order_four_beside_what_rounding_hides():
    def fifth(x):
        return x**5

    # (8 (2 h^5) - 64 h^5) / 12 h = -4 h^4, and near 0 at the last of the steps
    assert [in_one_number(fifth, slope) for slope in (-4.0, -4.03, -4.05, -3.97, -3.95)] == [
        True,
        True,
        False,
        True,
        False,
    ]

    def far_above(x):
        return 1e15 + 2 * x

    edge = 2 + 10 * 4 * np.finfo(float).eps * 1e15  # ten times what the last digit of the energy hides
    assert [in_one_number(far_above, edge + more) for more in (-0.01, 0.01)] == [True, False]


def test_a_gradient_may_be_off_by_its_accuracy_in_each_number():
    away = np.random.default_rng(0).standard_normal(4)
    along = np.eye(4)[0] + away / np.linalg.norm(away) / 2
    share = along[0] / np.linalg.norm(along)
    for said, taken in ((0.199, True), (0.201, False)):
        one, _ = host(lambda w, said=said: (0.0, said / share * np.eye(4)[0]), n=4, accuracy=0.1, checked=False)
        if taken:
            one.check(np.zeros(4))
        else:
            with pytest.raises(ValueError, match="which changes by 0 a unit"):
                one.check(np.zeros(4))


def test_parameters_come_in_their_shapes_and_are_asked_for_once():
    shapes, asked = ((2,), (3, 1), ()), []

    def fn(params):
        asked.append(params)
        return np.array([[7.0]]), [np.ones(2), 2 * np.ones((3, 1)), 3.0]

    one = _Host(fn, jax.tree.structure([0, 0, 0]), shapes, 1e-10, 1.0)
    foreign.CHECKED.add(one)
    for _ in range(2):
        energy, slope = one.at(np.arange(6.0))
        assert energy == 7
        np.testing.assert_array_equal(slope, [1, 1, 2, 2, 2, 3])
    assert len(asked) == 1
    for got, want in zip(asked[0], ([0, 1], [[2], [3], [4]], 5), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_stated_error_moves_an_array_where_rounding_is_measured():
    x, error, pool = jnp.array([2.0, 3.0]), jnp.array([0.1, 0.5]), jnp.full(POOL, 0.5)
    np.testing.assert_allclose(jittered(stated_error, x, error)(pool, x, error), [2.05, 3.25], rtol=1e-14)
