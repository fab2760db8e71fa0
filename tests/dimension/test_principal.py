"""Principal components, against scikit-learn."""

import manifolds
import numpy as np
import pytest
from sklearn.decomposition import PCA

from labkit.dimension import Covariance, DimensionError, components, explained


@pytest.mark.parametrize("shape", [(300, 12), (20, 50), (40, 40)])
def test_as_scikit_learn(shape):
    points = 50 + manifolds.gaussian(*shape) * np.linspace(0.01, 3, shape[1]) ** 2
    points = points.astype(np.float32)
    theirs = PCA().fit(points.astype(np.float64)).explained_variance_ratio_
    np.testing.assert_allclose(explained(points), theirs, atol=1e-7)
    for share in (0.5, 0.9, 0.99):
        wanted = PCA(share, svd_solver="full").fit(points.astype(np.float64)).n_components_
        assert components(points, share) == wanted


def test_blocks_are_as_good_as_the_whole():
    points = 1e3 + manifolds.gaussian(9000, 6) * [1, 2, 3, 4, 5, 6]
    covariance = Covariance(6)
    for block in np.array_split(points, [1, 10, 5000]):
        covariance.add(block)
    np.testing.assert_allclose(covariance.explained(), explained(points), rtol=1e-9)
    assert covariance.components(0.9) == components(points, 0.9)


def test_by_hand():
    # Variances 1, 4 and 0 along the axes.
    points = np.array([[1, 2, 7], [1, -2, 7], [-1, 2, 7], [-1, -2, 7]])
    np.testing.assert_allclose(explained(points), [0.8, 0.2, 0], atol=1e-12)
    assert [components(points, share) for share in (0.5, 0.8, 0.81, 1.0)] == [1, 1, 2, 2]


def test_a_curve_takes_more_components_than_it_has_dimensions():
    angle = np.linspace(0, 6, 500)
    waves = [np.cos(k * angle) for k in range(1, 9)]
    assert components(np.stack(waves, axis=1), 0.95) >= 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: explained(np.ones((5, 3))), "all points are the same"),
        (lambda: explained(np.ones((1, 3))), "1 points, expected 2"),
        (lambda: Covariance(3).explained(), "0 points, expected 2"),
        (lambda: components(manifolds.cube(9, 2), 0), "share is 0"),
    ],
)
def test_what_cannot_be_explained_is_told(call, message):
    with pytest.raises(DimensionError, match=message):
        call()
