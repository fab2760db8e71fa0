"""The command `labkit sweep`: it parses, calls and prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from labkit.console import say, show
from labkit.explore.members import ExploreError

_MOST = 40  # rows that are printed


class FromFile:
    """A function of a file that is no module, which can be sent to other processes and machines.

    Attributes:
        version: the file's text.
    """

    def __init__(self, path: Path, name: str):
        self.version = path.read_text(encoding="utf-8")
        self._path, self._name = str(path), name
        self._function()  # so that mistakes come to light here

    def __call__(self, **configuration):
        """Call the function."""
        return self._function()(**configuration)

    def _function(self) -> Callable:
        known = _loaded.get(self.version)
        if known is None:
            known = {"__name__": Path(self._path).stem, "__file__": self._path}
            exec(compile(self.version, self._path, "exec"), known)
            _loaded[self.version] = known
        if not callable(known.get(self._name)):
            raise ExploreError(f"{self._path} has no function {self._name!r}.")
        return known[self._name]


_loaded: dict[str, dict] = {}


def sweep(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A study of labkit's, or your own function: file.py:function.", show_default=False
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="SQLite file; an earlier sweep goes on in it.", show_default=False),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="name=1,2,3 or name=2:16 (all integers); at --random also name=0.1..0.5 and "
            "name=log:1e-4..1e-2. Repeat for more.",
            show_default=False,
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(min=1, help="So many combinations at random; all without."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random combinations.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = 1,
    scheduler: Annotated[
        str, typer.Option(help="Address of a Dask scheduler: its workers do the work.")
    ] = "",
    version: Annotated[
        str, typer.Option(help="Of your code; without, it is taken from the file.")
    ] = "",
    csv: Annotated[Path | None, typer.Option(help="Write the table.", show_default=False)] = None,
    front: Annotated[
        list[str] | None,
        typer.Option(help="Print what nothing beats: a column to make small; repeat for more."),
    ] = None,
) -> None:
    """Call a function over a grid or at random; results are kept and never computed twice.

    Without a target the studies are listed.
    """
    from labkit import files
    from labkit.explore import pareto, studies
    from labkit.explore import sweep as sweeps

    if target is None:
        for study in studies.STUDIES.values():
            say(f"{study.name}: {study.title}")
            for name, values in study.levels.items():
                say(f"  {name:<22} {_shown(values)}")
        return
    levels = dict(_level(text) for text in vary or ())
    if ":" in target:
        path, _, name = target.rpartition(":")
        if not Path(path).is_file():
            raise ExploreError(f"there is no file {path}: give file.py:function.")
        function, default = FromFile(Path(path), name), f"{name}.sqlite"
    else:
        study = studies.study(target)
        levels = study.chosen(**levels)
        function, default, version = study.function, f"{target}.sqlite", version or study.version
    if random is None:
        if spans := [name for name, of in levels.items() if isinstance(of, sweeps.Span)]:
            raise ExploreError(f"{spans[0]} is a span of numbers: give --random as well.")
        design = sweeps.grid(**levels)
    else:
        design = sweeps.at_random(random, seed, **levels)
    results = results or Path(default)
    say(f"{len(design):,} configurations; results go to {results}")
    table = sweeps.sweep(function, design, results, version=version, jobs=jobs, scheduler=scheduler)
    if front:
        table = pareto.front(table, front)
        say(f"{len(table)} that nothing beats:")
    _print(table)
    if csv:
        files.write_text(csv, table.to_csv(index=False, lineterminator="\n"))
        say(str(csv))


def _level(text: str) -> tuple[str, object]:
    """Name and values of `name=values`."""
    from labkit.explore.sweep import Span

    name, equals, values = text.partition("=")
    if not equals or not name.isidentifier() or not values:
        raise ExploreError(f"--vary {text!r}: expected name=values.")
    body = values.removeprefix("log:")
    try:
        if ".." in body:
            low, high = body.split("..")
            whole = low.lstrip("-").isdigit() and high.lstrip("-").isdigit()
            return name, Span(float(low), float(high), body != values, whole)
        if ":" in body and body == values and "," not in body:
            first, last = map(int, body.split(":"))
            return name, tuple(range(first, last + 1))
    except ValueError as error:
        raise ExploreError(f"--vary {text!r}: {error}.") from error
    return name, tuple(_value(each) for each in values.split(","))


def _value(text: str) -> object:
    """A number, true, false or null as JSON has them; else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(values: tuple) -> str:
    text = ", ".join(map(str, values))
    return text if len(values) < 6 else f"{values[0]} to {values[-1]}, {len(values)} values"


def _print(table) -> None:
    changing = [c for c in table.columns if not isinstance(table[c].iloc[0], list)]
    changing = [c for c in changing if len(table) == 1 or table[c].nunique() > 1]
    rows = [
        [f"{v:.4g}" if isinstance(v, float) else escape(str(v)) for v in row]
        for row in table[changing].head(_MOST).itertuples(index=False)
    ]
    show(list(changing), rows, names=())
    if len(table) > _MOST:
        say(f"and {len(table) - _MOST:,} more; --csv writes all")
