"""Levels are quantised in their order, locked ones stay, and a killed run ends as another."""

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from labkit import training
from labkit.compress import progressive
from labkit.compress.fixed_point import QuantizedConv2D, measured_ranges
from labkit.compress.progressive import ProgressiveError, Resolution, Schedule
from labkit.hwce.formats import QFormat
from labkit.hwce.plan import LayerPlan, Plan
from labkit.training import CheckpointError


@pytest.fixture(scope="module")
def source():
    """Two classes: bright on the left, or on the right."""
    random = np.random.default_rng(0)
    classes = np.arange(128) % 2
    images = random.uniform(0, 0.4, (128, 8, 8, 1)).astype(np.float32)
    images[classes == 0, :, :4] += 0.5
    images[classes == 1, :, 4:] += 0.5
    return training.ArrayBatches(images, classes, images[:64], classes[:64], 32, augment=False)


@pytest.fixture(scope="module")
def model(source):
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="conv1"),
            layers.Conv2D(4, 1, activation="relu", name="fire2/squeeze1x1"),
            layers.Conv2D(4, 3, activation="relu", name="fire2/expand3x3"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
            layers.Softmax(),
        ]
    )
    recipe = training.Recipe(
        6, 0.05, schedule="triangle", warm_up=0.2, optimizer=training.momentum_sgd
    )
    training.fit(model, source, recipe)
    assert training.accuracy(model, source) > 0.9
    return model


@pytest.fixture(scope="module")
def plan(model, source):
    return measured_ranges(model, source.x_train).plan((6, 6, 6))


def test_resolutions():
    assert Resolution.parse("8:6:4") == Resolution(8, 6, 4)
    assert Resolution.parse("4") == Resolution(4, 4, 4)
    assert str(Resolution.parse(" 8 : 6 : 6 ")) == "8:6:6"


@pytest.mark.parametrize("text", ["", "8:6", "8-6-6", "a:b:c", "8:6:6:6", "8:6:-6"])
def test_what_is_no_resolution(text):
    with pytest.raises(ProgressiveError, match="expected k:i:o"):
        Resolution.parse(text)


