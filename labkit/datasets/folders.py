"""Where data lies: the folder of real files, and the cache of what was parsed or drawn."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def real() -> Path:
    """The folder of real data: `LABKIT_DATA`, else data/real of the course around this folder.

    Without either it is data/real under the current folder.
    """
    named = os.environ.get("LABKIT_DATA")
    if named:
        return Path(named).expanduser()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "solutions").is_dir() and (folder / "pyproject.toml").is_file():
            return folder / "data" / "real"
    return here / "data" / "real"


def cache() -> Path:
    """The folder of the cache: `LABKIT_CACHE`, else the system's place for this user."""
    return Path(os.environ.get("LABKIT_CACHE") or platformdirs.user_cache_dir("labkit"))
