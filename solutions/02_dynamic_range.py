# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 02 · Dynamic range quantisation
#
# The cheapest step there is: store every weight in one byte instead of four, train nothing, ask
# for no data, change one line of the conversion. This lab does it by hand first, so that the line
# is no magic, and then looks into the file to see what really happened.
#
# **You will be able to**
#
# - quantise a weight tensor to 8 bits, per tensor and per channel, and bound the error;
# - explain what a *dynamic-range* operator does at inference time;
# - read from a file which tensors became 8-bit, which did not, and why the file is not exactly four
#   times smaller.
#
# **Time:** 45 minutes of work; the computer takes 1 minute in both profiles, with the
# baselines of lab 01; `full` takes 3 more without.

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, `sign_mnist.tflite` and `sign_mnist_quant_dyn.tflite`.

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
from labkit.compress import post_training
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("02_dynamic_range", PROFILE, DATA, SEED, OUT, headline="sign_mnist_quant_dyn.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())

# %% [markdown]
# ## 1 · A weight in eight bits
#
# Eight bits hold the integers −128 … 127. **Symmetric** quantisation uses −127 … 127 and a single
# number, the *scale* $S$, so that zero stays exactly zero:
#
# $$S = \frac{\max |w|}{127}, \qquad q = \operatorname{round}\!\left(\frac{w}{S}\right), \qquad
#   \hat w = S\,q, \qquad |w - \hat w| \le \frac{S}{2}.$$
#
# By hand: $w = (0.5, -1.27, 0.013)$. The largest magnitude is 1.27, so $S = 0.01$, and
# $q = (50, -127, 1)$. Back: $\hat w = (0.5, -1.27, 0.01)$; the last weight is off by 0.003, less
# than half a step.


# %% [markdown]
# ### Your turn: quantise


# %% tags=["exercise"] exercise="quantize_symmetric"
def quantize_symmetric(w):
    """Codes (int8, same shape as w) and scale (float) of symmetric 8-bit quantisation."""
    ### BEGIN SOLUTION
    scale = np.abs(w).max() / 127
    return np.round(w / scale).astype(np.int8), float(scale)
    ### END SOLUTION


# %% tags=["check"] exercise="quantize_symmetric" points=3
w = np.array([0.5, -1.27, 0.013])
with check(
    "symmetric 8-bit quantisation",
    exercise="quantize_symmetric",
    what="the tensor by hand, the type of the codes, and the bound of half a step.",
    why="this is what the converter does to every weight of the network.",
) as c:
    codes, scale = quantize_symmetric(w)
    c.close("scale", scale, 0.01, misconceptions=[
        (1.27 / 128, "The codes are symmetric, −127 … 127: divide by 127, not 128."),
        (1.27 / 255, "255 steps span the whole range from −max to max; this is the step of a "
         "range half as wide."),
        (0.5 / 127, "The largest *magnitude* counts: −1.27 is larger than 0.5."),
    ])
    c.equal("codes", codes, np.array([50, -127, 1]), misconceptions=[
        (np.array([49, -127, 1]), "Round to the nearest integer; a cast cuts the decimals off."),
    ])
    c.dtype("codes are bytes", codes, np.int8)
    sample = np.random.default_rng(0).normal(size=1000)
    codes, scale = quantize_symmetric(sample)
    error = np.abs(sample - scale * codes.astype(float)).max()
    c.that("no weight is off by more than half a step", error <= scale / 2 * (1 + 1e-9),
           otherwise=f"the largest error is {error / scale:.2f} steps.")

# %% [markdown]
# The grid of codes laid over the weights of the baseline's first convolution (after folding the
# normalisation, as the file has them):

# %%
float_path = lab.write("sign_mnist.tflite", post_training.convert(baselines[SEED].model, "float"))
kernels = measure.weights(float_path)
first = next(iter(kernels.values()))
_, scale = quantize_symmetric(first)
plots.show(
    plots.weight_histogram(first, scale),
    alt="Histogram of the first convolution's weights with the lines of the 8-bit grid; a few "
    "large weights set the scale, most weights use only the codes near zero.",
)


# %% [markdown]
# ## 2 · One scale for each output channel
#
# A single large weight sets the step for the whole tensor. Folding makes this worse: it multiplies
# every output channel by its own $\gamma / \sigma$, so that channels differ in size. Since each
# output channel is a sum of its own, it may have its own scale at no cost in arithmetic:
# **per-channel** quantisation. In TensorFlow the output channel is the last axis of a kernel
# (height, width, in, out); in a TFLite file it is the first (out, height, width, in).
#
# By hand, two output channels of one weight each, $(100, 1)$ and one shared scale $100/127$: the
# small weight becomes $\operatorname{round}(1.27) = 1$ and reads back as 0.787, an error of 21 %.
# With a scale each, both are exact.


# %% [markdown]
# ### Your turn: per channel


# %% tags=["exercise"] exercise="quantize_per_channel"
def quantize_per_channel(w, axis):
    """Codes (int8) and scales of w, one scale for each index of `axis`.

    The scales keep the dimensions of w, with length 1 everywhere but on `axis`.
    """
    ### BEGIN SOLUTION
    others = tuple(a for a in range(w.ndim) if a != axis % w.ndim)
    scales = np.abs(w).max(axis=others, keepdims=True) / 127
    return np.round(w / scales).astype(np.int8), scales
    ### END SOLUTION


# %% tags=["check"] exercise="quantize_per_channel" points=4
with check(
    "per-channel quantisation",
    exercise="quantize_per_channel",
    what="the two channels by hand, the shape of the scales, and a real kernel.",
    why="convolutions lose points of accuracy with one scale and next to none with one a channel.",
) as c:
    codes, scales = quantize_per_channel(np.array([[100.0, 1.0]]), axis=1)
    c.equal("codes by hand", codes, np.array([[127, 127]]), misconceptions=[
        (np.array([[127, 1]]), "Both channels share a scale: take the maximum over the *other* "
         "axes, not over all."),
    ])
    c.shape("one scale a channel", scales, (1, 2))
    c.shape("scales of a 3×3×16×32 kernel",
            quantize_per_channel(np.ones((3, 3, 16, 32)), axis=-1)[1], (1, 1, 1, 32))


# %%
def noise_ratio(w, w_hat):
    """Signal to quantisation noise in decibels: 6 dB are one bit."""
    return 10 * np.log10(np.sum(w**2) / np.sum((w - w_hat) ** 2))


rows = []
for name, w in kernels.items():
    codes, scale = quantize_symmetric(w)
    channel_codes, scales = quantize_per_channel(w, axis=0)
    rows.append(
        {
            "layer": name,
            "largest/smallest channel": scales.max() / scales.min(),
            "per tensor (dB)": noise_ratio(w, scale * codes),
            "per channel (dB)": noise_ratio(w, scales * channel_codes),
        }
    )
pd.DataFrame(rows).set_index("layer").round(1)

# %% [markdown]
# Every 6 dB are worth one bit. Where the channels differ much in size, per-channel scales are
# worth a bit or more, for four bytes a channel.

# %% [markdown]
# ## 3 · What happens at inference: the *dynamic* in dynamic range
#
# The weights are 8-bit integers in the file. The activations still travel as floats, but a
# dynamic-range operator does not multiply floats. It looks at the input that has just arrived,
# takes *its* maximum, quantises it to 8 bits, multiplies integers, and scales back:
#
# $$y \approx S_x S_w \sum_i q_{x,i}\, q_{w,i} .$$
#
# No calibration data is needed, since the range is measured anew for every input; the price is
# that measuring, at every layer, every time.
#
# By hand: $x = (1.0, -0.6)$, $w = (0.254, 0.1)$. Scales: $S_x = 1/127$, $S_w = 0.002$. Codes:
# $q_x = (127, -76)$, $q_w = (127, 50)$. The integer sum is
# $127 \cdot 127 - 76 \cdot 50 = 12329$, so $y \approx 12329 \cdot 0.002 / 127 = 0.19416$; exact
# is 0.194.


# %% [markdown]
# ### Your turn: a dynamic-range dot product


# %% tags=["exercise"] exercise="dynamic_range_matmul"
def dynamic_range_matmul(x, w_codes, w_scale):
    """x (n, k) float times weights w_codes (k, m) int8 of scale w_scale; returns floats (n, m).

    Quantise x with your own quantize_symmetric, add up in int32, scale back.
    """
    ### BEGIN SOLUTION
    x_codes, x_scale = quantize_symmetric(x)
    return x_scale * w_scale * (x_codes.astype(np.int32) @ w_codes.astype(np.int32))
    ### END SOLUTION


# %% tags=["check"] exercise="dynamic_range_matmul" points=4
with check(
    "a dynamic-range matrix product",
    exercise="dynamic_range_matmul",
    what="the dot product by hand, and a sum too large for eight bits.",
    why="the accumulator is 32 bits wide for a reason: a product of two bytes needs sixteen.",
) as c:
    w_codes, w_scale = quantize_symmetric(np.array([[0.254], [0.1]]))
    got = dynamic_range_matmul(np.array([[1.0, -0.6]]), w_codes, w_scale)
    c.close("by hand", got, [[12329 * 0.002 / 127]], tolerance=1e-9, misconceptions=[
        ([[12329.0]], "That is the integer sum: multiply it by both scales."),
        ([[12329 * 0.002]], "The scale of x is missing."),
        ([[12329 / 127]], "The scale of w is missing."),
        ([[0.194]], "That is the float product: quantise x first."),
    ])
    x, w = np.ones((1, 64)), np.ones((64, 1))
    w_codes, w_scale = quantize_symmetric(w)
    c.close("64 ones times 64 ones", dynamic_range_matmul(x, w_codes, w_scale), [[64.0]],
            tolerance=1e-9, misconceptions=[
                ([[64 / 127**2]], "The bytes overflowed: widen the codes to int32 before you "
                 "multiply."),
            ])

# %% [markdown]
# ## 4 · The whole model
#
# In TensorFlow all this is one setting of the converter. `tf.lite.Optimize.DEFAULT` *without* a
# representative dataset means dynamic range.

# %% [markdown]
# ### Your turn: convert
#
# Create a `tf.lite.TFLiteConverter` from the Keras model, set its `optimizations`, and return the
# converted bytes.


# %% tags=["exercise"] exercise="convert_dynamic_range"
def convert_dynamic_range(model):
    """The bytes of a TFLite file with 8-bit weights; no data is needed."""
    ### BEGIN SOLUTION
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()
    ### END SOLUTION


# %% tags=["check"] exercise="convert_dynamic_range" points=5
with check(
    "a dynamic-range file",
    exercise="convert_dynamic_range",
    what="the types of the tensors, read from your file.",
    why="a converter that lacks a setting says nothing and writes a float file.",
) as c:
    dynamic_path = lab.write(
        "sign_mnist_quant_dyn.tflite", convert_dynamic_range(baselines[SEED].model)
    )
    inspection = measure.inspect(dynamic_path)
    c.that("8-bit weights", "int8" in inspection.weight_types,
           otherwise=f"the weights are {inspection.weight_types}: set converter.optimizations.")
    c.that("float activations", set(inspection.activation_types) == {"float32"},
           otherwise=f"the activations are {inspection.activation_types}: a representative "
           "dataset makes them integer; dynamic range has none.")

# %% [markdown]
# **Predict.** Four bytes become one. By which factor does the file shrink?

# %%
my_guess = predict(
    "size ratio",
    "The float file divided by the dynamic-range file:",
    choices=["less than 3", "3 to 4", "exactly 4", "more than 4"],
    answer=None,
)

# %%
rows = {}
for seed, baseline in baselines.items():
    for technique, file, content in [
        ("float", "sign_mnist.tflite", post_training.convert(baseline.model, "float")),
        ("dynamic range", "sign_mnist_quant_dyn.tflite", convert_dynamic_range(baseline.model)),
    ]:
        path = lab.write(file, content, seed)
        rows[technique, seed] = lab.measure(technique, path, seed)
ratio = rows["float", SEED]["bytes"] / rows["dynamic range", SEED]["bytes"]
answer = "less than 3" if ratio < 3 else "3 to 4" if ratio < 4 else "more than 4"
reveal("size ratio", my_guess, answer, f"The float file is {ratio:.2f} times as large.")

# %% [markdown]
# Where are the missing bytes? The file tells. (The converter leaves tensors of fewer than 1,024
# numbers in float, because quantising them saves little; biases are never quantised here.)

# %%
inspection = measure.inspect(lab.path("sign_mnist_quant_dyn.tflite"))
inspection.weights

# %%
weights_only = inspection.weight_bits / 8
print(f"weights and biases {weights_only:,.0f} bytes, "
      f"graph, scales and metadata {rows['dynamic range', SEED]['bytes'] - weights_only:,.0f}")

# %% [markdown]
# ## The ledger

# %%
report = lab.report()
report

# %%
plots.show(
    plots.comparison(report),
    alt="Test accuracy with its spread over the seeds, and size: dynamic range has the accuracy of "
    "the float file at less than a third of its size.",
)

# %% [markdown]
# What the plot says: the loss, if any, is smaller than the difference between two trainings of the
# same network.

# %%
float_accuracy, dynamic_accuracy = lab.mean("accuracy", "float"), lab.mean("accuracy", "dynamic range")
float_bytes, dynamic_bytes = lab.mean("bytes", "float"), lab.mean("bytes", "dynamic range")
with check(
    "what the lab set out to do",
    what="the accuracy of both files, and the ratio of their sizes.",
    why="a quarter of the size is worth it only at the same accuracy.",
) as c:
    c.between("accuracy lost", 100 * (float_accuracy - dynamic_accuracy), -1.0, 1.0, unit="points")
    c.between("float bytes / dynamic bytes", float_bytes / dynamic_bytes, 2.8, 4.0)

# %% [markdown]
# ## Published against measured
#
# QuantNET is the network of a bachelor's thesis that compares the same techniques on pairs of
# CIFAR-10 classes. Ours is another network on other images, so the accuracies themselves cannot be
# compared: what can be is what quantisation *changes*.

# %%
lab.compare("dynamic range")

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="dynamic_range_sizes" points=5
# **Comment on accuracy and size of `sign_mnist.tflite` and `sign_mnist_quant_dyn.tflite`. Why is
# the second not a quarter of the first?**
#
# <!-- BEGIN SOLUTION -->
# The accuracy is the same within the spread of the seeds. The weights take a quarter; the graph,
# the metadata, the scales of the channels and the biases do not shrink, and small tensors stay in
# float. The larger the network, the closer the ratio comes to four.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="dynamic_range_limits" points=4
# **For which devices would you not choose dynamic range?**
#
# <!-- BEGIN SOLUTION -->
# For those without a floating-point unit and for integer-only accelerators: activations are float
# between the operators, and each operator measures the range of its input at run time. The working
# memory does not shrink either, since activations keep four bytes.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Symmetric quantisation: one scale, zero stays zero, an error of at most half a step.
# - Per-channel scales cost four bytes a channel and are worth a bit where channels differ.
# - Dynamic range needs no data and keeps float activations; the file shrinks almost fourfold.
#
# **Further reading:** R. Krishnamoorthi, *Quantizing deep convolutional networks for efficient
# inference*, arXiv:1806.08342 (2018), section 3 · M. Nagel et al., *A white paper on neural
# network quantization*, arXiv:2106.08295 (2021).
#
# **Next:** lab 03 makes the activations integers, too.

# %% tags=["finish"]
lab.finish()
