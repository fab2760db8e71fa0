"""The `labkit` command: parses, calls, prints. What it calls lives in the package."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import labkit
from labkit import runtime
from labkit.console import complain, console, errors, say, show, take_any_name
from labkit.errors import LabkitError
from labkit.explore.commands import sweep
from labkit.har.commands import app as har_app
from labkit.net.commands import app as net_app

app = typer.Typer(
    help="Fit neural networks into embedded devices: the labs and their tool.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Find, download and verify the data sets.", no_args_is_help=True)
labs_app = typer.Typer(help="List the labs, and copy them to work on.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(labs_app, name="labs")
app.add_typer(net_app, name="net")
app.add_typer(har_app, name="har")
app.command()(sweep)

Profile = Enum("Profile", {name: name for name in runtime.PROFILES}, type=str)
DataMode = Enum("DataMode", {name: name for name in runtime.DATA_MODES}, type=str)
Labs = Annotated[
    list[str] | None,
    typer.Argument(help="Numbers or names, for example 02; by default all.", show_default=False),
]


def main() -> None:
    """Run the command; a user's mistake ends in one line and exit code 2, not in a traceback."""
    take_any_name()
    try:
        app()
    except KeyboardInterrupt:
        errors.print("labkit: interrupted; what was finished is kept (--resume goes on).")
        sys.exit(130)
    except Exception as error:
        message = _one_line(error)
        if message is None:
            raise
        complain(f"labkit: {message}")
        sys.exit(2)


