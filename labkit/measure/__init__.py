"""Measuring model files: what the file on disk does, not what the training script believed."""

from labkit.measure.inspection import Inspection, inspect, weights
from labkit.measure.ledger import Ledger, front, published, summary
from labkit.measure.tflite import (
    Latency,
    ModelFileError,
    Size,
    TFLiteModel,
    accuracy,
    latency,
    size,
)

__all__ = [
    "Inspection",
    "Latency",
    "Ledger",
    "ModelFileError",
    "Size",
    "TFLiteModel",
    "accuracy",
    "front",
    "inspect",
    "latency",
    "published",
    "size",
    "summary",
    "weights",
]
