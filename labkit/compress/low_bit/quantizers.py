"""QKeras's quantisers by their notation, and what they make of numbers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import numpy as np
import qkeras
import tensorflow as tf

from labkit.compress.kernels import CompressionError

#: Sixteen codes less one: -7/8 … 7/8 in steps of 1/8, the same number on both sides of zero.
FOUR_BITS = "quantized_bits(4,0,1,alpha=1)"


@tf.keras.utils.register_keras_serializable("labkit")
class Po2WithZero(qkeras.quantized_po2):
    """Powers of two, and zero for a weight that is exactly zero, as pruning leaves it.

    `quantized_po2` makes its least value of a zero: of a pruned kernel all weights come back, small
    and of one sign.

    Example:
        >>> network = har.po2(kernels=low_bit.Po2WithZero(4, 1))  # four bits, up to 1
    """

    def __call__(self, x):
        """Rounded; gradients pass straight through, at zero too."""
        return tf.where(x == 0, x, super().__call__(x))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without Keras's warning that QKeras's constraints are serialised in an unusual way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*constraints.serialize.*")
        yield


@contextlib.contextmanager
def _learning_phase(training: bool) -> Iterator[None]:
    """Tell QKeras's stochastic quantisers whether it is training.

    They ask for the global learning phase, which `fit` no longer sets in Keras 2: without this,
    `stochastic_ternary` trains as `ternary`, and says nothing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*learning_phase_scope.*")
        scope = tf.keras.backend.learning_phase_scope(int(training))
        with scope:
            yield


def quantizer(name: str):
    """A quantiser from QKeras's notation, for example "ternary(alpha='auto')".

    Raises:
        CompressionError: QKeras does not know it.
    """
    try:
        found = qkeras.get_quantizer(name)
    except Exception as error:
        raise CompressionError(f"QKeras cannot read the quantiser {name!r}: {error}") from error
    if not isinstance(found, qkeras.quantizers.BaseQuantizer):
        raise CompressionError(f"{name!r} is not one of QKeras's quantisers.")
    return found


def rounded(name: str, x: np.ndarray, training: bool = False, seed: int = 0) -> np.ndarray:
    """What a quantiser makes of real numbers.

    Args:
        name: in QKeras's notation.
        x: float, any shape; with alpha='auto' the last axis counts as the output channels.
        training: let the stochastic quantisers draw, as they do in training.
        seed: of those draws.

    Returns:
        float32, the shape of x.

    Raises:
        CompressionError: an unknown quantiser.
    """
    tf.random.set_seed(seed)
    with _learning_phase(training):
        return np.asarray(quantizer(name)(tf.constant(x, tf.float32)))


def quantizer_values(name: str) -> np.ndarray:
    """The values that a quantiser of fixed scale can give, float32, rising.

    Args:
        name: in QKeras's notation, with a number for alpha (or none).
    """
    fine = np.linspace(0, 64, 4097)
    small = 2.0 ** np.linspace(-20, 0, 201)
    grid = np.concatenate([fine, small])
    mantissa, exponent = np.frexp(rounded(name, np.concatenate([-grid, grid])))
    # QKeras returns x + (q - x), which is q but for the last bits of a float32.
    return np.unique(np.ldexp(np.round(mantissa * 2**16) / 2**16, exponent))


@contextlib.contextmanager
def training() -> Iterator[None]:
    """What the training of a network from `quantize` needs: stochastic quantisers draw within it.

    Example:
        >>> with low_bit.training():
        ...     history = labkit.training.fit(network, data, recipe)
    """
    with _learning_phase(True), quietly():
        yield
