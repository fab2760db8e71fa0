"""A submitted notebook brought back to the form that the lab gave out.

Cells are matched by id, then by tag, then by the exercise's name. What a student fills in stays;
checks, parameters, set-up and the last cell are the lab's own again; cells that were deleted come
back; cells that were added stay where they were, and text in them is looked at as an answer.
Whatever was repaired is told.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from dataclasses import dataclass, field

import nbformat
from nbformat import NotebookNode

from labkit.authoring.source import tagged
from labkit.grading.cells import Cell, Parsed, words
from labkit.grading.code_cells import defined, definitions, syntax_tree

#: The lab's own, whatever a submission holds in their place.
_OWN = ("check", "parameters", "setup", "finish")
ADDED = "added-"
_BLANK = "*Your answer here.*"
STUB = "NotImplementedError"
_FEW_WORDS = 5


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
class Others:
    """What other labs gave out: the words of their texts, and the ids of their cells."""

    texts: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()


def others(givens: list[NotebookNode]) -> Others:
    """What some labs gave out."""
    cells = [cell for given in givens for cell in given.cells]
    texts = [c.source.replace(_BLANK, "") for c in cells if c.cell_type == "markdown"]
    return Others(frozenset(map(words, texts)), frozenset(cell.id for cell in cells))


def restore(parsed: Parsed, given: NotebookNode, other: Others | None = None) -> Restored:
    """Bring a submitted notebook, which may hold cells of several labs, into the form of one's own.

    Args:
        other: what other labs gave out. Their texts are nobody's answers, and of their code only
            definitions are executed here.
    """
    other = other or Others()
    names = {n for c in given.cells if tagged(c, "exercise") for n in names_of(c)}
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
    cell.id = f"{ADDED}{place:03d}{part}"
    found.numbers[cell.id] = number
    return cell


def _match(submitted: list[Cell], given: list[NotebookNode], found: Restored) -> dict[int, int]:
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
        if how in ("tag", "name") and label_of(original):
            found.repairs.append(f"{label_of(original)} was found by its {how}, not its id")
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

    def __init__(self, submitted: list[Cell]):
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
            return [i for name in names_of(original) for i in self.defined[name]]
        if tagged(original, "written"):
            question = words(original.source.replace(_BLANK, ""))
            return [
                i for i, c in cells if c.kind == "markdown" and question and question in c.words
            ]
        if tagged(original, "check"):
            first = original.source.partition("with check(")[2][:80]
            return [i for i, c in cells if first and first in c.source]
        return []


def _may_be(cell: Cell, original: NotebookNode) -> bool:
    """Whether a cell is of the right kind; a question may have become another one."""
    return cell.kind == original.cell_type or tagged(original, "written")


def names_of(original: NotebookNode) -> list[str]:
    """What an exercise's cell defines: the exercise's name, as a rule."""
    return defined(original.source) or [original.metadata["exercise"]]


def _contradicts(cell: Cell, original: NotebookNode) -> bool:
    """Whether a cell with an exercise's id defines something else, but not the exercise."""
    return (
        tagged(original, "exercise")
        and bool(cell.defined)
        and cell.defined.isdisjoint(names_of(original))
        and bool(defined(original.source))
    )


def _likeness(cell: Cell, original: NotebookNode) -> int:
    """How well a candidate fits: names first, so that a copied id does not win."""
    score = 1 if _may_be(cell, original) else 0
    if tagged(original, "exercise"):
        score += 4 * (not cell.defined.isdisjoint(names_of(original)))
        score += 2 * (STUB not in cell.source)
    return score + (cell.source.strip() == original.source.strip())


def label_of(original: NotebookNode) -> str:
    """What to call a given cell in a report; "" for one that is not worth a word."""
    for tag, name in (("exercise", "exercise"), ("check", "exercise"), ("written", "question")):
        if tagged(original, tag):
            return f"{tag} {original.metadata[name]}"
    return next((f"the {tag} cell" for tag in _OWN if tagged(original, tag)), "")


def _restored_cells(
    original: NotebookNode, submitted: Cell | None, found: Restored
) -> list[NotebookNode]:
    """A cell of the lab, and after it what a student has added to one that is the lab's own."""
    cell = copy.deepcopy(original)
    label = label_of(original)
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


def _is_given(cell: Cell, known: frozenset[str]) -> bool:
    """Whether a text is another lab's, or the answer to a question of another lab's."""
    long = [text for text in known if len(text.split()) >= _FEW_WORDS]
    return cell.words in known or any(text in cell.words for text in long)


def _take_answers(
    submitted: list[Cell],
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
    if words(text) == words(question):
        return ""
    return text.replace(question, "", 1).strip() if question else text


def _prose(cell: Cell) -> str:
    """The text of a cell; of a code cell, that of its comments, or all of it if it is no code."""
    text = cell.source.strip()
    if cell.kind != "code" or not text:
        return text
    lines = text.splitlines()
    if all(line.lstrip().startswith("#") or not line.strip() for line in lines):
        return "\n".join(line.lstrip("# ") for line in lines)
    return text if syntax_tree(text) is None else ""
