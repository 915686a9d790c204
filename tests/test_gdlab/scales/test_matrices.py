"""Matrix optimizers against optax and against NumPy transcriptions of their papers, and the operators that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import MuonDimensionNumbers

import gdlab
from gdlab import directions, scales
from gdlab.matrices import View
from gdlab.operators import applied, by_leaf, is_operator

pytestmark = pytest.mark.full

STEPS = 200
SHAPES = {"matrix": (5, 3), "wide": (2, 6), "vector": (4,), "scalar": (), "stack": (2, 3, 5), "kernel": (2, 2, 3, 4)}
PARAMS = {name: jnp.asarray(np.random.default_rng(7).normal(size=shape)) for name, shape in SHAPES.items()}


def gradient(t):
    rng = np.random.default_rng(100 + t)
    return {name: rng.normal(size=shape) * 10.0 ** rng.integers(-2, 2) for name, shape in SHAPES.items()}


def assert_near(ours, theirs, tolerance=1e-12):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.max(np.abs(b)), 1e-300))


# ------------------------------------------------------------------------------------------------- optax


def last_two(params):
    return jax.tree.map(lambda leaf: MuonDimensionNumbers(-2, -1) if leaf.ndim >= 2 else None, params)


def flattened(params):
    def numbers(leaf):
        return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1) if leaf.ndim >= 2 else None

    return jax.tree.map(numbers, params)


muon = optax.contrib.muon
MUONS = {
    "rank two": (gdlab.muon(0.1, matrices="rank two"), muon(0.1)),
    "last two": (gdlab.muon(0.1), muon(0.1, muon_weight_dimension_numbers=last_two)),
    "flattened": (gdlab.muon(0.1, matrices="flattened"), muon(0.1, muon_weight_dimension_numbers=flattened)),
    "dion, by rms": (
        gdlab.muon(0.1, 0.8, 1e-3, b1=0.7, b2=0.9, shape_factor="rms", source="dion"),
        muon(
            *(0.1, "dion", 5, 0.8, 1e-3),
            adam_b1=0.7,
            adam_b2=0.9,
            consistent_rms=0.2,
            muon_weight_dimension_numbers=last_two,
        ),
    ),
    "decayed": (
        gdlab.with_weight_decay(gdlab.muon(0.1), 0.3),
        muon(0.1, weight_decay=0.3, adam_weight_decay=0.3, muon_weight_dimension_numbers=last_two),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), MUONS.values(), ids=MUONS)
def test_muon_equals_optax(ours, theirs):
    our_state, state = ours.init(PARAMS), theirs.init(PARAMS)
    update, their_update = jax.jit(ours.update), jax.jit(theirs.update)
    for t in range(STEPS):
        updates, our_state = update(gradient(t), our_state, PARAMS)
        expected, state = their_update(gradient(t), state, PARAMS)
        assert_near(updates, expected)


# ------------------------------------------------------------------------------------- papers, in NumPy


def power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**exponent) @ vectors.T


class ShampooInNumpy:
    """Gupta et al. 2018, algorithm 1, for every matrix of a leaf; Adagrad for the other leaves."""

    eps = 1e-2

    def __init__(self):
        self.left, self.right, self.sums = {}, {}, {}

    def change(self, name, g):
        if g.ndim < 2:
            self.sums[name] = self.sums.get(name, 0) + g**2
            return -0.1 * g / np.sqrt(self.sums[name] + self.eps)
        stack = g.reshape(-1, *g.shape[-2:])
        moves = np.zeros_like(stack)
        for i, matrix in enumerate(stack):
            rows, columns = matrix.shape
            self.left[name, i] = self.left.get((name, i), self.eps * np.eye(rows)) + matrix @ matrix.T
            self.right[name, i] = self.right.get((name, i), self.eps * np.eye(columns)) + matrix.T @ matrix
            moves[i] = power(self.left[name, i], -0.25) @ matrix @ power(self.right[name, i], -0.25)
        return -0.1 * moves.reshape(g.shape)


class AveragedShampooInNumpy(ShampooInNumpy):
    """The same with bias-corrected averages of gradients and moments; Adam for the other leaves."""

    def __init__(self):
        super().__init__()
        self.t = {}

    def change(self, name, g, b1=0.8, b2=0.9):
        t = self.t[name] = self.t.get(name, 0) + 1
        self.sums[name] = b1 * self.sums.get(name, 0) + (1 - b1) * g
        m = self.sums[name] / (1 - b1**t)
        if g.ndim < 2:
            self.left[name] = b2 * self.left.get(name, 0) + (1 - b2) * g**2
            return -0.1 * m / np.sqrt(self.left[name] / (1 - b2**t) + self.eps)
        stack, means = g.reshape(-1, *g.shape[-2:]), m.reshape(-1, *g.shape[-2:])
        moves = np.zeros_like(stack)
        for i, matrix in enumerate(stack):
            self.left[name, i] = b2 * self.left.get((name, i), 0) + (1 - b2) * matrix @ matrix.T
            self.right[name, i] = b2 * self.right.get((name, i), 0) + (1 - b2) * matrix.T @ matrix
            sides = (self.left[name, i], self.right[name, i])
            left, right = (power(side / (1 - b2**t) + self.eps * np.eye(len(side)), -0.25) for side in sides)
            moves[i] = left @ means[i] @ right
        return -0.1 * moves.reshape(g.shape)


class SoapInNumpy:
    """Vyas et al. 2024, as in the authors' code: momentum lives in the rotated space and is turned with the basis."""

    def __init__(self, rate=0.1, b1=0.8, b2=0.9, eps=1e-3, basis_decay=0.7, every=3):
        self.hypers = rate, b1, b2, eps, basis_decay, every
        self.kept = {}

    def change(self, name, g):
        if g.ndim < 2:
            return self.one(name, g.reshape(1, -1), turn=False).reshape(g.shape)
        stack = g.reshape(-1, *g.shape[-2:])
        return np.stack([self.one((name, i), one, turn=True) for i, one in enumerate(stack)]).reshape(g.shape)

    def one(self, name, g, turn):
        rate, b1, b2, eps, basis_decay, every = self.hypers
        if name not in self.kept:
            bases, sides = [np.eye(n) for n in g.shape], [(1 - basis_decay) * s for s in (g @ g.T, g.T @ g)]
            if turn:
                bases = [np.linalg.eigh(side)[1][:, ::-1] for side in sides]
            self.kept[name] = {"t": 0, "m": np.zeros_like(g), "v": np.zeros_like(g), "sides": sides, "bases": bases}
            return np.zeros_like(g)
        k = self.kept[name]
        (left, right), k["t"] = k["bases"], k["t"] + 1
        seen = left.T @ g @ right
        k["m"], k["v"] = b1 * k["m"] + (1 - b1) * seen, b2 * k["v"] + (1 - b2) * seen**2
        length = rate * np.sqrt(1 - b2 ** k["t"]) / (1 - b1 ** k["t"])
        change = -length * left @ (k["m"] / (np.sqrt(k["v"]) + eps)) @ right.T
        back = left @ k["m"] @ right.T
        k["sides"] = [
            basis_decay * s + (1 - basis_decay) * n for s, n in zip(k["sides"], (g @ g.T, g.T @ g), strict=True)
        ]
        if turn and k["t"] % every == 0:
            for axis, (side, basis) in enumerate(zip(k["sides"], list(k["bases"]), strict=True)):
                order = np.argsort(-np.diag(basis.T @ side @ basis), kind="stable")
                k["v"] = np.take(k["v"], order, axis)
                k["bases"][axis] = np.linalg.qr(side @ basis[:, order])[0]
            k["m"] = k["bases"][0].T @ back @ k["bases"][1]
        return change


