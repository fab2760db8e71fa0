import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from labkit import hwce
from labkit.hwce import network, operations
from labkit.hwce.config import FULMINE, GAP8, IDEAL, PRESETS
from labkit.hwce.formats import QFormat
from labkit.hwce.operations import Activation

layers = tf.keras.layers
#: Formats fine enough that a run is close to floating point.
FINE = hwce.LayerPlan(QFormat(16, 1), QFormat(16, 2), QFormat(16, 3))


def normal(*shape, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """Every class of layer that a run supports."""
    tf.keras.utils.set_random_seed(3)
    x = inputs = tf.keras.Input((16, 18, 3))
    x = layers.ZeroPadding2D(((1, 0), (0, 1)))(x)
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="first")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool")(x)
    a = layers.Conv2D(4, 1, activation="relu6", name="squeeze")(x)
    b = layers.Conv2D(4, 5, padding="same", use_bias=False, name="wide")(x)
    b = layers.ReLU(max_value=1.0)(layers.BatchNormalization()(b))
    x = layers.Concatenate(name="both")([a, b])
    x = layers.Add(name="bypass")([x, layers.Conv2D(8, 3, padding="same", name="way")(x)])
    x = layers.AveragePooling2D(2, 1, padding="same", name="average")(x)
    x = layers.Conv2D(4, 7, padding="same", name="seven")(x)
    x = layers.Activation("relu")(layers.Dropout(0.5)(x))
    c = layers.GlobalAveragePooling2D(name="mean")(x)
    d = layers.GlobalMaxPooling2D()(x)
    e = layers.Flatten()(x)
    x = layers.Concatenate()([c, d, e])
    x = layers.Dense(10, activation="relu", name="hidden")(x)
    x = layers.Reshape((2, 5))(x)
    x = layers.Dense(3, name="logits")(layers.Flatten()(x))
    model = tf.keras.Model(inputs, layers.Softmax()(x))
    for layer in model.layers:
        layer.set_weights([w + normal(*w.shape, scale=0.05) ** 2 for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    return normal(5, 16, 18, 3, scale=0.5)


def plan(model, config=IDEAL, mode="nearest", formats=FINE):
    names = [n.name for n in network.graph(model) if n.kind in ("Conv2D", "Dense")]
    return hwce.Plan(dict.fromkeys(names, formats), config, mode)


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda config: config.name)
def test_16_bits_are_close_to_floating_point(model, images, config):
    report = hwce.run(model, images, plan(model, config))
    np.testing.assert_allclose(report.outputs, model.predict(images, verbose=0), atol=0.01)
    assert report.images == 5 and report.outputs.shape == (5, 3)


def test_every_layer_is_close_to_keras(model, images):
    names = [layer.name for layer in model.layers]
    report = hwce.run(model, images, plan(model), keep=names)
    taps = tf.keras.Model(model.inputs, [layer.output for layer in model.layers])
    for name, expected in zip(names, taps.predict(images, verbose=0), strict=True):
        values = report.activations[name].values
        np.testing.assert_allclose(values, expected, atol=0.005, err_msg=name)


def test_backends_batches_and_single_images_agree(model, images):
    coarse = hwce.LayerPlan(QFormat(8, 0), QFormat(8, 1), QFormat(8, -2))  # narrow: it saturates
    this = plan(model, GAP8, formats=coarse)
    whole = hwce.run(model, images, this)
    alone = hwce.run(model, images, this, batch=1)
    np.testing.assert_array_equal(whole.outputs, alone.outputs)
    pd.testing.assert_frame_equal(whole.table, alone.table)
    assert whole.totals["saturations"] + whole.totals["clips"] > 0
    slow = hwce.run(model, images[:1], this, backend="reference")
    np.testing.assert_array_equal(slow.outputs, whole.outputs[:1])


def test_a_layer_by_hand():
    """Two channels of 1, weights 1/2 and 1/4 at the centre, bias 1/8, per-channel rounding."""
    model = tf.keras.Sequential([tf.keras.Input((3, 3, 2)), layers.Conv2D(1, 3, name="c")])
    kernel = np.zeros((3, 3, 2, 1), np.float32)
    kernel[1, 1, :, 0] = 0.5, 0.25
    model.set_weights([kernel, np.array([0.125], np.float32)])
    x = np.ones((1, 3, 3, 2), np.float32)
    # Words with 2 fractional bits: bias 0.5 rounds to 1 (a quarter), then 2 and 1 are added.
    formats = hwce.LayerPlan(QFormat(8, 0), QFormat(8, 1), QFormat(4, 1), QFormat(16, 13))
    run = hwce.run(model, x, hwce.Plan({"c": formats}, GAP8), keep=["c"])
    assert run.activations["c"] == Activation(run.activations["c"].array, 2)
    assert run.outputs.item() == 1.0
    # Truncated: the bias becomes 0.
    run = hwce.run(model, x, hwce.Plan({"c": formats}, FULMINE, "floor"))
    assert run.outputs.item() == 0.75
    # Ideal: 0.875 exactly, then 3.5 quarters go up.
    run = hwce.run(model, x, hwce.Plan({"c": formats}, IDEAL))
    assert run.outputs.item() == 1.0
    run = hwce.run(model, x, hwce.Plan({"c": formats}, IDEAL, "floor"))
    assert run.outputs.item() == 0.75


def test_words_between_the_jobs():
    wide = hwce.LayerPlan(QFormat(16, 0), QFormat(16, 3), QFormat(8, 2))
    assert wide.words == QFormat(16, 2)  # as fine as the output's range allows
    narrow = hwce.LayerPlan(QFormat(4, 0), QFormat(4, 3), QFormat(8, 2))
    assert narrow.words == QFormat(16, 12)  # a product has 3 + 0 fractional bits, no more
    with pytest.raises(ValueError, match="expected 16"):
        hwce.LayerPlan(QFormat(8, 0), QFormat(8, 0), QFormat(8, 0), QFormat(8, 0))
    with pytest.raises(ValueError, match="expected up to 16"):
        hwce.LayerPlan(QFormat(17, 0), QFormat(8, 0), QFormat(8, 0))


def test_finer_outputs_than_products():
    """4-bit products cannot fill 16 bits: the codes are shifted up, exactly."""
    model = tf.keras.Sequential([tf.keras.Input((5, 5, 1)), layers.Conv2D(2, 3, name="c")])
    x = normal(1, 5, 5, 1)
    formats = hwce.LayerPlan(QFormat(4, 0), QFormat(4, 1), QFormat(16, 2))
    for config in (IDEAL, GAP8):
        y = hwce.run(model, x, hwce.Plan({"c": formats}, config)).outputs
        kernel, bias = model.get_weights()
        q = QFormat(4, 0).quantize(kernel), QFormat(4, 1).quantize(x)
        exact = tf.nn.conv2d(q[1], q[0], 1, "VALID").numpy() + bias
        np.testing.assert_allclose(y, exact, atol=1e-6)


def test_plans_survive_json(model):
    this = plan(model, FULMINE.with_(drain=12), "floor")
    again = hwce.Plan.from_dict(json.loads(json.dumps(this.as_dict())))
    assert again == this


def test_the_report(model, images, tmp_path):
    report = hwce.run(model, images, plan(model, GAP8))
    table = report.table.set_index("layer")
    assert list(table.index) == [n.name for n in network.graph(model) if n.kind != "InputLayer"]
    first, seven = table.loc["first"], table.loc["seven"]
    assert (first["unit"], first["native filter"], first["filter"]) == ("engine", "3x3", "3x3")
    assert (first["input"], first["output"]) == ("17x19x3", "9x10x6")
    assert seven["passes"] == 2 and table.loc["squeeze", "unit"] == "cores"
    assert table.loc["hidden", "MACs"] == 10 * (4 + 4 + 5 * 5 * 4)
    parts = [c for c in table if c.startswith("cycles: ")]
    assert (table[parts].sum(axis=1) == table["cycles"].fillna(0)).all()
    assert report.totals["cycles"] == table["cycles"].sum()
    assert np.isnan(table.loc["pool", "cycles"])
    csv = pd.read_csv(report.to_csv(tmp_path / "run.csv"))
    assert (csv["basis"] == hwce.BASIS).all() and len(csv) == len(table)
    content = json.loads(report.to_json(tmp_path / "run.json").read_text())
    assert content["basis"] == hwce.BASIS and content["images"] == 5
    assert len(content["layers"]) == len(table) and content["energy_anchors"]["gap8"]["source"]
    assert hwce.Plan.from_dict(content["plan"]) == report.plan
    for shown in (str(report), report._repr_html_()):
        assert "first" in shown and "gap8; cycles, energy and memory of one image" in shown
        assert hwce.BASIS in shown and "1.4 to 2 pJ a MAC (28 nm, fulmine, gap8, vega)" in shown


def test_the_widths_of_a_plan_reach_the_costs():
    """A 3x3 of two inputs and three outputs on 6x8 pixels: 4-bit weights, 6 bits in, 5 bits out."""
    model = tf.keras.Sequential([tf.keras.Input((6, 8, 2)), layers.Conv2D(3, 3, name="c")])
    formats = hwce.LayerPlan(QFormat(4, 0), QFormat(6, 1), QFormat(5, 1))
    this = hwce.Plan({"c": formats}, GAP8)
    [row] = hwce.run(model, normal(2, 6, 8, 2), this).table.to_dict("records")
    assert (row["lanes"], row["jobs"], row["passes"]) == (4, 2, 1)
    assert (row["weights (bytes)"], row["weights, ideal (bytes)"]) == (2 * 2 * 10, 9 * 2 * 3 / 2)
    assert (row["input (bytes)"], row["input, ideal (bytes)"]) == (2 * 96, 96 * 6 / 8)
    assert (row["output (bytes)"], row["output, ideal (bytes)"]) == (2 * 72, 72 * 5 / 8)
    assert row["kernel format"] == "4 bits, ±2^0"


def test_costs_do_not_depend_on_the_number_of_images(model, images):
    one, all_ = (hwce.run(model, x, plan(model, GAP8)) for x in (images[:1], images))
    assert one.totals["cycles"] == all_.totals["cycles"]


def test_differences_of_each_layer_by_itself(model, images):
    coarse = hwce.LayerPlan(QFormat(16, 0), QFormat(8, 1), QFormat(16, 1))
    this = plan(model, FULMINE, formats=coarse)
    table = hwce.differences(model, images, this).set_index("layer")
    assert set(table.index) == {"first", "squeeze", "wide", "way", "seven", "hidden", "logits"}
    # Truncation of every channel is a bias downwards, about half a step a channel.
    assert table.loc["wide", "mean (steps)"] == pytest.approx(-6 / 2, abs=1)
    assert table.loc["wide", "roundings"] == 6 and table.loc["squeeze", "roundings"] == 1
    assert table.loc["seven", "roundings"] == 8 * 4  # a 7x7 is four passes of 5x5
    assert (table["shift (bits)"] == 15 + 6 - 14).all()
    assert table.loc["squeeze", "unit"] == "cores" and table.loc["wide", "unit"] == "engine"
    ideal = hwce.differences(model, images, this.with_config(IDEAL))
    assert (ideal["differing (%)"] == 0).all()
    one_by_one = hwce.differences(model, images, this, batch=2).set_index("layer")
    pd.testing.assert_frame_equal(one_by_one, table)
    with pytest.raises(ValueError, match="no images to compare"):
        hwce.differences(model, images[:0], this)


def test_differences_by_hand():
    """Two outputs: 1/2 + 1/2 steps, floored twice, is 1 less than ideal; 1 + 1 is the same."""
    model = tf.keras.Sequential([tf.keras.Input((3, 4, 2)), layers.Conv2D(1, 3, name="c")])
    kernel = np.zeros((3, 3, 2, 1), np.float32)
    kernel[1, 1] = 0.5
    model.set_weights([kernel, np.zeros(1, np.float32)])
    x = np.zeros((1, 3, 4, 2), np.float32)
    x[0, 1, 1:3] = [[1], [2]]
    formats = hwce.LayerPlan(QFormat(4, 2), QFormat(8, 7), QFormat(8, 7), QFormat(16, 15))
    [row] = hwce.differences(model, x, hwce.Plan({"c": formats}, FULMINE)).to_dict("records")
    assert row == {
        "layer": "c",
        "unit": "engine",
        "roundings": 2,
        "shift (bits)": 1,
        "differing (%)": 50,
        "mean (steps)": -0.5,
        "mean magnitude (steps)": 0.5,
        "largest (steps)": 1,
        "saturations": 0,
        "saturated (%)": 0,
    }
    loud = hwce.LayerPlan(QFormat(4, 2), QFormat(16, 15), QFormat(16, 15), QFormat(16, 15))
    [row] = hwce.differences(model, 20000 * x, hwce.Plan({"c": loud}, GAP8)).to_dict("records")
    assert (row["saturations"], row["saturated (%)"]) == (1, 50)  # 20000 + 20000 words


def pointwise(kernel, bias=0.0):
    """One 1x1 convolution from one channel to one."""
    model = tf.keras.Sequential([tf.keras.Input((1, 4, 1)), layers.Conv2D(1, 1, name="c")])
    model.set_weights([np.full((1, 1, 1, 1), kernel, np.float32), np.array([bias], np.float32)])
    return model


@pytest.mark.parametrize("config", [FULMINE, GAP8, IDEAL], ids=lambda config: config.name)
def test_the_cores_round_by_the_plan_whatever_the_engine_does(config):
    """3/2, 1/2, -1/2 and -3/2 steps: a 1x1 is the program's, and GAP8's rounding bit is not its."""
    model, x = pointwise(0.5), np.array([3, 1, -1, -3], np.float32).reshape(1, 1, 4, 1)
    formats = hwce.LayerPlan(QFormat(4, 2), QFormat(8, 7), QFormat(8, 7))
    for mode, expected in (("nearest", [2, 1, 0, -1]), ("floor", [1, 0, -1, -2])):
        found = hwce.run(model, x, hwce.Plan({"c": formats}, config, mode)).outputs
        assert found.ravel().tolist() == expected
        table = hwce.differences(model, x, hwce.Plan({"c": formats}, config, mode))
        assert table["differing (%)"].tolist() == [0]


def test_what_runs_on_the_cores_does_not_depend_on_the_engine(model, images):
    """Layer by layer: of Fulmine's, only those differ from the ideal that its engine computes."""
    coarse = hwce.LayerPlan(QFormat(16, 0), QFormat(8, 1), QFormat(8, 1))
    table = hwce.differences(model, images, plan(model, FULMINE, formats=coarse))
    differ = table.groupby("unit")["differing (%)"].max()
    assert differ["cores"] == 0 and differ["engine"] > 0


def test_saturations_are_words_and_clips_are_outputs():
    """Outputs of 4 bits end at 7: the same sums, on the cores, on the engine and in ideal."""
    x = np.array([30, 14, -17, -40], np.float32).reshape(1, 1, 4, 1)
    formats = hwce.LayerPlan(QFormat(4, 2), QFormat(8, 7), QFormat(4, 3))
    for config in (GAP8, GAP8.with_(pointwise="engine"), FULMINE, IDEAL):
        totals = hwce.run(pointwise(0.5), x, hwce.Plan({"c": formats}, config)).totals
        # 15, 7, -8 and -20: a half goes up before anything is clipped.
        assert (totals["saturations"], totals["clips"]) == (0, 2), config.name
    loud = hwce.LayerPlan(QFormat(4, 3), QFormat(16, 15), QFormat(16, 15))
    for config, words in ((GAP8, 0), (GAP8.with_(pointwise="engine"), 3)):
        totals = hwce.run(pointwise(2), 1000 * x, hwce.Plan({"c": loud}, config)).totals
        assert (totals["saturations"], totals["clips"]) == (words, 3 - words)


@pytest.mark.parametrize("half_up", [True, False])
@pytest.mark.parametrize("shift", [-3, 0, 1, 4])
def test_clips_are_what_requantising_would_have_to_clip(shift, half_up):
    codes = np.arange(-300, 300, dtype=np.int16)
    q = QFormat(4, 3)
    half = (1 << (shift - 1)) if half_up and shift > 0 else 0
    wide = [(int(c) + half) >> shift if shift >= 0 else int(c) << -shift for c in codes]
    expected = sum(not q.min_code <= code <= q.max_code for code in wide)
    assert network._beyond(codes, q.fraction_bits + shift, q, half_up) == expected


def sequential(*more):
    return tf.keras.Sequential([tf.keras.Input((4, 4, 2)), *more])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sequential(layers.DepthwiseConv2D(3)), "class DepthwiseConv2D is not supported"),
        (lambda: sequential(layers.Conv2D(2, 3, name="c")), "no formats for the layer c"),
        (lambda: sequential(layers.Conv2D(2, 2, dilation_rate=2, name="a")), "a: dilation"),
        (lambda: sequential(layers.Conv2D(2, 3, activation="tanh", name="a")), "a: the activation"),
        (lambda: sequential(layers.Dense(2, name="a")), "flatten before"),
        (lambda: sequential(layers.ReLU(negative_slope=0.1)), "slope"),
    ],
)
def test_what_cannot_run(make, message):
    with pytest.raises(ValueError, match=message):
        hwce.run(make(), np.zeros((1, 4, 4, 2)), hwce.Plan({"a": FINE}))


