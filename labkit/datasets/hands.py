"""Draws the 24 static letters of the American Sign Language alphabet as small grey images.

A right hand is modelled in three dimensions, its palm towards the viewer: each finger has three
joints, the thumb three segments; phalanges, palm and forearm are capsules (segments with a
radius). A hand is posed, turned, projected, lit and composited over a background by the depth of
its surface, and a poor camera takes the picture. Everything is vectorised over the images.

Images come in blocks with a random generator each: image i depends on seed, stream, i and its
class alone, so that a smaller data set is the beginning of a larger one.

Units: one is the width of the palm. x points to the viewer's right (where the thumb is), y up, z
towards the viewer.
"""

from __future__ import annotations

import numpy as np
from tqdm.auto import tqdm

from labkit import runtime

#: Changes whenever the drawing does, so that no cache serves images of an older one.
VERSION = 4
SIZE = 28
_BLOCK = 240
#: How many people lend their hands to each stream.
_PEOPLE = {"train": 40, "test": 12}

# Of index, middle, ring and little finger.
_KNUCKLES = np.array([[0.34, 0.40, 0], [0.12, 0.46, 0], [-0.11, 0.42, 0], [-0.32, 0.32, 0]])
_PHALANGES = np.array(
    [[0.44, 0.27, 0.21], [0.49, 0.31, 0.22], [0.45, 0.29, 0.21], [0.35, 0.21, 0.18]]
)
_FINGER_RADII = np.array([0.115, 0.12, 0.115, 0.10])
_THUMB_ROOT = np.array([0.26, -0.38, 0.05])
_THUMB_RADIUS = 0.125

# Flexion of the three joints in degrees, towards the viewer.
_STRAIGHT = (4, 4, 2)
_FIST = (88, 100, 60)
_FOLDED = (75, 62, 24)  # over the thumb, as in M and N
_CLAW = (48, 108, 62)
_CURVED = (38, 38, 25)
_ROUND = (58, 50, 32)

# Where the thumb's two joints and its tip are.
_BESIDE = ((0.48, -0.10, 0.12), (0.57, 0.16, 0.18), (0.56, 0.46, 0.20))
_ACROSS_PALM = ((0.34, -0.22, 0.15), (0.12, -0.05, 0.24), (-0.14, 0.06, 0.24))
_ACROSS_FIST = ((0.38, -0.12, 0.30), (0.22, 0.06, 0.56), (-0.10, 0.08, 0.58))
_OUT = ((0.50, -0.18, 0.05), (0.78, -0.06, 0.05), (1.02, 0.02, 0.05))
_UNDER = ((0.36, -0.20, 0.18), (0.16, 0.00, 0.22), (-0.02, 0.12, 0.22))


def _pose(index, middle, ring, little, thumb, spread=(0, 0, 0, 0), turn=0, yaw=0):
    """One letter: flexions and spreads of the fingers, the thumb, turn in the image and yaw."""
    return {
        "flexion": np.radians([index, middle, ring, little]),
        "spread": np.radians(spread),
        "thumb": np.array(thumb),
        "turn": np.radians(turn),
        "yaw": np.radians(yaw),
    }