class ScionInNumpy:
    """Pethick et al. 2025, algorithm 2, with five steps of Newton-Schulz; each leaf but matrices in the rms norm."""

    def __init__(self):
        self.means = {}

    def change(self, name, g, alpha=0.2, eps=1e-7):
        self.means[name] = (1 - alpha) * self.means.get(name, 0) + alpha * g
        if g.ndim < 2:
            return -0.1 * self.means[name] / (np.sqrt(np.mean(self.means[name] ** 2)) + eps)
        stack = self.means[name].reshape(-1, *g.shape[-2:])
        return (
            -0.1
            * np.sqrt(g.shape[-1] / g.shape[-2])
            * np.stack([self.orthogonal(x, eps) for x in stack]).reshape(g.shape)
        )

    @staticmethod
    def orthogonal(x, eps):
        x = x / (np.linalg.norm(x) + eps)
        for _ in range(5):
            gram = x.T @ x
            x = 3.4445 * x + x @ (-4.7750 * gram + 2.0315 * gram @ gram)
        return x


class KronInNumpy:
    """Pooladzandi & Li 2024 for matrices with triangular factors, Li 2018 for the diagonal; noise as given."""

    def __init__(self):
        self.q, self.m, self.t, self.noise = {}, {}, {}, {}

    def change(self, name, g, b1=0.8, rate=0.2):
        t = self.t[name] = self.t.get(name, 0) + 1
        self.m[name] = b1 * self.m.get(name, 0) + (1 - b1) * g
        m, v = self.m[name] / (1 - b1**t), self.noise[name][t - 1]
        if g.ndim < 2:
            q = self.q.get(name, np.ones_like(g))
            a, b = q * m, v / q
            self.q[name] = q = q - rate * (a**2 - b**2) / np.max(a**2 + b**2) * q
            return -0.1 * q * q * m
        moves = np.zeros((*g.shape,)).reshape(-1, *g.shape[-2:])
        for i, (one, noise) in enumerate(zip(m.reshape(moves.shape), v.reshape(moves.shape), strict=True)):
            left, right = self.q.get((name, i), tuple(map(np.eye, one.shape)))
            a = np.einsum("ia,jb,ab->ij", left, right, one)
            b = np.linalg.inv(left).T @ noise @ np.linalg.inv(right)
            left = self.turned(left, np.einsum("ij,kj->ik", a, a), np.einsum("ij,kj->ik", b, b), rate)
            right = self.turned(right, np.einsum("ij,ik->jk", a, a), np.einsum("ij,ik->jk", b, b), rate)
            self.q[name, i] = left, right
            moves[i] = left.T @ left @ one @ right.T @ right
        return -0.1 * moves.reshape(g.shape)

    def fitted(self, scale):
        """The factors, in the structure of those of a scale."""
        factors = {
            name: None if pair is None else type(pair)(*map(np.stack, zip(*self.pairs(name), strict=True)))
            for name, pair in scale.factors.items()
        }
        return {"factors": factors, "diagonal": {name: self.q.get(name) for name in scale.diagonal}}

    def pairs(self, name):
        return [self.q[name, i] for i in range(sum(1 for key in self.q if key[0] == name))]

    @staticmethod
    def turned(q, first, second, rate):
        total = first + second
        row = total[np.argmax((total**2).sum(axis=1))] @ total
        return q - rate * np.triu(first - second) @ q / np.linalg.norm(row / np.linalg.norm(row) @ total)


