"""How many validation images a network reads right: in floating point, quantised, on the engine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from labkit import files, hwce, runtime, training
from labkit.hwce.network_result import NetworkResult
from labkit.net import NetError
from labkit.net.formats import Quantization
from labkit.net.task import Task


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        images: how many were read.
        top1, top5: share of images whose class is the most probable, or among the five most
            probable ones; top5 is None below six classes, where it says little.
        numbers: "float", or the widths and the rounding, and the engine.
    """

    images: int
    top1: float
    top5: float | None
    numbers: str

    def __str__(self) -> str:
        """One line."""
        top5 = "" if self.top5 is None else f", top-5 {self.top5:.1%}"
        return f"{self.numbers}: top-1 {self.top1:.1%}{top5} of {self.images:,} images"


def evaluate(task: Task, quantisation: Quantization | None = None) -> Evaluation:
    """Read all validation images of a task.

    Args:
        task: with weights.
        quantisation: None for floating point.
    """
    model = task.model if quantisation is None else quantisation.network(task.model)
    predict = training.predictor(model)
    steps = -(-len(task.tree.members["val"]) // task.batch)
    batches = tqdm(
        task.source().validation(), "val", steps, leave=False, disable=not runtime.interactive()
    )
    ranks = [training.ranks(predict(images), classes) for images, classes in batches]
    numbers = "float" if quantisation is None else _numbers(quantisation)
    return _summary(np.concatenate(ranks), len(task.class_names), numbers)


def on_engine(
    task: Task, quantisation: Quantization, engine: str
) -> tuple[Evaluation, NetworkResult]:
    """Read all validation images of a task bit by bit as an engine does; they must fit in memory.

    Args:
        task: with weights.
        quantisation: formats.
        engine: name of a preset of `labkit.hwce`.

    Raises:
        NetError: there is no such engine, or it cannot run the network.
    """
    try:
        plan = quantisation.engines_plan().with_config(hwce.preset(engine))
        images, classes = task.tree.load("val", task.preprocessing)
        report = hwce.run(task.model, images, plan)
    except ValueError as error:
        raise NetError(str(error)) from error
    ranks = training.ranks(report.outputs, classes)
    numbers = f"{_numbers(quantisation)} on {engine}"
    return _summary(ranks, len(task.class_names), numbers), report


def _summary(ranks: np.ndarray, classes: int, numbers: str) -> Evaluation:
    top5 = float((ranks < 5).mean()) if classes > 5 else None
    return Evaluation(len(ranks), float((ranks < 1).mean()), top5, numbers)


def _numbers(quantisation: Quantization) -> str:
    formats = next(iter(quantisation.plan.layers.values()))
    widths = (formats.kernel.bits, formats.input.bits, formats.output.bits)
    return f"{':'.join(map(str, widths))} {quantisation.mode}"


def write_csv(path: Path, evaluation: Evaluation, report: NetworkResult | None) -> Path:
    """The engine's table, a row per layer; without an engine one row of figures."""
    if report is not None:
        return report.to_csv(path)
    return files.write_text(path, pd.DataFrame([asdict(evaluation)]).to_csv(index=False))


def write_json(path: Path, evaluation: Evaluation, report: NetworkResult | None) -> Path:
    """The figures, and under "engine" what the engine's report holds."""
    content = {"evaluation": asdict(evaluation)}
    if report is not None:
        content["engine"] = report.as_dict()
    return files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
