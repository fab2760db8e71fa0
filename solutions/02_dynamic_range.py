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
# - do the integer arithmetic of a *dynamic-range* operator yourself, and hold it against LiteRT's;
# - read from a file which tensors became 8-bit and which did not, and account for its bytes;
# - say what quantisation has changed where the accuracy has not moved.
#
# **Time:** 60 minutes of work; the computer takes 1 minute in both profiles, with the
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
network = lab.network(sign_cnn)  # your own of lab 01, where the output folder has it
baselines = {seed: lab.trained(network, seed) for seed in lab.seeds}
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
# By hand: $w = (0.5, -1.27, 0.017)$. The largest magnitude is 1.27, so $S = 0.01$, and
# $q = (50, -127, 2)$. Back: $\hat w = (0.5, -1.27, 0.02)$; the last weight is off by 0.003, less
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
w = np.array([0.5, -1.27, 0.017])
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
    c.equal("codes", codes, np.array([50, -127, 2]), misconceptions=[
        (np.array([50, -127, 1]), "Round to the nearest integer; a cast cuts the decimals off."),
        (np.array([49, -126, 1]), "Round to the nearest integer; a cast cuts the decimals off."),
        (np.array([50, -126, 1]), "Round to the nearest integer; a cast cuts the decimals off."),
        (np.array([49, -127, 1]), "Round to the nearest integer; a cast cuts the decimals off."),
    ])
    c.dtype("codes are bytes", codes, np.int8)
    sample = np.random.default_rng(0).normal(size=(40, 25))
    codes, scale = quantize_symmetric(sample)
    c.shape("codes of a matrix", codes, (40, 25))
    error = np.abs(sample - scale * np.asarray(codes, float)).max()
    c.that("no weight is off by more than half a step", error <= scale / 2 * (1 + 1e-9),
           otherwise=f"the largest error is {error / scale:.2f} steps.")
    c.equal("the largest magnitude gets the last code", np.abs(np.asarray(codes, int)).max(), 127)

# %% [markdown]
# The grid of codes laid over the weights of the network's largest layer (after folding the
# normalisation, as the file has them), with one scale for all of them:

# %%
float_path = lab.write("sign_mnist.tflite", post_training.convert(baselines[SEED].model, "float"))
kernels = measure.weights(float_path)
largest = max(kernels, key=lambda name: kernels[name].size)
_, scale = quantize_symmetric(kernels[largest])
plots.show(
    plots.weight_histogram(kernels[largest], scale),
    alt="Histogram of the largest layer's weights, a bell around zero, with the lines of the 8-bit "
    "grid: the ends of the grid are set by a few weights far out, half of all weights lie within "
    "sixteen codes of zero.",
)

# %% [markdown]
# What the figure says: the largest weight sets the scale for all. Half of the weights share the 33 codes
# around zero, an eighth of all codes; the outer codes are nearly empty, and 63 of 255 are not used at all.


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
    what="the two channels by hand, the shape of the scales, and a random kernel of four axes.",
    why="the error of a channel is half a step of its *own* scale.",
) as c:
    codes, scales = quantize_per_channel(np.array([[100.0, 1.0]]), axis=1)
    c.equal("codes by hand", codes, np.array([[127, 127]]), misconceptions=[
        (np.array([[127, 1]]), "Both channels share a scale: take the maximum over the *other* "
         "axes, not over all."),
    ])
    c.close("scales by hand", scales, np.array([[100.0, 1.0]]) / 127, misconceptions=[
        (np.array([[100.0, 1.0]]), "Those are the largest magnitudes. 127 steps lead up to them."),
        (np.array([[100.0, 1.0]]) / 128, "Symmetric codes end at 127."),
        (np.array([100.0, 1.0]) / 127, "Keep the dimensions (keepdims=True), so that scales and "
         "codes can be multiplied."),
    ])
    c.dtype("codes are bytes", codes, np.int8)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 6, 5)) * np.array([1, 9, 3, 20, 0.1])
    codes, scales = quantize_per_channel(kernel, axis=-1)
    c.shape("scales of a 3×3×6×5 kernel", scales, (1, 1, 1, 5))
    c.equal("each channel uses the last code",
            np.abs(np.asarray(codes, int)).max(axis=(0, 1, 2)), np.full(5, 127), misconceptions=[
                (np.full(5, 128), "A byte ends at 127: 128 has wrapped round to −128."),
            ])
    error = np.abs(kernel - scales * np.asarray(codes, float)) / np.asarray(scales)
    c.that("half a step of its own channel at most", error.max() <= 0.5 + 1e-9,
           otherwise=f"the largest error is {error.max():.2f} steps: round, and use all axes but "
           "the channel's for the maximum.")


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
            "weights": w.size,
            "largest/smallest channel": scales.max() / scales.min(),
            "per tensor (dB)": noise_ratio(w, scale * codes),
            "per channel (dB)": noise_ratio(w, scales * channel_codes),
        }
    )
