"""From the options of `labkit net` to the formats of every layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from labkit.compress import fixed_point, progressive
from labkit.hwce.plan import Plan
from labkit.net import NetError
from labkit.net.options import Formats
from labkit.net.task import Task, read_json

LEAST_ERROR = "least-error"


@dataclass(frozen=True)
class Quantization:
    """Formats, and how numbers are brought into them.

    Attributes:
        plan: of every convolution and dense layer.
        mode: "nearest", "floor", or "thesis", which no plan has: its codes fit into no register.
    """

    plan: Plan
    mode: str

    def network(self, model: tf.keras.Model) -> tf.keras.Model:
        """A copy of a network, all its convolutions quantised."""
        return progressive.quantized(model, self.plan, mode=self.mode)

    def engines_plan(self) -> Plan:
        """The plan, for what works with the engine's codes.

        Raises:
            NetError: in the thesis's mode.
        """
        if self.mode == "thesis":
            raise NetError(
                "--mode thesis is for evaluate, extract and export, not for the engine or for "
                "quantize: its 2^n + 1 levels do not fit into n bits. Take nearest or floor."
            )
        return self.plan


def chosen(formats: Formats, task: Task) -> Quantization | None:
    """What the options say; None where they ask for no quantisation.

    The ranges are measured on training images, or on validation images where there are no others.

    Raises:
        NetError: options that exclude one another, or a percentile or plan that is none.
        ProgressiveError: a resolution that is not k:i:o.
    """
    if formats.resolution is None and formats.plan is None:
        return None
    if formats.resolution is not None and formats.plan is not None:
        raise NetError("give --resolution or --plan, not both: a plan has resolutions.")
    mode = None if formats.mode is None else formats.mode.value
    if formats.plan is not None:
        plan = read_plan(formats.plan)
        if mode == "floor" or mode == "nearest":
            plan = dataclasses.replace(plan, mode=mode)
        return Quantization(plan, mode or plan.mode)
    resolution = progressive.Resolution.parse(formats.resolution)
    percentile = _percentile(formats.percentile)
    part = "train" if "train" in task.tree.members else "val"
    images, _ = task.sample(formats.calibration, part)
    plan = fixed_point.measured_ranges(task.model, images).plan(
        dataclasses.astuple(resolution),
        percentile,
        mode="floor" if mode == "floor" else "nearest",
    )
    return Quantization(plan, mode or plan.mode)


def read_plan(path: Path) -> Plan:
    """The plan of a `plan.json`.

    Raises:
        NetError: it is none.
    """
    content = read_json(path)
    try:
        return Plan.from_dict(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NetError(f"{path} is no plan as quantize writes it: {error!r}.") from error


def _percentile(text: str) -> float | None:
    if text == LEAST_ERROR:
        return None
    try:
        percentile = float(text)
    except ValueError:
        percentile = 0.0
    if not 0 < percentile <= 100:
        raise NetError(
            f"--percentile is {text!r}, expected a number above 0 and up to 100, or {LEAST_ERROR}."
        )
    return percentile
