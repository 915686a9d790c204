"""The browser that the tests of the pages drive."""

import contextlib
import shutil
from functools import partial
from pathlib import Path

import pytest

QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync"


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
