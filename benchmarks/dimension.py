"""TwoNN's speed, memory and readings.

    python benchmarks/dimension.py [--large]

Seconds by the clock and of all processors together, and the memory that is taken beside the points.
The readings are of manifolds of known dimension in 64 coordinates, and of Gaussian noise, whose
dimension is read too low: `dimension.BIAS`.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings

import numpy as np

from labkit import dimension
from labkit.dimension import DimensionWarning


def noise(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Independent Gaussians, float32 (count, width)."""
    return np.random.default_rng(seed).standard_normal((count, width), np.float32)


def sphere(count: int, dimensions: int) -> np.ndarray:
    """Evenly on the surface of a ball of one more dimension."""
    points = noise(count, dimensions + 1)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def cube(count: int, dimensions: int) -> np.ndarray:
    """Evenly in a cube."""
    return np.random.default_rng(0).random((count, dimensions), np.float32)


def in_64_coordinates(points: np.ndarray) -> np.ndarray:
    """The same points, turned into a space of 64 dimensions."""
    basis = np.linalg.qr(noise(64, points.shape[1], seed=1))[0]
    return points @ basis.T


def speed(count: int, width: int) -> None:
    """Time and memory of one estimate."""
    points = noise(count, width)
    clock, processor = time.perf_counter(), time.process_time()
    dimension.two_nn(points)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    tracemalloc.start()
    dimension.two_nearest(points)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    print(
        f"{count:6,} points of {width:5,}: {clock:5.1f} s, of processors {processor:5.1f} s, "
        f"{peak:5.0f} MB beside the {points.nbytes / 1e6:.0f} MB of the points"
    )


def readings(count: int = 5000) -> None:
    """What the three estimators read of known dimensions."""
    manifolds = {f"sphere of {d}": (sphere(count, d), d) for d in (2, 5)}
    manifolds |= {f"cube of {d}": (cube(count, d), d) for d in (2, 5, 8)}
    for name, (points, true) in manifolds.items():
        points = in_64_coordinates(points)
        read = {kind: dimension.two_nn(points, kind).dimension for kind in dimension.ESTIMATORS}
        print(name, {kind: f"{d:.2f} ({d / true - 1:+.1%})" for kind, d in read.items()})
    for width in dimension.BIAS:
        read = [dimension.two_nn(noise(5000, width, seed)).dimension for seed in range(3)]
        print(f"Gaussian noise of {width:,}: {np.mean(read):.1f}, three draws {np.round(read, 1)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="50,000 points too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DimensionWarning)
    dimension.two_nn(noise(500, 32))  # compiled
    speed(5_000, 8_192)
    if arguments.large:
        speed(50_000, 128)
    readings()
