"""A page from its template: what comes from outside is data, and cannot end an element."""

import base64
import html
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..reporting.run_folder import dump

HERE = Path(__file__).parent


def filled(template: str, title: str, data: Any, texts: dict[str, str], *, about: str, marks: str = "") -> str:
    """The page whose body is a template, in the frame of all pages, with its places {name} filled.

    Title, what it is about and data are escaped; the texts, and the marks of its root element, are not.
    """
    texts = {
        "title": html.escape(title),
        "about": html.escape(about),
        "marks": "".join(f" {mark}" for mark in marks.split()),
        "style": _read("page.css"),
        "data": dump(data, separators=(",", ":")).replace("<", "\\u003c"),
        **texts,
    }
    text = _read("frame.html").replace("{body}", _read(template).rstrip())
    return re.sub(r"\{(" + "|".join(texts) + r")\}", lambda found: texts[found[1]], text)


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")


def script(*names: str) -> str:
    """Files of JavaScript, one after another, without comments on lines of their own and what stands before a line."""
    text = "\n".join(map(_read, names))
    return re.sub(r"^ +|^ */\*.*?\*/\n+", "", text, flags=re.MULTILINE | re.DOTALL)


def packed(values: Any, kind: str = "<f4") -> str:
    """Numbers in base64, as little-endian float32 or another kind; one too large for that is infinite."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.asarray(values, kind).tobytes()).decode()
