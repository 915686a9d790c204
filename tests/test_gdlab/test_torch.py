"""The same paths as torch's optimizers.  Read only where torch is installed: the tests do not ask for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab

torch = pytest.importorskip("torch")

ETA, LAM, B1, B2, EPS = 0.02, 0.8, 0.9, 0.99, 1e-8
inverse_sqrt = gdlab.schedules.InverseSqrt(ETA)


def path(optimizer, gradients):
    """The places of a run from .5 under given gradients."""

    def step(carry, g):
        theta, state = carry
        updates, state = optimizer.update(g, state, theta)
        return (theta + updates, state), theta + updates

    start = jnp.full(5, 0.5)
    return jax.jit(lambda g: jax.lax.scan(step, (start, optimizer.init(start)), g)[1])(jnp.asarray(gradients))


OPTIM = torch.optim
CASES = {
    "momentum": (gdlab.momentum(inverse_sqrt, LAM, source="torch"), lambda p: OPTIM.SGD(p, ETA, LAM)),
    "nesterov": (
        gdlab.nesterov(inverse_sqrt, LAM, source="torch"),
        lambda p: OPTIM.SGD(p, ETA, LAM, nesterov=True),
    ),
    "rmsprop": (
        gdlab.rmsprop(inverse_sqrt, 0.99, EPS, momentum=LAM, centered=True, source="torch"),
        lambda p: OPTIM.RMSprop(p, ETA, 0.99, EPS, momentum=LAM, centered=True),
    ),
    "adagrad": (gdlab.adagrad(inverse_sqrt, eps=1e-10, source="torch"), lambda p: OPTIM.Adagrad(p, ETA)),
    "adam": (gdlab.adam(inverse_sqrt, B1, B2, EPS, source="torch"), lambda p: OPTIM.Adam(p, ETA, (B1, B2), EPS)),
    "amsgrad": (
        gdlab.amsgrad(inverse_sqrt, B1, B2, EPS, source="torch"),
        lambda p: OPTIM.Adam(p, ETA, (B1, B2), EPS, amsgrad=True),
    ),
    "adamw": (
        gdlab.adamw(inverse_sqrt, B1, B2, EPS, weight_decay=0.1),
        lambda p: OPTIM.AdamW(p, ETA, (B1, B2), EPS, weight_decay=0.1),
    ),
    "adamax": (gdlab.adamax(inverse_sqrt, B1, B2, EPS), lambda p: OPTIM.Adamax(p, ETA, (B1, B2), EPS)),
    "nadam": (gdlab.nadam(inverse_sqrt, B1, B2, EPS, source="torch"), lambda p: OPTIM.NAdam(p, ETA, (B1, B2), EPS)),
    "radam": (
        gdlab.radam(inverse_sqrt, B1, B2, EPS, threshold=5.0, source="torch"),
        lambda p: OPTIM.RAdam(p, ETA, (B1, B2), EPS),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_torch(name):
    ours, make = CASES[name]
    theta = torch.nn.Parameter(torch.full((5,), 0.5, dtype=torch.float64))
    theirs = make([theta])
    schedule = torch.optim.lr_scheduler.LambdaLR(theirs, lambda t: (t + 1) ** -0.5)
    places = []
    gradients = np.random.default_rng(1).normal(size=(200, 5)) * np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])
    for g in gradients:
        theta.grad = torch.from_numpy(g)
        theirs.step()
        schedule.step()
        places.append(theta.detach().numpy().copy())
    np.testing.assert_allclose(path(ours, gradients), places, rtol=1e-9, atol=1e-9)
