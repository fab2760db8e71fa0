"""The commands of `labkit net`: they parse, call and print."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from labkit.console import say, show
from labkit.net import NetError
from labkit.net.options import Formats, Given, choice, spread

if TYPE_CHECKING:
    from labkit.hwce.network_result import NetworkResult

app = typer.Typer(
    help="Train, evaluate, quantise, examine and export a network over any folder of images.",
    no_args_is_help=True,
)

Strategy = choice("Strategy", "static", "lock", "train", "gradual")
Order = choice("Order", "forward", "backward", "random")
Stage = choice("Stage", "after", "before", "sums")
Kind = choice("Kind", "float", "float16", "dynamic_range", "int8", "int16x8")

Seed = Annotated[int, typer.Option(min=0, help="Of every random number.")]
Augment = Annotated[
    bool,
    typer.Option("--augment/--no-augment", help="Mirror and shift training images at random."),
]
Rate = Annotated[float, typer.Option(min=0, help="At its peak.")]
Some = Annotated[
    int | None, typer.Option(min=1, help="So many validation images, evenly spread; else all.")
]

# What a terminal has room for, and by what it is divided; --csv and --json have all.
_SHOWN = {
    "MACs": ("MACs (M)", 1e6),
    "cycles": ("cycles (k)", 1e3),
    "energy, lowest (µJ)": ("µJ from", 1),
    "energy, highest (µJ)": ("to", 1),
    "weights (bytes)": ("weights (B)", 1),
    "saturations": ("saturations", 1),
    "clips": ("clips", 1),
}


@app.command()
@spread
def train(
    given: Given,
    out: Annotated[Path, typer.Option(help="Folder of this run; a killed one goes on there.")],
    epochs: Annotated[float, typer.Option(help="Passes over the training images.")] = 10,
    learning_rate: Rate = 0.04,
    weight_decay: Annotated[float, typer.Option(min=0, help="L2 penalty on kernels.")] = 0.0,
    batch_norm: Annotated[
        bool | None,
        typer.Option(
            "--batch-norm/--no-batch-norm",
            help="Normalise in training, fold afterwards; by default squeezenet from scratch.",
        ),
    ] = None,
    new_head: Annotated[
        bool,
        typer.Option("--new-head", help="Begin the last layer anew, for classes of your own."),
    ] = False,
    freeze: Annotated[
        list[str] | None, typer.Option(help="A level that keeps its weights; repeat for more.")
    ] = None,
    augment: Augment = True,
    seed: Seed = 0,
) -> None:
    """Train a network, from scratch or from --weights.

    Writes weights.npz, weights.json (what they belong to) and history.csv to --out. The checkpoint
    there, one after each epoch, takes up a run that was killed: give the same command again.
    """
    from labkit.net import task as tasks
    from labkit.net import train as trainer

    if epochs <= 0:
        raise NetError(f"--epochs is {epochs:g}, expected more than 0.")
    task = tasks.open_task(given, trained=False, new_head=new_head)
    frozen = tuple(freeze or ())
    options = trainer.Options(
        epochs, learning_rate, weight_decay, seed, augment, batch_norm, frozen, new_head
    )
    _say_task(task)
    history = trainer.train(task, options, out, _say_epoch)
    say(f"validation accuracy {history['validation'].iloc[-1]:.1%}; {out / trainer.WEIGHTS}")


def _say_epoch(row: dict) -> None:
    say(
        f"epoch {row['epoch']}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.1%}, "
        f"validation {row['validation']:.1%}"
    )


@app.command()
@spread
def evaluate(
    given: Given,
    formats: Formats,
    images: Some = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Bit-true on gap8, fulmine, vega, neuraghe or ideal; see --images."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the engine's table, or else the figures.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures.")] = None,
) -> None:
    """Measure top-1 and top-5: in floating point, quantised (--resolution), or on an --engine."""
    from labkit.net import evaluation
    from labkit.net import formats as quantisations
    from labkit.net import task as tasks

    task = tasks.open_task(given, ("val",))
    quantisation = quantisations.chosen(formats, task)
    if engine is not None and quantisation is None:
        raise NetError("--engine computes with codes: give --resolution or --plan as well.")
    task = task.only("val", images)
    _say_task(task)
    report = None
    if engine is None:
        found = evaluation.evaluate(task, quantisation)
    else:
        with warnings.catch_warnings(record=True) as noted:
            found, report = evaluation.on_engine(task, quantisation, engine)
        _print_engine(report)
        for note in dict.fromkeys(str(warning.message) for warning in noted):
            say(f"note: {note}")
    say(str(found))
    for path, write in ((csv, evaluation.write_csv), (json, evaluation.write_json)):
        if path is not None:
            say(str(write(path, found, report)))


@app.command()
@spread
def quantize(
    given: Given,
    formats: Formats,
    out: Annotated[Path, typer.Option(help="Folder of this run; a killed one goes on there.")],
    strategy: Annotated[
        Strategy,
        typer.Option(
            help="static: no training. lock: a level is quantised and kept, the others trained. "
            "train: all are trained throughout. gradual: all levels at once, bit by bit."
        ),
    ] = "train",
    order: Annotated[Order, typer.Option(help="Of the levels.")] = "forward",
    epochs: Annotated[float, typer.Option(help="Of each phase; 0.5 is half a pass.")] = 1,
    learning_rate: Rate = 0.0005,
    relax: Annotated[
        bool, typer.Option("--relax", help="One more phase, with everything trained.")
    ] = False,
    augment: Augment = True,
    seed: Seed = 0,
) -> None:
    """Quantise a network level by level or bit by bit, training it in between.

    Writes weights.npz, plan.json (the formats of every layer), history.csv and history.png to
    --out. A run that was killed goes on with its phase: give the same command again.
    """
    from labkit.compress.progressive import Schedule
    from labkit.net import formats as quantisations
    from labkit.net import quantization
    from labkit.net import task as tasks

    schedule = Schedule(strategy.value, order.value, epochs, learning_rate, relax, seed)
    trains = strategy.value != "static" or relax
    task = tasks.open_task(given, ("train", "val") if trains else ("val",))
    quantisation = quantisations.chosen(formats, task)
    if quantisation is None:
        raise NetError("give --resolution k:i:o, bits of kernels, inputs and outputs, or --plan.")
    _say_task(task)
    progress = quantization.quantize(task, quantisation, schedule, out, _say_phase, augment)
    say(
        f"validation accuracy {progress.history['after'].iloc[-1]:.1%}; in {out}: weights.npz, "
        "plan.json, history.csv, history.png"
    )


def _say_phase(row: dict) -> None:
    say(f"{row['phase']}: {row['before']:.1%} before, {row['after']:.1%} after its training")


@app.command()
@spread
def extract(
    given: Given,
    formats: Formats,
    out: Annotated[Path, typer.Option(help="A file: .h5, .hdf5 or .npz.")],
    images: Annotated[int, typer.Option(min=1, help="Validation images, evenly spread.")] = 16,
    layer: Annotated[
        list[str] | None, typer.Option(help="A layer to take; repeat for more. By default all.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="All layers up to this level: fire4.")] = None,
    stage: Annotated[
        Stage,
        typer.Option(help="After the activation, before it, or the sums before the bias as well."),
    ] = "after",
    kernels: Annotated[
        bool, typer.Option("--kernels/--no-kernels", help="Kernels and biases, too.")
    ] = True,
) -> None:
    """Dump what every layer gives for some images to HDF5 or NumPy, also quantised."""
    from labkit.net import extraction
    from labkit.net import task as tasks

    task = tasks.open_task(given, ("val",))
    model, note = _network(task, formats)
    shapes = extraction.extract(
        task.only("val", min(images, len(task.tree.members["val"]))),
        model,
        out,
        layers=layer or (),
        level=level,
        stage=stage.value,
        kernels=kernels,
        note={"network": task.network.name, "stage": stage.value, **note},
    )
    for name, shape in shapes.items():
        if name.startswith("outputs/"):
            say(f"{name}  {'x'.join(map(str, shape))}")
    say(f"{out}: {len(shapes)} arrays")


@app.command()
@spread
def export(
    given: Given,
    formats: Formats,
    out: Annotated[
        Path,
        typer.Option(
            help="Its suffix is the format: .tflite, .h5 (Keras), .onnx, .mlpackage (Core ML), "
            ".npz (weights)."
        ),
    ],
    kind: Annotated[
        Kind, typer.Option(help="Of a .tflite; .mlpackage has float and float16, the others float.")
    ] = "float",
    images: Annotated[
        int, typer.Option(min=1, help="Validation images that the file is checked on.")
    ] = 32,
) -> None:
    """Write a network for another tool, checked against this one on real images, or not at all.

    A Core ML package is checked by its structure: only macOS runs it.
    """
    from labkit.net import export as exporting
    from labkit.net import task as tasks

    task = tasks.open_task(given, ("val",))
    model, _ = _network(task, formats)
    exported = exporting.export(task, model, out, kind.value, images)
    say(exported.check)
    say(f"{exported.path}: {exported.bytes:,} bytes")


def _network(task, formats: Formats) -> tuple:
    """The network of a task, quantised if the options say so, and a note of how."""
    from labkit.net import formats as quantisations

    quantisation = quantisations.chosen(formats, task)
    if quantisation is None:
        return task.model, {}
    note = {"mode": quantisation.mode, "plan": quantisation.plan.as_dict()}
    return quantisation.network(task.model), note


def _say_task(task) -> None:
    size, order = task.preprocessing.size, task.preprocessing.channel_order
    counts = ", ".join(f"{len(members):,} {part}" for part, members in task.tree.members.items())
    say(f"{task.network.name} {size}x{size} {order}, {len(task.class_names):,} classes; {counts}")


def _print_engine(report: NetworkResult) -> None:
    """The engine's table, as far as a terminal has room."""
    from labkit.hwce import BASIS

    computed = report.table[report.table["MACs"].notna()]
    rows = []
    for row in (*computed.to_dict("records"), {"layer": "all", "unit": "", **report.totals}):
        cells = (row.get(column, 0) / unit for column, (_, unit) in _SHOWN.items())
        # What the cores compute has no energy figures: NaN, which is not equal to itself.
        texts = (f"{v:,.0f}" if v == v else "" for v in cells)
        rows.append([escape(row["layer"]), row["unit"], *texts])
    headings = ("layer", "unit", *(title for title, _ in _SHOWN.values()))
    show(headings, rows, names=("layer", "unit"), title=f"one image; {BASIS}")