PAPERS = {
    "shampoo, paper": (gdlab.shampoo(0.1, eps=1e-2, source="paper"), ShampooInNumpy),
    "shampoo": (gdlab.shampoo(0.1, 0.8, 0.9, 1e-2), AveragedShampooInNumpy),
    "soap": (gdlab.soap(0.1, 0.8, 0.9, 1e-3, basis_decay=0.7, every=3), SoapInNumpy),
    "scion": (gdlab.scion(0.1, 0.8), ScionInNumpy),
}
# The vectors behind an eigenvalue 0 are arbitrary, so that SOAP is held to its paper on gradients of full rank alone.
FULL_RANK = {"soap": {"vector": (4,), "scalar": (), "square": (3, 3), "stack": (2, 3, 3), "kernel": (2, 1, 3, 3)}}


def test_each_step_of_kron_is_that_of_its_paper():
    """From the paper's own state, for the fit enlarges what two computations round differently."""
    optimizer, paper = gdlab.kron(0.1, 0.8, fit_rate=0.2, seed=5), KronInNumpy()
    for place, (name, shape) in enumerate(sorted(SHAPES.items())):
        keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(5), t), place) for t in range(STEPS)]
        paper.noise[name] = [np.asarray(jax.random.normal(key, shape, float)) for key in keys]
    rng = np.random.default_rng(3)
    state, update = optimizer.init({key: jnp.zeros(shape) for key, shape in SHAPES.items()}), jax.jit(optimizer.update)
    for _ in range(STEPS):
        g = {key: rng.normal(size=shape) * 10.0 ** rng.integers(-1, 2) for key, shape in SHAPES.items()}
        updates, state = update(g, state)
        assert_near(updates, {key: paper.change(key, one) for key, one in g.items()})
        fitted = jax.tree.map(jnp.asarray, state.scale._replace(**paper.fitted(state.scale)))
        assert_near(state.scale, fitted)
        state = state._replace(scale=fitted, direction=state.direction._replace(mu=jax.tree.map(jnp.asarray, paper.m)))


