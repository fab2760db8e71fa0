"""What a convolution consists of: its geometry, and its sums in the order of the jobs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from labkit.hwce.config import HwceConfig
from labkit.hwce.tiling import Decomposition, Pass


@dataclass(frozen=True)
class Geometry:
    """The shape of a convolution.

    Args:
        height: rows of the input, without padding.
        width: columns of the input.
        channels: of the input.
        outputs: output maps.
        kernel: rows, columns.
        stride: rows, columns.
        padding: (top, bottom), (left, right).
    """

    height: int
    width: int
    channels: int
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    @classmethod
    def of(cls, shape, outputs, kernel, stride=1, padding="valid") -> Geometry:
        """The geometry of an input (H, W, channels) and a filter, as Keras names them.

        Raises:
            ValueError: naming the argument, its value and what is expected.
        """
        stride = (stride, stride) if np.ndim(stride) == 0 else tuple(stride)
        if len(stride) != 2 or min(stride) < 1:
            raise ValueError(f"stride is {stride}, expected one or two positive integers.")
        height, width, channels = shape
        if padding == "same":
            padding = tuple(
                same_padding(size, k, s)
                for size, k, s in zip((height, width), kernel, stride, strict=True)
            )
        elif padding == "valid":
            padding = ((0, 0), (0, 0))
        elif np.shape(padding) != (2, 2) or np.min(padding) < 0:
            raise ValueError(
                f"padding is {padding!r}, expected 'valid', 'same' or ((top, bottom), (left, "
                "right))."
            )
        padding = tuple(tuple(int(p) for p in sides) for sides in padding)
        geometry = cls(
            height, width, channels, outputs, tuple(kernel), tuple(int(s) for s in stride), padding
        )
        if min(geometry.out) < 1:
            raise ValueError(
                f"a {kernel[0]}x{kernel[1]} filter does not fit into an input of {height}x{width} "
                f"with padding {padding}."
            )
        return geometry

    @cached_property
    def padded(self) -> tuple[int, int]:
        """Rows, columns of the input with its padding."""
        (top, bottom), (left, right) = self.padding
        return self.height + top + bottom, self.width + left + right

    @cached_property
    def dense(self) -> tuple[int, int]:
        """Rows, columns of the output before the stride drops any."""
        return tuple(p - k + 1 for p, k in zip(self.padded, self.kernel, strict=True))

    @cached_property
    def out(self) -> tuple[int, int]:
        """Rows, columns of the output."""
        return tuple((d - 1) // s + 1 for d, s in zip(self.dense, self.stride, strict=True))

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the layer needs (one image)."""
        (oh, ow), (kh, kw) = self.out, self.kernel
        return oh * ow * kh * kw * self.channels * self.outputs


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as TensorFlow's "same"."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Sum(NamedTuple):
    """Products that are rounded together: channels first … last - 1, a window of the filter."""

    first: int
    last: int
    window: Pass


class Kernel:
    """Filters that are used more than once: what is derived from their codes is kept.

    Args:
        codes: integer (rows, columns, channels, outputs).

    Raises:
        ValueError: codes that are not integers, or not such an array.
    """

    def __init__(self, codes: np.ndarray):
        self.codes = np.asarray(codes)
        if not np.issubdtype(self.codes.dtype, np.integer):
            raise ValueError(
                f"w_codes are {self.codes.dtype}, expected integer codes: use QFormat.codes."
            )
        if self.codes.ndim != 4 or not self.codes.size:
            raise ValueError(
                f"w_codes are {self.codes.shape}, expected (rows, columns, channels, outputs), "
                "none of them empty."
            )
        self.range = int(self.codes.min()), int(self.codes.max())
        self._derived: dict = {}

    def derived(self, key: Hashable, make: Callable):
        """What `make` gives, made once for each key."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def planes(self, flip: bool) -> np.ndarray:
        """Codes as (outputs, channels, rows, columns), turned by 180° where `flip` says so."""
        turned = self.codes[::-1, ::-1] if flip else self.codes
        return self.derived(flip, lambda: np.ascontiguousarray(turned.transpose(3, 2, 0, 1)))


@dataclass(frozen=True)
class Job:
    """Everything that decides the bits of a convolution.

    Args:
        geometry: its shape.
        steps: the sums, in order; each is rounded and saturated.
        qf: right shift.
        half_up: add half a step before the shift.
        flip: turn the filters by 180°.
        limits: smallest and largest word.
        output_limits: smallest and largest output.
        bias_shift: fractional bits of y_in below the output's, with a single step.
        wraps: the one sum is a 32-bit register of the cores, which wraps round.
    """

    geometry: Geometry
    steps: tuple[Sum, ...]
    qf: int
    half_up: bool
    flip: bool
    limits: tuple[int, int]
    output_limits: tuple[int, int]
    bias_shift: int
    wraps: bool

    @property
    def half(self) -> float:
        """What is added to a sum, in words, before it is truncated."""
        return 0.5 if self.half_up and self.qf > 0 else 0.0

    def empty(self, images: int) -> np.ndarray:
        """Room for the outputs (N, outputs, OH, OW), in the type that holds their codes."""
        dtype = np.int32 if self.output_limits[1] > 32767 else np.int16
        return np.empty((images, self.geometry.outputs, *self.geometry.out), dtype)


class Sums(NamedTuple):
    """Codes (N, outputs, OH, OW) and the counts that `engine.Result` explains."""

    y: np.ndarray
    saturations: int
    saturated: int
    overflows: int


def steps(geometry: Geometry, parts: Decomposition, config: HwceConfig) -> tuple[Sum, ...]:
    """The sums of a convolution in the order of the jobs.

    Input channels are the outer loop, passes of the filter the inner one [A]. A group of channels
    takes all passes before it is rounded.
    """
    rows, columns = geometry.kernel
    whole = Pass(0, 0, rows, columns)
    if config.ideal or parts.unit == "cores":
        return (Sum(0, geometry.channels, whole),)
    group = config.acc_group
    if group == 1:
        return tuple(Sum(b, b + 1, p) for b in range(geometry.channels) for p in parts.passes)
    return tuple(
        Sum(b, min(b + group, geometry.channels), whole) for b in range(0, geometry.channels, group)
    )
