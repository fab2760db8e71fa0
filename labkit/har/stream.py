"""`labkit har stream`: samples in, a smoothed label per hop out."""

from __future__ import annotations

import contextlib
import csv
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labkit.har import HarError
from labkit.har.export import fits
from labkit.har.pipeline import SAMPLE, Pipeline, Stream
from labkit.measure import TFLiteModel, read_graph

COLUMNS = ("t", *SAMPLE)
#: Seconds without a sample after which the filters begin anew: the window would span the gap.
GAP = 0.5
_PORT_LINE = 400  # bytes; a port that sends no line ends is not read for ever


@dataclass(frozen=True)
class Prediction:
    """What a window gives.

    Attributes:
        time: of the window's last sample, seconds.
        label: after smoothing.
        confidence: share of the votes, or the smoothed probability.
        window_label: of this window alone.
        probabilities: float32 (classes,), of this window alone.
        milliseconds: from the window's last sample to its label, on this computer.
    """

    time: float
    label: str
    confidence: float
    window_label: str
    probabilities: np.ndarray
    milliseconds: float


class Majority:
    """The label that most of the last k windows have; of a tie, the newest of them."""

    def __init__(self, k: int):
        self._votes: deque[int] = deque(maxlen=k)

    def push(self, probabilities: np.ndarray) -> tuple[int, float]:
        """Take a window's probabilities (classes,); gives the label and its share of the votes."""
        self._votes.append(int(probabilities.argmax()))
        newest_first = list(reversed(self._votes))
        label = max(dict.fromkeys(newest_first), key=newest_first.count)
        return label, newest_first.count(label) / len(newest_first)


class Exponential:
    """The largest of the probabilities after exponential smoothing, weight 2 / (k + 1)."""

    def __init__(self, k: int):
        self._weight = np.float32(2 / (k + 1))
        self._smooth: np.ndarray | None = None

    def push(self, probabilities: np.ndarray) -> tuple[int, float]:
        """Take a window's probabilities (classes,); gives the label and its probability."""
        before = probabilities if self._smooth is None else self._smooth
        self._smooth = before + self._weight * (probabilities - before)
        label = int(self._smooth.argmax())
        return label, float(self._smooth[label])


SMOOTHERS = {"majority": Majority, "exponential": Exponential}


@dataclass
class Recogniser:
    """A model with its pipeline and a smoother: samples in, predictions out.

    Args:
        model: path of a `.tflite` file that takes the pipeline's windows.
        pipeline: what a sample goes through.
        smoothing: "majority" or "exponential".
        over: windows k that it smooths over; 1 is none.

    Raises:
        HarError: they do not fit.
        ModelFileError: not a model.
    """

    model: str | Path
    pipeline: Pipeline
    smoothing: str = "majority"
    over: int = 3

    def __post_init__(self):
        """Load the model."""
        graph = read_graph(self.model)
        shape = graph.tensors[graph.inputs[0]].shape
        fits(shape, self.pipeline, len(graph.inputs), str(self.model))
        classes = graph.tensors[graph.outputs[0]].shape[-1]
        if classes != len(self.pipeline.labels):
            raise HarError(
                f"{self.model} tells {classes} classes apart, the pipeline names "
                f"{len(self.pipeline.labels)} labels."
            )
        if self.smoothing not in SMOOTHERS or self.over < 1:
            raise HarError(
                f"smoothing {self.smoothing!r} over {self.over} windows; expected one of "
                f"{', '.join(SMOOTHERS)}, over at least 1."
            )
        self._shape = shape
        self._model = TFLiteModel(self.model, threads=1)
        self.reset()

    def reset(self) -> None:
        """Forget all samples and labels."""
        self._stream = Stream(self.pipeline)
        self._smoother = SMOOTHERS[self.smoothing](self.over)

    def push(self, t: float, sample: Iterable[float]) -> Prediction | None:
        """Take a sample: its time in seconds and six values in the order of `SAMPLE`.

        Returns:
            a prediction if a window ends with it, else None.
        """
        start = time.perf_counter()
        window = self._stream.push(np.asarray(sample, np.float32))
        if window is None:
            return None
        probabilities = self.probabilities(window[None])[0]
        label, confidence = self._smoother.push(probabilities)
        names = self.pipeline.labels
        return Prediction(
            t,
            names[label],
            confidence,
            names[int(probabilities.argmax())],
            probabilities,
            1000 * (time.perf_counter() - start),
        )

    def probabilities(self, windows: np.ndarray) -> np.ndarray:
        """The model's outputs (N, classes) for windows (N, window, channels)."""
        return self._model.predict(windows.reshape(len(windows), *self._shape[1:]))


