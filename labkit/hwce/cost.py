"""What a convolution costs on the engine: cycles, energy, memory.

Everything here is analytic, not validated on silicon. Marks: [P] read in a primary source, [D]
derived, [A] an assumption.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

from labkit.hwce import tiling
from labkit.hwce.config import BASIS, HwceConfig
from labkit.hwce.job import Geometry


@dataclass(frozen=True)
class Work:
    """One layer for one image, as far as the costs are concerned.

    Args:
        geometry: its shape.
        parts: how the filter is computed.
        config: the engine.
        weight_bits: of a weight; the container is 16, 8 or 4 bits wide.
        input_bits: of an input.
        output_bits: of an output.
    """

    geometry: Geometry
    parts: tiling.Decomposition
    config: HwceConfig
    weight_bits: int = 16
    input_bits: int = 16
    output_bits: int = 16

    @property
    def on_engine(self) -> bool:
        """Whether the engine computes it, rather than the cores."""
        return self.parts.unit == "engine"

    @property
    def container(self) -> int:
        """Bits of a stored weight: a mode of the engine; whole bytes on the cores [A]."""
        bits = min(b for b in (4, 8, 16) if b >= self.weight_bits)
        return bits if self.on_engine else max(bits, 8)

    @property
    def lanes(self) -> int:
        """Output maps of a job."""
        if not self.on_engine:
            return 1
        return tiling.lanes(self.parts.native, self.container, self.config)

    @property
    def groups(self) -> list[int]:
        """Output maps of each group that is computed at once."""
        full, rest = divmod(self.geometry.outputs, self.lanes)
        return [self.lanes] * full + [rest] * bool(rest)

    @property
    def jobs(self) -> int:
        """Input channels times passes times groups of output maps; stripes not counted."""
        if not self.on_engine:
            return 0
        return self.geometry.channels * len(self.parts.passes) * len(self.groups)

    @property
    def line(self) -> int:
        """Pixels of a padded line; the engine's are even [P]."""
        width = self.geometry.padded[1]
        return width + width % 2 if self.on_engine else width

    @property
    def padding_pixels(self) -> int:
        """Zeros that are written around the input."""
        g = self.geometry
        return (g.padded[0] * self.line - g.height * g.width) * g.channels

    @property
    def dropped_outputs(self) -> int:
        """Outputs that the engine computes and a stride, or an even width, drops."""
        if not self.on_engine:
            return 0
        g = self.geometry
        return (g.dense[0] * (self.line - g.kernel[1] + 1) - math.prod(g.out)) * g.outputs


