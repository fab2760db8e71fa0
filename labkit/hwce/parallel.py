"""Work on all processors: NumPy lets go of the interpreter lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from labkit import runtime

_thread = threading.local()


def each(work: Callable, items: Iterable) -> list:
    """The results of `work` on every item, in order.

    Work that is started by such work runs in its own thread: the others are busy.
    """
    items = list(items)
    if len(items) == 1 or getattr(_thread, "busy", False):
        return [work(item) for item in items]
    return list(_pool().map(work, items))


def blocks(images: int, out: tuple[int, int], pixels: int) -> list[tuple[slice, slice]]:
    """Slices of images and rows of maps (rows, columns) with about so many pixels each."""
    height, width = out
    rows = min(height, max(1, pixels // width))
    together = max(1, pixels // (height * width))
    return [
        (slice(n, min(n + together, images)), slice(r, min(r + rows, height)))
        for n in range(0, images, together)
        for r in range(0, height, rows)
    ]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(runtime.processors(), "hwce", initializer=_mark)


def _mark() -> None:
    _thread.busy = True
