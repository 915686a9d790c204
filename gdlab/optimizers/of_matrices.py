r"""The rows of the grid for matrices: sigma is an operator, every optimizer is one expression.

| sigma \ m | gradient | average, Nesterov's average |
|---|---|---|
| (M M')^(1/2) of the direction, exact or a polynomial | `descent(Gradient(), Polar(Unit()), eta)` | `muon`, `scion` |
| L^(1/4) (x) R^(1/4), of sums or averages of G G' and G' G | `shampoo(source="paper")` | `shampoo` |
| Adam's, in the eigenbasis of L and R | | `soap` |
| Kronecker factors, fitted to make noise of m | | `kron` |

They stand below Adam's and Adagrad's: `muon` is `signum` with the sign of a matrix, `shampoo` is Adagrad with the root
of a matrix, `soap` is Adam in its eigenbasis.  Leaves that hold no matrices take the diagonal piece; `matrices` says
which do, and which of their axes are rows and columns (`gdlab.matrices`).
"""

from jax.typing import ArrayLike

from gdlab import directions, scales
from gdlab.arguments import real
from gdlab.base import LossSchedule
from gdlab.equation import Optimizer, descent
from gdlab.ground.checks import choice
from gdlab.matrices import Rule
from gdlab.optimizers.named import decays
from gdlab.pieces import NONNEGATIVE
from gdlab.schedules.base import Rate

__all__ = ["kron", "muon", "scion", "shampoo", "soap"]


def muon(
    learning_rate: Rate | LossSchedule,
    decay: ArrayLike = 0.95,
    eps: ArrayLike = 1e-8,
    *,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    shape_factor: str = "width",
    matrices: str | Rule = "last two",
    source: str = "optax",
) -> Optimizer:
    """theta <- theta - eta f U V', the polar factor of momentum M = U S V' (Jordan et al. 2024); Nadam beside it.

    Sources: "optax" (five steps of Newton-Schulz, singular values from .7 to 1.2), "dion" (a polynomial for each of the
    five), "exact" (the polar factor itself).  optax takes leaves of rank 2 alone, matrices="rank two".

    Args:
        learning_rate: eta.
        decay: of the momentum of matrices, Nesterov's, in [0, 1).
        eps: added to the norm of a matrix, and to the root of the rest, >= 0.
        b1, b2: decays of the leaves without matrices, which Nadam moves.
        shape_factor: of the lengths of steps, "width", "ratio", "rms" or "one"; see `scales.Polar`.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
        source: whose polar factor.

    >>> import jax.numpy as jnp
    >>> optimizer, g = muon(1.0, source="exact"), jnp.diag(jnp.array([3.0, -4.0]))
    >>> (0 + optimizer.update(g, optimizer.init(g))[0].round(6)).tolist()
    [[-1.0, 0.0], [0.0, 1.0]]
    """
    b1, b2 = decays(b1, b2)
    eps = real("eps", eps, NONNEGATIVE)
    m = directions.ByLeaf(directions.NesterovEma(decay), directions.NesterovEma(b1), matrices)
    rest, rule = scales.BiasCorrectedRootMeanSquare(b2, eps), matrices
    sigma = choice(
        "source",
        source,
        {
            "optax": scales.NewtonSchulz(rest, eps, shape_factor=shape_factor, matrices=rule),
            "dion": scales.NewtonSchulz(rest, eps, scales.DION, shape_factor=shape_factor, matrices=rule),
            "exact": scales.Polar(rest, shape_factor=shape_factor, matrices=rule),
        },
    )
    return descent(m, sigma, learning_rate)


def scion(
    learning_rate: Rate | LossSchedule,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-7,
    *,
    matrices: str | Rule = "last two",
) -> Optimizer:
    """theta <- theta - eta sqrt(columns / rows) U V' for matrices, -eta m / rms(m) beside (Pethick et al. 2025).

    Steps of norm eta, from rms to rms, of the running average of gradients.  Its constrained form, which keeps the
    parameters in a ball of radius r, is `with_weight_decay(scion(r * eta), 1 / r)`.

    Args:
        learning_rate: eta.
        decay: of the average, in [0, 1); the paper's alpha is 1 - decay.
        eps: added to norms, >= 0.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.

    >>> import jax.numpy as jnp
    >>> optimizer, g = scion(1.0), jnp.array([2.0, -2.0])
    >>> optimizer.update(g, optimizer.init(g))[0].round(5).tolist()
    [-1.0, 1.0]
    """
    eps = real("eps", eps, NONNEGATIVE)
    sigma = scales.NewtonSchulz(scales.DirectionRms(eps), eps, shape_factor="ratio", matrices=matrices)
    return descent(directions.Ema(decay), sigma, learning_rate)


