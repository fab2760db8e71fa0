"""Runs a command apart from the grader: own folder, no network, limits, and nothing left behind.

Four backends, the first that works on the machine is taken:

- `bubblewrap`: namespaces set up by the `bwrap` program;
- `namespaces`: the same namespaces set up by `labkit.grading.box.namespaces` (Linux, no program);
- `container`: docker or podman with an image that holds labkit (never chosen by itself);
- `limits`: resource limits and a watchdog alone.

Whatever the backend, `labkit.grading.box.supervisor` watches time, memory, processes and disk, and
kills the whole tree.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from labkit.grading import GradingError
from labkit.grading.inside import STARTED

BACKENDS = ("bubblewrap", "namespaces", "container", "limits")

#: What each backend does not stop; the report says it.
DOES_NOT_STOP = {
    "bubblewrap": "an attack on the Linux kernel itself.",
    "namespaces": "an attack on the Linux kernel itself.",
    "container": "an attack on the Linux kernel itself, or on the container engine.",
    "limits": "network access, reading any file that the grader's user may read (the solutions "
    "and other submissions among them), and signals to the grader's own processes. Grade only "
    "submissions that you trust so far, or use a container.",
}

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "localtime",
    "fonts",
    "mime.types",
    "ssl/openssl.cnf",
)


@dataclass(frozen=True)
class Limits:
    """Of one execution, over the whole tree of its processes."""

    seconds: PositiveFloat = 600
    cpu_seconds: PositiveFloat = 1200
    memory_mb: Annotated[int, Field(ge=64)] = 6000
    file_mb: PositiveInt = 200
    disk_mb: PositiveInt = 1000
    processes: Annotated[int, Field(ge=8)] = 64


@dataclass(frozen=True)
class Ended:
    """How an execution ended.

    Attributes:
        status: "ended", "timeout", "cpu", "memory", "disk", "processes", or "infrastructure".
        code: exit code, None if it was killed.
        started: the command has said that it came as far as its own code.
        output: the end of what it printed.
    """

    status: str
    code: int | None
    seconds: float
    cpu_seconds: float
    peak_mb: float
    started: bool
    output: str = field(repr=False, default="")


@dataclass(frozen=True)
class Isolation:
    """The backend in use, and what to say of it."""

    backend: str
    image: str = ""

    @property
    def network(self) -> bool:
        """Whether the network is within reach."""
        return self.backend == "limits"

    def describe(self) -> str:
        """One or two sentences for the report."""
        stops = {
            "bubblewrap": "bubblewrap: own file system view, processes and network (none).",
            "namespaces": "Linux namespaces: own file system view, processes and network (none).",
            "container": f"a container of {self.image}: own file system, processes, network "
            "(none).",
            "limits": f"resource limits alone ({platform.system()}): time, memory, disk and "
            "processes are bounded.",
        }
        return f"{stops[self.backend]} Not stopped: {DOES_NOT_STOP[self.backend]}"


def choose(wanted: str = "auto") -> Isolation:
    """The isolation to use.

    Args:
        wanted: "auto", a backend, or "container:IMAGE" (the image must hold labkit as installed
            here; LABKIT_GRADING_IMAGE is the default).

    Raises:
        GradingError: it is asked for and does not work here.
    """
    if wanted == "auto":
        names = ["bubblewrap", "namespaces", "limits"]
        if sys.platform.startswith("linux") and os.geteuid() == 0:
            names[:2] = reversed(names[:2])  # ours changes to the user nobody, bwrap stays root
        return Isolation(next(name for name in names if _works(name)))
    backend, _, image = wanted.partition(":")
    if backend not in BACKENDS:
        raise GradingError(f"isolation is {wanted!r}, expected auto or {', '.join(BACKENDS)}.")
    image = image or os.environ.get("LABKIT_GRADING_IMAGE", "")
    if backend == "container" and not image:
        raise GradingError("isolation container needs an image: container:IMAGE.")
    if not _works(backend, image):
        raise GradingError(
            f"isolation {backend} does not work on this machine: "
            + {
                "bubblewrap": "install bubblewrap (bwrap) and allow user namespaces.",
                "namespaces": "this kernel does not allow (user) namespaces.",
                "container": f"neither docker nor podman runs the image {image}.",
            }[backend]
        )
    return Isolation(backend, image)


@cache
def _works(backend: str, image: str = "") -> bool:
    """Whether a backend runs a trivial command here."""
    if backend == "limits":
        return True
    if backend == "bubblewrap" and not shutil.which("bwrap"):
        return False
    if backend == "namespaces" and not sys.platform.startswith("linux"):
        return False
    if backend == "container" and not _engine():
        return False
    with scratch() as folder:
        code = "import labkit.grading; print('works')"
        python = "python" if backend == "container" else sys.executable
        ended = run(
            [python, "-I", "-c", code],
            folder,
            Limits(seconds=120 if image else 30),
            Isolation(backend, image),
        )
    return ended.status == "ended" and "works" in ended.output


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of its own for one execution, which goes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-")).resolve()
    try:
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Delete a folder however deep it is; what cannot be deleted decides no grade."""
    with contextlib.suppress(RecursionError, OSError):
        shutil.rmtree(folder, onerror=_force)
    if folder.exists() and shutil.which("rm"):  # which does not recurse
        subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True, check=False)