noise = pd.DataFrame(rows).set_index("layer")
noise["gain (bits)"] = (noise["per channel (dB)"] - noise["per tensor (dB)"]) / 6.02
noise.round(1)

# %% [markdown]
# Every 6 dB are one bit. In a layer of this network the largest channel is 1.4 to 2.9 times as large as the
# smallest, and a scale for each is worth 0.3 to 0.7 of a bit. That is a modest gain. It grows with the
# ratio of the channels, and would matter where folding has made some of them a hundred times larger than
# others. Section 4 counts what the scales cost in the file.

# %% [markdown]
# ## 3 · What happens at inference: the *dynamic* in dynamic range
#
# The weights are 8-bit integers in the file. The activations still travel as floats, but a
# dynamic-range operator does not multiply floats. It looks at the input that has just arrived,
# measures *its* range, quantises it to 8 bits, multiplies integers, and scales back.
#
# An input is often one-sided: pixels and what leaves a ReLU are never negative, and symmetric codes
# would leave one half of their range empty. So its codes are **asymmetric**: all 256 of them, from the
# smallest to the largest value, and a **zero point** $Z$, the code that stands for zero,
#
# $$S_x = \frac{\max - \min}{255}, \qquad Z = \operatorname{round}\!\left(-128 - \frac{\min}{S_x}
#   \right), \qquad q = \operatorname{round}\!\left(\frac{x}{S_x}\right) + Z, \qquad
#   \hat x = S_x (q - Z).$$
#
# (The range is first widened to contain zero.) No calibration data is needed, since the range is
# measured anew for every input; the price is that measuring, at every layer, every time.
#
# By hand: $x = (1.0, -0.6)$. $S_x = 1.6/255 = 0.0062745$, $Z = \operatorname{round}(-128 + 95.625) =
# -32$, $q = (159 - 32, -96 - 32) = (127, -128)$.


# %% [markdown]
# ### Your turn: codes with a zero point


# %% tags=["exercise"] exercise="quantize_asymmetric"
def quantize_asymmetric(x):
    """Codes (int8, same shape as x), scale (float) and zero point (int) over the range of x.

    The range is widened to contain zero; codes that rounding pushes out of -128..127 are clipped.
    """
    ### BEGIN SOLUTION
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    scale = (high - low) / 255
    zero_point = round(float(-128 - low / scale))
    codes = np.clip(np.round(x / scale) + zero_point, -128, 127)
    return codes.astype(np.int8), float(scale), zero_point
    ### END SOLUTION


# %% tags=["check"] exercise="quantize_asymmetric" points=3
with check(
    "codes with a zero point",
    exercise="quantize_asymmetric",
    what="the example by hand, pixels from 0.2 to 1, a range below zero, and the error.",
    why="a padded border, a dead unit and a black pixel are zeros: they must stay exactly zero.",
) as c:
    codes, scale, zero_point = quantize_asymmetric(np.array([1.0, -0.6]))
    c.close("scale", scale, 1.6 / 255, misconceptions=[
        (1.6 / 256, "256 codes have 255 steps between them."),
        (1.0 / 127, "That is the symmetric scale: here the whole range has 255 steps."),
    ])
    c.equal("zero point", zero_point, -32, misconceptions=[
        (96, "Those are codes 0 … 255; ours are −128 … 127."),
        (-224, "The sign: −128 − min/S, and min is negative."),
        (-32.375, "The zero point is a code: round it."),
    ])
    c.equal("codes", codes, np.array([127, -128]), misconceptions=[
        *((np.array([code, -96]), "Add the zero point, 159 − 32 and −96 − 32.") for code in (-97, 127)),
        *((np.array([code, -64]), "The zero point is added, not subtracted.") for code in (-65, 127)),
    ])
    c.dtype("codes are bytes", codes, np.int8)
    codes, scale, zero_point = quantize_asymmetric(np.array([[0.2, 1.0]]))
    c.close("pixels from 0.2 to 1", (scale, zero_point), (1 / 255, -128), misconceptions=[
        ((0.8 / 255, -192), "Zero is not in the range: widen it to [0, 1] first."),
        ((0.8 / 255, -128), "Zero is not in the range: widen it to [0, 1] first."),
    ])
    codes, scale, zero_point = quantize_asymmetric(np.array([-3.0, -1.0]))
    c.close("all negative", (scale, zero_point), (3 / 255, 127))
    sample = np.random.default_rng(0).normal(size=(20, 30)) + 1
    codes, scale, zero_point = quantize_asymmetric(sample)
    error = np.abs(sample - scale * (np.asarray(codes, float) - zero_point)).max()
    c.that("hardly more than half a step off", error <= scale * 1.0001,
           otherwise=f"the largest error is {error / scale:.2f} steps.")

