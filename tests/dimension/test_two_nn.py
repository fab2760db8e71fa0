"""TwoNN on manifolds of known dimension, with ties, copies and near copies."""

import warnings

import manifolds
import numpy as np
import pytest

from labkit.dimension import (
    BIAS,
    ESTIMATORS,
    DimensionError,
    DimensionWarning,
    Estimate,
    decimation,
    estimate,
    two_nn,
)


def test_estimators_by_hand():
    logs = np.array([0.1, 0.2, 0.4, 0.7])
    ratios = np.exp(logs)[::-1]
    y = -np.log([0.75, 0.5, 0.25])
    assert estimate(ratios, "linear", 0) == pytest.approx(logs[:3] @ y / (logs[:3] @ logs[:3]))
    assert estimate(ratios, "linear", 0.5) == pytest.approx(logs[:2] @ y[:2] / 0.05)
    assert estimate(ratios, "mle", 0.5) == pytest.approx(3 / 1.4)
    assert estimate(ratios, "censored", 0.5) == pytest.approx(1 / (0.3 + 2 * 0.2))
    assert estimate(ratios, "censored", 0) == estimate(ratios, "mle")


@pytest.mark.parametrize("name", manifolds.FIVE)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_five_manifolds(name, estimator):
    """Within 5 %, the mean of four draws, in 64 coordinates."""
    make, dimension = manifolds.FIVE[name]
    found = [
        two_nn(manifolds.embedded(make(2500, seed), 64), estimator).dimension for seed in range(4)
    ]
    assert np.mean(found) == pytest.approx(dimension, rel=0.05)


#: What scikit-dimension 0.5.0 (with NumPy 2.4.6) says of 2,500 points of each manifold, drawn with
#: seed 0, in 64 coordinates: `skdim.id.TwoNN(discard_fraction=0.1).fit(points).dimension_`.
SCIKIT_DIMENSION = {
    "sphere of 4": 4.027477020562513,
    "Swiss roll": 1.916101615473779,
    "cube of 5": 4.850686380390185,
    "Moebius band": 1.9552052850977273,
    "Gaussian of 6": 6.278940401552251,
}


@pytest.mark.parametrize("name", manifolds.FIVE)
def test_five_manifolds_read_as_by_scikit_dimension(name):
    """Within 0.1 %: what differs is rounding, of coordinates in float32 and in the search."""
    make, dimension = manifolds.FIVE[name]
    found = two_nn(manifolds.embedded(make(2500, 0), 64)).dimension
    assert found == pytest.approx(SCIKIT_DIMENSION[name], rel=1e-3)
    assert found == pytest.approx(dimension, rel=0.05)


def test_pareto_ratios_give_their_exponent_without_bias():
    random = np.random.default_rng(0)
    ratios = random.pareto(7, (400, 50)) + 1
    for estimator in ("mle", "censored"):
        found = [estimate(row, estimator, 0.2) for row in ratios]
        assert np.mean(found) == pytest.approx(7, abs=4 * np.std(found) / 20)


def test_copies_count_once():
    points = manifolds.cube(800, 3)
    found = two_nn(np.concatenate([points, points[:300], points[:300]]))
    assert found.duplicates == 600 and len(found.ratios) == 800
    assert found.dimension == two_nn(points).dimension == float(found)


def test_near_copies_draw_the_likelihood_and_neither_of_the_others():
    points = manifolds.embedded(manifolds.cube(2000, 3), 32).astype(np.float64)
    points = np.concatenate([points, points[:10] + 1e-9])
    found = {name: two_nn(points, name).dimension for name in ESTIMATORS}
    assert found["linear"] == pytest.approx(3, rel=0.07)
    assert found["censored"] == pytest.approx(3, rel=0.07)
    assert found["mle"] < 2.2


def test_ties_are_borne_and_a_grid_is_told():
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 2), -1).reshape(-1, 2)
    with pytest.raises(DimensionError, match="lie on a grid"):
        two_nn(grid)
    points = np.concatenate([grid / 40, manifolds.cube(2000, 2)])
    assert two_nn(points).dimension == pytest.approx(2, rel=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    inside = 0
    for seed in range(60):
        ratios = np.sort(np.random.default_rng(seed).pareto(5, 300) + 1)
        found = Estimate(estimate(ratios, "censored"), ratios, estimator="censored")
        low, high = found.interval(0.9, resamples=200)
        assert low < found.dimension < high
        inside += low < 5 < high
    assert 46 <= inside <= 60


def test_the_curve_is_a_line_through_the_origin():
    x, y = two_nn(manifolds.cube(3000, 4)).curve()
    assert len(x) == 2999 and y[0] == pytest.approx(1 / 3000, rel=1e-3)
    middle = slice(500, 2500)
    np.testing.assert_allclose(y[middle] / x[middle], 4, rtol=0.2)


def test_decimation_sees_noise_on_a_small_scale():
    """A circle in a plane, drawn with a thick pen: from far away a line."""
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 4096)
    thick = np.stack([np.cos(angle), np.sin(angle)], 1) + random.normal(0, 2e-3, (4096, 2))
    table = decimation(thick, halvings=6)
    assert list(table["points"]) == [4096, 2048, 1024, 512, 256, 128, 64]
    assert list(table["parts"]) == [1, 2, 4, 8, 16, 32, 64]
    assert table["dimension"].iloc[0] > 1.6 and table["dimension"].iloc[-1] < 1.25
    assert np.isnan(table["spread"].iloc[0]) and (table["spread"].iloc[1:] > 0).all()
    clean = decimation(manifolds.cube(1024, 2), halvings=3)
    np.testing.assert_allclose(clean["dimension"], 2, rtol=0.1)


@pytest.mark.parametrize("width", [50, 100])
def test_many_dimensions_read_too_low_as_told(width):
    points = manifolds.gaussian(5000, width).astype(np.float32)
    with pytest.warns(DimensionWarning, match=f"{width} dimensions read as {BIAS[width]:.0f}"):
        found = two_nn(points).dimension
    assert found == pytest.approx(BIAS[width], rel=0.06)


def test_few_dimensions_come_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two_nn(manifolds.gaussian(1000, 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate([1.5, 2.0], "median"), "'median' .* expected one of linear, mle"),
        (lambda: estimate([1.5, 2.0], discard=1.0), "discards 1.0"),
        (lambda: estimate([1.5, 2.0, 3.0], discard=0.5), "two or more that are left"),
        (lambda: estimate([0.5, 2.0, 3.0]), "none below 1"),
        (lambda: two_nn(np.ones((9, 4))), "1 distinct points of 9"),
        (lambda: decimation(manifolds.cube(20, 2), halvings=4), "8 parts of 20 points"),
    ],
)
def test_what_cannot_be_estimated_is_told(call, message):
    with pytest.raises(DimensionError, match=message):
        call()
