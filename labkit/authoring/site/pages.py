"""What is generated from the labs, the table of the course and the package, as text by file name.

The prose of docs/ includes these texts from its folder `generated/`; the pages of the labs and of the
API are whole ones.
"""

from __future__ import annotations

import html
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

import labkit
from labkit import measure
from labkit.authoring.site import front, guides, labs, stored
from labkit.authoring.site.course import Course, Technique, svg
from labkit.authoring.site.stored import Stored
from labkit.measure import metrics

#: Modules that are the inside of others: what a command or a child process runs, the grader's
#: hidden samples, what runs in the grader's box.
_INSIDE = re.compile(r"\.(cli|commands|\w+_child|hidden_\w+|inside|box|site)(\.|$)")


def write(root: Path, folder: Path, course: Course, solutions: bool) -> None:
    """Write everything that is generated into the folder of the site's source.

    Args:
        root: of the course.
        folder: a copy of docs/.
        solutions: keep the solutions' code on the labs' pages.
    """
    executed = stored.read(root)
    for path, text in texts(root, executed, course, solutions).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def texts(root: Path, executed: list[Stored], course: Course, solutions: bool) -> dict[str, str]:
    """Everything that is generated: by path in the site's source."""
    names = {lab.number: lab.source.name for lab in executed}
    files = _files(stored.ledger(executed), course)
    found = {guides.GUIDES[name] + ".md": guides.guide(root, name) for name in guides.GUIDES}
    for lab in executed:
        notebook = labs.page(lab, _facts(lab, executed, course), names, solutions)
        found[f"labs/{lab.source.name}.ipynb"] = nbformat.writes(notebook)
    found["generated/introduction.md"] = _introduction(found["overview.md"])
    found["generated/labs.md"] = _labs(executed, course)
    for where, prefix in (("index", "labs/"), ("labs", "")):
        links = {number: f"{prefix}{name}.html" for number, name in names.items()}
        titles = {lab.number: lab.title for lab in executed}
        found[f"generated/map_{where}.html"] = svg(course, titles, links)
    found["generated/fronts.html"] = _fronts(files, course)
    found["generated/ledger.html"] = _ledger(files)
    found["generated/published.md"] = _published(stored.comparisons(executed), course, executed)
    for name, technique in course.techniques.items():
        found[f"generated/technique_{name}.md"] = _technique(name, technique, files, executed)
    found["generated/techniques.md"] = _techniques(course, executed)
    return found | _api()


def _files(ledger: pd.DataFrame, course: Course) -> pd.DataFrame:
    """The ledger with the techniques of each file, and the number of its colour: 0 for none."""
    of = [course.of(row.lab, row.model, row.technique) for row in ledger.itertuples()]
    order = list(course.techniques)
    colour = [order.index(found[0]) + 1 if found else 0 for found in of]
    return ledger.assign(techniques=of, colour=colour)


def _lab_link(lab: Stored) -> str:
    return f"{{doc}}`Lab {lab.number} · {lab.title} </labs/{lab.source.name}>`"


def _some(executed: list[Stored], numbers: Iterable[str]) -> list[Stored]:
    return [lab for lab in executed if lab.number in set(numbers)]


def _introduction(overview: str) -> str:
    """The README's first paragraphs, up to its first heading below the title."""
    return overview.split("\n", 1)[1].split("\n## ")[0].strip() + "\n"


def _facts(lab: Stored, executed: list[Stored], course: Course) -> str:
    needs = _some(executed, course.labs[lab.number].needs)
    used = [
        f"{{doc}}`{technique.title} </techniques/{name}>`"
        for name, technique in course.techniques.items()
        if lab.number in technique.labs
    ]
    made, (_, settings) = lab.made, lab.opening.split("**Profile:**")
    seed = re.findall(r"\*\*seed:\*\* (\d+)", settings)[0]
    lines = [
        "**Before it:** " + (", ".join(map(_lab_link, needs)) or "nothing"),
        *(["**Techniques:** " + ", ".join(used)] if used else []),
        f"**Notebook:** {{download}}`{lab.source.name}.ipynb <../notebooks/{lab.source.name}.ipynb>`, "
        "to work through: the exercises are yours",
        f"**Outputs:** labkit {made['labkit']}, TensorFlow {made['tensorflow']}, Python "
        f"{made['python']}; profile `{made['profile']}`, seed {seed}; {lab.data}",
    ]
    body = "\n".join(f"- {line}" for line in lines)
    return f":::{{admonition}} This lab\n:class: lab-facts\n{body}\n:::"


