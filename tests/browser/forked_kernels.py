"""Kernels forked off one process that has imported TensorFlow, once for all of them; Linux alone.

`forked_kernels.py serve SOCKET` is that process. `forked_kernels.py kernel SOCKET ...` is what
Jupyter starts for a kernel with these arguments: it passes signals on, and both end together.
"""

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: What notebooks import, labkit first as there. Nothing that asks when it is imported whether it is
#: in a notebook, as tqdm does.
IMPORTS = (
    *("labkit", "tensorflow", "pandas", "matplotlib.pyplot", "sklearn.cluster", "numba", "qkeras"),
    *("tensorflow_model_optimization", "ipykernel.kernelapp", "ipywidgets"),
)
#: How long anything in a browser may take on a busy machine, seconds.
PATIENCE = 300


@contextlib.contextmanager
def forking(folder: Path, log) -> Iterator[tuple[subprocess.Popen, str]]:
    """That process, and a folder for JUPYTER_PATH where "python3" is such a kernel.

    Args:
        folder: empty; for the socket and the kernel's specification.
        log: an open file, for what that process says.
    """
    address = folder / "socket"
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    here = [sys.executable, __file__, "kernel", str(address)]
    about = {"argv": [*here, "-f", "{connection_file}"], "display_name": "Python 3 (ipykernel)"}
    spec.write_text(json.dumps(about | {"language": "python", "metadata": {"debugger": True}}))
    with started([sys.executable, __file__, "serve", str(address)], log) as process:
        yield process, str(folder)


@contextlib.contextmanager
def started(command: list[str], log, **options) -> Iterator[subprocess.Popen]:
    """A process that writes into an open file, until it is terminated; options of Popen."""
    process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def serve(address: str) -> None:
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as ipykernel does
    for name in IMPORTS:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a kernel here
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                become(connection)
            connection.close()


def become(connection: socket.socket) -> None:
    """The kernel that is asked for; the connection stays open as long as it lives."""
    message, streams, *_ = socket.recv_fds(connection, 100_000, 3)
    asked = json.loads(message)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["ipykernel_launcher", *asked["arguments"]]
    connection.sendall(str(os.getpid()).encode())
    threading.Thread(target=ended_with, args=[connection], daemon=True).start()
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)  # to take down all that was imported takes longer than a student's click


def ended_with(connection: socket.socket) -> None:
    """Jupyter may kill what it has started, which cannot pass that on."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def kernel(address: str, *arguments: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        end = time.monotonic() + PATIENCE
        while connection.connect_ex(address):  # the process still imports
            if time.monotonic() > end:
                sys.exit(f"Nobody forks kernels at {address}.")
            time.sleep(0.1)
        asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(connection, [json.dumps(asked).encode()], [0, 1, 2])
        process = int(connection.recv(20))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(process, number))
        connection.recv(1)


if __name__ == "__main__":
    {"serve": serve, "kernel": kernel}[sys.argv[1]](*sys.argv[2:])
