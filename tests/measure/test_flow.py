"""Multiplications and memory of files whose shapes or repetitions the converter leaves open."""

import numpy as np
import pytest
from built import file, operator, tensor

from labkit import measure
from labkit.measure import ModelFileError

INT = {"kind": "INT32"}


def ints(*values):
    return tensor([len(values)], np.array(values, np.int32), **INT)


def scalar(value=None):
    return tensor([], None if value is None else np.array(value, np.int32), **INT)


def matrix(units, width):
    return tensor([units, width], np.ones((units, width), np.float32))


def test_a_dense_layer_on_a_sequence_multiplies_at_every_step():
    """As Keras has it: the shape of the rows is computed from that of the input."""
    tensors = [
        *(tensor([1, 20, 6], signature=[-1, 20, 6]), tensor([3], **INT), ints(0, 1)),
        *(tensor([2], **INT), ints(0), scalar(), tensor([1, 1], signature=[-1, -1])),
        *(matrix(5, 6), tensor([1, 5], signature=[-1, 5]), scalar(6), tensor([2], **INT)),
    ]
    operators = [
        operator("SHAPE", [0], [1]),
        operator("GATHER", [1, 2], [3]),
        operator("REDUCE_PROD", [3, 4], [5]),
        operator("PACK", [5, 9], [10]),
        operator("RESHAPE", [0, 10], [6]),
        operator("FULLY_CONNECTED", [6, 7], [8]),
    ]
    found = measure.inspect(file((tensors, operators, [0], [8])))
    assert found.macs == 20 * 6 * 5
    assert found.operators["outputs"].iloc[-1] == "20×5 float32"
    # The input and its copy in another shape, and that shape.
    assert found.peak_activation_bytes == 4 * (20 * 6 + 20 * 6) + 2 * 4


def test_a_dilated_convolution_multiplies_in_each_of_its_four_maps():
    kernel = tensor([4, 3, 3, 3], np.ones((4, 3, 3, 3), np.float32))
    tensors = [
        *(tensor([1, 16, 16, 3], signature=[-1, 16, 16, 3]), ints(2, 2)),
        tensor([2, 2], np.full((2, 2), 2, np.int32), **INT),
        *(tensor([1, 10, 10, 3], signature=[-1, 10, 10, 3]), kernel),
        tensor([1, 8, 8, 4], signature=[-1, 8, 8, 4]),
        tensor([2, 2], np.zeros((2, 2), np.int32), **INT),
        tensor([1, 16, 16, 4], signature=[-1, 16, 16, 4]),
    ]
    operators = [
        operator("SPACE_TO_BATCH_ND", [0, 1, 2], [3]),
        operator("CONV_2D", [3, 4], [5]),
        operator("BATCH_TO_SPACE_ND", [5, 1, 6], [7]),
    ]
    found = measure.inspect(file((tensors, operators, [0], [7])))
    assert found.macs == 4 * (8 * 8 * 4) * 27
    assert found.tensors["shape"].tolist()[5] == (4, 8, 8, 4)
    assert found.peak_activation_bytes == 4 * (4 * 10 * 10 * 3 + 4 * 8 * 8 * 4)


def test_weights_that_are_unpacked_or_computed_are_no_samples():
    tensors = [
        tensor([1, 6, 6, 1], signature=[-1, 6, 6, 1]),
        tensor([4, 3, 3, 1], np.ones((4, 3, 3, 1), np.float16), "FLOAT16"),
        *(tensor([4, 3, 3, 1]), tensor([1, 6, 6, 4], signature=[-1, 6, 6, 4])),
        *(tensor([4, 3, 3, 1]), tensor([1, 6, 6, 4], signature=[-1, 6, 6, 4])),
    ]
    operators = [
        operator("DEQUANTIZE", [1], [2]),
        operator("CONV_2D", [0, 2], [3]),
        operator("CONV_2D", [0, 4], [5]),
    ]
    found = measure.inspect(file((tensors, operators, [0, 4], [3, 5])))
    assert found.operators["MACs"].tolist() == [0, 6 * 6 * 4 * 9, 6 * 6 * 4 * 9]


