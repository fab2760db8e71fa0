"""What the weights cost: bits, and QTools' estimate of energy."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

import pandas as pd
import qkeras
import tensorflow as tf
from qkeras import estimate
from qkeras.qtools import run_qtools, settings

from labkit.compress.low_bit.layers import kernel_of
from labkit.compress.low_bit.network import quantized_layers
from labkit.compress.low_bit.quantizers import quietly

#: Energy of a memory access grows with the memory: 16 MB, QTools' own default in its examples.
_SRAM_BITS = 8 * 16 * 1024 * 1024
_ENERGIES = {
    "reading inputs (nJ)": "inputs",
    "reading weights (nJ)": "parameters",
    "writing outputs (nJ)": "outputs",
    "operations (nJ)": "op_cost",
}


def bits(model: tf.keras.Model) -> pd.DataFrame:
    """Bits of the weights and biases, as `qkeras.print_qstats` counts them.

    Args:
        model: from `quantize`.

    Returns:
        a row per layer of `quantized_layers`: "weights", "bits of a weight", "biases", "bits of a
        bias", "size (bits)", and "size at 32 bits (bits)" of the same numbers.
    """
    rows = {}
    for layer in quantized_layers(model):
        kernel, quantise = kernel_of(layer)
        weights, biases = int(tf.size(kernel)), int(tf.size(layer.bias)) if layer.use_bias else 0
        each = estimate.get_quant_mode(quantise)[1]
        of_bias = estimate.get_quant_mode(layer.bias_quantizer_internal)[1] if biases else 0
        rows[layer.name] = {
            "weights": weights,
            "bits of a weight": each,
            "biases": biases,
            "bits of a bias": of_bias,
            "size (bits)": weights * each + biases * of_bias,
            "size at 32 bits (bits)": 32 * (weights + biases),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


@contextlib.contextmanager
def _kernels_of_any_rank() -> Iterator[None]:
    """QTools calls a 1-D convolution's kernel a fatal error, and then counts it as any other's."""
    logger = logging.getLogger("absl")

    def is_other(record: logging.LogRecord) -> bool:
        return "unsupported kernel shape" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def energy(model: tf.keras.Model, input_bits: int = 8) -> pd.DataFrame:
    """QTools' estimate of the energy of one image, on a chip that does just this network.

    Operations by the measured energies of a 45 nm process, memory by a model fitted to them;
    weights and activations lie in on-chip memory (SRAM). An estimate for comparing networks, not a
    measurement of any device.

    Args:
        model: from `quantize`, with quantised activations: without them QTools counts float32
            operations.
        input_bits: of a pixel.

    Returns:
        a row per layer: energy in nJ of "reading inputs", "reading weights", "writing outputs",
        "operations", and "total", of what QTools counts for that kind of layer.

    Source: M. Horowitz, *Computing's energy problem*, ISSCC 2014; Coelho et al., section 3.
    """
    pixel = qkeras.quantized_bits(input_bits, 0, 0, keep_negative=False)
    with contextlib.redirect_stdout(io.StringIO()), quietly(), _kernels_of_any_rank():
        tools = run_qtools.QTools(
            model,
            process="horowitz",
            source_quantizers=[pixel] * len(model.inputs),
            is_inference=False,
            keras_quantizer="fp32",
            keras_accumulator="fp32",
        )
        found = tools.pe("sram", "sram", min_sram_size=_SRAM_BITS, rd_wr_on_io=False)
        profile = tools.extract_energy_profile(settings.cfg.include_energy, found)
    rows = {
        name: {label: item["energy"][key] / 1000 for label, key in _ENERGIES.items()}
        | {"total (nJ)": item["total"] / 1000}
        for name, item in profile.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")
