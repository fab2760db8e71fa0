"""An interpreter that has imported what executions need, of which each execution is a fork.

To start Python, TensorFlow and a kernel takes some seconds of a processor, to fork them some
hundredths. A fork is as far apart from the rest as what is started anew: it enters namespaces of
its own (`box.namespaces`), with a user, a file system, processes and a filter of system calls, and
gives up its capabilities itself, since no program's start takes them away. This interpreter holds
nothing but libraries: what an execution is given is read by its fork, which has none of the
grader's variables or descriptors. The file of its program cannot be written, so that /proc/self/exe
is no way out. What all executions share is where in memory libraries lie.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from labkit.grading import GradingError
from labkit.grading.box.forks import close_descriptors, finish

_SOCKET, _READY = "socket", b"labkit: ready"


class Warm:
    """The interpreter, as the grader sees it."""

    def __init__(self, imports: str, environment: dict[str, str]):
        self.folder = Path(tempfile.mkdtemp(prefix="labkit-warm-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "labkit.grading.box.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=environment | {"HOME": str(self.folder), "TMPDIR": str(self.folder)},
        )
        self.process.stdin.write(json.dumps(imports).encode() + b"\n")
        # It stays open: the interpreter ends with the grader.
        self.process.stdin.flush()
        atexit.register(self.process.kill)
        told = []
        while not told or told[-1] not in (_READY + b"\n", b""):
            told.append(self.process.stdout.readline())
        if not told[-1]:
            said = b"".join(told).decode("utf-8", "replace").strip()
            raise GradingError(f"the interpreter that executions begin with has ended: {said}")

    def execute(self, spec: dict) -> bytes:
        """What the supervisor, which runs in a fork, says of an execution."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / _SOCKET))
            connection.sendall(json.dumps(spec).encode() + b"\n")
            with connection.makefile("rb") as answer:
                return answer.read()


_lock = threading.Lock()
_started: dict[tuple, Warm] = {}


def warm(imports: str, environment: dict[str, str]) -> Warm:
    """The interpreter with some imports and variables, started when it is asked for first.

    Args:
        imports: statements, a line each; those that fail are left out.
        environment: all its variables but HOME and TMPDIR.

    Raises:
        GradingError: it ends at once; the message is what it has said.
        OSError: it does not start.
    """
    key = (os.getpid(), imports, *sorted(environment.items()))
    with _lock:
        if key not in _started or _started[key].process.poll() is not None:
            _started[key] = Warm(imports, environment)
        return _started[key]


def main() -> None:
    """Import what the first line of standard input says, then fork for each connection."""
    from labkit.grading.box import linux, namespaces, supervisor

    if not sys.argv[1:]:
        linux.enter(linux.NEW_NS)
        folder = os.path.dirname(os.path.realpath(sys.executable))
        namespaces.bind(folder, folder, read_only=True)
        # Only a program that is started from here on is one whose file cannot be written.
        os.execv(sys.executable, [sys.executable, "-I", "-m", __spec__.name, "again"])
    for statement in json.loads(sys.stdin.readline()).splitlines():
        with contextlib.suppress(Exception):
            exec(statement, {})
    server = socket.socket(socket.AF_UNIX)
    server.bind(_SOCKET)
    server.listen(64)
    gc.collect()
    gc.freeze()  # else the first collection of a fork copies what they all share
    print(_READY.decode(), flush=True)
    while True:
        ready, _, _ = select.select([server, 0], [], [])
        if 0 in ready:  # the grader has ended, be it that it was killed
            shutil.rmtree(os.getcwd(), ignore_errors=True)
            return
        connection, _ = server.accept()
        if not os.fork():
            for stream in (0, 1, 2):
                os.dup2(connection.fileno(), stream)
            server.detach(), connection.detach()
            close_descriptors()
            finish(supervisor.main)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    main()
