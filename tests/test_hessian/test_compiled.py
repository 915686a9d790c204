"""How quickly a program is compiled follows from what its loss costs; what it computes does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian import compiled
from hessian.precision import WorkingLoss

ROWS = np.ones((50, 3))
LOSSES = {  # a loss, n, and how many numbers it computes, counted by hand
    "a product": (lambda w: w[0] * 2.0, 2, 2 + 2 + 1),  # a slice reads 2, a squeeze 1, a product 1
    "data": (lambda w: jnp.sum(jnp.asarray(ROWS) @ w), 3, 150 + 50),
    "a loop": (lambda w: jax.lax.scan(lambda c, _: (c * 2.0, None), w[0], length=7)[0], 2, 2 + 1 + 1 + 7),
    "one that calls back": (lambda w: (w[0], jax.debug.callback(lambda: None))[0], 2, 2 + 1),
    "an endless one": (lambda w: jax.lax.while_loop(lambda c: c < 1, lambda c: c + 1, w[0]), 2, np.inf),
}


@pytest.mark.parametrize("name", LOSSES)
def test_work_is_counted_equation_by_equation(name):
    loss, n, count = LOSSES[name]
    assert compiled.work(jax.make_jaxpr(loss)(jnp.ones(n)).jaxpr) == pytest.approx(count, abs=1)


@pytest.mark.skipif(not compiled._is_alone(), reason="this compiler does not know the options")
def test_a_light_loss_is_compiled_with_less_effort_and_gives_the_same(monkeypatch):
    chosen = []

    @compiled.compiled(static_argnums=0)
    def values(loss, params, args):
        return jax.hessian(loss)(params, *args)

    def loss(w, x):
        return jnp.mean((x @ w - 1) ** 4)

    is_light = compiled._is_light
    monkeypatch.setattr(compiled, "_is_light", lambda *given: chosen.append(is_light(*given)) or chosen[-1])
    w = jnp.arange(3.0)
    results = [values(WorkingLoss(loss), w, (np.tile(ROWS, (times, 1)),)) for times in (1, 40)]
    assert chosen == [True, False]
    np.testing.assert_allclose(*results, rtol=1e-12)
    jax.jit(lambda w: values(WorkingLoss(loss), w, (ROWS,)))(w)  # within another program, nothing is chosen
    assert len(chosen) == 2


def test_equations_are_counted_within_loops_too():
    def loss(w):
        return jax.lax.scan(lambda c, _: (jnp.sin(c) * 2.0, None), w[0] + 1, length=7)[0]

    program = jax.make_jaxpr(loss)(jnp.ones(2)).jaxpr
    assert compiled.equations(program) == len(program.eqns) + 2  # a sine and a product


@pytest.mark.parametrize(
    "products, layers, rows, light",
    [(200, 1, 500_000, False), (200, 20, 500_000, True), (200, 20, 5_000_000, False), (np.inf, 20, 500_000, False),
     (np.inf, 20, 50_000, True)],
)  # fmt: skip
def test_a_model_of_many_equations_may_cost_more_and_a_search_less(products, layers, rows, light):
    def loss(w, x):
        for _ in range(layers):
            x = jnp.tanh(x * w[0]) + w[1]
        return jnp.mean(x**2)

    given = {"loss": loss, "params": jnp.ones(2), "args": (jnp.ones(rows),)}
    assert compiled._is_light(given, products) == light


@pytest.mark.parametrize(
    "products, rows, light", [(np.inf, 1, False), (200, 1, True), (200, 5000, False), (4, 5000, True)]
)
def test_of_a_large_model_the_products_that_a_program_makes_decide(products, rows, light):
    given = {
        "loss": lambda w, x: jnp.mean((x @ w - 1) ** 4),
        "params": jnp.ones(2000),
        "args": (jnp.ones((rows, 2000)),),
    }
    assert compiled._is_light(given, products) == light


@pytest.mark.parametrize(
    ("n", "numbers", "equations", "products", "light"),
    [
        (2, 10_000, 8, np.inf, True),
        (2, 10_001, 8, np.inf, False),
        (2, 260_000, 9, 200, True),  # half a million for each equation beyond eight
        (2, 260_001, 9, 200, False),
        (2, 60_000, 9, np.inf, True),  # a fifth of it where products are not bounded
        (2, 60_001, 9, np.inf, False),
        (1025, 5_000_000, 8, 200, True),
        (1025, 5_000_001, 8, 200, False),
        (1024, 5_000_000, 8, 200, False),
    ],
)
def test_a_loss_is_light_up_to_the_work_that_is_written(monkeypatch, n, numbers, equations, products, light):
    monkeypatch.setattr(compiled, "work", lambda _: numbers)
    monkeypatch.setattr(compiled, "equations", lambda _: equations)
    given = {"loss": lambda w: w @ w, "params": jnp.ones(n), "args": ()}
    assert compiled._is_light(given, products) == light
