"""Draws the 24 static letters of the American Sign Language alphabet as small grey images.

A right hand is modelled in three dimensions, its palm towards the viewer: each finger has three
joints, the thumb three segments; phalanges, palm and forearm are capsules (segments with a
radius). A hand is posed, turned, projected, shaded and composited from back to front over a
background. Everything is vectorised over the images; a seed draws the same images again.

Units: one is the width of the palm. x points to the viewer's right (where the thumb is), y up, z
towards the viewer.
"""

from __future__ import annotations

import numpy as np

#: Changes whenever the drawing does, so that no cache serves images of an older one.
VERSION = 1
SIZE = 28
_CHUNK = 512
_SUBJECTS = {"train": 40, "test": 12}

_FINGERS = ("index", "middle", "ring", "little")
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
_FOLDED = (84, 62, 25)  # over the thumb, as in M and N
_CLAW = (48, 108, 62)
_CURVED = (38, 38, 25)
_ROUND = (58, 50, 32)

# Where the thumb's two joints and its tip are.
_BESIDE = ((0.46, -0.10, 0.12), (0.53, 0.16, 0.18), (0.50, 0.44, 0.20))
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
               ((0.44, -0.14, 0.25), (0.45, 0.0, 0.52), (0.40, 0.12, 0.80)), yaw=-62),
    "D": _pose(_STRAIGHT, _ROUND, _ROUND, _ROUND,
               ((0.42, -0.08, 0.25), (0.36, 0.14, 0.48), (0.20, 0.36, 0.66)), yaw=-28),
    "E": _pose(_CLAW, _CLAW, _CLAW, _CLAW,
               ((0.36, -0.24, 0.20), (0.16, -0.16, 0.40), (-0.14, -0.12, 0.42))),
    "F": _pose((66, 58, 22), _STRAIGHT, _STRAIGHT, _STRAIGHT,
               ((0.46, -0.06, 0.22), (0.50, 0.18, 0.46), (0.40, 0.36, 0.66)), (4, 4, -6, -16)),
    "G": _pose(_STRAIGHT, _FIST, _FIST, _FIST,
               ((0.48, -0.08, 0.10), (0.62, 0.20, 0.14), (0.64, 0.52, 0.14)), (-4, 0, 0, 0),
               turn=84),
    "H": _pose(_STRAIGHT, _STRAIGHT, _FIST, _FIST, _ACROSS_FIST, (-2, 2, 0, 0), turn=84),
    "I": _pose(_FIST, _FIST, _FIST, _STRAIGHT, _ACROSS_FIST, (0, 0, 0, -6)),
    "K": _pose(_STRAIGHT, (46, 6, 4), _FIST, _FIST,
               ((0.44, -0.04, 0.16), (0.38, 0.24, 0.26), (0.24, 0.52, 0.30)), (8, -6, 0, 0)),
    "L": _pose(_STRAIGHT, _FIST, _FIST, _FIST, _OUT),
    "M": _pose(_FOLDED, _FOLDED, _FOLDED, _FIST,
               ((0.36, -0.20, 0.18), (0.06, 0.02, 0.22), (-0.26, 0.14, 0.30))),
    "N": _pose(_FOLDED, _FOLDED, _FIST, _FIST,
               ((0.36, -0.20, 0.18), (0.14, 0.04, 0.22), (-0.02, 0.30, 0.50))),
    "O": _pose(_ROUND, _ROUND, _ROUND, _ROUND,
               ((0.42, -0.10, 0.28), (0.40, 0.08, 0.56), (0.30, 0.30, 0.76)), yaw=-55),
    "P": _pose(_STRAIGHT, (46, 6, 4), _FIST, _FIST,
               ((0.44, -0.04, 0.16), (0.38, 0.24, 0.26), (0.24, 0.52, 0.30)), (8, -6, 0, 0),
               turn=140, yaw=-18),
    "Q": _pose(_STRAIGHT, _FIST, _FIST, _FIST,
               ((0.48, -0.08, 0.10), (0.62, 0.20, 0.14), (0.62, 0.52, 0.14)), (-6, 0, 0, 0),
               turn=168, yaw=-12),
    "R": _pose(_STRAIGHT, (12, 6, 4), _FIST, _FIST, _UNDER, (-15, 13, 0, 0)),
    "S": _pose(_FIST, _FIST, _FIST, _FIST, _ACROSS_FIST),
    "T": _pose((74, 84, 40), _FIST, _FIST, _FIST,
               ((0.44, -0.06, 0.24), (0.38, 0.22, 0.42), (0.25, 0.50, 0.62))),
    "U": _pose(_STRAIGHT, _STRAIGHT, _FIST, _FIST, _UNDER, (-2, 2, 0, 0)),
    "V": _pose(_STRAIGHT, _STRAIGHT, _FIST, _FIST, _UNDER, (16, -10, 0, 0)),
    "W": _pose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _FIST, _UNDER, (18, 0, -16, 0)),
    "X": _pose((30, 96, 52), _FIST, _FIST, _FIST, _ACROSS_FIST),
    "Y": _pose(_FIST, _FIST, _FIST, _STRAIGHT, _OUT, (0, 0, 0, -24)),
}  # fmt: skip
LETTERS = "".join(_POSES)


