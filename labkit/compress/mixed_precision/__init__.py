"""Mixed precision: each layer of a network with as many bits as it needs, down to one.

A plan says how many; `memory` what it costs; `packed` computes with the bits. Which layers need
more than others `labkit.compress.significance` tells.

Source: Anirudh S, *Optimal Compression of Convolutional Neural Networks for Edge Devices*
(IIT Madras, 2022), sections 2.5 and 3.3; Rastegari et al., *XNOR-Net*, ECCV 2016; Chakraborty et
al., Nature Machine Intelligence 2, 2020 (Hybrid-Net).
"""

from labkit.compress.mixed_precision import packed
from labkit.compress.mixed_precision.layers import Precision
from labkit.compress.mixed_precision.memory import memory, reduction
from labkit.compress.mixed_precision.network import (
    Plan,
    checked,
    inner,
    plan_of,
    quantizable,
    quantize,
    to_float,
    uniform,
    within_one,
)

__all__ = [
    "Plan",
    "Precision",
    "checked",
    "inner",
    "memory",
    "packed",
    "plan_of",
    "quantizable",
    "quantize",
    "reduction",
    "to_float",
    "uniform",
    "within_one",
]
