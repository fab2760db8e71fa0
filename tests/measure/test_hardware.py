import importlib.util

import numpy as np
import pytest

from labkit.compress import post_training
from labkit.measure import ModelFileError, TFLiteModel, hardware, micro

needs_tflm = pytest.mark.skipif(not micro.available(), reason="there is no tflite-micro here")
needs_vela = pytest.mark.skipif(
    importlib.util.find_spec("ethosu") is None, reason="there is no ethos-u-vela here"
)


@pytest.fixture(scope="module")
def shared():
    """int8 files of a dense network, by what its weights are like, and inputs."""
    import tensorflow as tf

    inputs = tf.keras.Input((64,))
    hidden = tf.keras.layers.Dense(64, "relu")(inputs)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(4)(hidden))
    random = np.random.default_rng(0)
    weights = model.get_weights()
    x = random.normal(size=(32, 64)).astype(np.float32)
    kernels = {
        "all": random.normal(size=(64, 64)),
        "eight": random.choice(np.linspace(-1, 1, 8), (64, 64)),
        "hundred": random.choice(np.linspace(-1, 1, 100), (64, 64)),
        "pruned": random.normal(size=(64, 64)) * (random.random((64, 64)) < 0.1),
    }
    kernels["hundred"][0] = 1  # so that all channels have the same scale
    files = {}
    for name, kernel in kernels.items():
        model.set_weights([kernel, *weights[1:]])
        files[name] = post_training.convert(model, "int8", x)
    return files, x


@needs_tflm
def test_look_up_tables_make_shared_weights_smaller_and_change_nothing(shared):
    files, x = shared
    found = hardware.look_up_tables(files["eight"], x)
    assert found.tensors[["bits", "tables"]].to_numpy().tolist() == [[3, 64]]
    assert (found.before.bytes, found.after.bytes) == (len(files["eight"]), len(found.content))
    (packed,) = found.tensors["before (bytes)"] - found.tensors["after (bytes)"]
    assert packed == 64 * 64 * 5 / 8 - 64 * 8 - 16
    assert packed - 400 < found.before.bytes - found.after.bytes < packed + 64 * 12
    assert found.samples == 32 and "the same outputs" in str(found)
    before, after = found.reports
    assert "TFLM_DECODE" in after.operators and after.arena_bytes > before.arena_bytes
    np.testing.assert_array_equal(before.outputs, micro.run(files["eight"], x).outputs)
    with pytest.raises(ModelFileError):
        TFLiteModel(found.content).predict(x)
    assert hardware.look_up_tables(files["eight"]).samples == 8  # noise


@needs_tflm
def test_one_table_where_there_is_one_scale(shared, rewritten):
    def change(model, schema):
        for tensor in model.subgraphs[0].tensors:
            if list(tensor.shape) == [64, 64]:
                tensor.quantization.scale = tensor.quantization.scale[:1]
                tensor.quantization.zeroPoint = tensor.quantization.zeroPoint[:1]

    found = hardware.look_up_tables(rewritten(shared[0]["hundred"], change), shared[1])
    assert found.tensors[["bits", "tables"]].to_numpy().tolist() == [[7, 1]]
    assert found.after.bytes < found.before.bytes


@needs_tflm
def test_tables_that_do_not_pay_are_refused(shared):
    with pytest.raises(ModelFileError, match="no int8 tensor"):
        hardware.look_up_tables(shared[0]["all"])


@needs_tflm
def test_tables_that_change_the_outputs_are_refused(shared, monkeypatch):
    """Such as one table for a tensor with scales per channel, in the version of the lock file."""
    files, x = shared
    reports = micro.run_all([files["eight"], files["all"]], x, compare=False)
    monkeypatch.setattr(micro, "run_all", lambda *arguments, **options: reports)
    with pytest.raises(ModelFileError, match="other outputs"):
        hardware.look_up_tables(files["eight"], x)


def test_tables_need_the_package(shared, monkeypatch):
    monkeypatch.setattr(micro, "available", lambda: False)
    with pytest.raises(ModelFileError, match=r"labkit\[device\]"):
        hardware.look_up_tables(shared[0]["eight"])


@needs_vela
def test_vela_codes_shared_and_pruned_weights_shorter(shared):
    found = {name: hardware.vela(content) for name, content in shared[0].items()}
    flash = {name: report.flash_bytes for name, report in found.items()}
    assert flash["pruned"] < flash["eight"] < flash["all"] < 64 * 64 + 2048
    report = found["all"]
    assert report.on_cpu == 0 and report.sram_bytes > 0 and report.cycles > 0
    assert "ethos-u55-128" in str(report) and "on the NPU" in str(report)


@needs_vela
def test_vela_leaves_floats_to_the_processor(model_files):
    report = hardware.vela(model_files["float"])
    assert report.flash_bytes == 0 and report.on_cpu == report.operators > 0


@needs_vela
def test_vela_s_refusal_is_one_line(shared):
    with pytest.raises(ModelFileError, match=r"Vela does not compile the file: .*ethos-u55-5"):
        hardware.vela(shared[0]["all"], "ethos-u55-5")
    with pytest.raises(ModelFileError, match="not a TFLite model"):
        hardware.vela(b"no model")


def test_vela_is_not_there(shared, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match=r"labkit\[device\]"):
        hardware.vela(shared[0]["all"])
