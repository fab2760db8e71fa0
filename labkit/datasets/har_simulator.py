"""Simulated recordings of six activities: what a phone at the waist would measure.

The trunk moves and turns, the phone sits on it at an angle of its own; acceleration with gravity
and angular velocity are measured of that one motion. Gait is harmonics of steps and strides with a
heel impact a step; stairs change cadence, harmonics, impact and lean. Those who sit, stand or lie
only sway, breathe and fidget. People differ in cadence, strength, posture and placement, so much
that some sit as others stand. The samples then pass the filters of the UCI HAR data set.

Axes are that data set's for an upright phone: x up, y to a side, z forward; about them turn yaw,
pitch and roll.
"""

from __future__ import annotations

import numpy as np

from labkit.datasets import DataError
from labkit.datasets.har_features import LENGTH, RATE

#: Of what is drawn, for the cache.
VERSION = 1
ACTIVITIES = (
    *("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS"),
    *("SITTING", "STANDING", "LAYING"),
)
HOP = 64  # samples from a window to the next one
#: Whose recordings are for training and whose for testing.
SUBJECTS = {"train": range(1, 22), "test": range(22, 31)}

_TEAM = 3  # people recorded at once, in random order; then everybody again, in other bouts
_WINDOWS = 8  # of one bout
_LEAD = 200  # samples before a bout's first window, in which the filters settle
_SITTING, _STANDING, _LAYING = 3, 4, 5
#: Of walking on the level, upstairs and downstairs.
_GAIT = {
    "cadence": np.array([1.86, 1.64, 2.00]),  # steps a second
    # Acceleration (g) at the first three harmonics of the step; to the sides, of the stride.
    "up": np.array([[0.24, 0.09, 0.03], [0.30, 0.07, 0.02], [0.35, 0.16, 0.07]]),
    "side": np.array([[0.12, 0.08, 0.11], [0.15, 0.07, 0.06], [0.12, 0.10, 0.12]]),
    "forward": np.array([[0.15, 0.07, 0.03], [0.18, 0.05, 0.02], [0.13, 0.08, 0.05]]),
    "impact": np.array([0.26, 0.14, 0.56]),  # g, upwards
    # Amplitude (rad) of yaw, pitch and roll; yaw and roll turn once a stride, pitch once a step.
    "turn": np.array([[0.08, 0.040, 0.06], [0.11, 0.052, 0.08], [0.11, 0.040, 0.06]]),
    "lean": np.array([0.04, 0.15, -0.03]),  # rad, forward
}
_RING, _RING_TIME = 8.0, 0.06  # Hz and s: the oscillation that an impact leaves, and its decay
#: How people differ: standard deviations, of logarithms unless there is a unit.
_PEOPLE = {
    **{"cadence": 0.035, "strength": 0.12, "impact": 0.18, "turn": 0.15, "limp": 0.4},
    **{"yaw": 0.30, "pitch": 0.09, "roll": 0.07},  # rad, of the phone on the trunk
    **{"slump": 0.10, "bend": 0.08},  # rad, of a person who sits
    **{"sway": 0.25},
}
_ACCELERATION_STEP, _GYRO_STEP = 1 / 1024, 2.0**-11  # g and rad/s: what the sensors resolve


