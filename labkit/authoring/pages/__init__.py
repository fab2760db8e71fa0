"""Pages of the site that compute: static files that run in the reader's browser.

Each builder writes a folder of its own that needs no other file; their sources lie in docs/pages.
"""

from __future__ import annotations

from pathlib import Path

from labkit.authoring.source import course_root
from labkit.errors import LabkitError


class PageError(LabkitError):
    """A page cannot be built here; the message says what is missing."""


def sources(page: str) -> Path:
    """The folder of a page's sources."""
    return course_root() / "docs" / "pages" / page
