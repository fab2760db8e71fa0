"""TFLite files as objects that can be changed: the one place that unpacks and packs them."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from labkit.errors import LabkitError

__all__ = ["IDENTIFIER", "ModelFileError", "pack", "schema", "unpack"]

IDENTIFIER = b"TFL3"


class ModelFileError(LabkitError):
    """A file that is not a TFLite model, is damaged, or cannot be run."""


def unpack(content: bytes) -> schema.ModelT:
    """The model of a `.tflite` file's content.

    Constants that stand behind the FlatBuffer, as ai-edge-quantizer writes more than 256 KiB of
    them, are among the buffers like all others.

    Raises:
        ModelFileError: not a TFLite file, or a truncated one.
    """
    if content[4:8] != IDENTIFIER:
        raise ModelFileError("not a TFLite file: the identifier TFL3 is missing.")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for buffer in model.buffers:
        if buffer.offset > 1:  # 1: written by a converter for "filled in later"
            if buffer.offset + buffer.size > len(content):
                raise ModelFileError("a truncated TFLite file: constants behind it are missing.")
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def pack(model: schema.ModelT, share: bool = False) -> bytes:
    """The content of a `.tflite` file of a model.

    Args:
        share: write vectors of the same numbers once, and let all that have them point there: the
            zero points of all layers with as many channels, for example.
    """
    builder = _Sharing(1 << 16) if share else flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _Sharing(flatbuffers.Builder):
    """Writes a vector of numbers once; vectors of tables, which point elsewhere, as always."""

    def __init__(self, size: int):
        super().__init__(size)
        self._places: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802 - the builder's name
        key = (x.dtype.str, x.tobytes())
        if key not in self._places:
            self._places[key] = super().CreateNumpyVector(x)
        return self._places[key]
