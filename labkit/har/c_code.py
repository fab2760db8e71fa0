"""A pipeline and a model as C: what a firmware includes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from labkit.har import HarError
from labkit.har.pipeline import SAMPLE, Pipeline, literal
from labkit.measure import MicroReport
from labkit.measure.graph import Graph, Tensor
from labkit.measure.tflite import quantize

#: Types of a network's input and output: the name in C, and limits of its codes.
_TYPES = {
    "float32": ("float", None),
    "int8": ("int8_t", (-128, 127)),
    "uint8": ("uint8_t", (0, 255)),
    "int16": ("int16_t", (-32768, 32767)),
}
#: Methods of MicroMutableOpResolver that do not follow from the operator's name.
_METHODS = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "TFLM_DECODE": "Decode",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


@dataclass(frozen=True)
class End:
    """Type, scale and zero point of a network's input or output."""

    type: str
    scale: float
    zero_point: int
    count: int

    @classmethod
    def of(cls, tensor: Tensor) -> End:
        """That of a tensor.

        Raises:
            HarError: a type that a device has no use for.
        """
        if tensor.type not in _TYPES:
            raise HarError(f"the model's input or output is {tensor.type}, expected float or int8.")
        scale = float(tensor.scales[0]) if len(tensor.scales) else 1.0
        return cls(tensor.type, scale, int(tensor.zero_points[0]), tensor.count)

    @property
    def c_type(self) -> str:
        """The type's name in C."""
        return _TYPES[self.type][0]

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest code; None for floats."""
        return _TYPES[self.type][1]

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Values as the network takes them, rounded as the C code does."""
        details = {"dtype": self.type, "quantization": (self.scale, self.zero_point)}
        return quantize(x.astype(np.float32), details)


def method(operator: str) -> str:
    """The method of MicroMutableOpResolver that adds an operator: CONV_2D, AddConv2D."""
    words = _METHODS.get(operator) or "".join(
        word if re.fullmatch(r"\dD", word) else word.capitalize() for word in operator.split("_")
    )
    return f"Add{words}"


def model_header(content: bytes, graph: Graph, report: MicroReport, title: str) -> str:
    """The header of a model: its bytes, operators, arena, input and output."""
    ends = [End.of(graph.tensors[i]) for i in (graph.inputs[0], graph.outputs[0])]
    rows = [
        ", ".join(f"0x{byte:02x}" for byte in content[start : start + 16])
        for start in range(0, len(content), 16)
    ]
    arena = (
        f"/* The smallest arena that works where pointers have 64 bits; 32-bit devices need less.\n"
        f" * {report.activation_bytes} bytes of it are activations. */\n"
        f"#define HAR_ARENA_BYTES {report.arena_bytes}"
        if report.runs
        else f"/* HAR_ARENA_BYTES was not measured: {report.reason} */"
    )
    constants = "".join(
        f"#define HAR_{name}_SCALE {literal(end.scale)}\n"
        f"#define HAR_{name}_ZERO_POINT ({end.zero_point})\n"
        f"#define HAR_{name}_VALUES {end.count}\n"
        f"typedef {end.c_type} har_{name.lower()};\n"
        for name, end in zip(("INPUT", "OUTPUT"), ends, strict=True)
    )
    stateful = any(tensor.is_variable for tensor in graph.tensors)
    state = "/* It remembers: call the interpreter's Reset() before each window. */\n" * stateful
    adds = " ||\n         ".join(
        f"resolver.{method(operator)}() != 0" for operator in report.operators
    )
    newline = "\n"
    return f"""\
/* {title}: written by `labkit har export`, not to be edited. */
#ifndef HAR_MODEL_H
#define HAR_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
#define HAR_ALIGNED alignas(16)
#else
#define HAR_ALIGNED _Alignas(16)
#endif

{arena}

{state}{constants}
#define HAR_MODEL_BYTES {len(content)}
HAR_ALIGNED static const unsigned char har_model[HAR_MODEL_BYTES] = {{
{newline.join(f"  {row}," for row in rows)}
}};

/* {", ".join(report.operators)} */
#define HAR_OPERATORS {len(report.operators)}

#ifdef __cplusplus
/* Adds them to a tflite::MicroMutableOpResolver<HAR_OPERATORS>; true if all went well. */
template <class Resolver>
bool har_add_operators(Resolver &resolver) {{
  return !({adds});
}}
#endif

#endif
"""


def memory(pipeline: Pipeline) -> tuple[list[int], int]:
    """Where each step's floats begin in those of all steps, and how many these are."""
    sizes = [s.size(c) for s, c in zip(pipeline.steps, pipeline.widths, strict=False)]
    *starts, whole = accumulate(sizes, initial=0)
    return starts, whole


