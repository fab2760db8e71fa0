"""The cache: arrays that took long to draw or to decode, each under all that they depend on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from labkit.checkpoint import Checkpoint, CheckpointError
from labkit.datasets import folders


def kept(name: str, key: dict, make: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Arrays from the cache, or made now and put there, whole or not at all.

    Args:
        name: what a file of them is called.
        key: all that they depend on, as JSON takes it.
        make: makes them.
    """
    number = zlib.crc32(json.dumps(key, sort_keys=True).encode())
    file = Checkpoint(folders.cache() / f"{name}-{number:08x}.npz", key)
    with suppress(CheckpointError, OSError):  # damaged, or of another key: made and written anew
        arrays, _ = file.read()
        if arrays:
            return arrays
    arrays = list(make())
    with suppress(OSError):  # a full disk or a read-only home costs time, nothing else
        file.write(arrays, {})
    return arrays