# %% [markdown]
# Now the product. With $q_x - Z$ in place of $q_x$, and weights whose zero point is 0,
#
# $$y \approx S_x S_w \sum_i (q_{x,i} - Z)\, q_{w,i}
#   = S_x S_w \Bigl( \sum_i q_{x,i}\, q_{w,i} - Z \sum_i q_{w,i} \Bigr) .$$
#
# The last sum knows only weights: it is computed once.
#
# By hand, with the $x$ of above and $w = (0.254, 0.1)$: $S_w = 0.002$, $q_w = (127, 50)$. The integer sum
# is $159 \cdot 127 - 96 \cdot 50 = 15393$, so $y \approx 15393 \cdot 0.002 \cdot 0.0062745 = 0.19317$;
# exact is 0.194.


# %% [markdown]
# ### Your turn: a dynamic-range matrix product


# %% tags=["exercise"] exercise="dynamic_range_matmul"
def dynamic_range_matmul(x, w_codes, w_scale):
    """x (n, k) float times weights w_codes (k, m) int8 of scale w_scale; returns floats (n, m).

    Each row of x has a range of its own: quantise it with your quantize_asymmetric, add up in int32,
    scale back. w_scale is one number, or one for each column (m,).
    """
    ### BEGIN SOLUTION
    rows = []
    for row in x:
        codes, scale, zero_point = quantize_asymmetric(row)
        sums = (codes.astype(np.int32) - zero_point) @ w_codes.astype(np.int32)
        rows.append(scale * w_scale * sums)
    return np.array(rows)
    ### END SOLUTION


# %% tags=["check"] exercise="dynamic_range_matmul" points=4
with check(
    "a dynamic-range matrix product",
    exercise="dynamic_range_matmul",
    what="the dot product by hand, a sum too large for eight bits, rows of different size, and a "
    "scale for each column.",
    why="the accumulator is 32 bits wide for a reason: a product of two bytes needs sixteen.",
) as c:
    w_codes, w_scale = quantize_symmetric(np.array([[0.254], [0.1]]))
    got = dynamic_range_matmul(np.array([[1.0, -0.6]]), w_codes, w_scale)
    c.close("by hand", got, [[15393 * 0.002 * 1.6 / 255]], tolerance=1e-9, misconceptions=[
        ([[15393.0]], "That is the integer sum: multiply it by both scales."),
        ([[15393 * 0.002]], "The scale of x is missing."),
        ([[15393 * 1.6 / 255]], "The scale of w is missing."),
        ([[9729 * 0.002 * 1.6 / 255]], "The zero point is missing: q − Z, not q."),
        ([[12329 * 0.002 / 127]], "That is the symmetric x: use quantize_asymmetric."),
        ([[0.194]], "That is the float product: quantise x first."),
    ])
    x, w = np.ones((1, 64)), np.ones((64, 1))
    w_codes, w_scale = quantize_symmetric(w)
    overflowed = (np.full((1, 64), 127, np.int8) - np.int8(-128)) @ w_codes
    c.close("64 ones times 64 ones", dynamic_range_matmul(x, w_codes, w_scale), [[64.0]],
            tolerance=1e-9, misconceptions=[
                (overflowed.astype(float) * w_scale / 255, "The bytes overflowed: widen the codes to "
                 "int32 before you subtract and multiply."),
            ])
    x = np.array([[1.0, 0.5], [0.001, 0.0005]])
    small = dynamic_range_matmul(x, np.array([[100], [50]], np.int8), 0.01)
    c.close("a row a thousand times smaller", small[1] / small[0], [0.001], tolerance=1e-6,
            misconceptions=[
                ([0.0], "Both rows share a range: the small one has vanished. Each row needs its own."),
            ])
    columns = dynamic_range_matmul(x, np.array([[100, 100], [50, 50]], np.int8), np.array([0.01, 1]))
    c.close("a scale for each column", columns[:, 1] / columns[:, 0], [100, 100])

# %% [markdown]
# **Does LiteRT do this?** The next two cells convert a dense layer and a convolution, take codes and scales
# from their files, and compute the outputs with your functions. LiteRT returns floats; divided by $S_x S_w$
# they show whether the *integer sums* are the same. For comparison the first table also holds two other
# things that the runtime might have done: multiply floats, or quantise the input symmetrically.

