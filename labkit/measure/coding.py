"""How many bits the weights of a file need, once they are written in a code that suits them.

TFLite stores every weight at its full width. Clustering and pruning pay only where a code uses
them: a codebook with short indices, a mask of what is not zero, or the gaps between non-zeros.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from labkit.measure.graph import Tensor
from labkit.measure.inspection import Inspection, channels, inspect

#: Codes that a decoder can read; "entropy (bits)" is what no code of single weights goes below.
CODES = ("dense (bits)", "codebook (bits)", "mask (bits)", "index (bits)")

_GAP_WIDTHS = range(1, 13)


def coding(source: str | Path | bytes | Inspection) -> pd.DataFrame:
    """Bits of every weight and bias tensor of a file under four lossless codes.

    Args:
        source: path of the `.tflite` file, its bytes, or what `inspect` has found in it.

    Returns:
        a row per tensor, in the order of use, with "layer", "role", "values" (n), "unique" (N,
        among the stored codes), "sparsity", and in bits

        - "dense (bits)": n·b, as a file has it that is not sparse, b being the width of a code;
        - "codebook (bits)": n·⌈log₂N⌉ + N·b, an index a weight and the N shared values (Han, Mao
          & Dally, ICLR 2016, section 3); of the whole tensor, or with a codebook for each output
          channel, whichever is shorter;
        - "mask (bits)": one bit a weight that says whether it is zero, and the others' values;
        - "index (bits)": for each non-zero weight its value and the gap to the one before, with
          filler zeros where the gap does not fit (ibid., section 2), at the best width of the gap;
        - "entropy (bits)": n·H + N·b, H being the entropy of the codes' histogram: the bound for
          a code that writes weights one by one, for example Huffman's, its table included;
        - "best (bits)": the shortest of the first four.

        Mask and index take values from a codebook where that is shorter.

    Raises:
        ModelFileError: not a model, or damaged.

    Example:
        >>> table = coding("sign_mnist_pruned.tflite")
        >>> table["best (bits)"].sum() / 8  # bytes
    """
    inspection = source if isinstance(source, Inspection) else inspect(source)
    rows = []
    for weight in inspection.weights.itertuples():
        tensor = inspection.graph.tensors[weight.tensor]
        bits = _bits(tensor, weight.operator, weight.role)
        rows.append(
            {
                "layer": weight.layer,
                "role": weight.role,
                "values": weight.values,
                "unique": weight.unique,
                "sparsity": weight.sparsity,
                **bits,
                "best (bits)": min(bits[code] for code in CODES),
            }
        )
    return pd.DataFrame(rows)


def _bits(tensor: Tensor, operator: str, role: str) -> dict[str, int]:
    dense = 8 * -(-tensor.count * tensor.bits // 8)
    codes = tensor.codes
    nonzero = (codes != tensor.along_axis(tensor.zero_points)) if len(tensor.scales) else codes != 0
    groups = channels(tensor, operator, role)
    return {
        "dense (bits)": dense,
        "codebook (bits)": min(
            _codebook(codes, tensor.bits), sum(_codebook(group, tensor.bits) for group in groups)
        ),
        "mask (bits)": codes.size + _values(codes[nonzero], tensor.bits),
        "index (bits)": _index(codes.ravel(), nonzero.ravel(), tensor.bits),
        "entropy (bits)": _entropy(codes, tensor.bits),
    }


def _codebook(codes: np.ndarray, width: int) -> int:
    shared = len(np.unique(codes))
    return codes.size * index_width(shared) + shared * width


def index_width(count: int) -> int:
    """Bits that tell `count` things apart."""
    return (max(int(count), 1) - 1).bit_length()


def _values(codes: np.ndarray, width: int) -> int:
    return min(codes.size * width, _codebook(codes, width))


def _index(codes: np.ndarray, nonzero: np.ndarray, width: int) -> int:
    """Bits of gaps and values; a gap of w bits says how many zeros come before, up to 2^w - 1.

    A longer run of zeros takes fillers, each a zero that is written as if it were a weight.
    """
    positions = np.flatnonzero(nonzero)
    zeros_before = np.diff(positions, prepend=-1) - 1
    best = None
    for gap in _GAP_WIDTHS:
        fillers = int((zeros_before >> gap).sum())  # each covers 2^w zeros, itself included
        written = codes[positions]
        if fillers:
            written = np.append(written, np.full(fillers, codes[~nonzero][0]))
        bits = gap * written.size + _values(written, width)
        best = bits if best is None else min(best, bits)
    return best


def _entropy(codes: np.ndarray, width: int) -> int:
    counts = np.unique(codes, return_counts=True)[1]
    frequencies = counts / max(codes.size, 1)
    information = -(frequencies * np.log2(frequencies)).sum() * codes.size
    return int(np.ceil(information)) + len(counts) * width