def shampoo(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-12,
    *,
    matrices: str | Rule = "last two",
    source: str = "ema",
) -> Optimizer:
    """theta <- theta - eta L^(-1/4) M R^(-1/4), L of G G', R of G' G (Gupta et al. 2018); Adam beside it.

    Sources: "ema" (averages, bias-corrected; with b1 = b2 = eps = 0 the polar factor of the gradient), "paper" (sums
    that start at eps, the gradient itself, no b1 and b2; Adagrad beside it).

    Args:
        learning_rate: eta.
        b1, b2: decays in [0, 1).
        eps: of both moments, in all directions, >= 0.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
        source: whose formula.

    >>> import jax.numpy as jnp
    >>> optimizer, g = shampoo(1.0), jnp.diag(jnp.array([3.0, -4.0]))
    >>> (0 + optimizer.update(g, optimizer.init(g))[0].round(6)).tolist()
    [[-1.0, 0.0], [0.0, 1.0]]
    """
    b1, b2 = decays(b1, b2)
    eps = real("eps", eps, NONNEGATIVE)
    mean = scales.Shampoo(scales.BiasCorrectedRootMeanSquare(b2, eps_root=eps), b2, eps, matrices=matrices)
    total = scales.ShampooSum(scales.RootSumSquare(eps_root=eps), eps, matrices=matrices)
    return choice(
        "source",
        source,
        {
            "ema": descent(directions.BiasCorrectedEma(b1), mean, learning_rate),
            "paper": descent(directions.Gradient(), total, learning_rate),
        },
    )


def soap(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.95,
    b2: ArrayLike = 0.95,
    eps: ArrayLike = 1e-8,
    *,
    basis_decay: ArrayLike = 0.95,
    every: int = 10,
    matrices: str | Rule = "last two",
) -> Optimizer:
    """Adam in the eigenbasis of Shampoo's L and R (Vyas et al. 2024); its first step only makes the basis.

    Args:
        learning_rate: eta.
        b1, b2: Adam's decays, in [0, 1).
        eps: added to the root before sigma is debiased, >= 0.
        basis_decay: of L and R, in [0, 1).
        every: steps between two turns of the basis, a whole number >= 1.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.

    >>> optimizer = soap(0.1)
    >>> first, state = optimizer.update(2.0, optimizer.init(1.0))
    >>> abs(float(first)), round(float(optimizer.update(2.0, state)[0]), 6)
    (0.0, -0.1)
    """
    b1, b2 = decays(b1, b2)
    m = directions.AfterFirst(directions.BiasCorrectedEma(b1))
    return descent(m, scales.Soap(b2, eps, basis_decay=basis_decay, every=every, matrices=matrices), learning_rate)


def kron(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    *,
    fit_rate: ArrayLike = 0.1,
    every: int = 1,
    seed: int = 0,
    matrices: str | Rule = "last two",
) -> Optimizer:
    """theta <- theta - eta P_L M P_R of the average M, with P fitted to it (PSGD; Li 2018, Pooladzandi & Li 2024).

    The preconditioned average has elements of size 1; a leaf without matrices takes a diagonal P.

    Args:
        learning_rate: eta.
        b1: decay of the average, in [0, 1), bias-corrected.
        fit_rate: the rate at which P is fitted, in [0, 1).
        every: steps between two steps of the fit, a whole number >= 1.
        seed: of the noise that P is fitted with, a whole number >= 0.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.

    >>> import jax.numpy as jnp
    >>> optimizer, grads = kron(0.1), jnp.array([[3.0, 0.0], [0.0, 1e-3]])
    >>> step, _ = optimizer.step(grads, optimizer.init(grads))
    >>> bool(jnp.allclose(step.sigma.apply(step.update), -step.eta * step.m))
    True
    """
    return descent(directions.BiasCorrectedEma(b1), scales.Kron(fit_rate, every, seed, matrices), learning_rate)
