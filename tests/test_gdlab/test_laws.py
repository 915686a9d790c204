"""The laws that every optimizer obeys, one row of the table each."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import DTYPES, RATE, every, start

from gdlab.operators import is_operator

TRACED = []  # one entry for each time that a step is traced


@pytest.fixture(scope="module", params=every())
def make(request):
    """Every optimizer; its laws follow one another, so that they share what is compiled of it."""
    return request.param


@pytest.fixture(scope="module", params=every("bare"))
def bare(request):
    """Every optimizer without eps."""
    return request.param


@jax.jit
def loss(params):
    """A bowl that depends on every coordinate but the last of `w`, and on the matrix in all directions unlike."""
    w, b, u = params["w"], params["b"], params["u"]
    of_matrix = jnp.sum((u @ jnp.array([[1.0, 0.2], [0.0, 2.0], [0.3, -0.5]])) ** 2) + jnp.sum(jnp.sin(u))
    return jnp.sum(jnp.arange(1.0, 3.0) * w[:2] ** 2) + (w[0] - 2 * b) ** 2 + jnp.cos(b) + of_matrix


value_and_grad = jax.jit(jax.value_and_grad(loss))


def one_step(optimizer, params, state):
    TRACED.append(optimizer)
    value, grads = value_and_grad(params)
    updates, state = optimizer.update(grads, state, params, value=value)
    return optax.apply_updates(params, updates), state


stepped = jax.jit(one_step)


def loop(optimizer, params, steps=7):
    state = optimizer.init(params)
    for _ in range(steps):
        params, state = stepped(optimizer, params, state)
    return params


@jax.jit
@jax.vmap
def scanned(optimizer, params):
    def body(carry, _):
        return one_step(optimizer, *carry), None

    return jax.lax.scan(body, (params, optimizer.init(params)), None, 7)[0][0]


@jax.jit
def slopes_of_a_run(optimizer, length):
    """The loss after so many steps, at most a hundred, and its gradient with respect to the optimizer: one program."""

    def loss_after(optimizer):
        def body(carry, _):
            carry = one_step(optimizer, *carry)
            return carry, loss(carry[0])

        _, losses = jax.lax.scan(body, (start(), optimizer.init(start())), None, 100)
        return losses[length - 1]

    return jax.value_and_grad(loss_after)(optimizer)


def as_arrays(optimizer):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), optimizer)


@jax.jit
def updated(optimizer, grads, state, params, value):
    return optimizer.update(grads, state, params, value=value)


@contextlib.contextmanager
def strictly():
    """No promotion of dtypes or ranks, and no NaN."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"), jax.debug_nans(True):
        yield


def assert_close(actual, expected, rtol=1e-12):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), actual, expected)


def eager_steps(make):
    """Five steps, operation by operation: each with the updates that `update` makes, and the params after them."""
    with strictly():
        optimizer, params, moves = make(RATE), start(), []
        state = optimizer.init(params)
        for _ in range(5):
            value, grads = value_and_grad(params)
            step, _ = optimizer.step(grads, state, params, value=value)
            updates, state = optimizer.update(grads, state, params, value=value)
            params = optax.apply_updates(params, updates)
            moves.append((step, updates, params))
    return moves


@pytest.fixture(scope="module")
def eager(make):
    return eager_steps(make)


def test_jit_equals_eager(make, eager):
    with strictly():
        _, _, params = eager[2]
        assert_close(loop(make(RATE), start(), 3), params)


def test_scan_equals_loop(make):
    value, _ = slopes_of_a_run(as_arrays(make(RATE)), 7)
    with strictly():
        assert_close(value, loss(loop(make(RATE), start())))


def test_vmap_of_a_scan_over_optimizers_and_starts_equals_a_loop_over_them(make):
    optimizers = [make(rate) for rate in (0.01, 0.02, 0.05)]
    starts = [jax.tree.map(lambda leaf, c=c: c * leaf, start()) for c in (1.0, 0.5, -1.0)]

    def stack(*leaves):
        return jnp.stack(leaves)

    together = scanned(jax.tree.map(stack, *map(as_arrays, optimizers)), jax.tree.map(stack, *starts))
    alone = [loop(optimizer, params) for optimizer, params in zip(optimizers, starts, strict=True)]
    assert_close(together, jax.tree.map(stack, *alone))


