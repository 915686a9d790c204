"""Proofs: what holds is proved, what does not hold never, and a record that was changed does not replay."""

import ast
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("flint")

import gdlab
import hessian
from hessian.proofs.replay import read, replayed
from hessian.proofs.tape import Tape, Uncovered

pytestmark = pytest.mark.full

SURFACES = gdlab.problems.surfaces


@pytest.mark.parametrize("name", SURFACES)
def test_every_declared_point_is_proved_with_its_index_unless_it_is_degenerate(name):
    points = SURFACES[name].critical_points
    for point in points[:: max(1, len(points) // 25)]:
        proof = hessian.prove(SURFACES[name].loss, jnp.array(point.x))
        assert proof.proved == (point.nullity == 0), (point, proof)
        if proof.proved:
            assert (proof.index, proof.kind) == (point.index, point.kind)
            np.testing.assert_array_less(np.abs(proof.center - np.array(point.x)), proof.radius)


DEGENERATE = {
    "a fold": lambda v: v[1] ** 2 + v[0] ** 3,
    "another": lambda v: -(v[1] ** 2) + v[0] ** 3,
    "a flat minimum": lambda v: v[1] ** 2 + v[0] ** 4,
    "a flat saddle": lambda v: v[1] ** 2 - v[0] ** 4,
    "a monkey saddle": lambda v: v[0] ** 3 - 3 * v[0] * v[1] ** 2,
    "Peano's": lambda v: (v[1] - v[0] ** 2) * (v[1] - 2 * v[0] ** 2),
    "a valley": lambda v: (1 - (1 + v[0]) * (1 + v[1])) ** 2,
    "a real power": lambda v: jnp.abs(v[0]) ** 2.5 + v[1] ** 2,
    "a relu at its kink": lambda v: jax.nn.relu(v[0]) + v[0] ** 2 - 0.5 * v[0] + v[1] ** 2,
    "a slope": lambda v: jnp.sin(v[0]) + 5e9 * v[1] ** 2,
    "a constant that cancels": lambda v: jnp.sum(jnp.exp(v) / jnp.sum(jnp.exp(v))),
    "nothing at all": lambda v: jnp.sum(jnp.log(jnp.exp(v)) - v),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_nothing_is_proved_where_nothing_holds(name):
    rng = np.random.default_rng(3)
    for scale in (0.0, 1e-12, 1e-8, 1e-4):
        turned = np.linalg.qr(rng.normal(size=(2, 2)))[0]
        shift = rng.normal(size=2)
        for loss, w in (
            (DEGENERATE[name], scale * rng.normal(size=2)),
            (lambda v: 1e9 * DEGENERATE[name](turned @ (v - shift)), shift + scale * rng.normal(size=2)),  # noqa: B023
        ):
            proof = hessian.prove(loss, jnp.asarray(w))
            assert not proof.proved, (scale, proof)


def test_planted_points_are_proved_up_to_a_condition_of_1e14():
    rng = np.random.default_rng(4)
    for turn in range(60):
        n, condition = int(rng.integers(1, 6)), 10 ** rng.uniform(0, 14)
        sizes = np.exp(-np.log(condition) * np.r_[0.0, rng.uniform(size=n - 1)])
        sizes[-1] = 1 / condition
        signs, scale = rng.choice([-1, 1], n), 10 ** rng.uniform(-12, 12)
        turned = np.linalg.qr(rng.normal(size=(n, n)))[0]
        third, length = rng.normal(size=(n, n, n)), 10 ** rng.uniform(-3, 0) * np.sqrt(sizes.min())

        def loss(w):
            v = turned @ w  # noqa: B023
            u = v * jnp.sqrt(sizes)  # noqa: B023
            cubic = jnp.einsum("ijk,i,j,k", third, u, u, u) / 120 / length  # noqa: B023
            return scale * (jnp.sum(signs * sizes * v**2) / 2 + cubic)  # noqa: B023

        w = turned.T @ (1e-7 * length * rng.normal(size=n) / np.sqrt(sizes))
        proof = hessian.prove(loss, jnp.asarray(w))
        assert proof.proved, (turn, condition, proof)
        assert proof.index == np.sum(signs < 0)
        np.testing.assert_array_less(np.abs(proof.center), proof.radius)  # 0 is the point
        if turn % 10 == 0:
            assert replayed(proof).passed


@pytest.mark.parametrize("unit", [-70, 70])
def test_the_units_of_the_loss_change_no_proof(unit):
    proof = hessian.prove(lambda w: jnp.exp(unit + w[0] ** 2) * jnp.cosh(w[1]), jnp.array([1e-9, 0.0]))
    assert (proof.kind, proof.index) == ("minimum", 0)


def test_a_network_with_data_and_any_tree_of_parameters():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(8, 2)).astype(np.float32)

    def loss(params, x):
        return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"] - x[:, 0]) ** 2) + 0.1 * (
            jnp.sum(params["w"] ** 2) + jnp.sum(params["v"] ** 2)
        )

    params = {"v": jnp.asarray(rng.normal(size=2)), "w": jnp.asarray(rng.normal(size=(2, 2)))}
    end = hessian.find_minimum(loss, params, x)
    proof = hessian.prove(loss, end.params, x)
    assert (proof.kind, proof.index) == ("minimum", 0)
    assert proof.distance < 1e-6


KINKED = {  # kinks beside the point, in what is not chosen there
    "huber by where": lambda w: jnp.sum(jnp.where(jnp.abs(w - 0.3) < 1, (w - 0.3) ** 2, jnp.abs(w - 0.3) * 2 - 1)),
    "huber by where, scaled": lambda w: jnp.sum(
        3 * jnp.where(jnp.abs(w - 0.3) < 1, (w - 0.3) ** 2 / 2, 0.7 * (jnp.abs(w - 0.3) - 0.5))
    ),
    "a maximum compared": lambda w: jnp.where(jnp.max(w) < 2, jnp.sum((w - 0.3) ** 2), jnp.max(w)),
    "a minimum in a branch": lambda w: jnp.where(w[0] < 2, jnp.sum((w - 0.3) ** 2), 7 * jnp.minimum(w[0], w[1])),
}


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize("n", [2, 13])
def test_a_kink_matters_only_where_it_is_chosen(name, n):
    proof = hessian.prove(KINKED[name], jnp.full(n, 0.3 + 1e-9))
    assert (proof.kind, proof.index) == ("minimum", 0)
    assert replayed(proof).passed
    needed = hessian.prove(lambda w: KINKED[name](w) + jnp.sum(jnp.abs(w - 0.3)), jnp.full(n, 0.3))
    assert not needed.proved
    tied = hessian.prove(lambda w: KINKED[name](w) + jnp.sum(jnp.maximum(w, 0.3) ** 2), jnp.full(n, 0.3))
    assert not tied.proved
    bent = hessian.prove_saddle(KINKED[name], jnp.full(n, 0.3), jnp.ones(n), radius=1e-3)
    assert bent.low > 0.9 * n or (n > 2 and not bent.proved and "undecided" in bent.reason)


REFUSED = {
    "a sort": (lambda w: jnp.sort(w)[0], "sort has no rule"),
    "a loop": (lambda w: jax.lax.while_loop(lambda x: x < 3, lambda x: 2 * x, w[0] + 1.0), "while has no rule"),
    "half precision": (lambda w: jnp.sum(w.astype(jnp.float16) ** 2), "rounds to float16"),
    "an infinite constant": (lambda w: jnp.sum(w**2) + jnp.inf, "finite"),
    "a mask of -inf": (lambda w: jnp.sum(jnp.exp(jnp.where(jnp.arange(3) > 0, w, -jnp.inf))), "-1e30"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name):
    loss, said = REFUSED[name]
    proof = hessian.prove(loss, jnp.ones(3))
    assert not proof.proved
    assert said in proof.reason
    assert "\n" not in str(proof)


BAD = {
    "no function": (lambda: hessian.prove("x", jnp.ones(2)), "loss must be a function; got 'x'"),
    "no arrays": (lambda: hessian.prove(jnp.sum, "w"), "params must be a pytree of real floating arrays; got 'w'"),
    "whole numbers": (lambda: hessian.prove(jnp.sum, jnp.arange(3)), "params must be .* got int"),
    "nothing": (lambda: hessian.prove(jnp.sum, jnp.ones(0)), "params must hold at least one value"),
    "more than a number": (lambda: hessian.prove(lambda w: (w[0], w, w), jnp.ones(2)), "loss must return a scalar"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_that_names_the_argument(name):
    call, said = BAD[name]
    with pytest.raises((TypeError, ValueError), match=said) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_lookalike_of_logaddexp_is_computed_as_it_is_written():
    @jax.custom_jvp
    def logaddexp(a, b):
        return jnp.maximum(a, b) + (a - b) ** 2

    logaddexp.defjvps(lambda t, *_: t, lambda t, *_: t)
    proof = hessian.prove(lambda w: logaddexp(w[0], w[1]) + jnp.sum(w**2), jnp.array([-0.4, -0.1]))
    assert not proof.proved  # between its kinks it has no critical point where its author's derivative has one


@pytest.fixture
def record(tmp_path):
    proof = hessian.prove(lambda w: (1 - w[0] * w[1]) ** 2 + 0.1 * jnp.exp(w[0]) + 0.3 * w[1] ** 2, jnp.zeros(2))
    proof.save(tmp_path / "proof.json")
    return tmp_path / "proof.json"


def test_a_record_replays_from_its_file_alone_and_overwrites_none(record):
    proof = read(record)
    assert replayed(proof).passed
    assert "saddle" in replayed(proof).said
    with pytest.raises(FileExistsError):
        proof.save(record)
    assert [file.name for file in record.parent.iterdir()] == ["proof.json"]


def changed(record, change):
    """The record after a change, with the words that its numbers then say."""
    data = json.loads(record.read_text())
    change(data)
    record.write_text(json.dumps(data))
    try:
        return read(record)
    except ValueError as error:
        if "must say what its numbers say, " not in str(error):
            raise
        said = str(error).partition("must say what its numbers say, ")[2]
        record.write_text(json.dumps({**data, "statement": ast.literal_eval(said)}))
        return read(record)


def constant_of(data):
    return next(row for row in data["program"] if row[0] == "constant")


FALSE = {
    "another index": lambda data: data.update(index=0),
    "a ball that is too large": lambda data: data.update(radius=[(1e3).hex()] * 2),
    "a ball beside the point": lambda data: data["center"].__setitem__(0, ["1", 3]),
    "a ball that is too small": lambda data: data.update(radius=[(1e-300).hex()] * 2),
    "another constant": lambda data: constant_of(data)[3].__setitem__(0, (5.0).hex()),
    "another operation": lambda data: next(row for row in data["program"] if row[0] == "exp").__setitem__(0, "square"),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_statement_made_false_does_not_replay(record, name):
    assert not replayed(changed(record, FALSE[name])).passed


HOSTILE = {
    "no record": lambda data: data.update(format="pickle"),
    "hypotheses": lambda data: data.update(hypotheses=["anything"]),
    "an unknown operation": lambda data: data["program"][1].__setitem__(0, "__import__"),
    "an input that is not there yet": lambda data: data["program"][1].__setitem__(1, [99]),
    "a place beyond the end": lambda data: data["program"].__setitem__(1, ["take", [0], 1, [7]]),
    "another size": lambda data: data["program"][1].__setitem__(2, 10**12),
    "a constant that is no double": lambda data: constant_of(data)[3].__setitem__(0, "nan"),
    "a truth for a number": lambda data: data.update(index=True),
    "no program": lambda data: data.update(program=[]),
    "a text for the program": lambda data: data.update(program="exec"),
    "an endless number": lambda data: data["center"].__setitem__(0, ["1", 10**9]),
    "a negative radius": lambda data: data.update(radius=["-0x1p0"] * 2),
    "more inputs": lambda data: data.update(center=data["center"] * 2, radius=data["radius"] * 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_refused_in_a_sentence(record, name):
    with pytest.raises(ValueError, match=r"must|not as the format says|larger than") as error:
        changed(record, HOSTILE[name])
    assert "\n" not in str(error.value)


def test_what_is_not_json_and_what_is_too_deep_is_refused(record):
    for text in ("", "{", "[" * 100_000):
        record.write_text(text)
        with pytest.raises(ValueError, match="a record must"):
            read(record)


def test_what_is_not_proved_has_no_record(tmp_path):
    proof = hessian.prove(lambda w: w[0] ** 4, jnp.zeros(1))
    assert (proof.proved, proof.kind, proof.index, proof.center, proof.radius) == (
        False,
        "not proved",
        None,
        None,
        None,
    )
    with pytest.raises(ValueError, match="must hold a proof; got not proved: the Hessian is singular"):
        proof.save(tmp_path / "x.json")


def test_of_a_loss_with_aux_its_value_is_proved():
    assert hessian.prove(lambda w: (jnp.sum(w**2), w), jnp.full(2, 1e-9)).kind == "minimum"


def test_a_verdict_carries_its_record_and_says_so():
    point = hessian.classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2), proof=True)
    assert (point.kind, point.proof.kind, point.proof.index) == ("saddle", "saddle", 1)
    assert "; proved: exactly one critical point" in point.certificate
    flat = hessian.classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2), proof=True)
    assert flat.kind == "degenerate"
    assert "; not proved: " in flat.certificate
    assert hessian.classify(lambda w: jnp.sum(w**2), jnp.zeros(2)).proof is None


def test_a_proof_inside_jit_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda w: hessian.classify(lambda w: jnp.sum(w**2), w, proof=True).code)(jnp.zeros(2))
    with pytest.raises(TypeError, match="outside of jit"):
        jax.vmap(lambda a: hessian.prove(lambda w, a: jnp.sum(a * w**2), jnp.zeros(2), a).index)(jnp.ones(3))


def test_a_whole_number_that_no_double_is_is_no_constant():
    assert Tape(1).real(np.array([2**53])).shape == (1,)
    with pytest.raises(Uncovered, match="real double"):
        Tape(1).real(np.array([2**53 + 1]))


# ---------------------------------------------------------------------------------------------- modulo symmetries


def hat(w):
    return (w @ w - 1) ** 2


def trimer(x):
    i, j = np.triu_indices(3, 1)
    r = jnp.sum((x[i] - x[j]) ** 2, axis=1)
    return jnp.sum((r - 1) ** 2)


ORBITS = {
    "a circle of minima": (hat, jnp.array([0.6, 0.8]), hessian.symmetry.rotations(2), "minimum", 0, 1),
    "the lecture's minima": (
        lambda w: (1 - w[0] * w[1]) ** 2, jnp.array([1.0, 1.0]), hessian.symmetry.rescale(0, 1), "minimum", 0, 1,
    ),
    "a triangle": (
        trimer, jnp.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]]), hessian.symmetry.atoms(2), "minimum", 0, 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORBITS)
