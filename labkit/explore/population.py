"""Thousands of small networks trained at once, each with its own bits, quantisers, neurons, seed.

The thesis trained 225 combinations of bits ten times each over 1,000 epochs, one `model.fit` after
the other: nearly all of the time goes by between the operations of such a small network. Here the
whole training of a multilayer perceptron is one compiled loop, and members are trained in parallel.
Convolutional networks are trained in groups by TensorFlow, through the same function.

Each member keeps the weights after the epoch with the best validation, as in the thesis.
"""

from __future__ import annotations

import itertools
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from labkit import runtime
from labkit.checkpoint import Checkpoint
from labkit.explore import loops
from labkit.explore.members import KINDS, Cnn, ExploreError, Member, Mlp, Quantizer, Settings
from labkit.measure import Metric

#: The most members of a block, which a thread trains by itself and a checkpoint is of.
BLOCK = 32
_BLOCKS = 16  # the least, where there are as many members
_SLICE = 1.0  # s: about how long a thread works before it looks up
_KEEP = 20.0  # s: how much work of a block may be lost by a kill
_AT_ONCE = 64  # members whose outputs are in memory at a time

Samples = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Population:
    """Trained members.

    Attributes:
        members: in the order in which they were given.
        record: a row per member: "best epoch" (from 1), "validation" (mean squared error after it;
            on the training samples where there is no validation), "last loss", "last validation".
        history: float32 (P, epochs, 2), loss and validation of each epoch; (P, 0, 2) without.
        weights: of each member the best ones, as Keras orders them: kernel and bias of each layer.
        ranges: of each member, float32 (2, R), lowest and highest value of: inputs; then of each
            layer its kernel (a pair for each unit, the first one alone is used per tensor) and its
            activation.
    """

    members: tuple[Member, ...]
    record: pd.DataFrame
    history: np.ndarray = field(repr=False)
    weights: list[list[np.ndarray]] = field(repr=False)
    ranges: list[np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        """Members."""
        return len(self.members)

    def predict(self, x: np.ndarray, which: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """Outputs, float32 (members, N, outputs), as quantised networks give them.

        Args:
            x: float (N, *input shape).
            which: numbers of the members; all without.
        """
        numbers = np.arange(len(self))[which]
        return np.concatenate(list(self._outputs(np.asarray(x, np.float32), numbers)))

    def score(self, metric: Metric, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A metric of every member on these samples, float64 (P,).

        Args:
            metric: for example `measure.AVERAGE_DISTANCE_ERROR`.
            x, y: float (N, *input shape) and (N, outputs).
        """
        parts = self._outputs(np.asarray(x, np.float32), np.arange(len(self)))
        return np.array([metric.compute(y, found) for part in parts for found in part])

    def table(self) -> pd.DataFrame:
        """A row per member: what it is and what came of it.

        Returns:
            columns "network", "neurons" (of hidden layers), "weight bits", "activation bits" (32
            for floating point), "seed", "learning rate", "parameters", and those of `record`.
        """
        return pd.concat([described(self.members), self._sizes(), self.record], axis=1)

    def _sizes(self) -> pd.Series:
        sizes = [sum(array.size for array in weights) for weights in self.weights]
        return pd.Series(sizes, name="parameters")

    def _outputs(self, x: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Outputs of these members, some at a time."""
        if len(numbers) and not isinstance(self.members[numbers[0]].network, Mlp):
            from labkit.explore import groups

            yield from groups.outputs(self, x, numbers)
            return
        for start in range(0, len(numbers), _AT_ONCE):
            chosen = numbers[start : start + _AT_ONCE]
            block = _Block(
                [self.members[i] for i in chosen], x.shape[1], self.weights[chosen[0]][-1].size
            )
            parameters = np.concatenate([np.ravel(a) for i in chosen for a in self.weights[i]])
            ranges = np.concatenate([self.ranges[i] for i in chosen], axis=1)
            found = np.empty((len(chosen), len(x), block.outputs), np.float32)
            loops.predict(block.arrays, x, parameters, ranges, found)
            yield found


def described(members: Sequence[Member]) -> pd.DataFrame:
    """A row per member: what it is; columns as `Population.table` has them."""
    return pd.DataFrame(
        {
            "network": type(m.network).__name__.lower(),
            "neurons": " ".join(map(str, m.network.hidden)),
            "weight bits": _bits(m, "weights"),
            "activation bits": _bits(m, "activations"),
            "seed": m.seed,
            "learning rate": m.learning_rate,
        }
        for m in members
    )


def train(
    members: Sequence[Member],
    training: Samples,
    validation: Samples | None = None,
    settings: Settings | None = None,
    *,
    threads: int | None = None,
    history: bool = False,
    checkpoint: str | Path | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Population:
    """Train members, all by the same settings.

    What a member ends with depends on itself, the samples and the settings alone: not on the other
    members, on threads, or on whether the training was interrupted.

    Args:
        members: MLPs of any sizes and schemes; or CNNs of one architecture.
        training: float x (N, *input shape) and y (N, outputs).
        validation: the same; without, the best epoch is that with the least training loss.
        settings: of the training.
        threads: that train; one a processor without. CNNs leave that to TensorFlow.
        history: keep loss and validation of every epoch.
        checkpoint: a folder for what is finished, and for what blocks under way have reached; the
            same call takes it up.
        on_progress: called now and then with the part that is done, 0 to 1.

    Raises:
        ExploreError: samples that do not fit, no members, or networks of several kinds.
        CheckpointError: the folder is of another training, or damaged.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(64, 4))
        >>> found = train([Member(), Member(scheme=Scheme.of_thesis(4, 8))], (x, x[:, :2]),
        ...               settings=Settings(epochs=20))
    """
    members, settings = tuple(members), settings or Settings()
    training, validation = _samples(training, validation)
    kinds = {type(member.network) for member in members}
    if len(kinds) != 1:
        raise ExploreError(
            f"members are of {len(kinds)} kinds of networks, expected one: train each by itself."
        )
    if kinds != {Mlp}:
        from labkit.explore import groups

        return groups.train(
            members, training, validation, settings, history, checkpoint, on_progress
        )
    shapes_of(members[0].network, training[0].shape[1:], training[1].shape[1])
    facts = facts_of(training, validation, settings, history)
    runs = []
    size = min(max(len(members) // _BLOCKS, 1), BLOCK)
    for number, start in enumerate(range(0, len(members), size)):
        part = members[start : start + size]
        path = None if checkpoint is None else Path(checkpoint) / f"block-{number:05d}.npz"
        kept = Checkpoint(path, facts | {"members": [asdict(member) for member in part]})
        runs.append(_Run(part, training, validation, settings, history, kept))
    with Progress(len(members) * settings.epochs, on_progress) as progress:
        _run_all(runs, threads or runtime.processors(), progress)
    return Population(
        members,
        recorded(np.concatenate([run.record for run in runs])),
        np.concatenate([run.history for run in runs]),
        [weights for run in runs for weights in run.weights()],
        [ranges for run in runs for ranges in run.member_ranges()],
    )


class Progress:
    """A bar over the epochs of all members, which threads move.

    Args:
        total: epochs of all members.
        on_progress: called with the part that is done, 0 to 1.
    """

    def __init__(self, total: int, on_progress: Callable[[float], None] | None):
        quiet = not runtime.interactive()
        self._bar = tqdm(total=total, unit=" epochs", unit_scale=True, leave=False, disable=quiet)
        self._total, self._done, self._tell = total, 0, on_progress
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
        """Show the bar."""
        return self

    def __exit__(self, *_) -> None:
        """Take the bar away."""
        self._bar.close()

    def __call__(self, epochs: int) -> None:
        """So many epochs of members are done."""
        with self._lock:
            self._done += epochs
            self._bar.update(epochs)
            if self._tell:
                self._tell(self._done / self._total)


def facts_of(training: Samples, validation: Samples, settings: Settings, history: bool) -> dict:
    """All that decides how members end, beside themselves, as JSON takes it."""
    checksum = 0
    for array in (*training, *validation):
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
    counts = [len(training[0]), len(validation[0])]
    return {"samples": counts, "checksum": checksum, "history": history, **asdict(settings)}


def recorded(record: np.ndarray) -> pd.DataFrame:
    """What the loops record, float64 (P, 4), as `Population.record` has it."""
    table = pd.DataFrame(
        record, columns=["best epoch", "validation", "last loss", "last validation"]
    )
    return table.astype({"best epoch": int})


class _Block:
    """Members as the compiled loops take them.

    Attributes:
        arrays: as `loops.train` has `members`.
        outputs: of each.
    """

    def __init__(self, members: Sequence[Member], inputs: int, outputs: int):
        self.outputs = outputs
        self.shapes = [shapes_of(member.network, (inputs,), outputs) for member in members]
        layers = np.full((len(members), 1 + max(map(len, self.shapes))), -1, np.int64)
        for row, shapes in zip(layers, self.shapes, strict=True):
            row[: len(shapes) + 1] = [inputs, *(units for _, units in shapes)]
        parameters = [sum((k + 1) * u for k, u in shapes) for shapes in self.shapes]
        ranges = [1 + sum(u + 1 for _, u in shapes) for shapes in self.shapes]
        self.arrays = (
            np.array([member.seed for member in members], np.uint64),
            layers,
            np.array([numbered(member) for member in members], np.int64),
            np.cumsum([0, *parameters]),
            np.cumsum([0, *ranges]),
        )

    def split(self, parameters: np.ndarray) -> list[list[np.ndarray]]:
        """Parameters (S,) as kernels and biases of each member."""
        found = []
        for start, shapes in zip(self.arrays[3], self.shapes, strict=False):
            arrays, at = [], start
            for k, u in shapes:
                arrays += [parameters[at : at + k * u].reshape(k, u)]
                arrays += [parameters[at + k * u : at + (k + 1) * u]]
                at += (k + 1) * u
            found.append(arrays)
        return found


class _Run:
    """The training of a block: begun when a thread comes to it, given up to a kill and taken up."""

    def __init__(self, members, training, validation, settings, history, kept: Checkpoint):
        self._members, self._training, self._validation = members, training, validation
        self._settings, self._kept = settings, kept
        self.block = _Block(members, training[0].shape[1], training[1].shape[1])
        count = settings.epochs if history else 0
        self.history = np.zeros((len(members), count, 2), np.float32)

    def run(self, stop: threading.Event, progress: Progress) -> None:
        """Train to the end, or to the end of a slice after `stop` is set."""
        epochs, count = self._settings.epochs, len(self._members)
        state, epoch = self._begun()
        progress(epoch * count)
        rates = np.array([member.learning_rate for member in self._members], np.float32)
        settings = (self._settings.batch, rates, np.float32(self._settings.weight_decay))
        some, saved = 1, time.monotonic()
        while epoch < epochs and not stop.is_set():
            last, started = min(epoch + some, epochs), time.monotonic()
            loops.train(
                *(self.block.arrays, self._training, self._validation, state),
                *(
                    (self.best, self.best_ranges),
                    self.record,
                    self.history,
                    (epoch, last),
                    settings,
                ),
            )
            progress((last - epoch) * count)
            spent = time.monotonic() - started
            some = max(1, min(4 * some, int((last - epoch) * _SLICE / max(spent, 1e-6))))
            epoch = last
            if epoch == epochs or stop.is_set() or time.monotonic() - saved > _KEEP:
                self._keep(state, epoch)
                saved = time.monotonic()

    def weights(self) -> list[list[np.ndarray]]:
        """The best weights of each member."""
        return self.block.split(self.best)

    def member_ranges(self) -> list[np.ndarray]:
        """The ranges that go with them."""
        return np.split(self.best_ranges, self.block.arrays[4][1:-1], axis=1)

    def _begun(self) -> tuple[tuple[np.ndarray, ...], int]:
        """State and epoch to go on with: at the beginning, or as they were kept."""
        arrays, note = self._kept.read()
        if note:
            *state, self.best, self.best_ranges, self.record, self.history = arrays
            return tuple(state), note["epoch"]
        built = list(zip(self._members, self.block.shapes, strict=True))
        parameters = np.concatenate([initial(*each) for each in built])
        ranges = np.concatenate([initial_ranges(*each) for each in built], axis=1)
        self.best, self.best_ranges = parameters.copy(), ranges.copy()
        self.record = np.full((len(self._members), loops.RECORDED), np.inf)
        self.record[:, loops.BEST_EPOCH] = 0
        return (parameters, np.zeros_like(parameters), np.zeros_like(parameters), ranges), 0

    def _keep(self, state: tuple[np.ndarray, ...], epoch: int) -> None:
        if epoch == self._settings.epochs:  # nobody goes on from here
            state = tuple(array[..., :0] for array in state)
        arrays = [*state, self.best, self.best_ranges, self.record, self.history]
        self._kept.write(arrays, {"epoch": epoch})


def _run_all(runs: Sequence[_Run], threads: int, progress: Progress) -> None:
    """Run all, so many at a time; when interrupted, those under way keep what they have reached."""
    stop = threading.Event()
    with ThreadPoolExecutor(threads, "population") as pool:
        waiting = {pool.submit(run.run, stop, progress) for run in runs}
        try:
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
        except BaseException:
            stop.set()
            for future in waiting:
                future.cancel()
            raise


def initial(member: Member, shapes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Weights before the first step, float32: Glorot's uniform kernels, biases of zero.

    Source: X. Glorot, Y. Bengio, *Understanding the difficulty of training deep feedforward neural
    networks*, 2010; thesis, section 3.1.1.
    """
    rng = np.random.default_rng(member.seed)
    arrays = []
    for fan_in, units in shapes:
        limit = np.sqrt(6 / (fan_in + units))
        arrays += [rng.uniform(-limit, limit, fan_in * units), np.zeros(units)]
    return np.concatenate(arrays).astype(np.float32)


def shapes_of(network: Mlp | Cnn, inputs: tuple[int, ...], outputs: int) -> list[tuple[int, int]]:
    """Inputs and units of each layer's kernel; of a convolution its kernel times its channels.

    Args:
        network: whose layers they are.
        inputs: shape of a sample.
        outputs: of the network.

    Raises:
        ExploreError: samples that the network does not take.
    """
    wanted = 1 if isinstance(network, Mlp) else 2
    if len(inputs) != wanted:
        shape = "(N, inputs)" if wanted == 1 else "(N, samples, channels)"
        raise ExploreError(f"x has samples of {inputs}, expected {shape} for {network}.")
    if isinstance(network, Mlp):
        return list(itertools.pairwise((*inputs, *network.hidden, outputs)))
    samples, channels = inputs
    widths = list(itertools.pairwise((channels, *network.filters)))
    convolutions = [(network.kernel * width, count) for width, count in widths]
    flat = samples // network.pool * network.filters[-1]
    if not flat:
        raise ExploreError(f"a window of {samples} samples is pooled away by {network}.")
    return convolutions + list(itertools.pairwise((flat, *network.hidden, outputs)))


def initial_ranges(member: Member, shapes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Ranges before the first step, float32 (2, R): as tfmot has them, or of the first weights."""
    scheme = member.scheme
    inputs, weights, activations = (
        _first(getattr(scheme, name, None)) for name in ("inputs", "weights", "activations")
    )
    widths = [inputs]
    for _, units in shapes:
        widths += [weights] * units + [activations]
    ranges = np.array([[-width for width in widths], widths], np.float32)
    if scheme is not None and scheme.weights is not None and scheme.weights.measured:
        values, at, place = initial(member, shapes), 0, 1
        for fan_in, units in shapes:
            kernel = values[at : at + fan_in * units].reshape(fan_in, units)
            ranges[:, place : place + units] = _reach(kernel, scheme.weights)
            at, place = at + (fan_in + 1) * units, place + units + 1
    return ranges


def _reach(kernel: np.ndarray, quantizer: Quantizer) -> np.ndarray:
    """The range of a kernel (inputs, units), (2, units), as the quantizer's next one would be."""
    ends = np.stack([kernel.min(axis=0), kernel.max(axis=0)])
    if not quantizer.per_channel:
        ends = np.stack([np.full_like(ends[0], kernel.min()), np.full_like(ends[1], kernel.max())])
    low, high = np.minimum(ends[0], 0), np.maximum(ends[1], 0)
    if quantizer.symmetric:
        whole = 2.0**quantizer.bits
        ratio = 1.0 if quantizer.narrow_range else (whole - 2) / whole
        low = np.minimum(low, -high / ratio)
        high = np.maximum(high, -low * ratio)
    return np.stack([low, high])


def _first(quantizer: Quantizer | None) -> float:
    return 0.0 if quantizer is None or quantizer.kind == "all values" else 6.0


def numbered(member: Member) -> list[list[int]]:
    """Quantisers of inputs, weights and activations, as the loops number them."""
    return [
        _numbers(getattr(member.scheme, name, None))
        for name in ("inputs", "weights", "activations")
    ]


def _numbers(quantizer: Quantizer | None) -> list[int]:
    if quantizer is None:
        return [0] * 5
    q = quantizer
    kind = 1 + KINDS.index(q.kind)
    return [kind, q.bits, int(q.symmetric), int(q.narrow_range), int(q.per_channel)]


def _samples(training: Samples, validation: Samples | None) -> tuple[Samples, Samples]:
    """Both as float32, checked against one another."""
    x, y = (np.ascontiguousarray(a, np.float32) for a in training)
    if validation is None:
        validation = (x[:0], y[:0])
    checked = (x, y), tuple(np.ascontiguousarray(a, np.float32) for a in validation)
    for name, (inputs, targets) in zip(("training", "validation"), checked, strict=True):
        if targets.ndim != 2 or len(inputs) != len(targets):
            raise ExploreError(
                f"{name} has x {inputs.shape} and y {targets.shape}, expected (N, ...) and (N, k)."
            )
        if inputs.shape[1:] != x.shape[1:] or targets.shape[1:] != y.shape[1:]:
            raise ExploreError(
                f"{name} has samples of {inputs.shape[1:]} and {targets.shape[1:]}, expected "
                f"{x.shape[1:]} and {y.shape[1:]} as in training."
            )
        if not np.isfinite(inputs).all() or not np.isfinite(targets).all():
            raise ExploreError(f"{name} has values that are not finite numbers.")
    if not len(x):
        raise ExploreError("training has no samples.")
    return checked


def _bits(member: Member, what: str) -> int:
    """Of weights or activations; 32 for floating point."""
    quantizer = getattr(member.scheme, what, None)
    return 32 if quantizer is None else quantizer.bits
