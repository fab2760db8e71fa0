import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
import pytest

from labkit.grading import GradingError
from labkit.grading.box import sandbox
from labkit.grading.box.sandbox import Isolation, Limits

BACKENDS = [*([] if sandbox._trouble("namespaces") else ["namespaces"]), "limits"]
every_backend = pytest.mark.parametrize("backend", BACKENDS)
isolating_backend = pytest.mark.parametrize("backend", BACKENDS[:-1])  # none on some machines
QUICK = Limits(seconds=20, cpu_seconds=20, memory_mb=300, file_mb=5, disk_mb=20, processes=16)


def run(code, backend, take=(), hidden=(), readable=(), **limits):
    settings = Limits(**(vars(QUICK) | limits))
    isolation = Isolation(backend, hidden=tuple(hidden))
    take = dict.fromkeys(take, 1000)
    with sandbox.scratch() as place:
        command = ["-c", code]
        return sandbox.run(command, place, settings, isolation, tuple(readable), take=take)


@pytest.fixture
def mark():
    """A word that nothing outside this test holds, whatever runs beside it."""
    return f"labkit-{uuid.uuid4().hex}"


def as_program(code, mark):
    """The code as a program that the execution starts: its command line holds the mark."""
    code = f"# {mark}\n{code}"
    return f"import os, sys; os.execv(sys.executable, [sys.executable, '-I', '-c', {code!r}])"


