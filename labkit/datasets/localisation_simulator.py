"""A simulated recording of somebody who walks about a room with a capacitive plate on each wall.

A plate and the person are a capacitor: the nearer the person, the larger its capacitance, and the
lower the frequency of the oscillator that the plate is part of. The change falls so steeply with
the distance that a person a room's width away is hardly seen; what a person who turns, lights that
are switched, air that becomes damper and a counter that counts whole periods add is as large.

The person walks from one random place to the next at a walking speed, curving rather than turning
on the spot, and stands for a while now and then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labkit.datasets.dataset import DataError

#: Samples a second: a window of 10 s has 30 (thesis, section 3.2).
RATE = 3.0


@dataclass(frozen=True)
class Room:
    """What is simulated. The second word of each line says how well it is known.

    Attributes:
        side: known, m: the room is square (thesis, section 1.3; Akhmareh 2016).
        margin: assumed, m: how near to a wall a place is that the person walks to.
        height: assumed, m: of a plate's middle above or below the middle of the body. Plates are
            taken to be at the middle of the walls: of the thesis's figure 1.7 only the caption
            survives.
        plate: by recollection, m: the side of a plate. Nearer than that the change of the
            capacitance no longer rises as a power of the distance.
        exponent: by recollection, from 2 to 3: the change falls with this power of the distance.
        touch: assumed: change of the capacitance at the wall, as a part of the capacitance that is
            always there.
        frequency: assumed, Hz: of the oscillator in the empty room. That sensors give frequencies
            of a timer-based oscillator is known (thesis, section 1.2).
        places: assumed: where the room's chairs, bed, door and so on are; the person walks from one
            to another of them. They are the same in training and in testing.
        speed: assumed, m/s: mean of a leg, of a person at ease in a small room.
        pause: assumed, s: mean of a stop; half of the legs end in one.
        turn: assumed, part of the distance: how much nearer a body seems that turns its side or
            moves its arms; standard deviation.
        noise: chosen, Hz: of each sample, from thermal noise and mains.
        drift: chosen, Hz: standard deviation of what temperature and humidity do, over minutes.
        interference: chosen, Hz: mean size of a burst from appliances; one plate at a time.
        step: assumed, Hz: the counter counts periods for a third of a second.
        truth: assumed, m: standard deviation of the ultrasonic reference.

    The chosen ones are such that the networks of `labkit.models.localisation` err about as much as
    those of the thesis, whose recording is not public: what they say of the real room is no more
    than the order of networks.

    Sources: L. Battiato, *Tensorflow-driven neural network quantization for resource-constrained
    devices* (Politecnico di Torino, 2020); A. R. Akhmareh et al., *A Tagless Indoor Localization
    System Based on Capacitive Sensing Technology*, Sensors 16 (2016) 1448.
    """

    side: float = 3.0
    margin: float = 0.3
    height: float = 0.2
    plate: float = 0.16
    exponent: float = 2.0
    touch: float = 0.05
    frequency: float = 20_000.0
    places: int = 12
    speed: float = 0.4
    pause: float = 1.0
    turn: float = 0.02
    noise: float = 3.5
    drift: float = 0.3
    interference: float = 12.0
    step: float = 3.0
    truth: float = 0.02

    def __post_init__(self):
        """Check the numbers."""
        for name in ("side", "plate", "exponent", "touch", "frequency", "speed", "step"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} is {getattr(self, name)}, expected more than 0.")
        for name in ("height", "pause", "turn", "noise", "drift", "interference", "truth"):
            if getattr(self, name) < 0:
                raise DataError(f"{name} is {getattr(self, name)}, expected 0 or more.")
        if not 0 <= 2 * self.margin < self.side:
            raise DataError(f"margin is {self.margin}, expected less than half of {self.side} m.")

    @property
    def plates(self) -> np.ndarray:
        """Where the plates are, float64 (4, 2), m: at x = 0, x = side, y = 0, y = side."""
        middle = self.side / 2
        return np.array([(0, middle), (self.side, middle), (middle, 0), (middle, self.side)])


def draw(part: str, count: int, seed: int, **changes) -> tuple[np.ndarray, np.ndarray]:
    """Record samples in the order of time, three a second.

    Args:
        part: "train" or "test": another walk on another day.
        count: of samples; fewer are the beginning of more.
        seed: the same seed records the same samples.
        changes: of the `Room`, for example noise=0.

    Returns:
        float32 (count, 4), frequencies of the plates' oscillators (Hz), and float32 (count, 2),
        where the ultrasonic reference puts the person (m).
    """
    room = replace(Room(), **changes)
    return record(room, count, destinations(room, seed), [seed, part == "test"])


def record(
    room: Room, count: int, goals: np.ndarray, day: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Record a walk between known places on some day, as `draw` returns it.

    Args:
        room: with its plates.
        count: of samples; fewer are the beginning of more.
        goals: where the person goes to, from `destinations`.
        day: integers, of which walk, air, appliances and noise are drawn.
    """
    streams = (np.random.default_rng([*day, i]) for i in range(6))
    path, person, air, appliances, electronics, reference = streams
    places = walk(room, count, goals, path)
    frequencies = oscillators(room, seen_distances(room, places, person))
    frequencies += room.drift * slow(air, (count, 4), 120)
    frequencies += _bursts(room, count, appliances)
    frequencies += room.noise * electronics.normal(size=(count, 4))
    counted = room.step * np.round(frequencies / room.step)
    measured = places + room.truth * reference.normal(size=places.shape)
    return counted.astype(np.float32), measured.astype(np.float32)


