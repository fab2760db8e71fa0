"""Networks with weights of four bits and fewer: trained with QKeras, written as real 4-bit files.

While it is trained, a QKeras layer keeps float weights and rounds them on every call; gradients
pass straight through the rounding. Its rounded weights are codes times a step, and those codes are
what a TFLite file with int4 or int2 weights stores.

Source: C. N. Coelho et al., *Automatic heterogeneous quantization of deep neural networks for
low-latency inference on the edge for particle detectors*, Nature Machine Intelligence 3 (2021).
"""

from labkit.compress.low_bit.cost import bits, energy
from labkit.compress.low_bit.network import (
    Codes,
    codes,
    left_in_float,
    load,
    quantize,
    quantized_layers,
    save,
    to_float,
    with_new_statistics,
)
from labkit.compress.low_bit.quantizers import (
    FOUR_BITS,
    Po2WithZero,
    quantizer,
    quantizer_values,
    rounded,
    training,
)
from labkit.compress.low_bit.scale import fitted_scale
from labkit.compress.low_bit.storage import MODES, convert

__all__ = [
    "FOUR_BITS",
    "MODES",
    "Codes",
    "Po2WithZero",
    "bits",
    "codes",
    "convert",
    "energy",
    "fitted_scale",
    "left_in_float",
    "load",
    "quantize",
    "quantized_layers",
    "quantizer",
    "quantizer_values",
    "rounded",
    "save",
    "to_float",
    "training",
    "with_new_statistics",
]
