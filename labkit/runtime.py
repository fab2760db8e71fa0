"""The one place that configures TensorFlow, the random generators and the labs' defaults.

`import labkit` calls `prepare()`, which sets environment variables only: TensorFlow itself is
imported by the modules that need it, after this.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from labkit.errors import LabkitError

PROFILES = ("quick", "full")
DATA_MODES = ("auto", "synthetic", "real")

_TENSORFLOW_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # tfmot needs Keras 2 (tf-keras)
    "TF_CPP_MIN_LOG_LEVEL": "3",  # the C++ start-up lines come before absl can silence them
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


class SettingError(LabkitError):
    """A profile, data mode or other setting that labkit does not know."""


def prepare() -> None:
    """Set the environment that TensorFlow reads when it is first imported.

    Raises:
        RuntimeError: TensorFlow was imported before labkit, with Keras 3 as `tf.keras`.
    """
    for name, value in _TENSORFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path[:0] = [_Guard(name, context) for name, context in _GUARDS.items()]
    if "tensorflow" in sys.modules and "tf_keras" not in sys.modules and "keras" in sys.modules:
        raise RuntimeError(
            "TensorFlow was imported before labkit, with Keras 3. Restart Python (in a notebook: "
            "restart the kernel) and import labkit first."
        )


def processors() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS, nor on Windows
        return os.cpu_count() or 1


def threads_each(jobs: int) -> int:
    """Threads for each of so many processes that share the processors."""
    return max(1, processors() // max(1, jobs))


def thread_settings(threads: int) -> dict[str, str]:
    """The environment of a process that shares the machine with others: so many threads each.

    TensorFlow's threads wait for work by spinning: two processes with two threads each on two
    processors are a fifth slower than with one each.
    """
    names = (
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
    )
    return dict.fromkeys(names, str(threads))


def one_thread_an_operation() -> None:
    """Let every operation of TensorFlow run on one thread, and only whole operations side by side.

    For networks of a few thousand parameters, whose operations take less time than it takes to
    share them: on two processors, an epoch of lab 08's separable network takes 0.5 s instead of 0.7
    to 1.3. To be called before TensorFlow computes anything; afterwards it changes nothing.
    """
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it has begun
        tf.config.threading.set_intra_op_parallelism_threads(1)


@contextlib.contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """These variables set, and afterwards as they were."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture what C++ code writes to standard error, which Python cannot redirect.

    Yields:
        a function that returns the text so far.
    """
    with tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)

        def printed() -> str:
            sink.seek(0)
            return sink.read().decode("utf-8", "replace")

        try:
            yield printed
        finally:
            os.dup2(saved, 2)
            os.close(saved)


class _Guard(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Executes one module, when it is imported for the first time, inside a context."""

    def __init__(self, name: str, context: Callable[[], contextlib.AbstractContextManager]):
        self.name, self.context = name, context

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        with self.context():
            self._loader.exec_module(module)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that TensorFlow prints before its log level is in force."""
    with captured_stderr() as printed, _seldom_collected():
        try:
            yield
        except BaseException as error:
            if printed() and hasattr(error, "add_note"):
                error.add_note(printed())
            raise
    # It has set its own level by now, and says "Assets written to" with every conversion.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Without the collections, a fifth of the time, that look through what an import makes.

    Its 400,000 objects stay; later collections pass them by.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.freeze()


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Without a package that takes a second to import, and that nothing here has a use for."""
    hide = package not in sys.modules
    if hide:
        sys.modules[package] = None
    try:
        yield
    finally:
        if hide:
            del sys.modules[package]


_GUARDS = {
    "tensorflow": _quiet,
    # It imports Keras only to find that it is not Keras 2.
    "tensorflow_model_optimization": partial(_without, "keras"),
    # It compiles a grammar of IRIs, which no notebook's schema has; nbformat imports it.
    "jsonschema": partial(_without, "rfc3987_syntax"),
}


def set_seed(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras, so that a run repeats.

    Args:
        seed: any integer from 0 to 2**32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise SettingError(f"SEED is {seed}, expected an integer from 0 to 2**32 - 1.")
    import tensorflow as tf

    # Keras draws from a generator of its own as soon as anybody has called this in the process.
    tf.keras.utils.set_random_seed(seed)


def default_profile() -> str:
    """The profile that a lab uses unless told otherwise: `LABKIT_PROFILE`, else "full"."""
    return checked_choice("LABKIT_PROFILE", os.environ.get("LABKIT_PROFILE", "full"), PROFILES)


def default_data_mode() -> str:
    """The data mode that a lab uses unless told otherwise: `LABKIT_DATA_MODE`, else "auto"."""
    value = os.environ.get("LABKIT_DATA_MODE", "auto")
    return checked_choice("LABKIT_DATA_MODE", value, DATA_MODES)


def default_out() -> str:
    """The folder for a lab's artefacts unless told otherwise: `LABKIT_OUT`, else "out"."""
    return os.environ.get("LABKIT_OUT", str(Path("out")))


def checked_choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`.

    Raises:
        SettingError: naming the setting, the value and what is allowed.
    """
    if value not in allowed:
        raise SettingError(f"{name} is {value!r}, expected one of {', '.join(allowed)}.")
    return value


def interactive() -> bool:
    """Whether someone watches: a terminal, or a notebook that is not executed by a tool."""
    if os.environ.get("LABKIT_QUIET"):
        return False
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


def compiled(**options) -> Callable[[Callable], Callable]:
    """A decorator of loops that Numba compiles when they first run, and keeps for other processes.

    They run without the interpreter lock.

    Args:
        options: others of `numba.njit`.
    """
    from numba import njit

    def decorate(function: Callable) -> Callable:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # no folder that can be written to: compiled again by every process
            return njit(nogil=True, **options)(function)

    return decorate
