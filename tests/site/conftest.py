"""The site's pages, read once."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest


@dataclass
class Page:
    """What a page is made of: text, and attributes of elements by their name."""

    text: str = ""
    elements: dict[str, list[dict]] = field(default_factory=dict)

    def all(self, name):
        return self.elements.get(name, [])


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.page, self.texts, self.silent = Page(), [], False

    def handle_starttag(self, tag, attrs):
        self.page.elements.setdefault(tag, []).append(dict(attrs))
        self.silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, data):
        if not self.silent:
            self.texts.append(data)


def read(path):
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.page.text = "".join(reader.texts)
    return reader.page


@pytest.fixture(scope="session")
def pages(site):
    """The pages by their path in the site."""
    found = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    return {path.relative_to(site).as_posix(): read(path) for path in found}