def draw(classes: np.ndarray, seed: int = 0, stream: str = "train") -> np.ndarray:
    """Draw one image for each class.

    Args:
        classes: (N,) integers 0..23, in the order of `LETTERS`.
        seed: the same seed, stream and classes draw the same images.
        stream: "train" or "test": hands of different people.

    Returns:
        uint8 (N, 28, 28, 1).
    """
    people = _people(seed, stream)
    images = np.empty((len(classes), SIZE, SIZE, 1), np.uint8)
    for start in range(0, len(classes), _CHUNK):
        part = slice(start, start + _CHUNK)
        rng = np.random.default_rng([seed, list(_SUBJECTS).index(stream), 1, start])
        starts, ends, radii = _hands(np.asarray(classes[part]), people, rng)
        images[part, ..., 0] = _render(starts, ends, radii, rng)
    return images


def _people(seed: int, stream: str) -> dict[str, np.ndarray]:
    """Proportions of the people whose hands are drawn."""
    rng = np.random.default_rng([seed, list(_SUBJECTS).index(stream), 0])
    count = _SUBJECTS[stream]
    return {
        "length": rng.normal(1, 0.07, (count, 1)) * rng.normal(1, 0.03, (count, 4)),
        "radius": rng.normal(1, 0.10, (count, 1)),
        "width": rng.normal(1, 0.06, count),
        "habit": rng.normal(0, np.radians(3.5), (count, 24, 4, 3)),  # how a person forms a letter
        "thumb": rng.normal(0, 0.03, (count, 24, 3, 3)),
    }


def _hands(classes, people, rng):
    """Capsules (starts, ends: (N, K, 3); radii: (N, K)) of posed and turned hands."""
    count = len(classes)
    person = rng.integers(len(people["width"]), size=count)
    table = {k: np.stack([_POSES[letter][k] for letter in LETTERS]) for k in _POSES["A"]}
    flexion = table["flexion"][classes] + people["habit"][person, classes]
    flexion = flexion + rng.normal(0, np.radians(3.5), flexion.shape)
    spread = table["spread"][classes] + rng.normal(0, np.radians(2.5), (count, 4))
    thumb = table["thumb"][classes] + people["thumb"][person, classes]
    thumb = thumb + rng.normal(0, 0.025, thumb.shape)

    starts, ends, radii = [], [], []

    def capsule(a, b, radius):
        starts.append(np.broadcast_to(a, (count, 3)))
        ends.append(np.broadcast_to(b, (count, 3)))
        radii.append(np.broadcast_to(radius, (count,)))

    thickness = people["radius"][person, 0]
    wrist = np.array([0.0, -0.62, -0.02])
    capsule(wrist, np.array([0.0, -2.4, -0.25]), 0.30 * thickness)
    for f in range(4):
        capsule(wrist + [0.55 * _KNUCKLES[f, 0], 0.1, 0], _KNUCKLES[f] - [0, 0.06, 0.02], 0.17)
    for f in range(4):
        joint = np.broadcast_to(_KNUCKLES[f], (count, 3))
        bend = np.zeros(count)
        for p in range(3):
            bend = bend + flexion[:, f, p]
            direction = np.stack(
                [np.sin(spread[:, f]) * np.cos(bend), np.cos(spread[:, f]) * np.cos(bend),
                 np.sin(bend)], axis=1,
            )  # fmt: skip
            length = _PHALANGES[f, p] * people["length"][person, f]
            following = joint + length[:, None] * direction
            capsule(joint, following, _FINGER_RADII[f] * (1 - 0.08 * p) * thickness)
            joint = following
    joints = [np.broadcast_to(_THUMB_ROOT, (count, 3)), *np.moveaxis(thumb, 1, 0)]
    for p in range(3):
        capsule(joints[p], joints[p + 1], _THUMB_RADIUS * (1.15 - 0.12 * p) * thickness)

    starts, ends = np.stack(starts, axis=1), np.stack(ends, axis=1)
    scale = np.array([1, 1, 1]) * np.stack(
        [people["width"][person], np.ones(count), np.ones(count)], axis=1
    )
    turn = table["turn"][classes] + rng.normal(0, np.radians(7), count)
    yaw = table["yaw"][classes] + rng.normal(0, np.radians(7), count)
    pitch = rng.normal(0, np.radians(6), count)
    rotation = _rotation(turn, yaw, pitch)
    starts = np.einsum("nij,nkj->nki", rotation, starts * scale[:, None])
    ends = np.einsum("nij,nkj->nki", rotation, ends * scale[:, None])
    return starts, ends, np.stack(radii, axis=1)


