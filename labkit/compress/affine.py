"""The integer arithmetic of a quantised layer, in NumPy, to the bit as TFLite's reference kernels.

A code q stands for the real number r = S (q - Z), with a scale S and an integer zero point Z.
Codes of b bits go from -2^(b-1) to 2^(b-1) - 1; halves are rounded away from zero.

Source: B. Jacob et al., CVPR 2018, sections 2 and 3.
"""

from __future__ import annotations

import numpy as np


def code_range(bits: int = 8, narrow: bool = False) -> tuple[int, int]:
    """Smallest and largest signed code; a narrow range leaves out the smallest one.

    Raises:
        ValueError: bits is not from 2 to 32.
    """
    if not 2 <= bits <= 32:
        raise ValueError(f"bits is {bits}, expected 2 to 32.")
    return -(2 ** (bits - 1)) + int(narrow), 2 ** (bits - 1) - 1


def parameters(
    minimum: float, maximum: float, bits: int = 8, symmetric: bool = False
) -> tuple[float, int]:
    """Scale and zero point of the grid over a range, widened and nudged so that 0 is exact.

    Args:
        minimum: of the values that are to be quantised.
        maximum: of the same.
        bits: of a code.
        symmetric: zero point 0 and the narrow range, as for weights.

    Returns:
        scale (positive) and zero point (a code).

    Raises:
        ValueError: the range is not finite, or its ends are the wrong way round.

    Example:
        >>> parameters(0.0, 25.5)
        (0.1, -128)

    Source: Jacob et al., equation 13 and the text below it.
    """
    if not (np.isfinite(minimum) and np.isfinite(maximum) and minimum <= maximum):
        raise ValueError(f"the range is [{minimum}, {maximum}], expected finite, in this order.")
    low, high = code_range(bits, narrow=symmetric)
    minimum, maximum = min(float(minimum), 0.0), max(float(maximum), 0.0)
    if symmetric:
        minimum, maximum = min(minimum, -maximum), max(maximum, -minimum)
    scale = maximum / (high - low) - minimum / (high - low)
    if scale < np.finfo(np.float32).tiny:  # files keep scales as float32; all values are zero here
        return 1.0, 0
    return scale, 0 if symmetric else int(np.clip(_round(low - minimum / scale), low, high))


def quantize(
    x: np.ndarray,
    scale: float | np.ndarray,
    zero_point: int | np.ndarray = 0,
    bits: int = 8,
    narrow: bool = False,
) -> np.ndarray:
    """Codes of real values: round(x / S) + Z, clipped to the code range.

    Args:
        x: float, any shape.
        scale: positive; an array that broadcasts with x quantises per channel.
        zero_point: as `scale`.
        bits: of a code.
        narrow: leave out the smallest code, as for weights.

    Returns:
        int32, the shape of x.

    Source: Jacob et al., equation 1, solved for q.
    """
    codes = _round(np.asarray(x, np.float64) / scale) + zero_point
    return np.clip(codes, *code_range(bits, narrow)).astype(np.int32)


def dequantize(
    codes: np.ndarray, scale: float | np.ndarray, zero_point: int | np.ndarray = 0
) -> np.ndarray:
    """Real values (float64) of codes: S (q - Z), Jacob et al., equation 1."""
    return scale * (np.asarray(codes, np.float64) - zero_point)


def fake_quantize(
    x: np.ndarray,
    scale: float | np.ndarray,
    zero_point: int | np.ndarray = 0,
    bits: int = 8,
    narrow: bool = False,
) -> np.ndarray:
    """x (any shape) rounded and clipped to the grid, as real values; Jacob et al., equation 12."""
    return dequantize(quantize(x, scale, zero_point, bits, narrow), scale, zero_point)