def marked(mark):
    """Processes that live and whose command line holds the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(mark in argument for argument in process.cmdline()):
                found.append(process.pid)
    return found


@every_backend
def test_a_command_runs_and_says_what_it_printed(backend):
    ended = run("from labkit.grading.inside import started; started(); print('hello')", backend)
    assert (ended.status, ended.code, ended.started) == ("ended", 0, True)
    assert ended.output.strip() == "hello"


@every_backend
def test_a_lab_may_train_side_by_side_in_it(backend):
    code = (
        "import os, numpy as np\nfrom labkit import processes\n"
        "big, folder = np.ones((2000, 300)), os.environ['TMPDIR']\n"
        "def work(number): return float(number * big.sum()), big.filename.startswith(folder)\n"
        "print(sorted(processes.side_by_side(work, [(1,), (2,)], 2)))"
    )
    ended = run(code, backend, memory_mb=1000)
    assert (ended.status, ended.code) == ("ended", 0), ended
    assert ended.output.strip() == "[(0, (600000.0, True)), (1, (1200000.0, True))]"


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
def test_limits_end_the_whole_tree(backend, code, limits, status, mark):
    ended = run(as_program(code, mark), backend, **limits)
    assert ended.status == status or (status == "memory" and "MemoryError" in ended.output)
    assert marked(mark) == []


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="the kernel's limit on a file's size")
def test_a_single_file_cannot_grow_beyond_its_limit(backend):
    ended = run("open('x', 'wb').write(b'1' * 20_000_000)", backend, disk_mb=100)
    assert ended.code != 0


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_stays_in_the_background_is_dead_before_files_are_collected(backend, mark):
    code = (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    while True:\n"
        "        open('late', 'a').write('x'); time.sleep(0.01)\n"
        "time.sleep(0.2)"
    )
    assert run(as_program(code, mark), backend, take=["late"]).status == "ended"
    time.sleep(0.3)
    assert marked(mark) == []


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


@every_backend
def test_a_dead_grader_takes_its_executions_with_it_and_their_folders(backend, mark):
    body = f"open({mark!r}, 'w').close()\nimport time; time.sleep(98.7)"
    code = (
        "from labkit.grading.box.sandbox import *\n"
        "with scratch() as place:\n"
        f"    run(['-c', {as_program(body, mark)!r}], place, Limits(), Isolation({backend!r}))"
    )
    with tempfile.TemporaryDirectory() as folder:  # a short path: a socket lies in it
        environment = os.environ | {"TMPDIR": folder}
        grader = subprocess.Popen([sys.executable, "-c", code], env=environment)
        assert _soon(lambda: set(marked(mark)) - {grader.pid})
        assert os.listdir(folder)
        grader.kill()
        grader.wait()
        assert _soon(lambda: not marked(mark) and not os.listdir(folder))


def _soon(condition):
    """Whether a condition holds within a minute, on a busy machine."""
    end = time.monotonic() + 60
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def test_wishes_that_cannot_be_fulfilled_are_told(monkeypatch):
    with pytest.raises(GradingError, match="expected auto, namespaces"):
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
    with sandbox.scratch() as place:
        sandbox.run(["-c", "1"], place, QUICK, isolation, (tmp_path,))
    last = (tmp_path / "arguments").read_text().splitlines()[-1]
    for argument in (
        *("--network none", "--read-only", "--cap-drop ALL", "no-new-privileges"),
        *("--memory 300m", f"{tmp_path}:{tmp_path}:ro", "image:1 python -I -c 1"),
    ):
        assert argument in last


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="a temporary folder of the system's own")
def test_what_may_be_read_may_lie_in_tmp(backend):
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        given = Path(place, "given.txt")
        given.write_text("here it is")
        code = f"print(open({str(given)!r}).read()); open('/tmp/own', 'w').write('x')"
        if backend == "limits":  # shares the machine's /tmp
            code = code.replace("/tmp/own", "own")
        ended = run(code, backend, readable=(given,))
        assert (ended.code, ended.output.strip()) == (0, "here it is")
        assert os.listdir(place) == ["given.txt"]


@isolating_backend
@pytest.mark.parametrize(
    ("what", "code"),
    [
        (
            "memory in no process",
            "import os\nfds = [os.memfd_create(str(i)) for i in range(9)]\nprint('REACHED')",
        ),
        (
            "shared memory of System V",
            "import ctypes\nlibc = ctypes.CDLL(None)\n"
            "if libc.shmget(0, 1 << 24, 0o1600) >= 0: print('REACHED')",
        ),
        (
            "messages of System V",
            "import ctypes\nif ctypes.CDLL(None).msgget(0, 0o1600) >= 0: print('REACHED')",
        ),
        (
            "files that have no name",
            "import os\nn = 0\n"
            "for i in range(60):\n"
            "    fd = os.open(f'f{i}', os.O_CREAT | os.O_RDWR); os.unlink(f'f{i}')\n"
            "    n += os.write(fd, bytes(1 << 20)) // (1 << 20)\n"
            "    if n > 21: print('REACHED'); break",
        ),
        (
            "files in shared memory",
            "n = 0\nwith open('/dev/shm/x', 'wb') as s:\n"
            "    while True:\n"
            "        n += s.write(bytes(1 << 20)); s.flush()\n"
            "        if n > 70 << 20: print('REACHED'); break",
        ),
        (
            "a user namespace in the namespace",
            "import ctypes\nif not ctypes.CDLL(None).unshare(0x10000000): print('REACHED')",
        ),
        (
            "a user namespace by clone",
            "import ctypes, os\n"
            "pid = ctypes.CDLL(None).syscall(56 if os.uname().machine == 'x86_64' else 220,"
            " 0x10000011, 0, 0, 0, 0)\n"
            "print('REACHED' if pid >= 0 else '')",
        ),
        (
            "a keyring",
            "import ctypes, os\nnumber = 250 if os.uname().machine == 'x86_64' else 219\n"
            "if ctypes.CDLL(None).syscall(number, 0, -3, 1) >= 0: print('REACHED')",
        ),
        (
            "system calls of x32",
            "import ctypes\nif ctypes.CDLL(None).syscall(0x40000000 + 39) >= 0: print('REACHED')",
        ),
        (
            "a new mount",
            "import ctypes\nprint('REACHED' if not ctypes.CDLL(None).mount("
            "b'tmpfs', b'/tmp', b'tmpfs', 0, None) else '')",
        ),
        (
            "threads without end",
            "import threading, time\nthreading.stack_size(1 << 16)\n"
            "for i in range(400): threading.Thread(target=time.sleep, args=(9,), daemon=True)"
            ".start()\nprint('REACHED')",
        ),
    ],
    ids=lambda value: value if " " in value and "\n" not in value else "",
)
def test_the_kernel_refuses_what_the_watch_cannot_see(backend, what, code):
    ended = run(code, backend, disk_mb=20, file_mb=100)
    assert "REACHED" not in ended.output and ended.status != "infrastructure"


@isolating_backend
def test_each_execution_has_a_user_of_its_own(backend):
    """So that none takes the tasks, the keys or the signals of another one."""
    code = "import os; print(os.getuid(), open('/proc/self/uid_map').read().split()[1])"
    first, second = (run(code, backend).output.split() for _ in range(2))
    assert os.geteuid() != 0 or (first[0] != second[0] and "0" not in first[0][:1])


@isolating_backend
def test_threads_of_one_execution_leave_another_ones_alone(backend):
    import threading

    hold = (
        "import threading, time\nthreading.stack_size(1 << 16); n = 0\n"
        "try:\n"
        "    while n < 300:\n"
        "        threading.Thread(target=time.sleep, args=(4,), daemon=True).start(); n += 1\n"
        "except RuntimeError: pass\n"
        "time.sleep(3)"
    )
    other = threading.Thread(target=run, args=(hold, backend))
    other.start()
    time.sleep(1)
    try:
        code = "import threading, time\nthreading.stack_size(1 << 16)\n" + (
            "for i in range(60): threading.Thread(target=time.sleep, args=(0.1,)).start()\n"
            "print('all there')"
        )
        assert run(code, backend).output.strip() == "all there"
    finally:
        other.join()


@isolating_backend
def test_the_course_is_hidden_wherever_it_lies(backend, tmp_path):
    """Below a folder that may be read, too; what may be read below it is shown again."""
    course = tmp_path / "python" / "lib" / "course"
    for name in ("solutions/01.py", "labkit/code.py", "data/real/x.csv"):
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text("hush" if "solutions" in name else "shown")
    readable = [tmp_path / "python", course / "labkit", course / "data" / "real"]
    code = (
        "from pathlib import Path\n"
        f"print(sorted(p.name for p in Path({str(tmp_path)!r}).rglob('*') if p.is_file()))\n"
        f"try: Path({str(course)!r}, 'x').write_text('x'); print('written')\n"
        "except OSError: pass"
    )
    assert run(code, backend, hidden=[course], readable=readable).output.strip() == str(
        ["code.py", "x.csv"]
    )


@isolating_backend
def test_no_more_of_the_system_is_shown_than_python_needs(backend):
    code = (
        "import os; print([p for p in ('/opt', '/usr/share/doc', '/usr/local/share', '/root/.ssh',"
    )
    code += " '/home', '/var', '/sys', '/etc/passwd', '/boot') if os.path.exists(p)])"
    assert run(code, backend).output.strip() == "[]"


@every_backend
@pytest.mark.skipif(os.name != "posix", reason="paths without end")
def test_a_folder_without_end_is_deleted_and_decides_nothing(backend, mark):
    code = f"import os\nfor i in range(1200): os.mkdir('{mark}'); os.chdir('{mark}')\nprint('deep')"
    ended = run(code, backend)
    assert (ended.status, ended.output.strip()) == ("ended", "deep")
    assert list(Path(tempfile.gettempdir()).glob(f"labkit-*/box/{mark}")) == []


@every_backend
def test_files_are_taken_out_if_they_were_asked_for(backend):
    code = "import os; os.mkdir('out')\nfor n in 'ab': open(f'out/{n}', 'w').write(n)\n"
    code += "open('out/large', 'w').write('x' * 2000); os.symlink('/etc/hostname', 'out/link')"
    ended = run(code, backend, take=["out/a", "out/large", "out/link", "out/none"])
    assert ended.files == {"out/a": b"a"}


def test_without_a_wall_nothing_is_graded_unless_the_risk_is_accepted(monkeypatch):
    monkeypatch.setattr(sandbox, "_trouble", lambda backend, image="": "the kernel says no.")
    with pytest.raises(GradingError, match=r"says no.*--isolation limits accepts the risk"):
        sandbox.choose()
    with pytest.raises(GradingError, match="does not work"):
        sandbox.choose("namespaces")
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    with pytest.raises(GradingError, match="as root"):
        sandbox.choose("limits")
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert sandbox.choose("limits").backend == "limits"
