"""The commands of `labkit har`: they parse, call and print."""

from __future__ import annotations

import contextlib
import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from labkit.console import errors, say
from labkit.har import HarError

app = typer.Typer(
    help="Put a network of human activities on a device, or on a stream of samples.",
    no_args_is_help=True,
)

Model = Annotated[Path, typer.Argument(help="A .tflite file that takes one window.")]
PipelineFile = Annotated[
    Path | None,
    typer.Option(
        "--pipeline",
        help="What samples go through before the network; by default MODEL.json beside it.",
        show_default=False,
    ),
]
Smoothing = Enum("Smoothing", {name: name for name in ("majority", "exponential")}, type=str)


@app.command()
def export(
    model: Model,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the C files.", show_default=False)
    ] = None,
    pipeline: PipelineFile = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compile the C code and compare it with Python, bit for bit."),
    ] = False,
    windows: Annotated[int, typer.Option(min=1, help="To compare on.")] = 1000,
) -> None:
    """Write a model and its preprocessing as C: har_model.h, har_preprocess.h, har_preprocess.c."""
    from labkit.har import export as exporting
    from labkit.har import pipeline as pipelines

    if out is None and not check:
        raise HarError("give a folder, --out DIR, or --check, or both.")
    chosen = pipelines.beside(model, pipeline)
    if out is not None:
        written = exporting.export(model, out, chosen)
        for path in written.paths:
            say(str(path))
        say(f"{model}: {written.report}")
    if check:
        found = exporting.check(model, chosen, windows)
        say(str(found))
        if not found.ok:
            raise typer.Exit(1)


@app.command()
def stream(
    model: Model,
    csv: Annotated[
        Path | None, typer.Option(help="Samples from a file.", show_default=False)
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Samples from standard input.")] = False,
    port: Annotated[
        str | None, typer.Option(help="Samples from a serial port.", show_default=False)
    ] = None,
    baud: Annotated[int, typer.Option(min=1, help="Of the port.")] = 115200,
    pipeline: PipelineFile = None,
    smoothing: Annotated[
        Smoothing, typer.Option(help="Votes of windows, or a mean that forgets.")
    ] = "majority",
    over: Annotated[int, typer.Option(min=1, help="Windows that are smoothed over.")] = 3,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
) -> None:
    """Label samples as they come: t, ax, ay, az, gx, gy, gz in s, g and rad/s, a line each.

    Prints a line per hop: time, label, confidence, the window's own label, latency in ms. Bad lines
    are reported by number on standard error and skipped. Ends with its input, or by Ctrl-C.
    """
    from labkit.har import pipeline as pipelines
    from labkit.har import stream as streaming

    if (csv is not None) + stdin + (port is not None) != 1:
        raise HarError("give one of --csv FILE, --stdin and --port PORT.")
    chosen = pipelines.beside(model, pipeline)
    recogniser = streaming.Recogniser(model, chosen, smoothing.value, over)
    session = streaming.Session(recogniser, _note, strict)
    with contextlib.ExitStack() as stack:
        if csv is not None:
            lines = streaming.file_lines(csv)
        elif stdin:
            lines = iter(sys.stdin.readline, "")
        else:
            lines = stack.enter_context(streaming.port_lines(port, baud))
        try:
            print("t,label,confidence,window_label,latency_ms", flush=True)
            for p in session.predictions(lines, cut=port is not None):
                print(
                    f"{p.time:.3f},{p.label},{p.confidence:.3f},{p.window_label},"
                    f"{p.milliseconds:.2f}",
                    flush=True,
                )
        except KeyboardInterrupt:
            pass  # how a stream is ended
        except BrokenPipeError:  # whoever read the labels has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _note(session.summary())


def _note(line: str) -> None:
    errors.print(f"labkit: {line}", markup=False, highlight=False, soft_wrap=True)
