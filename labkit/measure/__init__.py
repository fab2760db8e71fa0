"""Measuring model files: accuracy, size, latency, what is inside, and the ledger of it all.

Nothing here imports TensorFlow: a file is measured without the library that wrote it.
"""

from labkit.measure import hardware, micro, trajectory
from labkit.measure.accuracy import accuracy, compare, evaluate
from labkit.measure.coding import coding
from labkit.measure.graph import ModelFileError, read_graph
from labkit.measure.inspection import Inspection, inspect, weights
from labkit.measure.latency import Latency, latency
from labkit.measure.ledger import Ledger, LedgerError, front, summary
from labkit.measure.metrics import (
    ACCURACY,
    AVERAGE_DISTANCE_ERROR,
    MACRO_F1,
    MEAN_SQUARED_ERROR,
    WEIGHTED_F1,
    WEIGHTED_PRECISION,
    Metric,
    changed,
    confusion,
    printed,
    sqnr,
)
from labkit.measure.micro import MicroReport
from labkit.measure.published import published
from labkit.measure.size import Size, size
from labkit.measure.tflite import TFLiteModel

__all__ = [
    "ACCURACY",
    "AVERAGE_DISTANCE_ERROR",
    "MACRO_F1",
    "MEAN_SQUARED_ERROR",
    "WEIGHTED_F1",
    "WEIGHTED_PRECISION",
    "Inspection",
    "Latency",
    "Ledger",
    "LedgerError",
    "Metric",
    "MicroReport",
    "ModelFileError",
    "Size",
    "TFLiteModel",
    "accuracy",
    "changed",
    "coding",
    "compare",
    "confusion",
    "evaluate",
    "front",
    "hardware",
    "inspect",
    "latency",
    "micro",
    "printed",
    "published",
    "read_graph",
    "size",
    "sqnr",
    "summary",
    "trajectory",
    "weights",
]
