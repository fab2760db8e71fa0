"""Packages that a page takes from npm when it is built, exactly those of a lock file."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from labkit import files
from labkit.authoring.pages import PageError
from labkit.datasets import folders

_FILES = ("package.json", "package-lock.json")


def packages(locked: Path) -> Path:
    """The folder node_modules of a lock file: from the cache, or installed now.

    npm compares what it gets with the lock file's hashes; no script of a package is run.

    Args:
        locked: folder of a package.json and its package-lock.json.

    Raises:
        PageError: npm is not installed, or cannot install them.
    """
    key = hashlib.sha256(b"".join((locked / name).read_bytes() for name in _FILES)).hexdigest()
    folder = folders.cache() / f"npm-{key[:12]}"
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise PageError("npm is not installed; it comes with Node.js, https://nodejs.org.")
        with files.new_folder(folder) as unfinished:
            for name in _FILES:
                shutil.copy(locked / name, unfinished)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(
                command, cwd=unfinished, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise PageError(f"npm cannot install {locked / _FILES[0]}: {lines[0]}")
    return folder / "node_modules"
