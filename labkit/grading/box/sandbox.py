"""Runs Python apart from the grader: own folder, no network, limits, and nothing left behind.

Three backends:

- `namespaces` (Linux, no program needed): what `auto` takes, or it stops;
- `container`: docker or podman with an image that holds labkit, for where there are no namespaces;
- `limits`: no wall, resource limits and a watchdog alone, for whoever accepts that.

Whatever the backend, `labkit.grading.box.supervisor` watches time, memory, processes and disk, and
kills the whole tree.
"""

from __future__ import annotations

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

from labkit import runtime
from labkit.grading import GradingError
from labkit.grading.box import supervisor
from labkit.grading.box.warm import warm
from labkit.grading.inside import STARTED

BACKENDS = ("namespaces", "container", "limits")

#: What each backend does not stop; the report says it.
DOES_NOT_STOP = {
    "namespaces": "an attack on the Linux kernel itself.",
    "container": "an attack on the Linux kernel itself, or on the container engine.",
    "limits": "network access, reading any file that the grader's user may read (the solutions "
    "and other submissions among them), and signals to the grader's own processes. Grade only "
    "submissions that you trust so far, or use a container.",
}

#: What programs need of a system. Compilers are among it: labs 08 and 09 make C of a network.
_SYSTEM = (
    *("/bin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib32"),
    *("/usr/lib64", "/usr/libexec", "/usr/share/fonts", "/usr/share/zoneinfo"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/fonts", "/etc/mime.types", "/etc/ssl/openssl.cnf"),
)
#: What an interpreter needs of the folder that it is installed in, which may be /usr.
_PYTHON = ("bin", "lib", "lib64", "include", "etc/jupyter", "share/jupyter", "pyvenv.cfg")


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
        files: what was to be taken out and is there, by name.
    """

    status: str
    code: int | None
    seconds: float
    cpu_seconds: float
    peak_mb: float
    started: bool
    output: str = field(repr=False, default="")
    files: dict[str, bytes] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Isolation:
    """The backend in use, and what to say of it.

    Attributes:
        image: of a container.
        hidden: folders that no execution sees, wherever they lie: the course, the class, the
            reports. What an execution may read is shown even below them.
    """

    backend: str
    image: str = ""
    hidden: tuple[Path, ...] = ()

    @property
    def network(self) -> bool:
        """Whether the network is within reach."""
        return self.backend == "limits"

    def describe(self) -> str:
        """One or two sentences for the report."""
        stops = {
            "namespaces": "Linux namespaces: own user, file system in memory, processes and "
            "network (none), few system calls.",
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
    backend, _, image = wanted.partition(":")
    if backend not in ("auto", *BACKENDS):
        raise GradingError(f"isolation is {wanted!r}, expected auto, {', '.join(BACKENDS)}.")
    if backend == "limits":
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            raise GradingError(
                "isolation limits as root: submissions would have every right on this machine. "
                "Grade as another user, or with another isolation."
            )
        return Isolation("limits")
    image = image or os.environ.get("LABKIT_GRADING_IMAGE", "")
    if backend == "container" and not image:
        raise GradingError("isolation container needs an image: container:IMAGE.")
    trouble = _trouble("namespaces" if backend == "auto" else backend, image)
    if trouble and backend == "auto":
        raise GradingError(
            f"there is no wall around submissions on this machine: {trouble} Allow namespaces, or "
            "grade in a container (--isolation container:IMAGE). --isolation limits accepts the "
            f"risk: it does not stop {DOES_NOT_STOP['limits']}"
        )
    if trouble:
        raise GradingError(f"isolation {backend} does not work on this machine: {trouble}")
    return Isolation("namespaces" if backend == "auto" else backend, image)


@cache
def _trouble(backend: str, image: str = "") -> str:
    """Why a backend does not run a trivial command here; "" if it does."""
    if backend == "namespaces" and not sys.platform.startswith("linux"):
        return f"namespaces are Linux's, and this is {platform.system()}."
    if backend == "namespaces" and platform.machine() not in ("x86_64", "aarch64"):
        return f"labkit knows no filter of system calls for {platform.machine()}."
    if backend == "container" and not _engine():
        return "there is neither docker nor podman."
    with scratch() as place:
        ended = run(
            ["-c", "import labkit.grading; print('works')"],
            place,
            Limits(seconds=120 if image else 30),
            Isolation(backend, image),
        )
    if ended.status == "ended" and "works" in ended.output:
        return ""
    said = (ended.output.strip() or ended.status).splitlines()[-1]
    if backend == "container":
        return f"{_engine()} does not run the image {image} ({said})."
    return (
        f"the kernel does not allow (user) namespaces ({said}); on Ubuntu since 24.04: "
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0."
    )


@dataclass(frozen=True)
class Scratch:
    """The folders of one execution: what it is given, where it works, what is taken out of it."""

    place: Path

    @property
    def given(self) -> Path:
        """What the execution finds in its box."""
        return self.place / "given"

    @property
    def box(self) -> Path:
        """Where it works; nothing that it writes there is read by the grader."""
        return self.place / "box"

    @property
    def taken(self) -> Path:
        """What the supervisor has taken out of the box: regular files of bounded size."""
        return self.place / "taken"


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Folders for one execution, which go afterwards."""
    found = Scratch(Path(tempfile.mkdtemp(prefix="labkit-")).resolve())
    try:
        for folder in (found.given / "home", found.given / "tmp", found.box, found.taken):
            folder.mkdir(parents=True)
        yield found
    finally:
        supervisor.delete(found.place)


def run(
    command: list[str],
    place: Scratch,
    limits: Limits,
    isolation: Isolation,
    readable: tuple[Path, ...] = (),
    environment: dict[str, str] | None = None,
    stdin: bytes = b"",
    take: dict[str, int] | None = None,
    imports: str = "",
) -> Ended:
    """Run Python in a box of its own and return when every process of it is gone.

    Args:
        command: its arguments, -m MODULE or -c CODE.
        place: from `scratch`; what lies in `given` is in the box when the command starts.
        readable: further folders and files that it may read.
        environment: variables besides the few that every execution gets.
        stdin: given to it on its standard input.
        take: names of files to be taken out of the box, with their largest size in bytes.
        imports: trusted statements, a line each, whose modules the command will need: behind the
            wall of namespaces they are there when it starts.
    """
    variables = _environment(place.box) | (environment or {})
    spec = {
        "place": str(place.place),
        "given": str(place.given),
        "folder": str(place.box),
        "taken": str(place.taken),
        "take": take or {},
        "environment": variables | _engine_environment(isolation),
        "limits": asdict(limits),
        "backend": isolation.backend,
        "input": stdin.hex(),
    }
    try:
        if isolation.backend == "namespaces":
            spec["box"] = {
                "command": command,
                "folder": str(place.box),
                "shown": _shown(readable, isolation.hidden),
                "tasks": supervisor.THREADS * limits.processes,
            }
            answer = warm(imports, _inherited(variables)).execute(spec)
        else:
            spec["command"] = [sys.executable, "-I", *command]
            if isolation.backend == "container":
                spec["command"] = _container(
                    command, place, limits, isolation.image, readable, variables
                )
            answer = _supervised(spec)
    except (OSError, GradingError) as error:
        answer = str(error).encode()
    try:
        ended = json.loads(answer.splitlines()[-1])
    except (ValueError, IndexError):
        trouble = answer.decode("utf-8", "replace")
        return Ended("infrastructure", None, 0, 0, 0, False, trouble[-4000:])
    output = ended.pop("output")
    paths = {name: place.taken / name for name in take or {}}
    return Ended(
        **ended,
        started=STARTED in output,
        output=output.replace(STARTED + "\n", "", 1),
        files={name: path.read_bytes() for name, path in paths.items() if path.exists()},
    )


def _supervised(spec: dict) -> bytes:
    """What a supervisor of its own says of an execution."""
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "labkit.grading.box.supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        # Its standard input stays open: should the grader die, the supervisor sees the end of it.
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        return process.stdout.read()


def _inherited(variables: dict[str, str]) -> dict[str, str]:
    """Those of an execution's variables that libraries read when they are imported."""
    names = ("PATH", "LANG", "PYTHONDONTWRITEBYTECODE", *runtime.thread_settings(1))
    return {name: variables[name] for name in names if name in variables}


def _shown(readable: tuple[Path, ...], hidden: tuple[Path, ...]) -> list[tuple[str, bool]]:
    """Paths that are shown (true) or hidden (false), the outer before the inner."""
    shown = {path: True for path in (*map(Path, _SYSTEM), *_python(), *readable)}
    order = {path: False for path in hidden} | shown
    return [
        (str(path), order[path])
        for path in sorted(order, key=lambda p: len(p.parts))
        if not order[path] or os.path.lexists(path)
    ]


def _container(command, place, limits, image, readable, variables) -> list[str]:
    arguments = [
        _engine() or "docker",
        "run",
        "--rm",
        "--interactive",
        "--name",
        place.place.name,
        "--init",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--pids-limit",
        str(supervisor.THREADS * limits.processes),
        "--memory",
        f"{limits.memory_mb}m",
        "--memory-swap",
        f"{limits.memory_mb}m",
        "--ulimit",
        f"fsize={limits.file_mb * 1_000_000}",
        "--user",
        f"{os.getuid() or 65534}:{os.getgid() or 65534}",
        "--volume",
        f"{place.box}:{place.box}",
        "--workdir",
        str(place.box),
    ]
    for path in readable:  # the image has its own Python
        arguments += ["--volume", f"{path}:{path}:ro"]
    for name, value in variables.items():
        if name != "PATH":
            arguments += ["--env", f"{name}={value}"]
    return [*arguments, image, "python", "-I", *command]


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


def _python() -> list[Path]:
    """Python, its packages, and labkit: not the course around it, which holds the solutions."""
    prefixes = dict.fromkeys((sys.prefix, sys.base_prefix))
    found = [Path(prefix, name) for prefix in prefixes for name in _PYTHON]
    package = Path(__file__).resolve().parents[2]
    return [*found, Path(os.path.realpath(sys.executable)).parent, package]
