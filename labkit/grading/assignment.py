"""Assignment files: what is graded, for how many points, under which conditions (YAML).

The dataclasses here are the file's form: pydantic reads a file into them, and makes the published
JSON schema of them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema

from labkit.grading import GradingError
from labkit.grading.box.sandbox import Limits
from labkit.grading.faults import faults_of
from labkit.grading.hidden import HIDDEN, offered
from labkit.measure.graph import BITS
from labkit.measure.metrics import KNOWN, Metric

Lab = Annotated[str, Field(pattern=r"^[0-9]{2}_[a-z0-9_]+$")]
InLab = Annotated[str, Field(pattern=r"^[0-9]{2}_[a-z0-9_]+/[A-Za-z_][A-Za-z0-9_]*$")]
Points = Annotated[PositiveFloat, AfterValidator(lambda x: int(x) if x.is_integer() else x)]
Share = Annotated[float, Field(ge=0, le=1)]
Samples = Annotated[int, Field(ge=24, le=100_000)]
Type = Literal[tuple(BITS)]
TypesFigure = Literal[
    "weight_types", "bias_types", "activation_types", "input_types", "output_types"
]
NumberFigure = Literal[
    (
        *KNOWN,
        "bytes",
        "gzip_bytes",
        "coded_bits",
        "weight_bits",
        "parameters",
        "storage_bits",
        "code_bits",
        "bias_code_bits",
        "unique_per_channel",
        "sparsity",
        "macs",
    )
]
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Notebook:
    """A lab's notebook, under its own or one of several other names, in order."""

    lab: Lab
    names: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """All names of its file."""
        return (f"{self.lab}.ipynb", *self.names)


@dataclass(frozen=True)
class ModelFile:
    """A model file: its name, where it comes from and how large it may be.

    It was handed in, or the notebook writes it when the grader executes it.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+\.tflite$")]
    source: Annotated[Literal["submission", "execution"], Field(alias="from")] = "submission"
    max_kb: PositiveFloat = 1000

    @property
    def max_bytes(self) -> int:
        """What is read of it."""
        return int(1000 * self.max_kb)


@dataclass(frozen=True)
class Requirement:
    """A condition on one measured figure of a model file: bounds of a number, or types."""

    figure: NumberFigure | TypesFigure
    at_least: float | None = None
    at_most: float | None = None
    only: Annotated[tuple[Type, ...], Field(min_length=1)] | None = None
    includes: Type | None = None
    hint: str = ""


@dataclass(frozen=True)
class Curve:
    """Partial credit: pairs [figure, share of the points], straight lines between them."""

    figure: NumberFigure
    shares: Annotated[tuple[tuple[float, Share], ...], Field(min_length=2)]
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Item:
    """What earns points; its `target` stands under the name of its kind.

    Attributes:
        figures: model files shown beside an answer; by default all.
    """

    kind: ClassVar[str]
    by_hand: ClassVar[bool] = False
    figures: ClassVar[tuple[str, ...]] = ()
    points: Points
    title: str = ""

    def __post_init__(self) -> None:  # noqa: D105
        default = self.target if self.kind == "model" else self.name.replace("_", " ")
        object.__setattr__(self, "title", self.title or default)

    @property
    def target(self) -> str:
        """A file's name, "lab/exercise", "lab/question", or a manual item's name."""
        return getattr(self, self.kind)

    @property
    def lab(self) -> str:
        """The lab that an exercise or a question belongs to; else ""."""
        return self.target.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The exercise or question within its lab; else the target."""
        return self.target.rpartition("/")[2]

    @property
    def id(self) -> str:
        """Unique within the assignment, and stable; a file may earn points for several things."""
        return f"{self.kind}:{self.target}" + (f":{self.title}" if self.kind == "model" else "")