def loop(test="LESS", limit=20, step=1):
    """A file whose loop multiplies a vector of 8 with a matrix, until a counter has its limit."""
    main = (
        [tensor([1, 8]), scalar(0), scalar(), tensor([1, 8])],
        [operator("WHILE", [1, 0], [2, 3], condSubgraphIndex=1, bodySubgraphIndex=2)],
        [0],
        [3],
    )
    condition = (
        [scalar(), tensor([1, 8]), scalar(limit), tensor([], kind="BOOL")],
        [operator(test, [0, 2], [3])],
        [0, 1],
        [3],
    )
    body = (
        [scalar(), tensor([1, 8]), scalar(step), scalar(), matrix(8, 8), tensor([1, 8])],
        [operator("ADD", [0, 2], [3]), operator("FULLY_CONNECTED", [1, 4], [5])],
        [0, 1],
        [3, 5],
    )
    return file(main, condition, body)


@pytest.mark.parametrize(
    ("options", "turns"),
    [({}, 20), ({"test": "LESS_EQUAL"}, 21), ({"step": 3}, 7), ({"limit": 0}, 0)],
)
def test_what_is_in_a_loop_counts_as_often_as_it_turns(options, turns):
    found = measure.inspect(loop(**options))
    assert found.macs == found.operators["MACs"].sum() == turns * 64
    # Outside the vector before and after, and the counter; inside as much again.
    assert found.peak_activation_bytes == (32 + 32 + 4) + (32 + 32 + 4)


def test_how_often_a_loop_turns_that_asks_the_data_is_not_known():
    found = measure.inspect(loop(test="NOT_EQUAL"))
    assert found.macs is None and "depends on the inputs" in str(found)


def test_a_graph_that_is_never_called_multiplies_nothing():
    def graph():
        tensors = [tensor([1, 8]), matrix(3, 8), tensor([1, 3])]
        return tensors, [operator("FULLY_CONNECTED", [0, 1], [2])], [0], [2]

    assert measure.inspect(file(graph(), graph())).macs == 24


def test_a_graph_that_calls_itself_is_refused():
    main = (
        [tensor([1, 8]), scalar(0), scalar(), tensor([1, 8])],
        [operator("WHILE", [1, 0], [2, 3], condSubgraphIndex=0, bodySubgraphIndex=0)],
        [0],
        [3],
    )
    with pytest.raises(ModelFileError, match="calls itself"):
        measure.inspect(file(main))


def test_images_of_any_size_have_no_number_of_multiplications():
    kernel = tensor([4, 3, 3, 3], np.ones((4, 3, 3, 3), np.float32))
    tensors = [
        tensor([1, 1, 1, 3], signature=[-1, -1, -1, 3]),
        kernel,
        tensor([1, 1, 1, 4], signature=[-1, -1, -1, 4]),
    ]
    found = measure.inspect(file((tensors, [operator("CONV_2D", [0, 1], [2])], [0], [2])))
    assert found.macs is None and found.peak_activation_bytes is None
    assert found.operators["inputs"].tolist() == ["1×?×?×3 float32"]
    assert "depends on the inputs" in found._repr_html_()


def test_the_filters_of_a_keyword_spotter_are_weights():
    tensors = [
        *(tensor([1, 6]), matrix(4, 6), matrix(4, 3), tensor([4], np.zeros(4, np.float32))),
        *(tensor([1, 12], isVariable=True), tensor([1, 4])),
    ]
    content = file((tensors, [operator("SVDF", [0, 1, 2, 3, 4], [5], rank=1)], [0], [5]))
    found = measure.inspect(content)
    assert found.macs == 4 * 6 + 4 * 3 and found.weight_types == ("float32",)
    assert found.bias_types == ("float32",)
    assert found.peak_activation_bytes == 4 * (6 + 12 + 4)


@pytest.mark.parametrize("build", ["time distributed", "attention", "one map a sample"])
def test_files_of_one_sample_and_of_any_number_come_to_the_same(build):
    import tensorflow as tf

    from labkit.compress import post_training

    layers = tf.keras.layers
    shape = {"time distributed": (4, 8, 8, 1)}.get(build, (10, 8))
    x = inputs = layers.Input(shape)
    if build == "time distributed":
        x = layers.TimeDistributed(layers.Conv2D(2, 3))(x)
    elif build == "attention":
        x = layers.MultiHeadAttention(2, 4)(x, x)
    else:
        x = layers.Dense(3)(layers.Permute((2, 1))(x))
    model = tf.keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    one, any_ = (measure.inspect(post_training.convert(model, "float", batch=b)) for b in (1, None))
    assert one.macs == any_.macs > 100
    assert any_.peak_activation_bytes == pytest.approx(one.peak_activation_bytes, rel=0.1)
