"""Networks with weights of four bits and fewer: trained with QKeras, written as real 4-bit files.

While it is trained, a QKeras layer keeps float weights and rounds them on every call; gradients
pass straight through the rounding. Its rounded weights are codes times a step, and those codes are
what a TFLite file with int4 or int2 weights stores.

Source: C. N. Coelho et al., *Automatic heterogeneous quantization of deep neural networks for
low-latency inference on the edge for particle detectors*, Nature Machine Intelligence 3 (2021).
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
import pandas as pd
import qkeras
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.quantizer import Quantizer
from qkeras import estimate
from qkeras.qtools import run_qtools, settings
from qkeras.utils import _add_supported_quantized_objects

from labkit import files, runtime
from labkit.compress import post_training
from labkit.compress.calibration import lets_factors_through
from labkit.datasets import Dataset
from labkit.models import networks, sign_cnn

#: Sixteen codes less one: -7/8 … 7/8 in steps of 1/8, the same number on both sides of zero.
FOUR_BITS = "quantized_bits(4,0,1,alpha=1)"
#: Epochs and peak learning rate of a fine-tuning that starts from float weights.
EPOCHS = {"quick": 2, "full": 5}
PEAK_LEARNING_RATE = 2e-3

_LAYERS = {
    tf.keras.layers.Conv1D: qkeras.QConv1D,
    tf.keras.layers.Conv2D: qkeras.QConv2D,
    tf.keras.layers.Dense: qkeras.QDense,
}
_PLAIN = {quantized: plain for plain, quantized in _LAYERS.items()}
_SHARED_OPTIONS = (
    *("name", "filters", "kernel_size", "strides", "padding", "dilation_rate"),
    *("units", "use_bias"),
)
#: Divisors that are tried for a kernel, as parts of its largest weight; 1 first, to win a tie.
_FACTORS = (1.0, *np.geomspace(0.35, 3.0, 32))
_TFLITE_TYPES = {2: schema.TensorType.INT2, 4: schema.TensorType.INT4}
#: Energy of a memory access grows with the memory: 16 MB, QTools' own default in its examples.
_SRAM_BITS = 8 * 16 * 1024 * 1024
_ENERGIES = {
    "reading inputs (nJ)": "inputs",
    "reading weights (nJ)": "parameters",
    "writing outputs (nJ)": "outputs",
    "operations (nJ)": "op_cost",
}
MODES = ("weight_only", "dynamic_range")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without Keras's warning that QKeras's constraints are serialised in an unusual way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*constraints.serialize.*")
        yield


def quantizer(name: str):
    """A quantiser from QKeras's notation, for example "ternary(alpha='auto')".

    Raises:
        ValueError: QKeras does not know it.
    """
    try:
        found = qkeras.get_quantizer(name)
    except Exception as error:
        raise ValueError(f"QKeras cannot read the quantiser {name!r}: {error}") from error
    if not isinstance(found, qkeras.quantizers.BaseQuantizer):
        raise ValueError(f"{name!r} is not one of QKeras's quantisers.")
    return found


def rounded(name: str, x: np.ndarray, training: bool = False, seed: int = 0) -> np.ndarray:
    """What a quantiser makes of real numbers.

    Args:
        name: in QKeras's notation.
        x: float, any shape; with alpha='auto' the last axis counts as the output channels.
        training: let the stochastic quantisers draw, as they do in training.
        seed: of those draws.

    Returns:
        float32, the shape of x.

    Raises:
        ValueError: an unknown quantiser.
    """
    tf.random.set_seed(seed)
    with _learning_phase(training):
        return np.asarray(quantizer(name)(tf.constant(x, tf.float32)))


def levels(name: str) -> np.ndarray:
    """The values that a quantiser of fixed scale can give, float32, rising.

    Args:
        name: in QKeras's notation, with a number for alpha (or none).
    """
    fine = np.linspace(0, 64, 4097)
    small = 2.0 ** np.linspace(-20, 0, 201)
    grid = np.concatenate([fine, small])
    mantissa, exponent = np.frexp(rounded(name, np.concatenate([-grid, grid])))
    # QKeras returns x + (q - x), which is q but for the last bits of a float32.
    return np.unique(np.ldexp(np.round(mantissa * 2**16) / 2**16, exponent))


@contextlib.contextmanager
def _learning_phase(training: bool) -> Iterator[None]:
    """Tell QKeras's stochastic quantisers whether it is training.

    They ask for the global learning phase, which `fit` no longer sets in Keras 2: without this,
    `stochastic_ternary` trains as `ternary`, and says nothing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*learning_phase_scope.*")
        scope = tf.keras.backend.learning_phase_scope(int(training))
        with scope:
            yield


