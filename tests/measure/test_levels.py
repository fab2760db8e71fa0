"""Bits of a tensor's levels against those counted by hand, on tensors written by hand."""

import numpy as np
import pytest

from labkit.measure import inspect
from labkit.measure.graph import Graph, Operator, Tensor
from labkit.measure.levels import Levels, levels


def tensor(codes, scales=(), index=0, axis=0, **more):
    """A constant (out, in)."""
    codes = np.asarray(codes)
    more = {"is_variable": False, "subgraph": 0} | more
    return Tensor(
        index=index,
        name=f"t{index}",
        shape=codes.shape,
        signature=codes.shape,
        type=str(codes.dtype),
        data=np.frombuffer(codes.tobytes(), np.uint8),
        scales=np.asarray(scales, np.float32),
        zero_points=np.zeros(max(len(scales), 1), np.int64),
        axis=axis,
        **more,
    )


def activation(index, shape, kind="float32", is_variable=False):
    none = np.empty(0, np.float32)
    where = (shape, shape, kind, None, none, np.zeros(1, np.int64), 0)
    return Tensor(index, f"t{index}", *where, is_variable, 0)


def of(codes, scales=()):
    return levels(tensor(codes, scales), "FULLY_CONNECTED")


@pytest.fixture(scope="module")
def draw():
    return np.random.default_rng(0)


def test_few_floats_in_a_channel_are_floats(draw):
    assert of(draw.normal(size=(300, 9)).astype(np.float32)) == Levels(32, 300 * 9 * 32)


def test_a_codebook_that_all_channels_share(draw):
    values = draw.normal(size=4).astype(np.float32)
    assert of(values[draw.integers(0, 4, (300, 9))]) == Levels(2, 300 * 9 * 2 + 4 * 32)


def test_a_codebook_for_each_channel(draw):
    kernel = draw.normal(size=(50, 4)).astype(np.float32)
    kernel = np.take_along_axis(kernel, draw.integers(0, 4, (50, 400)), axis=1)
    assert of(kernel) == Levels(2, 50 * (400 * 2 + 4 * 32))


@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_a_grid_with_a_step_for_each_channel(draw, stored):
    codes = draw.integers(-7, 8, (200, 9))
    codes[:, 0] = 7
    codes[0] = np.arange(-1, 8)
    found = of((codes * draw.uniform(0.1, 1, (200, 1))).astype(stored))
    assert found.index_bits == 4 and found.bits < 200 * (9 * 4 + 32 + 15) + 1


def test_powers_of_two_of_a_step_for_each_channel(draw):
    kernel = 2.0 ** -draw.integers(0, 8, (200, 30)) * draw.choice([-1, 1], (200, 30))
    found = of((kernel * draw.uniform(0.1, 1, (200, 1))).astype(np.float32))
    assert found.index_bits == 4 and found.bits <= 200 * (30 * 4 + 32 + 17)


def test_values_that_channels_share_though_each_rounds_them_to_its_own_scale(draw):
    values = draw.uniform(-1, 1, 16)
    kernel = values[draw.integers(0, 16, (100, 9))]
    scales = np.abs(kernel).max(axis=1) / 127
    codes = np.round(kernel / scales[:, None]).astype(np.int8)
    assert len(np.unique(codes)) > 30
    assert of(codes, scales) == Levels(4, 100 * 9 * 4 + 16 * 32)
    assert of(draw.integers(-127, 128, (100, 9)).astype(np.int8), scales).index_bits == 8


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf])
def test_scales_that_are_none_share_nothing(draw, scale):
    codes = draw.integers(-127, 128, (100, 9)).astype(np.int8)
    assert of(codes, [scale] * 100).index_bits == 8


def graph(*operators, tensors):
    return Graph(tuple(tensors), operators, (((0,), (1,)),))


def test_small_integers_that_meet_data_are_weights_and_shapes_are_not():
    ends = [activation(0, (1, 4), "int32"), activation(1, (1, 4), "int32")]
    numbers = tensor(np.arange(4, dtype=np.int32), index=2)
    found = inspect(graph(Operator("MUL", (0, 2), (1,)), tensors=[*ends, numbers]))
    assert found.parameters == 4 and found.weights["role"].tolist() == ["constant"]
    found = inspect(graph(Operator("RESHAPE", (0, 2), (1,)), tensors=[*ends, numbers]))
    assert found.parameters == 0


def test_dead_operators_and_their_tensors_are_left_out():
    ends = [activation(0, (1, 4)), activation(1, (1, 4)), activation(2, (1, 9), "int16")]
    kernel = tensor(np.ones((9, 4), np.int8), index=3)
    live, dead = Operator("RELU", (0,), (1,)), Operator("FULLY_CONNECTED", (0, 3, -1), (2,))
    found = inspect(graph(dead, live, tensors=[*ends, kernel]))
    assert found.operators["operator"].tolist() == ["RELU"] and found.macs == 0
    assert found.parameters == 0 and found.activation_types == ("float32",)
    assert found.tensors.index.tolist() == [0, 1]


def test_what_is_computed_of_constants_is_no_activation_and_multiplies_nothing():
    tensors = [activation(0, (1, 9)), activation(1, (1, 9)), activation(2, (1, 9), "float16")]
    tensors += [tensor(np.ones((9, 4), np.float32), index=3)]
    tensors += [tensor(np.ones((1, 4), np.float32), index=4)]
    made = Operator("FULLY_CONNECTED", (4, 3, -1), (2,))
    found = inspect(graph(made, Operator("ADD", (0, 2), (1,)), tensors=tensors))
    assert found.macs == 0 and found.parameters == 40
    assert found.activation_types == ("float32",)
    assert found.tensors.loc[2, "kind"] == "computed constant"
