"""Files of Caffe, written here byte by byte from the protocol buffer's rules."""

import struct

import numpy as np
import pytest

from labkit.models import caffe


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, legacy=False):
    data = field(5, array.astype("<f4").tobytes())
    if legacy:  # num, channels, height, width
        shape = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(i + 1, size) for i, size in enumerate(shape)) + data
    return field(7, field(1, b"".join(varint(size) for size in array.shape))) + data


def layer(name, *arrays, legacy=False):
    blobs = b"".join(field(7, blob(array, legacy)) for array in arrays)
    return field(100, field(1, name.encode()) + field(2, b"Convolution") + blobs)


KERNEL = np.arange(4 * 3 * 2 * 5, dtype=np.float32).reshape(4, 3, 2, 5)  # out, in, height, width
DENSE = np.arange(6, dtype=np.float32).reshape(2, 3)  # out, in
BIAS = np.array([1, 2, 3, 4], np.float32)


@pytest.mark.parametrize("legacy", [False, True])
def test_kernels_and_biases_in_keras_order(tmp_path, legacy):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(
        field(1, b"SqueezeNet")
        + layer("data")
        + layer("fire2/squeeze1x1", KERNEL, BIAS, legacy=legacy)
        + layer("fc", DENSE, BIAS[:2], legacy=legacy)
        + varint(9 << 3 | 5)
        + struct.pack("<f", 1.5)  # a field of 32 bits that nobody knows
        + varint(8 << 3 | 1)
        + struct.pack("<d", 1.5)
    )
    arrays = caffe.read(path)
    assert set(arrays) == {
        "fire2/squeeze1x1/kernel",
        "fire2/squeeze1x1/bias",
        "fc/kernel",
        "fc/bias",
    }
    assert arrays["fire2/squeeze1x1/kernel"].shape == (2, 5, 3, 4)
    assert arrays["fire2/squeeze1x1/kernel"][1, 4, 2, 3] == KERNEL[3, 2, 1, 4]
    np.testing.assert_array_equal(arrays["fc/kernel"], DENSE.T)
    np.testing.assert_array_equal(arrays["fire2/squeeze1x1/bias"], BIAS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        b"plain text, not a network",
        layer("conv1", KERNEL, BIAS)[:-7],
        field(100, field(1, b"a") + field(7, field(5, b"\0" * 7))),
    ],
)
def test_damaged_files_are_told(tmp_path, content):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(caffe.CaffeError, match=r"net\.caffemodel is not a \.caffemodel"):
        caffe.read(path)


def test_missing_file(tmp_path):
    with pytest.raises(caffe.CaffeError, match="cannot be read"):
        caffe.read(tmp_path / "none.caffemodel")
