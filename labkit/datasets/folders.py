"""Where data lies: the folder of real files, and the cache of what was parsed or drawn."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from labkit import course


def real() -> Path:
    """The folder of real data: `LABKIT_DATA`, else data/real of the course around this folder.

    A copy of the labs counts as a course; without any it is data/real under the current folder.
    """
    named = os.environ.get("LABKIT_DATA")
    if named:
        return Path(named).expanduser()
    here = Path.cwd()
    return (course.around(here) or course.around(here, "notebooks") or here) / "data" / "real"


def cache() -> Path:
    """The folder of the cache: `LABKIT_CACHE`, else the system's place for this user."""
    return Path(os.environ.get("LABKIT_CACHE") or platformdirs.user_cache_dir("labkit"))
