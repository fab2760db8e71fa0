"""Any function over a grid or a random design; what has been computed once is not computed again.

Each result goes into one SQLite file as soon as it is there, under its configuration and the
version of the code. A sweep that was killed goes on where it was: in this process, in several, or
on a Dask cluster, with the same results.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

import labkit
from labkit import processes, runtime
from labkit.explore.members import ExploreError

_APPLICATION = 0x6C6B7377  # "lksw", which says that a file is one of these
_SCHEMA = """CREATE TABLE results (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, configuration TEXT NOT NULL,
    version TEXT NOT NULL, figures TEXT, error TEXT, seconds REAL NOT NULL)"""
_PATIENCE = 60.0  # s: for another sweep that writes to the same file


@dataclass(frozen=True)
class Span:
    """Numbers of a random design between two ends.

    Attributes:
        low, high: the ends, both included.
        log: evenly on a logarithmic scale.
        whole: integers alone.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self):
        """Refuse ends in the wrong order, and logarithms that there are not."""
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ExploreError(f"{self}: expected low to high, above 0 on a logarithmic scale.")

    def draw(self, rng: np.random.Generator) -> float | int:
        """A number."""
        ends = (self.low, self.high)
        if self.whole and not self.log:
            return int(rng.integers(math.ceil(self.low), math.floor(self.high) + 1))
        value = math.exp(rng.uniform(*map(math.log, ends))) if self.log else rng.uniform(*ends)
        return min(max(round(value), self.low), self.high) if self.whole else float(value)


def grid(**levels: Sequence) -> list[dict]:
    """Every combination of levels, the last one changing first.

    Example:
        >>> grid(weight_bits=(4, 8), epochs=(10,))
        [{'weight_bits': 4, 'epochs': 10}, {'weight_bits': 8, 'epochs': 10}]
    """
    return [dict(zip(levels, each, strict=True)) for each in itertools.product(*levels.values())]


def at_random(count: int, seed: int = 0, **levels: Sequence | Span) -> list[dict]:
    """So many combinations drawn at random; fewer are the beginning of more.

    Args:
        count: of combinations.
        seed: the same seed draws the same ones.
        levels: values to choose among, or a `Span`.
    """
    rng = np.random.default_rng(seed)

    def drawn(of):
        return of.draw(rng) if isinstance(of, Span) else of[rng.integers(len(of))]

    return [{name: drawn(of) for name, of in levels.items()} for _ in range(count)]


def sweep(
    function: Callable[..., Mapping],
    design: Sequence[Mapping],
    results: str | Path,
    *,
    version: str = "",
    jobs: int = 1,
    scheduler: str = "",
    on_result: Callable[[dict, dict], None] | None = None,
) -> pd.DataFrame:
    """Call a function with every configuration of a design that it has not been called with.

    Args:
        function: takes a configuration as keywords, gives figures by name: numbers, texts, or lists
            of them, as JSON takes them.
        design: configurations, for example from `grid`: names with numbers, texts or lists.
        results: SQLite file, made or gone on with.
        version: of the code; that of `code_version` without.
        jobs: processes at a time; the function is sent to them as it is, from a notebook too.
        scheduler: address of a Dask scheduler, whose workers then do the work.
        on_result: called with each configuration and its figures as they come.

    Returns:
        a row per configuration, in the order of the design: its columns, the figures', "seconds".

    Raises:
        ExploreError: a damaged file or one of something else; a configuration that is no JSON; or
            some calls failed: all others are kept, the same sweep tries these again.

    Example:
        >>> def area(width, height):
        ...     return {"area": width * height}
        >>> table = sweep(area, grid(width=(1, 2), height=(3,)), "areas.sqlite")
    """
    version = version or code_version(function)
    plain = [_plain(configuration) for configuration in design]
    keys = [_key(configuration, version) for configuration in plain]
    with closing(Results(results)) as stored:
        known = stored.keys()
        waiting = dict(zip(keys, plain, strict=True))
        waiting = {key: each for key, each in waiting.items() if key not in known}
        bar = tqdm(
            total=len(set(keys)),
            initial=len(set(keys)) - len(waiting),
            unit="configuration",
            leave=False,
            disable=not runtime.interactive(),
        )
        with bar, _outcomes(function, waiting, jobs, scheduler) as outcomes:
            for key, figures, error, seconds in outcomes:
                stored.add(key, waiting[key], version, figures, error, seconds)
                bar.update()
                if on_result and error is None:
                    on_result(waiting[key], json.loads(figures))
        if failed := stored.errors(keys):
            key, error = next(iter(failed.items()))
            first = dict(zip(keys, plain, strict=True))[key]
            raise ExploreError(
                f"{len(failed)} of {len(set(keys))} calls failed, for example {first}: {error}. "
                f"The others are kept in {results}; the same sweep tries these again."
            )
        return stored.table(keys)


def code_version(function: Callable, *modules: ModuleType | str) -> str:
    """Twelve hexadecimal digits that change with the code.

    They are of the file that the function stands in (or of the function alone where there is none),
    of further modules, and of labkit's version. What else the function calls does not count.

    Args:
        function: a function, or an object that has a `version` of its own.
        modules: or their names, whose files count too.
    """
    import importlib

    digest = hashlib.sha256(labkit.__version__.encode())
    own = getattr(function, "version", None)
    digest.update((own or _source(function)).encode())
    for module in modules:
        module = importlib.import_module(module) if isinstance(module, str) else module
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:12]


