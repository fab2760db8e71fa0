"""Examines an installation, and says the command that repairs what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labkit import runtime

_SUPPORTED = ((3, 10), (3, 13))
_NEEDED_DISK = 2 * 10**9
_NEEDED_MEMORY = 3 * 10**9
_REINSTALL = "python setup_venv.py"

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
    """Examine Python, packages, TensorFlow, kernel, settings, data, disk and memory."""
    return [
        examination()
        for examination in (
            _python, _packages, _tensorflow, _kernel, _settings, _data, _disk, _memory,
        )
    ]  # fmt: skip


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
    ok = _SUPPORTED[0] <= version <= _SUPPORTED[1]
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    repair = "" if ok else "install Python 3.12, delete .venv, then: " + _REINSTALL
    if ok and platform.system() == "Darwin" and platform.machine() == "x86_64":
        return Finding(
            "Python", False, detail,
            "TensorFlow has no release for Intel Macs any more: use Linux in a container, or a "
            "Mac with Apple silicon (there: an arm64 Python)",
        )  # fmt: skip
    return Finding("Python", ok, detail, repair)


def _packages() -> Finding:
    """The direct dependencies of labkit against the constraints that its metadata names."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("labkit") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", False, "labkit itself is not installed", _REINSTALL)
    wrong, count = [], 0
    for text in declared:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": "labs"}):
            continue
        count += 1
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    if {"tensorflow", "tensorflow-cpu"} <= installed:
        wrong.append("tensorflow and tensorflow-cpu overwrite each other")
    if wrong:
        return Finding("packages", False, "; ".join(wrong), _REINSTALL + " --reinstall")
    return Finding("packages", True, f"{count} as required")


def _tensorflow() -> Finding:
    ran = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300, check=False
    )
    if ran.returncode == 0:
        return Finding("TensorFlow", True, f"{ran.stdout.strip()}, Keras 2, a model ran in LiteRT")
    if ran.returncode < 0:
        name = signal.Signals(-ran.returncode).name
        why = " (this processor lacks AVX)" if name == "SIGILL" else ""
        return Finding("TensorFlow", False, f"it crashed: {name}{why}", _REINSTALL + " --reinstall")
    last = ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else "no message"
    return Finding("TensorFlow", False, last[:200], _REINSTALL + " --reinstall")


def _kernel() -> Finding:
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Finding("Jupyter kernel", False, "Jupyter is not installed", _REINSTALL)
    repair = f"{sys.executable} -m ipykernel install --sys-prefix --name python3"
    try:
        argv = KernelSpecManager().get_kernel_spec("python3").argv
    except NoSuchKernel:
        return Finding("Jupyter kernel", False, "there is no kernel python3", repair)
    named = argv[0]
    # A bare name is looked up by Jupyter in the environment that it runs in.
    same = not os.path.isabs(named) or Path(named).parent == Path(sys.executable).parent
    detail = "python3, of this environment" if same else f"python3 starts {named}"
    return Finding("Jupyter kernel", same, detail, "" if same else repair)


def _settings() -> Finding:
    wrong = []
    for read in (runtime.default_profile, runtime.default_data_mode):
        try:
            read()
        except runtime.SettingError as error:
            wrong.append(str(error))
    if wrong:
        names = " ".join(re.match(r"\w+", text)[0] for text in wrong)
        return Finding("settings", False, " ".join(wrong), f"unset {names}")
    return Finding(
        "settings", True, f"profile {runtime.default_profile()}, data {runtime.default_data_mode()}"
    )


def _data() -> Finding:
    from labkit.datasets import sign_mnist

    if sign_mnist.find() is None:
        return Finding("data", True, "Sign Language MNIST: synthetic (real: labkit data get)")
    return Finding("data", True, "Sign Language MNIST: real")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    ok = free >= _NEEDED_DISK
    detail = f"{free / 1e9:.0f} GB free"
    if not os.access(Path.cwd(), os.W_OK):
        return Finding("disk", False, "this folder cannot be written to", "start in another folder")
    return Finding("disk", ok, detail, "" if ok else "free 2 GB, or start on another disk")


def _memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total
    ok = total >= _NEEDED_MEMORY
    return Finding(
        "memory", ok, f"{total / 1e9:.0f} GB", "" if ok else "the labs need 3 GB: use PROFILE quick"
    )


