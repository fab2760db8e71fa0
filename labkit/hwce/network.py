"""Whole Keras networks on the engine: `run(model, images, plan)`, a row of a table per layer.

Convolutions run on the engine, or on the cores where it has no mode for them; dense layers run on
the cores; ReLU, pooling, concatenation and dropout work on codes, as the cores would do them, and
softmax and batch normalisation in floating point.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from labkit import runtime
from labkit.hwce import network_result, operations, tiling
from labkit.hwce.engine import Result, conv2d
from labkit.hwce.formats import QFormat
from labkit.hwce.graph import COMPUTED, IDENTITY, Node, graph
from labkit.hwce.job import Kernel
from labkit.hwce.network_result import NetworkResult
from labkit.hwce.operations import OPERATIONS, Activation
from labkit.hwce.parallel import each
from labkit.hwce.plan import Plan
from labkit.hwce.windows import Window

_COUNTS = ("saturations", "saturated", "clips", "overflows")
_FORMATS = ("kernel", "input", "output")


def run(
    model,
    images: np.ndarray,
    plan: Plan,
    *,
    batch: int = 16,
    keep: Iterable[str] = (),
    backend: str = "blas",
) -> NetworkResult:
    """Run a Keras model on the engine.

    Args:
        model: Functional or Sequential, of Conv2D, QuantizedConv2D, Dense, ReLU, Activation,
            Softmax, pooling, global pooling, Add, Concatenate, Flatten, Reshape, ZeroPadding2D,
            Dropout, QuantClip and BatchNormalization layers. A batch normalisation is computed in
            floating point.
        images: real (N, H, W, channels), as the model takes them.
        plan: formats of every convolution and dense layer, and the engine.
        batch: images at a time.
        keep: names of layers whose outputs are to be kept.
        backend: "blas" or "reference".

    Returns:
        outputs, and a table with a row per layer. Cycles, energy and memory are analytic, not
        validated on silicon.

    Raises:
        ValueError: a layer that is not supported or has no plan, or images that do not fit.
    """
    network = _Network(model, plan, backend)
    images, keep = np.asarray(images), set(keep)
    if not len(images):
        raise ValueError("there are no images to run.")
    unknown = keep - {node.name for node in network.nodes}
    if unknown:
        raise ValueError(f"the model has no layer {', '.join(sorted(unknown))} to keep.")
    # Each processor takes its part of a batch through the whole network.
    size = max(1, batch // runtime.processors())
    parts = [images[first : first + size] for first in range(0, len(images), size)]
    done = each(partial(network.run, keep=keep), parts)
    activations = {
        name: Activation(np.concatenate([part.kept[name].array for part in done]), a.fraction)
        for name, a in done[0].kept.items()
    }
    outputs = np.concatenate([part.outputs for part in done])
    table = _table([part.rows for part in done])
    return NetworkResult(outputs, table, plan, len(images), activations)


def differences(model, images: np.ndarray, plan: Plan, *, batch: int = 16) -> pd.DataFrame:
    """What the engine's rounding and saturation change in each layer, by itself.

    Every layer gets the inputs that a run with ideal accumulation (the training twin) gives it, and
    is computed both ways; errors do not add up from layer to layer.

    Args:
        model: as in `run`.
        images: real (N, H, W, channels).
        plan: with the engine that is to be compared with the ideal one.
        batch: images at a time.

    Returns:
        a row per layer: where it runs; how often an output is rounded on its way there, and by how
        many bits words are shifted each time (0: nothing is lost); share of outputs that differ;
        mean (with its sign), mean magnitude and largest magnitude of the difference in steps of
        the output; saturations of the engine's words on the way, and the share of outputs that had
        any.

    Raises:
        ValueError: as in `run`.
    """
    ideal = _Network(model, plan.with_config(plan.config.with_(ideal=True)))
    engine = _Network(model, plan)
    images = np.asarray(images)
    if not len(images):
        raise ValueError("there are no images to compare.")
    parts = [images[first : first + batch] for first in range(0, len(images), batch)]
    return pd.DataFrame(
        [
            _difference(layer)
            for layer in zip(*(list(_compared(ideal, engine, part)) for part in parts), strict=True)
        ]
    )


class _Compared(NamedTuple):
    """A layer computed both ways on some images; differences in steps of the output."""

    layer: str
    unit: str
    roundings: int
    shift: int
    outputs: int
    differing: int
    total: float
    magnitude: float
    largest: float
    saturations: int
    saturated: int


def _compared(ideal: _Network, engine: _Network, images: np.ndarray) -> Iterator[_Compared]:
    for node, inputs, _, _ in ideal.layers(images):
        if node.kind not in COMPUTED:
            continue
        exact, found = (n.convolve(node, inputs[0]) for n in (ideal, engine))
        steps = (found.y.values - exact.y.values) / engine.plan.layers[node.name].output.step
        yield _Compared(
            node.name,
            found.result.work.parts.unit,
            found.result.roundings,
            found.result.qf,
            steps.size,
            np.count_nonzero(steps),
            steps.sum(),
            np.abs(steps).sum(),
            np.abs(steps).max(),
            found.saturations,
            found.saturated,
        )


def _difference(parts: tuple[_Compared, ...]) -> dict:
    """The row of a layer, from all parts of the images."""
    first = parts[0]

    def total(name: str):
        return sum(getattr(part, name) for part in parts)

    outputs = total("outputs")
    return {
        "layer": first.layer,
        "unit": first.unit,
        "roundings": first.roundings,
        "shift (bits)": first.shift,
        "differing (%)": 100 * total("differing") / outputs,
        "mean (steps)": total("total") / outputs,
        "mean magnitude (steps)": total("magnitude") / outputs,
        "largest (steps)": max(part.largest for part in parts),
        "saturations": total("saturations"),
        "saturated (%)": 100 * total("saturated") / outputs,
    }


def window(
    model, image: np.ndarray, plan: Plan, layer: str, row: int, column: int, output: int
) -> Window:
    """One output position of one layer of a network, as the engine meets it in a run.

    Args:
        model: as in `run`.
        image: real (H, W, channels), one image.
        plan: formats, and the engine that runs the layers before.
        layer: name of a convolution or dense layer.
        row: of the output map, from 0; 0 for dense layers.
        column: of the output map, from 0; 0 for dense layers.
        output: number of the output map, or of the unit, from 0.

    Raises:
        ValueError: there is no such layer or position.
    """
    network = _Network(model, plan)
    node = next((n for n in network.nodes if n.name == layer and n.kind in COMPUTED), None)
    if node is None:
        names = ", ".join(n.name for n in network.nodes if n.kind in COMPUTED)
        raise ValueError(f"there is no convolution or dense layer {layer!r}; there are {names}.")
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"the image is {image.shape}, expected one (H, W, channels).")
    inputs, computed = next(
        (inputs, computed) for n, inputs, _, computed in network.layers(image[None]) if n is node
    )
    geometry, formats = computed.result.work.geometry, plan.layers[layer]
    size = (*geometry.out, geometry.outputs)
    for name, at, limit in zip(
        ("row", "column", "output"), (row, column, output), size, strict=True
    ):
        if not 0 <= at < limit:
            raise ValueError(f"{name} is {at}, expected 0 to {limit - 1} in {layer}.")
    codes = inputs[0].codes(formats.input, plan.mode)[0]
    codes = codes if codes.ndim == 3 else codes[None, None]
    padded = np.pad(codes, (*geometry.padding, (0, 0)))
    top, left = (at * s for at, s in zip((row, column), geometry.stride, strict=True))
    kernel, *bias = network.weights[layer]
    kernel = kernel if kernel.ndim == 4 else kernel[None, None]
    biased = bias and not node.config.get("tap")
    return Window(
        padded[top : top + kernel.shape[0], left : left + kernel.shape[1]],
        kernel[..., output],
        float(bias[0][output]) if biased else 0.0,
        formats,
        plan.mode,
        f"{layer}, output {output}, row {row}, column {column}",
    )


class _Computed(NamedTuple):
    """A convolution or dense layer before its activation, and what did not fit.

    Args:
        result: of the convolution.
        y: its outputs, in codes of the output's format.
        saturations: 16-bit words of the engine that were clipped, over all jobs.
        saturated: outputs whose word was clipped at least once on its way.
        clips: outputs that lie outside of the output's format.
    """

    result: Result
    y: Activation
    saturations: int
    saturated: int
    clips: int

    @property
    def overflows(self) -> int:
        """Sums on the cores that left 32 bits."""
        return self.result.overflows


class _Network:
    """A model that is ready to run: codes of its weights, and counts of its saturations."""

    def __init__(self, model, plan: Plan, backend: str = "blas"):
        if plan.config.unsigned:
            raise ValueError("a plan's formats are signed: unsigned words are for conv2d alone.")
        self.plan, self.backend = plan, backend
        # The cores run a program, and ideal accumulation is no engine's: they round by the plan.
        self.config = plan.config.with_(cores_half_up=plan.half_up)
        if plan.config.ideal:
            self.config = self.config.with_(half_up=plan.half_up)
        self.nodes = graph(model)
        self._check()
        self.weights = {
            node.name: model.get_layer(node.name).get_weights()
            for node in self.nodes
            if node.kind in (*COMPUTED, "BatchNormalization")
        }
        self.kernels = {
            node.name: self._kernel(node) for node in self.nodes if node.kind in COMPUTED
        }

    def _kernel(self, node: Node) -> Kernel:
        real = self.weights[node.name][0]
        codes = self.plan.layers[node.name].kernel.codes(real, self.plan.mode)
        return Kernel(codes[None, None] if node.kind == "Dense" else codes)

    def _check(self) -> None:
        """Say what cannot run before anything does."""
        for node in self.nodes:
            if node.kind not in (*COMPUTED, *IDENTITY, *OPERATIONS, "BatchNormalization"):
                raise ValueError(f"{node.name}: a layer of class {node.kind} is not supported.")
            if node.kind in COMPUTED and node.name not in self.plan.layers:
                raise ValueError(f"the plan has no formats for the layer {node.name}.")
            dilation, groups = node.config.get("dilation_rate", 1), node.config.get("groups", 1)
            channels = node.config.get("data_format") or "channels_last"
            if np.max(dilation) > 1 or groups > 1 or channels != "channels_last":
                raise ValueError(
                    f"{node.name}: dilation, groups and channels_first are not supported."
                )

    def run(self, images: np.ndarray, keep: set[str]) -> _Part:
        """Some images through all layers."""
        rows, kept = {}, {}
        for node, inputs, y, computed in self.layers(images):
            if node.kind != "InputLayer":
                rows[node.name] = self._row(node, inputs, y, computed)
            if node.name in keep:
                kept[node.name] = y
        return _Part(y.values, rows, kept)

    def layers(self, images: np.ndarray) -> Iterator[tuple]:
        """Every layer with its inputs, its output, and what a convolution gave, in order."""
        done: dict[str, Activation] = {}
        uses = Counter(name for node in self.nodes for name in node.inputs)
        for node in self.nodes:
            inputs = [done[name] for name in node.inputs] or [Activation(images, None)]
            y, computed = self._output(node, inputs)
            done[node.name] = y
            yield node, inputs, y, computed
            uses.subtract(node.inputs)
            for name in node.inputs:  # nothing reads it any more
                if not uses[name]:
                    done.pop(name, None)

    def _output(self, node: Node, inputs: list[Activation]) -> tuple[Activation, _Computed | None]:
        if node.kind in IDENTITY:
            return inputs[0], None
        if node.kind == "BatchNormalization":
            return operations.normalize(node.config, inputs[0], self.weights[node.name]), None
        if node.kind not in COMPUTED:
            return OPERATIONS[node.kind](node.config, inputs, self.plan.half_up), None
        computed = self.convolve(node, inputs[0])
        activation = "linear" if node.config.get("tap") else node.config["activation"]
        return operations.activate(activation, node.name, computed.y), computed

    def convolve(self, node: Node, x: Activation) -> _Computed:
        """A convolution or dense layer before its activation."""
        plan, mode, config = self.plan.layers[node.name], self.plan.mode, node.config
        kernel, bias = self.kernels[node.name], None
        codes = x.codes(plan.input, mode)
        if node.kind == "Dense":
            if codes.ndim != 2:
                raise ValueError(f"{node.name}: a dense layer takes (N, features): flatten before.")
            codes = codes[:, None, None]
        unit = tiling.decompose(*kernel.codes.shape[:2], self.config).unit
        once = self.config.ideal or unit == "cores"
        # A sum that is rounded once goes straight to the output's format, and its bias has the
        # step of the products. The engine's 16-bit words have a format of their own.
        words = plan.output if once else plan.words
        qf = max(plan.product_fraction - words.fraction_bits, 0)
        fraction = plan.product_fraction - qf
        if config["use_bias"] and not config.get("tap"):
            wide = QFormat(32, 31 - plan.product_fraction) if once else QFormat(16, 15 - fraction)
            bias = wide.codes(self.weights[node.name][1], mode)
        direct = once and fraction == plan.output.fraction_bits
        result = conv2d(
            codes,
            kernel,
            bias,
            self.config,
            qf=qf,
            stride=config.get("strides", 1),
            padding=config.get("padding", "valid"),
            weight_bits=plan.kernel.bits,
            input_bits=plan.input.bits,
            output_bits=plan.output.bits if direct else 16,
            bias_shift=qf if once else 0,
            backend=self.backend,
        )
        y = result.y[:, 0, 0] if node.kind == "Dense" else result.y
        clips = result.saturated if direct else _beyond(y, fraction, plan.output, self.plan.half_up)
        y = Activation(Activation(y, fraction).codes(plan.output, mode), plan.output.fraction_bits)
        words = (0, 0) if once else (result.saturations, result.saturated)
        return _Computed(result, y, *words, clips)

    def _row(
        self, node: Node, inputs: list[Activation], y: Activation, computed: _Computed | None
    ) -> dict:
        row = {"layer": node.name, "kind": node.kind}
        row |= {"input": _shape(inputs[0]), "output": _shape(y)}
        if computed is None:
            return row
        plan, result = self.plan.layers[node.name], computed.result
        row |= {f"{name} format": str(getattr(plan, name)) for name in _FORMATS}
        row["work"] = dataclasses.replace(result.work, output_bits=plan.output.bits)
        counts = {name: getattr(computed, name) for name in _COUNTS}
        return row | counts | {"outputs": result.y.size}


class _Part(NamedTuple):
    """What some of the images gave: outputs, a row per layer, and outputs of layers."""

    outputs: np.ndarray
    rows: dict[str, dict]
    kept: dict[str, Activation]


def _table(parts: list[dict[str, dict]]) -> pd.DataFrame:
    """The rows of all parts: costs are those of one image, counts are added up."""
    rows = []
    for layer, row in parts[0].items():
        if "work" in row:
            counts = {n: sum(part[layer][n] for part in parts) for n in (*_COUNTS, "outputs")}
            row = row | network_result.costs(row["work"]) | counts
            row["saturated (%)"] = 100 * row["saturated"] / row["outputs"]
        rows.append({k: v for k, v in row.items() if k not in ("work", "saturated", "outputs")})
    return pd.DataFrame(rows)


def _beyond(codes: np.ndarray, fraction: int, q: QFormat, half_up: bool) -> int:
    """How many codes with so many fractional bits a format cannot hold, once they are rounded."""
    shift = fraction - q.fraction_bits
    scale, half = math.ldexp(1.0, shift), math.ldexp(0.5, shift) if half_up and shift > 0 else 0.0
    high, low = (q.max_code + 1) * scale - half, q.min_code * scale - half
    if shift <= 0:  # nothing is rounded: the largest code itself is the end
        high = math.floor(q.max_code * scale) + 1
    return int(np.count_nonzero(codes >= high) + np.count_nonzero(codes < low))


def _shape(activation: Activation) -> str:
    return "x".join(map(str, activation.array.shape[1:]))
