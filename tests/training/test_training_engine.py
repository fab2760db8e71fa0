"""The training loop, its sources and its learning rate."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from labkit import runtime, training
from labkit.datasets import image_folder
from labkit.datasets.image_folder import Preprocessing
from labkit.training import CheckpointError, Recipe, TrainingError
from labkit.training.data import _augmented
from labkit.training.recipe import triangle


def sgd(epochs, rate, warm_up=0.2, **options):
    """A recipe of momentum and a triangle."""
    return Recipe(
        epochs,
        rate,
        schedule="triangle",
        warm_up=warm_up,
        optimizer=training.momentum_sgd,
        **options,
    )


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
    return training.ArrayBatches(images, classes, images[:45], classes[:45], 10, augment)


def test_training_learns_and_repeats():
    histories, weights = [], []
    for _ in range(2):
        model = linear()
        histories.append(training.fit(model, arrays(augment=True), sgd(4, 0.1), seed=5))
        weights.append(model.get_weights()[0])
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(*weights)
    loss = histories[0]["loss"]
    assert len(loss) == 4 and loss[-1] < loss[0]
    other = linear()
    training.fit(other, arrays(augment=True), sgd(4, 0.1), seed=6)
    assert (other.get_weights()[0] != weights[0]).any()


def test_a_step_is_traced_once():
    traced = []

    class Counting(tf.keras.Model):
        def train_step(self, batch):
            traced.append(self.name)
            return super().train_step(batch)

    layers = tf.keras.layers
    inputs = layers.Input((8,))
    ends = {
        "a": layers.Dense(3, "softmax", name="a")(inputs),
        "b": layers.Dense(1, name="b")(inputs),
    }
    x, classes = np.ones((20, 8), np.float32), np.arange(20) % 3
    training.fit(Counting(inputs, ends["a"], name="one"), (x, classes), Recipe(2, batch=5))
    both = Recipe(
        2, batch=5, loss={"a": "sparse_categorical_crossentropy", "b": "mse"}, metrics=None
    )
    targets = {"a": classes, "b": np.ones((20, 1), np.float32)}
    training.fit(Counting(inputs, ends, name="two"), (x, targets), both)
    assert traced == ["one", "two"]


def test_accuracy_counts_the_right_ones():
    model = linear()
    source = arrays()
    assert training.accuracy(model, source, top=3) == 1
    training.fit(model, source, sgd(10, 0.2))
    expected = model.predict(source.x_val, verbose=0).argmax(axis=1) == source.y_val
    assert training.accuracy(model, source) == pytest.approx(expected.mean())
    assert training.accuracy(model, source) > 0.9


def test_parts_of_an_epoch_and_reports():
    seen = []
    history = training.fit(
        linear(), arrays(), sgd(1.5, 0.1), on_epoch=lambda number, row: seen.append(number)
    )
    assert len(history["loss"]) == 2 and seen == [1, 2]


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    done = np.arange(1, 100) / 100
    values = np.array([triangle(0.4, part, 0.2) for part in done])
    assert values.argmax() == 19 and values.max() == pytest.approx(0.4)
    assert values[0] < 0.03 and values[-1] < 0.01
    falling = [triangle(0.4, part, 0.0) for part in done]
    assert falling[0] > 0.39 and np.all(np.diff(falling) < 0)


def test_a_trained_network_can_be_stored_sent_and_trained_on(tmp_path):
    model = linear()
    training.fit(model, arrays(), sgd(2, 0.1))
    model.save(tmp_path / "trained.keras")
    loaded = tf.keras.models.load_model(tmp_path / "trained.keras")
    after = set()
    for other in (loaded, pickle.loads(pickle.dumps(model)), model):
        training.fit(other, arrays(), sgd(2, 0.1), seed=1)
        after.add(float(np.sum(np.abs(other.get_weights()[0]))))
    assert len(after) == 1


def test_a_trainer_begins_anew_each_time():
    """Momentum and rate of one training are not there in the next."""
    source = arrays(augment=True)
    models = linear(), linear()
    trainer = training.Trainer(models[0])
    trainer.fit(source, sgd(2, 0.1), seed=1)
    models[1].set_weights(models[0].get_weights())
    second = trainer.fit(source, sgd(2, 0.1), seed=2)
    assert second == training.fit(models[1], source, sgd(2, 0.1), seed=2)
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
        trainer.fit(source, sgd(1, 0.1))
        return [bool(np.any(a != b)) for a, b in zip(before, model.get_weights(), strict=True)]

    assert moved(["first"]) == [False, False, True, True]
    assert moved(["second"]) == [True, True, False, False]
    assert moved([]) == [True] * 4
    assert not trainer.lock(["first", "second"])


def test_weight_decay_pulls_kernels_to_zero():
    still = training.ArrayBatches(
        np.zeros((20, 8, 8, 1), np.float32),
        np.zeros(20, int),
        np.zeros((1, 8, 8, 1)),
        [0],
        10,
        augment=False,
    )
    model = linear(1)
    model.layers[-1].kernel.assign(tf.ones((64, 1)))
    # One class has no gradient but the penalty's: w falls by rate · decay · w a step.
    training.fit(model, still, sgd(1, 0.1, warm_up=0.0, weight_decay=0.5))
    kernel = model.layers[-1].kernel.numpy()
    assert np.all((kernel > 0.85) & (kernel < 0.95))


def test_augmented_images_are_moved_copies():
    images = np.zeros((50, 16, 16, 1), np.float32)
    images[:, 8, 8] = 1
    ((moved, classes),) = _augmented([(images, np.arange(50))], seed=0)
    assert classes.tolist() == list(range(50))
    at = np.argwhere(moved.numpy()[..., 0] > 0)
    assert len(at) == 50  # one bright pixel in each
    assert set(at[:, 1]) == {6, 7, 8, 9, 10} and set(at[:, 2]) == {5, 6, 7, 8, 9, 10}


def test_a_tree_trains_like_arrays(tmp_path):
    tree = image_folder.write_silhouettes(tmp_path / "tree", train=6, val=2, size=16)
    source = training.FolderBatches(tree, Preprocessing(16), batch=8)
    assert source.steps == 7
    model = linear(10, (16, 16, 3))
    history = training.fit(model, source, sgd(1, 0.01))
    assert len(history["loss"]) == 1 and 0 <= training.accuracy(model, source) <= 1
    images = sum(len(x) for x, _ in source.validation())
    assert images == 20


def test_a_folder_gives_the_same_augmented_images_whatever_came_before(tmp_path):
    tree = image_folder.write_silhouettes(tmp_path / "tree", train=2, val=1, size=16)
    source = training.FolderBatches(tree, Preprocessing(16), batch=10)
    first, _, again = (next(iter(source.training(seed)))[0].numpy() for seed in (1, 2, 1))
    np.testing.assert_array_equal(first, again)
    code = """
