"""Trained networks that are kept."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from labkit import runtime, training


def small():
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(24, "softmax")], name="small"
    )


def weights_of(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


@pytest.fixture()
def kept(tiny_data, recipe, tmp_path):
    """Trains and keeps a small network; counts the trainings in `kept.trainings`."""

    def keep(data=tiny_data, recipe=recipe, seed=0, path=tmp_path / "small.npz"):
        runtime.set_seed(seed)
        model = small()

        def train():
            keep.trainings += 1
            return training.fit(model, data, recipe, seed)

        return training.keep(path, model, train, training.provenance(data, recipe, seed), seed)

    keep.trainings = 0
    return keep


def test_same_seed_gives_the_same_weights(kept, recipe, tmp_path):
    first, again, other = (
        weights_of(kept(recipe=recipe.but(epochs=3), seed=seed, path=tmp_path / run).model)
        for run, seed in [("first.npz", 0), ("again.npz", 0), ("other.npz", 1)]
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_network_is_trained_once_and_then_loaded(kept):
    trained = kept()
    assert not trained.loaded and "trained now" in trained.describe()
    loaded = kept()
    assert loaded.loaded and "trained earlier" in loaded.describe() and kept.trainings == 1
    assert (loaded.history, loaded.seconds) == (trained.history, trained.seconds)
    np.testing.assert_array_equal(weights_of(loaded.model), weights_of(trained.model))


@pytest.mark.parametrize("damage", ["truncated", "empty", "not a zip", "bit flip", "other network"])
def test_a_damaged_file_is_trained_again(kept, tmp_path, damage):
    kept()
    path = tmp_path / "small.npz"
    content = path.read_bytes()
    with np.load(path) as stored:
        note = stored["note"]
    if damage == "other network":
        np.savez(path, np.zeros(3), note=note)
    else:
        flipped = content[:5000] + bytes([content[5000] ^ 16]) + content[5001:]
        contents = {
            "truncated": content[:5000],
            "empty": b"",
            "not a zip": b"no",
            "bit flip": flipped,
        }
        path.write_bytes(contents[damage])
    with pytest.warns(UserWarning, match="training again"):
        assert not kept().loaded
    assert kept().loaded


def test_a_network_of_other_images_is_not_used(kept, tiny_data):
    kept()
    changed = tiny_data.x_train.copy()
    changed[5, 10, 10] = 1 - changed[5, 10, 10]
    with pytest.warns(UserWarning, match="a run with another checksum"):
        assert not kept(replace(tiny_data, x_train=changed)).loaded


def test_a_network_of_another_recipe_is_not_used(kept, recipe):
    kept()
    with pytest.warns(UserWarning, match="a run with another epochs, learning rate"):
        assert not kept(recipe=recipe.but(epochs=2, learning_rate=1e-2)).loaded


def test_a_training_is_measured_after_every_epoch(tiny_data, recipe, tmp_path):
    """On what is given besides, and the history is kept with the weights."""
    held = tiny_data.x_test[:20], tiny_data.y_test[:20]
    first, again = (
        training.fitted(tmp_path, small(), tiny_data, recipe.but(epochs=2), 0, validation=held)
        for _ in range(2)
    )
    assert len(first.history["val_accuracy"]) == len(first.history["accuracy"]) == 2
    assert again.loaded and again.history == first.history
