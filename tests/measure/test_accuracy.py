import gzip

import numpy as np
import pytest

from labkit import measure


def test_accuracy_is_the_share_of_right_answers(model_files, network, images):
    y = network.predict(images, verbose=0).argmax(axis=1)
    assert measure.accuracy(model_files["float"], images, y) == 1.0
    y[:16] = (y[:16] + 1) % 5
    assert measure.accuracy(model_files["float"], images, y) == 0.75
    assert measure.accuracy(model_files["float"].read_bytes(), images, y) == 0.75


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(3, int), "as many of each"),
        (np.zeros(64), "one integer class"),
        (np.zeros((64, 5), int), "one integer class"),
        (np.full(64, 5), "classes 5 to 5"),
        (np.full(64, -1), "classes -1"),
    ],
)
def test_classes_that_do_not_fit_are_refused(model_files, images, y, message):
    with pytest.raises(ValueError, match=message):
        measure.accuracy(model_files["float"], images, y)


def test_no_images_are_refused(model_files, images):
    with pytest.raises(ValueError, match="empty"):
        measure.accuracy(model_files["float"], images[:0], np.zeros(0, int))


def test_size_is_that_of_the_file_and_of_gzip_9(model_files):
    content = model_files["int8"].read_bytes()
    size = measure.size(model_files["int8"])
    assert size.bytes == len(content) == model_files["int8"].stat().st_size
    assert size.gzip_bytes == len(gzip.compress(content, 9, mtime=0))
    assert size.gzip_bytes < size.bytes
    assert measure.size(content) == size


def test_evaluate_collects_the_figures_of_the_ledger(model_files, images):
    y = np.zeros(len(images), int)
    figures = measure.evaluate(model_files["int8"], images, y)
    assert figures == {
        "accuracy": measure.accuracy(model_files["int8"], images, y),
        "bytes": measure.size(model_files["int8"]).bytes,
        "gzip_bytes": measure.size(model_files["int8"]).gzip_bytes,
        "weight_bits": measure.inspect(model_files["int8"]).weight_bits,
        "coded_bits": measure.coding(model_files["int8"])["best (bits)"].sum(),
        "peak_activation_bytes": measure.inspect(model_files["int8"]).peak_activation_bytes,
    }


def test_outputs_that_are_there_are_not_computed_again(model_files, images):
    y = np.arange(len(images)) % 3
    found = measure.evaluate(model_files["int8"], images, y, outputs=np.eye(3)[y])
    computed = measure.evaluate(model_files["int8"], images, y)
    assert found == computed | {"accuracy": 1.0} and computed["accuracy"] < 1
    with pytest.raises(ValueError, match="the outputs and y have"):
        measure.evaluate(model_files["int8"], images, y, outputs=np.eye(3))


def test_latency_reports_median_quartiles_and_how(model_files, images):
    latency = measure.latency(model_files["int8"], images[:1], repeats=7, threads=1)
    assert 0 < latency.lower_quartile_ms <= latency.median_ms <= latency.upper_quartile_ms
    assert (latency.repeats, latency.threads) == (7, 1)
    assert "7 repeats" in str(latency)


def test_latency_wants_one_input_and_a_repeat(model_files, images):
    with pytest.raises(ValueError, match="2 inputs"):
        measure.latency(model_files["int8"], images[:2])
    with pytest.raises(ValueError, match="repeats is 0"):
        measure.latency(model_files["int8"], images[:1], repeats=0)


def test_a_file_is_compared_with_the_one_that_it_was_made_from(network, images, convert):
    x, y = images, np.arange(len(images)) % 5
    float_file, int8 = convert(network, "float"), convert(network, "int8")
    alone = measure.compare(float_file, float_file, x, y)
    assert alone == {"harder_accuracy": measure.accuracy(float_file, x, y)}
    found = measure.compare(int8, float_file, x, y)
    outputs = [measure.TFLiteModel(f).predict(x) for f in (float_file, int8)]
    answers = [o.argmax(axis=1) for o in outputs]
    assert found["harder_accuracy"] == measure.accuracy(int8, x, y)
    assert found["changed_answers"] == np.count_nonzero(answers[0] != answers[1])
    assert found["output_sqnr"] == measure.sqnr(*outputs) and 10 < found["output_sqnr"] < 60
    copied = measure.compare(bytes(float_file) + b"", float_file, x, y)
    assert "output_sqnr" not in copied  # nothing differs: it would be infinite


def test_the_working_memory_is_among_the_figures(network, images, convert):
    y = np.arange(len(images)) % 5
    peak = {
        mode: measure.evaluate(convert(network, mode), images, y)["peak_activation_bytes"]
        for mode in ("float", "int8", "int16x8")
    }
    assert peak["float"] == 4 * peak["int8"]
    assert peak["int16x8"] >= 2 * peak["int8"]