import sys
from labkit.datasets import image_folder
from labkit import training
tree = image_folder.open_tree(sys.argv[1])
source = training.FolderBatches(tree, image_folder.Preprocessing(16), batch=10)
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
        [
            layers.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ]
    )


class Killed(Exception):
    pass


@pytest.mark.parametrize("network", [linear, with_dropout])
def test_batches_train_alike_whatever_was_drawn_before(network):
    runtime.set_seed(0)
    model, start = network(), None
    weights = []
    for before in (3, 4):
        start = start or model.get_weights()
        model.set_weights(start)
        runtime.set_seed(before)
        tf.random.uniform([before])
        training.fit(model, arrays(augment=True), sgd(2, 0.1), seed=5)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_anything_that_draws_tensorflow_keeps_its_graphs(monkeypatch):
    seeds = []
    monkeypatch.setattr(runtime, "set_seed", seeds.append)
    training.fit(linear(), arrays(augment=True), sgd(2, 0.1), seed=5)
    assert seeds == []
    training.fit(with_dropout(), arrays(augment=True), sgd(2, 0.1), seed=5)
    assert seeds == [5]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_killed_training_ends_as_another(tmp_path, at):
    def kill(number, row):
        if number == at:
            raise Killed

    settings = {"recipe": sgd(2.5, 0.1, weight_decay=1e-4), "seed": 4}
    source = arrays(augment=True)
    whole = with_dropout()
    history = training.fit(whole, source, **settings, checkpoint=tmp_path / "whole.npz")
    with pytest.raises(Killed):
        training.fit(
            with_dropout(), source, **settings, checkpoint=tmp_path / "a.npz", on_epoch=kill
        )
    resumed, seen = with_dropout(), []
    rest = training.fit(
        resumed,
        source,
        **settings,
        checkpoint=tmp_path / "a.npz",
        on_epoch=lambda number, row: seen.append(number),
    )
    assert seen == list(range(at + 1, 4)), "a finished epoch ran again"
    assert rest == history and len(history["loss"]) == 3
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(CheckpointError, match="run with another steps, seed, epochs, weight decay"):
        training.fit(with_dropout(), source, sgd(3, 0.1), checkpoint=tmp_path / "a.npz")


def test_ranks_count_who_comes_before():
    probabilities = np.array([[0.1, 0.7, 0.2], [0.1, 0.7, 0.2], [0.3, 0.3, 0.3], [0.3, 0.3, 0.3]])
    assert training.ranks(probabilities, [1, 0, 0, 2]).tolist() == [0, 2, 0, 2]


def test_of_a_single_output_the_second_class_is_right_above_a_half():
    found = training.ranks(np.array([[0.2], [0.5], [0.7], [0.7]]), np.array([0, 1, 1, 0]))
    np.testing.assert_array_equal(found, [0, 1, 0, 1])


