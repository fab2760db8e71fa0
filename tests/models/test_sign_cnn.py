import numpy as np
import tensorflow as tf

from labkit.models import rules, sign_cnn


def test_architecture_keeps_the_rules_and_the_budget():
    model = sign_cnn.build()
    rules.check(model)
    assert model.count_params() <= 50_000
    assert model.output_shape == (None, 24)
    np.testing.assert_allclose(
        model.predict(np.zeros((2, 28, 28, 1)), verbose=0).sum(axis=1), 1, rtol=1e-5
    )


def test_augmentation_keeps_shape_range_and_identity_of_the_batch():
    tf.random.set_seed(0)
    images = np.random.default_rng(0).uniform(size=(16, 28, 28, 1)).astype(np.float32)
    moved = sign_cnn.augment(tf.constant(images)).numpy()
    assert moved.shape == images.shape and moved.dtype == np.float32
    assert moved.min() >= 0 and moved.max() <= 1
    assert not np.allclose(moved, images)


def test_augmentation_moves_by_a_few_pixels_only():
    tf.random.set_seed(1)
    image = np.zeros((200, 28, 28, 1), np.float32)
    image[:, 12:16, 12:16] = 1
    moved = sign_cnn.augment(tf.constant(image)).numpy()[..., 0]
    moved -= moved.min(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:28, :28]
    mass = moved.sum(axis=(1, 2))
    for grid in (x, y):
        centre = (moved * grid).sum(axis=(1, 2)) / mass
        assert np.abs(centre - 13.5).max() < 4.5
        assert np.abs(centre - 13.5).max() > 1