def test_one_trace_serves_all_hyperparameters(make):
    with strictly():
        loop(make(RATE), start(), 1)
        traces = len(TRACED)
        for rate in (0.1, 0.2, 0.3):
            optimizer = make(rate)
            loop(optimizer, start(), 1)
            loop(jax.tree.map(lambda leaf: 0.9 * leaf, optimizer), start(), 1)
    assert len(TRACED) == traces


def assert_moves_as_read(step, updates):
    """To the bit where sigma has a size for each parameter; for an operator, Sigma [update] = -eta m to 1e-11 of m."""
    sigmas = jax.tree.leaves(step.sigma, is_leaf=is_operator)
    for sigma, m, read, done in zip(sigmas, *map(jax.tree.leaves, (step.m, step.update, updates)), strict=True):
        assert jnp.array_equal(read, done)
        if is_operator(sigma):
            size = step.eta * jnp.max(jnp.abs(m))
            np.testing.assert_allclose(sigma.apply(done), -step.eta * m, rtol=0, atol=1e-11 * size)
            assert jnp.all(sigma.eigenvalues() >= 0)
            assert sigma.diagonal().shape == m.shape
        else:
            assert jnp.array_equal(-step.eta / sigma * m, done)
            assert jnp.all(sigma > 0)


def test_update_is_exactly_minus_eta_over_sigma_times_m(eager):
    with strictly():
        for step, updates, _ in eager:
            assert_moves_as_read(step, updates)
            assert step.eta.shape == ()
            assert jax.tree.map(jnp.shape, step.m) == jax.tree.map(jnp.shape, start())


def of_dtypes(dtypes):
    """Params with a matrix, an empty vector and a number of each dtype."""
    return {dtype: [jnp.array([[1.0, -2.0]], dtype), jnp.zeros((0,), dtype), jnp.array(0.5, dtype)] for dtype in dtypes}


@pytest.mark.parametrize("dtypes", [DTYPES, ("float16",), ("complex64",)])
def test_dtypes_shapes_and_structure_are_fixed_from_the_start(make, dtypes):
    optimizer, params, value = make(RATE), of_dtypes(dtypes), jnp.float32(1.0)
    state = optimizer.init(params)
    updates, new_state = updated.eval_shape(optimizer, params, state, params, value)
    assert jax.tree.map(jax.typeof, updates) == jax.tree.map(jax.typeof, params)
    assert jax.tree.map(jax.typeof, new_state) == jax.tree.map(jax.typeof, state)
    if len(dtypes) > 1:  # the half precisions are among these
        updates, _ = updated(optimizer, jax.tree.map(lambda leaf: leaf * 3, params), state, params, value)
        assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(updates))


def test_gradient_of_a_run_with_respect_to_the_optimizer_equals_finite_differences(make):
    optimizer = as_arrays(make(RATE))
    _, gradient = slopes_of_a_run(optimizer, 7)
    leaves, structure = jax.tree.flatten(optimizer)
    assert leaves
    for i, slope in enumerate(jax.tree.leaves(gradient)):
        assert jnp.isfinite(slope)
        width = 1e-5 * max(float(leaves[i]), 1e-2)  # across 1e-8 the rounding of a run's loss is 4e-6 of a slope
        ends = [
            slopes_of_a_run(structure.unflatten([*leaves[:i], leaves[i] + h, *leaves[i + 1 :]]), 7)[0]
            for h in (width, -width)
        ]
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * width), rtol=1e-5, atol=1e-6)


def test_gradient_of_a_long_run_is_finite_beside_a_coordinate_without_gradient(bare):
    _, gradient = slopes_of_a_run(as_arrays(bare(0.01)), 100)
    for slope in jax.tree.leaves(gradient):
        assert jnp.isfinite(slope)


def test_zero_gradient_gives_zero_step_without_eps(bare):
    optimizer, params = bare(0.1), of_dtypes(DTYPES)
    state, zeros = optimizer.init(params), jax.tree.map(jnp.zeros_like, params)
    for _ in range(3):
        updates, state = updated(optimizer, zeros, state, params, jnp.float32(0.0))
        assert all(jnp.all(leaf == 0) for leaf in jax.tree.leaves(updates))


def test_none_leaves_and_abstract_parameters_are_accepted(make):
    optimizer = make(RATE)
    params = {"a": jnp.ones(2), "frozen": None, "empty": {}}
    updates, _ = optimizer.update(params, optimizer.init(params), params, value=jnp.array(1.0))
    assert updates["frozen"] is None
    assert updates["a"].shape == (2,)
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)

    def shapes(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    assert shapes(optimizer.init(abstract)) == shapes(optimizer.init(params))
    assert shapes(jax.eval_shape(optimizer.init, params)) == shapes(optimizer.init(params))


@pytest.mark.parametrize("params", [{}, {"w": jnp.zeros((0, 3))}], ids=["no array", "no number"])
def test_params_without_a_number_are_accepted(make, params):
    optimizer = make(RATE)
    updates, _ = optimizer.update(params, optimizer.init(params), params, value=jnp.array(1.0))
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)


