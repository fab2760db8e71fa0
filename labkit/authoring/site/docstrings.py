"""What Sphinx lacks for the reference: docstrings that are prose, signatures that can be read."""

from __future__ import annotations

import builtins
import inspect
import re

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.inspect import signature, stringify_signature
from sphinx.util.typing import ExtensionMetadata

_CODE = re.compile(r"(`[^`]*`|>>>.*|^ *\.\.\. .*)")
_SPECIAL = re.compile(r"\||\*(?!\w[^*]*\w\*)(?<!\w\*)|(?<=\w)_(?!\w)")
#: What `repr` makes of what cannot be written down: <factory>, module.<lambda>.
_OBJECT = re.compile(r"(~?[\w.]+\.)?<([^<>]|<[^<>]*>)*>")
_ANNOTATED = re.compile(r"~?[\w.]*\bAnnotated\[")
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", re.S)
_LONGEST_VALUE = 120  # characters
_ANYTHING = "(*args, **kwargs)"


def _escape(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]):
    """Let |x| and Keras's *args be what they look like: docstrings are plain text beside code."""
    for i, line in enumerate(lines):
        parts = _CODE.split(line)
        parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
        lines[i] = "".join(parts)


def _returned(self: GoogleDocstring, preprocess_types: bool = False) -> list[tuple]:
    """What is returned, in prose: what stands before a colon is no type."""
    lines = self._dedent(self._consume_to_next_section())
    return [("", "", self.__class__(lines, self._config).lines())] if lines else []


def _attribute(self: GoogleDocstring) -> tuple[str, list[str]]:
    """An attribute's docstring, in the same way."""
    return "", self.__class__(self._consume_to_end(), self._config).lines()


def _split(code: str) -> list[str]:
    """What is between the commas of a bracket's inside, up to where it closes."""
    parts, depth = [""], 0
    for sign in _TOKEN.findall(code):
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            break
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _readable(code: str) -> str:
    """Types and defaults as one would write them: without constraints and objects' addresses."""
    code = _OBJECT.sub("...", code)
    while found := _ANNOTATED.search(code):
        inside = _split(code[found.end() :])
        end = found.end() + len(",".join(inside)) + 1
        code = code[: found.start()] + inside[0] + code[end:]
    return code


def _public(app: Sphinx, what: str, name: str, thing: object, options: object, given, returned):
    """Let a signature be readable, without private parameters.

    And a class's be that of its `__init__`, where a base's `__new__` takes whatever it is given; a
    protocol has none.
    """
    if not given:
        return None
    if what == "class" and given == _ANYTHING:
        ours = signature(thing.__init__, bound_method=True)
        given = stringify_signature(ours, show_return_annotation=False, unqualified_typehints=True)
        if given == _ANYTHING:
            return "", returned
    public = [part for part in _split(_readable(given[1:])) if not part.strip().startswith("_")]
    return f"({','.join(public).strip()})", returned


def _exact(app: Sphinx, doctree: addnodes.document) -> None:
    """Let `bytes` in a signature be Python's, and no property of that name somewhere in labkit."""
    for reference in doctree.findall(addnodes.pending_xref):
        if hasattr(builtins, reference["reftarget"]):
            reference["refspecific"] = False


def _brief(app: Sphinx, doctree: addnodes.document) -> None:
    """Let an attribute's type be readable, and its value be shown where it is short."""
    for annotation in list(doctree.findall(addnodes.desc_annotation)):
        text = annotation.astext()
        for reference in annotation.findall(addnodes.pending_xref):
            if "[" in reference["reftarget"]:  # Sphinx could not read it, and shows its end
                text = f": {reference['reftarget']}"
        if text.startswith(" = ") and ("<" in text or len(text) > _LONGEST_VALUE):
            annotation.parent.remove(annotation)
        elif "Annotated[" in text:
            annotation.children = [addnodes.desc_sig_name("", _readable(text))]


def _skip(app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object) -> bool:
    """Skip what a module takes from elsewhere, at once: Sphinx would read where it comes from.

    And what it takes from an object, `load = source.load`: its class documents it.
    """
    if what != "module":
        return skip
    module = app.env.temp_data.get("autodoc:module")
    defined = inspect.isclass(thing) or inspect.isroutine(thing)
    return skip or inspect.ismethod(thing) or (defined and thing.__module__ != module)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Sphinx calls this."""
    GoogleDocstring._consume_returns_section = _returned
    GoogleDocstring._consume_inline_attribute = _attribute
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _public)
    app.connect("autodoc-skip-member", _skip)
    app.connect("doctree-read", _exact)
    app.connect("doctree-read", _brief)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
