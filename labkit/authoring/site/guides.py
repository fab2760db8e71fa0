"""The repository's own guides as pages: their links lead to pages where there are some."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

#: Pages of the site by the file of the repository that they show.
GUIDES = {
    "README.md": "overview",
    "grading/README.md": "instructors",
    "data/README.md": "data",
    "docs/adding_a_lab.md": "adding_a_lab",
    "docs/labkit.md": "labkit",
    "docs/results.md": "results",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changes",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def guide(root: Path, name: str) -> str:
    """A guide's Markdown, its links made to fit: a file without a page keeps its name alone.

    Args:
        root: of the course.
        name: of the guide, for example "grading/README.md".
    """
    text = (root / name).read_text(encoding="utf-8")

    def adapted(found: re.Match) -> str:
        mark, label, target = found.groups()
        if "://" in target or target.startswith("#"):
            return found[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        if path in GUIDES:
            return f"[{label}]({GUIDES[path]}.md{'#' if anchor else ''}{anchor})"
        if re.fullmatch(r"(notebooks|solutions)/\d\d_\w+\.ipynb", path):
            return f"[{label}](labs/{posixpath.basename(path)})"
        if mark:
            return f"![{label}]({path.removeprefix('docs/')})"
        return label

    return _LINK.sub(adapted, text)
