import numpy as np
import pytest
import tensorflow as tf

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


def test_same_seed_gives_the_same_weights(tiny_data):
    def weights(seed):
        model = sign_cnn.baseline(tiny_data, "quick", seed, f"{root}/{len(seen)}").model
        seen.append(seed)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    import tempfile

    seen = []
    with tempfile.TemporaryDirectory() as root:
        first, again, other = weights(0), weights(0), weights(1)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_baseline_is_trained_once_and_then_loaded(tiny_data, tmp_path, monkeypatch):
    trained = sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert not trained.loaded and "trained now" in trained.describe()
    monkeypatch.setattr(sign_cnn, "train", lambda *a, **k: pytest.fail("trained again"))
    loaded = sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert loaded.loaded and loaded.history == trained.history
    for a, b in zip(trained.model.get_weights(), loaded.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("damage", ["truncated", "other network", "not a zip"])
def test_damaged_baseline_is_trained_again(tiny_data, tmp_path, damage):
    sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    (path,) = (tmp_path / "baseline").glob("*.npz")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "not a zip":
        path.write_bytes(b"nothing")
    else:
        np.savez(path, np.zeros(3), note=np.array("{}"))
    with pytest.warns(UserWarning, match="training again"):
        again = sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert not again.loaded
    assert sign_cnn.baseline(tiny_data, "quick", 0, tmp_path).loaded


def test_profiles_and_sources_do_not_share_weights(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setitem(sign_cnn.EPOCHS, "full", 1)
    sign_cnn.baseline(tiny_data, "quick", 0, tmp_path)
    assert not sign_cnn.baseline(tiny_data, "full", 0, tmp_path).loaded