def test_kron_makes_noise_of_the_size_one_of_correlated_gradients():
    rng, optimizer = np.random.default_rng(4), gdlab.kron(1.0, 0.0)
    left, right = np.diag([10.0, 1.0, 0.1]) @ rng.normal(size=(3, 3)), rng.normal(size=(4, 4))
    state, update = optimizer.init(jnp.zeros((3, 4))), jax.jit(optimizer.update)
    moves = []
    for _ in range(1500):
        updates, state = update(jnp.asarray(left @ rng.normal(size=(3, 4)) @ right), state)
        moves.append(np.ravel(updates))
    covariance = np.cov(np.array(moves[500:]).T)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), 1, atol=0.6)


@pytest.mark.parametrize("name", PAPERS)
def test_each_step_is_that_of_its_paper(name):
    optimizer, paper = PAPERS[name][0], PAPERS[name][1]()
    shapes = FULL_RANK.get(name, SHAPES)
    rng = np.random.default_rng(3)
    state, update = optimizer.init({key: jnp.zeros(shape) for key, shape in shapes.items()}), jax.jit(optimizer.update)
    for _ in range(STEPS):
        g = {key: rng.normal(size=shape) * 10.0 ** rng.integers(-1, 2) for key, shape in shapes.items()}
        updates, state = update(g, state)
        assert_near(updates, {key: paper.change(key, one) for key, one in g.items()})


# ---------------------------------------------------------------------------------------- polar factors


def matrix(rows, columns, condition, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))[0] for n in (rows, columns))
    if dtype is float:
        left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (rows, columns))
    sizes = np.geomspace(1, 1 / condition, min(rows, columns))
    k = len(sizes)
    return (left[:, :k] * sizes) @ right[:k], left[:, :k] @ right[:k]


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4), (4, 1)])
@pytest.mark.parametrize("dtype", [float, complex])
def test_shampoo_without_memory_is_the_polar_factor(shape, dtype):
    g, polar = matrix(*shape, 1e2, dtype=dtype)
    optimizer = gdlab.shampoo(1.0, 0.0, 0.0, 0.0)
    updates, _ = optimizer.update(jnp.asarray(g), optimizer.init(jnp.asarray(g)))
    np.testing.assert_allclose(updates, -polar, rtol=0, atol=1e-12)
    exact = gdlab.descent(directions.Gradient(), scales.Polar(scales.Unit()), 1.0)
    updates, _ = exact.update(jnp.asarray(g), exact.init(jnp.asarray(g)))
    np.testing.assert_allclose(updates, -polar, rtol=0, atol=1e-13)


