"""The promises of docs/promises.md: their tests exist, and none of them needs the network."""

import ast
import re
import socket
from pathlib import Path

import jax.numpy as jnp
import pytest

import gdlab
import hessian
from experiments.__main__ import main

TESTS = Path(__file__).parent
NAMED = re.findall(r"`(test_[\w/]+\.py)::(\w+)`", (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_promise_names_a_test_that_exists(file):
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert {test for of, test in NAMED if of == file} <= there


def test_every_row_of_the_promises_names_a_test():
    rows = [line for line in (TESTS.parent / "docs" / "promises.md").read_text().splitlines() if line.startswith("| ")]
    assert [row for row in rows if "::" not in row and row != "| Promise | Test |"] == []


@pytest.mark.full
def test_nothing_needs_the_network_at_run_time(monkeypatch, capsys):
    def offline(*_):
        raise OSError("the network was asked for")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, offline)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(OSError, match="asked for"):
        socket.create_connection(("localhost", 9))
    assert main(["problems"]) == 0
    assert capsys.readouterr().out
    images, labels = gdlab.problems.digits()
    assert len(images) == len(labels)
    ends = gdlab.sweep(
        lambda lr: gdlab.minimize(lambda w: w @ w, gdlab.gd(lr), jnp.ones(2), 2).params, lr=jnp.array([0.1, 0.2])
    )
    assert bool(ends.alive.all())
    assert hessian.classify(lambda w: w @ w, jnp.zeros(2)).kind == "minimum"
