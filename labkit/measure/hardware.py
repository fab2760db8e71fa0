"""What hardware gives for shared and pruned weights: look-up tables, and an NPU's decoder.

In a `.tflite` file 16 shared values take eight bits each as any others do. TensorFlow Lite Micro's
operator DECODE unpacks weights just before they are used, and Arm's compiler Vela codes the weights
for the decoder of an Ethos-U: there the file does get smaller.

Sources: the package `tflite-micro`, module compression; `ethos-u-vela` (both Apache-2.0).
"""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from labkit.measure import micro
from labkit.measure.graph import ModelFileError, Tensor, read_bytes, read_graph
from labkit.measure.micro import MicroReport
from labkit.measure.size import Size, size

_KIBIBYTE = 1024
_SECONDS = 300  # that Vela may take
_MOST_BITS = 7  # of an index
_HEADER = 16  # bytes before a tensor's tables
_OPERATOR = 300  # about what a DECODE takes in the file, with the tensors around it


@dataclass(frozen=True)
class LookUp:
    """A file whose shared weights are indices into look-up tables.

    Attributes:
        content: of the new `.tflite` file, which TensorFlow Lite Micro runs and LiteRT does not.
        before, after: bytes of the file, and after gzip.
        tensors: a row per tensor with tables: its name, "bits" of an index, "tables" (their
            number), "before (bytes)", "after (bytes)".
        reports: what TensorFlow Lite Micro makes of the file before and after.
        samples: inputs on which both gave the same outputs to the last bit.
    """

    content: bytes = field(repr=False)
    before: Size
    after: Size
    tensors: pd.DataFrame
    reports: tuple[MicroReport, MicroReport]
    samples: int

    def __str__(self) -> str:
        """One sentence."""
        arenas = " → ".join(f"{report.arena_bytes or 0:,}" for report in self.reports)
        return (
            f"{self.before.bytes:,} → {self.after.bytes:,} bytes, arena {arenas} bytes, the same "
            f"outputs for {self.samples:,} inputs."
        )


def look_up_tables(source: str | Path | bytes, x: np.ndarray | None = None) -> LookUp:
    """Store shared weights as look-up tables: b bits per index in place of eight bits per weight.

    An int8 tensor gets a table for each of its scales: one per channel, or one. Where tables do not
    pay for the operator that reads them, it stays as it is: in networks of a few thousand weights
    that is nearly everywhere.

    Args:
        source: path of the file, or its bytes.
        x: float (N, *input shape), inputs on which the outputs are compared; noise without.

    Raises:
        ModelFileError: not a model that runs; no tensor that gets smaller; other outputs than
            before; or without `tflite-micro`.
    """
    content = read_bytes(source)
    graph = read_graph(content)
    if not micro.available():
        raise ModelFileError(micro.MISSING)
    first = {}  # number of the first tensor of each subgraph
    rows, plan = [], []
    for tensor in graph.tensors:
        first.setdefault(tensor.subgraph, tensor.index)
        if not tensor.is_constant or tensor.type != "int8" or tensor.is_sparse:
            continue
        after, bits, axis, tables = _tables(tensor)
        if after + _OPERATOR < tensor.count:
            plan.append((tensor.subgraph, tensor.index - first[tensor.subgraph], bits, axis))
            rows.append((tensor.name, bits, tables, tensor.count, after))
    if not plan:
        raise ModelFileError("no int8 tensor of the file gets smaller by a look-up table.")
    task = {"model": np.frombuffer(content, np.uint8), "tables": json.dumps(plan)}
    (answer,) = micro.answers([task], seconds=60)
    if "model" not in answer.arrays:
        raise ModelFileError(f"no look-up tables: {answer.notes.get('error') or answer.end}.")
    packed = answer.arrays["model"].tobytes()
    if x is None:
        shapes = [(8, *graph.tensors[index].shape[1:]) for index in graph.inputs]
        random = np.random.default_rng(0)
        x = [random.normal(size=shape) for shape in shapes]
        x = x if len(x) > 1 else x[0]
    before, after = micro.run_all([content, packed], x, compare=False)
    for report in (before, after):
        if not report.runs:
            raise ModelFileError(report.reason)
    if not np.array_equal(before.outputs, after.outputs):
        raise ModelFileError(
            "TensorFlow Lite Micro computes other outputs with the look-up tables than without: "
            "a fault of its version."
        )
    columns = ["tensor", "bits", "tables", "before (bytes)", "after (bytes)"]
    return LookUp(
        content=packed,
        before=size(content),
        after=size(packed),
        tensors=pd.DataFrame(rows, columns=columns).set_index("tensor"),
        reports=(before, after),
        samples=len(before.outputs),
    )


