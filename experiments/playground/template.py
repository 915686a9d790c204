"""A page from its template: what comes from outside is data, and cannot end an element."""

import base64
import html
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..reporting.run_folder import dump

HERE = Path(__file__).parent


def filled(template: str, title: str, data: Any, texts: dict[str, str]) -> str:
    """The page of a template, whose places {name} are filled: title, style and data are escaped, the texts are not."""
    texts = {
        "title": html.escape(title),
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "data": dump(data, separators=(",", ":")).replace("<", "\\u003c"),
        **texts,
    }
    text = (HERE / template).read_text(encoding="utf-8")
    return re.sub(r"\{(" + "|".join(texts) + r")\}", lambda found: texts[found[1]], text)


def script(*names: str) -> str:
    """Files of JavaScript, one after another, without comments on lines of their own and what stands before a line."""
    text = "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
    return re.sub(r"^ +|^ */\*.*?\*/\n+", "", text, flags=re.MULTILINE | re.DOTALL)


def packed(values: Any, kind: str = "<f4") -> str:
    """Numbers in base64, as little-endian float32 or another kind; one too large for that is infinite."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.asarray(values, kind).tobytes()).decode()