def test_widths_that_nothing_has():
    with pytest.raises(ProgressiveError, match="widths from 2 to 16"):
        Resolution.parse("8:1:8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "magic"}, "strategy is 'magic', expected one of static, lock"),
        ({"order": "upwards"}, "order is 'upwards', expected one of forward"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_bad_schedules(settings, message):
    with pytest.raises(ProgressiveError, match=message):
        Schedule(**settings)


def test_a_copy_with_quantised_convolutions(model, plan, source):
    copy = progressive.quantized(model, plan, ["conv1"])
    first, second = copy.get_layer("conv1"), copy.get_layer("fire2/expand3x3")
    assert isinstance(first, QuantizedConv2D) and first.enabled and not second.enabled
    assert first.kernel_format == plan.layers["conv1"].kernel and first.mode == "nearest"
    none = progressive.quantized(model, plan, [])
    x = source.x_val
    np.testing.assert_allclose(none(x), model(x), atol=1e-6)
    assert np.abs(copy(x).numpy() - model(x).numpy()).max() > 1e-4
    assert not isinstance(model.get_layer("conv1"), QuantizedConv2D)


def test_unknown_level_and_missing_plan(model, plan):
    with pytest.raises(ProgressiveError, match="no level 'fire3'; the network has conv1, fire2"):
        progressive.quantized(model, plan, ["fire3"])
    with pytest.raises(ProgressiveError, match="no formats for the convolution 'conv1'"):
        progressive.quantized(model, Plan({}))


def names(model, plan, **settings):
    return [
        (phase.name, phase.quantized, phase.locked)
        for phase in progressive.phases(model, plan, Schedule(**settings))
    ]


def test_phases_of_the_strategies(model, plan):
    both = ("conv1", "fire2")  # the dense layer is not the engine's
    assert names(model, plan, strategy="train") == [("conv1", ("conv1",), ()), ("fire2", both, ())]
    assert names(model, plan, strategy="lock", order="backward", relax=True) == [
        ("fire2", ("fire2",), ("fire2",)),
        ("conv1", ("fire2", "conv1"), ("fire2", "conv1")),
        ("relax", both, ()),
    ]
    assert names(model, plan, strategy="static") == [("static", both, (*both, "dense"))]
    orders = {tuple(n for n, *_ in names(model, plan, order="random", seed=s)) for s in range(8)}
    assert orders == {("conv1", "fire2"), ("fire2", "conv1")}


def test_gradual_narrows_to_what_is_wanted(model, plan):
    wanted = progressive.with_bits(plan, Resolution(8, 6, 6))
    found = progressive.phases(model, wanted, Schedule("gradual"))
    assert [phase.name for phase in found] == [f"{bits} bits" for bits in (16, 12, 10, 8, 7, 6)]
    kernels = [phase.plan.layers["conv1"].kernel.bits for phase in found]
    assert kernels == [16, 12, 10, 8, 8, 8]
    assert found[-1].plan.layers == wanted.layers
    assert found[0].plan.layers["conv1"].input.msb == plan.layers["conv1"].input.msb


def test_locked_levels_do_not_move(model, plan, source):
    schedule = Schedule("lock", epochs=1, learning_rate=0.05)
    result = progressive.run(model, plan, source, schedule)
    before, after = (
        {layer.name: layer.get_weights()[0] for layer in m.layers if layer.get_weights()}
        for m in (model, result.model)
    )
    np.testing.assert_array_equal(after["conv1"], before["conv1"])
    assert (after["dense"] != before["dense"]).any()
    # fire2 was trained while conv1 alone was locked.
    assert (after["fire2/expand3x3"] != before["fire2/expand3x3"]).any()
    assert result.history["phase"].tolist() == ["conv1", "fire2"]
    assert result.history["epochs"].tolist() == [1, 2]


def test_a_run_is_measured_on_other_images(model, plan, source):
    """By its weights: without building its network, and without those of the float one."""
    quantizer = progressive.Quantizer(model, source)
    run = quantizer.run(plan, Schedule("train", epochs=1, learning_rate=0.05))
    np.testing.assert_array_equal(run.weights[0], run.model.get_weights()[0])
    assert quantizer.accuracy(plan, weights=run.weights) == run.history["after"].iloc[-1]
    wrong = dataclasses.replace(source, y_val=1 - source.y_val)
    assert quantizer.accuracy(plan, weights=run.weights, source=wrong) == pytest.approx(
        1 - run.history["after"].iloc[-1]
    )
    zeros = [np.zeros_like(weight) for weight in run.weights]
    assert quantizer.accuracy(plan, weights=zeros) == 0.5  # two classes, ties to the first
    assert quantizer.accuracy() == training.accuracy(model, source)


def test_without_a_plan_the_same_phases_train_in_floating_point(model, plan, source):
    quantizer = progressive.Quantizer(model, source)
    schedule = Schedule("train", epochs=1, learning_rate=0.02)
    run = quantizer.run(None, schedule)
    trained = tf.keras.models.clone_model(model)
    trained.set_weights(model.get_weights())
    trainer = training.Trainer(trained)
    for phase in range(2):  # conv1, fire2
        trainer.fit(source, schedule.recipe, phase)
    assert any(np.any(a != b) for a, b in zip(run.weights, model.get_weights(), strict=True))
    for ours, theirs in zip(run.model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    with pytest.raises(ProgressiveError, match="needs a plan"):
        quantizer.run(None, Schedule("gradual"))


def test_static_trains_nothing(model, plan, source):
    result = progressive.run(model, plan, source, Schedule("static"))
    for a, b in zip(result.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    (row,) = result.history.to_dict("records")
    assert row["before"] == row["after"] and row["epochs"] == 0 and np.isnan(row["loss"])


def coarse(plan, kernel=(0, 0), outputs=(0, 0)):
    """The plan with other widths, and ranges that are 2^msb wider."""
    layers = {
        name: LayerPlan(
            QFormat(kernel[0], formats.kernel.msb + kernel[1]),
            QFormat(3, formats.input.msb),
            QFormat(outputs[0], formats.output.msb + outputs[1]),
        )
        for name, formats in plan.layers.items()
    }
    return Plan(layers)


def accuracies(model, plan, source):
    """After static quantisation, and after training through it."""
    schedules = (Schedule("static"), Schedule("train", epochs=8, learning_rate=0.05))
    runs = [progressive.run(model, plan, source, schedule) for schedule in schedules]
    return [run.history["after"].iloc[-1] for run in runs]


def test_training_brings_back_what_two_bits_lose(model, plan, source):
    static, trained = accuracies(model, coarse(plan, kernel=(2, 2), outputs=(4, 0)), source)
    assert static < 0.6 and trained > 0.9


def test_training_brings_nothing_back_where_every_output_is_zero(model, plan, source):
    """Steps so coarse that all outputs round to zero: what follows sees nothing."""
    static, trained = accuracies(model, coarse(plan, kernel=(3, 0), outputs=(3, 3)), source)
    assert static == trained == 0.5


def test_one_quantiser_for_many_runs(model, plan, source):
    """Whatever ran before, a run starts from the float network and ends with the same weights."""
    quantizer = progressive.Quantizer(model, source)
    schedule = Schedule("train", epochs=0.5, learning_rate=0.05)
    first = quantizer.run(plan, schedule)
    quantizer.run(progressive.with_bits(plan, Resolution(4, 4, 4)), Schedule("lock", epochs=0.5))
    static = quantizer.run(plan, Schedule("static")).history["after"].iloc[-1]
    assert quantizer.accuracy(plan) == static
    assert quantizer.accuracy(plan, levels=[]) == training.accuracy(model, source)
    assert quantizer.accuracy() == training.accuracy(model, source)
    twin = progressive.quantized(model, plan)
    assert static == pytest.approx(training.accuracy(twin, source))
    second = quantizer.run(plan, schedule)
    pd.testing.assert_frame_equal(second.history, first.history)
    for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_quantiser_and_its_runs_can_be_sent_to_another_process(model, plan, source):
    """Where it is made once, as often as it arrives."""
    quantizer, schedule = progressive.Quantizer(model, source), Schedule("train", epochs=0.5)
    sent = pickle.dumps((quantizer, schedule))
    there, again = pickle.loads(sent)[0], pickle.loads(sent)[0]
    assert there is again and there is not quantizer
    here = quantizer.run(plan, schedule)
    back = pickle.loads(pickle.dumps(there.run(plan, schedule)))
    pd.testing.assert_frame_equal(back.history, here.history)
    for run in (here, back):
        assert training.accuracy(run.model, source) == here.history["after"].iloc[-1]
    for a, b in zip(back.model.get_weights(), here.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    floating = pickle.loads(pickle.dumps(there.run(None, schedule)))
    assert {type(layer) for layer in floating.model.layers} == {type(y) for y in model.layers}
    other = pickle.loads(pickle.dumps(progressive.Quantizer(model, source)))
    assert other is not there


def test_signals_tell_where_a_network_is_silent(model, plan, source):
    quantizer = progressive.Quantizer(model, source)
    x, y = source.x_val, source.y_val
    plain = quantizer.signals(x, y)
    assert plain.index.tolist() == ["conv1", "fire2/squeeze1x1", "fire2/expand3x3"]
    outputs = tf.keras.Model(model.inputs, model.get_layer("fire2/expand3x3").output)(x).numpy()
    row = plain.loc["fire2/expand3x3"]
    assert row["zeros (%)"] == pytest.approx(100 * np.mean(outputs == 0), abs=1e-3)
    assert row["silent (%)"] == 100 * np.mean((outputs == 0).all(axis=(0, 1, 2)))
    assert (plain["gradient"] > 0).all()
    # Steps so coarse that every output rounds to zero.
    silent = quantizer.signals(x, y, coarse(plan, kernel=(3, 0), outputs=(3, 3)))
    assert silent.loc["fire2/expand3x3", "silent (%)"] == 100


class Killed(Exception):
    pass


TRAINED_AND_RELAXED = Schedule("train", epochs=0.5, relax=True)


@pytest.fixture(scope="module")
def whole(model, plan, source):
    """A run that nothing interrupts."""
    return progressive.run(model, plan, source, TRAINED_AND_RELAXED)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_killed_run_ends_as_another(model, plan, source, whole, tmp_path, at):
    schedule = TRAINED_AND_RELAXED
    seen = []

    def kill(row):
        seen.append(row["phase"])
        if len(seen) == at + 1:
            raise Killed

    with pytest.raises(Killed):
        progressive.run(model, plan, source, schedule, tmp_path, kill)
    resumed = progressive.run(model, plan, source, schedule, tmp_path, on_phase=seen.append)
    assert len(seen) == 3, "a finished phase ran again"
    pd.testing.assert_frame_equal(resumed.history, whole.history)
    for a, b in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoints_of_another_run_and_damaged_ones(model, plan, source, tmp_path):
    progressive.run(model, plan, source, Schedule("static"), tmp_path)
    with pytest.raises(CheckpointError, match="belongs to a run with another schedule"):
        progressive.run(model, plan, source, Schedule("static", relax=True), tmp_path)
    (tmp_path / "progressive.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="delete it to begin anew"):
        progressive.run(model, plan, source, Schedule("static"), tmp_path)