def quantize(
    model: tf.keras.Model,
    weights: str = FOUR_BITS,
    biases: str = FOUR_BITS,
    activations: str | None = None,
    fit_scale: bool = True,
) -> tf.keras.Model:
    """A QKeras copy of a trained model, warm-started from its weights; the model is not changed.

    A kernel that batch normalisation follows may have any scale, since the normalisation takes it
    out again; so may one whose inputs come from a normalisation through ReLU and pooling. Such a
    kernel is scaled to where its rounded weights point most nearly in its own direction, and the
    normalisation makes up for it: the copy computes the same but for the rounding.

    Args:
        model: functional or sequential, of Keras's own layers. Convolutions and dense layers
            become QKeras's, normalisations stay as they are.
        weights: quantiser of their kernels, in QKeras's notation.
        biases: quantiser of their biases.
        activations: quantiser in the place of every ReLU, for example "quantized_relu(4,2)";
            without, they stay.
        fit_scale: use that freedom; without, the kernels are rounded as they are.

    Raises:
        ValueError: QKeras does not know a quantiser.

    Source of the scale: F. Li, B. Zhang & B. Liu, *Ternary weight networks*, arXiv:1605.04711.
    """
    for name in (weights, biases, activations):
        if name is not None:
            quantizer(name)

    def replaced(layer):
        if type(layer) in _LAYERS:
            return _quantized_layer(layer, weights, biases)
        if activations is not None and isinstance(layer, tf.keras.layers.ReLU):
            return qkeras.QActivation(activations, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    with _quietly():
        copy = networks.copy_of(model, replaced)
        for layer in quantized_layers(copy) if fit_scale else ():
            _fit_scale(layer)
    return copy


def _quantized_layer(layer: tf.keras.layers.Layer, weights: str, biases: str):
    config = layer.get_config()
    options = {name: config[name] for name in _SHARED_OPTIONS if name in config}
    activation = None if config["activation"] == "linear" else config["activation"]
    return _LAYERS[type(layer)](
        kernel_quantizer=weights,
        bias_quantizer=biases,
        activation=activation,
        kernel_initializer="zeros",
        **options,
    )


def quantized_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The QKeras convolutions and dense layers of a model, in order."""
    return [layer for layer in model.layers if type(layer) in _PLAIN]


def _fit_scale(layer: tf.keras.layers.Layer) -> None:
    """Scale a kernel for its quantiser; a normalisation behind or before makes up for it."""
    behind = _neighbour(layer, "outbound")
    before = None if behind else _neighbour(layer, "inbound")
    if not (behind or before):
        return
    kernel = layer.kernel.numpy()
    clipped = layer.kernel_constraint or (lambda x: x)  # QKeras's, after every step of a training

    def quantise(x):
        return layer.kernel_quantizer_internal(clipped(x))

    divisor, step = fitted_scale(kernel, quantise, per_channel=behind is not None)
    layer.kernel.assign(clipped(tf.constant(kernel / divisor)))
    step = np.ravel(step)
    if before:
        before.gamma.assign(before.gamma * step)
        before.beta.assign(before.beta * step)
        return
    variance = behind.moving_variance.numpy()
    rescaled = variance / step**2
    deviations = np.sqrt((rescaled + behind.epsilon) / (variance + behind.epsilon))
    behind.gamma.assign(behind.gamma * step * deviations)
    behind.moving_mean.assign(behind.moving_mean / step)
    behind.moving_variance.assign(rescaled)


def fitted_scale(
    kernel: np.ndarray, quantise, per_channel: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The scale at which a quantiser loses least of a kernel: min over d and s of ‖w − s·Q(w/d)‖².

    Args:
        kernel: float (..., out).
        quantise: function of a float32 array that returns the quantised values.
        per_channel: a scale for each output channel, else one for all.

    Returns:
        divisor d (what the kernel is to be divided by before it is rounded) and scale s (what the
        rounded kernel is to be multiplied by), each float32 and broadcastable with the kernel.

    Source: Li, Zhang & Liu, equations 3 and 4; d from a search over a grid.
    """
    axes = tuple(range(kernel.ndim - 1)) if per_channel else None
    largest = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True), 1e-12)
    best_fit = np.full(largest.shape, -np.inf, np.float32)
    divisor, scale = largest.copy(), largest.copy()
    for factor in _FACTORS:
        tried = largest * factor
        rounded_ = np.asarray(quantise(tf.constant(kernel / tried, tf.float32)))
        product = (kernel * rounded_).sum(axis=axes, keepdims=True)
        power = (rounded_**2).sum(axis=axes, keepdims=True)
        fit = product / np.sqrt(np.maximum(power, 1e-12))  # the cosine, times the kernel's length
        better = fit > best_fit * (1 + 1e-5) + 1e-12
        best_fit = np.where(better, fit, best_fit)
        divisor = np.where(better, tried, divisor)
        scale = np.where(better & (product > 0), product / np.maximum(power, 1e-12), scale)
    return divisor.astype(np.float32), scale.astype(np.float32)


