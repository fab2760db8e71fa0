import os
import socket
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from labkit.grading import GradingError
from labkit.grading.box import sandbox
from labkit.grading.box.sandbox import Isolation, Limits

BACKENDS = [b for b in ("bubblewrap", "namespaces", "limits") if sandbox._works(b)]
every_backend = pytest.mark.parametrize("backend", BACKENDS)
isolating_backend = pytest.mark.parametrize("backend", BACKENDS[:-1])  # none on some machines
QUICK = Limits(seconds=20, cpu_seconds=20, memory_mb=300, file_mb=5, disk_mb=20, processes=16)


def run(code, backend, folder=None, **limits):
    settings = Limits(**(vars(QUICK) | limits))
    if folder is not None:
        return sandbox.run([sys.executable, "-I", "-c", code], folder, settings, Isolation(backend))
    with sandbox.scratch() as own:
        return sandbox.run([sys.executable, "-I", "-c", code], own, settings, Isolation(backend))


@every_backend
def test_a_command_runs_and_says_what_it_printed(backend):
    ended = run("from labkit.grading.inside import started; started(); print('hello')", backend)
    assert (ended.status, ended.code, ended.started) == ("ended", 0, True)
    assert ended.output.strip() == "hello"


@every_backend
@pytest.mark.parametrize(
    ("code", "limits", "status"),
    [
        ("while True: pass", {"seconds": 0.5}, "timeout"),
        ("import time; time.sleep(60)", {"seconds": 0.5}, "timeout"),
        ("while True: pass", {"cpu_seconds": 0.3}, "cpu"),
        ("x = [b'1' * 50_000_000 * i for i in range(1, 9)]", {"memory_mb": 200}, "memory"),
        (
            "import os, time\nfor i in range(30):\n"
            "    if not os.fork(): time.sleep(30); os._exit(0)\ntime.sleep(30)",
            {"processes": 10},
            "processes",
        ),
        (
            "for i in range(30): open(f'{i}', 'wb').write(b'1' * 1_000_000)\n"
            "import time; time.sleep(30)",
            {"disk_mb": 10},
            "disk",
        ),
    ],
    ids=["loop", "sleep", "cpu", "memory", "fork bomb", "disk"],
)
@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_limits_end_the_whole_tree(backend, code, limits, status):
    before = {p.pid for p in psutil.process_iter()}
    ended = run(code, backend, **limits)
    assert ended.status == status or (status == "memory" and "MemoryError" in ended.output)
    mine = [p for p in psutil.process_iter() if p.pid not in before and _command_holds(p, code)]
    assert mine == []


def _command_holds(process, code):
    try:
        return code in process.cmdline()
    except psutil.Error:
        return False


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="the kernel's limit on a file's size")
def test_a_single_file_cannot_grow_beyond_its_limit(backend):
    ended = run("open('x', 'wb').write(b'1' * 20_000_000)", backend, disk_mb=100)
    assert ended.code != 0


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_stays_in_the_background_is_dead_before_files_are_collected(backend):
    code = (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    while True:\n"
        "        open('late', 'a').write('x'); time.sleep(0.01)\n"
    )
    with sandbox.scratch() as folder:
        assert run(code, backend, folder).status == "ended"
        late = folder / "late"
        size = late.stat().st_size if late.exists() else 0
        time.sleep(0.3)
        assert (late.stat().st_size if late.exists() else 0) == size


@every_backend
def test_much_output_is_cut(backend):
    ended = run("print('a' * 10_000_000 + 'end')", backend)
    assert len(ended.output) < 30_000 and ended.output.rstrip().endswith("end")


