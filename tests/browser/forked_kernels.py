"""Kernels forked off one process that has imported TensorFlow, once for all of them.

`forked_kernels.py serve SOCKET` is that process. `forked_kernels.py kernel SOCKET ...` is what
JupyterLab starts for a kernel with these arguments: it passes signals on, and ends with the kernel.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path


def installed(folder: Path, address: Path) -> Path:
    """A folder for JUPYTER_PATH, with kernels that are forked off the process at an address."""
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    here = [sys.executable, __file__, "kernel", str(address)]
    about = {"argv": [*here, "-f", "{connection_file}"], "display_name": "Python 3 (ipykernel)"}
    spec.write_text(json.dumps(about | {"language": "python", "metadata": {"debugger": True}}))
    return folder


def serving(address: Path) -> list[str]:
    """The command that starts the process."""
    return [sys.executable, __file__, "serve", str(address)]


def serve(address: str) -> None:
    # As a notebook does, labkit first. Nothing that asks when it is imported whether it is in a
    # notebook, as tqdm does.
    for name in ("labkit", "tensorflow", "pandas"):
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
    os.environ.update(asked["environment"], JPY_PARENT_PID=str(os.getppid()))
    os.chdir(asked["folder"])
    sys.argv = ["ipykernel_launcher", *asked["arguments"]]
    connection.sendall(str(os.getpid()).encode())
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
    sys.exit()


def kernel(address: str, *arguments: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        while connection.connect_ex(address):  # the process still imports
            time.sleep(0.1)
        asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(connection, [json.dumps(asked).encode()], [0, 1, 2])
        process = int(connection.recv(20))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(process, number))
        connection.recv(1)


if __name__ == "__main__":
    {"serve": serve, "kernel": kernel}[sys.argv[1]](*sys.argv[2:])
