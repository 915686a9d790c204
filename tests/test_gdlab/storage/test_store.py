"""Stores: what is written comes back, or is refused by name; and what several processes say to each other."""

import hashlib
import json
import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import progress
from gdlab.ground.files import atomic_write
from gdlab.storage import multihost, store

IDENTITY = {"kind": "test", "size": 3}
ARRAYS = {"a:0": np.arange(6.0).reshape(2, 3), "b": np.asarray(jnp.ones(2, "bfloat16")), "c": np.arange(3)}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_parts_come_back_by_number_and_kind(tmp_path):
    with store.opened(tmp_path / "deep" / "s", IDENTITY) as kept:
        for number in (100_001, 2, 10):
            kept.write(number, ARRAYS)
        kept.write(7, ARRAYS, "state")
        assert (kept.numbers(), kept.numbers("state")) == ([2, 10, 100_001], [7])
        assert kept.path(10).name == "chunk-00010.npz"
        assert_same(kept.read(10), ARRAYS)
        assert_same(kept.read(7, "state"), ARRAYS)
        assert kept.read(3) is None
        first = kept.path(2).read_bytes()
        kept.write(2, ARRAYS)
        assert kept.path(2).read_bytes() == first
        kept.discard(7, "state")
        kept.discard(7, "state")
        assert kept.numbers("state") == []
    assert store.read_identity(tmp_path / "deep" / "s") == IDENTITY


def test_a_store_in_use_says_by_which_process(tmp_path):
    for _ in range(2):  # what the one before has left stands in the lock no longer
        with store.opened(tmp_path / "s", IDENTITY):
            said = f"^store must not be in use; process {os.getpid()} is writing to .*s$"
            with pytest.raises(store.StoreError, match=said), store.opened(tmp_path / "s", IDENTITY):
                pass


def test_a_part_belongs_to_what_was_computed_whatever_is_noted_beside_it(tmp_path):
    noted = {"size": 3, "kind": "test", "argv": "another call", "shard": [1, 2]}
    for identity in (IDENTITY, noted):
        kept = store.Store(tmp_path, identity)
        kept.write(0, ARRAYS)
        assert_same(store.Store(tmp_path, IDENTITY).read(0), ARRAYS)
    said = r"chunk-00000.npz is damaged and not used: it is chunk-00000 of \w{16}, not"
    with pytest.warns(UserWarning, match=said) as warned:
        assert store.Store(tmp_path, {**IDENTITY, "size": 4}).read(0) is None
    assert warned[0].filename == __file__


def test_what_would_have_to_be_unpickled_is_neither_written_nor_read(tmp_path):
    kept, pickled = store.Store(tmp_path, IDENTITY), np.array([{"a": 1}])
    with pytest.raises(ValueError, match="allow_pickle"):
        kept.write(0, {"a": pickled})
    assert kept.numbers() == []
    kept.write(0, {"a": np.zeros(1)})
    with zipfile.ZipFile(kept.path(0)) as sound, zipfile.ZipFile(kept.path(1), "w") as foreign:
        meta = sound.read(store.META).decode().replace("chunk-00000", "chunk-00001")
        foreign.writestr(store.META, meta.replace("float64", "object"))
        with foreign.open("a.npy", "w") as member:
            np.lib.format.write_array(member, pickled, allow_pickle=True)
    with pytest.warns(UserWarning, match=r"chunk-00001.npz is damaged and not used: .*allow_pickle"):
        assert kept.read(1) is None


def test_another_store_is_refused_with_every_difference_but_the_notes(tmp_path):
    with store.opened(tmp_path, {**IDENTITY, "argv": "one", "attrs": {}}):
        pass
    with store.opened(tmp_path, {**IDENTITY, "argv": "other", "config": 1}):
        pass
    with pytest.raises(store.StoreError) as caught, store.opened(tmp_path, {"kind": "test", "more": 1, "size": 4}):
        pass
    assert str(caught.value) == (
        f"store must be of this very computation, or not exist; in {tmp_path} "
        "more is None there and 1 here; size is 3 there and 4 here"
    )


def test_what_no_store_is_cannot_be_read(tmp_path):
    (tmp_path / "store.json").write_text("[1]")
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(store.StoreError, match=r"^store must be a folder that a sweep or a long run has written; "):
            store.read_identity(folder)


