"""What happens to a sample before the network: one definition, run by NumPy, written as C and JS.

A pipeline is a list of steps on one sample of all channels. Each step knows its arithmetic in
float32, operation by operation, and the C statements for the same operations in the same order:
so that both give the same bits where the compiler neither fuses nor reorders them. Steps are causal
and keep a state: a stream gives what the whole recording gives.

These statements are also read as JavaScript, by `js_code`, which computes in float64: each has one
float operation at most, so that it can be rounded there, a line, and no name that is a word of
JavaScript's.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from labkit import files
from labkit.har import HarError

#: Of a sample, in this order: acceleration in g, turn rate in rad/s.
SAMPLE = ("ax", "ay", "az", "gx", "gy", "gz")
ACTIVITIES = (
    *("walking", "walking upstairs", "walking downstairs"),
    *("sitting", "standing", "laying"),
)


class _Plain:
    """What most steps have in common: as many channels behind as before, and nothing remembered."""

    def outputs(self, channels: int) -> int:
        """Number of channels after this step."""
        return channels

    def size(self, channels: int) -> int:
        """Number of floats that the step remembers."""
        return 0

    def start(self, x: np.ndarray, rate: float) -> np.ndarray:
        """What is remembered before the first sample: nothing."""
        return np.empty(0, np.float32)


@dataclass(frozen=True)
class Median(_Plain):
    """Median of the last three samples of each channel: takes single outliers away."""

    name: ClassVar[str] = "median"

    def size(self, channels: int) -> int:
        """Number of floats that the step remembers."""
        return 2 * channels

    def start(self, x: np.ndarray, rate: float) -> np.ndarray:
        """What is remembered before the first sample x (..., C): that it was always so."""
        return np.stack([x, x])

    def step(self, state: np.ndarray, x: np.ndarray, rate: float) -> np.ndarray:
        """The step's output for a sample x, float32 (..., C); the state is changed."""
        before, last = state
        y = np.maximum(np.minimum(before, last), np.minimum(np.maximum(before, last), x))
        state[0], state[1] = last, x
        return y

    def c(self, channels: int, rate: float) -> str:
        """C statements that make y of x, with the state s, and whether it is the first sample."""
        return f"""\
for (i = 0; i < {channels}; ++i) {{
  float before = first ? x[i] : s[2 * i];
  float last = first ? x[i] : s[2 * i + 1];
  y[i] = larger(smaller(before, last), smaller(larger(before, last), x[i]));
  s[2 * i] = last;
  s[2 * i + 1] = x[i];
}}
"""


