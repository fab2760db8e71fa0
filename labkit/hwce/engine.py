"""The engine itself: integer convolutions with the rounding and saturation of each job.

One job adds one input channel b to the output stream k, all in 16-bit words in L1 [P]:

    S = Σ w[k, i, j] · x[b, r + i, c + j]          exact
    T = (y_in << qf) + S                            qf = f_w + f_x - f_y
    T = T + (1 << (qf - 1))                         half_up, qf > 0
    y_out = saturate16(T >> qf)                     arithmetic shift

`reference` computes just this in Python's integers and is the specification; `blas` (sums that are
rounded once) and `stepwise` (after every job) must give the same bits.

Source: F. Conti and L. Benini, DATE 2015; drivers and register maps of Fulmine and GAP8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from labkit.hwce import blas, cost, stepwise, tiling
from labkit.hwce.config import GAP8, HwceConfig
from labkit.hwce.formats import container_bits
from labkit.hwce.job import Geometry, Job, Kernel, Sums, steps


@dataclass(frozen=True)
class Result:
    """A convolution's output and what it cost.

    Args:
        y: int16 codes (int32 when unsigned), (N, OH, OW, outputs).
        saturations: words that were clipped, over all jobs.
        saturated: outputs that were clipped at least once on their way.
        overflows: sums on the cores that left 32 bits and wrapped round [A].
        work: the shape of the work, from which the costs follow.
        roundings: how often an output is shifted, rounded and saturated on its way.
        qf: by how many bits each time.
    """

    y: np.ndarray
    saturations: int
    saturated: int
    overflows: int
    work: cost.Work
    roundings: int
    qf: int

    @cached_property
    def cycles(self) -> cost.Cycles:
        """Cycles of one image, with their breakdown; analytic, not validated on silicon."""
        return cost.cycles(self.work)

    @cached_property
    def energy(self) -> cost.Energy:
        """Energy of one image as a range over the published anchors, and the parametric model."""
        return cost.energy(self.work)

    @cached_property
    def memory(self) -> cost.Memory:
        """Bytes of one image, as stored and ideally packed."""
        return cost.memory(self.work)


def conv2d(
    x_codes: np.ndarray,
    w_codes: np.ndarray | Kernel,
    bias: np.ndarray | None = None,
    config: HwceConfig = GAP8,
    *,
    qf: int = 0,
    stride: int | tuple[int, int] = 1,
    padding: str | tuple[tuple[int, int], tuple[int, int]] = "valid",
    weight_bits: int = 16,
    input_bits: int = 16,
    output_bits: int = 16,
    bias_shift: int = 0,
    backend: str = "blas",
) -> Result:
    """Convolve codes as the engine does, to the bit.

    Args:
        x_codes: integer (N, H, W, channels) or (H, W, channels), words of 16 bits.
        w_codes: integer (rows, columns, channels, outputs), signed, of `weight_bits`; a `Kernel`
            of them where the same filters are used again.
        bias: integer (outputs,): the constant y_in of the first channel; or 16-bit partial sums
            (N, OH, OW, outputs) to go on from; None for zero.
        config: the engine.
        qf: right shift of the sums, 0 to 31.
        stride: rows, columns. The engine has none: it computes every output, the rest is dropped
            and counted.
        padding: "valid", "same" (as TensorFlow) or ((top, bottom), (left, right)). The engine has
            none: zeros are written around the input, and counted.
        weight_bits: 2 to 16; 16, 8 and 4 have modes of their own.
        input_bits: of an input, for the ideal memory and the parametric energy.
        output_bits: of an output, 2 to 16: words are clipped to it after the last job. A sum that
            is rounded once (ideal, cores) is clipped to it at once.
        bias_shift: the bias has this many fractional bits more than the output, 0 to qf: only
            where the sum is rounded once; the engine's y_in is a word of the output's format.
        backend: "blas", matrix products and compiled loops in floating point that are proven exact,
            or "reference".

    Returns:
        the codes and what they cost.

    Raises:
        ValueError: naming the argument, its value and what is expected.
        OverflowError: no floating-point type is exact for such sums (blas).

    Example:
        >>> x = np.full((1, 3, 3, 1), 100)
        >>> conv2d(x, np.ones((3, 3, 1, 1), int), np.array([7]), qf=4).y.item()  # 7 + 900 / 16
        63
    """
    batched = np.ndim(x_codes) == 4
    x = _integers("x_codes", x_codes)
    kernel = w_codes if isinstance(w_codes, Kernel) else Kernel(w_codes)
    geometry = _geometry(x, kernel.codes.shape, stride, padding)
    if x.dtype != np.int16 or config.unsigned:
        ends = int(x.min()), int(x.max())
        _check_range("x_codes", ends, config.pixel_range, "the engine's pixels are 16-bit words")
    _check_bits("weight_bits", weight_bits, 2)
    _check_range("w_codes", kernel.range, _signed(weight_bits), f"weights have {weight_bits} bits")
    for name, value in (("input_bits", input_bits), ("output_bits", output_bits)):
        _check_bits(name, value, 1)
    if not 0 <= qf <= 31:
        raise ValueError(f"qf is {qf}, expected 0 to 31: choose a coarser or finer output format.")
    parts = tiling.decompose(*geometry.kernel, config)
    if parts.unit == "engine":
        container_bits(weight_bits)  # warns of widths without a mode
    job = Job(
        geometry=geometry,
        steps=steps(geometry, parts, config),
        qf=qf,
        half_up=_half_up(parts, config),
        flip=config.flip,
        limits=config.pixel_range,
        output_limits=_output_limits(output_bits, config),
        bias_shift=bias_shift,
        wraps=parts.unit == "cores" and not config.ideal,
    )
    x = (x if batched else x[None]).transpose(0, 3, 1, 2)
    y_in = _start(bias, job, len(x), config)
    if np.any(geometry.padding):
        x = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
    if backend not in ("blas", "reference"):
        raise ValueError(f"backend is {backend!r}, expected 'blas' or 'reference'.")
    fast = blas.convolve if len(job.steps) == 1 else stepwise.convolve
    x = np.ascontiguousarray(x)
    sums = (fast if backend == "blas" else reference)(x, kernel, y_in, job)
    y = sums.y.transpose(0, 2, 3, 1)  # a view: maps stay planes in memory
    work = cost.Work(geometry, parts, config, weight_bits, input_bits, output_bits)
    y = y.astype(np.int32 if config.unsigned else np.int16, copy=False)
    return Result(
        y if batched else y[0],
        sums.saturations,
        sums.saturated,
        sums.overflows,
        work,
        len(job.steps),
        qf,
    )


def reference(x: np.ndarray, kernel: Kernel, y_in: np.ndarray, job: Job) -> Sums:
    """The specification, in Python's integers.

    Args:
        x: codes (N, channels, rows, columns), padded.
        kernel: the filters.
        y_in: codes (N or 1, outputs, OH or 1, OW or 1).
        job: the order of the sums, and how they are rounded.
    """
    shape = (len(x), job.geometry.outputs, *job.geometry.out)
    y_in = np.broadcast_to(y_in, shape).tolist()
    x, w = x.tolist(), kernel.planes(job.flip).tolist()
    y = np.zeros(shape, np.int64)
    saturations = saturated = overflows = 0
    for n, k, r, c in np.ndindex(shape):
        clipped = 0
        for step in _walk(x[n], w[k], y_in[n][k][r][c], (r, c), job):
            clipped += step.y != step.shifted
            overflows += step.overflow
        y[n, k, r, c] = min(max(step.y, job.output_limits[0]), job.output_limits[1])
        clipped += int(y[n, k, r, c]) != step.y
        saturations += clipped
        saturated += clipped > 0
    return Sums(y, saturations, saturated, overflows)


@dataclass(frozen=True)
class Step:
    """What happens to one output in one job.

    Args:
        channels: first and last + 1 of the input channels that are added.
        window: the part of the filter.
        y_in: the word before.
        products: S, the sum of products.
        shifted: (T + half) >> qf, before saturation.
        y: the word after.
        overflow: whether T left 32 bits on the cores.
    """

    channels: tuple[int, int]
    window: tiling.Pass
    y_in: int
    products: int
    shifted: int
    y: int
    overflow: bool


def trace(
    x_codes: np.ndarray,
    w_codes: np.ndarray,
    bias: int = 0,
    config: HwceConfig = GAP8,
    *,
    qf: int = 0,
) -> list[Step]:
    """One window passing through the engine, job by job.

    Args:
        x_codes: integer (rows, columns, channels), as large as the filter.
        w_codes: integer (rows, columns, channels), one output map.
        bias: y_in of the first channel.
        config: the engine.
        qf: right shift, 0 to 31.

    Raises:
        ValueError: the window and the filter differ in shape, or as in `conv2d`.
    """
    x, w = _integers("x_codes", x_codes), _integers("w_codes", w_codes)
    if x.shape != w.shape or x.ndim != 3:
        raise ValueError(
            f"the window {x.shape} and the filter {w.shape} differ, expected the same (rows, "
            "columns, channels)."
        )
    result = conv2d(x, w[..., None], [bias], config, qf=qf, backend="reference")
    job = Job(
        geometry=result.work.geometry,
        steps=steps(result.work.geometry, result.work.parts, config),
        qf=qf,
        half_up=_half_up(result.work.parts, config),
        flip=config.flip,
        limits=config.pixel_range,
        output_limits=config.pixel_range,
        bias_shift=0,
        wraps=result.work.parts.unit == "cores" and not config.ideal,
    )
    x, w = x.transpose(2, 0, 1), Kernel(w[..., None]).planes(config.flip)[0]
    x, w = x.tolist(), w.tolist()
    return list(_walk(x, w, int(bias), (0, 0), job))


def _walk(x: list, w: list, y: int, at: tuple[int, int], job: Job) -> Iterator[Step]:
    """Every job of one output; x is (channels, rows, columns), w alike."""
    top, left = (position * s for position, s in zip(at, job.geometry.stride, strict=True))
    half = 1 << (job.qf - 1) if job.half_up and job.qf > 0 else 0
    low, high = job.limits if len(job.steps) > 1 else job.output_limits
    for first, last, window in job.steps:
        y_in = y
        products = sum(
            w[b][i][j] * x[b][top + i][left + j]
            for b in range(first, last)
            for i in range(window.row, window.row + window.height)
            for j in range(window.column, window.column + window.width)
        )
        total = (y_in << (job.qf - job.bias_shift)) + products + half
        wrapped = (total + 2**31) % 2**32 - 2**31 if job.wraps else total
        shifted = wrapped >> job.qf
        y = min(max(shifted, low), high)
        yield Step((first, last), window, y_in, products, shifted, y, wrapped != total)


def _half_up(parts: tiling.Decomposition, config: HwceConfig) -> bool:
    """Whether sums are rounded to the nearest word where these are computed."""
    on_cores = parts.unit == "cores" and not config.ideal
    return config.cores_half_up if on_cores else config.half_up


def _integers(name: str, codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes)
    if not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"{name} are {codes.dtype}, expected integer codes: use QFormat.codes.")
    return codes


def _geometry(x, filters, stride, padding) -> Geometry:
    if x.ndim not in (3, 4) or not x.size:
        raise ValueError(
            f"x_codes are {x.shape}, expected (N, H, W, channels), none of them empty."
        )
    *kernel, channels, outputs = filters
    if x.shape[-1] != channels:
        raise ValueError(f"x_codes have {x.shape[-1]} channels, the filters {channels}.")
    return Geometry.of(x.shape[-3:], outputs, kernel, stride, padding)


def _check_bits(name: str, bits: int, least: int) -> None:
    if not least <= bits <= 16:
        raise ValueError(f"{name} is {bits}, expected {least} to 16.")


def _check_range(name: str, ends: tuple[int, int], limits: tuple[int, int], why: str) -> None:
    if ends[0] < limits[0] or ends[1] > limits[1]:
        raise ValueError(
            f"{name} run from {ends[0]} to {ends[1]}, expected {limits[0]} to {limits[1]}: {why}."
        )


def _signed(bits: int) -> tuple[int, int]:
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _output_limits(bits: int, config: HwceConfig) -> tuple[int, int]:
    return (0, (1 << bits) - 1) if config.unsigned else _signed(bits)


def _start(bias, job: Job, images: int, config: HwceConfig) -> np.ndarray:
    """y_in of the first job as (N or 1, outputs, OH or 1, OW or 1)."""
    g = job.geometry
    once = len(job.steps) == 1 and (config.ideal or job.wraps)
    if job.bias_shift and (not once or not 0 <= job.bias_shift <= job.qf):
        raise ValueError(
            f"bias_shift is {job.bias_shift}, expected 0"
            + (f" to {job.qf} (qf)." if once else ": the engine's y_in is a word of y's format.")
        )
    if job.bias_shift and np.ndim(bias) > 1:
        raise ValueError("bias_shift is for a constant bias, expected bias (outputs,).")
    if bias is None:
        return np.zeros((1, g.outputs, 1, 1), np.int64)
    bias = _integers("bias", bias)
    full = (images, *g.out, g.outputs)
    if bias.shape not in ((g.outputs,), full):
        raise ValueError(f"bias is {bias.shape}, expected ({g.outputs},) or {full}.")
    limits = _signed(32) if once else config.pixel_range
    _check_range("bias", (int(bias.min()), int(bias.max())), limits, "y_in is one word")
    if bias.ndim == 1:
        return bias.astype(np.int64).reshape(1, -1, 1, 1)
    return bias.astype(np.int64).transpose(0, 3, 1, 2)
