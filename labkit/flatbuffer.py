"""TFLite files as objects that can be changed: the one place that unpacks and packs them."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from labkit.errors import LabkitError

__all__ = ["IDENTIFIER", "ModelFileError", "pack", "schema", "unpack"]

IDENTIFIER = b"TFL3"


class ModelFileError(LabkitError):
    """A file that is not a TFLite model, is damaged, or cannot be run."""


def unpack(content: bytes) -> schema.ModelT:
    """The model of a `.tflite` file's content.

    Raises:
        ModelFileError: not a TFLite file.
    """
    if content[4:8] != IDENTIFIER:
        raise ModelFileError("not a TFLite file: the identifier TFL3 is missing.")
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def pack(model: schema.ModelT) -> bytes:
    """The content of a `.tflite` file of a model."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
