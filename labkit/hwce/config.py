"""The versions of the engine, as settings.

Marks in this package: [P] read in a primary source (register maps, drivers, published figures),
[D] derived, [M] measured, [A] an assumption.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

#: What every report says.
BASIS = "analytic, not validated on silicon"


@dataclass(frozen=True)
class HwceConfig:
    """One version of the Hardware Convolution Engine with the cluster around it.

    Args:
        name: shown in reports.
        half_up: add half a step before the shift (v4 [P]); else truncate (v2, v3 [P]).
        cores_half_up: the same of sums on the cores. There it is an instruction of the program, and
            no property of the engine: a network's run takes what its plan says [A].
        acc_group: input channels whose sum is rounded and saturated together; 1 in silicon [P],
            since y_in and y_out are 16-bit words in L1.
        ideal: one exact sum over all channels and one rounding; what the others cost is the
            difference from this.
        flip: true convolution (the filter turned by 180°); the drivers use cross-correlation [P].
        unsigned: pixels and outputs from 0 to 65535 instead of int16 [P]; pixels too [A].
        native: filters (rows, columns) that one pass computes [P].
        pointwise: where 1x1 filters run, for which there is no mode: "cores" (32-bit sums, one
            rounding) or "engine" (one tap of the smallest filter) [A].
        lanes_3x3: outputs at once of a native 3x3, for weights of 16, 8 and 4 bits: three at 16
            bits [P]; at 8 and 4 bits those of the vector mode [A].
        line_buffer: pixels of a stripe [P].
        stripe_3x3: pixels of a stripe of a native 3x3 [P].
        ports: 32-bit L1 ports [P].
        contention: factor on the run cycles with 1, 2, 3 and 4 lanes [A].
        drain: cycles to empty the pipeline after a job [A].
        core_macs_per_cycle: multiply-accumulates a cycle of all cores together [A].
        l1_bytes: of the cluster's shared memory, where stripes and partial sums live.
        l2_bytes: of the memory behind it.
        experimental: a preset whose rounding and modes are not published [A].

    Raises:
        ValueError: naming the setting that is out of range.
    """

    name: str
    half_up: bool = True
    cores_half_up: bool = True
    acc_group: int = 1
    ideal: bool = False
    flip: bool = False
    unsigned: bool = False
    native: tuple[tuple[int, int], ...] = ((5, 5),)
    pointwise: str = "cores"
    lanes_3x3: tuple[int, int, int] = (3, 2, 4)
    line_buffer: int = 32
    stripe_3x3: int = 30
    ports: int = 4
    contention: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    drain: int = 10
    core_macs_per_cycle: float = 8.0
    l1_bytes: int = 64 * 1024
    l2_bytes: int = 512 * 1024
    experimental: bool = False

    def __post_init__(self):
        """Check the settings."""
        for name, length in (("lanes_3x3", 3), ("contention", 4)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {length} numbers.")
        object.__setattr__(self, "native", tuple(tuple(shape) for shape in self.native))
        positive = ("acc_group", "line_buffer", "stripe_3x3", "ports", "core_macs_per_cycle")
        for name in (*positive, "l1_bytes", "l2_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number.")
        if self.pointwise not in ("cores", "engine"):
            raise ValueError(f"pointwise is {self.pointwise!r}, expected 'cores' or 'engine'.")
        if not self.native:
            raise ValueError("native is empty: an engine has at least one filter of its own.")

    @property
    def pixel_range(self) -> tuple[int, int]:
        """The smallest and largest word in L1."""
        return (0, 65535) if self.unsigned else (-32768, 32767)

    def with_(self, **settings) -> HwceConfig:
        """This configuration with some settings changed.

        Example:
            >>> GAP8.with_(ideal=True).ideal
            True
        """
        return dataclasses.replace(self, **settings)


#: v3, 65 nm: truncates; 3x3 filters are padded into 5x5 [P]. Four cores; contention and L2 [A].
FULMINE = HwceConfig(
    "fulmine",
    half_up=False,
    contention=(1.0, 1.07, 1.07, 1.57),
    core_macs_per_cycle=4.0,
    l2_bytes=192 * 1024,
)
#: v4, 55 nm: rounds half up, has 3x3 and 7x4 of its own [P]. Eight cores.
GAP8 = HwceConfig("gap8", native=((3, 3), (5, 5), (7, 4)))
#: v5, 22 nm: shift rounding and narrow pixel modes are unspecified, taken as in v4;
#: memories [A].
VEGA = HwceConfig(
    "vega",
    native=((3, 3), (5, 5), (7, 4)),
    l1_bytes=128 * 1024,
    l2_bytes=1536 * 1024,
    experimental=True,
)
#: The engine in an FPGA: sums of four input channels are rounded and saturated together [A].
NEURAGHE = HwceConfig("neuraghe", half_up=False, acc_group=4, native=((3, 3), (5, 5)))
#: GAP8's filters, with one exact sum and one rounding.
IDEAL = HwceConfig("ideal", ideal=True, native=((3, 3), (5, 5), (7, 4)))

PRESETS = {config.name: config for config in (FULMINE, GAP8, VEGA, NEURAGHE, IDEAL)}


def preset(name: str, **settings) -> HwceConfig:
    """A preset by name, with some settings changed.

    Raises:
        ValueError: naming the presets there are.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name].with_(**settings)
