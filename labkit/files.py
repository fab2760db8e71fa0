"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`.

    If the body raises, the temporary file goes and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _publish(temporary, 0o666)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path` atomically and return the path."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, content: str) -> Path:
    """Write `content` to `path` atomically, as UTF-8 with LF line ends, and return the path.

    What has no UTF-8, as a file's name may have, is written as "\\udce9", which JSON reads back.
    """
    return write_bytes(path, content.encode("utf-8", "backslashreplace"))


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on success it becomes `path`.

    If the body raises, the temporary folder goes and there is no `path`.

    Raises:
        OSError: `path` exists and is not an empty folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield temporary
        _publish(temporary, 0o777)
        if path.is_dir():
            path.rmdir()  # an empty one; Windows does not replace it
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, mode: int) -> None:
    """Give what `tempfile` has made private the permissions of what is made new."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(mode & ~umask)
