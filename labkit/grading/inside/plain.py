"""Plain values, the only thing that leaves a submission's process besides declared files.

Numbers, strings, arrays, and lists, tuples and dicts of them, as JSON. Reading them executes
nothing, and comparing them asks none of a submission's own methods.
"""

from __future__ import annotations

import base64
import contextlib
import math
import re
from typing import Any

import numpy as np

_KINDS = "biufU"  # booleans, integers, floats, strings
_DTYPE = re.compile(r"[<>|=]?[biufU]\d{1,6}")
_DEPTH = 20


class NotPlainError(TypeError):
    """A value that cannot be written as plain data."""


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON.

    Raises:
        NotPlainError: it holds something else than numbers, strings and arrays.
    """
    if depth > _DEPTH:
        raise NotPlainError("lists nested too deeply")
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if type(value) in (list, tuple):
        return {"list": [encode(each, depth + 1) for each in value]}
    if type(value) is dict:
        return {"dict": {str(k): encode(v, depth + 1) for k, v in value.items()}}
    if hasattr(value, "numpy") or isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        if array.dtype.kind not in _KINDS:
            raise NotPlainError(f"an array of {array.dtype}")
        if array.ndim == 0:
            return {"value": array.item()}
        content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {"array": [array.dtype.str, list(array.shape), content]}
    raise NotPlainError(f"a {type(value).__name__}")


def decode(content: Any, depth: int = 0) -> Any:
    """The value that `encode` has written.

    Raises:
        ValueError: not written by `encode`; it may come from a submission.
    """
    if depth > _DEPTH or not isinstance(content, dict) or len(content) != 1:
        raise ValueError("no plain value")
    ((kind, inner),) = content.items()
    if kind == "value" and (inner is None or type(inner) in (bool, int, float, str)):
        return inner
    if kind == "list" and isinstance(inner, list):
        return [decode(each, depth + 1) for each in inner]
    if kind == "dict" and isinstance(inner, dict):
        return {key: decode(each, depth + 1) for key, each in inner.items()}
    if kind == "array":
        try:
            name, shape, text = inner
            if not _DTYPE.fullmatch(name):  # numpy would parse it as Python
                raise ValueError("no plain array")
            dtype = np.dtype(name)
            return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError("no plain array") from error
    raise ValueError("no plain value")


def agrees(expected: Any, got: Any, tolerance: float) -> bool:
    """Whether an answer is the expected one.

    Integers, strings and shapes agree exactly; floats up to `tolerance`, relative to the largest
    expected magnitude. A list of numbers may stand for an array.
    """
    if expected is None or isinstance(expected, (bool, str)):
        return type(got) is type(expected) and got == expected
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and got.keys() == expected.keys()
            and all(agrees(expected[key], got[key], tolerance) for key in expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(got, (list, np.ndarray))
            and len(got) == len(expected)
            and all(agrees(e, g, tolerance) for e, g in zip(expected, got, strict=True))
        )
    return _numbers_agree(expected, got, tolerance)


def difference(expected: Any, got: Any) -> str:
    """How a wrong answer differs: in type, shape or size, in words that tell no input.

    All that depends on the numbers is one of a few words: what a submission returns is its own
    choice, and a figure would tell it what it was asked.
    """
    if isinstance(got, list) and _kind(expected) == "numbers":
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            got = np.asarray(got, dtype=float)
    elif isinstance(got, np.ndarray) and isinstance(expected, list):
        got = list(got)
    kinds = _kind(expected), _kind(got)
    if kinds[0] != kinds[1]:
        return f"{kinds[1]}; expected: {kinds[0]}"
    if isinstance(expected, dict):
        return "a dict with other keys or values than expected"
    if isinstance(expected, list):
        if len(expected) != len(got):
            return f"a list of another length than the expected {len(expected)}"
        for number, (e, g) in enumerate(zip(expected, got, strict=True), start=1):
            if not agrees(e, g, 1e-6):
                return f"part {number} of {len(expected)}: {difference(e, g)}"
    if isinstance(expected, (bool, str)) or expected is None:
        return "another value than expected"
    a, b = np.asarray(got), np.asarray(expected)
    if a.shape != b.shape:
        return f"another shape than the expected {b.shape}" if b.shape else "an array, not a number"
    return _size_of_difference(a, b)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (None)"
    names = {bool: "True or False", str: "text", dict: "a dict", list: "a list"}
    if type(value) in names:
        return names[type(value)]
    return "text" if np.asarray(value).dtype.kind == "U" else "numbers"


def _size_of_difference(got: np.ndarray, expected: np.ndarray) -> str:
    a, b = (np.asarray(each, dtype=float) for each in (got, expected))
    if not np.isfinite(a).all() and np.isfinite(b).all():
        return "numbers that are not finite (NaN or infinite)"
    with np.errstate(all="ignore"):
        off = np.abs(a - b)
        share = float(np.nanmax(off)) / max(float(np.nanmax(np.abs(b))), 1e-300)
        several = (off > 1e-6 * max(float(np.nanmax(np.abs(b))), 1e-300)).mean()
    if b.size and np.allclose(a, -b) and b.any():
        return "the opposite sign"
    how_many = "" if a.ndim == 0 else "all values " if several == 1 else "some of the values "
    limits = ((0.01, "less than 1 %"), (0.1, "1 to 10 %"), (1, "10 to 100 %"))
    size = next((word for limit, word in limits if share < limit), "100 % or more")
    return f"{how_many}off by {size} of the largest expected one" if how_many else f"off by {size}"


def _numbers_agree(expected: Any, got: Any, tolerance: float) -> bool:
    if got is None or isinstance(got, (str, dict, bool)):
        return False
    try:
        a, b = np.asarray(got), np.asarray(expected)
        if a.shape != b.shape or "U" in a.dtype.kind + b.dtype.kind:
            return a.shape == b.shape and a.dtype.kind == b.dtype.kind and bool((a == b).all())
        if b.dtype.kind in "biu":
            return bool((a == b).all())
        a, b = a.astype(float), b.astype(float)
    except (TypeError, ValueError, OverflowError):
        return False
    scale = float(np.abs(b).max(initial=0)) if np.isfinite(b).all() else math.inf
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= tolerance * max(scale, 1e-300) if math.isfinite(scale) else a == b
    return bool(near.all())
