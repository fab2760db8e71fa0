"""Files that end the process that runs them."""

import numpy as np
import pytest
from built import file, operator, tensor

from labkit.measure import ModelFileError, TFLiteModel, trial


@pytest.fixture
def strange():
    """A file of an operator that not every kernel is known to bear."""
    return file(([tensor([1, 4]), tensor([1, 4])], [operator("ABS", [0], [1])], [0], [1]))


def test_a_file_that_ends_its_process_is_refused_by_name(strange, tmp_path, monkeypatch):
    abort = tmp_path / "abort.py"
    abort.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
    monkeypatch.setattr(trial, "_CHILD", abort)
    trial._end.cache_clear()
    try:
        with pytest.raises(ModelFileError, match=r"SIGABRT.*the cause: ABS; types: float32"):
            TFLiteModel(strange)
    finally:
        trial._end.cache_clear()


def test_a_file_that_runs_is_run_here_after_its_trial(strange):
    x = np.array([[-1, 2, -3, 4]], np.float32)
    np.testing.assert_array_equal(TFLiteModel(strange).predict(x), np.abs(x))


def test_files_like_those_of_the_labs_need_no_trial(model_files, monkeypatch):
    monkeypatch.setattr(trial.subprocess, "run", lambda *a, **k: pytest.fail("a child was started"))
    for path in model_files.values():
        TFLiteModel(path)


def test_a_kernel_that_really_aborts(convert, images):
    """LiteRT 2.3 aborts on the squared differences of a normalisation in 16x8."""
    import tensorflow as tf

    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((6, 6, 1)), layers.LayerNormalization(), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(ModelFileError, match="ends the process that runs it"):
        TFLiteModel(convert(model, "int16x8"))
