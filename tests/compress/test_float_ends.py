import numpy as np
import pytest

from labkit import flatbuffer
from labkit.compress import minimal, post_training
from labkit.compress.float_ends import with_float_ends
from labkit.flatbuffer import ModelFileError
from labkit.measure import TFLiteModel, read_graph


@pytest.fixture(scope="module")
def contents():
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((16, 3)), layers.Conv1D(4, 3, activation="relu"), layers.Flatten(),
         layers.Dense(5, "softmax")]
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(50, 16, 3)).astype(np.float32)
    files = {kind: post_training.convert(model, kind, x, batch=1) for kind in ("int8", "float")}
    return files, x


@pytest.mark.parametrize("device", [bytes, minimal.for_device])
def test_the_same_codes_with_floats_around(contents, device):
    files, x = contents
    content = device(files["int8"])
    inside = with_float_ends(content)
    graph = read_graph(inside)
    assert [graph.tensors[i].type for i in (*graph.inputs, *graph.outputs)] == ["float32"] * 2
    assert [o.name for o in graph.operators][:: len(graph.operators) - 1] == [
        "QUANTIZE",
        "DEQUANTIZE",
    ]
    np.testing.assert_array_equal(TFLiteModel(inside).predict(x), TFLiteModel(content).predict(x))
    before, after = (flatbuffer.unpack(c).subgraphs[0] for c in (content, inside))
    assert len(after.tensors) == len(before.tensors) + 2


def test_a_signature_names_the_new_ends(contents):
    content = contents[0]["int8"]
    assert flatbuffer.unpack(content).signatureDefs
    model = flatbuffer.unpack(with_float_ends(content))
    (signature,) = model.signatureDefs
    assert [e.tensorIndex for e in signature.inputs] == list(model.subgraphs[0].inputs)
    assert [e.tensorIndex for e in signature.outputs] == list(model.subgraphs[0].outputs)


def test_floats_stay_as_they_are(contents):
    content = contents[0]["float"]
    assert with_float_ends(content) is content


def test_integers_without_a_scale_are_refused(contents):
    model = flatbuffer.unpack(contents[0]["int8"])
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].quantization = None
    with pytest.raises(ModelFileError, match="neither float32 nor quantised"):
        with_float_ends(flatbuffer.pack(model))
