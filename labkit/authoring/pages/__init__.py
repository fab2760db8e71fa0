"""Pages of the site that compute: static files that run in the reader's browser.

Each builder writes a folder of its own that needs no other file; their sources lie in docs/pages.
"""

from __future__ import annotations

import html
import shutil
from pathlib import Path

from labkit import course, files
from labkit.errors import LabkitError


class PageError(LabkitError):
    """A page cannot be built here; the message says what is missing."""


def sources(page: str) -> Path:
    """The folder of a page's sources."""
    return course.root() / "docs" / "pages" / page


def copy(page: str, folder: Path, **values: dict[str, str]) -> None:
    """Copy a page's sources and the common style sheet into its folder.

    Args:
        page: name of its folder in docs/pages.
        folder: where the page is built.
        values: for files with places to fill, {{name}}: the texts by name, by the file's name with
            an underscore for its dot.

    Raises:
        PageError: a file has no such place.
    """
    shutil.copyfile(sources("common.css"), folder / "common.css")
    for source in sources(page).iterdir():
        if not source.is_file():
            continue
        filled = values.get(source.name.replace(".", "_"))
        if filled is None:
            shutil.copyfile(source, folder / source.name)
            continue
        text = source.read_text(encoding="utf-8")
        for name, value in filled.items():
            if f"{{{{{name}}}}}" not in text:
                raise PageError(f"{source.name} has no place for {name}.")
            text = text.replace(f"{{{{{name}}}}}", value)
        files.write_text(folder / source.name, text)


def link_home(home: str | None) -> str:
    """A link to the site's first page, or nothing where there is none."""
    return f'<p class="home"><a href="{html.escape(home)}">← The course</a></p>' if home else ""
