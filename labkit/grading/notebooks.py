"""A submitted notebook brought back to the form that the lab gave out.

Cells are matched by id, then by tag, then by the exercise's name. What a student fills in stays;
checks, parameters, set-up and the last cell are the lab's own again; cells that were deleted come
back; cells that were added stay where they were, and text in them is looked at as an answer.
Whatever was repaired is told.
"""

from __future__ import annotations

import ast
import copy
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import nbformat
from nbformat import NotebookNode

from labkit.authoring.source import tagged
from labkit.errors import LabkitError
from labkit.grading.intake import readable, shown

#: The lab's own, whatever a submission holds in their place.
_OWN = ("check", "parameters", "setup", "finish")
_MAX_CELLS, _MAX_TEXT = 2000, 5_000_000
_ADDED = "added-"
_BLANK = "*Your answer here.*"
_STUB = "NotImplementedError"
_FEW_WORDS = 5


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
        held: how many of the lab's exercises, checks and questions are in it.
        filled: how many exercises and questions are not as given out.
        numbers: of the code cells, as the student counts them in the file, by id.
    """

    cells: list[NotebookNode]
    exercises: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)
    recognised: bool = False
    held: int = 0
    filled: int = 0
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cell:
    """A submitted cell, as far as it can be understood."""

    kind: str
    source: str
    ids: tuple[str, ...]
    tags: tuple[str, ...]
    exercise: str
    question: str
    number: int = 0

    @cached_property
    def words(self) -> str:
        return _words(self.source)

    @cached_property
    def defined(self) -> frozenset[str]:
        return frozenset(_defined(self.source)) if self.kind == "code" else frozenset()


@dataclass(frozen=True)
class Parsed:
    """The cells of a notebook file, and what of them had to be repaired."""

    cells: list[_Cell]
    repairs: list[str]


def parse(content: bytes) -> Parsed:
    """The cells of a notebook file; outputs are not kept: they prove nothing.

    Raises:
        NotebookError: it is no notebook.
    """
    repairs: list[str] = []
    try:
        notebook = json.loads(_decoded(content, repairs))
        if isinstance(notebook, dict) and "worksheets" in notebook:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
    except (ValueError, RecursionError) as error:
        why = "it is empty" if not content.strip() else f"it is no valid JSON ({str(error)[:100]})"
        raise NotebookError(why) from error
    except Exception as error:  # whatever the conversion of an old format meets
        raise NotebookError(
            f"an old format that cannot be read ({type(error).__name__})"
        ) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise NotebookError("it holds no list of cells")
    if len(cells) > _MAX_CELLS:
        raise NotebookError(f"it holds {len(cells):,} cells, at most {_MAX_CELLS:,} are read")
    read, damaged, number, total = [], 0, 0, 0
    for cell in cells:
        if not isinstance(cell, dict) or not isinstance(cell.get("source", ""), (str, list)):
            damaged += 1
            continue
        number += cell.get("cell_type") == "code"
        read.append(_cell(cell, number))
        total += len(read[-1].source)
        if total > _MAX_TEXT:
            raise NotebookError(f"its cells hold more than {_MAX_TEXT:,} characters")
    if damaged:
        repairs.append(f"{damaged} damaged cell{'s were' if damaged > 1 else ' was'} left out")
    twice = {i: n for i, n in Counter(c.ids[0] for c in read if c.ids).items() if n > 1}
    repairs += [
        f"the cell id {shown(i[:60])} occurs {n} times" for i, n in sorted(twice.items())[:5]
    ]
    return Parsed(read, repairs)


def _decoded(content: bytes, repairs: list[str]) -> str:
    """The file's text, in whatever encoding an editor has saved it."""
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        repairs.append("its text is no UTF-8: it was read as Windows-1252")
        return content.decode("cp1252", "replace")