@dataclass
class Session:
    """Lines of text through a recogniser.

    A line holds t in seconds and six values, apart by commas, semicolons, tabs or blanks; a first
    line of names may give another order. A bad line is reported by number and skipped: the filters
    go on as if it had not been sent. After a gap in time they begin anew.

    Args:
        recogniser: what the samples go to.
        note: told, in a line each, what is wrong with the samples.
        strict: the first bad line is an error instead.
    """

    recogniser: Recogniser
    note: Callable[[str], None]
    strict: bool = False
    samples: int = 0
    bad: int = 0
    milliseconds: list[float] = field(default_factory=list)
    _order: list[int] = field(default_factory=lambda: list(range(len(COLUMNS))))
    _last: float = math.nan
    _intervals: list[float] = field(default_factory=list)

    def predictions(self, lines: Iterable[str], cut: bool = False) -> Iterator[Prediction]:
        """A prediction for each window of the lines.

        Args:
            lines: with or without their ends.
            cut: the first one may have lost its beginning, and is not reported then.

        Raises:
            HarError: a bad line, if strict; or no good one at all.
        """
        for number, line in enumerate(lines, 1):
            words = _words(line)
            if not words or (number == 1 and self._is_header(words)):
                continue
            try:
                t, *sample = self._values(words)
            except HarError as error:
                if number == 1 and cut:
                    continue
                if self.strict:
                    raise HarError(f"line {number}: {error}") from error
                self.bad += 1
                self.note(f"line {number} is skipped: {error}")
                continue
            self._watch(t, number)
            self.samples += 1
            found = self.recogniser.push(t, sample)
            if found is not None:
                self.milliseconds.append(found.milliseconds)
                yield found
        if not self.samples:
            raise HarError(f"there is no sample; a line of one is {','.join(COLUMNS)}.")

    def summary(self) -> str:
        """What went through, in a sentence."""
        text = f"{self.samples:,} samples, {len(self.milliseconds):,} windows"
        if self.bad:
            text += f", {self.bad:,} bad lines"
        if not self.milliseconds:
            return f"{text}; a window takes {self.recogniser.pipeline.window} samples."
        median, largest = statistics.median(self.milliseconds), max(self.milliseconds)
        return f"{text}; latency median {median:.2f} ms, largest {largest:.2f} ms."

    def _is_header(self, words: list[str]) -> bool:
        """Whether these are names; the order of the columns is theirs then."""
        names = [word.strip("\"' ").lower() for word in words]
        if not any(name.isidentifier() and name not in ("nan", "inf") for name in names):
            return False
        if missing := [name for name in COLUMNS if name not in names]:
            raise HarError(
                f"the first line names the columns {', '.join(names)}; {missing[0]} is missing, "
                f"expected {', '.join(COLUMNS)}."
            )
        self._order = [names.index(name) for name in COLUMNS]
        return True

    def _values(self, words: list[str]) -> list[float]:
        if len(words) <= max(self._order):
            raise HarError(f"{len(words)} values, expected {max(self._order) + 1}")
        try:
            values = [float(words[place]) for place in self._order]
        except ValueError:
            bad = next(word for word in words if not _is_number(word))
            raise HarError(f"{bad[:20]!r} is not a number") from None
        if not all(map(math.isfinite, values)):
            raise HarError("a value is not finite")
        return values

    def _watch(self, t: float, number: int) -> None:
        """Begin anew after a gap; say once if samples come at another rate."""
        interval = t - self._last
        self._last = t
        rate = self.recogniser.pipeline.rate
        if not (math.isnan(interval) or 0 <= interval <= GAP):
            self.note(f"line {number}: {interval:+.3g} s from the sample before; begun anew")
            self.recogniser.reset()
            return
        if len(self._intervals) < self.recogniser.pipeline.window and interval > 0:
            self._intervals.append(interval)
            if len(self._intervals) == self.recogniser.pipeline.window:
                found = 1 / statistics.median(self._intervals)
                if abs(found / rate - 1) > 0.1:
                    self.note(f"samples come at {found:.3g} Hz, the pipeline expects {rate:g} Hz")


def _words(line: str) -> list[str]:
    line = line.strip().lstrip("\ufeff")
    separator = next((c for c in ",;\t" if c in line), None)
    if separator is None:
        return line.split()
    return [word.strip() for word in next(csv.reader([line], delimiter=separator))]


def _is_number(word: str) -> bool:
    with contextlib.suppress(ValueError):
        float(word)
        return True
    return False


def file_lines(path: str | Path) -> Iterator[str]:
    """The lines of a text file; bytes that are no text are shown, so that the line is bad."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        yield from file


@contextlib.contextmanager
def port_lines(port: str, baud: int = 115200) -> Iterator[Iterator[str]]:
    """The lines that a serial port sends, until it is gone.

    Args:
        port: its name, or an address that pyserial knows: "socket://HOST:PORT".
        baud: bits a second.

    Raises:
        HarError: pyserial is not installed, or the port cannot be opened.
    """
    try:
        import serial
    except ImportError:
        raise HarError("--port needs the package pyserial: pip install 'labkit[device]'.") from None
    try:
        opened = serial.serial_for_url(port, baudrate=baud, timeout=0.2)
    except (serial.SerialException, ValueError, OSError) as error:
        raise HarError(f"{port}: cannot open the serial port ({error}).") from error

    def lines() -> Iterator[str]:
        rest = b""
        while True:
            try:
                rest += opened.read(max(1, opened.in_waiting))
            except (serial.SerialException, OSError):  # unplugged
                return
            *whole, rest = rest.split(b"\n")
            if len(rest) > _PORT_LINE:
                whole, rest = [*whole, rest], b""
            yield from (line.decode("utf-8", "replace") for line in whole)

    with opened:
        yield lines()
