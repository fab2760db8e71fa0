"""`labkit har export`: a model and its pipeline as C, compiled and compared with Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labkit import files
from labkit.har import HarError, c_code
from labkit.har.c_code import End
from labkit.har.pipeline import SAMPLE, Pipeline
from labkit.measure import MicroReport, micro
from labkit.measure.graph import read_bytes, read_graph

#: What bits that are the same as Python's need: no fused, no reordered operations.
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra")
_COMPILERS = ("cc", "gcc", "clang")

# Reads recordings, writes their windows; then the model's bytes.
_DRIVER = """\
#include <stdio.h>
#include "har_model.h"
#include "har_preprocess.h"
int main(void) {
  static har_state state;
  static float samples[LENGTH][HAR_SAMPLE];
  while (fread(samples, sizeof samples, 1, stdin) == 1) {
    int i;
    har_reset(&state);
    for (i = 0; i < LENGTH; ++i)
      if (har_push(&state, samples[i])) fwrite(state.window, sizeof state.window, 1, stdout);
  }
  fwrite(har_model, HAR_MODEL_BYTES, 1, stdout);
  return 0;
}
"""
_WINDOWS = 10  # of each recording


@dataclass(frozen=True)
class Exported:
    """What was written, and what TensorFlow Lite Micro makes of the model."""

    paths: tuple[Path, ...]
    report: MicroReport


@dataclass(frozen=True)
class Check:
    """What compiled C gives against Python.

    Attributes:
        windows: that were compared, ten to a recording.
        values: of all of them.
        float_bits: values before quantisation whose 32 bits differ.
        codes: codes of the network's input that differ.
        compiler: that was found.
    """

    windows: int
    values: int
    float_bits: int
    codes: int
    compiler: str

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return self.float_bits == self.codes == 0

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"{self.compiler}, {self.windows:,} windows: of {self.values:,} values "
            f"{self.float_bits:,} differ as floats, {self.codes:,} as codes."
        )


def export(model: str | Path, out: str | Path, pipeline: Pipeline) -> Exported:
    """Write har_model.h, har_preprocess.h and har_preprocess.c.

    Args:
        model: a `.tflite` file that takes one window.
        out: folder.
        pipeline: what its windows went through.

    Raises:
        HarError: the model does not take the pipeline's windows, or does not run on a device.
        ModelFileError: not a model.
    """
    texts, report = _texts(model, pipeline)
    return Exported(
        tuple(files.write_text(Path(out) / name, text) for name, text in texts.items()), report
    )


def check(model: str | Path, pipeline: Pipeline, windows: int = 1000) -> Check:
    """Compile what `export` writes, and compare it with Python on made-up recordings.

    Args:
        model, pipeline: as for `export`.
        windows: at least so many.

    Raises:
        HarError: there is no compiler, or it does not compile them.
    """
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), *_COMPILERS))), None)
    if compiler is None:
        raise HarError("there is no C compiler (cc, gcc or clang, or CC) to check with.")
    length = pipeline.window + (_WINDOWS - 1) * pipeline.hop
    samples = recordings(-(-windows // _WINDOWS), length, pipeline.rate, seed=0)
    rows = pipeline.filtered(samples)
    starts = range(0, _WINDOWS * pipeline.hop, pipeline.hop)
    expected = np.stack([rows[:, i : i + pipeline.window] for i in starts], axis=1)
    texts, _ = _texts(model, pipeline)
    graph = read_graph(model)
    end = End.of(graph.tensors[graph.inputs[0]])
    differ = {}
    for kind in {end, replace(end, type="float32")}:
        sources = texts | c_code.preprocessing(pipeline, kind)
        printed = _run(compiler, sources, length, samples.tobytes())
        wanted = kind.codes(expected)
        if printed[wanted.nbytes :] != read_bytes(model):
            raise HarError("the C code gives another number of windows, or another model.")
        found = np.frombuffer(printed, wanted.dtype, wanted.size).reshape(wanted.shape)
        bits = f"u{wanted.itemsize}"  # -0.0 is not 0.0
        differ[kind.type] = int((found.view(bits) != wanted.view(bits)).sum())
    count = expected.shape[0] * expected.shape[1]
    name = Path(compiler).name
    return Check(count, expected.size, differ["float32"], differ[end.type], name)


def recordings(count: int, length: int, rate: float, seed: int) -> np.ndarray:
    """Made-up recordings, float32 (count, length, 6): gravity, gait, knocks, noise, extremes."""
    random = np.random.default_rng(seed)
    time = np.arange(length)[:, None] / rate
    shape = (count, 1, len(SAMPLE))
    pitch = random.uniform(0.3, 4, (count, 1, 1))
    phase = random.uniform(0, 2 * np.pi, shape)
    gait = sum(
        random.exponential(0.4, shape) / n * np.sin(2 * np.pi * n * pitch * time + n * phase)
        for n in (1, 2, 3)
    )
    gravity = random.normal(size=shape)
    gravity[..., 3:] = 0
    gravity /= np.linalg.norm(gravity, axis=-1, keepdims=True)
    knocks = random.normal(0, 3, gait.shape) * (random.random(gait.shape) < 0.01)
    size = 10.0 ** random.integers(-3, 3, (count, 1, 1))
    noise = random.normal(0, 0.02, gait.shape)
    return (gravity + size * (gait + knocks) + noise).astype(np.float32)


def _texts(model: str | Path, pipeline: Pipeline) -> tuple[dict[str, str], MicroReport]:
    """All files by name, and the report on the model."""
    graph, content = read_graph(model), read_bytes(model)
    fits(graph.tensors[graph.inputs[0]].shape, pipeline, len(graph.inputs), str(model))
    report = micro.run(content)
    if report.runs is False:
        raise HarError(f"{model}: {report.reason}")
    end = End.of(graph.tensors[graph.inputs[0]])
    title = f"{Path(model).name}, {len(content):,} bytes"
    header = c_code.model_header(content, graph, report, title)
    return {"har_model.h": header} | c_code.preprocessing(pipeline, end), report


def fits(shape: tuple[int, ...], pipeline: Pipeline, inputs: int, model: str) -> None:
    """Refuse a model that does not take the pipeline's windows."""
    expected = (1, pipeline.window, pipeline.channels)
    squeezed = tuple(d for d in shape if d != 1)
    if inputs != 1 or squeezed != tuple(d for d in expected if d != 1):
        raise HarError(
            f"{model} takes {inputs} input(s) of the shape {shape}, the pipeline gives windows of "
            f"{expected}."
        )


def _run(compiler: str, sources: dict[str, str], length: int, given: bytes) -> bytes:
    """Compile sources with the driver, run the program and return what it prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (sources | {"driver.c": _DRIVER}).items():
            (folder / file).write_text(text, encoding="utf-8")
        program = folder / "driver"
        command = [
            compiler,
            *FLAGS,
            f"-DLENGTH={length}",
            "driver.c",
            "har_preprocess.c",
            "-o",
            str(program),
            "-lm",
        ]
        compiled = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if compiled.returncode:
            first = (compiled.stderr.strip().splitlines() or ["no message"])[0]
            raise HarError(f"{Path(compiler).name} does not compile the C code: {first}")
        return subprocess.run(
            [str(program)], input=given, capture_output=True, timeout=60, check=True
        ).stdout