def test_bad_requests(model, images):
    with pytest.raises(ValueError, match="no images"):
        hwce.run(model, images[:0], plan(model))
    with pytest.raises(ValueError, match="no layer nothing"):
        hwce.run(model, images, plan(model), keep=["nothing"])
    with pytest.raises(ValueError, match="signed"):
        hwce.run(model, images, plan(model, GAP8.with_(unsigned=True)))
    with pytest.raises(ValueError, match="2\\^n \\+ 1 levels"):
        hwce.Plan({}, mode="thesis")
    shared = layers.ReLU()
    inputs = tf.keras.Input((2, 2, 1))
    with pytest.raises(ValueError, match="used twice"):
        network.graph(tf.keras.Model(inputs, shared(shared(inputs))))


def test_operators_between_tensors_are_the_layers_that_they_stand_for():
    inputs = tf.keras.Input((4, 4, 2))
    x = layers.Conv2D(2, 3, padding="same", name="a")(inputs)
    written = tf.keras.Model(inputs, tf.nn.relu(x + inputs))
    plain = tf.keras.Model(inputs, layers.ReLU()(layers.Add()([x, inputs])))
    this = hwce.Plan({"a": FINE})
    images_ = normal(2, 4, 4, 2)
    np.testing.assert_array_equal(
        hwce.run(written, images_, this).outputs, hwce.run(plain, images_, this).outputs
    )
    for other in (x + 1.0, 1.0 + x, x * inputs, tf.nn.leaky_relu(x)):
        with pytest.raises(ValueError, match=r"TFOpLambda \(.*not supported; layers such as Add"):
            network.graph(tf.keras.Model(inputs, other))