def test_an_orbit_is_proved_with_its_dimension_and_its_record_replays(name, tmp_path):
    loss, start, symmetries, kind, index, flat = ORBITS[name]
    assert not hessian.prove(loss, start).proved
    proof = hessian.prove(loss, start, symmetries=symmetries)
    expected = hessian.classify(loss, jnp.asarray(proof.center).reshape(start.shape), symmetries=symmetries)
    assert (proof.flat, proof.index, proof.kind) == (flat, int(expected.index), expected.kind)
    assert kind is None or (proof.kind, proof.index) == (kind, index)
    proof.save(tmp_path / "proof.json")
    assert replayed(read(tmp_path / "proof.json")).passed


def test_a_record_of_an_orbit_that_was_changed_does_not_replay(tmp_path):
    proof = hessian.prove(hat, jnp.array([0.6, 0.8]), symmetries=hessian.symmetry.rotations(2))
    proof.save(tmp_path / "proof.json")
    sound = json.loads((tmp_path / "proof.json").read_text())

    def passes(**changes):
        (tmp_path / "other.json").write_text(json.dumps({**sound, **changes}))
        try:
            return replayed(read(tmp_path / "other.json")).passed
        except ValueError:
            return False

    orbit = sound["orbit"]
    assert passes()
    assert not passes(hypotheses=[])
    assert not passes(orbit={**orbit, "fields": [[]]})
    assert not passes(orbit={**orbit, "weight": (-1.0).hex()})
    assert not passes(orbit={**orbit, "center": [(1.0).hex()] * 2})
    assert not passes(orbit={**orbit, "rows": [[(0.6).hex(), (0.8).hex()]]})


