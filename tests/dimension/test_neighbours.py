"""Distances to the two nearest neighbours, against all distances in float64."""

import tracemalloc

import manifolds
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from labkit.dimension import DimensionError, distinct, two_nearest


def by_hand(points):
    points = points.astype(np.float64)
    return np.sort(cdist(points, points), axis=1)[:, 1:3]


def on_a_line(count, width):
    """Neighbours a ten-thousandth of the extent apart: float32's products cannot tell them."""
    along = (
        np.random.default_rng(1).permutation(count)[:, None] + np.linspace(0, 0.2, count)[:, None]
    )
    return manifolds.embedded(along, width)


def clustered(count, width):
    """Twenty near copies of each point, more than there are candidates."""
    random = np.random.default_rng(2)
    places = np.repeat(random.normal(size=(count // 20, width)), 20, axis=0)
    return places + 1e-9 * random.normal(size=(count, width))


@pytest.mark.parametrize(
    "points",
    [
        manifolds.gaussian(1500, 40).astype(np.float32),
        manifolds.gaussian(300, 5),
        100 + manifolds.embedded(manifolds.swiss_roll(1200), 64),
        on_a_line(1100, 32),
        clustered(400, 24),
        manifolds.gaussian(4, 20).astype(np.float32),
        np.repeat(manifolds.gaussian(30, 16), 12, axis=0),
    ],
    ids=["float32", "tree", "far away", "line", "near copies", "few", "copies"],
)
def test_as_all_distances_in_float64(points):
    np.testing.assert_allclose(two_nearest(points), by_hand(points), rtol=1e-9, atol=1e-15)


def test_integers_and_images_are_points():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3)).astype(np.uint8)
    np.testing.assert_allclose(two_nearest(images), by_hand(images.reshape(50, -1)))


def test_memory_is_bounded():
    points = manifolds.gaussian(6000, 48).astype(np.float32)
    two_nearest(points[:2000])  # compiled
    tracemalloc.start()
    two_nearest(points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 < 6000 * 6000 * 4 / 7


def test_copies_are_found_whatever_the_sign_of_zero():
    points = np.array([[0.0, 1.0], [2.0, 3.0], [-0.0, 1.0], [2.0, 3.0], [2.0, 3.1]])
    np.testing.assert_array_equal(distinct(points), [0, 1, 4])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones(5), r"the points are float64 \(5,\)"),
        (np.array([["a", "b"]]), "expected numbers"),
        (np.array([[0.0, np.nan], [1.0, 2.0]]), "not finite"),
        (np.ones((2, 3)), "2 points, expected 3"),
    ],
)
def test_bad_points_are_told(points, message):
    with pytest.raises(DimensionError, match=message):
        two_nearest(points)
