"""The site, built: docs/ and what is generated, rendered by Sphinx into a folder of plain files."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from labkit import files
from labkit.authoring import CourseError
from labkit.authoring.site import course, pages


def build(root: Path, out: Path, work: Path, solutions: bool = False) -> Path:
    """Build the site.

    Args:
        root: of the course.
        out: the site's folder; what was in it is replaced, once the new one is whole.
        work: a folder for what lies between; it is emptied.
        solutions: the labs' pages with the solutions' code and the model answers.

    Returns:
        the site's first page.

    Raises:
        CourseError: `out` holds something else than a site; or Sphinx warns, for example of a link
            to nothing, or of a docstring that cannot be read.
    """
    if out.exists() and any(out.iterdir()) and not (out / "objects.inv").exists():
        raise CourseError(f"{out} is no site: remove it, or name another folder.")
    shutil.rmtree(work, ignore_errors=True)
    source = work / "source"
    shutil.copytree(root / "docs", source)
    shutil.copytree(root / "notebooks", source / "notebooks")
    table = course.read(source / "course.toml")
    for name, text in pages.texts(root, table, solutions).items():
        files.write_text(source / name, text)
    said = io.StringIO()
    app = Sphinx(
        srcdir=source,
        confdir=source,
        outdir=work / "html",
        doctreedir=work / "doctrees",
        buildername="html",
        status=None,
        warning=said,
        freshenv=True,
    )
    app.build()
    if warnings := said.getvalue().strip():
        raise CourseError(f"the site has faults:\n{warnings}")
    shutil.rmtree(out, ignore_errors=True)
    shutil.move(work / "html", out)
    return out / "index.html"
