"""Augmentation of series of three-axis sensors."""

import numpy as np
import pytest
import tensorflow as tf

from labkit import runtime
from labkit.training import series


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).normal(size=(40, 16, 9)).astype(np.float32)


def test_rotations_are_rotations():
    found = series.rotations(200, 0.5).numpy().astype(np.float64)
    unit = np.broadcast_to(np.eye(3), found.shape)
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), unit, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-5)


def test_the_angle_has_the_stated_spread():
    runtime.set_seed(1)
    found = series.rotations(4000, 0.3).numpy()
    angle = np.arccos(np.clip((np.trace(found, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert np.sqrt((angle**2).mean()) == pytest.approx(0.3, rel=0.05)


def test_all_sensors_of_a_series_turn_by_one_rotation(windows):
    turned = series.augment(tf.constant(windows), 0.5, scale=0.0, jitter=0.0).numpy()
    assert turned.shape == windows.shape and not np.allclose(turned, windows, atol=0.1)
    for before, after in zip(windows, turned, strict=True):
        before, after = before.reshape(-1, 3), after.reshape(-1, 3)  # 16 times, 3 sensors
        norms = [np.linalg.norm(x, axis=1) for x in (before, after)]
        np.testing.assert_allclose(*norms, rtol=1e-4)
        matrix, *_ = np.linalg.lstsq(before[:3], after[:3], rcond=None)
        np.testing.assert_allclose(before @ matrix, after, atol=1e-3)


def test_scale_and_jitter_have_the_stated_spread(windows):
    runtime.set_seed(2)
    scaled = series.augment(tf.ones((4000, 2, 3)), 0.0, scale=0.1, jitter=0.0).numpy()
    assert np.ptp(scaled, axis=(1, 2)).max() < 1e-5  # one factor per series
    assert scaled[:, 0, 0].mean() == pytest.approx(1, abs=0.01)
    assert scaled[:, 0, 0].std() == pytest.approx(0.1, rel=0.1)
    added = series.augment(tf.constant(windows), 0.0, scale=0.0, jitter=0.05).numpy() - windows
    assert added.std() == pytest.approx(0.05, rel=0.05)
    assert abs(np.corrcoef(added[:, 0, 0], added[:, 1, 0])[0, 1]) < 0.5  # each value by its own


def test_a_seed_gives_the_same_in_a_training(windows):
    def batch(seed):
        runtime.set_seed(seed)
        data = tf.data.Dataset.from_tensors(windows).map(series.augment)
        return next(iter(data)).numpy()

    np.testing.assert_array_equal(batch(3), batch(3))
    assert not np.allclose(batch(3), batch(4))


def test_the_shape_is_known_in_a_graph():
    spec = tf.TensorSpec([None, 128, 9])
    assert tf.function(series.augment).get_concrete_function(spec).output_shapes == [None, 128, 9]
