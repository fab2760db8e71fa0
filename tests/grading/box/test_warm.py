"""The interpreter that executions are forks of: what it saves a start must cost no wall."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from labkit.grading.box import sandbox, warm
from labkit.grading.box.sandbox import Isolation, Limits

pytestmark = pytest.mark.skipif(
    bool(sandbox._trouble("namespaces")), reason="executions are forks behind namespaces alone"
)
QUICK = Limits(seconds=20, cpu_seconds=20, memory_mb=300, processes=16)


def run(code, imports="", environment=None, **limits):
    settings = Limits(**(vars(QUICK) | limits))
    with sandbox.scratch() as place:
        isolation = Isolation("namespaces")
        return sandbox.run(
            ["-c", code], place, settings, isolation, environment=environment, imports=imports
        )


def interpreter(imports):
    """The one that has executed some imports."""
    (found,) = (each for key, each in warm._started.items() if key[1] == imports)
    return found.process


def test_what_was_imported_is_there_and_what_an_execution_does_to_it_stays_with_it():
    imports = "import fractions\nimport no_such_module\nfrom fractions import Fraction"
    tell = "import sys; print('fractions' in sys.modules, 'wave' in sys.modules)"
    assert run(tell, imports).output.split() == ["True", "False"]
    run("import wave, fractions; fractions.Fraction = None", imports)
    code = "import fractions; print(fractions.Fraction is None)"
    assert run(f"{tell}; {code}", imports).output.split() == ["True", "False", "False"]


def test_nothing_of_the_grader_or_of_another_execution_is_in_its_memory(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "grader's " + "own word")
    imports = "import ctypes, struct"  # an interpreter that starts only now
    given = {"OF_ANOTHER": "executed " + "before it"}
    assert run("import os; print(os.environ['OF_ANOTHER'])", imports, given).output
    code = (
        "halves = [(b\"grader's \", b'own word'), (b'executed ', b'before it')]\n"
        "halves.append((b'its own ', b'word'))\n"
        "kept = ''.join(['its own', ' word'])\n"
        "for line in open('/proc/self/maps'):\n"
        "    start, end = (int(n, 16) for n in line.split()[0].split('-'))\n"
        "    if 'r' not in line.split()[1] or '[v' in line: continue\n"
        "    with open('/proc/self/mem', 'rb', 0) as memory:\n"
        "        memory.seek(start)\n"
        "        try: found = memory.read(end - start)\n"
        "        except OSError: continue\n"
        "    for first, second in halves:\n"
        "        place = found.find(first)\n"
        "        while place >= 0:\n"
        "            rest = place + len(first)\n"
        "            if found[rest : rest + len(second)] == second: print(second.decode())\n"
        "            place = found.find(first, place + 1)\n"
    )
    assert set(run(code, imports).output.splitlines()) == {"word"}  # what it wrote itself


def test_it_has_the_standard_streams_alone():
    code = "import os; print([os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in range(3)])\n"
    code += "print(len(os.listdir('/proc/self/fd')))"  # and the folder that is being read
    assert run(code).output.splitlines() == ["['pipe', 'pipe', 'pipe']", "4"]


def test_no_program_file_of_any_process_can_be_written():
    """By /proc/PID/exe, as CVE-2019-5736 did: what a fork runs is not started in its box."""
    code = (
        "import os\nprint(bool(os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY))\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: os.open(f'/proc/{pid}/exe', os.O_RDWR); print('opened', pid)\n"
        "    except OSError as error: pass"
    )
    assert run(code).output.split() == ["True"]


def test_no_capability_is_left_and_none_can_come_back():
    code = (
        "print(*(l for l in open('/proc/self/status') if l.startswith(('Cap', 'NoNew'))), sep='')"
    )
    found = dict(line.split(":\t") for line in run(code).output.split("\n") if line)
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"


def test_the_first_process_of_a_box_shows_nothing():
    code = (
        "for name in ('mem', 'environ', 'maps'):\n"
        "    try: print(open(f'/proc/1/{name}', 'rb').read(1))\n"
        "    except OSError: pass\n"
        "print('done')"
    )
    assert run(code).output.split() == ["done"]


def test_what_forks_share_is_counted_once():
    """Eight processes of 60 MB each, which are the interpreter's, in 300 MB."""
    imports = "import sys; sys.kept = b'1' * 60_000_000"
    code = (
        "import os, sys, time\n"
        "for _ in range(8):\n"
        "    if not os.fork(): time.sleep(0.5); os._exit(0)\n"
        "while True:\n"
        "    try: os.wait()\n"
        "    except ChildProcessError: break\n"
    )
    assert run(code, imports).status == "ended"
    own = code.replace("time.sleep", "mine = bytearray(sys.kept); time.sleep")
    assert run(own, imports).status == "memory"


def test_an_interpreter_that_has_died_is_started_anew():
    imports = "import calendar"
    assert run("print(1)", imports).output == "1\n"
    first = interpreter(imports)
    kill = threading.Timer(0.5, first.kill)
    kill.start()
    # What it had forked goes on: a supervisor ends with the grader alone.
    assert run("import time; time.sleep(1); print(2)", imports).output == "2\n"
    first.wait()
    assert run("print(3)", imports).output == "3\n" and interpreter(imports) != first


def test_one_that_does_not_start_is_a_fault_of_the_machine(monkeypatch):
    ended = run("print(1)", "import os; print('no room', flush=True); os._exit(1)")
    assert ended.status == "infrastructure" and "no room" in ended.output
    monkeypatch.setattr(sys, "executable", "/no-such-python")
    ended = run("print(1)", "import an_interpreter_of_its_own")
    assert ended.status == "infrastructure" and "/no-such-python" in ended.output


def test_it_ends_with_the_grader_and_leaves_nothing(tmp_path):
    code = (
        "from labkit.grading.box import warm\n"
        "import time; print(warm.warm('', {}).process.pid, flush=True); time.sleep(60)"
    )
    grader = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    child = psutil.Process(int(grader.stdout.readline()))
    os.kill(grader.pid, signal.SIGKILL)
    grader.wait()
    gone, alive = psutil.wait_procs([child], timeout=20)
    grader.stdout.close()
    assert gone and not alive
    assert list(tmp_path.iterdir()) == []
