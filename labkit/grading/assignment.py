"""Assignment files: what is graded, for how many points, under which conditions (YAML)."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from labkit.grading import GradingError
from labkit.grading.box.sandbox import Limits


@dataclass(frozen=True)
class Notebook:
    """A lab's notebook, under one of several accepted names."""

    lab: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class ModelFile:
    """A model file: its name, where it comes from and how large it may be."""

    name: str
    source: str = "submission"
    max_bytes: int = 1_000_000


@dataclass(frozen=True)
class Requirement:
    """A condition on one measured figure of a model file."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    only: tuple[str, ...] | None = None
    includes: str | None = None
    hint: str = ""


@dataclass(frozen=True)
class Curve:
    """Partial credit: shares of the points over a figure, straight lines between them."""

    figure: str
    shares: tuple[tuple[float, float], ...]
    hint: str = ""


@dataclass(frozen=True)
class Item:
    """What earns points.

    Attributes:
        kind: "model", "exercise", "written" or "manual".
        target: a file's name, "lab/exercise", "lab/question", or a manual item's name.
        requires, curve: of a model.
        cases, answer, tolerance: of an exercise.
        figures: model files shown beside a written answer.
    """

    kind: str
    target: str
    title: str
    points: float
    part: str
    requires: tuple[Requirement, ...] = ()
    curve: Curve | None = None
    cases: tuple[str, ...] = ()
    answer: str = ""
    tolerance: float = 1e-6
    figures: tuple[str, ...] = ()
    hint: str = ""

    @property
    def id(self) -> str:
        """Unique within the assignment, and stable."""
        return (
            f"{self.kind}:{self.target}:{self.title}"
            if self.kind == "model"
            else (f"{self.kind}:{self.target}")
        )

    @property
    def lab(self) -> str:
        """The lab that an exercise or a question belongs to."""
        return self.target.partition("/")[0] if self.kind in ("exercise", "written") else ""

    @property
    def name(self) -> str:
        """The exercise or question within its lab; else the target."""
        return self.target.rpartition("/")[2]

    @property
    def by_hand(self) -> bool:
        """Whether a person gives the points."""
        return self.kind in ("written", "manual")


@dataclass(frozen=True)
class Assignment:
    """A validated assignment file; `digest` is the SHA-256 of its text."""

    name: str
    title: str
    points: float
    extra_credit: bool
    profile: str
    whole: bool
    dataset: str
    metric: str
    data: str
    hidden_images: int
    limits: Limits
    notebooks: tuple[Notebook, ...]
    files: tuple[ModelFile, ...]
    items: tuple[Item, ...]
    leaderboard: tuple[str, ...]
    leaderboard_size: str
    root: Path | None
    digest: str

    def of_lab(self, kind: str, lab: str) -> list[Item]:
        """The items of a kind that belong to a lab."""
        return [item for item in self.items if item.kind == kind and item.lab == lab]


def load(path: Path) -> Assignment:
    """Read and validate an assignment file.

    Raises:
        GradingError: naming the file, the place in it and what was expected.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise GradingError(f"{path}: cannot read the assignment ({error.strerror}).") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GradingError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from error
    fault = schema_fault(content, "assignment")
    if fault:
        raise GradingError(f"{path}: {fault}")
    assignment = _assignment(content, path, text)
    _check(assignment, path)
    return assignment