def _labs(executed: list[Stored], course: Course) -> str:
    rows = [
        f"| {_lab_link(lab)} | {course.labs[lab.number].learn} | {lab.time} | "
        f"{' '.join(course.labs[lab.number].needs) or 'nothing'} |"
        for lab in executed
    ]
    toctree = "\n".join(lab.source.name for lab in executed)
    head = "| lab | what it is about | time | before it |\n| --- | --- | --- | --- |\n"
    return f"{head}{chr(10).join(rows)}\n\n```{{toctree}}\n:hidden:\n{toctree}\n```\n"


def _number(value: float, form: str = ",.0f") -> str:
    return "" if pd.isna(value) else format(value, form)


def _value(row: dict) -> str:
    """A value with its spread and its unit, for example "98.05 ± 0.07 %"."""
    metric = next(m for m in metrics.KNOWN.values() if m.column == row["metric"])
    form = f".{metric.digits}f"
    spread = "" if pd.isna(row["spread"]) else f" ± {row['spread']:{form}}"
    return "" if pd.isna(row["value"]) else f"{row['value']:{form}}{spread} {metric.shown_unit}"


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], about: str) -> str:
    """An HTML table in a box that scrolls; of each row attributes and cells, the first a head."""
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "\n".join(
        f'<tr{attributes}><th scope="row">{first}</th>{"".join(f"<td>{c}</td>" for c in cells)}</tr>'
        for attributes, (first, *cells) in rows
    )
    return (
        f'<div class="table-box"><table class="table" aria-label="{html.escape(about)}">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )


_LEDGER = ("file", "lab", "network", "result", "bytes", "gzip (bytes)", "arena (bytes)", "data")


def _ledger(files: pd.DataFrame) -> str:
    rows = []
    for row in files.to_dict("records"):
        cells = [html.escape(row["technique"]), row["lab"], html.escape(row["model"]), _value(row)]
        cells += [_number(row[name]) for name in ("bytes", "gzip (bytes)", "arena (bytes)")]
        attributes = f' data-lab="{row["lab"]}" data-techniques="{" ".join(row["techniques"])}"'
        rows.append((attributes, [*cells, html.escape(row["data"])]))
    return _table(_LEDGER, rows, "All files that the labs measure")


def _fronts(files: pd.DataFrame, course: Course) -> str:
    """A figure for each data set and size, and below it the files on the front."""
    titles = {name: technique.title for name, technique in course.techniques.items()}
    found = [_filters(files, titles)]
    for data, group in files.groupby("data", sort=False):
        judged = group["metric"].iloc[0]
        for size, below in front.SIZES.items():
            best = group[front.front(group, size)].sort_values(size)
            if best.empty:
                continue
            of = f"labs {', '.join(dict.fromkeys(group['lab']))}"
            alt = (
                f"{judged} over the {below} of {group[size].notna().sum()} files of {of} on {data}: "
                f"the front goes from {_value(best.iloc[0].to_dict())} at "
                f"{best[size].iloc[0]:,.0f} bytes to {_value(best.iloc[-1].to_dict())} at "
                f"{best[size].iloc[-1]:,.0f} bytes"
            )
            rows = [
                ("", [html.escape(r["technique"]), r["lab"], html.escape(r["model"]), _value(r), _number(r[size])])
                for r in best.to_dict("records")
            ]
            head = ("file", "lab", "network", "result", "gzip (bytes)" if size != "bytes" else size)
            found.append(
                f'<figure class="front-figure" data-set="{html.escape(data)}" data-size="{below}">\n'
                f"<figcaption>{html.escape(data)}, {html.escape(judged)} over the {below}</figcaption>\n"
                f"{front.svg(group, size, alt)}"
                f"<details><summary>The {len(rows)} files that no other beats in both</summary>\n"
                f"{_table(head, rows, f'Front of {data} over the {below}')}</details></figure>"
            )
    return "\n".join(found) + "\n"


def _filters(files: pd.DataFrame, titles: dict[str, str]) -> str:
    """Boxes to tick for labs and techniques, which are the legend as well."""
    there = {name for found in files["techniques"] for name in found}
    boxes = [
        ("techniques", name, title, f"c{number}")
        for number, (name, title) in enumerate(titles.items(), 1)
        if name in there
    ]
    boxes.insert(0, ("techniques", "", "none (a float file)", "c0"))
    labs_ = [("lab", number, number, "") for number in dict.fromkeys(files["lab"])]
    parts = []
    for legend, entries in (("technique", boxes), ("lab", labs_)):
        lines = "\n".join(
            f'<label><input type="checkbox" data-filter="{kind}" value="{value}" checked> '
            f"{f'<span class={chr(34)}swatch {colour}{chr(34)}></span>' if colour else ''}"
            f"{html.escape(title)}</label>"
            for kind, value, title, colour in entries
        )
        parts.append(f"<fieldset><legend>{legend}</legend>\n{lines}\n</fieldset>")
    return f'<div class="filters" id="front-filters">\n{"".join(parts)}\n</div>'


def _technique(name: str, technique: Technique, files: pd.DataFrame, executed: list[Stored]) -> str:
    """The labs that use a technique, and its files."""
    lines = ["## Labs that use it\n", *(f"- {_lab_link(lab)}" for lab in _some(executed, technique.labs))]
    mine = files[[name in found for found in files["techniques"]]]
    if len(mine):
        rows = [
            ("", [html.escape(r["technique"]), r["lab"], html.escape(r["model"]), _value(r)]
             + [_number(r[size]) for size in front.SIZES])
            for r in mine.to_dict("records")
        ]
        head = ("file", "lab", "network", "result", *front.SIZES)
        table = _table(head, rows, f"Files of the labs: {technique.title}")
        lines += ["\n## What the labs measure\n", f"```{{raw}} html\n{table}```"]
    return "\n".join(lines) + "\n"


def _techniques(course: Course, executed: list[Stored]) -> str:
    rows = [
        f"| {{doc}}`{technique.title} <{name}>` | {' · '.join(technique.labs)} |"
        for name, technique in course.techniques.items()
    ]
    toctree = "\n".join(course.techniques)
    head = "| technique | labs |\n| --- | --- |\n"
    return f"{head}{chr(10).join(rows)}\n\n```{{toctree}}\n:hidden:\n{toctree}\n```\n"


#: Points, or per cent of an error, by which two losses may differ and still be called the same.
TOLERANCE = 1.0


def verdict(metric: str, published: dict, lost: Sequence[float], value: Sequence[float]) -> str:
    """What a comparison of losses says, in a word or two.

    Args:
        metric: "accuracy", "accuracy at least" or an error.
        published: of `stored.comparisons`: "published", "published_lost", "technique".
        lost: what one's own networks lose against their float ones, as the published one.
        value: what they read.
    """
    if metric.endswith("at least"):
        met = [v >= published["published"] for v in value]
        return "met" if all(met) else "met by some" if any(met) else "not met"
    if published["technique"] == "float":
        return "the reference"
    theirs = published["published_lost"]
    mine = np.array([own for own in lost if not np.isnan(own)])
    if np.isnan(theirs) or not len(mine):
        return "no reference"
    within = TOLERANCE if metric == "accuracy" else TOLERANCE / 100 * published["published"]
    if (abs(mine - theirs) <= within).all():
        return "as published"
    if (mine < theirs).all():
        return "loses less here"
    if (mine > theirs).all():
        return "loses more here"
    return "some less, some more"


def _published(pairs: pd.DataFrame, course: Course, executed: list[Stored]) -> str:
    """A section a document: what it is, what held of it, figure by figure, and all its figures."""
    everything = measure.published()
    sections = []
    for document in course.documents:
        theirs = everything[everything["document"].str.startswith(document.title)]
        (title,) = theirs["document"].unique()
        compared = pairs[pairs["document"] == title]
        in_labs = _some(executed, {n for found in theirs["lab"] for n in found.split()})
        links = ", ".join(
            f"[Lab {lab.number}](labs/{lab.source.name}.ipynb#published-against-measured)"
            for lab in in_labs
        )
        rows = []
        keys = ["lab", "table", "technique", "published_model", "metric", "published"]
        for _, group in compared.groupby(keys, sort=False):
            first = group.iloc[0].to_dict()
            word = verdict(first["metric"], first, list(group["measured_lost"]), list(group["measured"]))
            rows.append(
                ("", [
                    html.escape(first["technique"]),
                    html.escape(first["published_model"]),
                    f"{first['published']:g} {first['unit']}",
                    _number(first["published_lost"], ".4g"),
                    first["lab"],
                    _range(group["measured"], first["unit"]),
                    _range(group["measured_lost"]),
                    word,
                ])
            )
        head = ("technique", "published network", "published", "lost there", "lab", "measured", "lost here", "verdict")
        all_rows = [
            ("", [html.escape(r["technique"]), html.escape(r["model"]), html.escape(r["metric"]),
                  f"{r['value']:g} {r['unit']}", html.escape(r["table"]), html.escape(r["lab"])])
            for r in theirs.to_dict("records")
        ]
        all_head = ("technique", "network", "figure", "published", "where", "labs")
        sections.append(
            f"## {document.short}\n\n*{title}.* {document.about}\n\n"
            f":::{{admonition}} Verdict\n:class: verdict\n{document.verdict}\n:::\n\n"
            f"In the labs' own words: {links}.\n\n"
            f"```{{raw}} html\n{_table(head, rows, f'{document.short}: published and measured')}"
            f"<details><summary>All {len(theirs)} figures of the document that the labs use</summary>\n"
            f"{_table(all_head, all_rows, f'{document.short}: all published figures')}</details>\n```\n"
        )
    return "\n".join(sections)


def _range(values: pd.Series, unit: str = "") -> str:
    """One value, or from the least to the largest of those of several networks."""
    known = values.dropna()
    if known.empty:
        return ""
    low, high = (f"{value:.4g}".replace("-", "−") for value in (known.min(), known.max()))
    return f"{low if low == high else f'{low} to {high}'} {unit}".strip()


def _api() -> dict[str, str]:
    """The API reference: a page a part of labkit, with the docstrings of its modules."""
    parts: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(labkit.__path__, "labkit."):
        if not _INSIDE.search(module.name):
            parts.setdefault(module.name.split(".")[1], []).append(module.name)
    pages, rows = {}, []
    for part, modules in parts.items():
        name = f"labkit.{part}"
        sections = [
            f"{_head(module, '=' if module == name else '-')}\n.. automodule:: {module}\n   :members:\n   :ignore-module-all:\n"
            for module in modules
        ]
        pages[f"api/{part}.rst"] = "\n".join(sections)
        purpose = inspect.getdoc(importlib.import_module(name)).splitlines()[0]
        rows.append(f"| {{doc}}`{name} <{part}>` | {purpose} |")
    head = "| part | what it is for |\n| --- | --- |\n"
    toctree = "\n".join(parts)
    pages["generated/api.md"] = (
        f"{head}{chr(10).join(rows)}\n\n```{{toctree}}\n:hidden:\n{toctree}\n```\n"
    )
    return pages


def _head(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"
