"""Fixed-point formats: two's complement codes whose step is a power of two.

Source: the thesis on low-resolution convolutions for PULP (2017), equations 5 to 10; F. Conti and
L. Benini, DATE 2015, for the 16-bit words that the engine reads and writes.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from labkit.hwce import loops

MODES = ("thesis", "floor", "nearest")
#: Widths of a weight that the engine has a vector mode for: 1, 2 or 4 in a 16-bit word.
WEIGHT_BITS = (16, 8, 4)


class EmulatedPrecisionWarning(UserWarning):
    """A width that no version of the engine has: computed in the next wider container."""


@dataclass(frozen=True)
class QFormat:
    """Codes of n bits for numbers within ±2^msb; the step is q = 2^(msb + 1 - n).

    Args:
        bits: n, from 2 to 32.
        msb: the exponent of the clipping amplitude, A = 2^msb; any integer.

    Raises:
        ValueError: bits or msb is not such a number.

    Example:
        >>> QFormat(bits=8, msb=0).quantize([0.3, -0.3, 1.0], "nearest")
        array([ 0.296875 , -0.296875 ,  0.9921875])

    Source: the thesis, equations 5 and 6.
    """

    bits: int
    msb: int

    def __post_init__(self):
        """Check the numbers."""
        for name in ("bits", "msb"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise ValueError(f"{name} is {value!r}, expected an integer.")
            object.__setattr__(self, name, int(value))
        if not 2 <= self.bits <= 32:
            raise ValueError(f"bits is {self.bits}, expected 2 to 32.")
        if abs(self.msb) > 64:
            raise ValueError(f"msb is {self.msb}, expected -64 to 64: it is an exponent of two.")

    @property
    def fraction_bits(self) -> int:
        """f = n - 1 - msb: a code c stands for c · 2^-f."""
        return self.bits - 1 - self.msb

    @property
    def step(self) -> float:
        """q, the distance between two neighbours."""
        return math.ldexp(1.0, -self.fraction_bits)

    @property
    def min_code(self) -> int:
        """-2^(n-1)."""
        return -(1 << (self.bits - 1))

    @property
    def max_code(self) -> int:
        """2^(n-1) - 1."""
        return (1 << (self.bits - 1)) - 1

    def codes(self, x: np.ndarray, mode: str = "nearest") -> np.ndarray:
        """The integer codes of real numbers.

        Args:
            x: real, any shape, finite.
            mode: "nearest" rounds to the nearest code, halves upwards as the engine's rounding bit
                does; "floor" truncates, a mean error of -q/2 [D]; both keep to the code range.
                "thesis" clips to ±A first and truncates, so that A itself gets code 2^(n-1), which
                n bits cannot hold [D]. With the kernels of SqueezeNet v1.1 in 8 bits, floor leaves
                1.9 % of 1,000 photographs of ImageNet right, nearest 61.1 %, of 62.0 % [M].

        Returns:
            int32 (int64 for 32 bits), the shape of x.

        Raises:
            ValueError: an unknown mode, or a value that is not a number.

        Source: the thesis, equations 9 and 10.
        """
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}.")
        x = np.asarray(x)
        if x.dtype != np.float32 or self.bits > 24:  # float32 is exact, too, up to 24 bits
            x = x.astype(np.float64)
        if np.isnan(x).any():
            raise ValueError("x holds NaN, which has no code: look for it before quantising.")
        amplitude = math.ldexp(1.0, self.msb)
        # Clipped first: an infinity would not survive the subtraction below.
        scaled = np.clip(x, -2 * amplitude, 2 * amplitude) / self.step
        if mode == "thesis":
            scaled = np.clip(scaled, amplitude / -self.step, amplitude / self.step)
        codes = np.floor(scaled)
        if mode == "nearest":
            codes += scaled - codes >= 0.5  # floor(x + 0.5) would round x + 0.5 as well
        if mode != "thesis":
            codes = np.clip(codes, self.min_code, self.max_code)
        return codes.astype(np.int32 if self.bits < 32 else np.int64)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The real numbers (float64) that codes stand for."""
        return np.asarray(codes, np.float64) * self.step

    def quantize(self, x: np.ndarray, mode: str = "nearest") -> np.ndarray:
        """Real numbers on the grid of this format, float64; arguments as in `codes`."""
        return self.decode(self.codes(x, mode))

    def __str__(self) -> str:
        """As in a table."""
        return f"{self.bits} bits, ±2^{self.msb}"


