"""The training loop, its sources and its learning rate."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from labkit.datasets import image_folder
from labkit.datasets.image_folder import Preprocessing
from labkit.models import training
from labkit.models.checkpoint import CheckpointError


def linear(classes=3, shape=(8, 8, 1)):
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input(shape),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(classes, "softmax", kernel_initializer="zeros"),
        ]
    )
    return model


def arrays(augment=False):
    random = np.random.default_rng(0)
    classes = np.arange(90) % 3
    images = random.uniform(0, 0.3, (90, 8, 8, 1)).astype(np.float32)
    images[np.arange(90), classes] += 0.7
    return training.ArraySource(images, classes, images[:45], classes[:45], 10, augment)


def test_training_learns_and_repeats():
    histories, weights = [], []
    for _ in range(2):
        model = linear()
        histories.append(training.fit(model, arrays(augment=True), 4, 0.1, seed=5))
        weights.append(model.get_weights()[0])
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(*weights)
    assert len(histories[0]) == 4 and histories[0][-1]["loss"] < histories[0][0]["loss"]
    other = linear()
    training.fit(other, arrays(augment=True), 4, 0.1, seed=6)
    assert (other.get_weights()[0] != weights[0]).any()


def test_accuracy_counts_the_right_ones():
    model = linear()
    source = arrays()
    assert training.accuracy(model, source, top=3) == 1
    training.fit(model, source, 10, 0.2)
    expected = model.predict(source.x_val, verbose=0).argmax(axis=1) == source.y_val
    assert training.accuracy(model, source) == pytest.approx(expected.mean())
    assert training.accuracy(model, source) > 0.9


def test_parts_of_an_epoch_and_reports():
    seen = []
    history = training.fit(
        linear(), arrays(), 1.5, 0.1, on_epoch=lambda number, row: seen.append(number)
    )
    assert len(history) == 2 and seen == [1, 2]


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    done = np.arange(1, 100) / 100
    values = np.array([training.triangle(0.4, part, 0.2) for part in done])
    assert values.argmax() == 19 and values.max() == pytest.approx(0.4)
    assert values[0] < 0.03 and values[-1] < 0.01
    falling = [training.triangle(0.4, part, 0.0) for part in done]
    assert falling[0] > 0.39 and np.all(np.diff(falling) < 0)


def test_a_trainer_begins_anew_each_time():
    """Momentum and rate of one training are not there in the next."""
    source = arrays(augment=True)
    models = linear(), linear()
    trainer = training.Trainer(models[0])
    trainer.fit(source, 2, 0.1, seed=1)
    models[1].set_weights(models[0].get_weights())
    second = trainer.fit(source, 2, 0.1, seed=2)
    assert second == training.fit(models[1], source, 2, 0.1, seed=2)
    assert trainer.accuracy(source) == training.accuracy(models[0], source)


def test_locked_layers_stay_and_move_again():
    source = arrays()
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 1)),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(8, "relu", name="first"),
            tf.keras.layers.Dense(3, "softmax", name="second"),
        ]
    )
    trainer = training.Trainer(model)

    def moved(locked):
        before = model.get_weights()
        assert trainer.lock(locked)
        trainer.fit(source, 1, 0.1)
        return [bool(np.any(a != b)) for a, b in zip(before, model.get_weights(), strict=True)]

    assert moved(["first"]) == [False, False, True, True]
    assert moved(["second"]) == [True, True, False, False]
    assert moved([]) == [True] * 4
    assert not trainer.lock(["first", "second"])


def test_weight_decay_pulls_kernels_to_zero():
    still = training.ArraySource(
        np.zeros((20, 8, 8, 1), np.float32), np.zeros(20, int), np.zeros((1, 8, 8, 1)), [0], 10,
        augment=False,
    )  # fmt: skip
    model = linear(1)
    model.layers[-1].kernel.assign(tf.ones((64, 1)))
    # One class has no gradient but the penalty's: w falls by rate · decay · w a step.
    training.fit(model, still, 1, 0.1, warm_up=0.0, weight_decay=0.5)
    kernel = model.layers[-1].kernel.numpy()
    assert np.all((kernel > 0.85) & (kernel < 0.95))


def test_augmented_images_are_moved_copies():
    images = np.zeros((50, 16, 16, 1), np.float32)
    images[:, 8, 8] = 1
    ((moved, classes),) = training._augmented([(images, np.arange(50))], seed=0)
    assert classes.tolist() == list(range(50))
    at = np.argwhere(moved.numpy()[..., 0] > 0)
    assert len(at) == 50  # one bright pixel in each
    assert set(at[:, 1]) == {6, 7, 8, 9, 10} and set(at[:, 2]) == {5, 6, 7, 8, 9, 10}


def test_a_tree_trains_like_arrays(tmp_path):
    tree = image_folder.write_silhouettes(tmp_path / "tree", train=6, val=2, size=16)
    source = training.FolderSource(tree, Preprocessing(16), batch=8)
    assert source.steps == 7
    model = linear(10, (16, 16, 3))
    history = training.fit(model, source, 1, 0.01)
    assert len(history) == 1 and 0 <= training.accuracy(model, source) <= 1
    images = sum(len(x) for x, _ in source.validation())
    assert images == 20


def test_a_folder_gives_the_same_augmented_images_whatever_came_before(tmp_path):
    tree = image_folder.write_silhouettes(tmp_path / "tree", train=2, val=1, size=16)
    source = training.FolderSource(tree, Preprocessing(16), batch=10)
    first, _, again = (next(iter(source.training(seed)))[0].numpy() for seed in (1, 2, 1))
    np.testing.assert_array_equal(first, again)
    code = """
