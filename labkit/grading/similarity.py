"""Similarity between submissions after subtracting what was given out: evidence, never a deduction.

Winnowed fingerprints of k-grams of tokens, as in S. Schleimer, D. Wilkerson, A. Aiken, *Winnowing:
local algorithms for document fingerprinting*, SIGMOD 2003. Names and literals count as themselves:
short exercises have one good solution, and only its unusual details tell of copying.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import tokenize

K_CODE, K_TEXT, WINDOW = 8, 5, 4
#: From this share on (of the smaller one's fingerprints) a pair is shown.
SHOWN = 0.5
#: Fewer fingerprints than this prove nothing.
ENOUGH = 6


def pairs(
    written: dict[str, tuple[list[str], list[str], dict[str, str]]],
    given_code: list[str],
    given_text: list[str] = (),
) -> list[dict]:
    """Pairs of submissions that have much in common, most alike first.

    Args:
        written: code cells, texts, and SHA-256 of each model file by name; by submission.
        given_code: cells of the student notebooks and of the solutions.
        given_text: texts that were given out.

    Returns:
        "a", "b", "code" and "text" (share in [0, 1] of the smaller one's fingerprints that the
        other has, 0 where there is too little), "files" (names of identical model files).
    """
    common_code = set().union(*(fingerprints(tokens(c), K_CODE) for c in given_code), set())
    common_text = set().union(*(fingerprints(words(t), K_TEXT) for t in given_text), set())
    prints = {
        name: (
            set().union(*(fingerprints(tokens(c), K_CODE) for c in code), set()) - common_code,
            set().union(*(fingerprints(words(t), K_TEXT) for t in texts), set()) - common_text,
            files,
        )
        for name, (code, texts, files) in written.items()
    }
    found = []
    for a, b in itertools.combinations(sorted(prints), 2):
        (code_a, text_a, files_a), (code_b, text_b, files_b) = prints[a], prints[b]
        same = sorted(n for n in files_a if n in files_b and files_a[n] == files_b[n])
        pair = {
            "a": a,
            "b": b,
            "code": _share(code_a, code_b),
            "text": _share(text_a, text_b),
            "files": same,
        }
        if same or max(pair["code"], pair["text"]) >= SHOWN:
            found.append(pair)
    return sorted(found, key=lambda p: (-max(p["code"], p["text"]), -len(p["files"]), p["a"]))


def fingerprints(parts: list[str], k: int) -> set[int]:
    """The smallest hash of every window of k-grams."""
    grams = [
        int.from_bytes(
            hashlib.blake2b(
                "\0".join(parts[i : i + k]).encode("utf-8", "replace"), digest_size=8
            ).digest(),
            "big",
        )
        for i in range(len(parts) - k + 1)
    ]
    if len(grams) <= WINDOW:
        return set(grams)
    return {min(grams[i : i + WINDOW]) for i in range(len(grams) - WINDOW + 1)}


def tokens(code: str) -> list[str]:
    """Python's tokens without comments and layout.

    Lines for IPython or the shell are left out; at one that is no Python it is begun anew.
    """
    skipped = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    code = re.sub(r"^[ \t]*[!%].*$|^.*\?$", "", code, flags=re.MULTILINE)
    lines, read = code.splitlines(keepends=True), []
    while lines:
        end = 0
        try:
            for token in tokenize.generate_tokens(io.StringIO("".join(lines)).readline):
                end = token.end[0]
                if token.type not in skipped:
                    read.append(token.string)
            break
        except Exception:  # of more than one kind; what follows the line is read all the same
            lines = lines[max(end, 1) :]
    return read


def words(text: str) -> list[str]:
    """Words in lower case."""
    return re.findall(r"\w+", text.lower())


def _share(a: set, b: set) -> float:
    smaller = min(len(a), len(b))
    return len(a & b) / smaller if smaller >= ENOUGH else 0.0