def integer_matmul(
    q_x: np.ndarray, zero_x: int, q_w: np.ndarray, zero_w: int | np.ndarray = 0
) -> np.ndarray:
    """Sums of (q_x - Z_x)(q_w - Z_w) from the codes' own products, as an accelerator does it.

    With symmetric weights, Z_w = 0, the one term that has to be computed anew for every input
    vanishes; the weights' term is known in advance and goes into the bias.

    Args:
        q_x: integer (N, K).
        zero_x: zero point of the inputs.
        q_w: integer (K, M).
        zero_w: zero point of the weights, or one for each column (M,).

    Returns:
        int32 (N, M), to be scaled by S_x S_w.

    Raises:
        OverflowError: a sum does not fit into 32 bits.

    Source: Jacob et al., equation 7.
    """
    q_x, zero_x, q_w, zero_w = (np.asarray(a, np.int64) for a in (q_x, zero_x, q_w, zero_w))
    products = q_x @ q_w
    inputs = zero_w * q_x.sum(axis=1, keepdims=True)
    weights = zero_x * q_w.sum(axis=0)
    constant = q_x.shape[1] * zero_x * zero_w
    return _int32(products - inputs - weights + constant)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A positive factor as an integer and a shift: real = multiplier · 2^(shift - 31).

    Returns:
        multiplier, 2^30 <= multiplier < 2^31, and shift; (0, 0) for a factor below 2^-32.

    Raises:
        ValueError: the factor is not positive, or 2^30 and more.

    Source: Jacob et al., equations 5 and 6.
    """
    if not 0 < real < 2**30:
        raise ValueError(f"the factor is {real}, expected a positive number below 2**30.")
    fraction, shift = np.frexp(real)  # 0.5 <= fraction < 1
    multiplier, shift = round(float(fraction) * 2**31), int(shift)
    if multiplier == 2**31:  # 0.99999… was rounded up to 1
        multiplier, shift = 2**30, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def requantize(
    accumulators: np.ndarray,
    multiplier: int | np.ndarray,
    shift: int | np.ndarray,
    zero_point: int = 0,
    bits: int = 8,
    twice: bool = False,
) -> np.ndarray:
    """Codes of a layer's outputs from its sums, in integers alone: sums · M + Z, clipped.

    Args:
        accumulators: int32, any shape, the bias included.
        multiplier: from `quantize_multiplier` of M = S_x S_w / S_y, or one for each channel (last
            axis).
        shift: as `multiplier`.
        zero_point: Z_y.
        bits: of an output code.
        twice: round to 31 bits first and to the code then, as TFLite's reference kernels do it for
            convolutions and means; for dense layers they round once, halves upwards. (Optimised
            kernels round a little differently: now and then a code differs by one.)

    Returns:
        int32, the shape of `accumulators`.

    Source: Jacob et al., section 2.2; twice, as gemmlowp's
    `SaturatingRoundingDoublingHighMul` and `RoundingDivideByPOT`.
    """
    sums, shift = _int32(accumulators).astype(np.int64), np.asarray(shift, np.int64)
    if twice:
        high = ((sums << np.maximum(shift, 0)) * multiplier + (1 << 30)) >> 31
        places = np.maximum(-shift, 0)
        half = (np.int64(1) << places) >> 1
        scaled = (high + half - (high < 0) * (places > 0)) >> places  # halves away from zero
    else:
        places = 31 - shift
        scaled = (sums * multiplier + (np.int64(1) << (places - 1))) >> places
    return np.clip(scaled + zero_point, *code_range(bits)).astype(np.int32)


def _round(x: np.ndarray) -> np.ndarray:
    """The nearest whole number, halves away from zero (np.round takes them to the even one)."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)


def _int32(sums: np.ndarray) -> np.ndarray:
    """The same integers as int32, which a hardware accumulator would let wrap round."""
    sums = np.asarray(sums)
    limits = np.iinfo(np.int32)
    if sums.size and (sums.min() < limits.min or sums.max() > limits.max):
        raise OverflowError(
            f"a sum in {sums.min()} … {sums.max()} does not fit into a 32-bit accumulator: add "
            "fewer products, or narrower codes."
        )
    return sums.astype(np.int32)
