"""Pages of the site that compute: static files that run in the reader's browser.

Each builder writes a folder of its own that needs no other file; their sources lie in docs/pages.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import jinja2

from labkit import course, files
from labkit.errors import LabkitError


class PageError(LabkitError):
    """A page cannot be built here; the message says what is missing."""


def sources(page: str) -> Path:
    """The folder of a page's sources."""
    return course.root() / "docs" / "pages" / page


def write(page: str, folder: Path, **values) -> None:
    """Write a page into its folder: its sources, the common style sheet, index.html filled in.

    Args:
        page: name of its folder in docs/pages.
        folder: where the page is built.
        values: what index.html asks for, `home` among it: the address of the site's first page, or
            None.
    """
    shutil.copyfile(sources("common.css"), folder / "common.css")
    for source in sources(page).iterdir():
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
    fill_in(page, folder / "index.html", **values)


def fill_in(page: str, path: Path, **values) -> None:
    """Write a page's file of that name with the values that it asks for."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(sources("")),
        autoescape=jinja2.select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    text = templates.get_template(f"{page}/{path.name}").render(values)
    files.write_text(path, text)
