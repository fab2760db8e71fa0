"""A submitted notebook brought back to the form that the lab gave out.

Cells are matched by id, then by tag, then by the exercise's name. What a student fills in stays;
checks, parameters, set-up and the last cell are the lab's own again; cells that were deleted come
back; cells that were added stay where they were. Whatever was repaired is told.
"""

from __future__ import annotations

import ast
import copy
import json
import re
from dataclasses import dataclass, field

import nbformat
from nbformat import NotebookNode

from labkit.authoring.source import tagged
from labkit.errors import LabkitError

#: The lab's own, whatever a submission holds in their place.
_OWN = ("check", "parameters", "setup", "finish")
_MAX_CELLS = 2000
_ADDED = "added-"
_BLANK = "*Your answer here.*"


class NotebookError(LabkitError):
    """A file that is no notebook."""


@dataclass
class Restored:
    """A submitted notebook in the lab's form.

    Attributes:
        cells: in order; code and Markdown.
        exercises: source of each exercise's cell that was found, by name.
        answers: text of each written answer that was found, by question.
        repairs: a line for each thing that was not as given out.
        recognised: at least one cell of the lab was found in it.
    """

    cells: list[NotebookNode]
    exercises: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)
    recognised: bool = False


@dataclass(frozen=True)
class _Cell:
    """A submitted cell, as far as it can be understood."""

    kind: str
    source: str
    ids: tuple[str, ...]
    tags: tuple[str, ...]
    exercise: str
    question: str


def parse(content: bytes) -> tuple[list[_Cell], list[str]]:
    """The cells of a notebook file, and what of them had to be repaired.

    Outputs are not read: they prove nothing.

    Raises:
        NotebookError: it is no notebook.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
        if isinstance(notebook, dict) and "worksheets" in notebook:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
    except (ValueError, RecursionError) as error:
        raise NotebookError(f"it is no valid JSON ({str(error)[:100]})") from error
    except Exception as error:  # whatever the conversion of an old format meets
        raise NotebookError(
            f"an old format that cannot be read ({type(error).__name__})"
        ) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise NotebookError("it holds no list of cells")
    if len(cells) > _MAX_CELLS:
        raise NotebookError(f"it holds {len(cells):,} cells, at most {_MAX_CELLS:,} are read")
    read, repairs = [], []
    for number, cell in enumerate(cells):
        if not isinstance(cell, dict) or not isinstance(cell.get("source", ""), (str, list)):
            repairs.append(f"cell {number} is damaged and was left out")
            continue
        read.append(_cell(cell))
    ids = [cell.ids[0] for cell in read if cell.ids]
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        repairs.append(f"the cell id {twice[:60]!r} occurs {ids.count(twice)} times")
    return read, repairs


def _cell(cell: dict) -> _Cell:
    source = cell.get("source", "")
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    tags = metadata.get("tags")
    ids = (cell.get("id"), nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None)
    return _Cell(
        kind=str(cell.get("cell_type")),
        source=source if isinstance(source, str) else "".join(map(str, source)),
        ids=tuple(i for i in ids if isinstance(i, str)),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        exercise=str(metadata.get("exercise", "")),
        question=str(metadata.get("question", "")),
    )


def restore(content: bytes, given: NotebookNode) -> Restored:
    """Bring a submitted notebook into the form of the lab's student notebook.

    Raises:
        NotebookError: it is no notebook.
    """
    submitted, repairs = parse(content)
    restored = Restored([], repairs=repairs)
    place = _match(submitted, given.cells, restored)
    by_given = {g: s for s, g in place.items()}
    restored.recognised = bool(by_given)
    extras: dict[int, list[NotebookNode]] = {}
    anchor = -1
    for number, cell in enumerate(submitted):
        if number in place:
            anchor = max(anchor, place[number])
        elif cell.kind == "code" and cell.source.strip():
            new = nbformat.v4.new_code_cell(cell.source)
            new.id = f"{_ADDED}{number:03d}"
            extras.setdefault(anchor, []).append(new)
    restored.cells += extras.get(-1, [])
    for index, original in enumerate(given.cells):
        found = submitted[by_given[index]] if index in by_given else None
        restored.cells.append(_restored_cell(original, found, restored))
        restored.cells += extras.get(index, [])
    if extras:
        count = sum(map(len, extras.values()))
        restored.repairs.append(f"{count} code cells of the student's own were kept")
    return restored


def _match(submitted: list[_Cell], given: list[NotebookNode], restored: Restored) -> dict[int, int]:
    """Which given cell each submitted cell is: by id, then tag, then name, then equal text."""
    place: dict[int, int] = {}
    free = set(range(len(submitted)))

    def take(index: int, candidates: list[int], how: str) -> bool:
        candidates = [c for c in candidates if c in free]
        if not candidates:
            return False
        best = max(candidates, key=lambda c: (_likeness(submitted[c], given[index]), -c))
        if how != "id" and _likeness(submitted[best], given[index]) < 1:
            return False
        place[best] = index
        free.discard(best)
        if how in ("tag", "name") and _label(given[index]):
            restored.repairs.append(f"{_label(given[index])} was found by its {how}, not its id")
        return True

    waiting = []
    for index, original in enumerate(given):
        same = [
            i
            for i, cell in enumerate(submitted)
            if original.id in cell.ids and cell.kind == original.cell_type
        ]
        # An id that was copied to another exercise's cell does not make it this one.
        same = [i for i in same if not _contradicts(submitted[i], original)]
        if not take(index, same, "id"):
            waiting.append(index)
    for index in waiting:
        original = given[index]
        _ = (
            take(index, _by_tag(submitted, original), "tag")
            or take(index, _by_name(submitted, original), "name")
            or take(
                index,
                [
                    i
                    for i, c in enumerate(submitted)
                    if c.kind == original.cell_type and c.source.strip() == original.source.strip()
                ],
                "text",
            )
        )
    return place


def _contradicts(cell: _Cell, original: NotebookNode) -> bool:
    """Whether a cell with an exercise's id defines something else, but not the exercise."""
    name = original.metadata.get("exercise")
    if not tagged(original, "exercise"):
        return False
    defined = re.findall(r"^(?:def|class)\s+(\w+)", cell.source, re.MULTILINE)
    return bool(defined) and name not in defined and bool(_defines(original.source, name))


