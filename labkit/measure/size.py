"""The size of a file, as it lies on disk and as it would be sent."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

from labkit.measure.graph import read_bytes


@dataclass(frozen=True)
class Size:
    """Bytes of a file, and bytes after `gzip -9`: what clustering and pruning pay into."""

    bytes: int
    gzip_bytes: int


def size(source: str | Path | bytes) -> Size:
    """Measure a model file.

    Args:
        source: path of the file, or its bytes.

    Raises:
        ModelFileError: there is no such file.
    """
    content = read_bytes(source)
    # Without a time stamp, so that the same model always has the same size.
    return Size(len(content), len(gzip.compress(content, compresslevel=9, mtime=0)))
