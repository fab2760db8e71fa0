"""Writes a network in the formats of other tools, and checks each file before it is there."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import tensorflow as tf

from labkit import files, measure, runtime, training
from labkit.compress import fixed_point, post_training
from labkit.compress.fixed_point import portable
from labkit.models import weights
from labkit.net import NetError, coreml
from labkit.net.task import Task

#: Probabilities of an exact copy may differ by this much: float32, summed in another order.
TOLERANCE = 1e-4

_OPSET = 17


@dataclass(frozen=True)
class Exported:
    """A file that was written, and what was found when it was checked.

    Attributes:
        path: the file, or folder of a Core ML package.
        bytes: of its content.
        check: how it was checked and what came out, one line.
    """

    path: Path
    bytes: int
    check: str


def export(
    task: Task, model: tf.keras.Model, path: Path, kind: str = "float", images: int = 32
) -> Exported:
    """Write a network in the format that the name's suffix says, checked, or not at all.

    Args:
        task: the images that the file is checked on, and that "int8" and "int16x8" are calibrated
            on.
        model: the network; also with quantised convolutions.
        path: `.tflite`; `.h5`, Keras's, which `tf.keras.models.load_model` reads; `.onnx`;
            `.mlpackage`, Core ML's, which takes a picture and names its class; `.npz`, the weights
            alone.
        kind: "float"; also "float16" for TFLite and Core ML; "dynamic_range", "int8" and "int16x8"
            for TFLite.
        images: how many validation images the file is checked on.

    Raises:
        NetError: a suffix or kind that does not exist, a package is missing, or the file does not
            do what the network does.
    """
    if path.suffix not in _FORMATS:
        raise NetError(f"{path}: expected a name that ends in {', '.join(_FORMATS)}.")
    kinds, write = _FORMATS[path.suffix]
    if kind not in kinds:
        raise NetError(f"--kind is {kind!r}, expected for {path.suffix} one of {', '.join(kinds)}.")
    x, _ = task.sample(images)
    return write(task, model, path, kind, x)


def _tflite(task: Task, model, path: Path, kind: str, x: np.ndarray) -> Exported:
    # A quantised network's kernels are codes: floats would take eight times the room of four bits.
    content = (
        fixed_point.convert(model)
        if kind == "float"
        else post_training.convert(portable(model), kind, x)
    )
    found = measure.TFLiteModel(content).predict(x)
    check = _compared(model, x, found, path, "LiteRT", exact=kind == "float")
    files.write_bytes(path, content)
    return Exported(path, len(content), check)


def _hdf5(task: Task, model, path: Path, kind: str, x: np.ndarray) -> Exported:
    with files.replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that .keras is newer
        model.save(temporary, include_optimizer=False)
        found = training.predictor(tf.keras.models.load_model(temporary, compile=False))(x)
        check = _compared(model, x, found, path, "Keras, loaded again")
        return Exported(path, temporary.stat().st_size, check)


def _weights(task: Task, model, path: Path, kind: str, x: np.ndarray) -> Exported:
    with files.replacing(path) as temporary:
        weights.save(model, temporary)
        found = training.predictor(weights.load(portable(model), temporary))(x)
        check = _compared(model, x, found, path, "Keras, loaded again")
        size = temporary.stat().st_size
    task.describe(path)
    return Exported(path, size, check)


def _onnx(task: Task, model, path: Path, kind: str, x: np.ndarray) -> Exported:
    onnx, onnxruntime, tf2onnx = (_extra(name) for name in ("onnx", "onnxruntime", "tf2onnx"))
    signature = [tf.TensorSpec((None, *task.preprocessing.shape), tf.float32, "images")]
    with _quiet("tf2onnx"):
        proto, _ = tf2onnx.convert.from_keras(
            portable(model), input_signature=signature, opset=_OPSET
        )
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    for key, value in _facts(task).items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto)
    with files.replacing(path) as temporary:
        onnx.save(proto, temporary)
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        found = np.concatenate([session.run(None, {"images": image[None]})[0] for image in x])
        check = _compared(model, x, found, path, "ONNX Runtime")
        return Exported(path, temporary.stat().st_size, check)


def _coreml(task: Task, model, path: Path, kind: str, x: np.ndarray) -> Exported:
    if path.exists():
        raise NetError(f"{path} exists: delete it, or name another one.")
    with _quiet("coremltools"):
        tools = _extra("coremltools")
        package = coreml.convert(tools, task, portable(model), half=kind == "float16")
        package.user_defined_metadata.update(_facts(task))
        check = coreml.checked(tools, task, model, package)
        with files.new_folder(path) as temporary:
            # It writes no package to a name without the suffix.
            inner = temporary / path.name
            package.save(str(inner))
            for part in inner.iterdir():
                part.rename(temporary / part.name)
            inner.rmdir()
    return Exported(path, sum(p.stat().st_size for p in path.rglob("*") if p.is_file()), check)


_FORMATS: dict[str, tuple[tuple[str, ...], Callable]] = {
    ".tflite": (post_training.MODES, _tflite),
    ".h5": (("float",), _hdf5),
    ".onnx": (("float",), _onnx),
    ".mlpackage": (("float", "float16"), _coreml),
    ".npz": (("float",), _weights),
}


def _compared(
    model, x: np.ndarray, found: np.ndarray, path: Path, runtime_name: str, exact: bool = True
) -> str:
    """One line about what a file gives beside what the network gives.

    Raises:
        NetError: an exact copy differs, or gives another class; nothing was written.
    """
    expected = training.predictor(model)(x)
    difference = float(np.abs(found - expected).max())
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    # Of two classes that are as probable as each other, either may come first.
    best = np.take_along_axis(found, expected.argmax(axis=1)[:, None], axis=1)[:, 0]
    same |= found.max(axis=1) - best <= TOLERANCE * exact
    if exact and not (difference <= TOLERANCE and same.all()):
        raise NetError(
            f"{path} was not written: in {runtime_name} its probabilities differ from the "
            f"network's by up to {difference:.2g}, and {np.sum(~same)} of {len(x)} images get "
            "another class."
        )
    return (
        f"{runtime_name}: same class for {np.sum(same)} of {len(x)} images, probabilities differ "
        f"by up to {difference:.2g}"
    )


def _facts(task: Task) -> dict[str, str]:
    """What a user of the file has to know, for its metadata."""
    return {
        "preprocessing": json.dumps(asdict(task.preprocessing)),
        "classes": json.dumps(task.class_names),
    }


def _extra(name: str) -> ModuleType:
    """A package of labkit's extra `export`.

    Raises:
        NetError: it is not installed; says how it is.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NetError(
            f"{name} is missing. In labkit's folder: python -m pip install -e '.[export]' "
            "(coremltools has packages for macOS, and for Linux on x86-64)."
        ) from error


@contextlib.contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Without a converter's chatter: its log, its bars, its warnings of versions."""
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    with runtime.captured_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
