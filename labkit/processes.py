"""Calls of a function side by side, each in a process of its own."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator

from labkit import runtime

#: Bytes for a process that trains one of the course's networks: 0.8 to 1.5 GB were measured.
EACH = 1_500_000_000


def jobs_for(calls: int) -> int:
    """Processes at a time for so many calls, each of them a training.

    No more than this process may have threads, and than there is memory for.
    """
    import psutil

    room = int(psutil.virtual_memory().available // EACH)
    return max(1, min(calls, _threads(), room))


def _threads() -> int:
    """As many as processors, or as `runtime.thread_settings` has left to this process."""
    left = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(left) if left.isdecimal() and int(left) else runtime.processors()


def side_by_side(
    function: Callable, calls: Iterable[tuple], jobs: int, threads: int | None = None
) -> Iterator[tuple[int, object]]:
    """Call a function in several processes; what it gives comes back as soon as it is there.

    The function is sent as it is, from a notebook too, with all that it names; its results are
    sent back. Plain Keras models can be sent, those that tfmot has wrapped cannot. Arrays of a
    megabyte and more are written to the temporary folder once, and are read-only over there.
    Warnings are given here. The processes stay for the next calls; an interrupt ends them.

    Args:
        calls: the arguments of each.
        jobs: processes at a time.
        threads: of each; without, those that this process may have are divided among them.

    Yields:
        the number of a call, from 0, and its result.

    Raises:
        Exception: what the first call to fail has raised.
    """
    from joblib import Parallel, delayed, parallel_config

    # One whose memory grows, as that of trainings does, is replaced by another: no news to anybody.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    threads = threads or max(1, _threads() // jobs)
    settings = {"backend": "loky", "inner_max_num_threads": threads}
    environment = runtime.thread_settings(threads) | {"LABKIT_QUIET": "1"}
    with runtime.environment(environment), parallel_config(**settings):
        # Not in shared memory, where joblib would have them: nobody removes them if all that this
        # is part of is killed.
        folder = tempfile.gettempdir()
        parallel = Parallel(jobs, return_as="generator_unordered", batch_size=1, temp_folder=folder)
        called = delayed(_called)
        for number, result, warned in parallel(
            called(function, number, call) for number, call in enumerate(calls)
        ):
            for message, category, file, line in warned:
                warnings.warn_explicit(message, category, file, line)
            yield number, result


def _called(function: Callable, number: int, call: tuple) -> tuple[int, object, list[tuple]]:
    """The number, the result, and the warnings of a call."""
    with warnings.catch_warnings(record=True) as warned:
        result = function(*call)
    return number, result, [(str(w.message), w.category, w.filename, w.lineno) for w in warned]
