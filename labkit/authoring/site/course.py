"""How the course hangs together: the table docs/course.toml, and the map drawn from it."""

from __future__ import annotations

import html
import itertools
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import tomllib

from labkit.course import CourseError


@dataclass(frozen=True)
class Lab:
    """What the table says about a lab.

    Attributes:
        needs: numbers of the labs to do before.
        learn: what it is about, in a few words.
        otherwise: the technique of its files that no technique's pattern finds, or "".
    """

    needs: list[str]
    learn: str
    otherwise: str = ""


@dataclass(frozen=True)
class Technique:
    """What the table says about a technique.

    Attributes:
        title: of its page.
        rows: what finds its files in the ledger, a regular expression; none with "".
        labs: numbers of those that use it.
    """

    title: str
    rows: str
    labs: list[str]

    def has(self, file: str) -> bool:
        """Whether a file of the ledger, as "model: technique", is one of its."""
        return bool(self.rows) and re.search(self.rows, file) is not None


@dataclass(frozen=True)
class Document:
    """A source document: how its title begins, a short one, what it is, and what held of it."""

    title: str
    short: str
    about: str
    verdict: str


@dataclass(frozen=True)
class Course:
    """The table: labs by number, techniques by name, documents in order.

    `repository` is where the course is published, "owner/name" on GitHub, or "".
    """

    labs: dict[str, Lab]
    techniques: dict[str, Technique]
    documents: list[Document] = field(default_factory=list)
    repository: str = ""

    def of(self, lab: str, model: str, technique: str) -> list[str]:
        """The techniques of a file of a lab's ledger, the telling one first."""
        file = f"{model}: {technique}"
        found = [name for name, candidate in self.techniques.items() if candidate.has(file)]
        otherwise = self.labs[lab].otherwise
        return found or ([otherwise] if otherwise and technique != "float" else [])

    def depth(self, lab: str) -> int:
        """How many labs lie on the longest way to a lab."""
        return max((1 + self.depth(before) for before in self.labs[lab].needs), default=0)


def read(path: Path) -> Course:
    """Read the table.

    Raises:
        CourseError: it names a lab or a technique that it does not have.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    course = Course(
        {number: Lab(**entry) for number, entry in table["labs"].items()},
        {name: Technique(**entry) for name, entry in table["techniques"].items()},
        [Document(**entry) for entry in table["documents"]],
        table.get("repository", ""),
    )
    if course.repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", course.repository):
        raise CourseError(f"{path.name}: repository is {course.repository!r}, not owner/name.")
    named = {n for lab in course.labs.values() for n in lab.needs}
    named |= {n for technique in course.techniques.values() for n in technique.labs}
    if unknown := sorted(named - set(course.labs)):
        raise CourseError(f"{path.name} does not have the labs {', '.join(unknown)}.")
    others = {lab.otherwise for lab in course.labs.values()} - {""}
    if unknown := sorted(others - set(course.techniques)):
        raise CourseError(f"{path.name} has no technique {', '.join(unknown)}.")
    return course


_WIDTH, _HEIGHT, _ACROSS, _DOWN = 142, 60, 18, 28  # of a lab's box, and between two


def svg(course: Course, titles: dict[str, str], links: dict[str, str]) -> str:
    """The map: a box a lab, under those that it needs, with a line from each of them.

    Args:
        titles: of the labs, by number.
        links: addresses of their pages.
    """
    places = _places(course)
    lines = [
        _line([places[stop] for stop in _way(course, before, number)])
        for number, lab in course.labs.items()
        for before in lab.needs
    ]
    boxes = [_box(places[n], n, titles[n], lab.learn, links[n]) for n, lab in course.labs.items()]
    whole = max(x for x, _ in places.values()) + _WIDTH
    high = max(y for _, y in places.values()) + _HEIGHT
    return (
        '<div class="table-box"><svg class="course-map" role="group" '
        'aria-label="Map of the labs: each stands below those that it needs" '
        f'viewBox="-2 -2 {whole + 4:g} {high + 4:g}">\n'
        + "\n".join([*lines, *boxes])
        + "\n</svg></div>\n"
    )


def _way(course: Course, before: str, number: str) -> list[str]:
    """What a line goes through: a lab, a stop in each row that it passes, the lab that needs it."""
    passed = range(course.depth(before) + 1, course.depth(number))
    return [before, *(f"{before} to {number} in row {depth}" for depth in passed), number]


def _places(course: Course) -> dict[str, tuple[float, float]]:
    """Left upper corners: a row per depth, each lab as nearly as can be below those that it needs.

    The stops of the lines that pass a row have places in it, as labs have: no box lies on a line.
    """
    rows: dict[int, dict[str, list[str]]] = {}  # of each row's labs and stops, what is above them
    for number, lab in course.labs.items():
        rows.setdefault(course.depth(number), {}).setdefault(number, [])
        for before in lab.needs:
            way = itertools.pairwise(_way(course, before, number))
            for depth, (above, stop) in enumerate(way, course.depth(before) + 1):
                rows.setdefault(depth, {}).setdefault(stop, []).append(above)
    places: dict[str, tuple[float, float]] = {}
    for depth, row in sorted(rows.items()):
        wanted = {
            stop: sum(places[name][0] for name in above) / len(above) if above else 0.0
            for stop, above in row.items()
        }
        at: list[float] = []
        for x in sorted(wanted.values()):
            at.append(max(x, at[-1] + _WIDTH + _ACROSS) if at else x)
        moved = (sum(at) - sum(wanted.values())) / len(at)
        for stop, x in zip(sorted(wanted, key=wanted.__getitem__), at, strict=True):
            places[stop] = (x - moved, depth * (_HEIGHT + _DOWN))
    left = min(x for x, _ in places.values())
    return {stop: (x - left, y) for stop, (x, y) in places.items()}


def _line(stops: list[tuple[float, float]]) -> str:
    """From the foot of the first box to the head of the last, straight through the stops."""
    curve = ""
    for (x, y), (to_x, to_y) in itertools.pairwise(stops):
        x, y, to_x = x + _WIDTH / 2, y + _HEIGHT, to_x + _WIDTH / 2
        middle = (y + to_y) / 2
        curve += f"V{y:g}" if curve else f"M{x:g} {y:g}"
        curve += f"C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
    return f'<path class="line" d="{curve}"/>'


def _box(place: tuple[float, float], number: str, title: str, learn: str, link: str) -> str:
    x, y = place
    texts = [
        f'<text x="{x + _WIDTH / 2:g}" y="{y + 35 + 14 * i:g}">{html.escape(line)}</text>'
        for i, line in enumerate(textwrap.wrap(learn, 20))
    ]
    return (
        f'<a href="{html.escape(link)}" aria-label="Lab {number}, {html.escape(title)}">'
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        f'<text class="number" x="{x + _WIDTH / 2:g}" y="{y + 19:g}">Lab {number}</text>'
        f"{''.join(texts)}</a>"
    )
