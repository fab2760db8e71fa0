"""A pipeline as a JavaScript module: what a page in a browser imports."""

from __future__ import annotations

import json
import re

import numpy as np

from labkit.har.c_code import memory
from labkit.har.pipeline import SAMPLE, Pipeline

#: From the part of C in which steps are written to JavaScript, line by line, the first that fits.
#: Every value that is assigned is rounded to float32.
_RULES = (
    (r"static const float (\w+)\S* = \{$", r"const \1 = ["),
    (r"^\s*\{(.*)\},$", r"  [\1],"),
    (r"^\};$", "];"),
    (r"float \*(\w+) = (\w+) \+ (.*);$", r"const \1 = \2.subarray(\3);"),
    (r"float (\w+) = (.*);$", r"let \1 = Math.fround(\2);"),
    (r"float (\w+(, \w+)*);$", r"let \1;"),
    (r"^(\s*(?:for \(.*?\) )?)([\w\[\] *+]+) = (.*);$", r"\1\2 = Math.fround(\3);"),
)
_LITERAL = re.compile(r"(?<![\w.])(\d[\d.]*(?:e[+-]?\d+)?)f\b")


def preprocessing(pipeline: Pipeline) -> str:
    """A module that makes a pipeline's windows, bit for bit as Python does.

    It exports RATE, WINDOW, HOP, CHANNELS, LABELS and the class Stream: `push(sample)` takes six
    numbers in the order of `SAMPLE` and gives the window that ends with them, Float32Array
    (WINDOW · CHANNELS), or null; `reset()` forgets all samples.
    """
    starts, size = memory(pipeline)
    blocks = "".join(
        f"    {{\n      // {step.name}\n      const s = this.memory.subarray({start});\n"
        f"{_indented(_javascript(step.c(channels, pipeline.rate)))}    }}\n    x.set(y);\n"
        for step, channels, start in zip(pipeline.steps, pipeline.widths, starts, strict=False)
    )
    widest = max(pipeline.widths)
    return f"""\
// What samples go through before the network: written by labkit, not to be edited.
export const RATE = {pipeline.rate:g}; // samples a second
export const SAMPLE = {json.dumps(SAMPLE)}; // g, rad/s
export const CHANNELS = {pipeline.channels};
export const WINDOW = {pipeline.window};
export const HOP = {pipeline.hop};
export const LABELS = {json.dumps(pipeline.labels)};

const smaller = (a, b) => (a < b ? a : b);
const larger = (a, b) => (a > b ? a : b);

export class Stream {{
  constructor() {{
    this.reset();
  }}

  // Forget all samples; before the first one, and after a gap.
  reset() {{
    this.started = false;
    this.filled = 0;
    this.memory = new Float32Array({size});
    this.window = new Float32Array(WINDOW * CHANNELS);
  }}

  // Take a sample; the window if it is whole now, until the next sample, else null.
  push(sample) {{
    const x = new Float32Array({widest});
    const y = new Float32Array({widest});
    const first = !this.started;
    let i, j;
    this.started = true;
    x.set(sample);
{blocks}\
    if (this.filled === WINDOW) {{
      this.filled = WINDOW - HOP;
      this.window.copyWithin(0, HOP * CHANNELS);
    }}
    this.window.set(x.subarray(0, CHANNELS), this.filled * CHANNELS);
    this.filled += 1;
    return this.filled === WINDOW ? this.window : null;
  }}
}}
"""


def _javascript(statements: str) -> str:
    """A step's C statements as JavaScript."""
    # float32 as the float64 that is the same number
    text = _LITERAL.sub(lambda found: repr(float(np.float32(found[1]))), statements)
    return "\n".join(map(_line, text.splitlines()))


def _line(line: str) -> str:
    for pattern, replacement in _RULES:
        line, count = re.subn(pattern, replacement, line)
        if count:
            break
    return line


def _indented(text: str) -> str:
    return "".join(f"      {line}\n" for line in text.splitlines())