@every_backend
def test_the_environment_of_the_grader_stays_outside(backend, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    ended = run("import os; print(os.environ); print(os.path.expanduser('~'))", backend)
    assert "hush" not in ended.output and "home" in ended.output.splitlines()[-1]


@isolating_backend
def test_nothing_of_the_course_is_within_reach(backend, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush")
    root = sandbox.Path(sandbox.__file__).parents[3]
    paths = [
        str(secret),
        str(root / "solutions" / "01_baseline.py"),
        str(root / "grading"),
        str(root / "tests"),
        "/etc/passwd",
        str(sandbox.Path.home()),
    ]
    code = f"import os; print([p for p in {paths!r} if os.path.exists(p) and p != {paths[-1]!r}])\n"
    code += f"print(os.path.isdir({paths[-1]!r}) and sorted(os.listdir({paths[-1]!r})))"
    ended = run(code, backend)
    found, home = ended.output.splitlines()
    assert found == "[]"
    # Python itself may lie in the user's folder; nothing else of it shows.
    assert home == "False" or len(home.split(",")) <= 2


@isolating_backend
def test_the_network_is_not_within_reach(backend):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        code = (
            "import socket\n"
            f"for address in (('127.0.0.1', {port}), ('192.0.2.1', 80)):\n"
            "    try: socket.create_connection(address, 2); print('connected')\n"
            "    except OSError as error: print(type(error).__name__)\n"
            "own = socket.create_server(('127.0.0.1', 0))\n"
            "socket.create_connection(own.getsockname()); print('loopback')\n"
        )
        ended = run(code, backend)
        with pytest.raises(TimeoutError):
            server.accept()
    assert "connected" not in ended.output and "loopback" in ended.output


@isolating_backend
def test_only_the_scratch_folder_can_be_written(backend):
    package = sandbox.Path(sandbox.__file__).parents[1]
    code = (
        f"for path in ({str(package / 'scoring.py')!r}, '/usr/x', '/x', '/etc/x',\n"
        "    '/proc/sys/kernel/hostname', '/proc/sys/kernel/core_pattern'):\n"
        "    try: open(path, 'r+' if path.endswith('.py') else 'a'); print('opened', path)\n"
        "    except OSError: pass\n"
        "import os; print(os.path.exists('x') or open('x', 'w').write('1'))"
    )
    assert run(code, backend).output.strip() == "1"


@isolating_backend
def test_it_has_no_rights_of_an_administrator(backend):
    ended = run("print(open('/proc/self/status').read())", backend)
    rights = [line for line in ended.output.splitlines() if line.startswith("CapEff")]
    assert rights and int(rights[0].split()[1], 16) == 0


def test_a_dead_grader_takes_its_executions_with_it(tmp_path):
    import subprocess

    code = (
        "import sys\nfrom labkit.grading.box.sandbox import *\n"
        "with scratch() as folder:\n"
        "    run([sys.executable, '-I', '-c', 'import time; time.sleep(98.7)'], folder, Limits(),"
        " choose())"
    )
    grader = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(200):
        if _sleepers():
            break
        time.sleep(0.05)
    assert _sleepers()
    grader.kill()
    grader.wait()
    for _ in range(200):
        if not _sleepers():
            break
        time.sleep(0.05)
    assert not _sleepers()


def _sleepers():
    return [
        p.pid for p in psutil.process_iter() if _command_holds(p, "import time; time.sleep(98.7)")
    ]


def test_wishes_that_cannot_be_fulfilled_are_told(monkeypatch):
    with pytest.raises(GradingError, match="expected auto or bubblewrap"):
        sandbox.choose("prison")
    monkeypatch.delenv("LABKIT_GRADING_IMAGE", raising=False)
    with pytest.raises(GradingError, match="needs an image"):
        sandbox.choose("container")


def test_limits_say_what_they_do_not_stop():
    text = Isolation("limits").describe()
    assert "network" in text and "solutions" in text and Isolation("limits").network


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_a_container_gets_no_network_no_rights_and_the_limits(tmp_path, monkeypatch):
    """A stand-in for docker that writes down its arguments and runs the command here."""
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\n'
        f'while [ "$1" != image:1 ]; do shift; done; shift 2\nexec {sys.executable} "$@"\n'
    )
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{engine.parent}{os.pathsep}{os.environ['PATH']}")
    isolation = sandbox.choose("container:image:1")
    assert isolation == Isolation("container", "image:1")
    with sandbox.scratch() as folder:
        sandbox.run([sys.executable, "-c", "1"], folder, QUICK, isolation, (tmp_path,))
    last = (tmp_path / "arguments").read_text().splitlines()[-1]
    for argument in (
        *("--network none", "--read-only", "--cap-drop ALL", "no-new-privileges"),
        *("--memory 300m", f"{tmp_path}:{tmp_path}:ro", "image:1 python -c 1"),
    ):
        assert argument in last


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="a temporary folder of the system's own")
def test_what_may_be_read_may_lie_in_tmp(backend):
    with tempfile.TemporaryDirectory(dir="/tmp") as place, sandbox.scratch() as folder:
        given = Path(place, "given.txt")
        given.write_text("here it is")
        code = f"print(open({str(given)!r}).read()); open('/tmp/own', 'w').write('x')"
        if backend == "limits":  # shares the machine's /tmp
            code = code.replace("/tmp/own", "own")
        command = [sys.executable, "-I", "-c", code]
        ended = sandbox.run(command, folder, QUICK, Isolation(backend), readable=(given,))
        assert (ended.code, ended.output.strip()) == (0, "here it is")
        assert os.listdir(place) == ["given.txt"]


@pytest.mark.skipif(os.name != "posix", reason="a folder deeper than a path may be long")
def test_a_scratch_folder_goes_however_deep_it_is():
    home = os.getcwd()
    with sandbox.scratch() as folder:
        try:
            os.chdir(folder)
            for _ in range(2000):
                os.mkdir("d")
                os.chdir("d")
        finally:
            os.chdir(home)
    assert not folder.exists()