# --- the user's own data, losses and callbacks


X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def dense(outputs=2, activation="softmax"):
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    return tf.keras.Sequential([layers.Input((8,)), layers.Dense(outputs, activation)])


def test_arrays_and_a_tf_data_set_of_the_same_batches_train_alike():
    plain = tf.data.Dataset.from_tensor_slices((X, Y)).batch(60)
    recipe = Recipe(3, 0.05, batch=60)
    models = dense(), dense()
    histories = [
        training.fit(m, data, recipe, seed=3)
        for m, data in zip(models, [(X, Y), plain], strict=True)
    ]
    np.testing.assert_allclose(*(m.get_weights()[0] for m in models), rtol=1e-3)
    assert histories[0]["loss"][-1] < histories[0]["loss"][0]


def test_regression_with_a_loss_and_metrics_of_the_users():
    recipe = Recipe(5, 0.05, batch=20, loss="mse", metrics=("mae",))
    history = training.fit(dense(1, None), (X, X[:, :1]), recipe, validation=(X, X[:, :1]))
    assert set(history) == {"loss", "mae", "val_loss", "val_mae"}
    assert history["val_mae"][-1] < history["val_mae"][0]


def test_several_inputs_and_outputs():
    layers = tf.keras.layers
    a, b = layers.Input((8,), name="a"), layers.Input((8,), name="b")
    both = layers.Concatenate()([a, b])
    outputs = {
        "kind": layers.Dense(2, "softmax", name="kind")(both),
        "size": layers.Dense(1, name="size")(both),
    }
    model = tf.keras.Model({"a": a, "b": b}, outputs)
    recipe = Recipe(
        2,
        0.01,
        batch=20,
        metrics=None,
        loss={"kind": "sparse_categorical_crossentropy", "size": "mse"},
    )
    history = training.fit(model, ({"a": X, "b": X}, {"kind": Y, "size": X[:, :1]}), recipe)
    assert {"loss", "kind_loss", "size_loss"} <= set(history)


def test_steps_count_what_is_trained():
    counted = []
    count = tf.keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: counted.append(1)
    )
    recipe = Recipe(1.5, 0.01, batch=20)
    assert training.steps((X, Y), recipe) == 4
    training.fit(dense(), (X, Y), recipe, callbacks=[count])
    assert len(counted) == 4


def test_a_stream_without_an_end_has_epochs_of_so_many_steps():
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(20)
    with pytest.raises(TrainingError, match="does not know its length"):
        training.fit(dense(), endless, Recipe(2))
    assert len(training.fit(dense(), endless, Recipe(2, steps=3))["loss"]) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "expected .inputs, targets."),
        ((X, Y[:-1]), r"have \[59, 60\] samples"),
        ((X[:0], Y[:0]), "expected one number above 0"),
        (tf.data.Dataset.from_tensor_slices(X).batch(4), "gives no pairs"),
    ],
)
def test_data_that_cannot_be_trained_with(data, message):
    with pytest.raises(TrainingError, match=message):
        training.fit(dense(), data, Recipe(1))


def test_augmentation_is_for_arrays_alone():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    with pytest.raises(TrainingError, match="map it over"):
        training.fit(dense(), data, Recipe(1, augment=tf.abs))


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"learning_rate": 0}, {"batch": 0}, {"warm_up": 1}, {"weight_decay": -1}],
)
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**({"epochs": 1} | wrong))


def test_cosine_with_a_warm_up_rises_and_falls():
    rate = Recipe(1, 0.1, warm_up=0.25).rate(40)
    values = [float(rate(step)) for step in range(40)]
    assert np.argmax(values) == 10 and max(values) == pytest.approx(0.1)
    assert values[0] < 0.02 and values[-1] < 0.001


def test_a_bar_for_those_who_watch(monkeypatch, capsys):
    training.fit(dense(), (X, Y), Recipe(1, batch=20))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(runtime, "interactive", lambda: True)
    training.fit(dense(), (X, Y), Recipe(1, batch=20))
    assert "/3 [" in capsys.readouterr().err


def test_sparse_gradients_reach_the_optimizer_as_they_are():
    """Adam treats those of shared weights otherwise than dense ones."""
    seen = []

    class Watching(tf.keras.optimizers.Adam):
        def apply_gradients(self, grads_and_vars, **options):
            pairs = list(grads_and_vars)
            seen.extend(type(gradient) for gradient, _ in pairs)
            return super().apply_gradients(pairs, **options)

    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((3,)), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2, "softmax")]
    )
    data = (np.arange(60).reshape(20, 3) % 5, np.arange(20) % 2)
    training.fit(model, data, Recipe(1, optimizer=Watching))
    assert tf.IndexedSlices in seen
