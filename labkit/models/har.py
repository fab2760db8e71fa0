"""The networks of the lab on human activity: 128 samples of 9 channels in, 6 activities out.

Those of the slides, layer for layer (A. Aswani, project update, 2020), and a depthwise-separable
one that fits a microcontroller. The networks on 561 features are in `har_classic`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import tensorflow as tf

from labkit.datasets import Dataset, uci_har
from labkit.training import Network, Recipe, recipes, series

WINDOW = (128, 9)
ACTIVITIES = 6

#: The quantisers that the slides' statistics of their QKeras CNN imply, for `po2(**SLIDES)`. The
#: first one leaves nothing of a negative input, half of what the sensors say: 0.0000 to 1.0000 is
#: printed behind it, and -15.7 to 15.1 in front.
SLIDES = {
    "inputs": "quantized_relu_po2(4,1)",
    "kernels": "quantized_po2(4,1)",
    "biases": "quantized_bits(4,0,1)",
    "activations": "quantized_relu(3,1)",
    "dense": "quantized_bits(4,0,1)",
}

_L = tf.keras.layers
_HALF = tf.keras.initializers.Constant(0.5)


def scaled(data: Dataset) -> Dataset:
    """Windows as all networks here take them: those of training and testing `uci_har.scaled`."""
    parts = {name: uci_har.scaled(getattr(data, name)) for name in ("x_train", "x_test")}
    return replace(data, **parts)


def base(
    filters: tuple[int, int] = (128, 128),
    units: int = 100,
    pool: int = 2,
    padding: str = "valid",
    dropout: float = 0.5,
    name: str = "har_base",
) -> tf.keras.Model:
    """Two convolutions, one pooling and two dense layers: 847,170 parameters.

    Source: slide "Baseline CNN model with model summary". The rate of its dropout is not printed.
    """
    return tf.keras.Sequential(
        [
            _L.Input(WINDOW, name="window"),
            _L.Conv1D(filters[0], 3, padding=padding, activation="relu", name="conv1"),
            _L.Conv1D(filters[1], 3, padding=padding, activation="relu", name="conv2"),
            _L.Dropout(dropout, name="drop"),
            _L.MaxPooling1D(pool, name="pool"),
            _L.Flatten(name="flatten"),
            _L.Dense(units, activation="relu", name="hidden"),
            _L.Dense(ACTIVITIES, activation="softmax", name="activity"),
        ],
        name=name,
    )


def base_small() -> tf.keras.Model:
    """The base CNN of 52,272 parameters.

    The slides print its parameters, and 104,255 with the variables of pruning, but no layers. The
    second number says that 51,972 are kernels and 300 biases, if the layers are those of `base`;
    these widths give both.

    Source: slide "Parameter Count".
    """
    return base((244, 26), units=24, pool=3, padding="same", name="har_base_small")


def light() -> tf.keras.Model:
    """The slides' light CNN, 40,294 parameters: global pooling in the place of a dense layer.

    Source: slide "CNN layer parameters".
    """
    return tf.keras.Sequential(
        [
            _L.Input(WINDOW, name="window"),
            _L.Conv1D(64, 5, strides=2, activation="relu", name="conv1"),
            _L.MaxPooling1D(2, name="pool1"),
            _L.Conv1D(128, 3, activation="relu", name="conv2"),
            _L.MaxPooling1D(2, strides=1, name="pool2"),
            _L.Conv1D(32, 3, activation="relu", name="conv3"),
            _L.GlobalAveragePooling1D(name="mean"),
            _L.BatchNormalization(momentum=0.95, name="norm"),
            _L.Dense(ACTIVITIES, activation="softmax", name="activity"),
        ],
        name="har_light",
    )


def separable(
    widths: Sequence[int] = (16, 32, 48),
    kernel: int = 7,
    dropout: float = 0.2,
    name: str = "har_separable",
) -> tf.keras.Model:
    """Depthwise-separable convolutions over time: 4,262 parameters.

    A convolution; then, for each further width, a depthwise one along time and a pointwise one
    across channels. Strides take the place of pooling, which would be operators of its own, and
    it is laid out as an image of height one from the first layer on: in a file each 1-D convolution
    would bring its own reshaping.

    Args:
        widths: channels of the first convolution and of each pointwise one.
        kernel: samples in time.

    Source: A. Howard et al., *MobileNets*, arXiv:1704.04861, section 3.1.
    """

    def normalised(x, name):
        x = _L.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
        return _L.ReLU(name=f"{name}_relu")(x)

    wide = {"padding": "same", "use_bias": False}
    halving = {"strides": (2, 2), **wide}  # a depthwise one wants equal strides; the height is one
    inputs = tf.keras.Input(WINDOW, name="window")
    x = _L.Reshape((1, *WINDOW), name="plane")(inputs)
    x = _L.Conv2D(widths[0], (1, kernel), name="conv1", **halving)(x)
    x = normalised(x, "conv1")
    for i, width in enumerate(widths[1:], start=2):
        x = normalised(_L.DepthwiseConv2D((1, kernel), name=f"depth{i}", **halving)(x), f"depth{i}")
        x = normalised(_L.Conv2D(width, 1, name=f"point{i}", **wide)(x), f"point{i}")
    x = _L.GlobalAveragePooling2D(name="mean")(x)
    x = _L.Dropout(dropout, name="drop")(x)
    outputs = _L.Dense(ACTIVITIES, activation="softmax", name="activity")(x)
    return tf.keras.Model(inputs, outputs, name=name)


def separable_small() -> tf.keras.Model:
    """The depthwise-separable network of 2,718 parameters."""
    return separable((16, 24, 32), 5, name="har_separable_small")


def po2_float() -> tf.keras.Model:
    """What `po2` computes without rounding: 39,142 parameters.

    Source: slide "Model Characteristics of Qkeras CNN".
    """
    return _po2("har_po2_float", _L.Activation("linear", name="acti"), _L.ReLU)


def po2(
    inputs: str = "quantized_bits(8,2,1)",
    kernels: str | Callable = "quantized_po2(4,1)",
    biases: str = "quantized_bits(8,1,1)",
    activations: str = "quantized_relu_po2(4,4)",
    dense: str = "quantized_bits(8,1,1)",
) -> tf.keras.Model:
    """The QKeras CNN, 39,142 parameters: kernels that are powers of two, so that shifts multiply.

    It takes the weights of `po2_float` as they are: `po2().set_weights(trained.get_weights())`.

    Args:
        inputs: quantiser of the windows, in QKeras's notation.
        kernels: of the convolutions, in this notation or a quantiser. `quantized_po2` has no zero:
            of a pruned weight it makes 2⁻⁸; `low_bit.Po2WithZero` leaves it.
        biases: of all layers.
        activations: in the place of every ReLU.
        dense: of the dense layer's kernel.

    Source: slide "Qkeras on CNN Model".
    """
    import qkeras  # it takes a second, and the other networks do without

    return _po2(
        "har_po2",
        qkeras.QActivation(inputs, name="acti"),
        lambda name: qkeras.QActivation(activations, name=name),
        functools.partial(qkeras.QConv1D, kernel_quantizer=kernels, bias_quantizer=biases),
        functools.partial(qkeras.QDense, kernel_quantizer=dense, bias_quantizer=biases),
    )


def _po2(
    name: str,
    first: _L.Layer,
    activation: Callable[..., _L.Layer],
    convolution: Callable[..., _L.Layer] = _L.Conv1D,
    dense: Callable[..., _L.Layer] = _L.Dense,
) -> tf.keras.Model:
    return tf.keras.Sequential(
        [
            _L.Input(WINDOW, name="window"),
            first,
            convolution(64, 3, name="conv1d_0_m"),
            activation(name="act0_m"),
            _L.MaxPooling1D(2, name="pool0"),
            convolution(128, 3, name="conv1d_1_m"),
            activation(name="act1_m"),
            _L.MaxPooling1D(2, name="pool1"),
            convolution(32, 3, name="conv1d_2_m"),
            activation(name="act2_m"),
            _L.GlobalAveragePooling1D(name="mean"),
            _L.BatchNormalization(momentum=0.95, name="bn1"),
            activation(name="act3_m"),
            dense(ACTIVITIES, name="dense"),
            _L.Activation("softmax", name="softmax"),
        ],
        name=name,
    )


def lstm(units: int = 32) -> tf.keras.Model:
    """Two LSTM layers behind a dense layer at every time step: 17,158 parameters.

    Source: G. Chevalier, LSTM-Human-Activity-Recognition, `lstm.py` (2016).
    """
    return tf.keras.Sequential(
        [
            _L.Input(WINDOW, name="window"),
            _L.Dense(units, activation="relu", name="project"),
            _L.LSTM(units, return_sequences=True, name="lstm1"),
            _L.LSTM(units, name="lstm2"),
            _L.Dense(ACTIVITIES, activation="softmax", name="activity"),
        ],
        name="har_lstm",
    )


def residual_lstm(
    ways: int = 2, stacked: int = 2, hidden: int = 28, dropout: float = 0.15
) -> tf.keras.Model:
    """Residual bidirectional LSTM: layers of parallel bidirectional LSTMs that are added up.

    Each direction of each has a dense layer of its own in front, and each layer ends in a
    normalisation with one factor and one offset for all channels. Trainable parameters: 15,354 for
    the 2 x 2 that the slides draw; the 11,829 of their table are those of 1 x 3, 11,828, and the
    counter of steps, which TensorFlow 1 counts among the trainable variables.

    Args:
        ways: bidirectional LSTMs side by side, whose outputs are added.
        stacked: layers one after the other.
        hidden: channels between layers, half of them from each direction.
        dropout: on the inputs, and before the last layer.

    Source: Y. Zhao et al., arXiv:1708.08989, and the code beside it, `lstm_architecture.py`. There
    the last time step is read, of which the backward cells have seen one sample; here each
    direction's last state. There every batch is normalised by itself, at testing too, so that an
    answer depends on the windows beside it; here by running averages.
    """
    inputs = tf.keras.Input(WINDOW, name="window")
    x = _L.Dropout(dropout, name="drop")(inputs)
    for level in range(1, stacked + 1):
        sides = [
            _both_ways(x, hidden // 2, level < stacked, f"lstm{level}{way}")
            for way in "abcdefgh"[:ways]
        ]
        x = _L.Add(name=f"add{level}")(sides) if ways > 1 else sides[0]
        shape = x.shape[1:]
        x = _L.Reshape((*shape, 1), name=f"one_channel{level}")(x)
        x = _L.BatchNormalization(gamma_initializer=_HALF, name=f"norm{level}")(x)
        x = _L.Reshape(shape, name=f"channels{level}")(x)
    x = _L.Dropout(dropout, name="drop_last")(x)
    outputs = _L.Dense(ACTIVITIES, activation="softmax", name="activity")(x)
    return tf.keras.Model(inputs, outputs, name=f"har_residual_lstm_{ways}x{stacked}")


def _both_ways(x, units: int, sequences: bool, name: str):
    """A bidirectional LSTM, its two directions with dense layers of their own in front."""
    found = []
    for side in ("forward", "backward"):
        y = _L.Dense(units, activation="relu", name=f"{name}_{side}_project")(x)
        backward = side == "backward"
        y = _L.LSTM(
            units, return_sequences=sequences, go_backwards=backward, name=f"{name}_{side}"
        )(y)
        # Read backwards, the outputs come backwards.
        found.append(tf.reverse(y, [1]) if backward and sequences else y)
    return _L.Concatenate(name=f"{name}_concat")(found)


def _recipes(quick: float, full: float, rate: float = 3e-3, **options) -> dict[str, Recipe]:
    """Epochs of the two profiles; everything else is the same."""
    whole = {"batch": 64, "augment": series.augment, **options}
    return recipes(quick, full, rate, **whole)


#: For `Lab.trained`. Epochs and rates of the light and the separable networks were chosen on
#: held-out training subjects; the others have theirs by analogy.
NETWORKS = {
    "light": Network(light, _recipes(5, 40)),
    "separable": Network(separable, _recipes(8, 50, 6e-3)),
    "separable_small": Network(separable_small, _recipes(8, 50, 6e-3)),
    "po2_float": Network(po2_float, _recipes(3, 30)),
    "po2": Network(po2, _recipes(1, 15, 1e-3)),
    "base": Network(base, _recipes(2, 8, 1e-3)),
    "base_small": Network(base_small, _recipes(3, 12, 1e-3)),
    "lstm": Network(lstm, _recipes(1, 15, 5e-3, batch=128)),
    "residual_lstm": Network(residual_lstm, _recipes(1, 12, 5e-3, batch=128)),
}