_POSES = {
    "A": _pose(_FIST, _FIST, _FIST, _FIST, _BESIDE),
    "B": _pose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT, _ACROSS_PALM, (-2, 0, 1, 3)),
    "C": _pose(_CURVED, _CURVED, _CURVED, _CURVED,
               ((0.45, -0.20, 0.30), (0.46, -0.12, 0.60), (0.42, 0.06, 0.84)), yaw=-62),
    "D": _pose(_STRAIGHT, _ROUND, _ROUND, _ROUND,
               ((0.42, -0.08, 0.25), (0.36, 0.14, 0.48), (0.20, 0.36, 0.66)), yaw=-28),
    "E": _pose(_CLAW, _CLAW, _CLAW, _CLAW,
               ((0.38, -0.20, 0.20), (0.20, -0.05, 0.42), (-0.16, -0.03, 0.46))),
    "F": _pose((66, 58, 22), _STRAIGHT, _STRAIGHT, _STRAIGHT,
               ((0.46, -0.06, 0.22), (0.50, 0.18, 0.46), (0.40, 0.36, 0.66)), (4, 4, -6, -16)),
    "G": _pose(_STRAIGHT, _FIST, _FIST, _FIST,
               ((0.50, -0.08, 0.10), (0.68, 0.24, 0.14), (0.68, 0.64, 0.14)), (-4, 0, 0, 0),
               turn=84),
    "H": _pose(_STRAIGHT, _STRAIGHT, _FIST, _FIST, _ACROSS_FIST, (-2, 2, 0, 0), turn=84),
    "I": _pose(_FIST, _FIST, _FIST, _STRAIGHT, _ACROSS_FIST, (0, 0, 0, -6)),
    "K": _pose(_STRAIGHT, (46, 6, 4), _FIST, _FIST,
               ((0.44, -0.04, 0.16), (0.38, 0.24, 0.26), (0.24, 0.52, 0.30)), (8, -6, 0, 0)),
    "L": _pose(_STRAIGHT, _FIST, _FIST, _FIST, _OUT),
    "M": _pose(_FOLDED, _FOLDED, _FOLDED, _FIST,
               ((0.36, -0.20, 0.18), (0.08, 0.02, 0.24), (-0.22, 0.22, 0.60))),
    "N": _pose(_FOLDED, _FOLDED, _FIST, _FIST,
               ((0.36, -0.20, 0.18), (0.16, 0.04, 0.26), (0.0, 0.30, 0.64))),
    "O": _pose(_ROUND, _ROUND, _ROUND, _ROUND,
               ((0.42, -0.10, 0.28), (0.40, 0.08, 0.56), (0.30, 0.30, 0.76)), yaw=-55),
    "P": _pose(_STRAIGHT, (46, 6, 4), _FIST, _FIST,
               ((0.44, -0.04, 0.16), (0.38, 0.24, 0.26), (0.24, 0.52, 0.30)), (8, -6, 0, 0),
               turn=140, yaw=-18),
    "Q": _pose(_STRAIGHT, _FIST, _FIST, _FIST,
               ((0.50, -0.08, 0.10), (0.68, 0.24, 0.14), (0.66, 0.64, 0.14)), (-6, 0, 0, 0),
               turn=168, yaw=-12),
    "R": _pose(_STRAIGHT, (12, 6, 4), _FIST, _FIST, _UNDER, (-15, 13, 0, 0)),
    "S": _pose(_FIST, _FIST, _FIST, _FIST, _ACROSS_FIST),
    "T": _pose((74, 84, 40), _FIST, _FIST, _FIST,
               ((0.44, -0.06, 0.24), (0.36, 0.22, 0.44), (0.235, 0.60, 0.68))),
    "U": _pose(_STRAIGHT, _STRAIGHT, _FIST, _FIST, _UNDER, (-2, 2, 0, 0)),
    "V": _pose(_STRAIGHT, _STRAIGHT, _FIST, _FIST, _UNDER, (16, -10, 0, 0)),
    "W": _pose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _FIST, _UNDER, (18, 0, -16, 0)),
    "X": _pose((30, 96, 52), _FIST, _FIST, _FIST, _ACROSS_FIST),
    "Y": _pose(_FIST, _FIST, _FIST, _STRAIGHT, _OUT, (0, 0, 0, -24)),
}  # fmt: skip
LETTERS = "".join(_POSES)
_TABLE = {name: np.stack([pose[name] for pose in _POSES.values()]) for name in _POSES["A"]}


def draw(classes: np.ndarray, seed: int = 0, stream: str = "train") -> np.ndarray:
    """Draw one image for each class.

    Args:
        classes: (N,) integers 0..23, in the order of `LETTERS`.
        seed: the same seed, stream and classes draw the same images.
        stream: "train" or "test": hands of different people.

    Returns:
        uint8 (N, 28, 28, 1).
    """
    classes = np.asarray(classes)
    number = list(_PEOPLE).index(stream)
    people = _people(_PEOPLE[stream], np.random.default_rng([seed, number, 0]))
    images = np.empty((len(classes), SIZE, SIZE, 1), np.uint8)
    blocks = range(0, len(classes), _BLOCK)
    for start in tqdm(blocks, f"drawing {stream}", leave=False, disable=not runtime.interactive()):
        rng = np.random.default_rng([seed, number, 1, start])
        part = classes[start : start + _BLOCK]
        block = np.zeros(_BLOCK, np.int64)  # whole, or the random numbers would depend on N
        block[: len(part)] = part
        drawn = _camera(_render(*_hands(block, people, rng), rng), rng)
        images[start : start + _BLOCK, ..., 0] = drawn[: len(part)]
    return images