# %%
rng = np.random.default_rng(0)
layer = tf.keras.Sequential([tf.keras.layers.Dense(32, input_shape=(64,))])
x = (rng.normal(size=(200, 64)) + 0.5).astype(np.float32)
content = post_training.convert(layer, "dynamic_range")
theirs = measure.TFLiteModel(content).predict(x)

graph = measure.read_graph(content)
(operator,) = graph.operators
w = graph.tensors[operator.inputs[1]]
steps = np.array([quantize_asymmetric(row)[1] for row in x])[:, None] * w.scales  # of each sum
mine = dynamic_range_matmul(x, w.codes.T, w.scales)
dense_off = np.abs((theirs - mine) / steps).max()
floats = x @ w.values().T
symmetric = []
for row in x:
    codes, scale = quantize_symmetric(row)
    symmetric.append(scale * w.scales * (codes.astype(np.int32) @ w.codes.T.astype(np.int32)))
pd.DataFrame.from_dict(
    {
        name: {
            "sums that differ": int(np.count_nonzero(np.round((theirs - guess) / steps))),
            "largest difference (steps)": float(np.abs((theirs - guess) / steps).max()),
        }
        for name, guess in [("yours: q − Z, a range for each row", mine), ("floats", floats),
                            ("symmetric inputs", np.array(symmetric))]
    },
    orient="index",
).rename_axis(f"guess, {mine.size:,} sums").round(3)

# %%
conv = tf.keras.Sequential([tf.keras.layers.Conv2D(16, 3, input_shape=(12, 12, 16))])
x = np.maximum(rng.normal(size=(20, 12, 12, 16)), 0).astype(np.float32)
content = post_training.convert(conv, "dynamic_range")
theirs = measure.TFLiteModel(content).predict(x)
graph = measure.read_graph(content)
w = graph.tensors[graph.operators[0].inputs[1]]
kernel = np.moveaxis(w.codes, 0, -1).astype(np.float64)  # as TensorFlow has it; sums stay exact
off = []
for image, output in zip(x, theirs):
    codes, scale, zero_point = quantize_asymmetric(image)
    sums = tf.nn.conv2d((codes.astype(np.float64) - zero_point)[None], kernel, 1, "VALID")[0]
    off.append(np.abs(output / (scale * w.scales) - sums).max())
print(f"convolution: {theirs.size:,} sums, a range for each image; largest difference "
      f"{max(off):.3f} steps")
with check(
    "the runtime's arithmetic",
    what="6,400 sums of a dense layer and 32,000 of a convolution against LiteRT's.",
    why="you now know what a dynamic-range file computes, and need not believe it.",
) as c:
    c.between("dense: largest difference", dense_off, 0, 0.5, unit="steps")
    c.between("convolution: largest difference", max(off), 0, 0.5, unit="steps")

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
# **A yardstick that moves.** The accuracy of this network on the real test images is so near 100 %
# that nothing can be seen in it. So from here on each file is also tried on **harder images**: the
# test images with noise, a normal number of standard deviation 0.03 added to each pixel (8 of 255
# grey levels), clipped to [0, 1]. On them we count the answers that differ from the float file's,
# right or wrong, and the signal-to-noise ratio of the outputs (SQNR, as above, of the 24
# probabilities).
#
# **Predict.** How many of the harder images get another answer from the dynamic-range file?

# %%
my_guess = predict(
    "changed answers",
    "Harder test images whose answer changes with eight-bit weights:",
    choices=["none", "less than one in a hundred", "one in a hundred and more"],
    answer=None,
)

# %%
harder = data.corrupted(noise=0.03)
shown = [int(np.flatnonzero(data.y_test == k)[0]) for k in range(24)]
plots.show(
    plots.montage(harder.x_test[shown], data.y_test[shown], data.class_names),
    alt="Twenty-four test images with faint noise in each pixel; the hands can still be recognised.",
)

# %%
rows = {}
for seed, baseline in baselines.items():
    reference = lab.path("sign_mnist.tflite", seed)
    for technique, file, content in [
        ("float", "sign_mnist.tflite", post_training.convert(baseline.model, "float")),
        ("dynamic range", "sign_mnist_quant_dyn.tflite", convert_dynamic_range(baseline.model)),
    ]:
        path = lab.write(file, content, seed)
        rows[technique, seed] = lab.measure(technique, path, seed, reference=reference,
                                            harder=harder)