def _cell(cell: dict, number: int) -> _Cell:
    source = cell.get("source", "")
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    tags = metadata.get("tags")
    ids = (cell.get("id"), nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None)
    text = source if isinstance(source, str) else "".join(map(str, source))
    return _Cell(
        kind=str(cell.get("cell_type")),
        source=readable(text.replace("\r\n", "\n")),
        ids=tuple(readable(i) for i in ids if isinstance(i, str)),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        exercise=str(metadata.get("exercise", "")),
        question=str(metadata.get("question", "")),
        number=number,
    )


def restore(content: bytes, given: NotebookNode) -> Restored:
    """Bring a submitted notebook into the form of the lab's student notebook.

    Raises:
        NotebookError: it is no notebook.
    """
    return restored(parse(content), given)


@dataclass(frozen=True)
class Others:
    """What other labs gave out: the words of their texts, and the ids of their cells."""

    texts: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()


def others(givens: list[NotebookNode]) -> Others:
    """What some labs gave out."""
    cells = [cell for given in givens for cell in given.cells]
    texts = [c.source.replace(_BLANK, "") for c in cells if c.cell_type == "markdown"]
    return Others(frozenset(map(_words, texts)), frozenset(cell.id for cell in cells))


def restored(parsed: Parsed, given: NotebookNode, other: Others | None = None) -> Restored:
    """The same of a notebook that was parsed; it may hold the cells of several labs.

    Args:
        other: what other labs gave out. Their texts are nobody's answers, and of their code only
            definitions are executed here.
    """
    other = other or Others()
    names = {n for c in given.cells if tagged(c, "exercise") for n in _names(c)}
    submitted = parsed.cells
    found = Restored([], repairs=list(parsed.repairs))
    place = _match(submitted, given.cells, found)
    by_given = {g: s for s, g in place.items()}
    found.recognised = bool(by_given)
    extras: dict[int, list[NotebookNode]] = defaultdict(list)
    anchor, count = -1, 0
    for number, cell in enumerate(submitted):
        if number in place:
            anchor = max(anchor, place[number])
        elif cell.kind == "code" and cell.source.strip():
            is_others = other.ids.intersection(cell.ids) and cell.defined.isdisjoint(names)
            source = definitions(cell.source) if is_others else cell.source
            count += not is_others
            extras[anchor].append(_added(source, number, cell.number, found))
    found.cells += extras[-1]
    for index, original in enumerate(given.cells):
        cell = submitted[by_given[index]] if index in by_given else None
        found.cells += _restored_cells(original, cell, found)
        found.cells += extras[index]
    found.held = sum(
        any(tagged(given.cells[g], tag) for tag in ("exercise", "check", "written"))
        for g in by_given
    )
    if found.held:
        _take_answers(submitted, given.cells, place, found, other.texts)
    if count:
        found.repairs.append(f"{count} code cells of the student's own were kept")
    stubs = {c.metadata["exercise"]: c.source for c in given.cells if tagged(c, "exercise")}
    found.filled = sum(text.strip() != stubs[n].strip() for n, text in found.exercises.items())
    found.filled += sum(bool(text) for text in found.answers.values()) + bool(count)
    return found


def _added(source: str, place: int, number: int, found: Restored, part: str = "") -> NotebookNode:
    """A code cell of the student's own."""
    cell = nbformat.v4.new_code_cell(source)
    cell.id = f"{_ADDED}{place:03d}{part}"
    found.numbers[cell.id] = number
    return cell


def _match(submitted: list[_Cell], given: list[NotebookNode], found: Restored) -> dict[int, int]:
    """Which given cell each submitted cell is: by id, then tag, then name, then equal text."""
    place: dict[int, int] = {}
    free = set(range(len(submitted)))
    index = _Index(submitted)

    def take(number: int, candidates: list[int], how: str) -> bool:
        original = given[number]
        candidates = [c for c in candidates if c in free]
        if not candidates:
            return False
        best = max(candidates, key=lambda c: (_likeness(submitted[c], original), -c))
        if how != "id" and _likeness(submitted[best], original) < 1:
            return False
        place[best] = number
        free.discard(best)
        if how in ("tag", "name") and _label(original):
            found.repairs.append(f"{_label(original)} was found by its {how}, not its id")
        return True

    waiting = []
    for number, original in enumerate(given):
        # An id that was copied to another exercise's cell does not make it this one.
        same = [
            i
            for i in index.ids[original.id]
            if _may_be(submitted[i], original) and not _contradicts(submitted[i], original)
        ]
        if not take(number, same, "id"):
            waiting.append(number)
    for number in waiting:
        original = given[number]
        _ = (
            take(number, index.by_tag(original), "tag")
            or take(number, index.by_name(original), "name")
            or take(number, index.texts[original.cell_type, original.source.strip()], "text")
        )
    return place