def destinations(room: Room, seed: int) -> np.ndarray:
    """Where the person goes to in the room of this seed, float64 (places, 2), m."""
    free = room.side - 2 * room.margin
    return room.margin + free * np.random.default_rng([seed, 6]).uniform(size=(room.places, 2))


def walk(room: Room, count: int, goals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places of somebody who walks from one random place to the next, float64 (count, 2), m."""
    edge = room.margin / 2
    place, velocity = goals[0], np.zeros(2)
    places = np.empty((count, 2))
    target, pace, rest = place, room.speed, 0
    for sample in range(count):
        places[sample] = place
        to = target - place
        distance = np.hypot(*to)
        if rest == 0 and distance < 0.15:
            rest = int(rng.exponential(room.pause) * RATE * (rng.uniform() < 0.5))
            target = goals[rng.integers(len(goals))] + 0.1 * rng.normal(size=2)
            target = np.clip(target, edge, room.side - edge)
            pace = room.speed * np.exp(0.25 * rng.normal())
            to = target - place
            distance = np.hypot(*to)
        wanted = np.zeros(2)
        if rest:
            rest -= 1
        elif distance:
            wanted = to / distance * min(pace, distance * RATE)
        # A body has momentum: it follows what its owner wants within half a second or so.
        velocity += 0.6 * (wanted - velocity)
        place = np.clip(place + velocity / RATE, edge, room.side - edge)
    return places


def seen_distances(room: Room, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far the person seems from each plate, float64 (count, 4), m: a body is not a point."""
    offsets = places[:, None] - room.plates
    true = np.sqrt((offsets**2).sum(axis=-1) + room.height**2)
    return true * np.exp(room.turn * slow(rng, true.shape, 1.0))


def oscillators(room: Room, distances: np.ndarray) -> np.ndarray:
    """Frequencies (Hz) of oscillators whose plates see a person at these distances (m).

    The capacitance is C₀ (1 + touch · (plate / (plate + d))^exponent), and the frequency of a
    relaxation oscillator is proportional to its reciprocal.
    """
    nearness = room.plate / (room.plate + distances)
    return room.frequency / (1 + room.touch * nearness**room.exponent)


def slow(rng: np.random.Generator, shape: tuple[int, int], seconds: float) -> np.ndarray:
    """Noise of variance 1 along axis 0 that forgets within this time (an autoregression)."""
    from scipy import signal

    pole = np.exp(-1 / (seconds * RATE))
    noise = rng.normal(size=shape)
    noise[1:] *= np.sqrt(1 - pole**2)  # the first sample has the variance of all
    return signal.lfilter([1], [1, -pole], noise, axis=0)


def _bursts(room: Room, count: int, rng: np.random.Generator) -> np.ndarray:
    """Disturbances (Hz), float64 (count, 4): one in fifty samples begins one of about a second."""
    from scipy import signal

    drawn = rng.uniform(size=(count, 3))
    begins, plate, size = drawn.T
    events = np.zeros((count, 4))
    rows = np.flatnonzero(begins < 0.02)
    signs = np.where(begins[rows] < 0.01, -1, 1)
    events[rows, (4 * plate[rows]).astype(int)] = -signs * np.log1p(-size[rows])
    return room.interference * signal.lfilter([1], [1, -0.6], events, axis=0)
