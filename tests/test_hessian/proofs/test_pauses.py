"""Pauses: how far a search is stands in its store every ten seconds, and not more often."""

import numpy as np
import pytest

pytestmark = pytest.mark.full

pytest.importorskip("ival")

from hessian.proofs import pauses  # noqa: E402
from hessian.proofs.kernels.boxes import _nothing_known  # noqa: E402


class Kept(dict):
    """What a store keeps, by number and kind."""

    def write(self, number, arrays, kind):
        self[number, kind] = arrays

    def read(self, number, kind):
        return self.get((number, kind))


def test_a_search_is_kept_once_ten_seconds_have_passed_since_it_was(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(pauses.time, "monotonic", lambda: clock[0])
    store, search = Kept(), _nothing_known(np.array([[0.0, 1.0]]))
    pause, asked = pauses.Pause(store), []
    assert pause.read() is None

    def so_far():
        asked.append(clock[0])
        return search

    for at in (100.0, 109.9, 110.0, 119.9, 120.5, 130.0, 130.5):
        clock[0] = at
        pause.keep(so_far)
    assert asked == [110.0, 120.5, 130.5]
    found = pause.read()
    assert type(found) is type(search) and all(np.array_equal(a, b) for a, b in zip(found, search, strict=True))
    assert [*store] == [(0, "search")]


def test_without_a_store_nothing_is_kept_nor_asked():
    pause = pauses.Pause(None)
    pause.written -= 1e6
    pause.keep(None)
    pause.write(None)
    assert pause.read() is None
