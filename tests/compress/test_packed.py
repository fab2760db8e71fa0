"""Packed bits against the float simulation, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from labkit.compress import mixed_precision
from labkit.compress.kernels import CompressionError
from labkit.compress.mixed_precision import Precision, packed
from labkit.compress.mixed_precision.layers import TWINS
from labkit.models import quantnet

L = tf.keras.layers


def codes(shape, bits, seed=0):
    random = np.random.default_rng(seed)
    return 2 * random.integers(0, 2**bits, shape) - (2**bits - 1)


@pytest.mark.parametrize("a", [1, 2, 5, 8])
@pytest.mark.parametrize("b", [1, 2, 8])
@pytest.mark.parametrize("width", [1, 8, 63, 64, 130])
def test_products_are_those_of_integers(a, b, width):
    left, right = codes((7, width), a), codes((5, width), b, seed=1)
    of_left, of_right = packed.planes(left, a), packed.planes(right, b)
    assert of_left.shape == (a, 7, -(-width // 8)) and of_left.dtype == np.uint8
    np.testing.assert_array_equal(packed.codes_of(of_left, width), left)
    np.testing.assert_array_equal(packed.product(of_left, of_right, width), left @ right.T)
    there = np.random.default_rng(2).integers(0, 2, left.shape)
    mask = np.packbits(there.astype(bool), axis=1)
    found = packed.product(of_left, of_right, width, mask)
    np.testing.assert_array_equal(found, (left * there) @ right.T)


def test_a_product_of_signs_by_hand():
    """+ - + and + + -: one is the same, two differ."""
    left, right = packed.planes([[1, -1, 1]], 1), packed.planes([[1, 1, -1]], 1)
    assert left.tolist() == [[[0b10100000]]] and right.tolist() == [[[0b11000000]]]
    assert packed.product(left, right, 3).tolist() == [[3 - 2 * 2]]


def test_blocks_do_not_matter(monkeypatch):
    left, right = codes((50, 90), 2), codes((6, 90), 2, 1)
    monkeypatch.setattr(packed, "_BLOCK", 24)
    found = packed.product(packed.planes(left, 2), packed.planes(right, 2), 90)
    np.testing.assert_array_equal(found, left @ right.T)


LAYERS = {
    "dense": (L.Dense(7, "relu"), (40,)),
    "dense on series": (L.Dense(7), (5, 12)),
    "causal": (L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"), (11, 5)),
    "same": (L.Conv2D(6, 3, padding="same", activation="relu"), (7, 9, 5)),
    "strided": (L.Conv2D(6, (3, 4), strides=(2, 3), padding="same"), (10, 11, 3)),
    "valid": (L.Conv2D(6, 3, strides=2, use_bias=False), (9, 9, 4)),
    "dilated": (L.Conv2D(4, 3, dilation_rate=(1, 2), padding="same"), (8, 8, 3)),
    "three dimensions": (L.Conv3D(4, 2, padding="same"), (4, 5, 6, 2)),
}
PRECISIONS = [
    Precision(1),
    Precision(2),
    Precision(2, inputs=1, span="unit", scale="channel"),
    Precision(1, inputs=4, scale="channel"),
]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_layers_are_as_the_float_simulation_bit_for_bit(kind, precision):
    plain, shape = LAYERS[kind]
    layer = TWINS[type(plain)].from_config(plain.get_config() | {"precision": precision})
    random = np.random.default_rng(0)
    x = random.normal(0, 0.7, (3, *shape)).astype(np.float32)
    x[random.uniform(size=x.shape) < 0.3] = 0
    layer.build((None, *shape))
    layer.set_weights([random.normal(0.1, 0.3, w.shape) for w in layer.get_weights()])
    packed_layer = packed.pack(layer)
    np.testing.assert_array_equal(packed_layer(x), layer(x))
    outputs, width = layer.kernel.shape[-1], int(np.prod(layer.kernel.shape[:-1]))
    assert packed_layer.weights.nbytes == precision.weights * outputs * -(-width // 8)


def test_inputs_as_they_come_are_multiplied():
    layer = TWINS[L.Dense](5, precision=Precision(2, inputs=32))
    x = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    np.testing.assert_allclose(layer(x), packed.pack(layer)(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sequential", [False, True])
def test_a_network_is_as_the_float_simulation(sequential):
    tf.keras.utils.set_random_seed(0)
    model = quantnet.build((4, 8), (16, 8), input_shape=(12, 12, 3))
    if sequential:
        model = tf.keras.Sequential([L.Input((12, 12, 3)), *model.layers[1:]])
    x = np.random.default_rng(0).uniform(size=(20, 12, 12, 3)).astype(np.float32)
    plan = {"conv2": 1, "linear1": 2, "linear2": Precision(2, inputs=1)}
    mixed = mixed_precision.quantize(mixed_precision.within_one(model, x), plan)
    np.testing.assert_array_equal(packed.predict(mixed, x, batch=8), mixed(x))


def test_bytes_are_those_of_the_accounting():
    plan = {"conv2": 1, "linear1": Precision(2, scale="channel"), "linear2": 2}
    model = quantnet.build((8, 16), (16, 8), input_shape=(16, 16, 3))
    mixed = mixed_precision.quantize(model, plan)
    table = mixed_precision.memory(mixed)
    for name in plan:
        found = packed.pack(mixed.get_layer(name)).nbytes
        assert 8 * found == table.loc[name, "size (bits)"]


def test_groups_are_told():
    layer = TWINS[L.Conv1D](4, 3, groups=2, precision=Precision(1), name="grouped")
    layer.build((None, 8, 4))
    with pytest.raises(CompressionError, match="'grouped' has groups"):
        packed.pack(layer)
