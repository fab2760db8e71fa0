"""Low bits on networks that are no lab's: what they compute, and what their files hold."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from labkit import measure
from labkit.compress import low_bit
from labkit.compress.kernels import CompressionError

L = tf.keras.layers
SIXTEEN = "quantized_bits(16,1,1,alpha=1)"


def sequence(*layers, shape=(8, 8, 4)):
    return tf.keras.Sequential([L.Input(shape), *layers])


def depthwise():
    return sequence(
        L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="first"),
        L.BatchNormalization(),
        L.ReLU(),
        L.DepthwiseConv2D(3, strides=2, activation="relu", name="second"),
        L.Flatten(),
        L.Dense(3),
    )


def grouped():
    return sequence(L.Conv2D(8, 3, groups=2), L.BatchNormalization(), L.Flatten(), L.Dense(3))


def of_sequences():
    return sequence(
        L.Conv1D(8, 3, dilation_rate=2, padding="causal"),
        L.BatchNormalization(),
        L.Dense(6, "relu"),
        L.Dense(3),
        shape=(20, 4),
    )


def left():
    """Two layers that QKeras has no twin for here, and one that it has."""
    return sequence(
        L.SeparableConv2D(8, 3, name="separable"),
        L.BatchNormalization(),
        L.Conv2DTranspose(4, 3, name="transposed"),
        L.Conv2D(4, 3),
    )


def called_twice():
    inputs, twice = L.Input((8, 8, 4)), L.Conv2D(4, 3, padding="same")
    x = twice(inputs)
    return tf.keras.Model(inputs, L.Add()([L.BatchNormalization()(x), twice(x)]))


def one_normalisation():
    inputs, norm = L.Input((8, 8, 4)), L.BatchNormalization()
    return tf.keras.Model(inputs, L.Add()([norm(L.Conv2D(4, 3)(inputs)) for _ in range(2)]))


def inner_outputs():
    """A convolution, and a normalised activation, that are outputs as well as steps."""
    inputs = L.Input((8, 8, 4))
    x = L.Conv2D(4, 3)(inputs)
    y = L.ReLU()(L.BatchNormalization()(x))
    return tf.keras.Model(inputs, [x, y, L.Conv2D(4, 3)(y)])


def other_axis():
    return sequence(L.Conv2D(6, 3), L.BatchNormalization(axis=1), L.Flatten(), L.Dense(3))


def activated():
    """An activation between a bias and the normalisation."""
    return sequence(L.Conv2D(6, 3, activation="tanh"), L.BatchNormalization(), L.Flatten())


def alike():
    """Layers with the same weights, which the file holds once."""
    return sequence(*[L.Conv2D(4, 1, kernel_initializer="ones") for _ in range(3)])


NETWORKS = [depthwise, grouped, of_sequences, left, called_twice, one_normalisation, inner_outputs]
NETWORKS += [other_axis, activated, alike]


def prepared(build):
    """A network whose biases and normalisations do something, and inputs of it."""
    tf.keras.utils.set_random_seed(1)
    model, rng = build(), np.random.default_rng(0)
    for variable in model.variables:
        if len(variable.shape) == 1:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model, rng.random((4, *model.input_shape[1:])).astype(np.float32)


def difference(found, wanted):
    """Largest difference of any output, as part of the largest value."""
    pairs = list(zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True))
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)


def file_difference(content, network, x):
    found = measure.TFLiteModel(content).predict(x)
    found = [found[n] for n in network.output_names] if isinstance(found, dict) else found
    return difference(found, network(x))


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_sixteen_bits_and_files_compute_the_same(build):
    model, x = prepared(build)
    assert difference(low_bit.quantize(model, SIXTEEN, SIXTEEN)(x), model(x)) < 2e-3
    network = low_bit.quantize(model)
    content = low_bit.convert(network)
    assert "int4" in measure.inspect(content).weight_types
    assert file_difference(content, network, x) < 1e-5
    assert file_difference(low_bit.convert(network, mode="dynamic_range"), network, x) < 0.1
    ternary = low_bit.quantize(model, "ternary(alpha=1)")
    assert file_difference(low_bit.convert(ternary, 2), ternary, x) < 1e-5


def test_mobilenet_of_keras():
    model, x = prepared(
        lambda: tf.keras.applications.MobileNetV2(
            (96, 96, 3), 0.35, weights=None, classes=4, classifier_activation=None
        )
    )
    network = low_bit.quantize(model)
    assert low_bit.left_in_float(network) == []
    content = low_bit.convert(network)
    assert measure.inspect(content).weight_types == ("int4",)
    assert file_difference(content, network, x) < 1e-5


def test_codes_of_a_depthwise_convolution():
    model, _ = prepared(depthwise)
    network = low_bit.quantize(model)
    assert low_bit.left_in_float(network) == []
    codes = low_bit.codes(network.get_layer("first"))
    assert codes.values.shape == (3, 3, 4, 2)
    kernel = model.get_layer("first").depthwise_kernel.numpy()
    dot, norms = (kernel * codes.values).sum((0, 1)), np.linalg.norm(kernel, axis=(0, 1))
    assert (dot / norms / np.linalg.norm(codes.values, axis=(0, 1)) > 0.99).all()
    content = low_bit.convert(network)
    table = measure.inspect(content)
    row = table.weights[table.weights["operator"] == "DEPTHWISE_CONV_2D"].iloc[0]
    assert (row["bits"], row["bytes"], row["shape"]) == (4, 36, "1×3×3×8")
    stored = table.graph.tensors[row["tensor"]]
    np.testing.assert_array_equal(stored.codes, codes.values.reshape(1, 3, 3, 8))


def test_what_stays_in_float_is_named_and_stays():
    network = low_bit.quantize(prepared(left)[0])
    assert low_bit.left_in_float(network) == ["separable", "transposed"]
    table = measure.inspect(low_bit.convert(network)).weights
    weights = table[table["role"] == "weight"]
    assert list(weights["type"]) == ["float32", "float32", "float32", "int4"]


def test_bits_and_energy_count_depthwise_kernels():
    """72 and 72 weights and 8 biases, depthwise; 32 × 3 weights and 3 biases."""
    model = prepared(depthwise)[0]
    table = low_bit.bits(low_bit.quantize(model))
    assert list(table["weights"]) == [72, 72, 96] and list(table["biases"]) == [0, 8, 3]
    assert table["size (bits)"].sum() == 4 * (72 + 72 + 96 + 11)
    energies = [
        low_bit.energy(low_bit.quantize(model, weights, activations=relu)).loc["second"].sum()
        for weights, relu in [
            ("quantized_bits(8,0,1,alpha=1)", "quantized_relu(8,2)"),
            (low_bit.FOUR_BITS, "quantized_relu(4,2)"),
        ]
    ]
    assert energies[0] > energies[1] > 0


def test_a_convolution_over_time_takes_the_energy_of_one_over_an_image(caplog):
    series = sequence(L.Conv1D(6, 3, activation="relu"), L.Conv1D(4, 3), shape=(12, 5))
    images = sequence(L.Conv2D(6, (1, 3), activation="relu"), L.Conv2D(4, (1, 3)), shape=(1, 12, 5))
    tables = [
        low_bit.energy(low_bit.quantize(model, activations="quantized_relu(4,2)"))
        for model in (series, images)
    ]
    np.testing.assert_allclose(*(table["operations (nJ)"].sum() for table in tables))
    assert "unsupported" not in caplog.text


def test_costs_of_two_inputs():
    inputs = [L.Input((4,)), L.Input((3,))]
    model = tf.keras.Model(inputs, L.Dense(2)(L.Concatenate()([L.Dense(5)(x) for x in inputs])))
    network = low_bit.quantize(model)
    assert low_bit.bits(network)["size (bits)"].sum() == 4 * (25 + 20 + 22)
    assert low_bit.energy(network)["total (nJ)"].sum() > 0


@pytest.mark.parametrize("gamma", [0.0, 1e-36])
def test_a_channel_that_the_normalisation_takes_out(gamma):
    model, x = prepared(lambda: sequence(L.Conv2D(4, 3, name="conv"), L.BatchNormalization()))
    model.layers[1].gamma.assign([1.0, gamma, -1.0, 0.5])
    network = low_bit.quantize(model)
    assert low_bit.codes(network.get_layer("conv")).values[..., 1].any()
    content = low_bit.convert(network)
    (kernel,) = (t for t in measure.inspect(content).graph.tensors if t.type == "int4")
    assert kernel.scales[1] == 1 and not kernel.codes[1].any() and kernel.codes[0].any()
    assert file_difference(content, network, x) < 1e-5
    assert file_difference(low_bit.convert(network, mode="dynamic_range"), network, x) < 0.1


OPTIONS = {
    "kernel_regularizer": "l2",
    "bias_regularizer": "l1",
    "activity_regularizer": "l2",
    "kernel_constraint": "non_neg",
    "bias_constraint": "non_neg",
    "trainable": False,
}
DEPTHWISE = {k.replace("kernel", "depthwise"): v for k, v in OPTIONS.items()}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (L.Conv1D(4, 3, padding="causal", dilation_rate=2, **OPTIONS), (9, 4)),
        (L.Conv2D(4, 3, strides=2, padding="same", groups=2, **OPTIONS), (8, 8, 4)),
        (L.Conv2D(4, 3, data_format="channels_first"), (4, 8, 8)),
        (L.DepthwiseConv2D(3, depth_multiplier=2, dilation_rate=2, **DEPTHWISE), (8, 8, 4)),
        (L.DepthwiseConv2D(3, data_format="channels_first", use_bias=False), (4, 8, 8)),
        (L.Dense(4, "relu", **OPTIONS), (9,)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_copied_layer_keeps_its_options(layer, shape):
    network = low_bit.quantize(sequence(layer, shape=shape))
    wanted = {k: v for k, v in layer.get_config().items() if "initializer" not in k}
    for found in (network, low_bit.to_float(network)):
        found = found.layers[0].get_config()
        clipped = [k for k, v in wanted.items() if v is None and "constraint" in k]
        assert {k: found[k] for k in wanted if k not in clipped} == {
            k: v for k, v in wanted.items() if k not in clipped
        }


def test_activations_within_layers_and_clipped_ones_are_quantised(tmp_path):
    inputs = x = L.Input((8, 8, 4))
    x = L.Conv2D(4, 3, activation="relu", name="within")(x)
    x = L.ReLU(6.0, name="clipped")(L.DepthwiseConv2D(3, activation="relu6", name="depth")(x))
    x = L.Activation("relu", name="named")(L.Conv2D(4, 1)(x))
    model, x = prepared(lambda: tf.keras.Model(inputs, L.Dense(2, "softmax")(L.Flatten()(x))))
    network = low_bit.quantize(model, activations="quantized_relu(4,2)")
    names = ["within", "depth", "clipped", "named"]
    outputs = [network.get_layer(name).output for name in names]
    for steps in tf.keras.Model(network.input, outputs)(x):
        np.testing.assert_array_equal(4 * steps, np.round(4 * steps))
    with pytest.raises(CompressionError, match="'within' quantises activations"):
        low_bit.convert(network)
    for name in ("network.h5", "network.keras"):
        again = low_bit.load(low_bit.save(network, tmp_path / name))
        np.testing.assert_array_equal(again(x), network(x))


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(4, 3, activation="swish", name="odd"),
        L.Activation("tanh", name="odd"),
        L.LeakyReLU(name="odd"),
        L.ReLU(negative_slope=0.1, name="odd"),
        L.Conv2DTranspose(4, 3, activation="relu", name="odd"),
        L.LSTM(3, name="odd"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_activations_are_refused_by_name(layer):
    shape = (5, 4) if isinstance(layer, L.LSTM) else (8, 8, 4)
    model = sequence(layer, L.Flatten(), L.Dense(2, "softmax"), shape=shape)
    with pytest.raises(CompressionError, match=r"'odd', a \w+, computes .*leave out `activations`"):
        low_bit.quantize(model, activations="quantized_relu(4,2)")
    low_bit.quantize(model)


def test_a_function_of_tensorflow_is_refused_by_name():
    inputs = L.Input((4,))
    model = tf.keras.Model(inputs, L.Dense(2)(tf.nn.relu(L.Dense(3)(inputs) + 1.0)))
    with pytest.raises(CompressionError, match=r"'tf\.nn\.relu.*computes relu"):
        low_bit.quantize(model, activations="quantized_relu(4,2)")


@pytest.mark.parametrize("function", ["hard_sigmoid", "gelu", tf.nn.leaky_relu])
def test_activations_are_those_of_keras(function):
    """QKeras has a hard_sigmoid of its own, and no gelu."""
    model, x = prepared(lambda: sequence(L.Conv2D(4, 3, activation=function)))
    network = low_bit.quantize(model, SIXTEEN, SIXTEEN)
    for copy in (network, low_bit.to_float(network)):
        assert difference(copy(x), model(x)) < 2e-3


def test_a_normalisation_of_another_axis_is_left_alone():
    conv = L.Conv2D(6, 3, data_format="channels_first", name="conv")
    model, _ = prepared(lambda: sequence(conv, L.BatchNormalization(axis=-1), shape=(4, 8, 8)))
    kernel = low_bit.quantize(model).get_layer("conv").kernel
    np.testing.assert_array_equal(kernel, model.get_layer("conv").kernel)


def test_other_models_on_the_same_tensors_do_not_count():
    model, _ = prepared(
        lambda: sequence(L.Conv2D(6, 3, name="conv"), L.BatchNormalization(), L.ReLU())
    )
    wanted = low_bit.quantize(model).get_weights()
    network = low_bit.quantize(model, fit_scale=False)
    tf.keras.Model(network.input, L.Flatten()(network.get_layer("conv").output))
    low_bit.scale.fit_scales(network, low_bit.quantized_layers(network))
    for a, b in zip(network.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors_name_the_layer(monkeypatch):
    tf.keras.utils.set_random_seed(0)
    model = sequence(L.Conv2D(4, 3, name="fine"), L.Conv2D(2, 3, name="wrong"))
    model.layers[0].kernel.assign(4 * model.layers[0].kernel)
    network = low_bit.quantize(model)
    to_float = low_bit.to_float(network)
    kernel = to_float.get_layer("wrong").kernel
    kernel.assign(kernel + 0.05)
    monkeypatch.setattr(low_bit.storage, "to_float", lambda _: to_float)
    with pytest.raises(CompressionError, match="codes of 'wrong' times a step"):
        low_bit.convert(network)
    with pytest.raises(CompressionError, match=r"'fine' has codes from .* do not fit into 2 bits"):
        low_bit.convert(network, bits=2)
    with pytest.raises(CompressionError, match=r"no layer of 'sequential.*quantize"):
        low_bit.convert(sequence(L.Conv2D(4, 3)))


def test_a_code_without_an_opposite_names_the_layer():
    model = sequence(L.Conv2D(1, 1, use_bias=False, name="conv"), L.BatchNormalization())
    model.layers[0].kernel.assign(np.reshape([-1, 0.5, 0.25, 0.125], (1, 1, 4, 1)))
    model.layers[1].gamma.assign([-1.0])
    network = low_bit.quantize(model, "quantized_bits(4,0,0,alpha=1)", fit_scale=False)
    assert low_bit.codes(network.get_layer("conv")).values.ravel().tolist() == [-8, 4, 2, 1]
    with pytest.raises(CompressionError, match="'conv': a channel with a negative γ"):
        low_bit.convert(network)


def test_weights_and_biases_that_are_cut_off_are_told():
    """The default quantiser ends at 7/8."""
    model = sequence(L.Dense(3, name="far"), shape=(4,))
    kernel = np.full((4, 3), 0.25, np.float32)
    model.set_weights([kernel, np.array([3, -5, 0.5], np.float32)])
    with pytest.warns(UserWarning, match=r"'far': its bias of up to 5 is cut off at 0\.875"):
        low_bit.quantize(model)
    with pytest.warns(UserWarning, match=r"'far': its kernel of up to 2 is cut off"):
        model.set_weights([8 * kernel, np.zeros(3)])
        low_bit.quantize(model)


def test_what_is_not_quantised_is_told_and_nothing_of_all_others():
    with pytest.warns(UserWarning, match="no such layer here: 'separable', 'transposed'"):
        low_bit.quantize(left())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        low_bit.quantize(prepared(depthwise)[0], biases="quantized_bits(8,3,1,alpha=1)")
    assert not [each for each in told if "no such layer" in str(each.message)]