def test_several_inputs_or_outputs_are_refused():
    one, two = tf.keras.Input((4,)), tf.keras.Input((4,))
    with pytest.raises(ValueError, match="has 2 outputs"):
        network.graph(tf.keras.Model(one, [layers.ReLU()(one), layers.Flatten()(one)]))
    with pytest.raises(ValueError, match="has 2 inputs"):
        network.graph(tf.keras.Model([one, two], layers.Add()([one, two])))


def test_means_are_rounded_as_the_engine_rounds():
    x = Activation(np.array([[[[1], [2]], [[-1], [-4]]]], np.int16), 3)  # sum -2, mean -0.5
    config = {"pool_size": (2, 2), "strides": (2, 2), "padding": "valid"}
    mean = operations.OPERATIONS["AveragePooling2D"]
    assert mean(config, [x], True).array.item() == 0
    assert mean(config, [x], False).array.item() == -1
    assert mean(config, [x], True).fraction == 3


def test_the_mean_of_a_map_keeps_bits_enough_to_tell_classes_apart():
    x = Activation(np.array([[[[1], [2]], [[-1], [-4]]]], np.int16), 3)
    mean = operations.OPERATIONS["GlobalAveragePooling2D"]
    assert mean({}, [x], True).values.item() == -0.5 / 8  # four values: exact
    three = Activation(x.array[:, :1].repeat(3, axis=1)[:, :, :1], 0)  # 1 + 1 + 1
    assert mean({}, [three], True).values.item() == 1
    odd = Activation(np.array([[[[1]], [[0]], [[0]]]], np.int16), 0)  # a third, in quarters
    assert mean({}, [odd], True).values.item() == 0.25


