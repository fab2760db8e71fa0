"""The simulated recordings: deterministic, of one motion, filtered as UCI's, and hard enough."""

import numpy as np
import pytest
from scipy import signal
from sklearn.linear_model import LogisticRegression

from labkit.datasets import DataError, har_features, har_simulator

WALKING, UPSTAIRS, DOWNSTAIRS, SITTING, STANDING, LAYING = range(6)


@pytest.fixture(scope="module")
def drawn():
    """Windows, activities and subjects of both parts, two rounds over all people."""
    return har_simulator.draw("train", 2016, 0), har_simulator.draw("test", 864, 0)


def test_windows_of_all_people_and_activities(drawn):
    for (x, y, people), part in zip(drawn, ("train", "test"), strict=True):
        assert x.shape == (len(y), 128, 9) and x.dtype == np.float32 and y.dtype == np.int64
        assert set(people) == set(har_simulator.SUBJECTS[part])
        assert (np.sort(y.reshape(-1, 6), axis=1) == np.arange(6)).all()
        assert (people.reshape(-1, 6) == people[::6, None]).all()
        assert len(np.unique(x[:, :, 6:], axis=0)) == len(x)
    assert not set(drawn[0][2]) & set(drawn[1][2])


def test_a_smaller_set_begins_a_larger_and_the_seed_decides(drawn):
    (x, y, people), _ = drawn
    for count in (1, 143, 144, 145):
        again = har_simulator.draw("train", count, 0)
        for found, whole in zip(again, (x, y, people), strict=True):
            np.testing.assert_array_equal(found, whole[:count])
    assert (har_simulator.draw("train", 60, 1)[0] != x[:60]).mean() > 0.99
    assert (har_simulator.draw("test", 60, 0)[0] != x[:60]).mean() > 0.99


def test_body_and_gravity_make_the_total(drawn):
    (x, y, _), _ = drawn
    gravity = (x[..., 6:] - x[..., :3])[np.isin(y, (SITTING, STANDING, LAYING))]
    assert np.linalg.norm(gravity, axis=-1).mean() == pytest.approx(1, abs=0.01)
    assert abs(np.diff(gravity, axis=1)).max() < 0.05
    upright = x[np.isin(y, (WALKING, STANDING)), :, 6].mean()
    assert upright > 0.95 and abs(x[y == LAYING, :, 6].mean()) < 0.2


def test_filters():
    time = np.arange(1000) / 50
    tones = np.stack([np.sin(2 * np.pi * f * time) for f in (0.02, 2, 24)] * 2, axis=1)
    signals = har_simulator.preprocess(tones)
    assert signals.shape == (1000, 9) and signals.dtype == np.float32
    rms = signals[500:].astype(float).std(axis=0) * 2**0.5
    # x is far below 0.3 Hz: gravity; y between the filters: body; z above 20 Hz: noise.
    assert rms[0] < 0.15 and rms[1] == pytest.approx(1, abs=0.05) and rms[2] < 0.1
    np.testing.assert_allclose(rms[[4, 5, 7, 8]], [1, 0, 1, 0], atol=0.06)
    np.testing.assert_array_equal(signals[:, 3:6], signals[:, 6:])  # the same filters
    constant = har_simulator.preprocess(np.full((200, 6), 0.7))
    np.testing.assert_allclose(constant, [[0] * 3 + [0.7] * 6] * 200, atol=1e-6)
    spike = np.full((200, 6), 0.7)
    spike[100] = 5
    np.testing.assert_allclose(har_simulator.preprocess(spike), constant, atol=1e-6)
    sections = signal.butter(3, 20, fs=50, output="sos")
    noise = np.repeat(np.random.default_rng(0).normal(size=(100, 6)), 3, axis=0)  # median keeps it
    expected = signal.sosfilt(sections, noise - noise[0], axis=0) + noise[0]
    found = har_simulator.preprocess(noise)
    np.testing.assert_allclose(found[:, 6:], expected[:, :3], atol=1e-5)
    np.testing.assert_allclose(found[:, 3:6], expected[:, 3:], atol=1e-5)