def schema_fault(content: object, name: str) -> str | None:
    """The first place where content breaks one of the published schemas, in one line."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema(name))
    error = next(iter(sorted(validator.iter_errors(content), key=lambda e: list(e.path))), None)
    if error is None:
        return None
    if error.context:  # none of several forms fits: tell of the one that comes closest
        error = min(error.context, key=lambda e: (len(e.schema_path) < 3, -len(e.path)))
    where = "/".join(map(str, error.absolute_path)) or "the top"
    return f"at {where}: {error.message[:200]}"


@cache
def schema(name: str) -> dict:
    """A published JSON schema: "assignment" or "grade"."""
    text = (resources.files("labkit.grading") / "schemas" / f"{name}.json").read_text("utf-8")
    return json.loads(text)


def _assignment(content: dict, path: Path, text: str) -> Assignment:
    items = tuple(
        _item(entry, part["title"]) for part in content["parts"] for entry in part["items"]
    )
    board = content.get("leaderboard", {})
    return Assignment(
        name=content["name"],
        title=content["title"],
        points=content["points"],
        extra_credit=content.get("extra_credit", False),
        profile=content.get("profile", "quick"),
        whole=content.get("execute", "all") == "all",
        dataset=content.get("dataset", "sign_mnist"),
        metric=content.get("metric", "accuracy"),
        data=content.get("data", "auto"),
        hidden_images=content.get("hidden", {}).get("images", 1500),
        limits=Limits(**content.get("limits", {})),
        notebooks=tuple(
            Notebook(entry["lab"], (f"{entry['lab']}.ipynb", *entry.get("names", ())))
            for entry in content.get("notebooks", ())
        ),
        files=tuple(
            ModelFile(
                entry["name"],
                entry.get("from", "submission"),
                int(1000 * entry.get("max_kb", 1000)),
            )
            for entry in content.get("files", ())
        ),
        items=items,
        leaderboard=tuple(board.get("files", ())),
        leaderboard_size=board.get("size", "bytes"),
        root=(path.parent / content["course"]).resolve() if "course" in content else None,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _item(entry: dict, part: str) -> Item:
    kind = next(k for k in ("model", "exercise", "written", "manual") if k in entry)
    target = entry[kind]
    curve = entry.get("curve")
    return Item(
        kind=kind,
        target=target,
        title=entry.get("title", target.rpartition("/")[2].replace("_", " ")
                        if kind != "model" else target),
        points=entry["points"],
        part=part,
        requires=tuple(
            Requirement(**{k: tuple(v) if k == "only" else v for k, v in r.items()})
            for r in entry.get("requires", ())
        ),
        curve=curve and Curve(
            curve["figure"], tuple((x, y) for x, y in curve["shares"]), curve.get("hint", "")
        ),
        cases=tuple(entry.get("cases", ())),
        answer=entry.get("answer", ""),
        tolerance=entry.get("tolerance", 1e-6),
        figures=tuple(entry.get("figures", ())),
        hint=entry.get("hint", ""),
    )  # fmt: skip


def _check(assignment: Assignment, path: Path) -> None:
    """What a schema cannot say."""
    total = math.fsum(item.points for item in assignment.items)
    if not math.isclose(total, assignment.points, abs_tol=1e-9):
        raise GradingError(
            f"{path}: the items add up to {total:g} points, `points` says {assignment.points:g}."
        )
    ids = [item.id for item in assignment.items]
    for twice in sorted({i for i in ids if ids.count(i) > 1}):
        raise GradingError(f"{path}: {twice} appears twice; give each item a title of its own.")
    labs = {notebook.lab for notebook in assignment.notebooks}
    names = {file.name for file in assignment.files}
    for item in assignment.items:
        if item.lab and item.lab not in labs:
            raise GradingError(f"{path}: {item.target}: lab {item.lab} is not under `notebooks`.")
        unknown = ({item.target} if item.kind == "model" else set(item.figures)) - names
        if unknown:
            raise GradingError(f"{path}: {item.id}: {sorted(unknown)} is not under `files`.")
        for requirement in item.requires:
            bounds = (requirement.at_least, requirement.at_most, requirement.only,
                      requirement.includes)  # fmt: skip
            if all(bound is None for bound in bounds):
                raise GradingError(f"{path}: {item.id}: {requirement.figure} has no bound.")
        if item.curve:
            figures = [x for x, _ in item.curve.shares]
            if figures != sorted(set(figures)):
                raise GradingError(f"{path}: {item.id}: the curve's figures must rise.")
    if not assignment.whole and any(file.source == "execution" for file in assignment.files):
        raise GradingError(f"{path}: files from the execution need `execute: all`.")
    if set(assignment.leaderboard) - names:
        raise GradingError(f"{path}: the leaderboard names files that are not under `files`.")