def _one_line(error: Exception) -> str | None:
    """What to tell the user of an error; None for one that is a fault of labkit's."""
    if isinstance(error, LabkitError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return None


def _version(value: bool) -> None:
    if value:
        say(f"labkit {labkit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def doctor() -> None:
    """Examine the installation; for whatever is wrong, print the command that repairs it."""
    from labkit import doctor as examiner

    with console.status("examining; TensorFlow takes some seconds to start"):
        findings = examiner.examine()
    marks = {True: "[green]ok[/]", False: "[red]WRONG[/]"}
    rows = [(marks[f.ok], escape(f.name), escape(f.detail)) for f in findings]
    show(("", "what", "found"), rows, names=("what", "found"))
    wrong = [finding for finding in findings if not finding.ok]
    for finding in wrong:
        say(f"\n{finding.name}: to repair it,\n  {finding.repair}")
    if wrong:
        raise typer.Exit(1)


@data_app.command("list")
def list_data() -> None:
    """List the data sets: what they are, and whether the real ones are here."""
    from labkit.datasets import registry

    for source in registry.SOURCES.values():
        found = source.found()
        facts = {
            "real data": ", ".join(map(str, found)) if found else "not here",
            "otherwise": source.synthetic,
            "page": source.page,
            "licence": source.licence,
        }
        say(f"{source.name}: {source.title}")
        for name, fact in facts.items():
            say(f"  {name:<10} {fact}")


@data_app.command("get")
def get_data(
    name: Annotated[str, typer.Argument(help="As `labkit data list` says it.")],
    force: Annotated[bool, typer.Option("--force", help="Download again.")] = False,
) -> None:
    """Download a real data set, verify it and put it in its place."""
    from labkit.datasets import registry

    say(f"{name}: {registry.source(name).get(force)}")


@data_app.command("verify")
def verify_data(
    name: Annotated[
        str | None, typer.Argument(help="By default all that are here.", show_default=False)
    ] = None,
) -> None:
    """Read and validate every row of the real data."""
    from labkit.datasets import registry

    names = (
        [name] if name else [name for name, source in registry.SOURCES.items() if source.found()]
    )
    if not names:
        errors.print("labkit: there is no real data here; `labkit data get` downloads it.")
        raise typer.Exit(2)
    for each in names:
        say(str(registry.source(each).verify()))


@data_app.command("where")
def where_data() -> None:
    """Print the folder of real data (set by LABKIT_DATA) and that of the cache."""
    from labkit.datasets import folders

    say(f"real   {folders.real()}")
    say(f"cache  {folders.cache()}")


@labs_app.command("list")
def list_labs() -> None:
    """List the labs: number, title, how long each takes to work through."""
    from labkit.authoring.source import sources

    rows = [(source.number, source.title, re.split("[,;]", source.time)[0]) for source in sources()]
    show(("lab", "title", "time"), rows, names=("title", "time"))


@labs_app.command("get")
def get_labs(
    folder: Annotated[Path, typer.Argument(help="Where to.")] = Path("labs"),
    solutions: Annotated[
        bool, typer.Option("--solutions", help="The solutions and assignments, too.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over notebooks that differ, too.")
    ] = False,
) -> None:
    """Copy the notebooks into a folder; what you have worked on there stays as it is."""
    from labkit import course

    copied = course.copy(folder, solutions, force)
    for name in copied.kept:
        say(f"kept {folder / name}: it differs; --force writes over it")
    notebooks = folder / "notebooks"
    say(f"{len(copied.written)} files written to {folder}; to begin: jupyter lab {notebooks}")


@app.command()
def run(
    labs: Labs = None,
    profile: Annotated[
        Profile,
        typer.Option(envvar="LABKIT_PROFILE", help="A first run in minutes, or the real figures."),
    ] = "quick",
    data: Annotated[
        DataMode, typer.Option(envvar="LABKIT_DATA_MODE", help="auto: real where it is present.")
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of every random number.")] = 0,
    out: Annotated[
        Path, typer.Option(envvar="LABKIT_OUT", help="Folder for notebooks, models and results.")
    ] = Path("out"),
    jobs: Annotated[int, typer.Option(min=1, help="Labs at a time.")] = 1,
    student: Annotated[
        bool, typer.Option("--student", help="Execute the student notebooks: all exercises open.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep labs that an earlier call has finished.")
    ] = False,
) -> None:
    """Execute labs and end in a table: lab, accuracy, bytes, time.

    The executed notebooks, the model files and the ledger of all figures go to one folder.
    """
    from labkit.authoring import run as runner
    from labkit.authoring.source import sources

    waiting = [source.name for source in sources(labs)]
    what = f"profile {profile.value}, data {data.value}, seed {seed}"
    say(f"{len(waiting)} labs, {what}, {min(jobs, len(waiting))} at a time")

    def progress(outcome: runner.LabRun) -> None:
        waiting.remove(outcome.lab)
        mark = "[green]done[/]" if outcome.ok else "[red]FAILED[/]"
        console.print(f"{outcome.lab}: {mark} in {outcome.seconds:.0f} s", highlight=False)
        if outcome.error:
            errors.print(f"  {outcome.error}", markup=False, highlight=False)
        status.update(f"to do: {', '.join(waiting)}")

    # One at a time, each lab has a bar of its own; a second line under it would tear it apart.
    status = console.status(f"to do: {', '.join(waiting)}")
    with status if jobs > 1 else nullcontext():
        outcomes = runner.run(
            labs, out, profile.value, data.value, seed, jobs, student, resume, report=progress
        )
    judged = "result" if any(o.metrics and o.accuracy is None for o in outcomes) else "accuracy"
    rows = [
        (
            o.lab,
            _result(o),
            "" if o.bytes is None else f"{o.bytes:,}",
            f"{o.seconds:.0f}",
            "" if o.ok else "FAILED",
        )
        for o in outcomes
    ]
    show(("lab", judged, "bytes", "time (s)", ""), rows, names=("lab",), title=what, plain=False)
    if profile == Profile.quick:
        say(
            "quick: a few seconds of training on a part of the data show that a lab runs, not what "
            "its network reaches; --profile full does"
        )
    say(f"model files {out}, executed notebooks {out / 'notebooks'}")
    if not all(o.ok for o in outcomes):
        raise typer.Exit(1)


@app.command()
def build(
    labs: Labs = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail on what is stale or leaks.")
    ] = False,
    execute: Annotated[
        bool,
        typer.Option("--execute", help="Also execute the solutions in full and store them."),
    ] = False,
    data: Annotated[DataMode, typer.Option(help="With --execute.")] = "auto",
) -> None:
    """Write the student notebooks from the solutions."""
    from labkit.authoring import build as builder

    lines = builder.build(labs, check=check)
    for line in lines:
        say(line)
    if check and lines:
        raise typer.Exit(1)
    if execute:
        for path in builder.execute(labs, data=data.value):
            say(f"solutions/{path.name}")
    if not lines and not execute:
        say("the notebooks are current")


@app.command()
def site(
    out: Annotated[Path, typer.Option(help="Folder of the site; it is replaced.")] = Path("site"),
    solutions: Annotated[
        bool, typer.Option("--solutions", help="For instructors: with the solutions' code.")
    ] = False,
    phone: Annotated[
        Path | None,
        typer.Option(
            help="Lab 08's output folder: also the page that runs its network on a phone (npm).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build the rendered course, a folder of pages that works without a network."""
    from labkit import course

    try:
        from labkit.authoring.site import build as builder
    except ModuleNotFoundError as error:
        raise LabkitError(
            f"the site needs the package {error.name}: install the extra, pip install "
            '"labkit[site]"; it needs Python 3.11.'
        ) from error
    say(f"the site: {builder.build(course.root(), out, solutions, phone)}")


@app.command()
def report(
    out: Annotated[
        Path, typer.Argument(envvar="LABKIT_OUT", help="Folder of an earlier run.")
    ] = Path("out"),
    csv: Annotated[bool, typer.Option("--csv", help="The tidy ledger as CSV.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw accuracy over size, with its front, to a PNG (or .svg, .pdf).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the ledger of all labs: accuracy, bytes, bits, latency; and plot their front."""
    import pandas as pd

    from labkit import measure
    from labkit.measure.metrics import KNOWN

    table = measure.Ledger(out).table()
    if table.empty:
        errors.print(f"labkit: there is no ledger in {out}; `labkit run` makes one.")
        raise typer.Exit(2)
    if csv:
        sys.stdout.write(table.to_csv(index=False, lineterminator="\n"))
        return
    summary = measure.summary(table)
    same = [c for c in ("data", "profile", "model") if summary[c].nunique() == 1]
    title = ", ".join(f"{column} {summary[column].iloc[0]}" for column in same)
    shown = summary.drop(columns=same).dropna(axis="columns", how="all")
    formats = {"latency (ms)": ".3f"}
    for metric in KNOWN.values():
        formats |= dict.fromkeys((metric.column, metric.spread), metric.form)
    names = [c for c in shown if pd.api.types.is_string_dtype(shown[c])]
    rows = [
        [
            escape(_cell(value, formats.get(column, ",.0f")))
            for column, value in zip(shown.columns, row, strict=True)
        ]
        for row in shown.itertuples(index=False)
    ]
    show(list(shown.columns), rows, names, title=escape(title))
    if plot:
        from labkit import files, plots

        metric = next((m for m in KNOWN.values() if m.column in summary), None)
        if metric is None:
            raise LabkitError(f"there is no metric in the ledger of {out} to plot.")
        figure = plots.front(
            summary,
            measure.front(summary, metric=metric),
            metric=metric.column,
            higher_is_better=metric.higher_is_better,
        )
        kinds = figure.canvas.get_supported_filetypes()
        kind = plot.suffix[1:].lower() or "png"
        if kind not in kinds:
            raise LabkitError(f"{plot}: a plot is written as {', '.join(sorted(kinds))}.")
        with files.replacing(plot) as temporary:
            figure.savefig(temporary, dpi=120, format=kind)
        say(f"front: {plot}")


def _result(outcome) -> str:
    """What a lab's headline file is judged by: its accuracy, or its first metric with its name."""
    from labkit.measure.metrics import KNOWN

    if outcome.accuracy is not None:
        return f"{outcome.accuracy:.1%}"
    for name, value in outcome.metrics.items():
        return f"{name} {KNOWN[name].text(value) if name in KNOWN else format(value, '.3g')}"
    return ""


def _cell(value, form: str) -> str:
    if isinstance(value, str):
        return value
    return "" if value != value else format(value, form)  # NaN is not equal to itself


@app.command()
def grade(
    submissions: Annotated[
        Path | None,
        typer.Argument(
            help="A folder, archive or notebook for each student, or the download of Canvas, "
            "Moodle or Brightspace, unpacked.",
            show_default=False,
        ),
    ] = None,
    assignment: Annotated[
        Path | None, typer.Option(help="What is graded: grading/q1.yaml.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for grades and reports.")] = Path("graded"),
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at a time.")] = 1,
    scheduler: Annotated[
        str, typer.Option(help="Address of a Dask scheduler: its workers do the work.")
    ] = "",
    isolation: Annotated[
        str, typer.Option(help="auto, namespaces, container:IMAGE or limits.")
    ] = "auto",
    hidden: Annotated[
        Path | None,
        typer.Option(help="A hidden split of your own: .npz with x and y.", show_default=False),
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(help="written.csv with the column mark filled in.", show_default=False),
    ] = None,
    roster: Annotated[
        Path | None, typer.Option(help="Canvas's exported grade book.", show_default=False)
    ] = None,
    secret: Annotated[
        Path | None,
        typer.Option(help="File that seeds hidden samples and inputs.", show_default=False),
    ] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Grade a made-up class whose grades are known.")
    ] = False,
) -> None:
    """Grade a class: execute apart, measure the files, score, report.

    What an earlier call has finished in the same folder is kept.
    """
    from labkit.grading import GradingError, rehearsal
    from labkit.grading import assignment as assignments
    from labkit.grading import grade as grader

    settings = grader.Settings(jobs, scheduler, isolation, hidden, marks, roster, secret)
    if rehearse:
        outcomes = rehearsal.rehearse(out, settings, progress=say)
        wrong = [o for o in outcomes if not o.ok]
        for o in wrong:
            say(f"WRONG  {o.name}: {o.earned:g} points, expected {o.expected:g}")
        say(f"{len(outcomes) - len(wrong)} of {len(outcomes)} grades are as expected")
        say(f"the class's page: {out / 'graded' / 'index.html'}")
        if wrong:
            raise typer.Exit(1)
        return
    if submissions is None or assignment is None:
        raise GradingError("give a folder of submissions and --assignment, or --rehearse.")
    grades = grader.grade_class(submissions, assignments.load(assignment), out, settings, say)
    say(f"{len(grades)} submissions; the class's page: {out / 'index.html'}")
    if any(g["score"]["faults"] for g in grades):
        errors.print(
            "labkit: this machine failed on some items; the same command tries them again."
        )
        raise typer.Exit(1)