def _neighbour(layer: tf.keras.layers.Layer, side: str):
    """The normalisation directly behind a layer, or the one that scales its inputs, or None."""
    while True:
        nodes = getattr(layer, f"{side}_nodes")
        if len(nodes) != 1:
            return None
        layer = nodes[0].outbound_layer if side == "outbound" else nodes[0].inbound_layers
        if isinstance(layer, list) or len(layer.outbound_nodes) != 1:
            return None
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            return layer if layer.scale and layer.center else None
        if side == "outbound" or not lets_factors_through(layer):
            return None


def fine_tune(
    model: tf.keras.Model,
    dataset: Dataset,
    profile: str = "full",
    seed: int = 0,
    *,
    epochs: int | None = None,
    learning_rate: float = PEAK_LEARNING_RATE,
) -> dict[str, list[float]]:
    """Train a model from `quantize` in place, stochastic quantisers drawing as they should.

    Returns:
        "loss" and "accuracy" on the augmented training images, a value an epoch.
    """
    with _learning_phase(True), _quietly():
        return sign_cnn.train(
            model,
            dataset,
            profile,
            seed,
            epochs=EPOCHS[profile] if epochs is None else epochs,
            learning_rate=learning_rate,
        )


def save(model: tf.keras.Model, path: str | Path) -> Path:
    """Write a QKeras model to a `.h5` or `.keras` file, atomically."""
    with _quietly(), files.replacing(path) as temporary:
        model.save(temporary)
    return Path(path)


def load(path: str | Path) -> tf.keras.Model:
    """Read a QKeras model: Keras finds its classes within `custom_object_scope` alone."""
    objects: dict = {}
    _add_supported_quantized_objects(objects)
    with _quietly(), tf.keras.utils.custom_object_scope(objects):
        return tf.keras.models.load_model(path, compile=False)


@dataclass(frozen=True)
class Codes:
    """A kernel as it would be stored.

    Attributes:
        values: int32, the kernel's shape (..., out).
        step: float32, broadcastable with it; kernel = step * values.
    """

    values: np.ndarray
    step: np.ndarray


def codes(layer: tf.keras.layers.Layer) -> Codes:
    """Codes and step of a QKeras layer's rounded kernel.

    Raises:
        ValueError: the quantiser's values lie on no common grid (powers of two), or are drawn anew
            on every call (bernoulli).
    """
    quantise = layer.kernel_quantizer_internal
    if isinstance(quantise, qkeras.quantizers.bernoulli) or not hasattr(quantise, "scale"):
        raise ValueError(
            f"{layer.name!r} has {quantise}, whose values are no integers times a step: codes are "
            "for quantized_bits, ternary and binary."
        )
    kernel = np.asarray(quantise(layer.kernel))
    step = np.asarray(quantise.scale, np.float32)
    if isinstance(quantise, qkeras.quantized_bits):
        step = step * np.float32(2.0 ** (quantise.integer - quantise.bits + quantise.keep_negative))
    values = np.divide(kernel, step, out=np.zeros_like(kernel), where=step != 0)
    return Codes(np.rint(values).astype(np.int32), step)


def to_float(model: tf.keras.Model) -> tf.keras.Model:
    """A plain Keras copy whose kernels and biases are the rounded ones, as floats.

    Raises:
        ValueError: activations are quantised, which plain Keras layers do not do.
    """
    with _quietly():
        copy = tf.keras.models.clone_model(model, clone_function=_plain_layer)
    copy.set_weights(model.get_weights())
    for layer in quantized_layers(model):
        plain = copy.get_layer(layer.name)
        plain.kernel.assign(layer.kernel_quantizer_internal(layer.kernel))
        if layer.use_bias and layer.bias_quantizer_internal is not None:
            plain.bias.assign(layer.bias_quantizer_internal(layer.bias))
    return copy


