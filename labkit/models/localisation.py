"""The networks of the lab on indoor localisation: four capacitive sensors in, x and y (m) out.

Those of the thesis's table 1.1: of one sample, or of the last 10 s. All are trained by Adamax on
the mean squared error; of a training the weights with the best validation are kept
(`labkit.training.Best`), as in the thesis.

Source: L. Battiato, *Tensorflow-driven neural network quantization for resource-constrained
devices* (Politecnico di Torino, 2020), sections 1.2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from labkit.datasets.localisation import COORDINATES, SENSORS, WINDOW
from labkit.training import Network, Recipe, Schedule, recipes

_L = tf.keras.layers


def mlp(hidden: Sequence[int] = (32,)) -> tf.keras.Model:
    """Dense layers on one sample: 226 parameters with 32 neurons, 317 with 45.

    Args:
        hidden: neurons of each hidden layer.

    Source: table 1.1, section 3.1.1 and figure 3.1.
    """
    return tf.keras.Sequential(
        [
            _L.Input((SENSORS,), name="sensors"),
            *(
                _L.Dense(neurons, "relu", name=f"hidden{i}")
                for i, neurons in enumerate(hidden, start=1)
            ),
            _L.Dense(len(COORDINATES), name="place"),
        ],
        name="localisation_mlp_" + "_".join(map(str, hidden)),
    )


def cnn(
    filters: Sequence[int] = (64, 64),
    kernel: int = 3,
    pool: int = 3,
    hidden: Sequence[int] = (32, 32),
    window: int = WINDOW,
) -> tf.keras.Model:
    """Convolutions along a window and dense layers: 34,818 parameters.

    The thesis names no pooling, but its number of parameters says that 640 values reach the first
    dense layer: 64 filters at a third of the window's 30 samples. A maximum over three samples
    after the first of two convolutions that keep their length is one way to get there, and the
    cheapest. L2 regularisation is the recipe's `weight_decay`.

    Args:
        filters: of each convolution.
        kernel: samples that a filter sees.
        pool: samples whose maximum goes on, after the first convolution.
        hidden: neurons of each dense layer but the last.
        window: samples.

    Source: table 1.1, section 3.2.
    """
    convolutions = [
        _L.Conv1D(count, kernel, padding="same", activation="relu", name=f"conv{i}")
        for i, count in enumerate(filters, start=1)
    ]
    return tf.keras.Sequential(
        [
            _L.Input((window, SENSORS), name="window"),
            convolutions[0],
            _L.MaxPooling1D(pool, name="pool"),
            *convolutions[1:],
            _L.Flatten(name="flatten"),
            *(
                _L.Dense(neurons, "relu", name=f"hidden{i}")
                for i, neurons in enumerate(hidden, start=1)
            ),
            _L.Dense(len(COORDINATES), name="place"),
        ],
        name="localisation_cnn",
    )


def lstm(cells: int = 2, window: int = WINDOW) -> tf.keras.Model:
    """A layer of LSTM cells whose last state places the person: 62 parameters with two cells.

    Args:
        cells: of the layer.
        window: samples.

    Source: table 1.1.
    """
    return tf.keras.Sequential(
        [
            _L.Input((window, SENSORS), name="window"),
            _L.LSTM(cells, name="lstm"),
            _L.Dense(len(COORDINATES), name="place"),
        ],
        name=f"localisation_lstm_{cells}",
    )


def _recipes(quick: float, full: float, rate: float, **options) -> dict[str, Recipe]:
    """Epochs of the two profiles; everything else is the same."""
    whole = {
        "batch": 32,
        "schedule": Schedule.CONSTANT,
        "optimizer": tf.keras.optimizers.Adamax,
        "loss": "mse",
        "metrics": (),
        **options,
    }
    return recipes(quick, full, rate, **whole)


#: For `Lab.trained`. One rate for all, as in the thesis, but ten times its 1e-4 over fewer epochs:
#: the MLP is small enough for all 1,000. The CNN's weight decay was chosen on simulated recordings.
NETWORKS = {
    "mlp": Network(mlp, _recipes(60, 1000, 1e-3)),
    "cnn": Network(cnn, _recipes(15, 250, 1e-3, weight_decay=2e-2)),
    "lstm": Network(lstm, _recipes(15, 250, 1e-3)),
}
