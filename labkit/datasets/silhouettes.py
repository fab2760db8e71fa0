"""Draws ten classes of coloured pictures, the stand-ins of CIFAR-10: animals and vehicles.

Each class is a silhouette made of discs, capsules, boxes and triangles, given by their signed
distance. It is posed, coloured, textured and put before a background with clutter; colours say
nothing of the class. A cat and a dog differ in their ears alone, a horse and a frog in everything,
so that pairs of classes have the order of difficulty of the real ones.

Image i depends on seed, stream, i and its class alone, so that a smaller data set is the beginning
of a larger one. Units: pictures reach from -1 to 1, x to the right and y up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tqdm.auto import tqdm

from labkit import runtime

#: Changes whenever the drawing does, so that no cache serves images of an older one.
VERSION = 1
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_BLOCK = 250
_STREAMS = ("train", "test", "validation")


def draw(
    classes: np.ndarray,
    size: int = 32,
    seed: int = 0,
    stream: str = "train",
    clutter: bool = True,
) -> np.ndarray:
    """Draw one image for each class.

    Args:
        classes: (N,) integers 0..9, in the order of `CLASS_NAMES`.
        size: height and width in pixels.
        seed: the same seed, stream and classes draw the same images.
        stream: "train", "test" or "validation", with other random numbers.
        clutter: any colour before any other, among blots; without, bright ones before dark ones,
            which a small network learns in seconds.

    Returns:
        uint8 (N, size, size, 3).
    """
    classes = np.asarray(classes)
    images = np.empty((len(classes), size, size, 3), np.uint8)
    blocks = range(0, len(classes), _BLOCK)
    for start in tqdm(blocks, f"drawing {stream}", leave=False, disable=not runtime.interactive()):
        rng = np.random.default_rng([seed, _STREAMS.index(stream), start])
        part = classes[start : start + _BLOCK]
        block = np.zeros(_BLOCK, np.int64)  # whole, or the random numbers would depend on N
        block[: len(part)] = part
        images[start : start + _BLOCK] = _pictures(block, size, rng, clutter)[: len(part)]
    return images


def _pictures(
    classes: np.ndarray, size: int, rng: np.random.Generator, clutter: bool
) -> np.ndarray:
    """Images uint8 (B, size, size, 3): silhouettes over a background, and a poor camera."""
    count = len(classes)
    pixel = 2 / size
    line = (np.arange(size) + 0.5) * pixel - 1
    x, y = (a.astype(np.float32)[None] for a in np.meshgrid(line, -line))
    u, v = _posed(x, y, count, rng)
    limbs = rng.normal(0, 0.05, (8, count, 1, 1)).astype(np.float32)
    distance = np.empty((count, size, size), np.float32)
    for number, name in enumerate(CLASS_NAMES):
        mine = classes == number
        distance[mine] = _SILHOUETTES[name](u[mine], v[mine], limbs[:, mine])
    cover = np.clip(0.5 - distance / pixel, 0, 1)[..., None]
    background, skin = _background(x, y, count, size, rng, clutter), _skin(u, v, count, rng)
    if not clutter:
        background, skin = 0.4 * background, 0.6 + 0.4 * skin
    picture = background * (1 - cover) + skin * cover
    light = (
        1 + _uniform(rng, 0.25, count) * x[..., None] + _uniform(rng, 0.25, count) * y[..., None]
    )
    noise = rng.normal(0, 1, picture.shape).astype(np.float32) * rng.uniform(
        0.01, 0.07, (count, 1, 1, 1)
    )
    return np.round(np.clip(picture * light + noise, 0, 1) * 255).astype(np.uint8)


def _uniform(rng: np.random.Generator, bound: float, count: int) -> np.ndarray:
    return rng.uniform(-bound, bound, (count, 1, 1, 1)).astype(np.float32)


def _posed(x, y, count: int, rng: np.random.Generator):
    """Coordinates (B, size, size) in the frame of the silhouette: moved, turned, mirrored."""

    def draw(low, high):
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    angle, scale, stretch = draw(-0.45, 0.45), draw(0.55, 1.0), np.exp(draw(-0.2, 0.2))
    mirror = np.where(draw(0, 1) < 0.5, -1, 1).astype(np.float32)
    moved_x, moved_y = x - draw(-0.3, 0.3), y - draw(-0.3, 0.3)
    u = (np.cos(angle) * moved_x + np.sin(angle) * moved_y) * mirror / scale
    v = (-np.sin(angle) * moved_x + np.cos(angle) * moved_y) / scale
    return u * stretch, v / stretch


def _background(x, y, count: int, size: int, rng: np.random.Generator, clutter: bool) -> np.ndarray:
    """Two colours in soft patches, with a few blots of others (B, size, size, 3)."""
    colours = rng.random((2, count, 1, 1, 3), np.float32)
    patches = np.zeros((count, size, size), np.float32)
    for _ in range(3):
        fx, fy, phase = rng.uniform(-4, 4, (3, count, 1, 1)).astype(np.float32)
        patches += np.sin(fx * x + fy * y + phase)
    mix = (0.5 + patches / 6)[..., None]
    picture = colours[0] * mix + colours[1] * (1 - mix)
    for _ in range(4 if clutter else 0):
        cx, cy = rng.uniform(-1, 1, (2, count, 1, 1)).astype(np.float32)
        radius, width = rng.uniform(0.03, 0.22, (2, count, 1, 1)).astype(np.float32)
        blot = np.clip((1 - np.hypot((x - cx) / radius, (y - cy) / width)) * 4, 0, 1)[..., None]
        picture += blot * (rng.random((count, 1, 1, 3), np.float32) - picture)
    return picture


def _skin(u, v, count: int, rng: np.random.Generator) -> np.ndarray:
    """A colour with stripes or spots of another (B, size, size, 3)."""
    colours = rng.random((2, count, 1, 1, 3), np.float32)
    angle, frequency, phase = (
        rng.uniform(low, high, (count, 1, 1)).astype(np.float32)
        for low, high in ((0, np.pi), (4, 16), (0, 6.3))
    )
    along = np.sin(frequency * (np.cos(angle) * u + np.sin(angle) * v) + phase)
    across = np.sin(frequency * (np.cos(angle) * v - np.sin(angle) * u))
    spotted = rng.random((count, 1, 1)) < 0.5
    depth = rng.uniform(0, 0.5, (count, 1, 1)).astype(np.float32)
    mix = ((0.5 + 0.5 * np.where(spotted, along * across, along)) * depth)[..., None]
    return colours[0] * (1 - mix) + colours[1] * mix


# Signed distances, negative inside; of ellipses only nearly so, which is enough for an edge.


def _ellipse(x, y, cx, cy, a, b):
    return (np.hypot((x - cx) / a, (y - cy) / b) - 1) * min(a, b)


def _capsule(x, y, ax, ay, bx, by, radius):
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - ax - along * dx, y - ay - along * dy) - radius


def _box(x, y, cx, cy, a, b):
    return np.maximum(np.abs(x - cx) - a, np.abs(y - cy) - b)


def _triangle(x, y, *corners):
    """Corners counter-clockwise."""
    points = np.reshape(np.asarray(corners, np.float32), (3, 2))
    sides = []
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        length = np.hypot(bx - ax, by - ay)
        sides.append(((by - ay) * (x - ax) - (bx - ax) * (y - ay)) / length)
    return np.maximum.reduce(sides)


def _union(*distances):
    return np.minimum.reduce(distances)


def _airplane(x, y, d):
    return _union(
        _capsule(x, y, -0.8, 0, 0.8, 0, 0.11),
        _triangle(x, y, -0.25, 0, 0.25, 0, -0.35, 0.75),
        _triangle(x, y, -0.25, 0, -0.35, -0.75, 0.25, 0),
        _triangle(x, y, -0.85, 0, -0.6, 0, -0.85, 0.35),
    )


def _automobile(x, y, d):
    return _union(
        _box(x, y, 0, -0.1, 0.8, 0.18 + 0.3 * d[0]),
        _ellipse(x, y, -0.05 + d[1], 0.08, 0.45, 0.32),
        _ellipse(x, y, -0.45, -0.3, 0.19, 0.19),
        _ellipse(x, y, 0.45, -0.3, 0.19, 0.19),
    )


def _truck(x, y, d):
    return _union(
        _box(x, y, -0.25, 0.12, 0.55, 0.36 + 0.3 * d[0]),
        _box(x, y, 0.55, -0.06, 0.25, 0.2 + 0.3 * d[1]),
        _ellipse(x, y, -0.5, -0.3, 0.17, 0.17),
        _ellipse(x, y, -0.1, -0.3, 0.17, 0.17),
        _ellipse(x, y, 0.55, -0.3, 0.17, 0.17),
    )


def _ship(x, y, d):
    return _union(
        _triangle(x, y, -0.85, 0.0, -0.4, -0.45, 0.4, 0.0),
        _triangle(x, y, 0.85, 0.0, -0.4, 0.0, 0.4, -0.45),
        _box(x, y, 0, -0.22, 0.42, 0.22),
        _box(x, y, -0.1 + d[0], 0.15, 0.3, 0.16),
        _capsule(x, y, 0.1 + d[1], 0.2, 0.1 + d[1], 0.7, 0.06),
    )


def _bird(x, y, d):
    return _union(
        _ellipse(x, y, 0, 0, 0.5, 0.26),
        _ellipse(x, y, 0.5, 0.25 + d[0], 0.2, 0.2),
        _triangle(x, y, 0.65, 0.3, 0.65, 0.15, 0.95, 0.2),
        _triangle(x, y, -0.2, 0.05, 0.25, 0.05, -0.35, 0.7),
        _triangle(x, y, -0.4, 0.05, -0.9, 0.15, -0.85, -0.15),
    )


def _face(x, y, d):
    """The head and body that cat and dog share."""
    return _union(
        _ellipse(x, y, 0, 0.15, 0.42, 0.38),
        _ellipse(x, y, 0.05 + d[0], -0.5, 0.34, 0.42),
        _capsule(x, y, 0.3, -0.7, 0.75, -0.45 + d[1], 0.07),
    )


def _cat(x, y, d):
    return _union(
        _face(x, y, d),
        _triangle(x, y, -0.4, 0.3, -0.05, 0.45, -0.38, 0.85),
        _triangle(x, y, 0.4, 0.3, 0.38, 0.85, 0.05, 0.45),
    )


def _dog(x, y, d):
    return _union(
        _face(x, y, d),
        _ellipse(x, y, -0.46, 0.12, 0.15, 0.36),
        _ellipse(x, y, 0.46, 0.12, 0.15, 0.36),
    )


def _grazer(x, y, d):
    """What horse and deer share: a body on four legs, a neck and a head."""
    legs = [
        _capsule(x, y, foot, -0.1, foot + d[i], -0.8, 0.07)
        for i, foot in enumerate((-0.42, -0.22, 0.2, 0.4))
    ]
    return _union(
        _ellipse(x, y, 0, 0, 0.55, 0.26),
        _capsule(x, y, 0.42, 0.08, 0.62, 0.5 + d[4], 0.12),
        _capsule(x, y, 0.62, 0.5 + d[4], 0.85, 0.42 + d[4], 0.1),
        *legs,
    )


def _horse(x, y, d):
    tail = _capsule(x, y, -0.5, 0.1, -0.78, -0.35 + d[5], 0.08)
    mane = _capsule(x, y, 0.36, 0.2, 0.5, 0.62 + d[4], 0.08)
    return _union(_grazer(x, y, d), tail, mane)


def _deer(x, y, d):
    top = 0.58 + d[4]
    antlers = [
        _capsule(x, y, 0.6, top, 0.4 + d[6], top + 0.35, 0.045),
        _capsule(x, y, 0.6, top, 0.78 + d[7], top + 0.35, 0.045),
        _capsule(x, y, 0.5, top + 0.17, 0.62, top + 0.36, 0.04),
    ]
    return _union(_grazer(x, y, d), *antlers)


def _frog(x, y, d):
    return _union(
        _ellipse(x, y, 0, -0.1, 0.62, 0.38),
        _ellipse(x, y, -0.3, 0.3, 0.17, 0.17),
        _ellipse(x, y, 0.3, 0.3, 0.17, 0.17),
        _capsule(x, y, -0.5, -0.25, -0.8 + d[0], -0.55, 0.13),
        _capsule(x, y, 0.5, -0.25, 0.8 + d[1], -0.55, 0.13),
    )


_SILHOUETTES: dict[str, Callable] = {
    "airplane": _airplane,
    "automobile": _automobile,
    "bird": _bird,
    "cat": _cat,
    "deer": _deer,
    "dog": _dog,
    "frog": _frog,
    "horse": _horse,
    "ship": _ship,
    "truck": _truck,
}