def test_what_a_kill_left_half_written_is_removed_and_an_error_leaves_nothing(tmp_path):
    (tmp_path / ".chunk-00000.npz-x.partial").write_text("half")
    with store.opened(tmp_path, IDENTITY) as kept, pytest.raises(KeyError), atomic_write(kept.path(1)) as file:
        file.write(b"half")
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "store.json"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_who_may_read_a_store_the_umask_says(mask, tmp_path):
    before = os.umask(mask)
    try:
        with store.opened(tmp_path, IDENTITY) as kept:
            kept.write(0, {"x": np.ones(2)})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~mask}


def test_a_copy_of_a_part_is_no_part(tmp_path):
    with store.opened(tmp_path, IDENTITY) as kept:
        kept.write(3, {"x": np.ones(2)})
        (tmp_path / "chunk-00003 (copy).npz").write_bytes(kept.path(3).read_bytes())
        assert kept.numbers() == [3]


def test_a_digest_keeps_its_parts_apart():
    parts = b"ab", b"c"
    said = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert store.digest(*parts) == hashlib.sha256(said).hexdigest()[:16] != store.digest(b"a", b"bc")


def test_only_the_first_process_acts_and_all_hear_what_came_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    said = []

    def broadcast(words):
        if jax.process_index() == 0:
            said.append(words)
        return said[-1]

    def refuse():
        raise store.StoreError("no room")

    def both(act):
        for index in (0, 1):
            monkeypatch.setattr(jax, "process_index", lambda index=index: index)
            yield multihost.on_first_process(act if index == 0 else pytest.fail)

    monkeypatch.setattr(multihost, "_broadcast", broadcast)
    assert list(both(lambda: None)) == [None, None]
    for found in both(lambda: ARRAYS):
        assert_same(found, ARRAYS)
    for index in (0, 1):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        with pytest.raises(store.StoreError, match=r"^no room$"):
            multihost.on_first_process(refuse if index == 0 else pytest.fail)


def test_a_process_alone_sends_nothing(monkeypatch):
    monkeypatch.setattr(multihost, "_broadcast", pytest.fail)
    assert multihost.on_first_process(lambda: ARRAYS) is ARRAYS


def test_a_process_alone_raises_what_happened_and_one_of_several_says_that_another_is_gone(monkeypatch):
    with pytest.raises(ValueError, match=r"^lost"), multihost.together():
        raise ValueError("lost\nmore")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    said = r"^another process of this program has ended, .*\(lost\)$"
    with pytest.raises(RuntimeError, match=said), multihost.together():
        raise ValueError("lost\nmore")


def test_a_bar_is_drawn_in_a_terminal_only_and_a_report_hears_numbers(capsys, monkeypatch):
    from rich.console import Console

    heard = []
    for asked in (lambda done, total: heard.append((done, total)), False, True):
        with progress.bar(asked, "sweep", 7) as advance:
            advance(3, "alive")
    assert heard == [(3, 7)]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(Console, "is_terminal", property(lambda console: True))
    with progress.bar(True, "sweep", 7) as advance:
        advance(7, "alive 90%")
    out, drawn = capsys.readouterr()
    assert out == ""
    assert "sweep, alive 90%" in drawn
    assert "100%" in drawn


def test_rows_are_alive_where_all_their_numbers_are_finite():
    arrays = {"a": np.array([1.0, np.nan, 1.0, 1.0]), "b": np.zeros((4, 2, 2)), "n": np.arange(4)}
    arrays["b"][2, 1, 0] = np.inf
    assert progress.alive(arrays).tolist() == [True, False, False, True]
    assert progress.alive({"n": np.arange(3)}).tolist() == [True] * 3
    half = np.asarray(jnp.array([[1.0, jnp.inf], [1.0, 1.0]], "bfloat16"))
    assert progress.alive({"half": half}).tolist() == [False, True]


def test_an_identity_is_kept_as_it_is_read(tmp_path):
    with store.opened(tmp_path, {"lanes": ("a", "b"), 1: 2}) as kept:
        assert kept.identity == {"lanes": ["a", "b"], "1": 2}
        assert (tmp_path / "store.json").read_text() == json.dumps(kept.identity, indent=2, sort_keys=True)
    with store.opened(tmp_path, {"lanes": ("a", "b"), 1: 2}):
        pass
