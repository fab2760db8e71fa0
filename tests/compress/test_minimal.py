import numpy as np
import pandas as pd
import pytest

from labkit import measure
from labkit.compress import minimal, post_training


@pytest.fixture(scope="module")
def content(small_model, tiny_data):
    return post_training.convert(small_model, "int8", tiny_data.x_train)


def test_same_outputs_from_a_smaller_file(content, tiny_data):
    smaller = minimal.without_names(content)
    assert len(smaller) < len(content) - 500
    np.testing.assert_array_equal(
        measure.TFLiteModel(smaller).predict(tiny_data.x_test),
        measure.TFLiteModel(content).predict(tiny_data.x_test),
    )


def test_no_name_is_left_and_no_weight_is_lost(content):
    smaller = minimal.without_names(content)
    for word in (b"conv1", b"serving_default", b"MLIR", b"CONVERSION_METADATA"):
        assert word in content and word not in smaller
    before, after = measure.inspect(content), measure.inspect(smaller)
    assert after.parameters == before.parameters and after.macs == before.macs
    for column in ("bits", "unique", "sparsity", "shape"):
        assert list(after.weights[column]) == list(before.weights[column])


def test_twice_is_once(content):
    once = minimal.without_names(content)
    assert len(minimal.without_names(once)) == len(once)


def test_equal_vectors_are_stored_once(content, tiny_data):
    nameless, compact = minimal.without_names(content), minimal.compact(content)
    assert len(compact) < len(nameless) - 300
    np.testing.assert_array_equal(
        measure.TFLiteModel(compact).predict(tiny_data.x_test),
        measure.TFLiteModel(nameless).predict(tiny_data.x_test),
    )
    before, after = measure.inspect(nameless), measure.inspect(compact)
    pd.testing.assert_frame_equal(after.weights, before.weights)
    pd.testing.assert_frame_equal(after.operators, before.operators)


def test_not_a_file():
    with pytest.raises(ValueError, match="TFL3"):
        minimal.without_names(b"not a model at all")
