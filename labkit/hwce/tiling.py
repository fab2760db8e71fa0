"""How a layer is cut up for the engine: filters into passes, lines into stripes, maps into tiles.

Source: the drivers' register maps and loops [P]; what they do not say is marked [A].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labkit.hwce.config import HwceConfig
from labkit.hwce.formats import WEIGHT_BITS, container_bits

#: 16-bit words of one weight block of each native filter, by number of 16-bit filters in it:
#: padded to whole 32-bit words [P].
_BLOCK_HALF_WORDS = {
    (3, 3): {1: 10, 2: 18, 3: 28},
    (5, 5): {1: 26},
    (7, 4): {1: 28},
}


@dataclass(frozen=True)
class Pass:
    """A window of a filter, `height` rows from `row` on, columns alike: what one pass computes."""

    row: int
    column: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Of the filter."""
        return slice(self.row, self.row + self.height)

    @property
    def columns(self) -> slice:
        """Of the filter."""
        return slice(self.column, self.column + self.width)


@dataclass(frozen=True)
class Decomposition:
    """How a filter is computed.

    Args:
        unit: "engine", or "cores": int32 sums in software, one rounding.
        native: rows and columns of the engine's own filter, into which each pass is zero-padded;
            the whole filter on the cores.
        passes: in the order in which they are summed.
    """

    unit: str
    native: tuple[int, int]
    passes: tuple[Pass, ...]


def decompose(height: int, width: int, config: HwceConfig) -> Decomposition:
    """Passes of native filters that make up a filter.

    A filter that fits into a native one is a single pass, zero-padded. Up to 7x8, two 7x4 where
    there are any [P]; else a grid of 5x5: 11x11 takes nine [P]. 1x1 goes where the configuration
    says [A].

    Args:
        height: rows of the filter.
        width: columns of the filter.
        config: which filters are native.

    Example:
        >>> [p.column for p in decompose(7, 7, GAP8).passes]
        [0, 4]
    """
    if height < 1 or width < 1:
        raise ValueError(f"the filter is {height}x{width}, expected at least 1x1.")
    if (height, width) == (1, 1) and config.pointwise == "cores":
        return Decomposition("cores", (1, 1), (Pass(0, 0, 1, 1),))
    fitting = [n for n in config.native if height <= n[0] and width <= n[1]]
    if fitting:
        native = min(fitting, key=math.prod)
    elif (7, 4) in config.native and height <= 7 and width <= 8:
        native = (7, 4)
    else:
        native = (5, 5) if (5, 5) in config.native else max(config.native, key=math.prod)
    rows, columns = native
    return Decomposition(
        "engine",
        native,
        tuple(
            Pass(i, j, min(rows, height - i), min(columns, width - j))
            for i in range(0, height, rows)
            for j in range(0, width, columns)
        ),
    )


def lanes(native: tuple[int, int], weight_bits: int, config: HwceConfig) -> int:
    """Output maps that a job computes at once: 1, 2 or 4 by the width of the weights' container.

    A native 3x3 has its own number, `HwceConfig.lanes_3x3`.
    """
    bits = container_bits(weight_bits)
    return config.lanes_3x3[WEIGHT_BITS.index(bits)] if native == (3, 3) else 16 // bits


def block_half_words(native: tuple[int, int], weight_bits: int, maps: int) -> int:
    """16-bit words of the weights of one job, with padding.

    Args:
        native: rows and columns of the engine's filter.
        weight_bits: of the container, 16, 8 or 4.
        maps: output maps in the job.
    """
    words = math.ceil(maps * weight_bits / 16)  # filters side by side, or maps in one word
    known = _BLOCK_HALF_WORDS.get(tuple(native), {})
    return known.get(words, 2 * math.ceil(words * math.prod(native) / 2))


@dataclass(frozen=True)
class Stripe:
    """A vertical strip: input columns first … first + width give outputs columns, from first on."""

    first: int
    width: int
    outputs: int


def stripes(width: int, native: tuple[int, int], config: HwceConfig) -> list[Stripe]:
    """Strips of a line that fit the line buffer; neighbours share K - 1 columns.

    A line of 32 takes 3x3 filters in a strip of 30 and a narrow one for the last two columns [A].

    Args:
        width: pixels of a line of the input.
        native: rows and columns of the engine's filter.
        config: width of the line buffer.

    Raises:
        ValueError: a line that is narrower than the filter.
    """
    halo = native[1] - 1
    if width <= halo:
        raise ValueError(f"a line of {width} pixels is narrower than the {native[1]}-wide filter.")
    longest = config.line_buffer
    if tuple(native) == (3, 3):
        longest = min(longest, config.stripe_3x3)
    if longest <= halo:
        raise ValueError(f"a stripe of {longest} pixels cannot hold a filter {native[1]} wide.")
    step = longest - halo
    return [
        Stripe(first, min(longest, width - first), min(step, width - halo - first))
        for first in range(0, width - halo, step)
    ]


@dataclass(frozen=True)
class Tiling:
    """Row tiles of a layer in L1, each buffer twice, so that the transfer hides behind the work.

    Args:
        rows: output rows of a tile; 0 if not even one fits.
        tiles: number of tiles from top to bottom.
        bytes: of L1 that the buffers take.
        traffic_bytes: moved between L2 and L1 for the whole layer: the inputs once for each group
            of output maps, the weights once a tile, the outputs once.
    """

    rows: int
    tiles: int
    bytes: int
    traffic_bytes: int

    @property
    def fits(self) -> bool:
        """Whether at least one row of outputs fits."""
        return self.rows > 0


def tile(
    lines: int,
    width: int,
    out_width: int,
    filter_rows: int,
    inputs: int,
    outputs: int,
    at_once: tuple[int, int],
    weight_bytes: int,
    config: HwceConfig,
) -> Tiling:
    """The highest row tiles that fit L1 twice.

    Args:
        lines: rows of the output, before a stride skips any.
        width: columns of the padded input.
        out_width: columns of the output.
        filter_rows: of the whole filter.
        inputs: input channels.
        outputs: output channels.
        at_once: input and output channels that lie in L1 at once.
        weight_bytes: of the whole layer, as stored.
        config: size of L1.
    """
    channels, maps = at_once
    groups = math.ceil(outputs / maps)
    block = math.ceil(weight_bytes * channels * maps / (inputs * outputs))
    # 2 bytes per pixel, every buffer twice: rows of input and output (also partial sums), weights.
    per_row = 4 * (channels * width + maps * out_width)
    fixed = 4 * channels * width * (filter_rows - 1) + 2 * block
    rows = min(lines, max(0, (config.l1_bytes - fixed) // per_row))
    if rows == 0:
        return Tiling(0, 0, fixed + per_row, 0)
    tiles = math.ceil(lines / rows)
    read = 2 * width * (lines + tiles * (filter_rows - 1)) * inputs * groups
    traffic = read + tiles * weight_bytes + 2 * lines * out_width * outputs
    return Tiling(rows, tiles, fixed + rows * per_row, traffic)
