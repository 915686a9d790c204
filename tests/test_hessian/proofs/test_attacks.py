"""Losses that look like others, and records that were made to deceive: each was once taken for what it is not."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

pytest.importorskip("flint")

import hessian
from hessian.proofs.lowering import lowered
from hessian.proofs.record import Ball, Proof
from hessian.proofs.replay import read, replayed

pytestmark = pytest.mark.full

INFINITE, MISSING = jnp.array([jnp.inf, 1.0]), jnp.array([jnp.nan])


def known_true():
    return jnp.array(True) & (jnp.arange(1) == 0)[0]


def first(values):
    return values[0]


# The loss, and a point where something else of the same look would have a minimum.
LOOKALIKES = {
    "a reduction's own function": (
        lambda w: first((lax.reduce(w, 0.0, lambda a, b: (a + b) * 1.0, (0,)) ** 2 + w[1] ** 2 - 2 * w[0],)),
        [1.0, 0.0],
    ),
    "a window's own function": (
        lambda w: (
            jnp.sum(lax.reduce_window(w, 0.0, lambda a, b: (a + b) * 1.0, (2,), (1,), "SAME") ** 2) - 2 * jnp.sum(w)
        ),
        [1.0, 1.0],
    ),
    "a fill value": (lambda w: w.at[7].get(mode="fill", fill_value=0.0) ** 2 + (w[1] - 1) ** 2 - w[0], [0.5, 1.0]),
    "another fill value": (
        lambda w: jnp.take(w, jnp.array([7]), mode="fill", fill_value=1)[0] ** 2 + (w[0] - 1) ** 2 - w[1],
        [1.0, 0.5],
    ),
    "a filled truth": (
        lambda w: jnp.where((w > 0.5).at[9].get(mode="fill", fill_value=False), (w[0] - 1) ** 2, (w[0] + 1) ** 2),
        [1.0],
    ),
    "a known truth that chooses between truths": (
        lambda w: jnp.where(jnp.where(known_true(), w[0] < 1, w[0] > 1), 5 * w[0], w[0] ** 2),
        [0.0],
    ),
    "a division of whole numbers": (lambda w: (w[0] - lax.div(jnp.where(w[0] > 0, 7, 8), 2)) ** 2, [3.5]),
    "whole numbers that wrap": (
        lambda w: (
            w[0] - (jnp.where(w[0] > 0, jnp.int8(100), jnp.int8(0)) * jnp.int8(3)).astype(float) / 100
        ) ** 2,
        [3.0],
    ),
    "truths in a scan": (
        lambda w: (
            lax.scan(lambda c, b: (c + b.astype(float) * (w[0] - 1) ** 2, None), w[0] * 0, w > 0)[0] - 4 * (w[0] - 1)
        ),
        [1.5],
    ),
    "a missing number": (lambda w: jnp.where(jnp.isfinite(MISSING)[0], w[0] ** 2, 5 * w[0]), [0.0]),
    "an infinite number": (lambda w: jnp.sum(jnp.where(jnp.isfinite(INFINITE), (w - 1) ** 2, w**2)), [1.0, 1.0]),
    "a guard of a logarithm": (lambda w: jnp.where(jnp.isnan(jnp.log(w[0])), 5 * w[0], (w[0] + 1) ** 2), [-1.0]),
    "a guard of a root": (lambda w: jnp.where(jnp.isfinite(jnp.sqrt(w[0])), (w[0] + 1) ** 2, 5 * w[0]), [-1.0]),
    "a guard of a pole": (lambda w: jnp.where(jnp.isfinite(1 / (w[0] - w[0])), w[0] ** 2, 5 * w[0]), [0.0]),
    "an exponent beyond the doubles": (lambda w: lax.pow(w[0], jnp.array(2**53 + 1)) / 2.0**53 + w[0], [-1.0]),
    "a rounded count": (
        lambda w: (w[0] - jnp.arange(258).astype(jnp.bfloat16)[257].astype(float)) ** 2,
        [257.0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKALIKES)
def test_no_other_loss_is_proved_in_the_place_of_this_one(name):
    loss, point = LOOKALIKES[name]
    proof = hessian.prove(loss, jnp.array(point))
    if proof.proved:
        np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(proof.center)), 0, atol=1e-9)


def test_what_64_bits_would_change_is_refused_where_they_are_off():
    key = jax.random.key(0)
    with jax.enable_x64(False):
        drawn = hessian.prove(lambda w: jnp.sum((w - 0.05 * jax.random.bernoulli(key, 0.5, (1,))) ** 2), jnp.zeros(1))
        wrapped = hessian.prove(lambda w: (w[0] - (jnp.arange(50001) ** 2)[50000] / 1e9) ** 2, jnp.array([2.5]))
        plain = hessian.prove(lambda w: jnp.sum((w - 0.5) ** 2) + w[0] * w[1], jnp.ones(2) / 3)
    assert (drawn.proved, wrapped.proved, plain.proved) == (False, False, True)
    assert "random draws" in drawn.reason
    assert "32 bits" in wrapped.reason


def test_counts_that_round_and_whole_numbers_that_wrap_below_are_refused():
    for type_, count in ((jnp.float16, 3000), (jnp.bfloat16, 300)):  # whole numbers up to 2048 and to 256
        last = lambda: lax.iota(type_, count)[count - 3].astype(float)  # noqa: B023, E731
        proof = hessian.prove(lambda w: (w[0] - last()) ** 2, jnp.array([count - 3.0]))  # noqa: B023
        assert not proof.proved and "iota rounds to" in proof.reason
    with jax.enable_x64(False):
        for sign in (1, -1):
            proof = hessian.prove(lambda w: (w[0] - sign * (jnp.arange(50001) ** 2)[50000] / 1e9) ** 2, jnp.ones(1))  # noqa: B023
            assert not proof.proved and "32 bits" in proof.reason
        below = lambda w: (w[0] - (-(jnp.arange(50001)) * jnp.arange(50001))[50000] / 1e9) ** 2  # noqa: E731
        proof = hessian.prove(below, jnp.array([-2.5]))
        assert not proof.proved and "32 bits" in proof.reason


SENTENCES = {
    "an equality with a constant": lambda w: jnp.where(w[0] == 1.0, w[0], w[0] ** 2),
    "truths compared": lambda w: jnp.where((w[0] > 1) == (w[0] < 1), w[0], w[0] ** 2),
    "truths chosen by truths": lambda w: jnp.where(jnp.where(w[0] > 5, True, False), w[0], (w[0] - 2) ** 2),
    "whole numbers chosen by truths": lambda w: (w[0] - jnp.where(w[0] > 0, 7, 8) // 2) ** 2,
    "a scalar truth for arrays": lambda w: jnp.sum(lax.select(w[0] > 5, w, (w - 2) ** 2)),
    "a product of nothing": lambda w: jnp.prod(w[:0]) + w[0] ** 2,
    "an infinite exponent": lambda w: w[0] ** jnp.array(jnp.inf),
    "an exponent that is no number": lambda w: w[0] ** jnp.array(jnp.nan),
    "a high power": lambda w: w[0] ** 20000 - 20000 * w[0],
    "an applied function": lambda w: jnp.sum(w.at[0].apply(jnp.square)),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_whatever_comes_out_it_is_a_proof_or_one_sentence(name):
    proof = hessian.prove(SENTENCES[name], jnp.array([1.0, 2.0]))
    assert proof.proved or (proof.reason and "\n" not in proof.reason)


def test_the_words_speak_of_no_larger_box_than_is_proved(tmp_path):
    proof = hessian.prove(lambda w: w[0] ** 2 + 1 - jnp.cos(1e5 * w[1]), jnp.zeros(2))
    low, high = (float(word) for word in proof.statement.split("radii ")[1].split(" around")[0].split(" to "))
    assert low <= proof.radius.min() < 1e-4
    assert high <= proof.radius.max()
    program, _ = lowered(lambda w: jnp.where(w[0] < 0.9997, w[0] ** 2 / 2, (w[0] - 0.9998) ** 2), jnp.zeros(1))
    proof = Proof("", Ball(((0, 0),), (0.9996,), 0, 53), program)
    assert replayed(proof).passed
    assert "0.994" in proof.statement


OUTER = ["matmul", [1, 1], 9000**2, [1, 9000, 1, 9000]]
INPUT = ["input", [], 1, [1]]
EMPTY = ["constant", [], 0, []]
MANY = [["square", [i], 400, []] for i in range(8)]
HOSTILE = {
    "an endless product": (1, [INPUT, EMPTY, ["matmul", [1, 1], 0, [10**9, 10**9, 0, 0]], ["take", [0, 2], 1, [0]]]),
    "a sum of nothing": (1, [INPUT, EMPTY, ["matmul", [1, 1], 1, [1, 1, 0, 1]]]),
    "a size beyond all": (1, [INPUT, EMPTY, ["matmul", [1, 1], 0, [0, 10**400, 0, 0]], ["take", [0, 2], 1, [0]]]),
    "many inputs many times": (
        1,
        [INPUT, ["take", [0] * 300000, 300000, [0] * 300000], ["sum", [1], 1, [300000]], ["take", [1] * 999, 1, [0]]],
    ),
    "a pool of all": (1, [INPUT, ["take", [0], 10000, [0] * 10000], ["take", [1] * 100000, 1, [0]]]),
    "large Hessians": (400, [["input", [], 400, [400]], *MANY, ["sum", [8], 1, [400]]]),
    "an outer product": (
        1,
        [INPUT, ["take", [0], 9000, [0] * 9000], OUTER, ["take", [2], 1, [0]]],
    ),
    "a large inverse": (4000, [["input", [], 4000, [4000]], ["sum", [0], 1, [4000]], ["square", [1], 1, []]]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_record_that_would_take_for_ever_or_all_memory_is_refused(name, tmp_path):
    n, program = HOSTILE[name]
    data = {"format": "gdlab proof 1", "hypotheses": [], "index": 0, "bits": 53, "program": program}
    data.update(center=[["0", 0]] * n, radius=["0x1p-10"] * n, statement="")
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"must|larger than|format says"):
        read(tmp_path / "x.json")


def test_numbers_that_grow_without_end_are_refused(tmp_path):
    loss = lambda w: jax.lax.fori_loop(0, 40, lambda _, x: x * x, w[0] + 3.0)  # noqa: E731
    proof = hessian.prove(loss, jnp.zeros(1))
    assert not proof.proved
    assert "beyond 2^" in proof.reason


def test_a_record_that_says_what_is_not_proved_is_refused(tmp_path):
    hessian.prove(lambda w: w[0] ** 2, jnp.zeros(1)).save(tmp_path / "x.json")
    data = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps({**data, "statement": "proved: a maximum"}))
    with pytest.raises(ValueError, match="must say what its numbers say"):
        read(tmp_path / "x.json")


def test_a_device_is_no_record():
    with pytest.raises(ValueError, match="bytes"):
        read("/dev/zero")
