"""The browser that the tests of the pages drive, and what a lecture's verdict is judged by."""

import contextlib
import json
import shutil
from functools import partial
from pathlib import Path

import jax
import pytest

QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync"


@pytest.fixture
def comes_out(tmp_path, capsys):
    """What runs a lecture's experiment at its quick size: every check passes, and the figure is there."""
    from experiments.__main__ import main

    # An experiment says itself whether its programs are worth the compiler's time.
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)

    def judge(name):
        assert main([name, "--quick", "--out", str(tmp_path / name), "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["passed"]
        assert len(summary["checks"]) >= 7
        assert (tmp_path / name / f"{name}.png").stat().st_size > 10_000

    yield judge
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET.split())


@pytest.fixture
def opened(browser):
    """What opens a page from its file."""
    return partial(_opened, browser)


def _foreign(address, file):
    """Whether a request is for more than the page's file and what the page made itself."""
    return Path(file).name not in address and not address.startswith("blob:")


@contextlib.contextmanager
def _opened(browser, file):
    """A page; a message on the console, a dialog or a request for another file fails the test."""
    context = browser.new_context(viewport={"width": 1250, "height": 900}, has_touch=True)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url) if _foreign(request.url, file) else None)
    page.goto(f"file://{file}")
    yield page
    assert said == []
    context.close()