def test_a_maximum_that_a_rotation_leaves_alone_is_proved_without_an_orbit():
    proof = hessian.prove(hat, jnp.zeros(2), symmetries=hessian.symmetry.rotations(2))
    assert (proof.kind, proof.flat) == ("maximum", 0)


def test_what_is_degenerate_across_the_orbit_is_not_proved_and_a_wrong_symmetry_is_refused():
    def flatter(w):
        return (w @ w - 1) ** 4

    circle = hessian.symmetry.rotations(2)
    assert not hessian.prove(flatter, jnp.array([0.6, 0.8]), symmetries=circle).proved
    line = jnp.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]) / 3**0.5  # besides 3 flat directions it has a zero mode
    assert not hessian.prove(trimer, line, symmetries=hessian.symmetry.euclidean(2)).proved
    with pytest.raises(ValueError, match="symmetries must leave the loss as it is"):
        hessian.prove(lambda w: hat(w) + w[0], jnp.array([0.6, 0.8]), symmetries=circle)
    curved = hessian.prove(hat, jnp.array([0.6, 0.8]), symmetries=lambda w: w[0] * jnp.array([-w[1], w[0]]))
    assert "affine" in curved.reason


@pytest.mark.parametrize("called", [(), (0,)], ids=["without numbers", "with one"])
def test_a_loss_that_calls_back_is_proved_as_the_one_that_does_not(called):
    def loss(w):
        jax.debug.callback(lambda *_: None, *(w[i] for i in called))
        return jnp.sum((w**2 - 1) ** 2)

    assert hessian.prove(loss, jnp.ones(2)).kind == "minimum"
    assert hessian.find_minimum(loss, jnp.zeros(2)).point.kind == "minimum"