def _force(function, path, _error) -> None:
    """Delete what a submission has made unwritable."""
    try:
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700, follow_symlinks=False) if not os.path.islink(path) else None
        function(path)
    except (OSError, NotImplementedError):
        pass  # the system's own cleaning of temporary files is left to do it


def run(
    command: list[str],
    folder: Path,
    limits: Limits,
    isolation: Isolation,
    readable: tuple[Path, ...] = (),
    environment: dict[str, str] | None = None,
    stdin: bytes = b"",
) -> Ended:
    """Run a command in a folder of its own and return when every process of it is gone.

    Args:
        command: `sys.executable` in it becomes the image's Python in a container.
        folder: the only place it may write to; from `scratch`.
        readable: further folders and files that it may read.
        environment: variables besides the few that every execution gets.
        stdin: given to it on its standard input.
    """
    variables = _environment(folder) | (environment or {})
    readable = (*_python_folders(), *readable)
    spec = {
        "command": _wrapped(command, folder, limits, isolation, readable, variables),
        "folder": str(folder),
        "environment": variables | _engine_environment(isolation),
        "limits": asdict(limits),
        "backend": isolation.backend,
        "input": stdin.hex(),
    }
    supervisor = Path(__file__).with_name("supervisor.py")
    with subprocess.Popen(
        [sys.executable, "-I", str(supervisor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # Its standard input stays open: should the grader die, the supervisor sees the end of it.
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.read()
        trouble = process.stderr.read().decode("utf-8", "replace")
    try:
        ended = json.loads(answer)
    except ValueError:
        return Ended("infrastructure", None, 0, 0, 0, False, trouble[-4000:])
    output = ended.pop("output")
    return Ended(**ended, started=STARTED in output, output=output.replace(STARTED + "\n", "", 1))


def _wrapped(command, folder, limits, isolation, readable, variables) -> list[str]:
    """The command as the backend runs it."""
    if isolation.backend == "bubblewrap":
        return _bubblewrap(command, folder, readable)
    if isolation.backend == "namespaces":
        box = {
            "command": command,
            "folder": str(folder),
            "readable": [str(path) for path in (*_system_paths(), *readable)],
        }
        entering = Path(__file__).with_name("namespaces.py")
        return [sys.executable, "-I", str(entering), json.dumps(box)]
    if isolation.backend == "container":
        return _container(command, folder, limits, isolation.image, readable, variables)
    return command


def _bubblewrap(command: list[str], folder: Path, readable: tuple[Path, ...]) -> list[str]:
    arguments = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/dev/shm",
        "--bind",
        str(folder / "tmp"),
        "/tmp",  # before what lies below it: the course, it may be
    ]
    for path in (*_system_paths(), *readable):
        if path.is_symlink() and path.parent == Path("/"):  # /lib -> usr/lib
            arguments += ["--symlink", os.readlink(path), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    arguments += ["--bind", str(folder), str(folder)]
    # Root owns what lies there, and needs no capability to write what it owns.
    arguments += ["--ro-bind", "/proc/sys", "/proc/sys", "--remount-ro", "/"]
    return [*arguments, "--chdir", str(folder), *command]


def _container(command, folder, limits, image, readable, variables) -> list[str]:
    arguments = [
        _engine() or "docker",
        "run",
        "--rm",
        "--interactive",
        "--name",
        folder.name,
        "--init",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--pids-limit",
        str(8 * limits.processes),
        "--memory",
        f"{limits.memory_mb}m",
        "--memory-swap",
        f"{limits.memory_mb}m",
        "--ulimit",
        f"fsize={limits.file_mb * 1_000_000}",
        "--user",
        f"{os.getuid() or 65534}:{os.getgid() or 65534}",
        "--volume",
        f"{folder}:{folder}",
        "--workdir",
        str(folder),
    ]
    for path in readable:
        if path not in _python_folders():  # the image has its own
            arguments += ["--volume", f"{path}:{path}:ro"]
    for name, value in variables.items():
        if name != "PATH":
            arguments += ["--env", f"{name}={value}"]
    return [*arguments, image, *("python" if c == sys.executable else c for c in command)]


def _engine() -> str | None:
    return next((e for e in ("docker", "podman") if shutil.which(e)), None)


def _engine_environment(isolation: Isolation) -> dict[str, str]:
    """The container's client needs the user's own settings; the container does not get them."""
    if isolation.backend != "container":
        return {}
    names = ("HOME", "PATH", "DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR")
    return {name: os.environ[name] for name in names if name in os.environ}


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the grader's environment but what a program needs to start."""
    kept = {n: os.environ[n] for n in ("SYSTEMROOT", "PATHEXT", "COMSPEC") if n in os.environ}
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.defpath.split(os.pathsep)]),
        "HOME": str(folder / "home"),
        "USERPROFILE": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "TEMP": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LABKIT_QUIET": "1",
        "LABKIT_CACHE": str(folder / "home" / "cache"),
    }


def _python_folders() -> tuple[Path, ...]:
    """Python, its packages, and labkit: not the course around it, which holds the solutions."""
    package = Path(__file__).resolve().parents[2]
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent]
    if not any(package.is_relative_to(prefix) for prefix in found):
        found.append(package)
    return tuple(dict.fromkeys(found))


def _system_paths() -> tuple[Path, ...]:
    paths = [Path(name) for name in _SYSTEM] + [Path("/etc") / name for name in _ETC]
    return tuple(path for path in paths if path.exists())