import sys
from labkit.datasets import image_folder
from labkit.models import training
from labkit.models.checkpoint import CheckpointError
tree = image_folder.open_tree(sys.argv[1])
source = training.FolderSource(tree, image_folder.Preprocessing(16), batch=10)
next(iter(source.training(2)))
sys.stdout.buffer.write(next(iter(source.training(1)))[0].numpy().tobytes())
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tree.path)], capture_output=True, check=True
    )
    np.testing.assert_array_equal(np.frombuffer(ran.stdout, np.float32), first.ravel())


def with_dropout():
    """Normalisation, dropout and momentum: all that a checkpoint has to keep."""
    tf.keras.utils.set_random_seed(3)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16), layers.BatchNormalization(),
         layers.Dropout(0.5), layers.Dense(4, activation="softmax")]
    )  # fmt: skip


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_killed_training_ends_as_another(tmp_path, at):
    def kill(number, row):
        if number == at:
            raise Killed

    settings = {"epochs": 2.5, "learning_rate": 0.1, "seed": 4, "weight_decay": 1e-4}
    source = arrays(augment=True)
    whole = with_dropout()
    history = training.fit(whole, source, **settings, checkpoint=tmp_path / "whole.npz")
    with pytest.raises(Killed):
        training.fit(
            with_dropout(), source, **settings, checkpoint=tmp_path / "a.npz", on_epoch=kill
        )
    resumed, seen = with_dropout(), []
    rest = training.fit(
        resumed, source, **settings, checkpoint=tmp_path / "a.npz",
        on_epoch=lambda number, row: seen.append(number),
    )  # fmt: skip
    assert seen == list(range(at + 1, 4)), "a finished epoch ran again"
    assert rest == history and len(history) == 3
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(CheckpointError, match="belongs to a run with another network"):
        training.fit(with_dropout(), source, 3, 0.1, checkpoint=tmp_path / "a.npz")


def test_ranks_count_who_comes_before():
    probabilities = np.array([[0.1, 0.7, 0.2], [0.1, 0.7, 0.2], [0.3, 0.3, 0.3], [0.3, 0.3, 0.3]])
    assert training.ranks(probabilities, [1, 0, 0, 2]).tolist() == [0, 2, 0, 2]
