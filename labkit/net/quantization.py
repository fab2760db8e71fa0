"""Progressive quantisation of a network over a tree of images, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from labkit import files, plots
from labkit.compress import progressive
from labkit.compress.progressive import Progress, Schedule
from labkit.models import weights
from labkit.net.formats import Quantization
from labkit.net.task import Task, claim
from labkit.net.train import HISTORY, WEIGHTS

PLAN, PICTURE = "plan.json", "history.png"


def quantize(
    task: Task,
    quantisation: Quantization,
    schedule: Schedule,
    out: Path,
    report: Callable[[dict], None],
    augment: bool = True,
) -> Progress:
    """Quantise by a schedule, and write weights, plan and history to a folder.

    Args:
        task: with weights; without training ("static") validation images are enough.
        quantisation: formats of every convolution.
        schedule: strategy, order, epochs of a phase.
        out: the folder, for one run; a run that was killed goes on with the phase in which it was,
            and ends with the same weights as one that was not.
        report: called after each phase with its row of the history.
        augment: mirror and shift training images at random.

    Raises:
        NetError: the folder holds another run, or the mode is the thesis's.
        DataError: an image cannot be read; names the file.
    """
    plan = quantisation.engines_plan()
    settings = {"plan": plan.as_dict(), "augment": augment, **asdict(schedule)}
    claim(out, {"command": "quantize", **task.facts(), **settings})
    source = task.source(augment)
    quantizer = progressive.Quantizer(task.model, source)
    progress = quantizer.run(plan, schedule, out, report)
    weights.save(progress.model, out / WEIGHTS)
    task.describe(out / WEIGHTS)
    files.write_text(out / PLAN, json.dumps(plan.as_dict(), indent=2) + "\n")
    files.write_text(out / HISTORY, progress.history.to_csv(index=False))
    with files.replacing(out / PICTURE) as temporary:
        names = {schedule.strategy: progress.history}
        figure = plots.phases(names, progress.history["phase"], quantizer.accuracy())
        figure.savefig(temporary, dpi=120)
    return progress
