"""The `labkit` command: parses, calls, prints. What it calls lives in the package."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import labkit
from labkit import runtime

app = typer.Typer(
    help="Fit neural networks into embedded devices: the labs and their tool.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Find, download and verify the data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

console = Console()
errors = Console(stderr=True)

Profile = Enum("Profile", {name: name for name in runtime.PROFILES}, type=str)
DataMode = Enum("DataMode", {name: name for name in runtime.DATA_MODES}, type=str)
Labs = Annotated[
    list[str] | None, typer.Argument(help="Numbers or names, for example 02; by default all.")
]


def main() -> None:
    """Run the command; a user's mistake ends in one line and exit code 2, not in a traceback."""
    try:
        app()
    except Exception as error:
        if not _is_user_error(error):
            raise
        errors.print(f"labkit: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("labkit: interrupted; what was finished is kept (--resume goes on).")
        sys.exit(130)


def _is_user_error(error: Exception) -> bool:
    from labkit.authoring import CourseError
    from labkit.datasets import DataError

    return isinstance(error, (CourseError, DataError, runtime.SettingError))


def _version(value: bool) -> None:
    if value:
        console.print(f"labkit {labkit.__version__}", highlight=False)
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

    findings = examiner.examine()
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found"):
        table.add_column(heading)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]WRONG[/]"
        table.add_row(mark, finding.name, finding.detail)
    console.print(table)
    wrong = [finding for finding in findings if not finding.ok]
    for finding in wrong:
        console.print(f"\n{finding.name}: to repair it,\n  {finding.repair}", highlight=False)
    if wrong:
        raise typer.Exit(1)


@data_app.command("list")
def list_data() -> None:
    """List the data sets, and whether the real ones are here."""
    from labkit.datasets import registry

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "real data", "title", "licence", "page"):
        table.add_column(heading)
    for entry in registry.entries():
        found = "here" if entry.find() else "not here"
        table.add_row(entry.name, found, entry.title, entry.licence, entry.page)
    console.print(table)


@data_app.command("get")
def get_data(
    name: str, force: Annotated[bool, typer.Option(help="Download again.")] = False
) -> None:
    """Download a real data set, verify it and put it in its place."""
    from labkit.datasets import registry

    path = registry.get(name, force=force)
    console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


@data_app.command("verify")
def verify_data(name: str) -> None:
    """Read and validate every row of a real data set."""
    from labkit.datasets import registry

    console.print(str(registry.verify(name)), highlight=False, soft_wrap=True)


@data_app.command("where")
def where_data() -> None:
    """Print the folder of real data (set by LABKIT_DATA) and that of the cache."""
    from labkit.datasets import folders

    console.print(f"real   {folders.real()}", highlight=False, soft_wrap=True)
    console.print(f"cache  {folders.cache()}", highlight=False, soft_wrap=True)


@app.command()
def run(
    labs: Labs = None,
    profile: Annotated[
        Profile, typer.Option(help="Small and fast, or the real figures.")
    ] = "quick",
    data: Annotated[DataMode, typer.Option(help="auto: real where present.")] = "auto",
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="Folder for notebooks, models and results.")] = Path(
        "out"
    ),
    jobs: Annotated[int, typer.Option(min=1, help="Labs at a time.")] = 1,
    student: Annotated[bool, typer.Option(help="Execute notebooks/, not solutions/.")] = False,
    resume: Annotated[bool, typer.Option(help="Keep labs that are finished.")] = False,
) -> None:
    """Execute labs and end in a table: lab, accuracy, bytes, time."""
    from labkit.authoring import run as runner

    def progress(outcome: runner.LabRun) -> None:
        mark = "[green]done[/]" if outcome.ok else "[red]FAILED[/]"
        console.print(f"{outcome.lab}: {mark} in {outcome.seconds:.0f} s", highlight=False)
        if outcome.error:
            errors.print(f"  {outcome.error}", markup=False, highlight=False)

    outcomes = runner.run(
        labs, out, profile.value, data.value, seed, jobs, student, resume, report=progress
    )
    table = Table(title=f"profile {profile.value}, data {data.value}, seed {seed}")
    for heading, justify in (("lab", "left"), ("accuracy", "right"), ("bytes", "right"),
                             ("time (s)", "right"), ("", "left")):  # fmt: skip
        table.add_column(heading, justify=justify)
    for o in outcomes:
        accuracy = "" if o.accuracy is None else f"{o.accuracy:.1%}"
        size = "" if o.bytes is None else f"{o.bytes:,}"
        table.add_row(o.lab, accuracy, size, f"{o.seconds:.0f}", "" if o.ok else "FAILED")
    console.print(table)
    console.print(
        f"executed notebooks {out / 'notebooks'}, model files {out}", highlight=False,
        soft_wrap=True,
    )  # fmt: skip
    if not all(o.ok for o in outcomes):
        raise typer.Exit(1)


@app.command()
def build(
    labs: Labs = None,
    check: Annotated[bool, typer.Option(help="Write nothing; fail on anything stale.")] = False,
    execute: Annotated[
        bool, typer.Option(help="Execute the solutions (full profile) and store their outputs.")
    ] = False,
    data: Annotated[DataMode, typer.Option(help="With --execute.")] = "auto",
) -> None:
    """Write the student notebooks from the solutions."""
    from labkit.authoring import build as builder

    lines = builder.build(labs, check=check)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if check and lines:
        raise typer.Exit(1)
    if execute:
        for path in builder.execute(labs, data=data.value):
            console.print(f"solutions/{path.name}", highlight=False)


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="Folder of an earlier run.")] = Path("out"),
    csv: Annotated[bool, typer.Option(help="The tidy ledger as CSV.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Write the size-accuracy front to a PNG.")
    ] = None,
) -> None:
    """Print the ledger of all labs: accuracy, bytes, bits, latency; and plot their front."""
    from labkit import measure

    table = measure.Ledger(out).table()
    if table.empty:
        errors.print(f"labkit: there is no ledger in {out}; `labkit run` makes one.", style="red")
        raise typer.Exit(2)
    if csv:
        sys.stdout.write(table.to_csv(index=False, lineterminator="\n"))
        return
    summary = measure.summary(table)
    same = [c for c in ("data", "profile", "model") if summary[c].nunique() == 1]
    title = ", ".join(f"{column} {summary[column].iloc[0]}" for column in same)
    shown = summary.drop(columns=same)
    printed = Table(title=title, box=None, pad_edge=False)
    formats = {"accuracy (%)": ".2f", "± (%)": ".2f", "latency (ms)": ".3f"}
    for column in shown.columns:
        text = isinstance(shown[column].iloc[0], str)
        printed.add_column(column, justify="left" if text else "right", no_wrap=text)
    for row in shown.itertuples(index=False):
        cells = zip(shown.columns, row, strict=True)
        printed.add_row(*(_cell(value, formats.get(column, ",.0f")) for column, value in cells))
    console.print(printed)
    if plot:
        from labkit import files, plots

        with files.replacing(plot) as temporary:
            plots.front(summary, measure.front(summary)).savefig(temporary, dpi=120)
        console.print(f"front: {plot}", highlight=False)


def _cell(value, form: str) -> str:
    if isinstance(value, str):
        return value
    return "" if value != value else format(value, form)  # NaN is not equal to itself
