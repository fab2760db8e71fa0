import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from labkit.measure import ModelFileError, TFLiteModel, micro

needs_tflm = pytest.mark.skipif(not micro.available(), reason="there is no tflite-micro here")


@pytest.fixture(scope="module")
def reports(model_files, images):
    found = micro.run_all(model_files.values(), images[:20])
    return dict(zip(model_files, found, strict=True))


@needs_tflm
def test_what_runs_and_which_operator_refuses(reports):
    assert [mode for mode, report in reports.items() if report.runs] == [
        "float",
        "int8",
        "int16x8",
    ]
    refused = reports["float16"]
    assert refused.reason.startswith(
        "TensorFlow Lite Micro refuses DEQUANTIZE (operator 0, float16 → float32): it needs "
    )
    assert refused.verdict == "no: DEQUANTIZE, float16 → float32"
    refused = reports["dynamic_range"]
    assert "refuses FULLY_CONNECTED" in refused.reason and "int8 → float32" in refused.reason
    assert refused.reason.endswith("Input type: FLOAT32 with filter type: INT8 not supported.")
    assert refused.arena_bytes is refused.outputs is refused.difference is None
    assert str(refused) == refused.reason


@needs_tflm
@pytest.mark.parametrize("mode", ["float", "int8", "int16x8"])
def test_outputs_are_litert_s_within_a_code(reports, model_files, images, mode):
    report = reports[mode]
    expected = TFLiteModel(model_files[mode], reference=True).predict(images[:20])
    assert report.outputs.shape == (20, 5) and report.outputs.dtype == np.float32
    assert report.identical == (report.outputs == expected).mean()
    gap = np.abs(report.outputs - expected).max()
    if mode == "float":
        assert report.step is None and report.difference == gap < 1e-5
        assert report.within == 1
    else:  # the softmax of 16 bits differs by a few codes of 32,768
        assert report.difference == pytest.approx(gap / report.step, abs=0.01)
        assert report.difference <= {"int8": 1, "int16x8": 4}[mode]
        assert report.within >= {"int8": 1, "int16x8": 0.8}[mode]


@needs_tflm
def test_a_difference_is_seen(model_files, images, monkeypatch):
    """Against a model that computes other things: the comparison is one."""

    class Other(TFLiteModel):
        def predict(self, x):
            return super().predict(x)[::-1]

    monkeypatch.setattr(micro, "TFLiteModel", Other)
    report = micro.run(model_files["int8"], images[:20])
    gap = np.abs(report.outputs - report.outputs[::-1]).max()
    assert report.difference == pytest.approx(gap / report.step, abs=2) and report.difference > 1
    assert report.within < 1


@needs_tflm
@pytest.mark.parametrize("mode", ["float", "int8"])
def test_the_arena_is_the_smallest_that_works(reports, model_files, mode):
    def starts(size):
        code = (
            "import sys; from tflite_micro import runtime; "
            f"runtime.Interpreter.from_file(sys.argv[1], arena_size={size}).invoke()"
        )
        command = [sys.executable, "-c", code, str(model_files[mode])]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    arena = reports[mode].arena_bytes
    assert arena % 16 == 0 and 0 < reports[mode].activation_bytes < arena
    assert starts(arena) and not starts(arena - 16)


@needs_tflm
def test_an_lstm_starts_afresh_with_each_window():
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    inputs = tf.keras.Input((8, 3))
    model = tf.keras.Model(inputs, tf.keras.layers.LSTM(4)(inputs))
    signature = [tf.TensorSpec([1, 8, 3], tf.float32)]
    call = tf.function(model, input_signature=signature).get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([call], model).convert()
    x = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
    report = micro.run(content, x[[0, 0, 1, 0]])
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in report.operators
    np.testing.assert_array_equal(report.outputs[[0, 0, 0]], report.outputs[[0, 1, 3]])
    np.testing.assert_allclose(report.outputs[2:3], model.predict(x[1:], verbose=0), atol=1e-5)
    assert report.within == 1


@needs_tflm
def test_an_operator_that_is_not_there_is_named(rewritten, model_files):
    def change(model, schema):
        for code in model.operatorCodes:
            if code.builtinCode == schema.BuiltinOperator.SOFTMAX:
                code.builtinCode = schema.BuiltinOperator.UNIQUE

    content = rewritten(model_files["float"].read_bytes(), change)
    report = micro.run(content)
    assert report.reason == "TensorFlow Lite Micro has no operator UNIQUE."
    assert report.verdict == "no: UNIQUE"


@needs_tflm
def test_a_file_that_ends_the_process_is_one_report(model_files, tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(
        "import os, signal, subprocess, sys\n"
        "folder, first, last = sys.argv[1], *map(int, sys.argv[2:])\n"
        "for n in range(first, last):\n"
        "    open(f'{folder}/{n}.log', 'w').close()\n"
        "    if n == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"    command = [sys.executable, {str(micro._CHILD)!r}, folder, str(n), str(n + 1)]\n"
        "    subprocess.run(command, check=True)\n"
    )
    monkeypatch.setattr(micro, "_CHILD", child)
    first, dead, last = micro.run_all([model_files["int8"]] * 3)
    assert first.runs and first == last
    assert dead.reason == "TensorFlow Lite Micro ended its process (SIGKILL) on this file."


@needs_tflm
def test_a_file_may_take_so_long(model_files, tmp_path, monkeypatch):
    child = tmp_path / "child.py"
    child.write_text(
        "import sys, time\nopen(f'{sys.argv[1]}/{sys.argv[2]}.log', 'w').close()\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(micro, "_CHILD", child)
    report = micro.run(model_files["int8"], seconds=0.5)
    assert "took longer than 0.5 s" in report.reason and not report.runs


def test_without_the_package_a_sentence(model_files, images, monkeypatch):
    monkeypatch.setattr(micro, "available", lambda: False)
    report = micro.run(model_files["int8"], images[:2])
    assert report.runs is None and "pip install 'labkit[device]'" in str(report)
    assert report.operators[0] == "CONV_2D"
    table = micro.table({"int8": model_files["int8"]}, images[:2])
    assert table.loc["int8", "microcontroller"] == "not installed"
    assert table["arena (bytes)"].isna().all()


def test_what_is_no_model_or_no_input_of_it(model_files, images, tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match="not a TFLite model"):
        micro.run(tmp_path / "a.tflite")
    if micro.available():
        with pytest.raises(ValueError, match="shape"):
            micro.run(model_files["int8"], images[:2, :5])
        with pytest.raises(ValueError, match="NaN"):
            micro.run(model_files["int8"], np.full_like(images[:2], np.nan))


@needs_tflm
def test_table(model_files, images):
    sources = {mode: model_files[mode] for mode in ("float", "float16")}
    table = micro.table(sources, images[:3])
    assert table.loc["float", "microcontroller"] == "runs"
    assert table.loc["float16", "largest difference"] == ""
    assert table.loc["float", "bytes"] == Path(model_files["float"]).stat().st_size
    assert table["arena (bytes)"].isna().tolist() == [False, True]