def _tables(tensor: Tensor) -> tuple[float, int, int, int]:
    """(bytes, bits of an index, axis or -1, number of tables) of a tensor as look-up tables.

    Tables run along the scales: the interpreter takes one table of a tensor with scales per channel
    for its first channel's.
    """
    codes = tensor.codes
    axis = tensor.axis if tensor.is_per_channel else -1
    parts = [codes] if axis < 0 else list(np.moveaxis(codes, axis, 0))
    longest = max(len(np.unique(part)) for part in parts)
    bits = max(1, math.ceil(math.log2(longest)))
    if bits > _MOST_BITS or axis not in (-1, 0, codes.ndim - 1):
        return math.inf, bits, axis, len(parts)
    stored = _HEADER + math.ceil(codes.size * bits / 8) + len(parts) * longest
    return stored, bits, axis, len(parts)


@dataclass(frozen=True)
class VelaReport:
    """What Arm's compiler Vela makes of a file.

    Attributes:
        flash_bytes: coded weights, scales and commands, in flash.
        sram_bytes: activations and what the NPU works in.
        file_bytes: of the compiled file.
        cycles: of one inference, by Vela's model of the NPU and its memories.
        milliseconds: the same as time.
        on_cpu: operators that the NPU does not have; the CPU computes them.
        operators: of the file, as Vela counts them.
        accelerator: for which it was compiled.
    """

    flash_bytes: int
    sram_bytes: int
    file_bytes: int
    cycles: int
    milliseconds: float
    on_cpu: int
    operators: int
    accelerator: str

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"{self.accelerator}: {self.flash_bytes:,} bytes of flash, {self.sram_bytes:,} of "
            f"SRAM, {self.operators - self.on_cpu} of {self.operators} operators on the NPU."
        )


def vela(source: str | Path | bytes, accelerator: str = "ethos-u55-128") -> VelaReport:
    """Compile a file for an Arm Ethos-U and say what it takes there.

    Only quantised operators run on the NPU: of a float file nothing is compiled, and flash is zero.

    Args:
        source: path of the file, or its bytes.
        accelerator: "ethos-u55-32" to "-256", "ethos-u65-256", "-512", "ethos-u85-128" to "-2048".

    Raises:
        ModelFileError: not a model, one that Vela cannot compile, or without `ethos-u-vela`.
    """
    content = read_bytes(source)
    read_graph(content)
    if importlib.util.find_spec("ethosu") is None:
        raise ModelFileError(
            "Vela is not installed: pip install 'labkit[device]' (on Linux it has wheels for "
            "x86-64 only)."
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.tflite"
        model.write_bytes(content)
        options = ["--accelerator-config", accelerator, "--output-dir", str(folder)]
        command = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
        try:
            ran = subprocess.run(
                [*command, "-m", "ethosu.vela", *options, str(model)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
                cwd=folder,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelFileError(f"Vela took longer than {_SECONDS} s.") from error
        summaries = list(folder.glob("model_summary_*.csv"))
        if ran.returncode or not summaries:
            lines = (ran.stdout + ran.stderr).strip().splitlines() or ["it says nothing"]
            raise ModelFileError(f"Vela does not compile the file: {lines[-1].strip()}")
        with summaries[0].open(newline="") as file:
            row = next(csv.DictReader(file))
        counts = {
            unit: int(re.search(rf"{unit} operators = (\d+)", ran.stdout)[1])
            for unit in ("CPU", "NPU")
        }

        def kibibytes(*names: str) -> int:
            return round(_KIBIBYTE * sum(float(row[f"{name}_memory_used"]) for name in names))

        return VelaReport(
            flash_bytes=kibibytes("on_chip_flash", "off_chip_flash"),
            sram_bytes=kibibytes("sram"),
            file_bytes=(folder / "model_vela.tflite").stat().st_size,
            cycles=int(float(row["cycles_total"])),
            milliseconds=1000 * float(row["inference_time"]),
            on_cpu=counts["CPU"],
            operators=sum(counts.values()),
            accelerator=accelerator,
        )