def test_joining_different_formats_is_exact():
    x, y = (Activation(np.full((1, 1, 1, 1), c, np.int16), f) for c, f in ((5, 2), (-3, 6)))
    both = operations.OPERATIONS["Concatenate"]({"axis": -1, "name": "c"}, [x, y], True)
    assert both.values.ravel().tolist() == [1.25, -3 / 64]
    total = operations.OPERATIONS["Add"]({"name": "a"}, [x, y], True)
    assert total.values.ravel().tolist() == [1.25 - 3 / 64]
    largest = Activation(np.full((1, 1, 1, 1), -32768, np.int16), 2)
    doubled = operations.OPERATIONS["Add"]({"name": "a"}, [largest, largest], True)
    assert doubled.values.item() == -16384
    far = Activation(x.array, 30)
    with pytest.raises(ValueError, match="differ by more"):
        operations.OPERATIONS["Concatenate"]({"axis": -1, "name": "c"}, [x, far], True)


def test_no_tensorflow_without_a_model():
    import subprocess
    import sys

    code = "import sys, labkit.hwce; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_uniform_plans_have_one_format_for_all_layers(model):
    this = hwce.Plan.uniform(model, (4, 6, 8), (0, 9, 10), mode="floor")
    formats = hwce.LayerPlan(QFormat(4, 0), QFormat(6, 9), QFormat(8, 10))
    assert this.mode == "floor" and set(this.layers.values()) == {formats}
    assert {"first", "hidden"} <= set(this.layers)