def _rotation(turn, yaw, pitch):
    """Rotation matrices (N, 3, 3): pitch about x, then yaw about y, then turn in the image."""

    def about(axis, angle):
        a, b = [i for i in range(3) if i != axis]
        matrix = np.tile(np.eye(3), (len(angle), 1, 1))
        matrix[:, a, a] = matrix[:, b, b] = np.cos(angle)
        sign = -1 if axis != 1 else 1
        matrix[:, a, b], matrix[:, b, a] = sign * np.sin(angle), -sign * np.sin(angle)
        return matrix

    return about(2, turn) @ about(1, yaw) @ about(0, pitch)


def _render(starts, ends, radii, rng):
    """Shade and composite the capsules from back to front; uint8 (N, 28, 28)."""
    count, pieces = radii.shape
    # Fit the hand without its forearm into the image, then scale and shift it at random.
    hand = np.concatenate([starts[:, 1:], ends[:, 1:]], axis=1)[..., :2]
    low, high = hand.min(axis=1), hand.max(axis=1)
    extent = np.maximum((high - low).max(axis=1), 1.35) + 0.35
    pixels = SIZE / extent * rng.normal(0.93, 0.07, count).clip(0.75, 1.1)
    centre = SIZE / 2 + rng.normal(0, 1.0, (count, 2))

    def project(points):
        flat = (points[..., :2] - ((low + high) / 2)[:, None]) * pixels[:, None, None]
        return np.stack([centre[:, None, 0] + flat[..., 0], centre[:, None, 1] - flat[..., 1]], -1)

    a, b = project(starts).astype(np.float32), project(ends).astype(np.float32)
    r = (radii * pixels[:, None]).astype(np.float32)
    depth = (starts[..., 2] + ends[..., 2]) / 2
    order = np.argsort(depth, axis=1)
    rows = np.arange(count)
    y, x = np.mgrid[0:SIZE, 0:SIZE].reshape(2, 1, -1).astype(np.float32) + 0.5

    light = rng.uniform(-np.pi, np.pi, count).astype(np.float32)
    light_x, light_y = np.cos(light)[:, None], np.sin(light)[:, None]
    skin = rng.uniform(0.42, 0.78, count).astype(np.float32)
    relief = rng.uniform(0.12, 0.24, count).astype(np.float32)
    image = _background(skin, x, y, rng)
    for k in range(pieces):
        i = order[:, k]
        ax, ay = a[rows, i, 0, None], a[rows, i, 1, None]
        dx, dy = b[rows, i, 0, None] - ax, b[rows, i, 1, None] - ay
        radius = r[rows, i][:, None]
        t = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + np.float32(1e-6))
        t = t.clip(0, 1)
        off_x, off_y = x - ax - t * dx, y - ay - t * dy
        distance = np.sqrt(off_x * off_x + off_y * off_y)
        cover = (radius - distance + 0.5).clip(0, 1)
        across = (distance / radius).clip(0, 1)
        z = depth[rows, i].astype(np.float32)[:, None]
        towards = (off_x * light_x + off_y * light_y) / radius
        shade = skin[:, None] * (1 + 0.22 * z) + relief[:, None] * (
            0.6 - 1.5 * across**3 + 0.5 * towards.clip(-1, 1)
        )
        image += cover * (shade - image)
    image = image.reshape(count, SIZE, SIZE)
    return _camera(image, rng)


def _background(skin, x, y, rng):
    """Grey that differs from the skin, with a gradient and soft blobs; float32 (N, 784)."""
    count = len(skin)

    def column(low, high):
        return rng.uniform(low, high, (count, 1)).astype(np.float32)

    contrast = column(0.22, 0.45) * rng.choice(np.float32([-1, 1]), (count, 1), p=[0.1, 0.9])
    image = skin[:, None] + contrast + column(-0.2, 0.2) * (x / SIZE - 0.5)
    image = image + column(-0.2, 0.2) * (y / SIZE - 0.5)
    for _ in range(3):
        distance = (x - column(0, SIZE)) ** 2 + (y - column(0, SIZE)) ** 2
        image += column(-0.15, 0.15) * np.exp(-distance / (2 * column(2.5, 8) ** 2))
    return image


def _camera(image, rng):
    """Blur, contrast, brightness, noise; uint8."""
    count = len(image)

    def column(low, high):
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    weight = column(0.0, 0.2)  # of each neighbour, in both directions
    for axis in (1, 2):
        padded = np.pad(image, [(0, 0)] + [(1, 1) if a == axis else (0, 0) for a in (1, 2)], "edge")
        before = np.take(padded, range(0, SIZE), axis)
        after = np.take(padded, range(2, SIZE + 2), axis)
        image = (1 - 2 * weight) * image + weight * (before + after)
    image = 0.5 + column(0.6, 1.15) * (image - 0.5) + column(-0.12, 0.12)
    image = image + column(0.005, 0.02) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)