@dataclass(frozen=True, kw_only=True)
class Model(Item):
    """Points for a model file: all requirements hold, then the curve's share."""

    kind = "model"
    model: str
    requires: tuple[Requirement, ...] = ()
    curve: Curve | None = None
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Exercise(Item):
    """Points for an exercise: the share of cases whose answer is the solution's."""

    kind = "exercise"
    exercise: InLab
    cases: Annotated[tuple[str, ...], Field(min_length=1)]
    """Each a Python expression of a dict of inputs; np and rng (a numpy Generator with a secret
    seed) are there."""
    answer: str = ""
    """Python that computes `answer` from the inputs; by default its function is called."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 1e-6
    """Relative to the largest expected magnitude."""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Written(Item):
    """Points for a written answer, marked by hand beside the figures of model files (all)."""

    kind = "written"
    by_hand = True
    written: InLab
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manual(Item):
    """Points given by hand for anything else."""

    kind = "manual"
    by_hand = True
    manual: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


KINDS = ("model", "exercise", "written", "manual")


def _kind(entry: object) -> str | None:
    return next((kind for kind in KINDS if isinstance(entry, dict) and kind in entry), None)


AnyItem = Annotated[
    Annotated[Model, Tag("model")]
    | Annotated[Exercise, Tag("exercise")]
    | Annotated[Written, Tag("written")]
    | Annotated[Manual, Tag("manual")],
    Discriminator(_kind, "kind", f"Input should be an item: {', '.join(KINDS)}"),
]


@dataclass(frozen=True)
class Part:
    """Items under a title."""

    title: str
    items: Annotated[tuple[AnyItem, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Hidden:
    """The hidden split: how many samples; of images `images` may be said."""

    samples: Samples = 1500
    images: Samples | None = None

    @property
    def count(self) -> int:
        """Of the samples."""
        return self.images or self.samples


@dataclass(frozen=True)
class Board:
    """The leaderboard: which files compete, and by which size."""

    files: tuple[str, ...] = ()
    size: Literal["bytes", "gzip_bytes", "coded_bits"] = "bytes"


@dataclass(frozen=True, kw_only=True)
class Content:
    """What `labkit grade` grades: notebooks, model files, exercises, written answers, points."""

    __pydantic_config__ = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    schema: Literal[1]
    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]*$")]
    title: Annotated[str, Field(min_length=1)]
    points: Points
    """Must be the sum of all items."""
    extra_credit: bool = False
    course: str | None = None
    """Folder that holds solutions/, from this file on; by default the checkout that it lies in."""
    profile: Literal["quick", "full"] = "quick"
    """In which the grader executes the notebooks."""
    execute: Literal["all", "exercises"] = "all"
    """The whole notebooks, or only exercises, what students added, and the definitions that they
    stand on (nothing is trained)."""
    dataset: Annotated[str, Field(examples=list(HIDDEN))] = "sign_mnist"
    """What the files are measured on: one of labkit's data sets, or a module of yours that makes a
    hidden split (labkit.grading.hidden.Offers)."""
    metric_name: Annotated[Literal[tuple(KNOWN)], Field(alias="metric")] = "accuracy"
    """By which the files are measured on the hidden split."""
    data: Literal["auto", "synthetic", "real"] = "auto"
    """On which the notebooks are executed and the files measured; auto: real where the grader has
    it."""
    hidden: Hidden = Hidden()
    limits: Limits = field(default_factory=Limits)
    notebooks: tuple[Notebook, ...] = ()
    files: tuple[ModelFile, ...] = ()
    leaderboard: Board = Board()
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Assignment(Content):
    """A validated assignment file.

    Attributes:
        root: of the course that the notebooks belong to; None for the checkout.
        digest: SHA-256 of the file.
    """

    root: Path | None = None
    digest: str

    @property
    def metric(self) -> Metric:
        """By which the files are measured."""
        return KNOWN[self.metric_name]

    @cached_property
    def samples(self) -> str:
        """What the hidden split consists of, for example "images"."""
        return offered(self.dataset).SAMPLES

    @property
    def items(self) -> tuple[Item, ...]:
        """The items of all parts."""
        return tuple(item for part in self.parts for item in part.items)

    def of_lab(self, kind: str, lab: str) -> list[Item]:
        """The items of a kind that belong to a lab."""
        return [item for item in self.items if item.kind == kind and item.lab == lab]


def load(path: Path) -> Assignment:
    """Read and validate an assignment file.

    Raises:
        GradingError: naming the file, the place in it and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _Loader)
        found = _form().validate_json(json.dumps(content, default=str))
        root = found.course and (path.parent / found.course).resolve()
        digest = hashlib.sha256(text.encode()).hexdigest()
        assignment = Assignment(**vars(found), root=root, digest=digest)
        for place, fault in faults_of(assignment):
            raise GradingError(f"{_line(text, place)}{fault}")
    except OSError as error:
        raise GradingError(f"{path}: cannot read the assignment ({error.strerror}).") from error
    except yaml.YAMLError as error:
        raise GradingError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        raise GradingError(f"{path}: {_line(text, place)}{_told(error)}") from error
    except (GradingError, ValueError, RecursionError) as error:
        raise GradingError(f"{path}: {error}") from error
    return assignment


class _Schema(GenerateJsonSchema):
    def field_title_should_be_set(self, schema) -> bool:
        return False


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: the first one's content would be lost."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


def _line(text: str, place: Place) -> str:
    """The line of what stands at a place of the file, or around it, for the start of a message."""
    node, line = yaml.compose(text, _Loader), None
    for number, key in enumerate(place):
        is_kind = key in KINDS and place[number - 2 : number - 1] == ("items",)
        if is_kind and number + 1 < len(place):
            continue  # pydantic names the kind of an item before what is in the item
        if isinstance(node, yaml.MappingNode):
            found = [(name, value) for name, value in node.value if name.value == key]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            found = [(value, value) for value in node.value[key : key + 1]]
        else:
            break
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return "" if line is None else f"line {line}: "


def _told(error: ValidationError) -> str:
    """The first of several faults, in one line."""
    first = error.errors(include_url=False)[0]
    where = "/".join(map(str, first["loc"])) or "the top"
    words = {"missing": "it is required", "unexpected_keyword_argument": "there is no such key"}
    told = words.get(first["type"])
    if told is None:
        given = first["input"]
        is_short = isinstance(given, (str, int, float)) or given is None
        told = first["msg"] + (f", not {given!r:.60}" if is_short else "")
    return f"at {where}: {told}."


@cache
def _form() -> TypeAdapter:
    return TypeAdapter(Content)


@cache
def schema(name: str) -> dict:
    """A published JSON schema: "assignment" or "grade"."""
    if name == "assignment":
        dialect = "https://json-schema.org/draft/2020-12/schema"
        return (
            {"$schema": dialect}
            | _form().json_schema(schema_generator=_Schema)
            | {"title": "Assignment"}
        )
    text = (resources.files("labkit.grading") / "schemas" / f"{name}.json").read_text("utf-8")
    return json.loads(text)


def schema_fault(content: object, name: str) -> str | None:
    """The first place where content breaks one of the published schemas, in one line."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema(name))
    error = next(iter(sorted(validator.iter_errors(content), key=lambda e: list(e.path))), None)
    if error is None:
        return None
    where = "/".join(map(str, error.absolute_path)) or "the top"
    return f"at {where}: {error.message[:200]}"
