"""What is wrong with the links of a site: a page or a place that is not there, or a request to another machine.

A link that the reader may follow to elsewhere, `<a href="https://...">`, is none of these.
"""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"src", "srcset", "poster", "data"}  # attributes that a browser fetches without being asked


class Page(HTMLParser):
    """The places of a page, what it links to, and what it loads."""

    def __init__(self, text: str):
        """Read the page."""
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag names, links to, or loads."""
        for name, value in attrs:
            if name == "id" or (tag, name) == ("a", "name"):
                self.places.add(value)
            elif name in LOADS or (tag, name) == ("link", "href"):
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")

    handle_startendtag = handle_starttag


def complaints(site: Path) -> Iterator[str]:
    """One sentence for each link of a site that leads nowhere, and each request to another machine."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        name = file.relative_to(site)
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme == "data" or (parts.scheme in ("http", "https", "mailto") and link in page.links):
                continue
            if parts.scheme or parts.netloc:
                yield f"{name} loads {link} from another machine"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                yield f"{name} links to {link}, which is not there"
            elif target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].places:
                yield f"{name} links to {link}, a place that its page does not have"
    for file in sorted([*site.rglob("*.css"), *site.rglob("*.js")]):
        text = file.read_text(encoding="utf-8")
        for sign in ("@import url(http", "url(http", "url(//", 'fetch("http', 'importScripts("http'):
            if sign in text:
                yield f"{file.relative_to(site)} loads something from another machine: {sign}"
