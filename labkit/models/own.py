"""A student's own network, described in the output folder, so that later labs carry it.

What is kept is the architecture, as Keras writes it in JSON; each lab trains it, or loads the
weights that an earlier one has trained.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from types import ModuleType

import tensorflow as tf

from labkit import files
from labkit.errors import LabkitError
from labkit.models import rules
from labkit.training import Network

#: What it is called, whatever its author called it: its files are found by this name.
NAME = "own_network"


class OwnNetworkError(LabkitError):
    """A description that cannot be read."""


def keep(folder: str | Path, model: tf.keras.Model) -> Path:
    """Write the architecture of a model to `folder`/baseline/own_network.json.

    Raises:
        rules.RuleError: it breaks a rule of the lab sheet.
    """
    rules.check(model)
    return files.write_text(_path(folder), model.to_json(indent=1) + "\n")


def find(folder: str | Path, default: ModuleType) -> Network | ModuleType:
    """The network that is kept there; `default` where there is none, or where it is the same one.

    Args:
        default: a module of `labkit.models` with `build` and `RECIPES`; its recipes train both.

    Raises:
        OwnNetworkError: the description is damaged.
    """
    path = _path(folder)
    if not path.exists():
        return default
    try:
        model = tf.keras.models.model_from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError) as error:
        raise OwnNetworkError(f"{path} is damaged ({error}): run lab 01 again.") from error
    if _described(model) == _described(default.build()):
        return default

    def build() -> tf.keras.Model:
        inputs = tf.keras.models.clone_model(model)
        return tf.keras.Model(inputs.inputs, inputs.outputs, name=NAME)

    return Network(build, default.RECIPES, {"network": zlib.crc32(_described(model).encode())})


def _path(folder: str | Path) -> Path:
    return Path(folder) / "baseline" / f"{NAME}.json"


def _described(model: tf.keras.Model) -> str:
    """Its layers and how they are wired, whatever it is called."""
    return json.dumps(json.loads(model.to_json())["config"] | {"name": ""}, sort_keys=True)