def _by_tag(submitted: list[_Cell], original: NotebookNode) -> list[int]:
    for tag, name in (("exercise", "exercise"), ("check", "exercise"), ("written", "question")):
        if tagged(original, tag):
            wanted = original.metadata[name]
            return [
                i
                for i, c in enumerate(submitted)
                if tag in c.tags and getattr(c, name) == wanted and c.kind == original.cell_type
            ]
    for tag in ("parameters", "setup", "finish"):
        if tagged(original, tag):
            return [i for i, cell in enumerate(submitted) if tag in cell.tags]
    return []


def _by_name(submitted: list[_Cell], original: NotebookNode) -> list[int]:
    if tagged(original, "exercise"):
        name = original.metadata["exercise"]
        return [i for i, c in enumerate(submitted) if c.kind == "code" and _defines(c.source, name)]
    if tagged(original, "written"):
        question = _words(original.source.replace(_BLANK, ""))
        return [
            i
            for i, c in enumerate(submitted)
            if c.kind == "markdown" and question and question in _words(c.source)
        ]
    if tagged(original, "check"):
        first = original.source.partition("with check(")[2][:80]
        return [i for i, c in enumerate(submitted) if first and first in c.source]
    return []


def _defines(source: str, name: str) -> bool:
    return bool(re.search(rf"^(def|class)\s+{re.escape(name)}\b", source, re.MULTILINE))


def _words(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def _likeness(cell: _Cell, original: NotebookNode) -> int:
    """How well a candidate fits: names first, so that a copied id does not win."""
    name = original.metadata.get("exercise", "")
    score = 1 if cell.kind == original.cell_type else 0
    if tagged(original, "exercise"):
        score += 4 * _defines(cell.source, name)
        score += 2 * ("NotImplementedError" not in cell.source)
    return score + (cell.source.strip() == original.source.strip())


def _label(original: NotebookNode) -> str:
    """What to call a given cell in a report; "" for one that is not worth a word."""
    for tag, name in (("exercise", "exercise"), ("check", "exercise"), ("written", "question")):
        if tagged(original, tag):
            return f"{tag} {original.metadata[name]}"
    return next((f"the {tag} cell" for tag in _OWN if tagged(original, tag)), "")


def _restored_cell(original: NotebookNode, found: _Cell | None, restored: Restored) -> NotebookNode:
    cell = copy.deepcopy(original)
    label = _label(original)
    if found is None:
        if label:
            restored.repairs.append(f"{label} was missing and was put back")
        return cell
    if tagged(original, "exercise"):
        cell.source = restored.exercises[original.metadata["exercise"]] = found.source
    elif tagged(original, "written"):
        restored.answers[original.metadata["question"]] = _answer(found.source, original.source)
        cell.source = found.source
    elif any(tagged(original, tag) for tag in _OWN):
        if found.source.strip() != original.source.strip():
            restored.repairs.append(f"{label} was changed: the lab's own was executed")
    elif cell.cell_type == "code":
        cell.source = found.source
    return cell


def _answer(text: str, original: str) -> str:
    """What was written below the question; "" if nothing was."""
    question = original.replace(_BLANK, "").strip()
    if text.strip().startswith(question):
        text = text.strip()[len(question) :]
    return text.replace(_BLANK, "").strip()


def executable(
    restored: Restored, parameters: dict, exercises: list[str], whole: bool = True
) -> NotebookNode:
    """The notebook that is executed: parameters set, and each exercise asked for its answers.

    Args:
        whole: else of the lab's own cells only imports and definitions are executed, which the
            exercises stand on; nothing is trained.
    """
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for cell in restored.cells:
        if cell.cell_type != "code":
            continue
        cell = copy.deepcopy(cell)
        cell.outputs, cell.execution_count = [], None
        if not whole and not tagged(cell, "exercise") and not cell.id.startswith(_ADDED):
            cell.source = definitions(cell.source)
        notebook.cells.append(cell)
        if tagged(cell, "parameters"):
            lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            notebook.cells.append(_injected("injected-parameters", lines))
        name = cell.metadata.get("exercise")
        if tagged(cell, "exercise") and name in exercises:
            code = (
                f"__import__('labkit.grading.inside.answers', fromlist=['_'])"
                f".answer({name!r}, globals())"
            )
            notebook.cells.append(_injected(f"answers-{name}", code))
    return notebook


def definitions(code: str) -> str:
    """The imports, functions, classes and literal constants of some code; "" if it is no Python."""
    try:
        return ast.unparse([node for node in ast.parse(code).body if _defines_something(node)])
    except (SyntaxError, ValueError, RecursionError):
        return ""


def _defines_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except (ValueError, TypeError):
            return False
        return all(isinstance(target, (ast.Name, ast.Tuple)) for target in node.targets)
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def _injected(identifier: str, source: str) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source)
    cell.id = identifier
    cell.metadata["tags"] = ["injected-parameters"] if "param" in identifier else ["answers"]
    return cell
