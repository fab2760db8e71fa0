"""Sets up the course: a virtual environment in .venv with the locked packages and labkit.

Needs nothing but a supported Python:

    python setup_venv.py

A second call does nothing unless the lock file or pyproject.toml has changed; a call that was
interrupted is taken up by the next one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
SUPPORTED = [(3, 12), (3, 11), (3, 13), (3, 10)]  # in the order of preference


def main() -> int:
    """Set the environment up; returns the exit code."""
    parser = argparse.ArgumentParser(description="Set up the course in a virtual environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder")
    parser.add_argument("--reinstall", action="store_true", help="install everything again")
    arguments = parser.parse_args()
    if sys.version_info[:2] not in SUPPORTED:
        return use_supported_python()
    try:
        return set_up(arguments.venv.absolute(), arguments.reinstall)
    except KeyboardInterrupt:
        return fail("interrupted; the next call goes on.")


def set_up(venv: Path, reinstall: bool) -> int:
    """Create or complete the environment in `venv`."""
    python = interpreter(venv)
    stamp = venv / "labkit-installed"
    wanted = fingerprint()
    if not reinstall and works(python) and read(stamp) == wanted:
        return 0
    stamp.unlink(missing_ok=True)
    if reinstall or not works(python):
        say(f"creating {venv} with Python {sys.version.split()[0]}")
        base = getattr(sys, "_base_executable", sys.executable)  # not that of the venv itself
        command = [base, "-m", "venv", "--clear", str(venv)]
        if run(command) or not works(python):
            return fail(
                "Python could not create a virtual environment. On Debian and Ubuntu: "
                f"sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            )
    say("installing the locked packages (some 600 MB to download the first time)")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    if run([*pip, "--require-hashes", "-r", str(LOCK)]):
        return fail(
            "pip could not install the locked packages; its message is above. Without a "
            "connection or with a full disk (3 GB are needed), mend that and call this again: it "
            "goes on where it stopped."
        )
    if run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)]):
        return fail("labkit itself could not be installed; pip's message is above.")
    stamp.write_text(wanted, encoding="utf-8")
    say(f"ready: {venv}")
    return 0


def use_supported_python() -> int:
    """Run this script again with a supported Python, if there is one."""
    for major, minor in SUPPORTED:
        for command in ([f"python{major}.{minor}"], ["py", f"-{major}.{minor}"]):
            if shutil.which(command[0]) and answers([*command, "-c", "import venv"]):
                say(f"this is Python {sys.version.split()[0]}; using {' '.join(command)}")
                return subprocess.call([*command, str(Path(__file__)), *sys.argv[1:]])
    return fail(
        f"this is Python {sys.version.split()[0]}; TensorFlow 2.21 runs on Python 3.10 to 3.13, "
        "and none of these is on the PATH. Install Python 3.12 and call this again."
    )


def interpreter(venv: Path) -> Path:
    """The environment's Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(python: Path) -> bool:
    """Whether an environment's Python starts: not so if the one it was made from has gone."""
    return python.exists() and answers([str(python), "-c", "import pip"])


def answers(command: list[str]) -> bool:
    """Whether a command ends well, whatever it prints (a shim may exist and still fail)."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def fingerprint() -> str:
    """What the environment is made from."""
    content = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    return f"{hashlib.sha256(content).hexdigest()} {ROOT}"


def read(path: Path) -> str:
    """The text of a file, "" where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def run(command: list[str]) -> int:
    """Run a command with its output visible."""
    return subprocess.call(command, cwd=ROOT)


def say(text: str) -> None:
    """Print a line at once."""
    print(f"setup: {text}", flush=True)


def fail(text: str) -> int:
    """Print an error; returns the exit code."""
    print(f"setup: {text}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
