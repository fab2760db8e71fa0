"""The API reference: a page per part of labkit, from the docstrings of its modules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import labkit

#: The inside of other modules: what a command or a child process runs, the grader's hidden samples,
#: what runs in the grader's box, what makes this.
_INSIDE = re.compile(r"\.(cli|commands|net\.options|\w+_child|hidden_\w+|inside|box|site)(\.|$)")


def modules() -> dict[str, list[str]]:
    """The modules of each part of labkit, the part itself first."""
    parts: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(labkit.__path__, "labkit."):
        if not _INSIDE.search(module.name):
            parts.setdefault(module.name.split(".")[1], []).append(module.name)
    return parts


def page(names: list[str]) -> str:
    """A part's page, in reStructuredText."""
    sections = []
    for name in names:
        line = ("=" if name == names[0] else "-") * len(name)
        options = "   :members:\n   :ignore-module-all:\n"  # once, where it is defined
        sections.append(f"{name}\n{line}\n\n.. automodule:: {name}\n{options}")
    return "\n".join(sections)


def purpose(name: str) -> str:
    """The first line of a module's docstring."""
    return inspect.getdoc(importlib.import_module(name)).splitlines()[0]