def draw(part: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw windows of 2.56 s; each six in a row are of one person and hold every activity once.

    Args:
        part: "train" or "test": other people.
        count: of windows; fewer are the beginning of more.
        seed: the same seed draws the same windows.

    Returns:
        float32 (count, 128, 9) as the UCI HAR data set has them (g, rad/s), int64 (count,), index
        into `ACTIVITIES`, and int64 (count,), the subjects.
    """
    people = np.array(SUBJECTS[part])
    samples = _LEAD + LENGTH + (_WINDOWS - 1) * HOP
    x, y, groups = [], [], []
    for number in range(-(-count // (_TEAM * len(ACTIVITIES) * _WINDOWS))):
        turn, place = divmod(number, len(people) // _TEAM)
        order = np.random.default_rng([seed, part == "test", turn]).permutation(people)
        subjects = order[_TEAM * place :][:_TEAM].repeat(len(ACTIVITIES))
        rng = np.random.default_rng([seed, part == "test", turn, place])
        activities = np.concatenate([rng.permutation(len(ACTIVITIES)) for _ in range(_TEAM)])
        signals = preprocess(record(activities, subjects, samples, seed, rng))[:, _LEAD:]
        # The first window of every bout, then the second of every bout, …
        x.append(windows(signals).swapaxes(0, 1).reshape(-1, LENGTH, 9))
        y.append(np.tile(activities, _WINDOWS))
        groups.append(np.tile(subjects, _WINDOWS))
    return tuple(np.concatenate(each)[:count] for each in (x, y, groups))


def preprocess(samples: np.ndarray) -> np.ndarray:
    """UCI's filters: a median of 3, a low-pass at 20 Hz; gravity is what is below 0.3 Hz.

    The median is of a sample and its neighbours on both sides. The low-passes are Butterworth
    filters of order 3 that see the past alone, as if the first sample had always been there.

    Args:
        samples: (..., time, 6): acceleration x, y, z (g), angular velocity x, y, z (rad/s), 50 Hz.

    Returns:
        float32 (..., time, 9): body acceleration, angular velocity, total acceleration.
    """
    before = np.concatenate([samples[..., :1, :], samples[..., :-1, :]], axis=-2)
    after = np.concatenate([samples[..., 1:, :], samples[..., -1:, :]], axis=-2)
    low, high = np.minimum(before, after), np.maximum(before, after)
    smooth = _low_pass(np.clip(samples, low, high), 20)
    total, gyro = smooth[..., :3], smooth[..., 3:]
    return np.concatenate([total - _low_pass(total, 0.3), gyro, total], -1).astype(np.float32)


def windows(signals: np.ndarray) -> np.ndarray:
    """Windows (..., N, 128, channels), half overlapping, of signals (..., time, channels)."""
    cut = np.lib.stride_tricks.sliding_window_view(signals, LENGTH, axis=-2)
    return cut[..., ::HOP, :, :].swapaxes(-1, -2)


def record(
    activities: np.ndarray,
    subjects: np.ndarray,
    samples: int,
    seed: int = 0,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Record bouts of activities, as the sensors give them.

    Args:
        activities: (N,) index into `ACTIVITIES`.
        subjects: (N,) from 1 to 30.
        samples: of a bout, 50 a second.
        seed: of the people: the same seed and subject are the same person.
        rng: of the bouts; without, drawn from the seed too.

    Returns:
        float64 (N, samples, 6): acceleration with gravity (g), angular velocity (rad/s).

    Raises:
        DataError: there is no such activity or subject.
    """
    activities, subjects = np.asarray(activities), np.asarray(subjects)
    last = max(SUBJECTS["test"])
    known = np.isin(activities, range(len(ACTIVITIES))) & np.isin(subjects, range(1, last + 1))
    if not known.all():
        raise DataError(f"activities are 0 to {len(ACTIVITIES) - 1} and subjects 1 to {last}.")
    rng = np.random.default_rng(seed) if rng is None else rng
    person = _people(seed, subjects)
    acceleration = np.zeros((len(activities), samples, 3))
    angles = _posture(activities, person, rng)[:, None] + _sway(activities, person, samples, rng)
    walks = np.flatnonzero(activities < _SITTING)
    walker = {name: values[walks] for name, values in person.items()}
    pushed, turned = _gait(activities[walks], walker, samples, rng)
    acceleration[walks] += pushed
    angles[walks] += turned
    trunk = _rotation(angles)
    phone = _rotation(
        np.stack([person["yaw"], person["pitch"], person["roll"]], axis=-1)
        + rng.normal(size=(len(activities), 3)) * (0.25, 0.06, 0.04)  # it is put on anew
    )[:, None]
    acceleration[..., 0] += 1  # gravity, as an accelerometer at rest feels it
    felt = np.einsum("ntji,ntj->nti", trunk @ phone, acceleration)
    turning = np.einsum("ntji,ntj->nti", phone, _angular_velocity(trunk))
    return np.concatenate(
        [
            _measured(felt, 0.004, 0.008, _ACCELERATION_STEP, rng),
            _measured(turning, 0.004, 0.01, _GYRO_STEP, rng),
        ],
        axis=-1,
    )


def _people(seed: int, subjects: np.ndarray) -> dict[str, np.ndarray]:
    """What is these subjects' own, by name: normal deviates (N,) times their spread."""
    rng = np.random.default_rng([seed, 30])
    drawn = rng.normal(size=(1 + max(SUBJECTS["test"]), len(_PEOPLE) + 9))
    own = {name: drawn[subjects, i] * spread for i, (name, spread) in enumerate(_PEOPLE.items())}
    return own | {"phases": drawn[subjects, len(_PEOPLE) :] * 0.25}


def _posture(activities, person, rng) -> np.ndarray:
    """The trunk's angles (N, 3) in bouts of these activities."""
    yaw, pitch, roll = rng.normal(size=(3, len(activities))) * ((0.1,), (0.03,), (0.03,))
    gait = np.minimum(activities, 2)
    pitch += np.where(activities < _SITTING, _GAIT["lean"][gait], 0)
    sits, lies = activities == _SITTING, activities == _LAYING
    pitch += np.where(sits, -0.24 + person["slump"] + rng.normal(size=len(sits)) * 0.06, 0)
    roll += np.where(sits, 0.16 + person["bend"] + rng.normal(size=len(sits)) * 0.06, 0)
    pitch += np.where(lies, -1.5 + rng.normal(size=len(lies)) * 0.12, 0)
    yaw += np.where(lies, rng.normal(size=len(lies)) * 0.5, 0)  # on the back, or on a side
    return np.stack([yaw, pitch, roll], axis=-1)


def _sway(activities, person, samples, rng) -> np.ndarray:
    """The trunk's slow turning (N, time, 3) in rad, with breathing and fidgeting."""
    count = len(activities)
    # Those who stand sway more than those who sit; some people more than others.
    spread = np.array([0.012, 0.012, 0.012, 0.0040, 0.0080, 0.0035])[activities]
    spread = spread * np.exp(person["sway"] + rng.normal(size=count) * 0.25)
    sway = _slow(rng, (count, samples, 3), 0.5) * spread[:, None, None]
    time = np.arange(samples) / RATE
    rate, start = rng.normal(0.26, 0.04, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
    depth = np.array([0.0, 0.0, 0.0, 0.004, 0.002, 0.005])[activities]
    sway[..., 1] += depth[:, None] * np.sin(2 * np.pi * rate * time + start)
    # Now and then something moves, for about a second.
    fidgets = _slow(rng, (count, samples, 3), 0.12)
    often = np.maximum(_slow(rng, (count, samples, 1), 0.5) - 1.6, 0)
    return sway + 0.03 * often * fidgets * (activities >= _SITTING)[:, None, None]


def _gait(activities, person, samples, rng) -> tuple[np.ndarray, np.ndarray]:
    """Acceleration (N, time, 3) in g and turning (N, time, 3) in rad of walking trunks."""
    count = len(activities)

    def bout(spread: float) -> np.ndarray:
        return rng.normal(size=count) * spread

    cadence = _GAIT["cadence"][activities] * np.exp(person["cadence"] + bout(0.03))
    hurry = 1 + 0.03 * _slow(rng, (count, samples), 0.8)
    steps = np.cumsum(cadence[:, None] * hurry, axis=1) / RATE + rng.uniform(0, 2, (count, 1))
    stride = np.pi * steps  # rad: a stride is two steps
    strength = np.exp(person["strength"] + bout(0.08))[:, None]
    strength = strength * (1 + 0.1 * _slow(rng, (count, samples), 1.0))

    since = steps % 1 / cadence[:, None]  # s since the heel's last strike
    ring = np.exp(-since / _RING_TIME) * np.sin(2 * np.pi * _RING * since)
    # Every step is another one, and the two feet are not alike.
    each = np.exp(0.15 * rng.normal(size=(count, int(steps.max(initial=0)) + 1)))
    side = 1 + 0.15 * person["limp"][:, None] * np.where(steps % 2 < 1, 1, -1)
    ring *= np.take_along_axis(each, steps.astype(int), axis=1) * side
    ring *= (_GAIT["impact"][activities] * np.exp(person["impact"] + bout(0.1)))[:, None]

    def harmonics(direction: str, per: np.ndarray, phases: np.ndarray) -> np.ndarray:
        amplitudes = _GAIT[direction][activities] * np.exp(rng.normal(size=(count, 3)) * 0.1)
        angle = per[..., None] * (1, 2, 3) + phases[:, None]
        return (amplitudes[:, None] * np.cos(angle)).sum(axis=-1) * strength

    phases = person["phases"]
    up = harmonics("up", 2 * stride, phases[:, :3] + (0, 0.8, 1.6)) + ring
    sideways = harmonics("side", stride, phases[:, 3:6] + (1.2, 0, 0.5)) + 0.25 * ring
    forward = harmonics("forward", 2 * stride, phases[:, 6:] + (1.5, 0.3, 0)) - 0.35 * ring

    turn = _GAIT["turn"][activities] * np.exp(rng.normal(size=(count, 3)) * 0.12)
    turn = (turn * np.exp(person["turn"])[:, None])[:, None]
    waves = np.stack([np.sin(stride), np.sin(2 * stride + 0.7), np.sin(stride + 1.9)], axis=-1)
    wobble = ring[..., None] * (0.012, 0.030, 0.015)  # the phone shakes in its pouch
    return np.stack([up, sideways, forward], axis=-1), turn * waves + wobble


def _slow(rng, shape, seconds: float) -> np.ndarray:
    """Noise of variance 1 along axis 1 that forgets within this time, smooth enough to derive."""
    from scipy import signal

    pole = np.exp(-1 / (seconds * RATE))
    # Two equal poles; their response to white noise has the variance that is divided by.
    variance = (1 + pole**2) / (1 - pole**2) ** 3
    settle = int(5 * seconds * RATE)
    noise = rng.normal(size=(shape[0], shape[1] + settle, *shape[2:]))
    return signal.lfilter([variance**-0.5], [1, -2 * pole, pole**2], noise, axis=1)[:, settle:]


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Matrices (..., 3, 3) from a trunk's axes to the world's, of yaw (x), pitch (y), roll (z)."""
    (cx, cy, cz), (sx, sy, sz) = (np.moveaxis(f(angles), -1, 0) for f in (np.cos, np.sin))
    rows = [
        [cy * cz, -cy * sz, sy],
        [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy],
        [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _angular_velocity(rotation: np.ndarray) -> np.ndarray:
    """Angular velocity (N, time, 3) in rad/s, in its own axes, of what turns so (N, time, 3, 3)."""
    change = np.gradient(rotation, 1 / RATE, axis=1)
    skew = np.swapaxes(rotation, -1, -2) @ change
    return np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1)


def _measured(true, noise: float, bias: float, step: float, rng) -> np.ndarray:
    """What a sensor makes of it: noise, a bias a bout, and values a step apart."""
    offset = rng.normal(size=(len(true), 1, 3)) * bias
    return np.round((true + offset + rng.normal(size=true.shape) * noise) / step) * step


def _low_pass(signals: np.ndarray, frequency: float) -> np.ndarray:
    """A causal Butterworth low-pass of order 3 along the time of (..., time, channels)."""
    from scipy import signal

    sections = signal.butter(3, frequency, fs=RATE, output="sos")
    rest = signal.sosfilt_zi(sections)  # (sections, 2), for an input that was always 1
    first = np.moveaxis(signals[..., 0, :], -1, 0)  # (channels, ...)
    channels = np.moveaxis(signals, -1, 0)  # (channels, ..., time)
    state = rest.reshape(len(rest), *(1,) * first.ndim, 2) * first[None, ..., None]
    return np.moveaxis(signal.sosfilt(sections, channels, axis=-1, zi=state)[0], 0, -1)
