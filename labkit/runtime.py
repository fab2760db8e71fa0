"""The one place that configures TensorFlow, the random generators and the labs' defaults.

`import labkit` calls `prepare()`, which sets environment variables only: TensorFlow itself is
imported by the modules that need it, after this.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

PROFILES = ("quick", "full")
DATA_MODES = ("auto", "synthetic", "real")

_TENSORFLOW_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # tfmot needs Keras 2 (tf-keras)
    "TF_CPP_MIN_LOG_LEVEL": "3",  # the C++ start-up lines come before absl can silence them
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


class SettingError(ValueError):
    """A profile, data mode or other setting that labkit does not know."""


def prepare() -> None:
    """Set the environment that TensorFlow reads when it is first imported.

    Raises:
        RuntimeError: TensorFlow was imported before labkit, with Keras 3 as `tf.keras`.
    """
    for name, value in _TENSORFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if "tensorflow" in sys.modules and "tf_keras" not in sys.modules and "keras" in sys.modules:
        raise RuntimeError(
            "TensorFlow was imported before labkit, with Keras 3. Restart Python (in a notebook: "
            "restart the kernel) and import labkit first."
        )


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, so that a run repeats.

    Args:
        seed: any integer from 0 to 2**32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise SettingError(f"SEED is {seed}, expected an integer from 0 to 2**32 - 1.")
    import numpy as np
    import tensorflow as tf

    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)


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
