"""Points on manifolds of known dimension, and how they are put into more coordinates."""

import numpy as np


def sphere(count, dimension, seed=0):
    """Evenly on the surface of a ball in one more dimension."""
    points = np.random.default_rng(seed).normal(size=(count, dimension + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def swiss_roll(count, seed=0):
    """A plane rolled up, evenly by area."""
    random = np.random.default_rng(seed)
    turns = np.sqrt(random.uniform(2.25, 20.25, count)) * np.pi
    return np.stack([turns * np.cos(turns), random.uniform(0, 21, count), turns * np.sin(turns)], 1)


def cube(count, dimension, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, dimension))


def moebius(count, seed=0):
    """A band of one side in three dimensions."""
    random = np.random.default_rng(seed)
    along, across = random.uniform(0, 2 * np.pi, count), random.uniform(-0.3, 0.3, count)
    radius = 1 + across * np.cos(along / 2)
    return np.stack(
        [radius * np.cos(along), radius * np.sin(along), across * np.sin(along / 2)], axis=1
    )


def gaussian(count, dimension, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimension))


def embedded(points, width, seed=0):
    """The same points turned into more coordinates, so that distances stay, in float32."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(width, points.shape[1])))[0]
    return (points @ basis.T + 1).astype(np.float32)


FIVE = {
    "sphere of 4": (lambda n, seed=0: sphere(n, 4, seed), 4),
    "Swiss roll": (swiss_roll, 2),
    "cube of 5": (lambda n, seed=0: cube(n, 5, seed), 5),
    "Moebius band": (moebius, 2),
    "Gaussian of 6": (lambda n, seed=0: gaussian(n, 6, seed), 6),
}
