"""Sizes against bits that were counted by hand."""

import numpy as np
import pytest

from labkit import measure


@pytest.fixture
def coded(convert):
    """A function of a (16, out) kernel: the row of its dense layer's weights, stored as float."""
    import tensorflow as tf

    def coded(kernel):
        layer = tf.keras.layers.Dense(kernel.shape[1], use_bias=False, input_shape=(16,))
        model = tf.keras.Sequential([layer])
        layer.set_weights([kernel])
        (row,) = measure.coding(convert(model, "float")).to_dict("records")
        return row

    return coded


def kernel_of(columns):
    return np.array(columns, np.float32).T


def test_shared_values_take_an_index_each_and_a_codebook(coded):
    kernel = kernel_of([[1, 2, 3, 1] * 4] * 8)
    row = coded(kernel)
    assert (row["values"], row["unique"], row["sparsity"]) == (128, 3, 0)
    assert row["dense (bits)"] == 128 * 32
    assert row["codebook (bits)"] == row["best (bits)"] == 128 * 2 + 3 * 32
    # 1 occurs twice as often as 2 and 3: half a bit less a weight.
    assert row["entropy (bits)"] == 128 * 1.5 + 3 * 32


def test_a_codebook_for_each_channel_where_that_is_shorter(coded):
    kernel = kernel_of([[channel] * 16 for channel in range(1, 9)])
    # Eight values need three bits per weight; within a channel there is nothing to tell apart.
    assert coded(kernel)["codebook (bits)"] == 8 * 32


def test_sparse_weights_take_a_mask_or_gaps(coded):
    kernel = np.zeros((16, 8), np.float32)
    kernel[[3, 15], 0] = [0.5, 0.25]  # TFLite keeps (out, in): positions 3 and 15
    kernel[8, 1] = -1  # position 24
    row = coded(kernel)
    assert row["sparsity"] == 1 - 3 / 128
    assert row["mask (bits)"] == 128 + 3 * 32
    # 3, 11 and 8 zeros before: gaps of 4 bits hold them. Of 3 bits, the second and the third
    # would need a filler each: 5 entries of 3 bits and four values from a codebook are more.
    assert row["index (bits)"] == row["best (bits)"] == 3 * (4 + 32)


def test_fillers_where_a_gap_is_too_long(coded):
    kernel = np.zeros((16, 64), np.float32)
    kernel[:, 0] = 2
    kernel[15, 63] = 2  # 1007 zeros before, after sixteen weights with none
    # Gaps of 1 bit: 503 fillers; of 8: 3 fillers, of 10: none. 17 or more entries each; the values
    # are shared: none but 2 (no index at all), or 2 and the filler's zero (one bit).
    expected = min(
        *((17 + (1007 >> gap)) * (gap + 1) + 2 * 32 for gap in range(1, 10)), 17 * 10 + 32
    )
    assert coded(kernel)["index (bits)"] == expected


def test_mask_takes_its_values_from_a_codebook(coded):
    kernel = np.zeros((16, 16), np.float32)
    kernel[::2] = np.where(np.arange(16) % 2, 0.5, -0.5)
    assert coded(kernel)["mask (bits)"] == 256 + 128 * 1 + 2 * 32


def test_codes_of_integer_files_and_their_biases_add_up_to_what_the_file_stores(model_files):
    for mode in ("float16", "int8", "int16x8"):
        table = measure.coding(model_files[mode])
        inspection = measure.inspect(model_files[mode])
        assert table["dense (bits)"].sum() == inspection.weight_bits
        assert (table["best (bits)"] <= table["dense (bits)"]).all()
        assert set(table["role"]) == {"weight", "bias"}


def test_zero_of_an_integer_tensor_is_its_zero_point(convert, images):
    import tensorflow as tf

    layer = tf.keras.layers.Dense(32, use_bias=False)
    model = tf.keras.Sequential([tf.keras.layers.Flatten(input_shape=(6, 6, 1)), layer])
    kernel = np.zeros((36, 32), np.float32)
    kernel[0] = 1
    layer.set_weights([kernel])
    row = measure.coding(convert(model, "int8")).iloc[0]
    assert row["sparsity"] == 35 / 36
    assert row["mask (bits)"] == 36 * 32 + 8  # all 32 weights share the one code, of 8 bits
