"""A bit-true emulator of PULP's Hardware Convolution Engine (HWCE).

The bits are those of the engine's documents; cycles, energy and memory are analytic, not
validated on silicon.

    q = QFormat(bits=8, msb=0)
    w = q.codes(kernel, "nearest")
    r = conv2d(x, w, bias, GAP8, qf=9, weight_bits=8)
    r.y, r.saturations, r.cycles, r.energy, r.memory

Source: F. Conti and L. Benini, "A ultra-low-energy convolution engine for fast brain-inspired
vision in multicore clusters", DATE 2015; the platforms' register maps and drivers.
"""

from labkit.hwce.config import (
    BASIS,
    FULMINE,
    GAP8,
    IDEAL,
    NEURAGHE,
    PRESETS,
    VEGA,
    HwceConfig,
    preset,
)
from labkit.hwce.engine import Result, Step, conv2d, trace
from labkit.hwce.formats import (
    EmulatedPrecisionWarning,
    QFormat,
    msb_for,
    msb_of_least_error,
    requantize,
)
from labkit.hwce.job import Kernel
from labkit.hwce.network import differences, run, window
from labkit.hwce.network_result import NetworkResult
from labkit.hwce.operations import Activation
from labkit.hwce.plan import LayerPlan, Plan, Ranges
from labkit.hwce.windows import Window

__all__ = [
    "BASIS",
    "FULMINE",
    "GAP8",
    "IDEAL",
    "NEURAGHE",
    "PRESETS",
    "VEGA",
    "Activation",
    "EmulatedPrecisionWarning",
    "HwceConfig",
    "Kernel",
    "LayerPlan",
    "NetworkResult",
    "Plan",
    "QFormat",
    "Ranges",
    "Result",
    "Step",
    "Window",
    "conv2d",
    "differences",
    "msb_for",
    "msb_of_least_error",
    "preset",
    "requantize",
    "run",
    "trace",
    "window",
]