def polar_of(g):
    optimizer = gdlab.descent(directions.Gradient(), scales.Polar(scales.Unit()), 1.0)
    return -optimizer.update(g, optimizer.init(g))[0]


@pytest.mark.parametrize("singular", [(2.0, 1.0, 0.5), (1.0, 1.0, 1.0), (3.0, 3.0, 1.0), (1.0, 1.0, 1e-3)])
def test_the_derivative_of_the_polar_factor_needs_no_gaps(singular):
    """dQ = U (W * (U' dM V - V' dM' U)) V' with W = 1 / (s_i + s_j), in the row space of a square M = U S V'."""
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    s, change = np.array(singular), rng.normal(size=(3, 3))
    m = (u * s) @ v.T
    inner = u.T @ change @ v
    expected = u @ ((inner - inner.T) / (s[:, None] + s)) @ v.T
    _, derivative = jax.jvp(polar_of, (jnp.asarray(m),), (jnp.asarray(change),))
    np.testing.assert_allclose(derivative, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_what_has_no_gradient_does_not_move():
    rank_one = jnp.outer(jnp.array([1.0, 2.0, 2.0]), jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(polar_of(rank_one), rank_one / 15, atol=1e-14)
    assert polar_of(jnp.zeros((3, 2))).tolist() == [[0.0, 0.0]] * 3
    slope = jax.grad(lambda t: jnp.sum(polar_of(rank_one + t * jnp.ones((3, 2)))[0]))(0.0)
    assert jnp.isfinite(slope)


# -------------------------------------------------------------------------------------------- operators

READ = {
    "muon": gdlab.muon(0.1),
    "muon, exact": gdlab.muon(0.1, source="exact"),
    "shampoo": gdlab.shampoo(0.1, 0.8, 0.9, 1e-3),
    "soap": gdlab.soap(0.1, every=2),
    "scion": gdlab.scion(0.1),
    "kron": gdlab.kron(0.1),
}


def read(optimizer, steps=3):
    state = optimizer.init(PARAMS)
    for t in range(steps):
        step, state = optimizer.step(gradient(t), state, PARAMS)
    return step


@pytest.mark.parametrize("optimizer", READ.values(), ids=READ)
def test_an_operator_is_one_symmetric_positive_matrix_on_its_leaf(optimizer):
    """Its dense matrix, made column by column, has the diagonal and the eigenvalues that it says, and is symmetric."""
    sigmas = read(optimizer).sigma
    for name in ("wide", "stack"):
        sigma, shape = sigmas[name], SHAPES[name]
        basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        dense = np.stack([np.ravel(sigma.apply(jnp.asarray(one))) for one in basis], axis=1)
        inverse = np.stack([np.ravel(sigma.solve(jnp.asarray(one))) for one in basis], axis=1)
        np.testing.assert_allclose(dense, dense.T, atol=1e-10 * np.abs(dense).max())
        np.testing.assert_allclose(np.diag(dense).reshape(shape), sigma.diagonal(), rtol=1e-9)
        values = np.sort(np.ravel(sigma.eigenvalues()))
        np.testing.assert_allclose(np.linalg.eigvalsh(dense), values, rtol=0, atol=1e-10 * values[-1])
        assert values[0] >= 0
        np.testing.assert_allclose(dense @ inverse @ dense, dense, atol=1e-9 * np.abs(dense).max())


def test_leaves_without_matrices_keep_an_array_and_embeddings_are_such():
    params = {"embedding": jnp.ones((4, 3)), "kernel": jnp.ones((4, 3)), "bias": jnp.ones(3), "none": jnp.ones((0, 3))}
    optimizer = gdlab.muon(0.1)
    step, _ = optimizer.step(params, optimizer.init(params))
    assert {name: is_operator(one) for name, one in step.sigma.items()} == {
        "embedding": False,
        "kernel": True,
        "bias": False,
        "none": False,
    }


def test_a_rule_of_ones_own_says_which_axes_are_rows_and_columns():
    """Rows (0, 2) and columns (1,) are the plain matrix of the leaf with its axes turned."""
    g = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)))
    rule = lambda path, shape: View((0, 2), (1,)) if "turned" in path else None  # noqa: E731
    optimizer, plain = gdlab.scion(0.1, matrices=rule), gdlab.scion(0.1)
    params = {"turned": g}
    updates, _ = optimizer.update(params, optimizer.init(params))
    flat = g.transpose(0, 2, 1).reshape(6, 5)
    expected, _ = plain.update(flat, plain.init(flat))
    np.testing.assert_allclose(updates["turned"], expected.reshape(2, 3, 5).transpose(0, 2, 1), atol=1e-14)


