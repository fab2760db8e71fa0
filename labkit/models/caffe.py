"""Reads the weights of a `.caffemodel`, Caffe's binary form of a trained network.

The file is a protocol buffer, NetParameter; only names, shapes and numbers of the layers' blobs are
read, by their field numbers in Caffe's `caffe.proto`. Caffe itself is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from labkit.errors import LabkitError


class CaffeError(LabkitError):
    """A file that is not a `.caffemodel`, or damaged."""


# Field numbers of caffe.proto.
_NET_LAYER = 100
_LAYER_NAME, _LAYER_BLOBS = 1, 7
_BLOB_SHAPE, _BLOB_DATA, _BLOB_LEGACY = 7, 5, (1, 2, 3, 4)
_SHAPE_DIM = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Kernels and biases of a network, float32.

    Returns:
        `<layer>/kernel`, height × width × in × out for a convolution and in × out for a dense layer
        (Caffe keeps out × in × height × width), and `<layer>/bias`.

    Raises:
        CaffeError: no such file, not a `.caffemodel`, or damaged.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        arrays = {}
        for field, layer in _fields(content):
            if field == _NET_LAYER:
                arrays |= _layer(layer)
    except OSError as error:
        raise CaffeError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, IndexError, TypeError, UnicodeDecodeError) as error:
        raise CaffeError(f"{path} is not a .caffemodel, or damaged: {error}.") from error
    if not arrays:
        raise CaffeError(f"{path} is not a .caffemodel: it holds no layer with weights.")
    return arrays


def _layer(content: bytes) -> dict[str, np.ndarray]:
    name, blobs = "", []
    for field, value in _fields(content):
        if field == _LAYER_NAME:
            name = bytes(value).decode("utf-8")
        elif field == _LAYER_BLOBS:
            blobs.append(_blob(value))
    if not blobs:
        return {}
    kernel = (
        blobs[0].squeeze((0, 1)) if blobs[0].ndim == 4 and name and _is_dense(blobs) else blobs[0]
    )
    kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
    arrays = {f"{name}/kernel": kernel}
    return arrays | ({f"{name}/bias": blobs[1].ravel()} if len(blobs) > 1 else {})


def _is_dense(blobs: list[np.ndarray]) -> bool:
    """Whether a kernel of four dimensions is an old inner product's: 1 × 1 × out × in."""
    return blobs[0].shape[:2] == (1, 1) and len(blobs) > 1 and blobs[1].size == blobs[0].shape[2]


def _blob(content: bytes) -> np.ndarray:
    shape, data, legacy = None, np.empty(0, np.float32), {}
    for field, value in _fields(content):
        if field == _BLOB_SHAPE:
            shape = _dimensions(value)
        elif field == _BLOB_DATA:
            data = np.append(data, np.frombuffer(value, "<f4"))
        elif field in _BLOB_LEGACY:
            legacy[field] = value
    if shape is None:
        shape = [legacy.get(field, 1) for field in _BLOB_LEGACY]
    return data.reshape(shape)


def _dimensions(content: bytes) -> list[int]:
    shape = []
    for field, value in _fields(content):
        if field == _SHAPE_DIM:
            shape += [value] if isinstance(value, int) else _varints(value)
    return shape


def _fields(content: bytes) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message; bytes for what has a length or is fixed."""
    view, at = memoryview(content), 0
    while at < len(view):
        key, at = _varint(view, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
        else:
            if kind == _BYTES:
                size, at = _varint(view, at)
            elif kind in (_FIXED32, _FIXED64):
                size = 4 if kind == _FIXED32 else 8
            else:
                raise ValueError(f"byte {at}: wire type {kind}")
            if at + size > len(view):
                raise ValueError("it ends in the middle of a field")
            value, at = view[at : at + size], at + size
        yield key >> 3, value


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number in base 128, the lowest digits first, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError(f"byte {at}: a number longer than 64 bits")


def _varints(view: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(view):
        value, at = _varint(view, at)
        values.append(value)
    return values
