"""Examines an installation, and says the command that repairs what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import labkit
from labkit import runtime

_SUPPORTED = ((3, 10), (3, 13))
_NEEDED_DISK = 2 * 10**9
_NEEDED_MEMORY = 3 * 10**9
_COURSE = Path(labkit.__file__).resolve().parents[1]  # where labkit is installed from a checkout
_LOCK = _COURSE / "requirements.lock"
_ILLEGAL_INSTRUCTION = (-getattr(signal, "SIGILL", 4), 0xC000001D)  # POSIX, Windows

# Imports what the labs need and runs a tiny model, in a process that may crash.
_PROBE = """
import labkit
import tensorflow as tf
assert tf.keras.Model.__module__.startswith("tf_keras"), "tf.keras is Keras 3"
import tensorflow_model_optimization
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
interpreter = Interpreter(
    model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
interpreter.set_tensor(details["index"], np.ones((1, 3), np.float32))
interpreter.invoke()
print("TensorFlow", tf.__version__)
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was examined; `repair` is a command, or what to do, where it is not ok."""

    name: str
    ok: bool
    detail: str
    repair: str = ""


def examine() -> list[Finding]:
    """Examine Python, labkit, packages, TensorFlow, kernel, settings, data, folder, memory."""
    return [
        examination()
        for examination in (
            _python,
            _labkit,
            _packages,
            _tensorflow,
            _kernel,
            _settings,
            _data,
            _output,
            _memory,
        )
    ]


def table(findings: list[Finding]):
    """The findings as a pandas table, for a notebook."""
    import pandas as pd

    rows = [
        {"": "ok" if f.ok else "WRONG", "what": f.name, "found": f.detail, "repair": f.repair}
        for f in findings
    ]
    frame = pd.DataFrame(rows).set_index("what")
    return frame.drop(columns="repair") if all(f.ok for f in findings) else frame


def _python() -> Finding:
    version = sys.version_info[:2]
    system, machine = platform.system(), platform.machine()
    detail = f"{platform.python_version()} on {system} {machine}"
    if not _SUPPORTED[0] <= version <= _SUPPORTED[1]:
        return Finding("Python", False, detail, f"install Python 3.12, then: {_set_up()}")
    if sys.maxsize < 2**32:
        repair = f"install a 64-bit Python 3.12, then: {_set_up()}"
        return Finding("Python", False, f"{detail}, 32-bit", repair)
    if (system, machine) == ("Darwin", "x86_64"):
        return Finding(
            "Python",
            False,
            detail,
            "TensorFlow has no release for Intel Macs any more: use Linux in a container, or a "
            "Mac with Apple silicon (there: an arm64 Python)",
        )
    return Finding("Python", True, detail)


def _labkit() -> Finding:
    """The installed labkit is the one that is imported, and that of the course around."""
    try:
        installed = importlib.metadata.version("labkit")
    except importlib.metadata.PackageNotFoundError:
        return Finding("labkit", False, "not installed", _set_up())
    if installed != labkit.__version__:
        detail = f"{labkit.__version__} is imported, but {installed} installed"
        return Finding("labkit", False, detail, _pip("install", "--no-deps", "-e", str(_COURSE)))
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "labkit" / "__init__.py").is_file() and folder != _COURSE:
            detail = f"this is the course in {folder}, but labkit comes from {_COURSE}"
            return Finding("labkit", False, detail, _set_up(course=folder))
    return Finding("labkit", True, installed)


def _packages() -> Finding:
    """All that labkit needs, directly or not, and the direct dependencies at the lock's pins."""
    installed: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        # The first on the path is the one that is imported; others, setuptools' own copies among
        # them, are not.
        if name := _name(distribution):
            installed.setdefault(_normal(name), distribution)
    if "labkit" not in installed:
        return Finding("packages", False, "unknown: labkit is not installed", _set_up())
    repair = _pip("install", "--require-hashes", "-r", str(_LOCK))
    if not _LOCK.is_file():
        repair = _set_up()
    if {"tensorflow", "tensorflow-cpu"} <= set(installed):
        both = _pip("uninstall", "-y", "tensorflow", "tensorflow-cpu")
        detail = "tensorflow and tensorflow-cpu overwrite each other"
        return Finding("packages", False, detail, f"{both}\n  {repair}")
    wrong = [*_unsatisfied(installed), *_unlike_the_lock(installed)]
    if wrong:
        return Finding("packages", False, "; ".join(dict.fromkeys(wrong)), repair)
    return Finding("packages", True, f"{len(installed)}, all that labkit needs among them")


def _name(distribution: importlib.metadata.Distribution) -> str | None:
    """What a package calls itself; None of one that is half removed."""
    try:
        return distribution.metadata.get("Name")
    except FileNotFoundError:  # the backport importlib_metadata, where something has imported it
        return None


def _unsatisfied(installed: dict[str, importlib.metadata.Distribution]) -> Iterator[str]:
    """Requirements that are not met, beginning with labkit's and those of its labs."""
    from packaging.requirements import Requirement

    waiting, known = [("labkit", frozenset({"labs"}))], set()
    while waiting:
        name, extras = waiting.pop(0)
        if (name, extras) in known:
            continue
        known.add((name, extras))
        for text in installed[name].requires or ():
            need = Requirement(text)
            if need.marker and not any(need.marker.evaluate({"extra": e}) for e in extras or {""}):
                continue
            found = installed.get(_normal(need.name))
            if found is None:
                yield f"{need.name} is missing ({name} needs it)"
            elif not need.specifier.contains(found.version, prereleases=True):
                yield f"{need.name} is {found.version}, {name} needs {need.specifier}"
            else:
                waiting.append((_normal(need.name), frozenset(need.extras)))


def _unlike_the_lock(installed: dict[str, importlib.metadata.Distribution]) -> Iterator[str]:
    """Direct dependencies of another version than the lock's, where there is a lock."""
    from packaging.requirements import Requirement

    if not _LOCK.is_file():
        return
    direct = {_normal(Requirement(text).name) for text in installed["labkit"].requires or ()}
    for line in _LOCK.read_text(encoding="utf-8").splitlines():
        if not re.match(r"\w", line):
            continue
        pin = Requirement(line.rstrip("\\ "))
        found = installed.get(_normal(pin.name))
        if found is None or _normal(pin.name) not in direct:
            continue
        applies = pin.marker is None or pin.marker.evaluate()
        if applies and not pin.specifier.contains(found.version, prereleases=True):
            yield f"{pin.name} is {found.version}, the lock has {str(pin.specifier)[2:]}"


def _tensorflow() -> Finding:
    name, repair = "TensorFlow", _set_up("--reinstall")
    command = [sys.executable, "-c", _PROBE]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return Finding(name, False, "it did not start within five minutes", repair)
    if ran.returncode == 0:
        return Finding(name, True, f"{ran.stdout.strip()}, Keras 2, a model ran in LiteRT")
    if ran.returncode in _ILLEGAL_INSTRUCTION:
        return Finding(
            name,
            False,
            "it crashed: illegal instruction",
            "this processor lacks AVX, which TensorFlow's releases need: use another machine",
        )
    if ran.returncode < 0:
        return Finding(name, False, f"it crashed: {signal.Signals(-ran.returncode).name}", repair)
    last = ran.stderr.strip().splitlines()[-1:] or [f"exit code {ran.returncode}, no message"]
    return Finding(name, False, last[0][:200], repair)


def _kernel() -> Finding:
    name = "Jupyter kernel"
    repair = _command(sys.executable, "-m", "ipykernel", "install", "--sys-prefix")
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Finding(name, False, "Jupyter is not installed", _set_up("--reinstall"))
    try:
        started = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Finding(name, False, "there is no kernel python3", repair)
    # A bare name is looked up by Jupyter in the environment that it runs in.
    if os.path.isabs(started) and Path(started).parent != Path(sys.executable).parent:
        return Finding(name, False, f"python3 starts {started}", repair)
    return Finding(name, True, "python3, of this environment")


def _settings() -> Finding:
    """The environment's variables that labkit, and TensorFlow for it, read."""
    wrong = {}
    for variable, read in (
        ("LABKIT_PROFILE", runtime.default_profile),
        ("LABKIT_DATA_MODE", runtime.default_data_mode),
    ):
        try:
            read()
        except runtime.SettingError as error:
            wrong[variable] = str(error)
    if os.environ.get("TF_USE_LEGACY_KERAS", "1").lower() not in ("1", "true"):
        wrong["TF_USE_LEGACY_KERAS"] = "TF_USE_LEGACY_KERAS is set, but labkit needs Keras 2."
    data = os.environ.get("LABKIT_DATA")
    if data and not Path(data).expanduser().is_dir():
        wrong["LABKIT_DATA"] = f"LABKIT_DATA is {data}, which is not a folder."
    if not wrong:
        detail = f"profile {runtime.default_profile()}, data {runtime.default_data_mode()}"
        return Finding("settings", True, detail)
    return Finding("settings", False, " ".join(wrong.values()), _unset(wrong))


def _data() -> Finding:
    from labkit.datasets import registry

    found = [name for name, source in registry.SOURCES.items() if source.found()]
    missing = [name for name in registry.SOURCES if name not in found]
    commands = {
        name: f"labkit data get {name}"
        for name in missing
        if registry.SOURCES[name].can_be_downloaded
    }
    if missing and os.environ.get("LABKIT_DATA_MODE") == "real":
        detail = f"LABKIT_DATA_MODE is real, but there is no real {', '.join(missing)}"
        repair = next(iter(commands.values()), _unset(["LABKIT_DATA_MODE"]))
        return Finding("data", False, detail, repair)
    kinds = [f"{name}: real" for name in found]
    for name in missing:
        real = f"real: {commands[name]}" if name in commands else "the real one is not published"
        kinds.append(f"{name}: synthetic ({real})")
    return Finding("data", True, "; ".join(kinds))


def _output() -> Finding:
    """The folder that the labs write to, or the nearest above that exists."""
    out = Path(runtime.default_out()).absolute()
    folder = next(place for place in (out, *out.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.0f} GB free"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written to ({error.strerror})"
        return Finding("output folder", False, detail, "start in, or set LABKIT_OUT to, another")
    if free < _NEEDED_DISK:
        return Finding("output folder", False, detail, "free 2 GB, or set LABKIT_OUT elsewhere")
    return Finding("output folder", True, f"can be written to, {detail}")


def _memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total
    ok = total >= _NEEDED_MEMORY
    repair = "" if ok else "close other programs and stay with the quick profile: 3 GB are needed"
    return Finding("memory", ok, f"{total / 1e9:.0f} GB", repair)


def _normal(name: str) -> str:
    """A package's name as the lock file spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _set_up(*options: str, course: Path = _COURSE) -> str:
    """The command that sets a course up, or what to do where labkit came as a package."""
    if not (course / "setup_venv.py").is_file() and course == _COURSE:
        return "make a new environment and install labkit again as you installed it"
    return _command("py" if os.name == "nt" else "python3", str(course / "setup_venv.py"), *options)


def _pip(*arguments: str) -> str:
    """A command of this environment's pip."""
    return _command(sys.executable, "-m", "pip", *arguments)


def _unset(variables: Iterable[str]) -> str:
    """The commands that take variables out of the environment."""
    if os.name == "nt":
        return "\n  ".join(f"set {variable}=" for variable in variables)
    return f"unset {' '.join(variables)}"


def _command(*words: str) -> str:
    """A command line to be copied into a terminal."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
