"""Sets up the course: a virtual environment in .venv with the locked packages and labkit.

    python3 setup_venv.py        (on Windows: py setup_venv.py)

It needs a supported Python (it looks for one if it is started by another) and nothing else. A
second call does nothing unless the lock file or pyproject.toml has changed; a call that was
interrupted is taken up by the next one.
"""

# An old Python must be able to read this file as far as its message: no newer syntax than 3.6's.

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
STAMP = "labkit-installed"  # in the environment, once everything is in it
SUPPORTED = ["3.12", "3.11", "3.13", "3.10"]  # in the order of preference
NEEDED_GIGABYTES = 4  # the environment and, for a moment, the downloads

# What a Python must have; it prints why not, or the interpreter under a virtual environment.
PROBE = """
import platform, sys
machine = platform.system() + " " + platform.machine()
version = "%d.%d" % sys.version_info[:2]
if version not in {supported!r}:
    sys.exit("is Python " + version)
if sys.maxsize < 2**32:
    sys.exit("is a 32-bit Python")
if machine == "Darwin x86_64":
    sys.exit("is a Python for Intel Macs, for which TensorFlow has no release any more")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("lacks the module venv; on Debian, Ubuntu: sudo apt install python%s-venv" % version)
print(getattr(sys, "_base_executable", sys.executable))
"""


class SetupError(Exception):
    """What went wrong, and what to do."""


def main() -> int:
    """Set the environment up; returns the exit code."""
    parser = argparse.ArgumentParser(description="Set up the course in a virtual environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder (.venv)")
    parser.add_argument("--python", default="", help="the Python to make it with (this one)")
    parser.add_argument("--reinstall", action="store_true", help="make it anew")
    arguments = parser.parse_args()
    try:
        set_up(Path(os.path.abspath(str(arguments.venv))), arguments.python, arguments.reinstall)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next call goes on.", file=sys.stderr, flush=True)
        return 130
    return 0


def set_up(venv: Path, python: str = "", reinstall: bool = False) -> None:
    """Create, complete or update the environment in `venv`; do nothing if it is as it should be.

    Raises:
        SetupError: something is missing; the message says what to do.
    """
    stamp, wanted = venv / STAMP, fingerprint(venv)
    found = {} if reinstall else read(stamp)
    # An environment does not survive being moved, nor the Python that it was made from.
    moved = found.get("venv", str(venv)) != str(venv)
    usable = not reinstall and not moved and works(venv) and is_made_from(python, venv)
    if usable and found == wanted:
        return
    if not LOCK.is_file():
        raise SetupError(f"{LOCK} is missing; is this a whole checkout?")
    if not usable:
        create(venv, python)
    elif not found:
        say("an earlier call was interrupted; taking it up")
        remove_half_installed(venv)
    if stamp.exists():
        stamp.unlink()
    install(venv)
    stamp.write_text(json.dumps(wanted), encoding="utf-8")
    say(f"ready: {venv}")


def create(venv: Path, python: str = "") -> None:
    """Make a new environment in `venv`, in place of what is there."""
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise SetupError(
            f"{venv} exists and is not a virtual environment: remove it, or name another folder "
            "with --venv."
        )
    base = find_python(python)
    say(f"creating {venv} with {base}")
    if subprocess.call([base, "-m", "venv", "--clear", str(venv)]) != 0:
        raise SetupError("a virtual environment could not be created; Python's message is above.")


def find_python(python: str = "") -> str:
    """The Python to make the environment with: the one asked for, this one, or one on the PATH.

    Raises:
        SetupError: none will do; the message says why for each that was tried.
    """
    asked = [[python]] if python else [[sys.executable]]
    others = [["python" + version] for version in SUPPORTED]
    if os.name == "nt":
        others = [["py", "-" + version] for version in SUPPORTED]
    reasons = []
    for command in [*asked, *([] if python else others)]:
        # A shim or a shop's placeholder may be on the PATH and still not be a Python: try it.
        code = PROBE.format(supported=SUPPORTED)
        status, output, message = ask([*command, "-c", code])
        if status == 0:
            return output
        if command in asked or message.startswith(("lacks", "is a ")):
            reasons.append("{} {}".format(" ".join(command), message or "does not start"))
    raise SetupError(
        "no suitable Python found. TensorFlow 2.21 needs Python 3.10 to 3.13, 64-bit, on Linux, "
        "Windows or a Mac with Apple silicon.\n  {}\nInstall Python 3.12, or name a Python with "
        "--python, and call this again.".format("\n  ".join(reasons))
    )


