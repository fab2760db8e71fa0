"""What Sphinx lacks for the pages: alternative texts of figures, equations without a network."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from myst_nb.core.render import NbElementRenderer
from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset
from sphinx.util.typing import ExtensionMetadata

#: Of MathJax's 24 MB what a page with TeX loads: the program, its fonts, its menus.
_MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2")
_NO_HEAD = re.compile(r'<th class="head[^"]*">(<p></p>)?</th>')
#: What code has no colour for, which is most of it: names, punctuation, blanks.
_PLAIN = re.compile(r'<span class="(?:n|nn|nx|p|pm|w)">([^<]*)</span>')
_render_image = NbElementRenderer.render_image


def _with_alternative_text(self: NbElementRenderer, data) -> list:
    """A figure's nodes with the alternative text and the width of the output's metadata."""
    nodes = _render_image(self, data)
    facts = data.output_metadata.get(data.mime_type, {})
    for node in nodes:
        if "alt" in facts:
            node["alt"] = facts["alt"]
    return nodes


def _lighten(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Leave out what says nothing.

    A column without a name has no head: a screen reader would announce an empty one. Code without a
    colour is no element: that was 46 % of the elements of the labs' pages.
    """
    body = _NO_HEAD.sub("<td></td>", context.get("body", ""))
    context["body"] = _PLAIN.sub(r"\1", body)


def _copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        package = importlib.import_module("sphinx-mathjax-offline")
        source = Path(package.__file__).parent / "static" / "mathjax"
        for name in _MATHJAX:
            target = Path(app.outdir, "_static", "mathjax", name)
            copy_asset(source / name, target if (source / name).is_dir() else target.parent)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Sphinx calls this."""
    NbElementRenderer.render_image = _with_alternative_text
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.connect("html-page-context", _lighten)
    app.connect("build-finished", _copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
