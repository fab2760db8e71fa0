import numpy as np

from labkit.datasets import hands, hidden_hands


def test_perturbed_images_are_others_but_alike():
    images = hands.draw(np.arange(24), seed=1) / np.float32(255)
    changed = hidden_hands.perturbed(images, np.random.default_rng(0))
    assert changed.shape == images.shape and changed.dtype == np.uint8
    difference = np.abs(changed / 255 - images).mean(axis=(1, 2, 3))
    assert (difference > 0.005).all() and (difference < 0.15).all()