class _Index:
    """The submitted cells by what they can be found by; made once, however many are asked for."""

    def __init__(self, submitted: list[_Cell]):
        self.submitted = submitted
        self.ids, self.tags, self.texts, self.defined = (defaultdict(list) for _ in range(4))
        for number, cell in enumerate(submitted):
            for identifier in dict.fromkeys(cell.ids):
                self.ids[identifier].append(number)
            for tag in dict.fromkeys(cell.tags):
                for name in {cell.exercise, cell.question, ""}:
                    self.tags[tag, name].append(number)
            self.texts[cell.kind, cell.source.strip()].append(number)
            for name in cell.defined:
                self.defined[name].append(number)

    def by_tag(self, original: NotebookNode) -> list[int]:
        for tag, name in (("exercise", "exercise"), ("check", "exercise"), ("written", "question")):
            if tagged(original, tag):
                same = self.tags[tag, original.metadata[name]]
                return [i for i in same if _may_be(self.submitted[i], original)]
        tags = [tag for tag in ("parameters", "setup", "finish") if tagged(original, tag)]
        return self.tags[tags[0], ""] if tags else []

    def by_name(self, original: NotebookNode) -> list[int]:
        cells = list(enumerate(self.submitted))
        if tagged(original, "exercise"):
            return [i for name in _names(original) for i in self.defined[name]]
        if tagged(original, "written"):
            question = _words(original.source.replace(_BLANK, ""))
            return [
                i for i, c in cells if c.kind == "markdown" and question and question in c.words
            ]
        if tagged(original, "check"):
            first = original.source.partition("with check(")[2][:80]
            return [i for i, c in cells if first and first in c.source]
        return []


def _may_be(cell: _Cell, original: NotebookNode) -> bool:
    """Whether a cell is of the right kind; a question may have become another one."""
    return cell.kind == original.cell_type or tagged(original, "written")


def _defined(source: str) -> list[str]:
    """Names of the functions and classes that some code defines."""
    return re.findall(r"^(?:async +def|def|class)[ \t]+(\w+)", source, re.MULTILINE)


def _names(original: NotebookNode) -> list[str]:
    """What an exercise's cell defines: the exercise's name, as a rule."""
    return _defined(original.source) or [original.metadata["exercise"]]


def _contradicts(cell: _Cell, original: NotebookNode) -> bool:
    """Whether a cell with an exercise's id defines something else, but not the exercise."""
    return (
        tagged(original, "exercise")
        and bool(cell.defined)
        and cell.defined.isdisjoint(_names(original))
        and bool(_defined(original.source))
    )


