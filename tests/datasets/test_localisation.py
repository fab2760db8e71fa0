"""The recording of a room: read strictly, simulated plausibly, cut into windows in order."""

import numpy as np
import pytest

from labkit.datasets import DataError, Dataset, localisation, localisation_simulator
from labkit.datasets.localisation_simulator import Room


@pytest.fixture(scope="module")
def drawn():
    return localisation_simulator.draw("train", 1301, 0)


def lines(count, header="a,b,c,d,x,y"):
    rows = [f"{i},{2 * i},{3 * i},{4 * i},{i % 3},{i % 2}" for i in range(count)]
    return "\n".join([header, *rows] if header else rows) + "\n"


@pytest.fixture
def small(folder, monkeypatch):
    """The file of a recording of 12 samples for training and 4 for testing."""
    for part, count in (("train", 12), ("test", 4)):
        monkeypatch.setitem(localisation.SOURCE.rows, part, count)
    return folder / "localisation.csv"


@pytest.mark.parametrize("header", ["a,b,c,d,x,y", ""])
def test_a_recording_is_parted_in_the_order_of_time(small, header):
    small.write_text(lines(16, header))
    data = localisation.load("real")
    assert data.x_train[:, 0].tolist() == list(range(12))
    assert data.x_test[:, 3].tolist() == [48, 52, 56, 60] and data.y_test.shape == (4, 2)
    held = data.holdout(0.25)
    assert held.x_train[:, 0].tolist() == list(range(9))
    assert held.x_test[:, 0].tolist() == [9, 10, 11]
    assert data.describe().endswith("12 for training, 4 for testing, to estimate x, y (m).")


def test_the_sizes_of_the_thesis():
    data = localisation.load("synthetic")
    held = data.holdout(0.25)
    assert (len(held.x_train), len(held.x_test), len(data.x_test)) == (976, 325, 325)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines(15), "test has 3 samples, expected 4"),
        (lines(3), "has 3 samples, expected 16"),
        (lines(16).replace("5,10,15,20,2,1", "5,10,15,20,2"), "line 7 has 5 columns"),
        (lines(16).replace("5,10,15,20,2,1", "5,10,inf,20,2,1"), "line 7, column 3 is 'inf'"),
        (lines(16).replace("5,10,15,20,2,1", "5,10,15,20,200,1"), "line 7: x is 200, expected met"),
        ("", "has 0 samples"),
    ],
)
def test_files_that_are_no_recording(small, content, message):
    small.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        localisation.load("real")
    assert str(small) in str(caught.value)


def test_windows_end_with_their_sample(small):
    small.write_text(lines(16))
    data = localisation.load("real")
    cut = localisation.windows(data, 3)
    assert cut.x_train.shape == (10, 3, 4) and cut.x_test.shape == (2, 3, 4)
    np.testing.assert_array_equal(cut.x_train[4], data.x_train[4:7])
    np.testing.assert_array_equal(cut.y_train, data.y_train[2:])
    np.testing.assert_array_equal(localisation.latest(cut).x_test, data.x_test[2:])
    assert cut.x_train.flags.c_contiguous and cut.in_order
    for length in (0, 5):
        with pytest.raises(DataError, match=f"length is {length}, expected 1 to 4"):
            localisation.windows(data, length)
    with pytest.raises(DataError, match="not one of samples in the order of time"):
        localisation.windows(cut)


def test_samples_in_order_are_cut_out_whole():
    x = np.arange(40, dtype=np.float32)[:, None]
    data = Dataset.from_arrays("mine", (x, x), (x + 40, x + 40), in_order=True)
    few = data.subset(10, 5, seed=3)
    assert (np.diff(few.x_train[:, 0]) == 1).all() and (np.diff(few.x_test[:, 0]) == 1).all()
    assert len({data.subset(10, 5, seed=s).x_train[0, 0] for s in range(9)}) > 3
    for fraction in (0.0, 0.01, 1.0):
        with pytest.raises(DataError, match="cannot be held out"):
            data.holdout(fraction)
    with pytest.raises(ValueError, match="41 items asked for, there are 40"):
        data.subset(41, 5)


def test_a_walk_is_one(drawn):
    x, y = drawn
    assert x.shape == (1301, 4) and y.shape == (1301, 2) and x.dtype == y.dtype == np.float32
    room = Room(truth=0)
    places = localisation_simulator.walk(
        room, 3000, localisation_simulator.destinations(room, 0), np.random.default_rng(0)
    )
    speed = np.hypot(*np.diff(places, axis=0).T) * localisation_simulator.RATE
    assert 0.2 < np.median(speed) < 0.8 and speed.max() < 2
    assert places.min() > 0.1 and places.max() < 2.9
    assert (np.ptp(places, axis=0) > 1.5).all()
    assert np.histogram2d(*places.T, bins=3, range=[[0, 3]] * 2)[0].min() >= 0
    still = np.convolve(speed < 0.02, np.ones(60), "valid")
    assert still.max() < 60  # nobody stands anywhere for ever


def test_a_plate_sees_who_is_near(drawn):
    quiet = {"noise": 0, "drift": 0, "interference": 0, "turn": 0, "truth": 0, "step": 1e-3}
    x, y = localisation_simulator.draw("train", 500, 1, **quiet)
    room = Room(**quiet)
    distance = np.hypot(*(y[:, None] - room.plates).transpose(2, 0, 1))
    for plate in range(4):
        order = distance[:, plate].argsort()
        assert (np.diff(x[order, plate]) > -2e-2).all()
    fall = room.frequency - x
    near, far = distance[:, 0] < 0.8, distance[:, 0] > 2
    assert fall[near, 0].mean() > 5 * fall[far, 0].mean()


def test_counts_drift_and_bursts():
    x, _ = localisation_simulator.draw("train", 600, 2)
    np.testing.assert_array_equal(x / Room().step, np.round(x / Room().step))
    one, _ = localisation_simulator.draw("train", 4000, 2, interference=0, step=1e-3)
    two, _ = localisation_simulator.draw("train", 4000, 2, interference=10, step=1e-3)
    bursts = np.abs(two - one)
    hit = bursts > 1
    assert 0.02 < hit.mean() < 0.15
    assert (hit.sum(axis=1) > 1).mean() < 0.05  # of one plate at a time
    calm, _ = localisation_simulator.draw("train", 4000, 2, interference=0, step=1e-3, drift=0)
    drift = (one - calm)[::300]
    assert 0.3 * Room().drift < drift.std() < 2 * Room().drift


def test_a_seed_draws_the_same_and_fewer_begin_more(drawn):
    again = localisation_simulator.draw("train", 200, 0)
    for few, whole in zip(again, drawn, strict=True):
        np.testing.assert_array_equal(few, whole[:200])
    assert (localisation_simulator.draw("test", 200, 0)[0] != again[0]).mean() > 0.5
    assert (localisation_simulator.draw("train", 200, 1)[0] != again[0]).mean() > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [({"side": 0}, "side is 0"), ({"noise": -1}, "noise is -1"), ({"margin": 2}, "margin is 2")],
)
def test_rooms_that_there_are_not(change, message):
    with pytest.raises(DataError, match=message):
        Room(**change)
