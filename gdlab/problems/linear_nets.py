"""Linear networks: the smallest losses with the saddles of deep learning, all critical points in closed form.

    y = w_1 w_2 ... w_d x  at x = y = 1                  L = (1 - w_1 w_2 ... w_d)^2
    autoencoder of data with covariance diag(l)          L = sum_j l_j |column j of (I - W2 W1)|^2

Minima fill curves (w_1 w_2 = 1), so their Hessians have zero eigenvalues and samples stand for them.

| function | k | saddle at the origin |
|---|---|---|
| `linear_net` | 2 | strict: -2, 2 (S52) |
| `linear_net_ridge` | 2 | strict, and the minima are isolated |
| `linear_net_depth3` | 3 | with Hessian zero: three layers are worse than two |
| `linear_autoencoder_2_1_2` | 4 | strict; a second saddle set picks the wrong direction |
| `linear_autoencoder` | any 2 n p | strict; one saddle set for every choice of at most p directions |

`linear_autoencoder_points` gives a sample of every critical set of the last.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter, sequence
from gdlab.ground.checks import whole
from gdlab.ground.leaves import shown
from gdlab.problems.landscape import KnownPoint, Surface, arranged, coordinates


def linear_net(theta: jax.Array) -> jax.Array:
    """(1 - w_1 w_2)^2, theta = (w_1, w_2): y = w_1 w_2 x with the one example x = 1, y = 1 (S52).

    The gradient is 2 (1 - w_1 w_2) (-w_2, -w_1).  The line w_1 = -w_2 leads into the saddle at 0;
    the way out is (1, 1).

    >>> float(linear_net(jnp.array([0.5, 0.5])))  # (3/4)^2
    0.5625
    """
    w1, w2 = coordinates(theta, 2)
    return (1 - w1 * w2) ** 2


LINEAR_NET = Surface(
    name="linear_net",
    loss=linear_net,
    dim=2,
    source="S52; Baldi & Hornik 1989 in the scalar case",
    box=((-2.0, 2.0), (-2.0, 2.0)),
    starts=((0.001, 0.001), (1.5, -0.5), (0.0, 0.0), (0.5, -0.5)),
    critical_points=arranged(
        (
            ((1.0, 1.0), 0.0, (0.0, 4.0)),
            ((2.0, 0.5), 0.0, (0.0, 8.5)),
            ((-1.0, -1.0), 0.0, (0.0, 4.0)),
            ((-0.5, -2.0), 0.0, (0.0, 8.5)),
            ((0.0, 0.0), 1.0, (-2.0, 2.0)),
        )
    ),
    complete=False,
    formula="(1 - w1 w2)^2",
    coercive=False,
)


def linear_net_ridge(theta: jax.Array, decay: ArrayLike = 0.1) -> jax.Array:
    """(1 - w_1 w_2)^2 + decay (w_1^2 + w_2^2), theta = (w_1, w_2): weight decay isolates the minima (S52).

    >>> round(float(linear_net_ridge(jnp.array([1.0, 1.0]))), 6)
    0.2
    """
    w1, w2 = coordinates(theta, 2)
    decay = hyperparameter("decay", decay, 0)
    return (1 - w1 * w2) ** 2 + decay * (w1**2 + w2**2)


LINEAR_NET_RIDGE = Surface(
    name="linear_net_ridge",
    loss=linear_net_ridge,
    dim=2,
    source="elementary",
    box=((-2.0, 2.0), (-2.0, 2.0)),
    starts=((0.001, 0.001), (1.5, -0.5), (0.0, 0.0), (0.5, -0.5)),
    critical_points=arranged(
        (
            ((-math.sqrt(0.9), -math.sqrt(0.9)), 0.19, (0.4, 3.6)),
            ((math.sqrt(0.9), math.sqrt(0.9)), 0.19, (0.4, 3.6)),
            ((0.0, 0.0), 1.0, (-1.8, 2.2)),
        )
    ),
    complete=True,
    formula="(1 - w1 w2)^2 + 0.1 (w1^2 + w2^2)",
    coercive=True,
)


def linear_net_depth3(theta: jax.Array) -> jax.Array:
    """(1 - w_1 w_2 w_3)^2, theta = (w_1, w_2, w_3): a saddle without negative curvature (Kawaguchi 2016; S52).

    >>> float(linear_net_depth3(jnp.array([1.0, 1.0, 0.5])))
    0.25
    """
    w1, w2, w3 = coordinates(theta, 3)
    return (1 - w1 * w2 * w3) ** 2


LINEAR_NET_DEPTH3 = Surface(
    name="linear_net_depth3",
    loss=linear_net_depth3,
    dim=3,
    source="Kawaguchi 2016, arXiv:1605.07110, in the scalar case",
    box=((-2.0, 2.0),) * 3,
    starts=((0.5, 0.5, 0.5), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.5, 0.5, -0.5)),
    critical_points=arranged(
        (
            ((1.0, 1.0, 1.0), 0.0, (0.0, 0.0, 6.0)),
            ((2.0, 1.0, 0.5), 0.0, (0.0, 0.0, 10.5)),
            ((-1.0, -1.0, 1.0), 0.0, (0.0, 0.0, 6.0)),
            ((0.0, 0.0, 0.0), 1.0, (0.0, 0.0, 0.0)),
            ((0.0, 0.0, 1.0), 1.0, (-2.0, 0.0, 2.0)),
        )
    ),
    complete=False,
    formula="(1 - w1 w2 w3)^2",
    coercive=False,
)


def linear_autoencoder_2_1_2(theta: jax.Array) -> jax.Array:
    """1/2 |u v^T - diag(3, 1)|^2, theta = (u_1, u_2, v_1, v_2): the best matrix of rank one (Baldi & Hornik 1989).

    Its saddles are 0 and the set that picks the smaller singular value, which only the larger one may beat.

    >>> float(linear_autoencoder_2_1_2(jnp.array([0.0, 1.0, 0.0, 1.0])))  # 9 / 2 remains
    4.5
    """
    theta = coordinates(theta, 4)
    target = jnp.diag(jnp.array([3.0, 1.0], theta.dtype))
    return 0.5 * jnp.sum((jnp.outer(theta[:2], theta[2:]) - target) ** 2)


LINEAR_AUTOENCODER_2_1_2 = Surface(
    name="linear_autoencoder_2_1_2",
    loss=linear_autoencoder_2_1_2,
    dim=4,
    source="Baldi & Hornik 1989, Neural Networks 2",
    box=((-3.0, 3.0),) * 4,
    starts=((0.1, 0.2, -0.1, 0.3), (0.0, 0.0, 0.0, 0.0), (0.0, 0.5, 0.0, 0.5)),
    critical_points=arranged(
        (
            ((math.sqrt(3), 0.0, math.sqrt(3), 0.0), 0.5, (0.0, 2.0, 4.0, 6.0)),
            ((-math.sqrt(3), 0.0, -math.sqrt(3), 0.0), 0.5, (0.0, 2.0, 4.0, 6.0)),
            ((0.0, 1.0, 0.0, 1.0), 4.5, (-2.0, 0.0, 2.0, 4.0)),
            ((0.0, 0.0, 0.0, 0.0), 5.0, (-3.0, -1.0, 1.0, 3.0)),
        )
    ),
    complete=False,
    formula="1/2 |u v^T - diag(3, 1)|^2",
    coercive=False,
)

_VARIANCES = (6.0, 4.5, 3.0, 2.0, 1.0, 0.5)


def linear_autoencoder(theta: jax.Array, variances: Sequence[float] = _VARIANCES) -> jax.Array:
    """Tr((I - W2 W1) diag(variances) (I - W2 W1)^T), the mean squared error of a linear autoencoder (S59, S60).

    Args:
        theta: the decoder W2 (n x p) and then the encoder W1 (p x n), both row by row, shape (2 n p,).
        variances: of the n coordinates of the data; they fix n, and theta's size fixes p.

    Raises:
        ValueError: when theta's size is no multiple of 2 n.

    >>> float(linear_autoencoder(jnp.zeros(24)))  # nothing is explained: 6 + 4.5 + 3 + 2 + 1 + 0.5
    17.0
    """
    theta, weights = coordinates(theta), sequence("variances", variances, 1)
    n = len(weights)
    if theta.size % (2 * n):
        msg = f"theta must hold 2 n p weights with n = {n} variances, a multiple of {2 * n}; got {theta.size}"
        raise ValueError(msg)
    decoder, encoder = theta[: theta.size // 2].reshape(n, -1), theta[theta.size // 2 :].reshape(-1, n)
    missed = jnp.eye(n, dtype=theta.dtype) - jnp.matmul(decoder, encoder, precision="highest")
    return jnp.sum(missed**2 * weights.astype(theta.dtype))


def linear_autoencoder_points(variances: Sequence[float] = _VARIANCES, code: int = 2) -> tuple[KnownPoint, ...]:
    """A sample of every critical set of `linear_autoencoder` with a code of p numbers, in closed form.

    For every set S of at most p coordinates, W2 copies the code into them and W1 = W2^T reads it from them.  The loss
    is the sum of the variances outside S.  The Hessian falls apart into pairs of one decoder and one encoder weight:

        code k holds s in S, j outside:   2 [[l_s, -l_j], [-l_j, l_j]],   one negative eigenvalue when l_j > l_s
        code k holds s in S, j in S:      2 l_s [[1, 1], [1, 1]],         eigenvalues 0 and 4 l_s
        code k is idle, j outside S:      2 [[0, -l_j], [-l_j, 0]],       eigenvalues -2 l_j and 2 l_j
        code k is idle, j in S:           zero

    Args:
        variances: n distinct positive numbers, in falling order.
        code: p, at most n.

    >>> points = linear_autoencoder_points()
    >>> [len(points), *{(point.value, point.index, point.nullity) for point in points if point.index == 0}]
    [22, (6.5, 0, 4)]
    """
    listed = isinstance(variances, Sequence) and all(isinstance(one, int | float) for one in variances)
    n = len(variances) if listed else 0
    if not n or not all(high > low for high, low in itertools.pairwise((*variances, 0.0))):
        msg = f"variances must be distinct positive numbers in falling order; got {shown(variances)}"
        raise ValueError(msg)
    code = whole("code", code, 1, n)
    choices = itertools.chain.from_iterable(itertools.combinations(range(n), size) for size in range(code + 1))
    return arranged(_autoencoder_point(variances, code, chosen) for chosen in choices)


def _autoencoder_point(variances, code, chosen):
    n, outside = len(variances), [j for j in range(len(variances)) if j not in chosen]
    eigenvalues = []
    for k in range(code):
        idle = k >= len(chosen)
        own = 0.0 if idle else variances[chosen[k]]
        eigenvalues += [0.0, 4 * own] * len(chosen)
        for other in (variances[j] for j in outside):
            if idle:
                eigenvalues += [-2 * other, 2 * other]
            else:
                largest = own + other + math.hypot(own - other, 2 * other)
                eigenvalues += [4 * other * (own - other) / largest, largest]  # their product is the determinant
    value = math.fsum(variances[j] for j in outside)
    return _copying(n, code, chosen), value, tuple(eigenvalues)


def _copying(n, code, chosen, size=1.0):
    decoder = [size * (k < len(chosen) and j == chosen[k]) for j in range(n) for k in range(code)]
    encoder = [size * (k < len(chosen) and j == chosen[k]) for k in range(code) for j in range(n)]
    return (*decoder, *encoder)


LINEAR_AUTOENCODER_6_2_6 = Surface(
    name="linear_autoencoder_6_2_6",
    loss=linear_autoencoder,
    dim=24,
    source="Baldi & Hornik 1989, Neural Networks 2",
    box=((-1.5, 1.5),) * 24,
    starts=(tuple(0.3 * math.cos(i) for i in range(24)), (0.0,) * 24, _copying(6, 2, (1, 2), size=0.5)),
    critical_points=linear_autoencoder_points(),
    complete=False,
    formula="tr((I - W2 W1) diag(6, 4.5, 3, 2, 1, 0.5) (I - W2 W1)^T), W2 6x2, W1 2x6",
    coercive=False,
)

LINEAR_NETS = (
    LINEAR_NET,
    LINEAR_NET_RIDGE,
    LINEAR_NET_DEPTH3,
    LINEAR_AUTOENCODER_2_1_2,
    LINEAR_AUTOENCODER_6_2_6,
)
