"""The software that grades: what a result depends on besides the submission."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from functools import cache
from importlib import metadata


@cache
def environment_digest() -> str:
    """SHA-256 of Python's version and those of all installed packages."""
    found = {(d.metadata["Name"] or "", d.version) for d in metadata.distributions()}
    return digest_of([platform.python_version(), sys.platform, sorted(found)])


def digest_of(content: object) -> str:
    """SHA-256 of something that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