changed = lab.mean("changed_answers", "dynamic range")
answer = "none" if changed == 0 else "less than one in a hundred"
if changed >= 0.01 * len(harder.y_test):
    answer = "one in a hundred and more"
reveal("changed answers", my_guess, answer,
       f"{changed:.1f} of {len(harder.y_test):,} images, mean over the seeds.")

# %% [markdown]
# Now the bytes. By which factor has the file shrunk, and what keeps it from a quarter?

# %%
inspection = measure.inspect(lab.path("sign_mnist_quant_dyn.tflite"))
inspection.weights.drop(columns="tensor")

# %% [markdown]
# The converter leaves tensors of fewer than 1,024 numbers in float; biases are not quantised in this
# mode. For each channel of a quantised tensor the file keeps a scale (four bytes) and a zero point (eight),
# although all these zero points are 0.

# %%
channels = sum(len(t.scales) for t in inspection.graph.tensors if t.is_constant)
total = rows["dynamic range", SEED]["bytes"]
account = pd.Series({
    "weights and biases": inspection.weight_bits // 8,
    f"scales and zero points of {channels} channels": 12 * channels,
    "graph, names, metadata": total - inspection.weight_bits // 8 - 12 * channels,
    "the file": total,
}, name="bytes")
print(f"{rows['float', SEED]['bytes'] / total:.2f} times smaller than the float file")
account.to_frame()

# %% [markdown]
# ## The ledger

# %%
report = lab.report(device=True).drop(columns="model")
measure.printed(report, 3)

# %%
plots.show(
    plots.comparison(report, "accuracy, harder (%)", spread=""),
    alt="Accuracy on the harder test images, and size: dynamic range lies within a "
    "tenth of a point of the float file, at less than a third of its size.",
)

# %% [markdown]
# What the ledger says: the file has shrunk, the **working memory has not**, since activations are floats of
# four bytes as before. On the harder images 17 of 7,172 answers have changed (mean of three trainings), and
# 94.16 % are right in place of 94.25 %; the three networks, by comparison, lie 3.4 points apart on these images
# (lab 01). The noise in the outputs lies 39.0 dB below them.
#
# **A microcontroller does not run this file at all.** The column says where TensorFlow Lite Micro gives up: at
# the first convolution whose weights are int8 while its input and output are float32. It has no such mixed
# operators; dynamic range is a technique for phones and larger machines.

# %%
float_accuracy, dynamic_accuracy = lab.mean("accuracy", "float"), lab.mean("accuracy", "dynamic range")
float_bytes, dynamic_bytes = lab.mean("bytes", "float"), lab.mean("bytes", "dynamic range")
with check(
    "what the lab set out to do",
    what="the accuracy of both files, and the ratio of their sizes.",
    why="a quarter of the size is worth it only at the same accuracy.",
) as c:
    c.between("accuracy lost", 100 * (float_accuracy - dynamic_accuracy), -1.0, 1.0, unit="points")
    c.between("harder answers changed", 100 * changed / len(harder.y_test), 0, 5, unit="%")
    c.between("float bytes / dynamic bytes", float_bytes / dynamic_bytes, 1.5, 4.0)

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
# The accuracy on the test images is the same, 100.0 %; of 7,172 harder ones 17 have another answer, and
# 94.16 % are right in place of 94.25 %. The float file is 3.55 times as large: the weights that became 8-bit take
# a quarter, but the first convolution has fewer than 1,024 weights and stays in float, so do the biases,
# and six kB of graph, names, scales and zero points do not shrink. The larger the network, the closer
# the ratio comes to four.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="dynamic_range_limits" points=4
# **For which devices would you not choose dynamic range?**
#
# <!-- BEGIN SOLUTION -->
# For those without a floating-point unit and for integer-only accelerators: activations are float
# between the operators, and each operator measures the range of its input at run time. The working
# memory does not shrink either, since activations keep four bytes. And TensorFlow Lite Micro refuses the
# file, so that it is of no use on a microcontroller.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Symmetric quantisation: one scale, zero stays zero, an error of at most half a step.
# - Per-channel scales follow each channel's own size; the file pays twelve bytes per channel for them.
# - A dynamic-range operator measures its input, quantises it with a zero point, adds up integers, and
#   scales back to float. It needs no data, and keeps float activations and their memory.
#
# **Further reading:** R. Krishnamoorthi, *Quantizing deep convolutional networks for efficient
# inference*, arXiv:1806.08342 (2018), section 3 · M. Nagel et al., *A white paper on neural
# network quantization*, arXiv:2106.08295 (2021).
#
# **Next:** lab 03 makes the activations integers, too.

# %% tags=["finish"]
lab.finish()
