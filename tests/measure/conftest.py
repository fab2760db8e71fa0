"""A small network with known weights, converted in every mode."""

import numpy as np
import pytest

import labkit  # noqa: F401  (before TensorFlow, which the fixtures import)

MODES = ("float", "float16", "dynamic_range", "int8", "int16x8")


@pytest.fixture(scope="session")
def network():
    import tensorflow as tf

    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv"),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.Flatten(),
            layers.Dense(40, activation="relu", name="hidden"),
            layers.Dense(5, activation="softmax", name="out"),
        ]
    )
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=w.shape) / 3 for w in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).random((64, 6, 6, 1), np.float32)


@pytest.fixture(scope="session")
def convert(images):
    """A function of a model and a mode that returns the bytes of a file."""
    import tensorflow as tf

    def convert(model, mode, static=False):
        if static:
            call = tf.function(model).get_concrete_function(tf.TensorSpec([1, 6, 6, 1]))
            converter = tf.lite.TFLiteConverter.from_concrete_functions([call], model)
        else:
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if mode != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if mode == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if mode in ("int8", "int16x8"):
            converter.representative_dataset = lambda: ([image[None]] for image in images)
        if mode == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        if mode == "int16x8":
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            ]
        return converter.convert()

    return convert


@pytest.fixture(scope="session")
def model_files(network, convert, tmp_path_factory):
    """Path of the network's file in each mode."""
    folder = tmp_path_factory.mktemp("models")
    paths = {mode: folder / f"{mode}.tflite" for mode in MODES}
    for mode, path in paths.items():
        path.write_bytes(convert(network, mode))
    return paths


@pytest.fixture(scope="session")
def rewritten():
    """A function that changes a file's FlatBuffer: rewritten(content, change) -> bytes."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def rewrite(content, change):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        change(model, schema)
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    return rewrite
