from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from labkit import runtime
from labkit.models import rules, sign_cnn


def test_architecture_keeps_the_rules_and_the_budget():
    model = sign_cnn.build()
    rules.check(model)
    assert model.count_params() <= 50_000
    assert model.output_shape == (None, 24)
    np.testing.assert_allclose(model.predict(np.zeros((2, 28, 28, 1)), verbose=0).sum(axis=1), 1,
                               rtol=1e-5)  # fmt: skip


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


@pytest.fixture()
def short(monkeypatch):
    """Trainings of one epoch."""
    monkeypatch.setattr(sign_cnn, "EPOCHS", {"quick": 1, "full": 1})


def weights_of(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


def test_same_seed_gives_the_same_weights(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(sign_cnn, "EPOCHS", {"quick": 3})
    first, again, other = (
        weights_of(sign_cnn.baseline(tiny_data, "quick", seed, tmp_path / run).model)
        for run, seed in [("first", 0), ("again", 0), ("other", 1)]
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_baseline_is_trained_once_and_then_loaded(tiny_data, tmp_path, monkeypatch, short):
    trained = sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert not trained.loaded and "trained now" in trained.describe()
    monkeypatch.setattr(sign_cnn, "train", lambda *a, **k: pytest.fail("trained again"))
    loaded = sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert loaded.loaded and "trained earlier" in loaded.describe()
    assert (loaded.history, loaded.seconds) == (trained.history, trained.seconds)
    np.testing.assert_array_equal(weights_of(loaded.model), weights_of(trained.model))


@pytest.mark.parametrize("damage", ["truncated", "empty", "not a zip", "bit flip", "other network"])
def test_damaged_baseline_is_trained_again(tiny_data, tmp_path, short, damage):
    sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    (path,) = (tmp_path / "baseline").glob("*.npz")
    content = path.read_bytes()
    with np.load(path) as stored:
        note = stored["note"]
    if damage == "other network":
        np.savez(path, np.zeros(3), note=note)
    else:
        flipped = content[:5000] + bytes([content[5000] ^ 16]) + content[5001:]
        path.write_bytes(
            {"truncated": content[:5000], "empty": b"", "not a zip": b"no", "bit flip": flipped}[
                damage
            ]
        )
    with pytest.warns(UserWarning, match="training again"):
        again = sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert not again.loaded
    assert sign_cnn.baseline(tiny_data, "quick", 0, tmp_path).loaded


def test_baseline_of_other_images_is_not_used(tiny_data, tmp_path, short):
    sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    changed = tiny_data.x_train.copy()
    changed[5, 10, 10] = 1 - changed[5, 10, 10]
    with pytest.warns(UserWarning, match="trained with other checksum"):
        again = sign_cnn.baseline(replace(tiny_data, x_train=changed), "quick", 0, tmp_path)
    assert not again.loaded


def test_baseline_of_another_recipe_is_not_used(tiny_data, tmp_path, short, monkeypatch):
    sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    monkeypatch.setattr(sign_cnn, "EPOCHS", {"quick": 2})
    with pytest.warns(UserWarning, match="trained with other epochs"):
        assert not sign_cnn.baseline(tiny_data, "quick", 0, tmp_path).loaded


def test_training_shows_a_bar_to_those_who_watch(tiny_data, short, monkeypatch, capsys):
    sign_cnn.train(sign_cnn.build(), tiny_data, "quick")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(runtime, "interactive", lambda: True)
    sign_cnn.train(sign_cnn.build(), tiny_data, "quick")
    assert "1/1" in capsys.readouterr().err


def test_profiles_do_not_share_weights(tiny_data, tmp_path, short):
    sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert not sign_cnn.baseline(tiny_data, "full", 0, tmp_path).loaded


def test_training_calls_a_techniques_own_callbacks(tiny_data, short):
    steps = []
    callback = tf.keras.callbacks.LambdaCallback(on_batch_end=lambda step, logs: steps.append(step))
    sign_cnn.train(sign_cnn.build(), tiny_data, "quick", epochs=3, callbacks=[callback])
    assert steps == [0, 0, 0]
