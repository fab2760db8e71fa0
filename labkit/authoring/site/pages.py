"""What is generated from the labs, the course's table, the guides and the package.

The prose of docs/ includes what lies in its folder `generated/`; the pages of the labs, the guides
and the reference are whole ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import nbformat

from labkit.authoring.site import guides, labs, published, reference, results, stored
from labkit.authoring.site.course import Course, svg
from labkit.authoring.site.stored import Stored


def texts(
    root: Path, executed: list[Stored], course: Course, solutions: bool, phone: bool
) -> dict[str, str]:
    """Everything that is generated.

    Args:
        root: of the course.
        executed: its labs.
        solutions: keep the solutions' code on the labs' pages.
        phone: whether there is a page for a phone, to be linked.

    Returns:
        by path in the site's source.
    """
    names = {lab.number: lab.source.name for lab in executed}
    found = {f"{page}.md": guides.guide(root, name) for name, page in guides.GUIDES.items()}
    for lab in executed:
        notebook = labs.page(lab, _facts(lab, executed, course), names, solutions)
        found[f"labs/{lab.source.name}.ipynb"] = nbformat.writes(notebook)
    for part, modules in reference.modules().items():
        found[f"api/{part}.rst"] = reference.page(modules)
    generated = {
        "introduction.md": _introduction(found["overview.md"]),
        "computing.md": _computing(phone),
        "labs.md": _labs(executed, course),
        "published.md": published.page(stored.comparisons(executed), course, names),
        "techniques.md": _techniques(course),
        "reference.md": _reference(),
        **_results(executed, course),
    }
    titles = {lab.number: lab.source.title for lab in executed}
    for where, prefix in (("index", "labs/"), ("labs", "")):
        links = {number: f"{prefix}{name}.html" for number, name in names.items()}
        generated[f"map_{where}.html"] = svg(course, titles, links)
    return found | {f"generated/{name}": text for name, text in generated.items()}


def _introduction(overview: str) -> str:
    """The README's first paragraphs: from below its title to the next heading."""
    return overview.split("\n", 1)[1].split("\n## ")[0].strip() + "\n"


def _computing(phone: bool) -> str:
    """Links to the pages that compute."""
    links = {"explorer": "Draw the front yourself: choose bits, clusters and sparsity"}
    if phone:
        links["phone"] = "Lab 08's network on your phone: it says what you are doing"
    return "".join(f'- <a href="{name}/index.html">{text}</a>\n' for name, text in links.items())


def _results(executed: list[Stored], course: Course) -> dict[str, str]:
    files = results.files(stored.ledger(executed), course)
    found = {
        "fronts.html": results.fronts(files, course),
        "ledger.html": results.ledger_table(files),
    }
    for name, technique in course.techniques.items():
        used = [f"- {_link(lab)}" for lab in executed if lab.number in technique.labs]
        text = "## Labs that use it\n\n" + "\n".join(used) + "\n"
        mine = files[[name in techniques for techniques in files["techniques"]]]
        if len(mine):
            table = results.table(mine, f"Files of the labs: {technique.title}")
            text += f"\n## What the labs measure\n\n```{{raw}} html\n{table}```\n"
        found[f"technique_{name}.md"] = text
    return found


def _link(lab: Stored) -> str:
    return f"{{doc}}`Lab {lab.number} · {lab.source.title} </labs/{lab.source.name}>`"


def _facts(lab: Stored, executed: list[Stored], course: Course) -> str:
    """What goes below a lab's first cell: what comes before it, and what made its outputs."""
    before = [_link(other) for other in executed if other.number in course.labs[lab.number].needs]
    used = [
        f"{{doc}}`{technique.title} </techniques/{name}>`"
        for name, technique in course.techniques.items()
        if lab.number in technique.labs
    ]
    (seed,) = re.findall(r"\*\*seed:\*\* (\d+)", lab.opening)
    made, name = lab.made, lab.source.name
    lines = {
        "Before it": ", ".join(before) or "nothing",
        "Techniques": ", ".join(used),
        "Notebook": f"{{download}}`{name}.ipynb <../notebooks/{name}.ipynb>`, to work through: the "
        "exercises are yours",
        "Online": _online(name, course.repository),
        "Outputs": f"labkit {made['labkit']}, TensorFlow {made['tensorflow']}, Python "
        f"{made['python']}; profile `{made['profile']}`, seed {seed}; {lab.data}",
    }
    body = "\n".join(f"- **{head}:** {text}" for head, text in lines.items() if text)
    return f":::{{admonition}} This lab\n:class: lab-facts\n{body}\n:::"


def _online(name: str, repository: str) -> str:
    """Links that open a notebook on machines of others; "" where the course is not published."""
    if not repository:
        return ""
    github, notebook = f"https://github.com/{repository}", f"notebooks/{name}.ipynb"
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{repository}/main?labpath={notebook}"
    return (
        f"[Binder]({binder}); [Colab]({colab}), where a first cell has to say "
        f'`%pip install "labkit[labs] @ git+{github}"`'
    )


def _labs(executed: list[Stored], course: Course) -> str:
    rows = []
    for lab in executed:
        entry = course.labs[lab.number]
        rows.append([_link(lab), entry.learn, lab.source.time, " ".join(entry.needs) or "nothing"])
    head = ("lab", "what it is about", "time", "builds on")
    return _table(head, rows, [lab.source.name for lab in executed])


def _techniques(course: Course) -> str:
    rows = [
        [f"{{doc}}`{technique.title} <{name}>`", " · ".join(technique.labs)]
        for name, technique in course.techniques.items()
    ]
    return _table(("technique", "labs"), rows, course.techniques)


def _reference() -> str:
    parts = reference.modules()
    rows = [[f"{{doc}}`{m[0]} <{part}>`", reference.purpose(m[0])] for part, m in parts.items()]
    return _table(("part", "what it is for"), rows, parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], children: Iterable[str]) -> str:
    """A Markdown table of pages, which become those below the page that includes it."""
    head = list(head)
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    toctree = "\n".join(children)
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"