class Results:
    """The file of a sweep.

    Args:
        path: SQLite file, made where there is none.

    Raises:
        ExploreError: the file is damaged, or is not one of these.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise ExploreError(f"{self.path} cannot be used: {error}.") from error
        try:
            self._examine()
        except sqlite3.OperationalError as error:
            self._file.close()
            raise ExploreError(f"{self.path} cannot be used: {error}.") from error
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise ExploreError(
                f"{self.path} is damaged or no results of a sweep ({error}): name another file, or "
                "move it away."
            ) from error

    def _examine(self) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        (application,) = self._file.execute("PRAGMA application_id").fetchone()
        (tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not application and not tables:
            self._file.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._file.execute(_SCHEMA)
        elif application != _APPLICATION:
            raise sqlite3.DatabaseError("it is another program's")
        self._file.execute("COMMIT")
        faults = self._file.execute("PRAGMA quick_check").fetchall()
        if faults != [("ok",)]:
            raise sqlite3.DatabaseError(faults[0][0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def keys(self) -> set[str]:
        """Of all configurations that have figures."""
        return {key for (key,) in self._file.execute("SELECT key FROM results WHERE error IS NULL")}

    def add(self, key, configuration, version, figures, error, seconds) -> None:
        """Add a result; it is on the disk when this returns."""
        row = (key, json.dumps(configuration), version, figures, error, seconds)
        self._file.execute("INSERT OR REPLACE INTO results VALUES (NULL, ?, ?, ?, ?, ?, ?)", row)

    def errors(self, keys: Sequence[str]) -> dict[str, str]:
        """What went wrong, of those of these that failed."""
        found = dict(self._file.execute("SELECT key, error FROM results WHERE error IS NOT NULL"))
        return {key: found[key] for key in dict.fromkeys(keys) if key in found}

    def table(self, keys: Sequence[str] | None = None) -> pd.DataFrame:
        """A row per result: configuration, figures, "seconds".

        Args:
            keys: those that are wanted, in this order; all without, as they came, with their
                "version".
        """
        rows = self._file.execute(
            "SELECT key, configuration, version, figures, seconds FROM results "
            "WHERE error IS NULL ORDER BY number"
        )
        found = {}
        for key, configuration, version, figures, seconds in rows:
            extra = {"version": version} if keys is None else {}
            both = json.loads(configuration) | json.loads(figures)
            found[key] = both | {"seconds": seconds} | extra
        return pd.DataFrame([found[key] for key in (found if keys is None else keys)])


def load(results: str | Path) -> pd.DataFrame:
    """All results of a file, of all versions of the code, as `Results.table` has them.

    Raises:
        ExploreError: there is no such file, or it is damaged.
    """
    if not Path(results).is_file():
        raise ExploreError(f"there is no file {results}.")
    with closing(Results(results)) as stored:
        return stored.table()


@contextmanager
def _outcomes(
    function: Callable, waiting: Mapping[str, dict], jobs: int, scheduler: str
) -> Iterator[Iterator[tuple]]:
    """Outcomes of all that wait, as they come."""
    if jobs < 1:
        raise ExploreError(f"jobs is {jobs}, expected 1 or more.")
    calls = [(function, key, configuration) for key, configuration in waiting.items()]
    if scheduler:
        with _on_cluster(calls, scheduler) as outcomes:
            yield outcomes
    elif jobs > 1 and len(calls) > 1:
        yield (outcome for _, outcome in processes.side_by_side(_outcome, calls, jobs))
    else:
        yield (_outcome(*call) for call in calls)


@contextmanager
def _on_cluster(calls: Sequence[tuple], scheduler: str) -> Iterator[Iterator[tuple]]:
    try:
        import distributed
    except ImportError as error:
        raise ExploreError(
            "a cluster needs Dask: install labkit with the extra 'cluster'."
        ) from error
    try:
        client = distributed.Client(scheduler, timeout=30)
    except (OSError, TimeoutError, ValueError) as error:
        raise ExploreError(f"there is no scheduler at {scheduler}: {error}.") from error
    with client:
        futures = [client.submit(_outcome, *call, pure=False) for call in calls]
        yield (future.result() for future in distributed.as_completed(futures))


def _outcome(function: Callable, key: str, configuration: dict) -> tuple:
    """Key, figures as JSON or None, error or None, seconds."""
    started = time.perf_counter()
    try:
        figures = function(**configuration)
        if not isinstance(figures, Mapping):
            raise TypeError(f"it gave {type(figures).__name__}, expected figures by name")
        if common := set(configuration) & set(figures):
            raise TypeError(f"{common.pop()!r} is in the configuration and in the figures")
        text, error = json.dumps(_plain(figures)), None
    except Exception as fault:  # whatever a user's function raises
        text, error = None, f"{type(fault).__name__}: {' '.join(str(fault).split())}"
    return key, text, error, time.perf_counter() - started


def _plain(values: Mapping) -> dict:
    """Numbers and arrays of NumPy as those of Python; names in order do not matter."""

    def default(value):
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        raise ExploreError(f"{value!r} is a {type(value).__name__}, which JSON does not take.")

    return json.loads(json.dumps(dict(values), default=default))


def _key(configuration: dict, version: str) -> str:
    text = json.dumps([configuration, version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _source(function: Callable) -> str:
    """The text of its module; in a notebook its own; its code where there is no text."""
    inner = inspect.unwrap(getattr(function, "func", function))
    module = inspect.getmodule(inner)
    try:
        if module is not None and module.__name__ != "__main__" and module.__file__:
            return Path(module.__file__).read_text(encoding="utf-8")
        return inspect.getsource(inner)
    except (OSError, TypeError, AttributeError):
        code = getattr(inner, "__code__", None)
        return repr(function) if code is None else f"{code.co_code!r} {code.co_consts!r}"
