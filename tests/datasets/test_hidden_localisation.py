"""Hidden walks: another day in the lab's room, the same for a seed, never a public window."""

import numpy as np
import pytest

from labkit.datasets import DataError, hidden_localisation, localisation, localisation_simulator

SEED, OTHER = [3, 1, 4, 1, 5], [2, 7, 1, 8, 2]


@pytest.fixture
def on_disk(folder):
    """A recording as somebody who has it would put it there."""
    parts = [
        localisation_simulator.draw("train", 1301, 7),
        localisation_simulator.draw("test", 325, 7),
    ]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    np.savetxt(folder / "localisation.csv", np.hstack([x, y]), fmt="%.6g", delimiter=",")
    return localisation.load("real")


def contents(windows):
    return {window.tobytes() for window in windows}


def are_offered(x, y, count):
    """As a file reads them: float32, standardised, in the room."""
    assert x.shape == (count, localisation.WINDOW, 4) and x.dtype == np.float32
    assert y.shape == (count, 2) and y.dtype == np.float32
    assert y.min() > -0.2 and y.max() < 3.2
    assert abs(np.median(x)) < 1 and 0.5 < x.std() < 2


@pytest.mark.parametrize("count", [1, 296, 300, 900])
def test_walks_are_as_long_as_asked_for(count):
    x, y = hidden_localisation.synthetic(count, SEED)
    are_offered(x, y, count)
    assert len(contents(x)) == count
    longer, _ = hidden_localisation.synthetic(count + 5, SEED)
    np.testing.assert_array_equal(longer[:count], x)


def test_windows_belong_to_the_place_at_their_end():
    """Within a walk each window goes on where the one before it was."""
    x, y = hidden_localisation.synthetic(296, SEED)
    np.testing.assert_array_equal(x[1:, :-1], x[:-1, 1:])
    data = localisation.load("synthetic", seed=0)
    deviation, mean = data.x_train.std(axis=0), data.x_train.mean(axis=0)
    room = localisation_simulator.Room(turn=0)
    true = np.sqrt(((y[:, None] - room.plates) ** 2).sum(axis=-1) + room.height**2)
    expected = (localisation_simulator.oscillators(room, true) - mean) / deviation
    assert np.corrcoef(x[:, -1].ravel(), expected.ravel())[0, 1] > 0.85
    assert np.corrcoef(x[:, 0].ravel(), expected.ravel())[0, 1] < 0.5


def test_walks_depend_on_the_seed_alone():
    x, y = hidden_localisation.synthetic(60, SEED)
    again, same = hidden_localisation.synthetic(60, SEED)
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(same, y)
    assert not contents(hidden_localisation.synthetic(60, OTHER)[0]) & contents(x)


def test_hidden_walks_are_new_ones_between_the_labs_places():
    x, y = hidden_localisation.synthetic(1200, SEED)
    public, places = hidden_localisation.public(300, of_real=False)
    are_offered(public, places, 296)
    lab = localisation.windows(localisation.load("synthetic", seed=0).standardised())
    assert contents(public) == contents(lab.x_test)
    assert not contents(x) & (contents(public) | contents(lab.x_train))
    far = np.linalg.norm(y[:, None] - lab.y_train[None], axis=2).min(axis=1)
    assert np.quantile(far, 0.9) < 0.25  # they walk where the lab's person walks


def test_real_windows_are_changed_by_the_seed(on_disk):
    x, y = hidden_localisation.real(50, SEED)
    are_offered(x, y, 50)
    public, places = hidden_localisation.public(50, of_real=True)
    are_offered(public, places, 50)
    np.testing.assert_array_equal(places, y)
    np.testing.assert_array_equal(hidden_localisation.real(50, SEED)[0], x)
    assert not contents(hidden_localisation.real(50, OTHER)[0]) & contents(x)
    assert not contents(x) & contents(public)
    assert (x - public).std() == pytest.approx(0.05, rel=0.1)
    assert len(hidden_localisation.real(5000, SEED)[0]) == len(on_disk.x_test) - 29


def test_windows_of_anybody_are_taken_as_they_are():
    x, y = hidden_localisation.public(20, of_real=False)
    same, places = hidden_localisation.own(x, y)
    assert same is x and places is y
    with pytest.raises(DataError, match=r"reaches 2000\d.*, expected windows of standardised"):
        hidden_localisation.own(x + 20_000, y)
    with pytest.raises(DataError, match="expected metres in a room of 3 m"):
        hidden_localisation.own(x, 100 * y)