def test_optax_takes_it_as_its_own(make):
    optimizer = make(RATE)
    assert isinstance(optimizer, optax.GradientTransformation)
    assert len(optimizer) == 2
    params = start()
    value, grads = value_and_grad(params)
    extra = {"value": value}
    alone, _ = optimizer.update(grads, optimizer.init(params), params, **extra)

    def first(transform, grads=grads):
        transform = optax.with_extra_args_support(transform)
        return transform.update(grads, transform.init(params), params, **extra)

    assert_close(first(optax.chain(optax.identity(), optimizer))[0], alone)
    assert_close(first(optax.apply_if_finite(optimizer, 3))[0], alone)
    labels = {"w": "ours", "b": "frozen", "u": "ours"}
    mixed, _ = first(optax.partition({"ours": optimizer, "frozen": optax.set_to_zero()}, labels))
    assert float(mixed["b"]) == 0
    masked, _ = first(optax.masked(optimizer, {"w": True, "b": False, "u": True}))
    assert_close(masked["b"], grads["b"])
    spoilt = jax.tree.map(lambda g: g * jnp.nan, grads)
    assert_close(first(optax.apply_if_finite(optimizer, 3), spoilt)[0], jax.tree.map(jnp.zeros_like, alone))
    mapped = optax.tree.map_params(optimizer, lambda leaf: leaf, optimizer.init(params))
    assert jax.tree.structure(mapped) == jax.tree.structure(optimizer.init(params))


def test_gradients_can_be_accumulated(make):
    accumulated = optax.MultiSteps(make(RATE), every_k_schedule=2)
    params, state, update = start(), accumulated.init(start()), jax.jit(accumulated.update)
    value, grads = value_and_grad(params)
    updates, state = update(grads, state, params, value=value)
    assert_close(updates, jax.tree.map(jnp.zeros_like, updates))
    updates, state = update(grads, state, params, value=value)
    optimizer = make(RATE)
    expected, _ = optimizer.update(grads, optimizer.init(params), params, value=value)
    assert_close(updates, expected, rtol=1e-8)  # the mean of gradients in MultiSteps is not exact to float64


def test_the_state_is_laid_out_over_devices_as_the_parameters_are(make):
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    layout = jax.sharding.NamedSharding(mesh, jax.P(None, "x"))
    optimizer = make(RATE)
    with jax.set_mesh(mesh):
        params = jnp.ones((2, 8, 4), "float16", out_sharding=layout)
        state = optimizer.init(params)
        updates, new_state = updated.eval_shape(optimizer, params, state, params, jnp.float32(1.0))
        assert jax.tree.map(jax.typeof, new_state) == jax.tree.map(jax.typeof, state)
        assert jax.typeof(updates) == jax.typeof(params)
        assert jax.tree.map(jax.typeof, jax.jit(optimizer.init)(params)) == jax.tree.map(jax.typeof, state)


@pytest.mark.parametrize("make", every("arrives"))
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_arrives_at_the_minima_of_optaxs_own_tests(make, dtype):
    unit = 1 + 1j if dtype == "complex64" else 1.0

    def size(z):
        return jnp.real(z * jnp.conj(z))

    def parabola(p):
        return jnp.sum(size(p - unit * jnp.array([1.0, -1.0, 1.0])))

    def rosenbrock(p):
        return size(unit - p[0]) + 100 * size(p[1] - p[0] ** 2)

    def run(objective, start):
        def body(carry, _):
            params, state = carry
            updates, state = make().update(jnp.conj(jax.grad(objective)(params)), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(body, (start, make().init(start)), None, 10_000)[0][0]

    ends = jax.jit(lambda: (run(parabola, jnp.array([-1.0, 10.0, 1.0], dtype)), run(rosenbrock, jnp.zeros(2, dtype))))()
    np.testing.assert_allclose(ends[0], unit * np.array([1.0, -1.0, 1.0]), rtol=3e-2, atol=3e-2)
    np.testing.assert_allclose(ends[1], np.array([unit, unit**2]), rtol=3e-2, atol=3e-2)
