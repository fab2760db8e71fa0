"""Plans: the formats of every layer of a network, and the engine that it runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labkit.hwce.config import GAP8, HwceConfig
from labkit.hwce.formats import QFormat, msb_for, msb_of_least_error
from labkit.hwce.graph import COMPUTED, graph


@dataclass(frozen=True)
class LayerPlan:
    """Formats of a layer: the thesis's resolutions k:i:o and the msb of each.

    Args:
        kernel: of the weights, 2 to 16 bits.
        input: what its inputs are quantised to, up to 16 bits.
        output: of its outputs, up to 16 bits, before the activation.
        partial: of the engine's 16-bit words y between the jobs; None for the finest that holds
            the output's range: msb of the output, or the step of the products if that is coarser.
    """

    kernel: QFormat
    input: QFormat
    output: QFormat
    partial: QFormat | None = None

    def __post_init__(self):
        """Check what does not fit into the engine's words."""
        for name in ("kernel", "input", "output"):
            if getattr(self, name).bits > 16:
                raise ValueError(f"{name} has {getattr(self, name).bits} bits, expected up to 16.")
        if self.partial is not None and self.partial.bits != 16:
            raise ValueError(f"partial has {self.partial.bits} bits, expected 16: it is a word.")

    @property
    def product_fraction(self) -> int:
        """Fractional bits of a product."""
        return self.kernel.fraction_bits + self.input.fraction_bits

    @property
    def words(self) -> QFormat:
        """The format of the words between the jobs."""
        if self.partial is not None:
            return self.partial
        return QFormat(16, max(self.output.msb, 15 - self.product_fraction))


@dataclass(frozen=True)
class Plan:
    """How a network runs on the engine.

    Args:
        layers: a plan for every convolution and dense layer, by name.
        config: the engine.
        mode: how real numbers become codes, and codes narrower ones: "nearest" or "floor". With
            ideal accumulation also how sums are rounded.

    Raises:
        ValueError: an unknown mode.
    """

    layers: Mapping[str, LayerPlan]
    config: HwceConfig = GAP8
    mode: str = "nearest"

    def __post_init__(self):
        """Check the mode: codes of the thesis's would not fit into their bits."""
        if self.mode not in ("nearest", "floor"):
            raise ValueError(
                f"mode is {self.mode!r}, expected 'nearest' or 'floor': quantclip's 2^n + 1 levels "
                "do not fit into n bits."
            )

    @property
    def half_up(self) -> bool:
        """Whether codes are narrowed to the nearest one."""
        return self.mode == "nearest"

    def with_config(self, config: HwceConfig) -> Plan:
        """The same formats on another engine."""
        return dataclasses.replace(self, config=config)

    @classmethod
    def from_layers(cls, model, config: HwceConfig = GAP8) -> Plan:
        """The formats that a model's `QuantizedConv2D` layers carry.

        Args:
            model: Keras, with quantised convolutions.
            config: the engine.

        Raises:
            ValueError: layers without formats, or of different modes.
        """
        plans, modes = {}, set()
        for node in graph(model):
            if node.kind == "QuantizedConv2D":
                formats = (node.config[f"{name}_format"] for name in ("kernel", "input", "output"))
                plans[node.name] = LayerPlan(*(QFormat(*pair) for pair in formats))
                modes.add(node.config["mode"])
        if len(modes) > 1:
            raise ValueError(f"the layers have the modes {sorted(modes)}, expected a single one.")
        return cls(plans, config, *modes)

    @classmethod
    def uniform(
        cls,
        model,
        bits: tuple[int, int, int],
        msb: tuple[int, int, int],
        config: HwceConfig = GAP8,
        mode: str = "nearest",
    ) -> Plan:
        """The same formats in every layer.

        Args:
            model: Keras.
            bits: of kernels, inputs and outputs, the thesis's k:i:o.
            msb: of kernels, inputs and outputs.
            config: the engine.
            mode: as in `Plan`.
        """
        formats = LayerPlan(*map(QFormat, bits, msb))
        names = [node.name for node in graph(model) if node.kind in COMPUTED]
        return cls(dict.fromkeys(names, formats), config, mode)

    def as_dict(self) -> dict:
        """For JSON; `from_dict` makes the plan again."""
        layers = {
            name: {
                key: None if q is None else [q.bits, q.msb]
                for key, q in ((f.name, getattr(plan, f.name)) for f in dataclasses.fields(plan))
            }
            for name, plan in self.layers.items()
        }
        return {"layers": layers, "config": dataclasses.asdict(self.config), "mode": self.mode}

    @classmethod
    def from_dict(cls, content: dict) -> Plan:
        """The plan that `as_dict` described, also after a journey through JSON."""
        layers = {
            name: LayerPlan(**{key: q and QFormat(*q) for key, q in formats.items()})
            for name, formats in content["layers"].items()
        }
        return cls(layers, HwceConfig(**content["config"]), content["mode"])


class Ranges:
    """What a float network shows on some images: measured once, for any number of plans.

    Args:
        tensors: layer → kernel, inputs and outputs (after the activation), float32; those of a
            Keras model are `compress.fixed_point.measured_ranges`.
    """

    def __init__(self, tensors: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]):
        self.tensors = tensors

    def plan(
        self,
        bits: tuple[int, int, int] = (8, 8, 8),
        percentile: float | None = 100.0,
        config: HwceConfig = GAP8,
        mode: str = "nearest",
    ) -> Plan:
        """Formats whose msb covers these ranges.

        Args:
            bits: of kernels, inputs and outputs, the thesis's k:i:o.
            percentile: of the magnitudes that each range is to cover; None for the ranges with
                the smallest mean squared error.
            config: the engine.
            mode: as in `Plan`.
        """

        def chosen(width: int, values: np.ndarray) -> QFormat:
            if percentile is None:
                return QFormat(width, msb_of_least_error(values, width, mode))
            return QFormat(width, msb_for(values, percentile))

        layers = {
            name: LayerPlan(*map(chosen, bits, tensors)) for name, tensors in self.tensors.items()
        }
        return Plan(layers, config, mode)
