"""Files that may end the process that runs them, tried in another one first.

A kernel of the runtime that meets what it was not written for aborts, and takes the notebook with
it. Files of the operators that all kernels have in all types are run straight away.
"""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from labkit.measure.graph import Graph, ModelFileError

#: Run in every mode of conversion by the files of the labs.
_PROVEN = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "CONCATENATION", "PAD"),
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "RELU", "RELU6", "SOFTMAX", "LOGISTIC", "TANH"),
        *("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "SHAPE", "PACK", "STRIDED_SLICE", "TRANSPOSE"),
        *("QUANTIZE", "DEQUANTIZE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "REVERSE_V2"),
    }
)
_CHILD = Path(__file__).with_name("trial_child.py")
_SECONDS = 60


def survived(content: bytes, graph: Graph, where: str, reference: bool) -> None:
    """Run a file once in a process of its own, if its operators give a reason to.

    Args:
        content: of the file.
        graph: the same, read.
        where: what the error calls it.
        reference: with the plain kernels.

    Raises:
        ModelFileError: it ended that process.
    """
    strange = sorted({operator.name for operator in graph.operators} - _PROVEN)
    if not strange or _is_open(graph):
        return
    if end := _end(content, "reference" if reference else "fast"):
        types = sorted({tensor.type for tensor in graph.tensors if not tensor.is_constant})
        raise ModelFileError(
            f"{where} {end}: one of LiteRT's kernels does not bear what the file asks of it. Its "
            f"operators that may be the cause: {', '.join(strange)}; types: {', '.join(types)}. "
            "Convert the network in another mode."
        )


def _is_open(graph: Graph) -> bool:
    """Whether the inputs' size is not known before there are some."""
    return any(-1 in graph.tensors[i].signature[1:] for i in graph.inputs)


@functools.lru_cache(maxsize=32)
def _end(content: bytes, kernels: str) -> str:
    """How a file ended the process that ran it; empty if it did not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(content)
        command = [sys.executable, str(_CHILD), str(path), kernels]
        try:
            status = subprocess.run(command, capture_output=True, timeout=_SECONDS).returncode
        except (OSError, subprocess.TimeoutExpired):  # no processes here, or a long run: no reason
            return ""
    if 0 <= status < 1 << 31:  # Windows counts faults from there
        return ""
    how = signal.Signals(-status).name if status < 0 else hex(status)
    return f"ends the process that runs it ({how})"