@dataclass(frozen=True)
class LowPass(_Plain):
    """A causal Butterworth low-pass filter of every channel, in sections of second order.

    Attributes:
        order: of the filter.
        cutoff: Hz, where the power is halved.
    """

    order: int
    cutoff: float
    name: ClassVar[str] = "low_pass"

    def __post_init__(self):
        """Refuse what is no filter."""
        if self.order < 1 or not self.cutoff > 0:
            raise HarError(f"low_pass has order {self.order} and cutoff {self.cutoff} Hz.")

    def size(self, channels: int) -> int:
        """Number of floats that the step remembers."""
        return 2 * math.ceil(self.order / 2) * channels

    @functools.cache  # noqa: B019 - a filter is a value: few are ever made
    def sections(self, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients b0, b1, b2, a1, a2 of each section, and its state for a constant 1."""
        from scipy import signal

        if self.cutoff >= rate / 2:
            raise HarError(
                f"low_pass has a cutoff of {self.cutoff:g} Hz, {rate:g} samples a second hold "
                f"frequencies below {rate / 2:g} Hz only."
            )
        sos = signal.butter(self.order, self.cutoff, fs=rate, output="sos")
        rest = signal.sosfilt_zi(sos)
        return np.delete(sos, 3, axis=1).astype(np.float32), rest.astype(np.float32)

    def start(self, x: np.ndarray, rate: float) -> np.ndarray:
        """What is remembered before the first sample x (..., C): that it was always so."""
        rest = self.sections(rate)[1]
        return rest.reshape(*rest.shape, *(1,) * x.ndim) * x

    def step(self, state: np.ndarray, x: np.ndarray, rate: float) -> np.ndarray:
        """The step's output for a sample x, float32 (..., C); the state is changed."""
        for (b0, b1, b2, a1, a2), z in zip(self.sections(rate)[0], state, strict=True):
            y = b0 * x + z[0]
            z[0] = (b1 * x - a1 * y) + z[1]
            z[1] = b2 * x - a2 * y
            x = y
        return x

    def c(self, channels: int, rate: float) -> str:
        """C statements that make y of x, with the state s, and whether it is the first sample."""
        sections, rest = self.sections(rate)
        count = len(sections)
        return f"""\
static const float k[{count}][7] = {{
{_rows([[*a, *b] for a, b in zip(sections, rest, strict=True)])}}};
for (i = 0; i < {channels}; ++i) {{
  float u = x[i];
  for (j = 0; j < {count}; ++j) {{
    float *z = s + 2 * ({count} * i + j);
    float out, a, b;
    if (first) {{
      z[0] = k[j][5] * x[i];
      z[1] = k[j][6] * x[i];
    }}
    a = k[j][0] * u;
    out = a + z[0];
    a = k[j][1] * u;
    b = k[j][3] * out;
    a = a - b;
    z[0] = a + z[1];
    a = k[j][2] * u;
    b = k[j][4] * out;
    z[1] = a - b;
    u = out;
  }}
  y[i] = u;
}}
"""


@dataclass(frozen=True)
class Gravity(_Plain):
    """Takes gravity out of the first three channels, and puts their total behind the others.

    Gravity is what a low-pass filter leaves of them: of (a, g) come (a - gravity, g, a).
    """

    order: int = 3
    cutoff: float = 0.3
    name: ClassVar[str] = "gravity"

    @property
    def filter(self) -> LowPass:
        """What leaves gravity."""
        return LowPass(self.order, self.cutoff)

    def outputs(self, channels: int) -> int:
        """Number of channels after this step."""
        return channels + 3

    def size(self, channels: int) -> int:
        """Number of floats that the step remembers."""
        return self.filter.size(3)

    def start(self, x: np.ndarray, rate: float) -> np.ndarray:
        """What is remembered before the first sample x (..., C): that it was always so."""
        return self.filter.start(x[..., :3], rate)

    def step(self, state: np.ndarray, x: np.ndarray, rate: float) -> np.ndarray:
        """The step's output for a sample x, float32 (..., C); the state is changed."""
        total = x[..., :3]
        body = total - self.filter.step(state, total, rate)
        return np.concatenate([body, x[..., 3:], total], axis=-1)

    def c(self, channels: int, rate: float) -> str:
        """C statements that make y of x, with the state s, and whether it is the first sample."""
        return f"""\
{self.filter.c(3, rate)}\
for (i = 0; i < 3; ++i) {{
  y[i] = x[i] - y[i];
  y[{channels} + i] = x[i];
}}
for (i = 3; i < {channels}; ++i) y[i] = x[i];
"""


@dataclass(frozen=True)
class Standardise(_Plain):
    """(x - mean) / deviation of each channel, as the network was trained on it."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    name: ClassVar[str] = "standardise"

    def __post_init__(self):
        """Round to float32, with which both NumPy and C compute."""
        for name in ("mean", "deviation"):
            values = tuple(float(np.float32(v)) for v in getattr(self, name))
            object.__setattr__(self, name, values)
        if len(self.mean) != len(self.deviation) or min(self.deviation, default=0) <= 0:
            raise HarError("standardise needs a mean and a positive deviation for each channel.")

    def outputs(self, channels: int) -> int:
        """Number of channels after this step."""
        if channels != len(self.mean):
            raise HarError(f"standardise has {len(self.mean)} means for {channels} channels.")
        return channels

    def step(self, state: np.ndarray, x: np.ndarray, rate: float) -> np.ndarray:
        """The step's output for a sample x, float32 (..., C)."""
        return (x - np.float32(self.mean)) / np.float32(self.deviation)

    def c(self, channels: int, rate: float) -> str:
        """C statements that make y of x."""
        return f"""\
static const float k[{channels}][2] = {{
{_rows(zip(self.mean, self.deviation, strict=True))}}};
for (i = 0; i < {channels}; ++i) {{
  y[i] = x[i] - k[i][0];
  y[i] = y[i] / k[i][1];
}}
"""


@dataclass(frozen=True)
class Clip(_Plain):
    """Cuts off what is beyond a limit, as the training windows were."""

    limit: float
    name: ClassVar[str] = "clip"

    def __post_init__(self):
        """Round to float32, and refuse what would leave nothing."""
        object.__setattr__(self, "limit", float(np.float32(self.limit)))
        if not self.limit > 0:
            raise HarError(f"clip has the limit {self.limit:g}, expected a positive one.")

    def step(self, state: np.ndarray, x: np.ndarray, rate: float) -> np.ndarray:
        """The step's output for a sample x, float32 (..., C)."""
        return np.clip(x, -np.float32(self.limit), np.float32(self.limit))

    def c(self, channels: int, rate: float) -> str:
        """C statements that make y of x."""
        limit = literal(self.limit)
        return f"""\
for (i = 0; i < {channels}; ++i) y[i] = larger(-{limit}, smaller(x[i], {limit}));
"""


Step = Median | LowPass | Gravity | Standardise | Clip
_STEPS = {step.name: step for step in (Median, LowPass, Gravity, Standardise, Clip)}


def _rows(rows) -> str:
    return "".join(f"  {{{', '.join(literal(v) for v in row)}}},\n" for row in rows)


def literal(value: float) -> str:
    """A float32 as C writes it; nine digits say which one it is."""
    text = f"{np.float32(value):.9g}"
    return f"{text if set(text) & set('.e') else text + '.0'}f"


@dataclass(frozen=True)
class Pipeline:
    """From samples to the windows that a network takes.

    Attributes:
        steps: on each sample, in this order.
        rate: samples a second.
        window: samples of a window.
        hop: samples from one window to the next.
        labels: names of the network's classes.
    """

    steps: tuple[Step, ...]
    rate: float = 50.0
    window: int = 128
    hop: int = 64
    labels: tuple[str, ...] = field(default=ACTIVITIES)

    def __post_init__(self):
        """Refuse windows and steps that do not fit."""
        if not (self.rate > 0 and self.window >= 1 and 1 <= self.hop <= self.window):
            raise HarError(
                f"a pipeline of {self.rate:g} samples a second, windows of {self.window} and a hop "
                f"of {self.hop}; expected positive ones, and no hop longer than the window."
            )
        _ = self.channels  # a step that does not fit the one before says so

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first step and after each."""
        widths = [len(SAMPLE)]
        for step in self.steps:
            widths.append(step.outputs(widths[-1]))
        return tuple(widths)

    @property
    def channels(self) -> int:
        """Channels of a window."""
        return self.widths[-1]

    def filtered(self, samples: np.ndarray) -> np.ndarray:
        """Every sample after all steps.

        Args:
            samples: (..., T, 6) recordings in the order of `SAMPLE`; independent ones are computed
                at once.

        Returns:
            float32 (..., T, channels).

        Raises:
            HarError: another number of channels, or a value that is not finite.
        """
        samples = np.asarray(samples, np.float32)
        if samples.ndim < 2 or samples.shape[-1] != len(SAMPLE):
            raise HarError(f"samples have the shape {samples.shape}, expected (..., T, 6).")
        if not np.isfinite(samples).all():
            raise HarError("samples hold NaN or infinity.")
        stream = Stream(self)
        rows = [stream.filter(samples[..., t, :]) for t in range(samples.shape[-2])]
        shape = (*samples.shape[:-1], self.channels)
        return np.stack(rows, axis=-2) if rows else np.empty(shape, np.float32)

    def windows(self, samples: np.ndarray) -> np.ndarray:
        """All whole windows of a recording.

        Args:
            samples: (T, 6), in the order of `SAMPLE`.

        Returns:
            float32 (N, window, channels).
        """
        rows = self.filtered(samples)
        starts = range(0, len(rows) - self.window + 1, self.hop)
        empty = np.empty((0, self.window, self.channels), np.float32)
        return np.stack([rows[i : i + self.window] for i in starts]) if starts else empty

    def as_dict(self) -> dict:
        """The definition in plain values, for JSON."""
        steps = [{step.name: dataclasses.asdict(step)} for step in self.steps]
        return {**dataclasses.asdict(self), "steps": steps}

    @classmethod
    def from_dict(cls, values: Mapping) -> Pipeline:
        """The pipeline of what `as_dict` gives.

        Raises:
            HarError: it is none.
        """
        try:
            values = dict(values)
            steps = []
            for entry in values.pop("steps"):
                ((name, options),) = entry.items()
                if name not in _STEPS:
                    raise HarError(f"there is no step {name!r}; there are {', '.join(_STEPS)}.")
                options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
                steps.append(_STEPS[name](**options))
            values["labels"] = tuple(map(str, values.get("labels", ACTIVITIES)))
            return cls(tuple(steps), **values)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, HarError):
                raise
            raise HarError(f"not a pipeline: {type(error).__name__}, {error}.") from error

    def write(self, path: str | Path) -> Path:
        """Write the definition as JSON; `labkit har` looks for NAME.json beside NAME.tflite."""
        return files.write_text(path, json.dumps(self.as_dict(), indent=2) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Pipeline:
        """The pipeline of a file.

        Raises:
            HarError: there is no such file, or it holds no pipeline.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise HarError(f"{path}: cannot read the pipeline ({error.strerror}).") from error
        except ValueError as error:
            raise HarError(f"{path}: {error}") from error


class Stream:
    """A pipeline's state between samples: `push` gives a window as soon as there is one."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._states: list[np.ndarray] | None = None
        self._rows: list[np.ndarray] = []

    def filter(self, x: np.ndarray) -> np.ndarray:
        """One sample through all steps: float32 (..., 6) to (..., channels)."""
        rate = self.pipeline.rate
        if self._states is None:
            self._states, y = [], x
            for step in self.pipeline.steps:
                self._states.append(step.start(y, rate))
                y = step.step(self._states[-1], y, rate)
            return y
        for state, step in zip(self._states, self.pipeline.steps, strict=True):
            x = step.step(state, x, rate)
        return x

    def push(self, sample: Sequence[float]) -> np.ndarray | None:
        """Take a sample (6,).

        Returns:
            float32 (window, channels) if a window ends with it, else None.
        """
        self._rows.append(self.filter(np.asarray(sample, np.float32)))
        if len(self._rows) < self.pipeline.window:
            return None
        window = np.stack(self._rows)
        del self._rows[: self.pipeline.hop]
        return window


def uci_har(
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    limit: float | None = None,
) -> Pipeline:
    """The preprocessing of UCI HAR, on a device.

    A median of three, a Butterworth low-pass of third order at 20 Hz, gravity by another one at
    0.3 Hz; nine channels: body acceleration, turn rate, total acceleration. Causal, where the
    published recordings were filtered as a whole.

    Args:
        mean, deviation: of the nine channels of the training windows, if the network was trained on
            standardised ones.
        limit: beyond which these were cut off.

    Source: D. Anguita et al., ESANN 2013, section 2.
    """
    steps: list[Step] = [Median(), LowPass(3, 20.0), Gravity(3, 0.3)]
    if mean is not None:
        steps.append(Standardise(tuple(mean), tuple(deviation)))
    if limit is not None:
        steps.append(Clip(limit))
    return Pipeline(tuple(steps))


def beside(model: str | Path, given: str | Path | None = None) -> Pipeline:
    """The pipeline that is given, or the one that lies beside a model: NAME.json.

    Raises:
        HarError: there is none.
    """
    path = Path(given) if given else Path(model).with_suffix(".json")
    if given is None and not path.exists():
        raise HarError(
            f"there is no {path}: --pipeline names the file that says what samples go through "
            "before the network; labkit.har.pipeline.uci_har(mean, deviation).write(FILE) makes it."
        )
    return Pipeline.read(path)