def _words(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def _likeness(cell: _Cell, original: NotebookNode) -> int:
    """How well a candidate fits: names first, so that a copied id does not win."""
    score = 1 if _may_be(cell, original) else 0
    if tagged(original, "exercise"):
        score += 4 * (not cell.defined.isdisjoint(_names(original)))
        score += 2 * (_STUB not in cell.source)
    return score + (cell.source.strip() == original.source.strip())


def _label(original: NotebookNode) -> str:
    """What to call a given cell in a report; "" for one that is not worth a word."""
    for tag, name in (("exercise", "exercise"), ("check", "exercise"), ("written", "question")):
        if tagged(original, tag):
            return f"{tag} {original.metadata[name]}"
    return next((f"the {tag} cell" for tag in _OWN if tagged(original, tag)), "")


def _restored_cells(
    original: NotebookNode, submitted: _Cell | None, found: Restored
) -> list[NotebookNode]:
    """A cell of the lab, and after it what a student has added to one that is the lab's own."""
    cell = copy.deepcopy(original)
    label = _label(original)
    if submitted is None:
        if label:
            found.repairs.append(f"{label} was missing and was put back")
        return [cell]
    if cell.cell_type == "code":
        found.numbers[cell.id] = submitted.number
    if tagged(original, "exercise"):
        cell.source = found.exercises[original.metadata["exercise"]] = submitted.source
    elif any(tagged(original, tag) for tag in _OWN):
        if submitted.source.strip() != original.source.strip():
            own = _own_part(submitted.source, original)
            kept = ", and what was added to it was kept" if own else ""
            found.repairs.append(f"{label} was changed: the lab's own was executed{kept}")
            if own:
                added = _added(own, len(found.cells), submitted.number, found, "-own")
                return [cell, added]
    elif cell.cell_type == "code":
        cell.source = submitted.source
    return [cell]


def _own_part(source: str, original: NotebookNode) -> str:
    """The student's part of a cell that is the lab's own: what was merged into it, or added."""
    ours = original.source.strip()
    if ours in source:
        return source.replace(ours, "").strip()
    adds = r"^(?:def|class|import|from|@)" if tagged(original, "setup") else r"^(?:def|class)"
    return source if re.search(adds + r"\b", source, re.MULTILINE) else ""


def _is_given(cell: _Cell, known: frozenset[str]) -> bool:
    """Whether a text is another lab's, or the answer to a question of another lab's."""
    long = [text for text in known if len(text.split()) >= _FEW_WORDS]
    return cell.words in known or any(text in cell.words for text in long)


def _take_answers(
    submitted: list[_Cell],
    given: list[NotebookNode],
    place: dict[int, int],
    found: Restored,
    known: frozenset[str],
) -> None:
    """The written answers: in the question's cell, in cells below it or in its place."""
    matched = set(place.values())
    texts: dict[int, list[str]] = defaultdict(list)  # by the lab's cell that they follow
    before = -1
    for number, cell in enumerate(submitted):
        if number in place:
            before = place[number]
            if given[before].cell_type == "markdown" and not tagged(given[before], "written"):
                texts[before].append(_answer(cell.source, given[before].source))
        elif not _is_given(cell, known):
            is_asked = before >= 0 and tagged(given[before], "written")
            texts[before].append(_prose(cell) if cell.kind != "code" or is_asked else "")
    cells = {g: submitted[s] for s, g in place.items()}
    for number, original in enumerate(given):
        if tagged(original, "written"):
            in_place = (
                number if number in matched else max([m for m in matched if m < number] + [-1])
            )
            own = [text for text in texts.pop(in_place, []) if text]
            answer = _answer(cells[number].source, original.source) if number in cells else ""
            name = original.metadata["question"]
            if own:
                found.repairs.append(
                    f"written {name}: text in cells of the student's own was added"
                )
            if own or number in cells:
                found.answers[name] = "\n\n".join([answer, *own]).strip()
    rest = "\n\n".join(t for of in texts.values() for t in of if len(t.split()) >= _FEW_WORDS)
    for original in given if rest else ():
        name = original.metadata.get("question")
        if tagged(original, "written") and not found.answers.get(name):
            found.answers[name] = f"(Nothing at the question. Elsewhere in the notebook:)\n\n{rest}"
            found.repairs.append(f"written {name}: text elsewhere in the notebook is shown instead")


def _answer(text: str, original: str) -> str:
    """What was written besides what was given out; "" if nothing was."""
    question = original.replace(_BLANK, "").strip()
    text = text.replace(_BLANK, "").strip()
    if _words(text) == _words(question):
        return ""
    return text.replace(question, "", 1).strip() if question else text


def _prose(cell: _Cell) -> str:
    """The text of a cell; of a code cell, that of its comments, or all of it if it is no code."""
    text = cell.source.strip()
    if cell.kind != "code" or not text:
        return text
    lines = text.splitlines()
    if all(line.lstrip().startswith("#") or not line.strip() for line in lines):
        return "\n".join(line.lstrip("# ") for line in lines)
    return text if _tree(text) is None else ""


def executable(
    restored: Restored, parameters: dict, exercises: list[str], whole: bool = True
) -> NotebookNode:
    """The notebook that is executed: parameters set, and each exercise asked for its answers.

    It is asked after its own cell and again at the end: the function may stand anywhere. A
    definition that stands above a stub is not lost to it. What to call a cell when it fails is
    in its metadata.

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
    mentioned: set[str] = set()
    asked = {}
    for cell in restored.cells:
        if cell.cell_type != "code":
            continue
        cell = copy.deepcopy(cell)
        cell.outputs, cell.execution_count = [], None
        cell.metadata["labkit"] = _called(cell, restored)
        is_added, is_exercise = cell.id.startswith(_ADDED), tagged(cell, "exercise")
        if not whole and not is_exercise and not is_added:
            cell.source = definitions(cell.source)
        names = _names(cell) if is_exercise else []
        is_stub = is_exercise and _STUB in cell.source and not mentioned.isdisjoint(names)
        if is_stub:
            notebook.cells.append(_call("keep", f"{names!r}, globals()", f"kept-{cell.id}", "keep"))
        notebook.cells.append(cell)
        if is_stub:
            again = f"{names!r}, globals()"
            notebook.cells.append(_call("put_back", again, f"back-{cell.id}", "put back"))
        if is_added or is_exercise:
            mentioned.update(re.findall(r"\w+", cell.source))
        if tagged(cell, "parameters"):
            lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            notebook.cells.append(_injected("injected-parameters", lines, "the parameters"))
        name = cell.metadata.get("exercise")
        if is_exercise and name in exercises:
            notebook.cells.append(_asking(name))
            asked[name] = None
    notebook.cells += [_asking(name, again=True) for name in asked]
    return notebook


def _called(cell: NotebookNode, restored: Restored) -> str:
    """What a cell is called when something happens in it, as the student counts cells."""
    label = _label(cell)
    if cell.id not in restored.numbers:
        return f"a cell of the lab's own ({label})" if label else "a cell of the lab's own"
    return f"code cell {restored.numbers[cell.id]}" + (f" ({label})" if label else "")


def _asking(exercise: str, again: bool = False) -> NotebookNode:
    """The cell that asks for the answers of an exercise."""
    return _call(
        "answer",
        f"{exercise!r}, globals()" + (", again=True" if again else ""),
        f"{'again' if again else 'answers'}-{exercise}",
        f"the grader's call of {exercise}",
    )


def _call(function: str, arguments: str, identifier: str, called: str) -> NotebookNode:
    module = "__import__('labkit.grading.inside.answers', fromlist=['_'])"
    return _injected(identifier, f"{module}.{function}({arguments})", called)


@lru_cache(maxsize=4096)
def definitions(code: str) -> str:
    """The imports, functions, classes and literal constants of some code; "" if it is no Python."""
    tree = _tree(code)
    try:
        return ast.unparse([node for node in tree.body if _defines_something(node)]) if tree else ""
    except (ValueError, RecursionError):
        return ""


def imports(notebook: NotebookNode) -> list[str]:
    """The import statements of a notebook's code, a line each."""
    trees = [_tree(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    nodes = [node for tree in trees if tree for node in tree.body]
    return [ast.unparse(n) for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]


def _tree(code: str) -> ast.Module | None:
    """The syntax tree of a cell, magics and all; None if it is no Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    for transform in (str, lambda text: TransformerManager().transform_cell(text)):
        try:
            return ast.parse(transform(code))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def _defines_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except (ValueError, TypeError):
            return False
        return all(isinstance(target, (ast.Name, ast.Tuple)) for target in node.targets)
    return isinstance(
        node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    )


def _injected(identifier: str, source: str, called: str) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source)
    cell.id = identifier
    cell.metadata["tags"] = ["injected-parameters"] if "param" in identifier else ["answers"]
    cell.metadata["labkit"] = called
    return cell
