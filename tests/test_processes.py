import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from labkit import processes, runtime

BIG = np.arange(2_000_000.0)


pytestmark = pytest.mark.usefixtures("two_processors")

SETTINGS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "LABKIT_QUIET")


def facts(number):
    return os.getpid(), number**2, [os.environ.get(name) for name in SETTINGS]


def test_calls_are_made_in_other_processes():
    _, _, before = facts(0)
    given = dict(processes.side_by_side(facts, [(number,) for number in range(5)], 2))
    assert {number: square for number, (_, square, _) in given.items()} == {
        number: number**2 for number in range(5)
    }
    others = {process for process, _, _ in given.values()}
    assert os.getpid() not in others and 1 <= len(others) <= 2
    # One thread each of two processors, and no bars among this process's.
    assert all(settings == ["1", "1", "1"] for _, _, settings in given.values())
    assert facts(0)[2] == before


def test_large_arrays_are_shared_and_not_sent():
    def looked_at(array):
        return array.sum(), array.flags.writeable, array.filename

    given = dict(processes.side_by_side(looked_at, [(BIG,), (BIG,)], 2))
    (total, writeable, file), other = given.values()
    assert (total, writeable) == (BIG.sum(), False) and other == (total, writeable, file)
    assert file.startswith(tempfile.gettempdir())  # and not where nobody would look for it


def test_a_process_whose_memory_grows_is_replaced_without_a_word():
    def growing(number):
        time.sleep(1.1)  # it is looked at once a second
        sys.modules[f"kept {number}"] = np.ones(60_000_000)
        return os.getpid()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        given = dict(processes.side_by_side(growing, [(number,) for number in range(8)], 2))
    assert len(given) == 8 and len(set(given.values())) > 2
    assert not warned


def test_what_a_function_of_a_notebook_names_is_sent_with_it():
    factor = 3

    def scaled(value):
        return factor * helper(value)

    def helper(value):
        return value + 1

    assert dict(processes.side_by_side(scaled, [(1,), (2,)], 2)) == {0: 6, 1: 9}


def test_warnings_are_given_here():
    def doubtful(value):
        if value > 7:
            warnings.warn(f"{value} is doubtful", RuntimeWarning, stacklevel=1)
        return value

    with pytest.warns(RuntimeWarning, match="8 is doubtful"):
        assert dict(processes.side_by_side(doubtful, [(7,), (8,)], 2)) == {0: 7, 1: 8}


def test_a_fault_is_raised_here():
    def fails(value):
        raise LookupError(f"no {value}")

    with pytest.raises(LookupError, match="no 1"):
        list(processes.side_by_side(fails, [(1,)], 2))


def test_no_more_processes_than_there_is_room_for(monkeypatch):
    assert [processes.jobs_for(calls) for calls in (0, 1, 2, 9)] == [1, 1, 2, 2]
    monkeypatch.setattr(runtime, "processors", lambda: 64)
    assert processes.jobs_for(99) == 64
    for share in (1, 2):  # it shares the machine with others already
        with runtime.environment(runtime.thread_settings(share)):
            assert processes.jobs_for(99) == share
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "0")  # TensorFlow's word for all of them
    assert processes.jobs_for(99) == 64
    for room, jobs in ((3.9, 3), (0.5, 1)):
        memory = SimpleNamespace(available=room * processes.EACH)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        assert processes.jobs_for(99) == jobs


INTERRUPTED = """
import _thread, pathlib, signal, sys, threading, time
from labkit import processes

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
folder = pathlib.Path(sys.argv[1])

def slow(number):
    (folder / str(number)).touch()
    time.sleep(300)

def interrupt():
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.1)
    _thread.interrupt_main()

threading.Thread(target=interrupt, daemon=True).start()
try:
    list(processes.side_by_side(slow, [(number,) for number in range(3)], 2))
except KeyboardInterrupt:
    print("interrupted")
print(list(processes.side_by_side(abs, [(-1,)], 1)))
"""


@pytest.mark.skipif(os.name != "posix", reason="groups of processes")
def test_an_interrupt_ends_what_is_under_way(tmp_path):
    """And the next calls are made as ever."""
    begun, said, complained = (tmp_path / name for name in ("begun", "said", "complained"))
    begun.mkdir()
    command = [sys.executable, "-c", INTERRUPTED, str(begun)]
    # Files and a group: of ten such programs on a busy machine one leaves an idle process behind,
    # which holds on to its pipes.
    with said.open("w") as output, complained.open("w") as errors:
        program = subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True)
        try:
            code = program.wait(100)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
    assert (code, said.read_text()) == (0, "interrupted\n[(0, 1)]\n"), complained.read_text()
    assert sorted(path.name for path in begun.iterdir()) == ["0", "1"]