def preprocessing(pipeline: Pipeline, end: End) -> dict[str, str]:
    """Header and source of a pipeline that ends in a network's input.

    The window holds the network's own codes: of int8 a quarter of the memory of floats.

    Returns:
        content by file name.
    """
    starts, size = memory(pipeline)
    widest = max(pipeline.widths)
    blocks = []
    for step, channels, start in zip(pipeline.steps, pipeline.widths, starts, strict=False):
        body = "".join(f"  {line}\n" if line else "\n" for line in _body(step, channels, pipeline))
        blocks.append(
            f"  /* {step.name} */\n  {{\n    float *s = state->memory + {start};\n{body}"
            f"    (void)s;\n  }}\n  memcpy(x, y, sizeof x);\n"
        )
    labels = ", ".join('"' + re.sub(r'[^ -~]|["\\]', "?", label) + '"' for label in pipeline.labels)
    header = f"""\
/* What samples go through before the network: written by `labkit har export`, not to be edited.
 *
 * The same bits as in Python need float arithmetic that is neither fused nor reordered:
 * -ffp-contract=off, and no -ffast-math.
 */
#ifndef HAR_PREPROCESS_H
#define HAR_PREPROCESS_H

#include <stdint.h>

#define HAR_RATE {literal(pipeline.rate)} /* samples a second */
#define HAR_SAMPLE {len(SAMPLE)} /* {", ".join(SAMPLE)}: g, rad/s */
#define HAR_CHANNELS {pipeline.channels}
#define HAR_WINDOW {pipeline.window}
#define HAR_HOP {pipeline.hop}
#define HAR_CLASSES {len(pipeline.labels)}

typedef {end.c_type} har_value;

typedef struct {{
  int started, filled;
  float memory[{max(1, size)}];
  har_value window[HAR_WINDOW][HAR_CHANNELS];
}} har_state;

#ifdef __cplusplus
extern "C" {{
#endif

extern const char *const har_labels[HAR_CLASSES];

/* Forget all samples; before the first one, and after a gap. */
void har_reset(har_state *state);

/* Take a sample. 1 if state->window is whole now: it is until the next sample. */
int har_push(har_state *state, const float sample[HAR_SAMPLE]);

#ifdef __cplusplus
}}
#endif

#endif
"""
    source = f"""\
#include "har_preprocess.h"

#include <math.h>
#include <string.h>

const char *const har_labels[HAR_CLASSES] = {{{labels}}};

{_helpers(pipeline)}\
static har_value code(float v) {{
{_quantise(end)}}}

void har_reset(har_state *state) {{ memset(state, 0, sizeof *state); }}

int har_push(har_state *state, const float sample[HAR_SAMPLE]) {{
  float x[{widest}] = {{0}}, y[{widest}] = {{0}};
  const int first = !state->started;
  int i, j;
  state->started = 1;
  memcpy(x, sample, HAR_SAMPLE * sizeof *sample);
{"".join(blocks)}\
  (void)first;
  (void)j;
  (void)y;
  if (state->filled == HAR_WINDOW) {{
    state->filled = HAR_WINDOW - HAR_HOP;
    memmove(state->window[0], state->window[HAR_HOP],
            (HAR_WINDOW - HAR_HOP) * sizeof state->window[0]);
  }}
  for (i = 0; i < HAR_CHANNELS; ++i) state->window[state->filled][i] = code(x[i]);
  return ++state->filled == HAR_WINDOW;
}}
"""
    return {"har_preprocess.h": header, "har_preprocess.c": source}


def _body(step, channels: int, pipeline: Pipeline) -> list[str]:
    return [f"  {line}" for line in step.c(channels, pipeline.rate).splitlines()]


def _helpers(pipeline: Pipeline) -> str:
    if not {"median", "clip"} & {step.name for step in pipeline.steps}:
        return ""
    return """\
static float smaller(float a, float b) { return a < b ? a : b; }
static float larger(float a, float b) { return a > b ? a : b; }

"""


def _quantise(end: End) -> str:
    if end.limits is None:
        return "  return v;\n"
    low, high = end.limits
    return f"""\
  /* Halves away from zero, as TFLite's QUANTIZE does. */
  float steps = v / {literal(end.scale)};
  steps = truncf(steps + copysignf(0.5f, steps)) + {literal(end.zero_point)};
  if (steps < {literal(low)}) steps = {literal(low)};
  if (steps > {literal(high)}) steps = {literal(high)};
  return (har_value)steps;
"""
