"""Executions and measurements of a class, on this machine's cores or on a Dask cluster.

Each result is kept by its content hash as soon as it is there, so that equal tasks run once and a
killed run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from labkit import files
from labkit.grading import GradingError
from labkit.grading.box.execution import Executed, Execution, execute, measure
from labkit.grading.box.sandbox import Isolation
from labkit.grading.environment import digest_of, environment_digest
from labkit.grading.hidden import Split
from labkit.measure import Metric

_ATTEMPTS = 3  # of a task that fails by a fault of the machine


class Tasks:
    """Executions and measurements under way, each once, their results kept by content hash."""

    def __init__(self, executor: Executor, folder: Path, isolation: Isolation):
        self.executor, self.folder, self.isolation = executor, folder, isolation
        self.futures: dict[str, Future] = {}
        self.calls: dict[str, tuple] = {}
        self.attempts: dict[str, int] = {}
        self.failed: dict[str, str] = {}

    def execute(self, execution: Execution) -> None:
        """Begin an execution, unless its result is there or it is under way."""
        if self.executed(execution) is None:
            self._begin(execution.key, execute, execution, self.isolation)

    def executed(self, execution: Execution) -> Executed | None:
        """The result, if it is there."""
        key = execution.key
        if key in self.failed:
            return Executed("infrastructure", output=self.failed[key])
        stored = _load(self.folder / key)
        return None if stored is None else Executed(**stored)

    def measured(self, models: dict[str, bytes], split: Split, metric: Metric) -> dict | None:
        """Figures of files by name, if all are there; what is missing is begun."""
        digests = {
            name: digest_of(
                [
                    "figures",
                    hashlib.sha256(content).hexdigest(),
                    split.digest,
                    metric.name,
                    environment_digest(),
                ]
            )
            for name, content in models.items()
        }
        stored = {name: _load(self.folder / digest) for name, digest in digests.items()}
        figures = {name: found for name, found in stored.items() if found is not None}
        missing = {name: models[name] for name in models if name not in figures}
        if not missing:
            return figures
        key = digest_of(sorted(digests[name] for name in missing))
        if key in self.failed:
            return figures | {name: {"fault": self.failed[key]} for name in missing}
        if key not in self.futures:
            by_digest = {digests[name]: content for name, content in missing.items()}
            self._begin(key, measure, by_digest, split.to_bytes(), self.isolation, metric.name)
        return None

    def _begin(self, key: str, function: Callable, *arguments) -> None:
        if key not in self.futures:
            self.calls[key] = (function, *arguments)
            self.futures[key] = self.executor.submit(function, *arguments)

    @property
    def under_way(self) -> bool:
        """Whether there is something to wait for."""
        return bool(self.futures)

    def wait(self) -> None:
        """Wait for the next task to end and keep its result."""
        done, _ = wait(self.futures.values(), return_when=FIRST_COMPLETED)
        for key, future in list(self.futures.items()):
            if future in done:
                del self.futures[key]
                self._keep(key, future)

    def _keep(self, key: str, future: Future) -> None:
        try:
            found = future.result()
        except Exception as error:  # a worker that died, a cluster that went away
            self._retry(key, f"{type(error).__name__}: {error}")
            return
        if isinstance(found, Executed):
            if found.status == "infrastructure":
                self._retry(key, found.output)
            else:
                _store(self.folder / key, asdict(found))
                del self.calls[key]
            return
        faults = [f["fault"] for f in found.values() if "fault" in f]
        for digest, figures in found.items():
            if "fault" not in figures:
                _store(self.folder / digest, figures)
        if faults:
            self._retry(key, faults[0])
        else:
            del self.calls[key]

    def _retry(self, key: str, message: str) -> None:
        self.attempts[key] = self.attempts.get(key, 1) + 1
        if self.attempts[key] > _ATTEMPTS:
            self.failed[key] = f"after {_ATTEMPTS} attempts: {message.strip()[-500:]}"
            del self.calls[key]
        else:
            self._begin(key, *self.calls[key])


@contextmanager
def executor(jobs: int, scheduler: str = "") -> Iterator[Executor]:
    """This machine's cores, or a Dask cluster: both are executors of `concurrent.futures`.

    Args:
        jobs: tasks at a time on this machine.
        scheduler: address of a Dask scheduler; "" for this machine.

    Raises:
        GradingError: no scheduler answers there.
    """
    if not scheduler:
        pool = ThreadPoolExecutor(jobs)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise GradingError(f"no Dask scheduler at {scheduler}: {error}") from error
    try:
        yield client.get_executor(pure=False, retries=0)
    finally:
        client.close()


def _store(folder: Path, content: dict) -> None:
    """Keep a result, its binary parts as files; it is there when `result.json` is."""
    plain_part = {}
    for name, value in content.items():
        if name == "files":
            for file, data in value.items():
                files.write_bytes(folder / "files" / file, data)
            plain_part["files"] = sorted(value)
        elif isinstance(value, bytes):
            files.write_bytes(folder / name, value)
        else:
            plain_part[name] = value
    files.write_text(folder / "result.json", json.dumps(plain_part))


def _load(folder: Path) -> dict | None:
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if "files" in content:
            content["files"] = {
                file: (folder / "files" / file).read_bytes() for file in content["files"]
            }
            content["notebook"] = (folder / "notebook").read_bytes()
    except (OSError, ValueError):
        return None
    return content
