"""Hidden windows: new people or another phone, the same for the same seed, never a public one."""

import os

import numpy as np
import pytest

from labkit.datasets import DataError, har_simulator, hidden_har, uci_har

SEED, OTHER = [3, 1, 4, 1, 5], [2, 7, 1, 8, 2]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def on_disk(folder, har_files, make_har):
    """A small real data set: 36 test windows, six of each activity."""
    make_har(folder / "uci-har.zip", har_files)
    return uci_har.load("real")


def contents(windows):
    return {window.tobytes() for window in windows}


def are_offered(windows, classes, count):
    """As a file reads them: float32, scaled, within the limit."""
    assert windows.shape == (count, 128, 9) and windows.dtype == np.float32
    assert classes.shape == (count,) and classes.dtype == np.int64
    assert abs(windows).max() <= uci_har.LIMIT
    # Gravity in units of the accelerometer's size.
    assert np.median(np.linalg.norm(windows[..., 6:], axis=-1)) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("count", [1, 7, 60, 500])
def test_synthetic_windows_are_balanced(count):
    windows, classes = hidden_har.synthetic(count, SEED)
    are_offered(windows, classes, count)
    frequency = np.bincount(classes, minlength=6)
    assert frequency.max() - frequency.min() <= 2
    assert len(contents(windows)) == count


def test_synthetic_windows_depend_on_the_seed_alone():
    windows, classes = hidden_har.synthetic(60, SEED)
    again, same = hidden_har.synthetic(60, SEED)
    np.testing.assert_array_equal(again, windows)
    np.testing.assert_array_equal(same, classes)
    assert not contents(hidden_har.synthetic(60, OTHER)[0]) & contents(windows)


def test_synthetic_people_are_nobody_of_the_labs():
    hidden, _ = hidden_har.synthetic(300, SEED)
    public, classes = hidden_har.public(300, of_real=False)
    are_offered(public, classes, 300)
    labs = uci_har.synthesize(300, 300, seed=0)
    assert contents(public) == contents(uci_har.scaled(labs.x_test))
    known = contents(public) | contents(uci_har.scaled(labs.x_train))
    assert not contents(hidden) & known


def test_real_windows_are_changed_by_the_seed(on_disk):
    windows, classes = hidden_har.real(24, SEED)
    are_offered(windows, classes, 24)
    np.testing.assert_array_equal(np.bincount(classes), [4] * 6)
    np.testing.assert_array_equal(hidden_har.real(24, SEED)[0], windows)
    assert not contents(hidden_har.real(24, OTHER)[0]) & contents(windows)
    assert len(hidden_har.real(1000, SEED)[0]) == 36


def test_no_hidden_window_is_a_public_one_but_each_is_near_its_own(on_disk):
    windows, classes = hidden_har.real(36, SEED)
    public, labels = hidden_har.public(300, of_real=True)
    are_offered(public, labels, 36)
    assert contents(public) == contents(uci_har.scaled(on_disk.x_test))
    assert not contents(windows) & contents(public)
    far = np.linalg.norm((windows[:, None] - public[None]).reshape(36, 36, -1), axis=2)
    nearest = far.argmin(axis=1)
    np.testing.assert_array_equal(labels[nearest], classes)
    assert len(set(nearest)) == 36
    change = far.min(axis=1) / np.linalg.norm(public.reshape(36, -1), axis=1)[nearest]
    assert change.min() > 0.01 and change.max() < 0.12


def test_a_change_is_one_that_another_phone_makes():
    """One small turn and one gain for both accelerations, another gain for the gyroscope."""
    windows, classes, _ = har_simulator.draw("test", 36, 1)
    changed = hidden_har.perturbed(windows, np.random.default_rng(0))
    assert changed.shape == windows.shape and changed.dtype == np.float32
    before, after = (x[..., 6:].astype(float) - x[..., :3] for x in (windows, changed))
    gain = np.linalg.norm(after, axis=2) / np.linalg.norm(before, axis=2)
    np.testing.assert_allclose(gain, gain[:, :1] * np.ones(128), rtol=1e-5)
    assert 0.95 <= gain.min() < 0.97 and 1.03 < gain.max() <= 1.05
    across = np.cross(before[:, 0], after[:, 0])
    angle = np.arctan2(np.linalg.norm(across, axis=1), (before[:, 0] * after[:, 0]).sum(axis=1))
    assert 2 < np.degrees(angle).max() <= 5
    walks = classes < 3
    turning = [np.linalg.norm(x[walks, :, 3:6], axis=2).sum(axis=1) for x in (windows, changed)]
    factor = turning[1] / turning[0]
    assert factor.min() > 0.94 and factor.max() < 1.06
    assert abs(factor - gain[walks, 0]).max() > 0.02


def test_windows_of_anybody_are_taken_in_their_units(on_disk):
    x, y = hidden_har.own(on_disk.x_test, on_disk.y_test)
    np.testing.assert_array_equal(x, uci_har.scaled(on_disk.x_test))
    np.testing.assert_array_equal(y, on_disk.y_test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (9.81 * x, y), "is 9.8. at the median, expected about 1: windows in g"),
        (lambda x, y: (uci_har.scaled(x), y), "is [12].[0-9]{2} at the median"),
        (lambda x, y: (x[..., ::-1], y), "expected about 1"),
        (lambda x, y: (x, y + 1), "classes from 1 to 6, expected 0 to 5"),
        (lambda x, y: (x, y - 1), "classes from -1 to 4"),
    ],
)
def test_windows_in_other_units_are_refused(on_disk, change, message):
    with pytest.raises(DataError, match=message):
        hidden_har.own(*change(on_disk.x_test, on_disk.y_test))


def test_all_test_windows_where_they_are_here():
    if not os.environ.get("LABKIT_DATA") or not uci_har.SOURCE.found():
        pytest.skip("LABKIT_DATA has no UCI HAR")
    windows, classes = hidden_har.real(5000, SEED)
    test = uci_har.load("real")
    are_offered(windows, classes, len(test.y_test))
    np.testing.assert_array_equal(np.bincount(classes), np.bincount(test.y_test))
    assert not contents(windows) & contents(uci_har.scaled(test.x_test))