@dataclass(frozen=True)
class Cycles:
    """Cycles of a layer for one image; analytic, not validated on silicon.

    Args:
        weights: loading filters.
        fill: filling the line buffer.
        run: pixels passing through, one a cycle [P].
        stalls: waiting for L1, by its ports and by contention.
        drain: emptying the pipeline.
        cores: multiply-accumulates in software [A], and sliding the outputs together.
    """

    weights: int = 0
    fill: int = 0
    run: int = 0
    stalls: int = 0
    drain: int = 0
    cores: int = 0

    @property
    def total(self) -> int:
        """All of them: nothing overlaps."""
        return sum(_values(self))

    def __add__(self, other: Cycles) -> Cycles:
        """Cycles of two things after each other."""
        return Cycles(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def __mul__(self, times: int) -> Cycles:
        """Cycles of the same thing several times."""
        return Cycles(*(times * value for value in _values(self)))


def _values(cycles: Cycles) -> list[int]:
    return [getattr(cycles, part.name) for part in fields(cycles)]


def job_cycles(
    native: tuple[int, int],
    lines: int,
    stripe: tiling.Stripe,
    maps: int,
    weight_bits: int,
    reads_y: bool,
    config: HwceConfig,
) -> Cycles:
    """One job on one stripe.

    C = ⌈n_w/2⌉ + C_pre + OH · max(2L, ⌈(1 + nv + nv·[y_in]) · OW_w / 4⌉) + C_drain, with L words a
    stripe line, OW_w words an output line, nv output streams, and C_pre = 2L+4 (3x3), 4L+4 (5x5),
    3L+4 (7x4) [P].

    Args:
        native: rows and columns of the filter.
        lines: rows of the output.
        stripe: the strip of the line.
        maps: output streams, nv.
        weight_bits: of the container.
        reads_y: whether y_in is a map in L1, and not a constant.
        config: ports, contention and drain.
    """
    words, out_words = math.ceil(stripe.width / 2), math.ceil(stripe.outputs / 2)
    lead = {(3, 3): 2, (5, 5): 4, (7, 4): 3}.get(tuple(native), native[0] - 1)
    streams = 1 + maps + maps * reads_y
    line = 2 * words
    ports = max(line, math.ceil(streams * out_words / config.ports))
    factor = config.contention[min(maps, 4) - 1]
    return Cycles(
        weights=math.ceil(tiling.block_half_words(native, weight_bits, maps) / 2),
        fill=lead * words + 4,
        run=lines * line,
        stalls=math.ceil(lines * ports * factor) - lines * line,
        drain=config.drain,
    )


@lru_cache(1024)
def cycles(work: Work) -> Cycles:
    """Cycles of a layer for one image.

    Outputs are computed without stride, on lines of even width. What runs on the cores takes
    `HwceConfig.core_macs_per_cycle` [A].
    """
    g, config = work.geometry, work.config
    if not work.on_engine:
        return Cycles(cores=math.ceil(g.macs / config.core_macs_per_cycle))
    native, passes = work.parts.native, len(work.parts.passes)
    # A pass of a larger filter sees a window of the line: as many outputs as the whole filter has.
    width = work.line - g.kernel[1] + native[1]
    width += width % 2
    total = Cycles()
    for maps in set(work.groups):
        groups = work.groups.count(maps)
        for stripe in tiling.stripes(width, native, config):
            first, others = (
                job_cycles(native, g.dense[0], stripe, maps, work.container, reads, config)
                for reads in (False, True)
            )
            total += first * groups + others * (groups * (g.channels * passes - 1))
    return total


@dataclass(frozen=True)
class Anchor:
    """A published efficiency of the engine.

    Args:
        pj_per_mac: picojoules of a multiply-accumulate at nominal conditions.
        voltage: V0 [A]: the voltage that the figure is taken to hold for.
        source: what was published [P]; the figure a MAC is derived from it [D].
    """

    pj_per_mac: float
    voltage: float
    source: str


ANCHORS = {
    "28 nm": Anchor(1.4, 0.8, "DATE 2015, synthesis in 28 nm: 35 pJ a 5x5 pixel, 6.5 at best"),
    "fulmine": Anchor(2.0, 0.8, "Fulmine, 65 nm: 50 pJ a 5x5 pixel"),
    "gap8": Anchor(1.67, 1.0, "GAP8, 55 nm, peak: 600 GMAC/s/W"),
    "vega": Anchor(1.54, 0.6, "Vega, 22 nm: 1.3 TOPS/W"),
}
#: Multiply-accumulates of the window that the anchors count.
_ANCHOR_WINDOW = 25
#: Horowitz's table for 45 nm, as QKeras's QTools uses it: pJ, b bits.
_FLOAT_MULTIPLY, _FLOAT_ADD, _DRAM_BIT = 3.7, 0.9, 20.3


@dataclass(frozen=True)
class Energy:
    """Energy of a layer for one image, in microjoules; analytic, not validated on silicon.

    Args:
        anchors: by published anchor; empty on the cores, for which none is known.
        arithmetic: parametric model, fixed-point multiply-accumulates.
        float_arithmetic: the same in 32-bit floating point, to compare with.
        weights_from_dram: reading the weights once from external memory.
    """

    anchors: dict[str, float]
    arithmetic: float
    float_arithmetic: float
    weights_from_dram: float

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest over the anchors; NaN on the cores."""
        values = self.anchors.values()
        return (min(values), max(values)) if values else (math.nan, math.nan)


def multiply_pj(bits: int) -> float:
    """A fixed-point multiplication, 45 nm: 0.002995 b² + 0.001042 b pJ (Horowitz, via QTools)."""
    return 0.002995 * bits**2 + 0.001042 * bits


def add_pj(bits: int) -> float:
    """A fixed-point addition, 45 nm: 0.003125 b pJ (Horowitz, via QTools)."""
    return 0.003125 * bits


def energy(work: Work, voltage: float | None = None) -> Energy:
    """Energy of a layer for one image.

    Anchor model: an engine cycle costs the same whatever the lanes hold, so an output costs 1/nv
    [A]; every window position counts as one of the 25 MACs that the anchors were published for
    [A]; scaled by (V / V0)² where a voltage is given [A].

    Parametric model, for comparison only: multiplications as wide as the wider operand, additions
    of 32 bits.

    Args:
        work: the layer.
        voltage: of the supply, in volts; None for each anchor's own.

    Raises:
        ValueError: the voltage is not positive.
    """
    if voltage is not None and voltage <= 0:
        raise ValueError(f"voltage is {voltage}, expected positive volts.")
    g = work.geometry
    anchors = {}
    if work.on_engine:
        positions = work.jobs * g.dense[0] * (work.line - g.kernel[1] + 1)
        for name, anchor in ANCHORS.items():
            scale = (voltage / anchor.voltage) ** 2 if voltage else 1.0
            anchors[name] = positions * _ANCHOR_WINDOW * anchor.pj_per_mac * scale * 1e-6
    one = multiply_pj(max(work.weight_bits, work.input_bits)) + add_pj(32)
    weights = math.prod(g.kernel) * g.channels * g.outputs
    return Energy(
        anchors,
        arithmetic=g.macs * one * 1e-6,
        float_arithmetic=g.macs * (_FLOAT_MULTIPLY + _FLOAT_ADD) * 1e-6,
        weights_from_dram=weights * work.weight_bits * _DRAM_BIT * 1e-6,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes of a layer for one image; analytic, not validated on silicon.

    Args:
        weights: as stored: filters in 16-bit words with padding [P], whole bytes on the cores [A].
        weights_ideal: every weight in its own bits, side by side.
        input: 2 bytes per pixel [P].
        input_ideal: every input in its own bits.
        output: 2 bytes per pixel [P].
        output_ideal: every output in its own bits.
        tiling: row tiles in L1 with double buffers.
        fits_l2: whether weights, input and output lie in L2 together.
    """

    weights: int
    weights_ideal: int
    input: int
    input_ideal: int
    output: int
    output_ideal: int
    tiling: tiling.Tiling
    fits_l2: bool


def memory(work: Work) -> Memory:
    """Memory of a layer for one image.

    L1 holds one input channel and one group of output maps at a time; on the cores all input
    channels and sixteen output maps [A].
    """
    g = work.geometry
    weights = g.channels * g.outputs * math.prod(g.kernel)
    if work.on_engine:
        blocks = sum(
            tiling.block_half_words(work.parts.native, work.container, maps) for maps in work.groups
        )
        stored = 2 * blocks * g.channels * len(work.parts.passes)
    else:
        stored = weights * work.container // 8
    inputs, outputs = g.height * g.width * g.channels, math.prod(g.out) * g.outputs
    at_once = (1, work.lanes) if work.on_engine else (g.channels, min(16, g.outputs))
    lines, out_width = g.dense if work.on_engine else g.out
    tiles = tiling.tile(
        lines,
        work.line,
        out_width,
        g.kernel[0],
        g.channels,
        g.outputs,
        at_once,
        stored,
        work.config,
    )
    return Memory(
        weights=stored,
        weights_ideal=math.ceil(weights * work.weight_bits / 8),
        input=2 * inputs,
        input_ideal=math.ceil(inputs * work.input_bits / 8),
        output=2 * outputs,
        output_ideal=math.ceil(outputs * work.output_bits / 8),
        tiling=tiles,
        fits_l2=stored + 2 * (inputs + outputs) <= work.config.l2_bytes,
    )


__all__ = [
    "ANCHORS", "BASIS", "Anchor", "Cycles", "Energy", "Memory", "Work", "add_pj", "cycles",
    "energy", "job_cycles", "memory", "multiply_pj",
]  # fmt: skip
