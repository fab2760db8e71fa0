"""Names of files that come from outside: what they say of a file, and how they are shown."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# Canvas numbers a file that is handed in again: q1-2.ipynb. So do browsers: q1 (2).ipynb.
_AGAIN = re.compile(r"(?: ?\((\d{1,3})\)|-(\d{1,3}))(?=(?:\.\w+)*$)")
NOTEBOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.IGNORECASE)
TARS = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
UNKNOWN = re.compile(r"\.(7z|rar|zipx|tar\.zst|tar\.lz|tar\.Z|sit|dmg|gz|bz2|xz)$", re.IGNORECASE)
LITTER = frozenset(
    [
        *("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".git", ".svn", "__pycache__"),
        *("venv", ".venv", "site-packages", "node_modules", ".cache", ".idea", ".vscode"),
    ]
)


def again(path: str) -> int:
    """The number that Canvas or a browser has added to a name; 0 where there is none."""
    match = _AGAIN.search(PurePosixPath(path).name)
    return int(match[1] or match[2]) if match else 0


def plain_name(path: str) -> str:
    """A file's name without folders, case, and the number that Canvas or a browser adds."""
    name = PurePosixPath(path).name.lower()
    return _AGAIN.sub("", re.sub(r"(?<=\.ipynb)\.(txt|json)$", "", name))


def readable(text: str) -> str:
    """A text from outside that every encoding can hold: no half characters."""
    return text.encode("utf-8", "surrogateescape" if _is_bytes(text) else "replace").decode(
        "utf-8", "replace"
    )


def _is_bytes(text: str) -> bool:
    """Whether all surrogates in it stand for the bytes of a name that is no UTF-8."""
    return all("\udc80" <= c <= "\udcff" for c in text if "\ud800" <= c <= "\udfff")


def shown(name: str) -> str:
    """A name from outside, on one line and not too long."""
    name = readable(name)
    return repr(name if len(name) <= 80 else name[:77] + "…")
