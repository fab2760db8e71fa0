"""One output of one layer, on its way through the engine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.hwce.config import GAP8, HwceConfig
from labkit.hwce.engine import Step, trace
from labkit.hwce.formats import QFormat
from labkit.hwce.plan import LayerPlan


@dataclass(frozen=True, eq=False)
class Window:
    """The pixels under one filter, and everything that makes one output of them.

    Args:
        x_codes: integer (rows, columns, channels), in codes of `formats.input`; zeros where the
            window reaches over the edge.
        weights: real (rows, columns, channels), the filter of one output.
        bias_value: real.
        formats: of the layer.
        mode: how real numbers become codes, "nearest" or "floor".
        place: where it is from, in words.

    Raises:
        ValueError: window and filter differ in shape.

    Example:
        >>> w = hwce.window(model, image, plan, "conv1", row=10, column=12, output=3)
        >>> trace(w.x_codes, w.w_codes, w.bias, GAP8, qf=w.qf)[-1].y == w.jobs(GAP8)["y"].iloc[-1]
        True
    """

    x_codes: np.ndarray
    weights: np.ndarray
    bias_value: float
    formats: LayerPlan
    mode: str = "nearest"
    place: str = "a window"

    def __post_init__(self):
        """Check the shapes."""
        if np.ndim(self.x_codes) != 3 or np.shape(self.x_codes) != np.shape(self.weights):
            raise ValueError(
                f"the window {np.shape(self.x_codes)} and the filter {np.shape(self.weights)} "
                "differ, expected the same (rows, columns, channels)."
            )

    @property
    def w_codes(self) -> np.ndarray:
        """The filter in codes of `formats.kernel`, integer (rows, columns, channels)."""
        return self.formats.kernel.codes(self.weights, self.mode)

    @property
    def qf(self) -> int:
        """The right shift from the step of the products to that of the words."""
        return max(self.formats.product_fraction - self.formats.words.fraction_bits, 0)

    @property
    def words(self) -> QFormat:
        """The format of the 16-bit words y."""
        return QFormat(16, 15 - (self.formats.product_fraction - self.qf))

    @property
    def bias(self) -> int:
        """y_in of the first job: the bias as a word."""
        return int(self.words.codes(self.bias_value, self.mode))

    def with_weight_bits(self, bits: int) -> Window:
        """The same window with weights of another width, their range unchanged."""
        kernel = QFormat(bits, self.formats.kernel.msb)
        return dataclasses.replace(self, formats=dataclasses.replace(self.formats, kernel=kernel))

    def steps(self, config: HwceConfig = GAP8) -> list[Step]:
        """Every job, as `trace` gives them; also of engines that sum everything at once."""
        jobs = config.with_(ideal=False, pointwise="engine")
        return trace(self.x_codes, self.w_codes, self.bias, jobs, qf=self.qf)

    def jobs(self, config: HwceConfig = GAP8) -> pd.DataFrame:
        """A row per job: what the word becomes, and how far it is from the exact sum.

        Ideal accumulation rounds in its last row alone, with a register as wide as need be; until
        then its words are the exact sums. 1x1 filters are shown on the engine (one tap of a
        filter), also where the configuration leaves them to the cores.

        Returns:
            index "job" from 1; "channels" (first, last + 1); y_in; "products" S; "half", the
            rounding bit; "shifted" (T >> qf); "y" after saturation; "saturated"; "exact", the same
            sum without any rounding; "error", y - exact. All but S in steps of the words.
        """
        steps, scale = self.steps(config), 2.0**self.qf
        half = 1 << (self.qf - 1) if config.half_up and self.qf else 0
        products = np.array([step.products for step in steps], np.int64)
        exact = self.bias + np.cumsum(products) / scale
        table = pd.DataFrame(
            {
                "channels": [step.channels for step in steps],
                "y_in": np.array([step.y_in for step in steps], float),
                "products": products,
                "half": half,
                "shifted": np.array([step.shifted for step in steps], float),
                "y": np.array([step.y for step in steps], float),
            },
            index=pd.RangeIndex(1, len(steps) + 1, name="job"),
        )
        if config.ideal:
            table["y_in"] = [self.bias, *exact[:-1]]
            table["half"] = [0] * (len(steps) - 1) + [half]
            shifted = ((self.bias << self.qf) + int(products.sum()) + half) >> self.qf
            table["shifted"] = [*exact[:-1], shifted]
            table["y"] = [*exact[:-1], np.clip(shifted, *config.pixel_range)]
        table["saturated"] = table["y"] != table["shifted"]
        return table.assign(exact=exact, error=table["y"] - exact)