def install(venv: Path) -> None:
    """Install the locked packages, then labkit itself from this folder."""
    if free_gigabytes(venv) < NEEDED_GIGABYTES:
        say(f"only {free_gigabytes(venv):.1f} GB are free; up to {NEEDED_GIGABYTES} are needed")
    say("installing the locked packages (the first time 0.8 GB to download)")
    pip = [str(interpreter(venv)), "-m", "pip", "--disable-pip-version-check", "install"]
    if run_pip([*pip, "--require-hashes", "-r", str(LOCK)]) != 0:
        raise SetupError(
            "pip could not install the locked packages; its message is above. Without a "
            f"connection or with a full disk ({free_gigabytes(venv):.1f} GB are free), mend that "
            "and call this again: it goes on where it stopped."
        )
    if run_pip([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)]) != 0:
        raise SetupError("labkit itself could not be installed; pip's message is above.")


def run_pip(command: list) -> int:
    """Run pip and say how far it is, without its line for every package; returns its status."""
    process = subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE)
    seen = 0
    with process:
        for line in process.stdout:
            words = line.decode("utf-8", "replace").split()
            if words[:1] == ["Collecting"]:
                seen += 1
                if seen % 30 == 0:
                    say(f"{seen} packages found")
            elif words[:1] == ["Downloading"] and words[-1:] == ["MB)"] and len(words[-2]) > 4:
                say("downloading {}, {} MB".format(words[1].split("-")[0], words[-2].strip("(")))
            elif words[:2] == ["Installing", "collected"]:
                say(f"unpacking {len(words) - 3} packages; many take a minute or two")
    return process.returncode


def remove_half_installed(venv: Path) -> None:
    """Remove what pip had begun to install and would now take for installed.

    pip writes the list of a package's files, RECORD, last of all.
    """
    for metadata in venv.glob("[Ll]ib/**/site-packages/*.dist-info"):
        if not (metadata / "RECORD").exists():
            shutil.rmtree(str(metadata))


def interpreter(venv: Path) -> Path:
    """The environment's Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(venv: Path) -> bool:
    """Whether an environment has pip and its Python starts, which ends with its base Python."""
    return interpreter(venv).exists() and ask([str(interpreter(venv)), "-Ic", "import pip"])[0] == 0


def is_made_from(python: str, venv: Path) -> bool:
    """Whether an environment is made from the Python asked for ("": any will do)."""
    if not python:
        return True
    base = ask([str(interpreter(venv)), "-Ic", "import sys; print(sys._base_executable)"])[1]
    return os.path.realpath(base) == os.path.realpath(find_python(python))


def ask(command: list) -> tuple:
    """Run a command; returns its status, output and error message, stripped."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        return -1, "", error.strerror or ""
    output, message = process.communicate()
    lines = message.decode("utf-8", "replace").strip().splitlines() or [""]
    return process.returncode, output.decode("utf-8", "replace").strip(), lines[-1]


def free_gigabytes(folder: Path) -> float:
    """Free space on the disk of a folder."""
    return shutil.disk_usage(str(folder)).free / 1e9


def fingerprint(venv: Path) -> dict:
    """What an environment is made from, and where: a stamp that says the same is up to date."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml"):
        if path.is_file():
            digest.update(path.read_bytes())
    return {"sha256": digest.hexdigest(), "course": str(ROOT), "venv": str(venv)}


def read(stamp: Path) -> dict:
    """What a stamp says; nothing if there is none, or none that can be read."""
    try:
        return dict(json.loads(stamp.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def say(text: str) -> None:
    """Print a line at once."""
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