def _plain_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    if isinstance(layer, qkeras.QActivation):
        raise ValueError(
            f"{layer.name!r} quantises activations: a file can hold 4-bit weights, not 4-bit "
            "activations. Leave out `activations` to write one."
        )
    config = layer.get_config()
    if type(layer) not in _PLAIN:
        return layer.__class__.from_config(config)
    options = {name: config[name] for name in _SHARED_OPTIONS if name in config}
    activation = tf.keras.activations.serialize(layer.activation) if layer.activation else None
    return _PLAIN[type(layer)](activation=activation, **options)


def convert(model: tf.keras.Model, bits: int = 4, mode: str = "weight_only") -> bytes:
    """A TFLite file whose weights are int4 or int2: the codes of a QKeras model, one for one.

    The converter folds batch normalisation into the kernels, a factor for each output channel: it
    changes the step of a channel and not its codes (their sign, where γ is negative). Biases stay
    float32 in the file.

    Args:
        model: from `quantize`, its kernels quantised to codes that fit: `codes` gives them.
        bits: 4 or 2, of a weight in the file.
        mode: "weight_only" (a DEQUANTIZE before each layer, computed in float32) or, for 4 bits,
            "dynamic_range" (activations quantised to 8 bits at run time, computed in integers).

    Raises:
        ValueError: unknown bits or mode, codes that do not fit, or activations that are quantised.
            int2 convolutions in "dynamic_range" are refused: LiteRT 2.3 answers NaN.
    """
    if bits not in _TFLITE_TYPES or mode not in MODES:
        raise ValueError(
            f"bits is {bits!r} and mode {mode!r}, expected 4 or 2, and one of {', '.join(MODES)}."
        )
    if (bits, mode) == (2, "dynamic_range"):
        raise ValueError("LiteRT 2.3 computes NaN with int2 convolutions: take mode 'weight_only'.")
    stored = [codes(layer).values for layer in quantized_layers(model)]
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if min(v.min() for v in stored) < low or max(v.max() for v in stored) > high:
        raise ValueError(
            f"codes from {min(v.min() for v in stored)} to {max(v.max() for v in stored)} do not "
            f"fit into {bits} bits, which hold {low} to {high}: choose a coarser quantiser."
        )
    content = post_training.convert(to_float(model), "float")
    with runtime.captured_stderr(), contextlib.redirect_stdout(io.StringIO()):
        converter = Quantizer(content)
        add = converter.add_weight_only_config
        if mode == "dynamic_range":
            add = converter.add_dynamic_config
        # As int4 in any case: there is no recipe for int2 weights behind a DEQUANTIZE, which runs.
        add(regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=4)
        quantized = converter.quantize().quantized_model
    return _with_codes(bytes(quantized), content, stored, bits)


def _with_codes(content: bytes, float_content: bytes, stored: list[np.ndarray], bits: int) -> bytes:
    """Put codes into a file that the quantiser of LiteRT has laid out, and the steps that fit.

    That quantiser takes the largest weight of a channel for the largest code, which it need not be:
    a channel that uses the codes -5 … 5 would get other ones.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    tensors = _constants(model, schema.TensorType.INT4)
    kernels = _kernels(schema.ModelT.InitFromObj(schema.Model.GetRootAs(float_content, 0)))
    if not len(tensors) == len(kernels) == len(stored):
        raise ValueError(
            f"{len(stored)} kernels, but {len(kernels)} in the float file and {len(tensors)} of "
            "4 bits in the quantised one: the model has layers that this cannot write."
        )
    for tensor, kernel, values in zip(tensors, kernels, stored, strict=True):
        values = np.moveaxis(values, -1, 0).reshape(len(kernel), -1)
        values, steps = _signed(values, kernel, bits)
        tensor.type = _TFLITE_TYPES[bits]
        tensor.quantization.scale = steps
        tensor.quantization.zeroPoint = np.zeros(len(steps), np.int64)
        model.buffers[tensor.buffer].data = _packed(values, bits)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _signed(values: np.ndarray, kernel: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (out, n) and positive steps (out,) that give the folded kernel (out, n)."""
    power = (values**2).sum(axis=1)
    steps = (kernel * values).sum(axis=1) / np.maximum(power, 1)
    error = np.abs(kernel - steps[:, None] * values).max()
    if error > 1e-5 * max(np.abs(kernel).max(), 1e-30):
        raise ValueError("the kernels in the file are not the codes times a step for each channel.")
    values = values * np.where(steps < 0, -1, 1)[:, None]
    if values.max() >= 2 ** (bits - 1):
        raise ValueError(
            f"a channel with a negative γ turns the code {-(2 ** (bits - 1))} round, which has no "
            "opposite: take a symmetric quantiser, for example quantized_bits(4,0,1)."
        )
    return values, np.where(power > 0, np.abs(steps), 1).astype(np.float32)


