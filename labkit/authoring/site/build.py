"""The site, built: docs/ and what is generated, rendered by Sphinx into a folder of plain files."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from pathlib import Path

from sphinx.application import Sphinx

from labkit import files
from labkit.authoring.pages import explorer
from labkit.authoring.pages import phone as phone_page
from labkit.authoring.site import course, pages, stored
from labkit.course import CourseError


def build(root: Path, out: Path, solutions: bool = False, phone: Path | None = None) -> Path:
    """Build the site.

    Args:
        root: of the course.
        out: the site's folder; a site that was in it is replaced, once the new one is whole.
        solutions: the labs' pages with the solutions' code and the model answers.
        phone: lab 08's output folder: with the page that runs its network on a phone.

    Returns:
        the site's first page.

    Raises:
        CourseError: `out` holds something else than a site; or Sphinx warns, for example of a link
            to nothing, or of a docstring that cannot be read.
        PageError: npm, or a network of lab 08 in `phone`, is not there.
    """
    if out.exists() and any(out.iterdir()) and not (out / "objects.inv").exists():
        raise CourseError(f"{out} is no site: remove it, or name another folder.")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = work / "source"
        shutil.copytree(root / "docs", source)
        shutil.copytree(root / "notebooks", source / "notebooks")
        table = course.read(source / "course.toml")
        executed = stored.read(root)
        texts = pages.texts(root, executed, table, solutions, phone is not None)
        for name, text in texts.items():
            files.write_text(source / name, text)
        _render(source, work / "html", work / "doctrees")
        explorer.build(work / "html" / "explorer", stored.ledger(executed), "../index.html")
        if phone is not None:
            phone_page.build(work / "html" / "phone", phone, "../index.html")
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work / "html", out)
    return out / "index.html"


def _render(source: Path, html: Path, doctrees: Path) -> None:
    said = io.StringIO()
    Sphinx(source, source, html, doctrees, "html", status=None, warning=said).build()
    if warnings := re.sub(r"\x1b\[[\d;]*m", "", said.getvalue()).strip():
        raise CourseError(f"Sphinx warns:\n{warnings}")