def test_windows_overlap_by_half():
    cut = har_simulator.windows(np.arange(600).reshape(300, 2))
    assert cut.shape == (3, 128, 2)
    assert cut[:, 0, 0].tolist() == [0, 128, 256] and cut[2, -1].tolist() == [510, 511]
    np.testing.assert_array_equal(cut[1, :64], cut[0, 64:])


def test_the_gyroscope_turns_gravity():
    """d(down)/dt = down × ω: both sensors see one motion, in one frame."""
    still = np.repeat([SITTING, STANDING, LAYING], 10)
    samples = har_simulator.record(still, np.arange(30) + 1, 1500, seed=3)
    slow = signal.butter(2, 0.5, fs=50, output="sos")
    felt, turning = np.split(signal.sosfiltfilt(slow, samples, axis=1), 2, axis=-1)
    turning -= turning.mean(axis=1, keepdims=True)  # the gyroscope's bias
    expected = np.cross(felt, turning)
    found = np.gradient(felt, 1 / 50, axis=1)
    assert np.corrcoef(found[:, 100:-100].ravel(), expected[:, 100:-100].ravel())[0, 1] > 0.9


def test_sensors_resolve_steps():
    samples = har_simulator.record(np.array([WALKING]), np.array([4]), 300)
    steps = samples * ([1024] * 3 + [2048] * 3)
    np.testing.assert_array_equal(steps, np.round(steps))


@pytest.mark.parametrize(("activity", "subject"), [(6, 1), (-1, 1), (0, 0), (0, 31)])
def test_who_or_what_there_is_not(activity, subject):
    with pytest.raises(DataError, match="activities are 0 to 5 and subjects 1 to 30"):
        har_simulator.record(np.array([activity]), np.array([subject]), 300)


def test_gait_is_what_the_activities_are():
    """Steps a second, strength and impacts, of everybody."""
    people = np.arange(1, 31)
    strength, cadence, sharpness = [], [], []
    for activity in (WALKING, UPSTAIRS, DOWNSTAIRS):
        samples = har_simulator.record(np.full(30, activity), people, 1024, seed=1)
        up = samples[..., 0] - samples[..., 0].mean(axis=1, keepdims=True)
        power = abs(np.fft.rfft(up * np.hanning(1024), axis=1)) ** 2
        frequency = np.fft.rfftfreq(1024, 1 / 50)
        near = (frequency > 1.3) & (frequency < 2.6)
        cadence.append(frequency[near][power[:, near].argmax(axis=1)])
        strength.append(up.std(axis=1))
        sharpness.append(power[:, frequency > 5].sum(axis=1) / power.sum(axis=1))
    cadence, strength, sharpness = (np.median(a, axis=1) for a in (cadence, strength, sharpness))
    assert cadence[UPSTAIRS] + 0.1 < cadence[WALKING] < cadence[DOWNSTAIRS] - 0.05
    assert cadence.min() > 1.5 and cadence.max() < 2.2
    assert strength[DOWNSTAIRS] > 1.2 * strength[WALKING]
    assert sharpness[UPSTAIRS] < 0.8 * sharpness[WALKING]


def test_difficulty(drawn):
    """Raw windows are hard for a linear model, features are not; postures are what it mistakes."""
    (x, y, _), (x_test, y_test, _) = drawn
    mean, deviation = x.mean((0, 1)), x.std((0, 1))
    raw, raw_test = (((a - mean) / deviation).reshape(len(a), -1) for a in (x, x_test))
    score = LogisticRegression(C=0.01, max_iter=60).fit(raw, y).score(raw_test, y_test)
    assert 0.45 < score < 0.8

    features, features_test = har_features.extract(x), har_features.extract(x_test)
    scaled = har_features.scaler(features)
    model = LogisticRegression(max_iter=200).fit(scaled.transform(features), y)
    found = model.predict(scaled.transform(features_test))
    wrong = found != y_test
    assert 0.9 < 1 - wrong.mean() < 0.985
    postures = np.isin(y_test, (SITTING, STANDING)) & np.isin(found, (SITTING, STANDING))
    assert (wrong & postures).sum() > 0.6 * wrong.sum()
    moving = scaled.transform(features_test)[:, har_features.NAMES.index("tBodyAcc-std()-X")]
    assert moving[y_test < SITTING].min() > moving[y_test >= SITTING].max()
