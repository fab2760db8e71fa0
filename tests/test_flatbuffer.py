"""TFLite files as objects, however they keep their constants."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.quantizer import Quantizer

from labkit import flatbuffer, measure
from labkit.compress import minimal, post_training


@pytest.fixture(scope="module")
def content():
    """A file of 300 KB of 8-bit weights, which ai-edge-quantizer puts behind the FlatBuffer."""
    model = tf.keras.Sequential([tf.keras.Input((600,)), tf.keras.layers.Dense(512)])
    quantizer = Quantizer(post_training.convert(model, "float"))
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    quantizer.add_weight_only_config(regex=".*", operation_name=every, num_bits=8)
    return bytes(quantizer.quantize().quantized_model)


def test_constants_behind_the_flatbuffer_are_resolved(content):
    assert any(
        buffer.size
        for buffer in flatbuffer.schema.ModelT.InitFromObj(
            flatbuffer.schema.Model.GetRootAs(content, 0)
        ).buffers
    )
    model = flatbuffer.unpack(content)
    assert max(len(b.data) for b in model.buffers if b.data is not None) == 512 * 600
    x = np.random.default_rng(0).random((3, 600)).astype(np.float32)
    wanted = measure.TFLiteModel(content).predict(x)
    for again in (flatbuffer.pack(model), minimal.without_names(content)):
        np.testing.assert_array_equal(measure.TFLiteModel(again).predict(x), wanted)


def test_a_truncated_file(content):
    with pytest.raises(flatbuffer.ModelFileError, match="truncated"):
        flatbuffer.unpack(content[:-1000])