def test_an_unknown_rule_and_a_matrix_scale_within_a_combinator_are_refused():
    with pytest.raises(ValueError, match="matrices must be 'last two', 'flattened' or 'rank two'; got 'all'"):
        gdlab.muon(0.1, matrices="all")
    with pytest.raises(ValueError, match="shape_factor must be 'one', 'width', 'ratio' or 'rms'; got 'long'"):
        gdlab.muon(0.1, shape_factor="long")
    with pytest.raises(ValueError, match="scale must be a scale with a size for each parameter"):
        scales.RunningMax(scales.Polar(scales.Unit()))


WRAPPED = {
    "weight decay": lambda optimizer: gdlab.with_weight_decay(optimizer, 0.3),
    "independent weight decay": lambda optimizer: gdlab.with_independent_weight_decay(optimizer, 0.3),
    "momentum on updates": lambda optimizer: gdlab.momentum_on_updates(optimizer, 0.5),
    "trace on updates": lambda optimizer: gdlab.trace_on_updates(optimizer, 0.5),
    "lookahead": lambda optimizer: gdlab.lookahead(optimizer, 2),
    "chain": lambda optimizer: gdlab.chain(optax.clip(1.0), optimizer, optax.scale(0.5)),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_operator_moves_by_what_was_read_even_where_it_is_singular(wrap):
    """The exact polar factor of a tall momentum has a null space, in which weight decay moves all the same."""
    optimizer = wrap(gdlab.muon(0.1, source="exact"))
    state = optimizer.init(PARAMS)
    for t in range(4):
        step, _ = optimizer.step(gradient(t), state, PARAMS)
        updates, state = optimizer.update(gradient(t), state, PARAMS)
        for name in SHAPES:
            assert jnp.array_equal(step.update[name], updates[name])
        image = by_leaf(applied, step.sigma, updates)
        assert_near(image, jax.tree.map(lambda m, eta=step.eta: -eta * m, step.m), 1e-11)


def test_sigma_is_recorded_as_operators_with_an_axis_of_steps():
    def loss(p):
        return jnp.sum(p["w"] ** 2) + jnp.sum((p["w"] @ jnp.array([1.0, -2.0])) ** 2)

    run = gdlab.minimize(loss, gdlab.soap(0.1), {"w": jnp.ones((3, 2))}, 4, record=("sigma", "update", "m", "eta"))
    images = jax.vmap(lambda sigma, u: sigma.apply(u))(run.history["sigma"]["w"], run.history["update"]["w"])
    np.testing.assert_allclose(images, -run.history["eta"][:, None, None] * run.history["m"]["w"], atol=1e-12)


def test_newton_schulz_of_what_it_was_made_of_costs_one_iteration_not_two():
    """A step takes as many operations as optax's."""
    g = jnp.ones((64, 64))

    def flops(optimizer):
        made = jax.jit(optimizer.update).lower(g, optimizer.init(g), g).compile().cost_analysis()
        return made["flops"]

    assert flops(gdlab.muon(0.1)) < 1.01 * flops(muon(0.1))