def _constants(model: schema.ModelT, kind: int) -> list[schema.TensorT]:
    """The tensors of a type that operators read, in the order of execution."""
    graph = model.subgraphs[0]
    indices = [i for operator in graph.operators for i in operator.inputs if i >= 0]
    found = [graph.tensors[i] for i in dict.fromkeys(indices)]
    return [t for t in found if t.type == kind and model.buffers[t.buffer].data is not None]


def _kernels(model: schema.ModelT) -> list[np.ndarray]:
    """The weights of a float file's convolutions and dense layers, each float64 (out, n)."""
    graph = model.subgraphs[0]
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in kinds:
            tensor = graph.tensors[operator.inputs[1]]
            data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.float32)
            found.append(data.reshape(tensor.shape[0], -1).astype(np.float64))
    return found


def _packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Codes as bytes, the first code in the lowest bits; the last byte is filled with zeros."""
    each = 8 // bits
    flat = values.ravel() & (2**bits - 1)
    flat = np.pad(flat, (0, -flat.size % each)).reshape(-1, each)
    return (flat << (bits * np.arange(each))).sum(axis=1).astype(np.uint8)


def bits(model: tf.keras.Model) -> pd.DataFrame:
    """Bits of the weights and biases, as `qkeras.print_qstats` counts them.

    Args:
        model: from `quantize`.

    Returns:
        a row a convolution or dense layer: "weights", "bits of a weight", "biases", "bits of a
        bias", "size (bits)", and "size at 32 bits (bits)" of the same numbers.
    """
    with contextlib.redirect_stdout(io.StringIO()), _quietly():
        profile = estimate.extract_model_operations(model)
    rows = {}
    for layer in quantized_layers(model):
        item = profile[layer.name]
        weights = int(item["number_of_weights"])
        biases = int(item["number_of_bias"]) if layer.use_bias else 0
        each, of_bias = int(item["type_of_weights"][1]), int(item["type_of_bias"][1])
        rows[layer.name] = {
            "weights": weights,
            "bits of a weight": each,
            "biases": biases,
            "bits of a bias": of_bias if biases else 0,
            "size (bits)": weights * each + biases * of_bias,
            "size at 32 bits (bits)": 32 * (weights + biases),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")


def energy(model: tf.keras.Model, input_bits: int = 8) -> pd.DataFrame:
    """QTools' estimate of the energy of one image, on a chip that does just this network.

    Operations by the measured energies of a 45 nm process, memory by a model fitted to them;
    weights and activations lie in on-chip memory (SRAM). An estimate for comparing networks, not a
    measurement of any device.

    Args:
        model: from `quantize`, with quantised activations: without them QTools counts float32
            operations.
        input_bits: of a pixel.

    Returns:
        a row a layer: energy in nJ of "reading inputs", "reading weights", "writing outputs",
        "operations", and "total", of what QTools counts for that kind of layer.

    Source: M. Horowitz, *Computing's energy problem*, ISSCC 2014; Coelho et al., section 3.
    """
    with contextlib.redirect_stdout(io.StringIO()), _quietly():
        tools = run_qtools.QTools(
            model, process="horowitz",
            source_quantizers=[qkeras.quantized_bits(input_bits, 0, 0, keep_negative=False)],
            is_inference=False, keras_quantizer="fp32", keras_accumulator="fp32",
        )  # fmt: skip
        found = tools.pe("sram", "sram", min_sram_size=_SRAM_BITS, rd_wr_on_io=False)
        profile = tools.extract_energy_profile(settings.cfg.include_energy, found)
    rows = {
        name: {label: item["energy"][key] / 1000 for label, key in _ENERGIES.items()}
        | {"total (nJ)": item["total"] / 1000}
        for name, item in profile.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")