def _people(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Proportions and habits of the people whose hands are drawn."""
    return {
        "length": rng.normal(1, 0.07, (count, 1)) * rng.normal(1, 0.03, (count, 4)),
        "thickness": rng.normal(1, 0.10, count).clip(0.75, 1.3),
        "width": rng.normal(1, 0.06, count),
        "flexion": rng.normal(0, np.radians(3.5), (count, 24, 4, 3)),  # how one forms a letter
        "thumb": rng.normal(0, 0.03, (count, 24, 3, 3)),
    }


def _hands(classes, people, rng):
    """Posed and turned hands as capsules: starts, ends (N, K, 3) and radii (N, K)."""
    count = len(classes)
    person = rng.integers(len(people["width"]), size=count)
    pose = {name: _TABLE[name][classes] for name in _TABLE}
    flexion = pose["flexion"] + people["flexion"][person, classes]
    flexion = flexion + rng.normal(0, np.radians(3.5), flexion.shape)
    spread = pose["spread"] + rng.normal(0, np.radians(2.5), (count, 4))
    thumb = pose["thumb"] + people["thumb"][person, classes]
    thumb = thumb + rng.normal(0, 0.025, thumb.shape)
    length = people["length"][person]

    pieces = [(np.array([x, -0.60, -0.10]), np.array([x, -2.4, -0.25]), 0.20) for x in (-0.1, 0.1)]
    for f, knuckle in enumerate(_KNUCKLES):
        heel = np.array([0.6 * knuckle[0], -0.52, -0.02])
        pieces.append((heel, knuckle - [0, 0.06, 0.02], 0.18))
        bones = _finger(knuckle, flexion[:, f], spread[:, f], _PHALANGES[f] * length[:, f, None])
        pieces += [(*bone, _FINGER_RADII[f] * (1 - 0.08 * p)) for p, bone in enumerate(bones)]
    joints = [_THUMB_ROOT, *np.moveaxis(thumb, 1, 0)]
    pieces += [(joints[p], joints[p + 1], _THUMB_RADIUS * (1.15 - 0.12 * p)) for p in range(3)]

    scale = np.ones((count, 1, 3))
    scale[:, 0, 0] = people["width"][person]
    rotation = _rotation(
        turn=pose["turn"] + rng.normal(0, np.radians(7), count),
        yaw=pose["yaw"] + rng.normal(0, np.radians(7), count),
        pitch=rng.normal(0, np.radians(6), count),
    )
    starts, ends = (
        np.stack([np.broadcast_to(piece[end], (count, 3)) for piece in pieces], axis=1)
        * scale
        @ rotation.transpose(0, 2, 1)
        for end in (0, 1)
    )
    radii = np.array([piece[2] for piece in pieces]) * people["thickness"][person, None]
    return starts, ends, radii


def _finger(knuckle, flexion, spread, lengths):
    """The three phalanges of a finger: pairs of start and end, (N, 3) each."""
    bend = np.cumsum(flexion, axis=1)
    direction = np.stack(
        [
            np.sin(spread)[:, None] * np.cos(bend),
            np.cos(spread)[:, None] * np.cos(bend),
            np.sin(bend),
        ],
        axis=2,
    )
    joints = knuckle + np.cumsum(lengths[:, :, None] * direction, axis=1)
    joints = [np.broadcast_to(knuckle, joints[:, 0].shape), *np.moveaxis(joints, 1, 0)]
    return [(joints[p], joints[p + 1]) for p in range(3)]


def _rotation(turn, yaw, pitch):
    """Rotation matrices (N, 3, 3): pitch about x, then yaw about y, then turn in the image."""

    def about(axis, angle):
        a, b = (i for i in range(3) if i != axis)
        sine = np.sin(angle) * (-1 if axis == 1 else 1)
        matrix = np.tile(np.eye(3), (len(angle), 1, 1))
        matrix[:, a, a] = matrix[:, b, b] = np.cos(angle)
        matrix[:, a, b], matrix[:, b, a] = -sine, sine
        return matrix

    return about(2, turn) @ about(1, yaw) @ about(0, pitch)


def _render(starts, ends, radii, rng):
    """The lit hands over their backgrounds; float32 (N, 28, 28), about 0 to 1."""
    count = len(radii)
    a, b, r = (v.astype(np.float32) for v in _project(starts, ends, radii, rng))
    y, x = np.mgrid[0:SIZE, 0:SIZE].reshape(2, 1, -1).astype(np.float32) + np.float32(0.5)
    skin = _column(rng, count, 0.40, 0.68)
    light = _light(rng, count)
    image = _background(skin, x, y, rng)
    surface = np.full_like(image, -1e3)
    # Back to front, so that soft edges blend with what is behind them.
    order = np.argsort((a + b)[..., 2], axis=1)
    for i in order.T[..., None]:
        (ax, ay, az), (bx, by, bz) = (np.take_along_axis(v, i[..., None], 1)[:, 0].T[..., None]
                                      for v in (a, b))  # fmt: skip
        radius = np.take_along_axis(r, i, 1)
        dx, dy, dz = bx - ax, by - ay, bz - az
        t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + np.float32(1e-6))
        t = t.clip(0, 1)
        nx, ny = (x - ax - t * dx) / radius, (y - ay - t * dy) / radius
        across = nx * nx + ny * ny
        nz = np.sqrt((1 - across).clip(0, 1))
        depth = az + t * dz + radius * nz
        cover = ((1 - np.sqrt(across)) * radius + np.float32(0.5)).clip(0, 1)
        cover *= (depth - surface + np.float32(0.5)).clip(0, 1)
        shade = skin * (nx * light[0] + ny * light[1] + nz * light[2] + light[3])
        image += cover * (shade - image)
        surface = np.where(cover > 0.5, np.maximum(surface, depth), surface)
    return image.reshape(count, SIZE, SIZE)


def _project(starts, ends, radii, rng):
    """Capsules in pixels (y down, z towards the viewer): the hand about fills the image."""
    count = len(radii)
    # The first two capsules are the forearm, which may leave the image.
    hand = np.concatenate([starts[:, 2:], ends[:, 2:]], axis=1)[..., :2]
    low, high = hand.min(axis=1), hand.max(axis=1)
    extent = np.maximum((high - low).max(axis=1), 1.35) + 0.35
    pixels = SIZE / extent * rng.normal(0.93, 0.07, count).clip(0.75, 1.1)
    middle = np.concatenate([(low + high) / 2, np.zeros((count, 1))], axis=1)
    shift = np.zeros((count, 1, 3))
    shift[..., :2] = SIZE / 2 + rng.normal(0, SIZE / 28, (count, 1, 2))
    flip = np.array([1, -1, 1])
    a, b = ((v - middle[:, None]) * flip * pixels[:, None, None] + shift for v in (starts, ends))
    return a, b, radii * pixels[:, None]


def _light(rng, count):
    """A lamp from a random direction: the weights (N, 1) of a normal's x, y, z, and the ambient."""
    angle, side = _column(rng, count, -np.pi, np.pi), _column(rng, count, 0.15, 0.45)
    front = _column(rng, count, 0.5, 0.9)
    return side * np.cos(angle), side * np.sin(angle), front, np.float32(1.15) - front


def _background(skin, x, y, rng):
    """Grey that differs from the skin, with a gradient and soft blobs; float32 (N, 784)."""
    count = len(skin)
    lighter = rng.random((count, 1)) < 0.8
    contrast = _column(rng, count, 0.15, 0.32)
    image = np.where(lighter, skin + contrast, skin - contrast - np.float32(0.1))
    image = image + _column(rng, count, -0.2, 0.2) * (x / SIZE - np.float32(0.5))
    image = image + _column(rng, count, -0.2, 0.2) * (y / SIZE - np.float32(0.5))
    for _ in range(3):
        squared = (x - _column(rng, count, 0, SIZE)) ** 2 + (y - _column(rng, count, 0, SIZE)) ** 2
        width = _column(rng, count, SIZE * 0.09, SIZE * 0.28)
        image += _column(rng, count, -0.15, 0.15) * np.exp(-squared / (2 * width * width))
    return image


def _camera(image, rng):
    """Blur, contrast, brightness, noise; uint8."""
    count = len(image)
    weight = _column(rng, count, 0.0, 0.17)[..., None]  # of each neighbour, in both directions
    for axis in (1, 2):
        last = image.shape[axis] - 1
        before = np.take(image, np.maximum(np.arange(last + 1) - 1, 0), axis)
        after = np.take(image, np.minimum(np.arange(last + 1) + 1, last), axis)
        image = (1 - 2 * weight) * image + weight * (before + after)
    gain, offset = _column(rng, count, 0.6, 1.15), _column(rng, count, -0.1, 0.1)
    image = gain[..., None] * (image - np.float32(0.5)) + np.float32(0.5) + offset[..., None]
    noise = _column(rng, count, 0.005, 0.02)[..., None]
    image = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)


def _column(rng, count, low, high):
    """Uniform random numbers, float32 (count, 1)."""
    return rng.uniform(low, high, (count, 1)).astype(np.float32)