def msb_for(x: np.ndarray, percentile: float = 100.0) -> int:
    """The smallest msb whose amplitude 2^msb covers a percentile of |x|.

    Args:
        x: real, any shape, not empty.
        percentile: of |x|, above 0 and up to 100.

    Returns:
        the exponent; 0 when the percentile is 0.

    Raises:
        ValueError: no values, or a percentile out of range.

    Source: the thesis, section 5.2 (the percentile limits of kernels and outputs).
    """
    x = np.abs(np.asarray(x, np.float64))
    if not x.size:
        raise ValueError("x is empty: there is no range to cover.")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}, expected above 0 and up to 100.")
    limit = float(np.percentile(x, percentile))
    if not np.isfinite(limit):
        raise ValueError("x holds values that are not finite.")
    if limit == 0:
        return 0
    mantissa, exponent = math.frexp(limit)  # limit = mantissa · 2^exponent, mantissa in [0.5, 1)
    return exponent - 1 if mantissa == 0.5 else exponent


def msb_of_least_error(x: np.ndarray, bits: int, mode: str = "nearest") -> int:
    """The msb at which quantising to n bits costs the smallest mean squared error.

    Below it clipping costs more, above it the coarser step: percentiles guess at this balance.

    Args:
        x: real, any shape, not empty; of more than 200,000 values, evenly spaced ones count, by a
            step that meets every channel.
        bits: of the codes, 2 to 32.
        mode: as in `QFormat.codes`.

    Raises:
        ValueError: as in `msb_for` and `QFormat.codes`.
    """
    widest = msb_for(x)
    x = np.ravel(x)
    step = -(-x.size // 200_000)
    while math.gcd(step, x.size) > 1:  # a step of 6 would see one of 6 channels
        step += 1
    x = x[::step]
    errors = {
        msb: np.square(QFormat(bits, msb).quantize(x, mode) - x).mean()
        for msb in range(widest, widest - 12, -1)
    }
    return min(errors, key=errors.get)


def requantize(codes: np.ndarray, shift: int, bits: int, half_up: bool = True) -> np.ndarray:
    """Codes on a grid that is 2^shift coarser, clipped to n bits.

    Args:
        codes: integer, any shape.
        shift: right when positive, left (exact) when negative.
        bits: of the new codes, 2 to 32.
        half_up: round to nearest, halves upwards; else truncate.

    Returns:
        the dtype of `codes` when the new codes fit into it for certain, else int32 or int64.
    """
    codes = np.asarray(codes)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    narrow = np.int16 if bits <= 16 else np.int32
    if shift == 0:
        limits = np.iinfo(codes.dtype)
        inside = low <= limits.min and limits.max <= high
        return codes if inside else _shifted(codes, 0, False, (low, high), narrow)
    if shift > 0:
        if shift >= 8 * codes.dtype.itemsize:  # NumPy leaves such shifts undefined
            codes, shift = codes.astype(np.int64), min(shift, 62)
        return _shifted(codes, shift, half_up, (low, high), narrow)
    # Larger shifts change nothing more: every code but 0 is clipped.
    fine = np.clip(codes.astype(np.int64), low, high) << min(-shift, 31)
    return np.clip(fine, low, high).astype(narrow, copy=False)


def clipped(codes: np.ndarray, low: int, high: int) -> np.ndarray:
    """Integer codes between two limits that their dtype holds."""
    return _shifted(codes, 0, False, (low, high), codes.dtype)


def _shifted(codes: np.ndarray, shift: int, half_up: bool, limits, dtype) -> np.ndarray:
    shifted = np.empty_like(codes, dtype)
    loops.shifted(codes.ravel(order="K"), shift, half_up, limits, shifted.ravel(order="K"))
    return shifted


def container_bits(bits: int) -> int:
    """The width of the vector mode that holds a weight: 4, 8 or 16.

    Warns:
        EmulatedPrecisionWarning: the engine has no mode of just this width; cycles and memory are
            those of the container.

    Raises:
        ValueError: bits is not from 2 to 16.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"weights have {bits} bits, expected 2 to 16: a weight word has 16.")
    container = min(mode for mode in WEIGHT_BITS if mode >= bits)
    if container != bits:
        warnings.warn(
            f"no version of the engine has a {bits}-bit mode: computed in {container}-bit "
            f"containers, with their cycles and memory",
            EmulatedPrecisionWarning,
            stacklevel=3,
        )
    return container
