# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 03 · Integer activations: int8 and 16x8
#
# A microcontroller without a floating-point unit, or an accelerator that has only integer
# multipliers, needs integers from the first pixel to the last probability. Then the activations
# are quantised *in advance*, with ranges that somebody must have measured. This lab measures them,
# breaks an 8-bit network on purpose by giving one channel too large a range, and saves it with
# 16-bit activations.
#
# **You will be able to**
#
# - calibrate activation ranges with a representative dataset;
# - say when 8 bits for an activation are too few, and how many more 16 bits give;
# - explain why the accumulators and biases of a 16x8 network have 64 bits;
# - convert to full int8, 16x8 and float16, and compare the files.
#
# **Time:** 60 minutes of work; the computer takes 1 minute (`quick`) or 2 (`full`, with the
# baselines of lab 01; 3 more without).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, and `sign_mnist_quant_int16x8.tflite`. (The lab also writes
# `sign_mnist_quant_int8.tflite` and `sign_mnist_quant_float16.tflite`, to compare with.)

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import measure, plots
from labkit.checks import check, predict, reveal
from labkit.compress import calibration, post_training
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("03_int16x8", PROFILE, DATA, SEED, OUT, headline="sign_mnist_quant_int16x8.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())

# %% [markdown]
# ## 1 · Which range? Calibration
#
# Weights can be looked at; activations exist only while the network runs. So the converter runs
# the float network on some real inputs, the **representative dataset**, and notes the smallest and
# the largest value of every activation. From then on the range is fixed: what is larger in the
# field is cut off.
#
# By hand: two batches, $(0.2, 3.0)$ and $(-0.5, 1.0)$. After the first the range is $[0.2, 3.0]$,
# widened to contain zero, $[0, 3.0]$ (zero must be exact, since padding inserts it); after the
# second $[-0.5, 3.0]$.


# %% [markdown]
# ### Your turn: a calibrator


# %% tags=["exercise"] exercise="calibrate_range"
def calibrate_range(batches):
    """Smallest and largest value over an iterable of arrays, widened so that it contains 0."""
    low, high = 0.0, 0.0
    ### BEGIN SOLUTION
    for batch in batches:
        low = min(low, float(np.min(batch)))
        high = max(high, float(np.max(batch)))
    return low, high
    ### END SOLUTION


# %% tags=["check"] exercise="calibrate_range" points=2
with check(
    "calibration",
    exercise="calibrate_range",
    what="the two batches by hand, and a range that lies on one side of zero.",
    why="a range that is too small cuts values off, one that is too large wastes codes.",
) as c:
    c.close("by hand", calibrate_range([np.array([0.2, 3.0]), np.array([-0.5, 1.0])]), (-0.5, 3.0),
            misconceptions=[
                ((-0.5, 1.0), "Only the last batch counted: the range must grow over the batches."),
                ((-0.15, 2.0), "Averages over the batches: here the extremes are asked for."),
            ])
    c.close("all positive", calibrate_range([np.array([2.0, 5.0])]), (0.0, 5.0), misconceptions=[
        ((2.0, 5.0), "The range must contain zero: start from 0."),
    ])

# %% [markdown]
# Here are the ranges of the baseline's activations over 500 training images: the bar from the
# smallest to the largest value, and the middle 99 %.

# %%
ranges = calibration.activation_ranges(baselines[SEED].model, data.representative(500, seed=SEED))
plots.show(
    plots.activation_ranges(ranges),
    alt="A bar for each layer from the smallest to the largest activation; the largest value is "
    "several times the 99th percentile in most layers.",
)

# %% [markdown]
# What the plot says: a few large values set each range. The network spends its codes on values
# that hardly ever come, and the many small ones share the rest.

# %% [markdown]
# ## 2 · How fine is the grid?
#
# Eight-bit activations are **affine**: 256 codes over $[\min, \max]$, with a zero point so that
# one-sided ranges (after ReLU) waste nothing. Sixteen-bit activations of 16x8 are **symmetric**:
# codes −32767 … 32767 and zero point 0, which makes the arithmetic simpler.
#
# $$S_8 = \frac{\max - \min}{255}, \qquad S_{16} = \frac{\max(|\min|, |\max|)}{32767}.$$
#
# By hand, after ReLU, $[0, 6]$: $S_8 = 6/255 = 0.0235$ and $S_{16} = 6/32767 = 0.000183$, which is
# 128.5 times finer (seven bits, not eight: one goes to the sign that ReLU never uses).


# %% [markdown]
# ### Your turn: the steps


# %% tags=["exercise"] exercise="activation_steps"
def activation_steps(low, high):
    """Step of the affine 8-bit and of the symmetric 16-bit grid over [low, high]."""
    ### BEGIN SOLUTION
    return (high - low) / 255, max(abs(low), abs(high)) / 32767
    ### END SOLUTION


# %% tags=["check"] exercise="activation_steps" points=3
with check(
    "the steps of both grids",
    exercise="activation_steps",
    what="a one-sided and a two-sided range.",
    why="half of this step is the rounding error that every activation carries into the next "
    "layer.",
) as c:
    c.close("[0, 6]", activation_steps(0.0, 6.0), (6 / 255, 6 / 32767), misconceptions=[
        ((6 / 256, 6 / 32768), "Steps lie between codes: one fewer than there are codes."),
        ((6 / 255, 6 / 65535), "16x8 is symmetric: its 65,535 codes span −max … max."),
        ((6 / 127, 6 / 32767), "Eight-bit activations are affine: all 255 steps lie in the range."),
    ])
    c.close("[-2, 1]", activation_steps(-2.0, 1.0), (3 / 255, 2 / 32767))

# %% [markdown]
# ## 3 · The accumulator
#
# A 16-bit activation times an 8-bit weight is a product of up to $2^{15} \cdot 2^7 = 2^{22}$, and
# a sum of $n$ of them grows to $n \cdot 2^{22}$. With the sign,
#
# $$\text{bits} = \lceil \log_2 (n \cdot 2^{a-1} \cdot 2^{w-1}) \rceil + 1 .$$
#
# By hand: int8 × int8, $n = 9$: $9 \cdot 2^{14}$ needs $\lceil 17.2 \rceil + 1 = 19$ bits.


# %% [markdown]
# ### Your turn: how wide?


# %% tags=["exercise"] exercise="accumulator_bits"
def accumulator_bits(terms, activation_bits, weight_bits):
    """Bits (with sign) that hold any sum of `terms` products without overflow."""
    ### BEGIN SOLUTION
    largest = terms * 2 ** (activation_bits - 1) * 2 ** (weight_bits - 1)
    return int(np.ceil(np.log2(largest))) + 1
    ### END SOLUTION


# %% tags=["check"] exercise="accumulator_bits" points=3
with check(
    "width of the accumulator",
    exercise="accumulator_bits",
    what="the example, and the widest sum of a small network in both modes.",
    why="an accumulator that overflows wraps round to the other sign, without a message.",
) as c:
    c.equal("9 products int8 × int8", accumulator_bits(9, 8, 8), 19, misconceptions=[
        (18, "One bit more, for the sign."),
        (20, "A signed number of b bits reaches 2^(b−1): −128 is 2^7."),
        (21, "A signed number of b bits reaches 2^(b−1): −128 is 2^7."),
    ])
    c.equal("512 products int8 × int8", accumulator_bits(512, 8, 8), 24)
    c.equal("512 products int16 × int8", accumulator_bits(512, 16, 8), 32)
    c.equal("576 products int16 × int8", accumulator_bits(576, 16, 8), 33)

# %% [markdown]
# With int8 the sum of any layer of ordinary size fits into 32 bits. With int16 activations 512
# products are the limit, and a 3 × 3 convolution over 64 channels has 576: so the 16x8 kernels add
# up in **64 bits**, and the biases, which are added there, are stored as int64. That is the price
# of the mode, in bytes and in time.

# %% [markdown]
# ## 4 · The representative dataset, and the conversion
#
# The converter wants a function without arguments that *yields*, one at a time, a **list with one
# float32 array for each input of the model**, the batch dimension included; prepared exactly as in
# training.


# %% [markdown]
# ### Your turn: representative dataset


# %% tags=["exercise"] exercise="representative_dataset"
def representative_dataset(images):
    """A function that yields [image] with shape (1, 28, 28, 1), float32, for each of images."""
    ### BEGIN SOLUTION
    def generate():
        for image in images:
            yield [image[None].astype(np.float32)]

    return generate
    ### END SOLUTION


# %% tags=["check"] exercise="representative_dataset" points=4
with check(
    "representative dataset",
    exercise="representative_dataset",
    what="what your function yields: a list, shape, type, and all of the images.",
    why="the converter measures whatever it is given; images in 0 … 255 give ranges 255 times too "
    "wide, and the network then reads nothing.",
) as c:
    some = data.x_train[:5]
    generate = representative_dataset(some)
    c.that("it is a function", callable(generate),
           otherwise="return the function itself, not what it yields: `return generate`.")
    items = list(generate())
    c.equal("number of items", len(items), 5, misconceptions=[
        (1, "Yield one image at a time, so that the converter can watch the range grow."),
    ])
    c.that("each item is a list with one array",
           all(isinstance(item, (list, tuple)) and len(item) == 1 for item in items),
           otherwise="yield [image], a list: a model may have several inputs.")
    c.shape("shape", items[0][0], (1, 28, 28, 1))
    c.dtype("type", items[0][0], np.float32)

# %% [markdown]
# ### Your turn: convert to 16x8
#
# Set `optimizations` as in lab 02, `representative_dataset`, and `target_spec.supported_ops` to the
# one set that stands for this mode:
# `tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8`.


# %% tags=["exercise"] exercise="convert_int16x8"
def convert_int16x8(model, images):
    """The bytes of a TFLite file with int16 activations and int8 weights."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    ### BEGIN SOLUTION
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset(images)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    return converter.convert()
    ### END SOLUTION


# %% tags=["check"] exercise="convert_int16x8" points=5
images = data.representative(200, seed=SEED)
with check(
    "a 16x8 file",
    exercise="convert_int16x8",
    what="the types of weights, activations and biases, read from your file.",
    why="with a missing setting you get a valid file of another mode.",
) as c:
    path = lab.write(
        "sign_mnist_quant_int16x8.tflite", convert_int16x8(baselines[SEED].model, images)
    )
    inspection = measure.inspect(path)
    c.that("int8 weights", set(inspection.weight_types) == {"int8"},
           otherwise=f"the weights are {inspection.weight_types}: set optimizations.")
    c.that("int16 activations", "int16" in inspection.activation_types,
           otherwise=f"the activations are {inspection.activation_types}: set supported_ops.")
    c.that("64-bit biases", set(inspection.bias_types) == {"int64"},
           otherwise=f"the biases are {inspection.bias_types}.")

# %% [markdown]
# ## 5 · All modes beside each other
#
# | mode | weights | activations | bias | data needed |
# | --- | --- | --- | --- | --- |
# | float | float32 | float32 | float32 | no |
# | float16 | float16 | float32 | float16 | no |
# | dynamic range | int8 | float32, quantised at run time | float32 | no |
# | int8 | int8 | int8 | int32 | yes |
# | 16x8 | int8 | int16 | int64 | yes |
#
# **Predict** the mode that takes longest on this computer.

# %%
my_guess = predict(
    "slowest mode",
    "Which file takes longest for one image on this computer?",
    choices=["float", "float16", "dynamic range", "int8", "16x8"],
    answer=None,
)

# %%
FILES = {
    "float": ("float", "sign_mnist.tflite"),
    "float16": ("float16", "sign_mnist_quant_float16.tflite"),
    "dynamic range": ("dynamic_range", "sign_mnist_quant_dyn.tflite"),
    "int8": ("int8", "sign_mnist_quant_int8.tflite"),
}
for seed, baseline in baselines.items():
    for technique, (mode, file) in FILES.items():
        path = lab.write(file, post_training.convert(baseline.model, mode, images), seed)
        lab.measure(technique, path, seed)
    path = lab.write(
        "sign_mnist_quant_int16x8.tflite", convert_int16x8(baseline.model, images), seed
    )
    lab.measure("16x8", path, seed)

# %%
times = {
    technique: lab.latency(technique, lab.path(file))
    for technique, file in [*((t, f) for t, (_, f) in FILES.items()),
                            ("16x8", "sign_mnist_quant_int16x8.tflite")]
}
slowest = max(times, key=lambda technique: times[technique].median_ms)
reveal("slowest mode", my_guess, slowest,
       ", ".join(f"{t}: {v.median_ms:.2f} ms" for t, v in times.items()))

# %% [markdown]
# 16x8 has no optimised kernels on this kind of processor: it runs on the plain reference code, and
# with 64-bit sums. Where the accelerator has them, the order is another one. **A latency is a fact
# about a file *and* a machine.**

# %% [markdown]
# ## 6 · Where the activations' range matters
#
# On this network the modes hardly differ. To see when they do, we stretch **one channel** of one
# layer without changing what the network computes. ReLU lets positive factors through,
#
# $$\operatorname{ReLU}(s\,x) = s \operatorname{ReLU}(x), \quad s > 0,$$
#
# so we multiply the channel by $s$ before the activation and divide the next layer's weights for it
# by $s$. In float nothing changes. In 8 bits the whole tensor's step grows with the stretched
# channel, and all other channels are left with fewer and fewer codes.

# %% [markdown]
# **Predict** what accuracy int8 keeps when one channel is stretched 256-fold.

# %%
my_guess = predict(
    "stretched channel",
    "One channel 256 times too large: which accuracy does int8 have, as a part of float's?",
    choices=["nearly all of it", "about half", "next to nothing"],
    answer=None,
)

# %%
FACTORS = {"quick": (1, 16, 256), "full": (1, 4, 16, 64, 256, 1024)}[PROFILE]
STRETCHED = calibration.stretchable_layers(baselines[SEED].model)[1]
test = slice(0, {"quick": 400, "full": 2000}[PROFILE])
x_test, y_test = data.x_test[test], data.y_test[test]
rows = []
for factor in FACTORS:
    stretched = calibration.stretch_channel(baselines[SEED].model, STRETCHED, 0, factor)
    for technique, mode in [("float", "float"), ("int8", "int8"), ("16x8", "int16x8")]:
        content = post_training.convert(stretched, mode, images)
        accuracy = measure.accuracy(content, x_test, y_test)
        rows.append({"factor": factor, "technique": technique, "accuracy (%)": 100 * accuracy})
sweep = pd.DataFrame(rows).pivot(index="factor", columns="technique", values="accuracy (%)")
sweep.round(1)

# %%
kept = sweep.loc[256, "int8"] / sweep.loc[256, "float"]
answer = "nearly all of it" if kept > 0.8 else "about half" if kept > 0.3 else "next to nothing"
reveal("stretched channel", my_guess, answer, f"int8 keeps {kept:.0%} of the float accuracy.")
plots.show(
    plots.lines(sweep, x="stretching factor of one channel", y="test accuracy (%)", log_x=2),
    alt="Accuracy over the stretching factor: float and 16x8 stay level, int8 falls.",
)

# %% [markdown]
# What the plot says: float does not notice, 16x8 hardly; int8 loses a bit with every doubling, and
# breaks down when none are left. Real networks have such channels (depthwise convolutions, networks without normalisation,
# transformers with their outliers), and *that* is what 16x8 is for. One can also go the other way
# and use the same identity to make the channels equal: cross-layer equalisation, in the further
# reading.

# %%
with check(
    "what the lab set out to do",
    what="16x8 against float on the whole test set, and int8 against 16x8 when stretched.",
    why="16 bits cost time; they should buy something.",
) as c:
    lost = 100 * (lab.mean("accuracy", "float") - lab.mean("accuracy", "16x8"))
    c.between("accuracy that 16x8 loses", lost, -1.0, 1.0, unit="points")
    gap = sweep.loc[256, "16x8"] - sweep.loc[256, "int8"]
    c.between("what 16x8 keeps more than int8, stretched 256-fold", gap, 1, 100, unit="points")

# %% [markdown]
# ## The ledger

# %%
report = lab.report()
report

# %%
plots.show(
    plots.comparison(report),
    alt="Test accuracy with its spread, and size, of float, float16, dynamic range, int8 and 16x8: "
    "the same accuracy, float16 half and the others less than a third of the size.",
)

# %% [markdown]
# ## Published against measured

# %%
lab.compare("float16", "dynamic range", "int8", "16x8")

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="int16x8_comparison" points=5
# **Comment on size and accuracy of the 16x8 file, relative to the original model and to the
# dynamic-range file.**
#
# <!-- BEGIN SOLUTION -->
# The same weights in the same eight bits, so nearly the same size as dynamic range; a little more
# for the 64-bit biases and the scales of the activations. The accuracy equals float's, since the
# activations are 128 times finer than in int8. Unlike dynamic range it needs no floating point.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="calibration_data" points=4
# **Your representative dataset holds only bright images. What goes wrong in the field, and with
# dark ones only?**
#
# <!-- BEGIN SOLUTION -->
# The ranges fit bright images: dark ones use few of the codes, so their rounding error grows. The
# other way round is worse: bright images leave the range and are cut off at its end.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Integer activations need ranges, and ranges need representative data.
# - One large channel takes the resolution from all others; 16 bits have some to spare.
# - int16 × int8 sums need more than 32 bits: 64-bit accumulators and biases.
#
# **Further reading:** M. Nagel et al., *Data-free quantization through weight equalization and bias
# correction*, ICCV 2019 · LiteRT, [16x8 quantisation](https://www.tensorflow.org/lite/performance/post_training_integer_quant_16x8).
#
# **Next:** lab 04 lets the network train with the rounding in it.

# %% tags=["finish"]
lab.finish()
