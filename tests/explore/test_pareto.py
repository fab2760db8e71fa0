"""Fronts, what they beat, hypervolumes, and the best of k runs."""

import numpy as np
import pandas as pd
import pytest

from labkit import measure
from labkit.explore import pareto, selection
from labkit.explore.members import ExploreError
from labkit.measure.pareto import beaten

TABLE = pd.DataFrame(
    {
        "weight bits": [4, 4, 4, 6, 8, 6],
        "activation bits": [4, 8, 16, 6, 8, 6],
        "bits": [8, 12, 20, 12, 16, 12],
        "error": [0.40, 0.30, 0.28, 0.30, 0.35, 0.33],
    }
)


def test_beaten_by_hand():
    np.testing.assert_array_equal(beaten(TABLE[["bits", "error"]]), [0, 0, 0, 0, 3, 2])
    np.testing.assert_array_equal(beaten(np.array([[1.0, 1], [1, 1], [np.nan, 0]])), [0, 0, 2])


def test_fronts_by_hand():
    best = pareto.front(TABLE, ["bits", "error"])
    assert best.index.tolist() == [0, 1, 3, 2]
    most = pareto.front(TABLE, {"bits": True, "error": False})
    assert most.index.tolist() == [2]
    hardware = pareto.hardware_friendly(TABLE)
    assert hardware.index.tolist() == [0, 1, 2]
    with pytest.raises(ExploreError, match="no column 'size'; there are weight bits"):
        pareto.front(TABLE, ["size"])


def test_the_front_of_files_is_the_same_concept():
    rng = np.random.default_rng(0)
    count, metric = 60, measure.AVERAGE_DISTANCE_ERROR
    report = pd.DataFrame(
        {
            "technique": [str(i) for i in range(count)],
            "data": "real",
            "profile": "full",
            "bytes": rng.permutation(count).astype(float),
            metric.column: rng.normal(size=count),
        }
    )
    ours = pareto.front(report, ["bytes", metric.column])
    assert ours.equals(measure.front(report, metric=metric))


def test_hypervolume_by_hand_and_by_counting():
    assert pareto.hypervolume(TABLE, ["bits", "error"], (20, 0.5)) == pytest.approx(
        (20 - 8) * 0.1 + (20 - 12) * 0.1
    )
    assert pareto.hypervolume(TABLE, ["bits", "error"], (8, 0.1)) == 0
    rng = np.random.default_rng(1)
    for objectives in (1, 2, 3, 4):
        points = rng.uniform(size=(7, objectives))
        table = pd.DataFrame(points, columns=[f"o{i}" for i in range(objectives)])
        thrown = rng.uniform(size=(40_000, 1, objectives))
        counted = (thrown >= points).all(axis=2).any(axis=1).mean()
        found = pareto.hypervolume(table, list(table), [1] * objectives)
        assert found == pytest.approx(counted, abs=0.012)
        higher = pareto.hypervolume(-table, dict.fromkeys(table, True), [-1] * objectives)
        assert higher == pytest.approx(found)
    with pytest.raises(ExploreError, match="1 values for 2 objectives"):
        pareto.hypervolume(TABLE, ["bits", "error"], [1])


RUNS = np.array([3.0, 1, 2, 5, 4])


def test_best_of_k_is_exact():
    rng = np.random.default_rng(0)
    for k in (1, 2, 7):
        drawn = rng.choice(RUNS, (200_000, k))
        assert selection.best_of(RUNS, k).value == pytest.approx(drawn.min(axis=1).mean(), abs=0.01)
        most = selection.best_of(RUNS, k, higher_is_better=True).value
        assert most == pytest.approx(drawn.max(axis=1).mean(), abs=0.01)
    assert selection.best_of(RUNS, 1).value == 3
    assert selection.best_of(RUNS, 1000).value == pytest.approx(1)


def test_intervals_hold_what_they_promise():
    """Of normal runs: the mean in 95 %, and the best of three in most of the intervals."""
    rng = np.random.default_rng(1)
    wanted = -0.8463  # the expected least of three standard normals
    inside = {1: 0, 3: 0}
    for trial in range(150):
        runs = rng.normal(size=40)
        for k, truth in ((1, 0.0), (3, wanted)):
            found = selection.best_of(runs, k, resamples=300, seed=trial)
            inside[k] += found.low <= truth <= found.high
    assert 0.88 < inside[1] / 150 <= 1 and 0.85 < inside[3] / 150 <= 1


def test_equal_designs_do_not_differ_and_better_ones_do():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.43, 0.02, 30), rng.normal(0.43, 0.02, 30)
    same = selection.compare(a, b, 10)
    assert same.low < 0 < same.high
    better = selection.compare(a - 0.05, b, 10)
    assert better.high < 0 and better.value == pytest.approx(same.value - 0.05)
    more = selection.compare(a + 0.05, b, 10, higher_is_better=True)
    assert more.low > 0


def test_the_winner_of_equals_is_worth_no_more_than_they():
    """225 designs of the same worth: the best mean lies far below, the winner's worth does not."""
    runs = np.random.default_rng(3).normal(0.43, 0.02, (225, 10))
    naive = runs.mean(axis=1).min()
    found = selection.winner(runs, resamples=300)
    assert naive < 0.43 - 2 * 0.02 / np.sqrt(10)
    assert found.value > naive + 0.5 * (0.43 - naive)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selection.best_of(np.ones((2, 2)), 1), r"runs are \(2, 2\), expected \(n,\)"),
        (lambda: selection.best_of([], 1), "expected"),
        (lambda: selection.best_of(RUNS, 0), "k is 0"),
        (lambda: selection.best_of(RUNS, 1, level=1), "level is 1"),
        (lambda: selection.winner(np.ones((3, 1))), r"expected \(designs, 2 or more\)"),
    ],
)
def test_what_there_is_not(call, message):
    with pytest.raises(ExploreError, match=message):
        call()
