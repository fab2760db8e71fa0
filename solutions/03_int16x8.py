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
# computes a whole integer layer, finds out where the rounding noise of a network comes from, breaks an
# 8-bit network on purpose by giving one channel too large a range, and rescues it with 16-bit
# activations.
#
# **You will be able to**
#
# - calibrate activation ranges with a representative dataset;
# - say when 8 bits for an activation are too few, and how many more 16 bits give;
# - count the bits of an accumulator, and quantise a bias so that it can be added there;
# - compute a dense layer with its ReLU in integers, and get LiteRT's codes;
# - convert to full int8, 16x8 and float16, and say where each loses what.
#
# **Time:** 75 minutes of work; the computer takes 1 minute (`quick`) or 4 (`full`, with the
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
from labkit.compress import affine, calibration, post_training
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("03_int16x8", PROFILE, DATA, SEED, OUT, headline="sign_mnist_quant_int16x8.tflite")
data = lab.dataset
network = lab.network(sign_cnn)  # your own of lab 01, where the output folder has it
baselines = {seed: lab.trained(network, seed) for seed in lab.seeds}
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
    what="the two batches by hand, and ranges that lie on one side of zero.",
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
    images = iter([np.full((2, 3, 3, 1), -2.0), np.full((1, 3, 3, 1), -5.0)])
    c.close("all negative, batches of images, once through", calibrate_range(images), (-5.0, 0.0),
            misconceptions=[((-5.0, -2.0), "The range must contain zero: start from 0.")])

# %% [markdown]
# Here are the ranges of the network's activations over 200 training images: the bar from the
# smallest to the largest value, and the middle 99 %.

# %%
images = data.representative(200, seed=SEED)
ranges = calibration.activation_ranges(baselines[SEED].model, images)
plots.show(
    plots.activation_ranges(ranges),
    alt="A bar for each layer from the smallest to the largest activation, and inside it a dark one "
    "for the middle 99 % of the values, which ends well before it but for the image.",
)

# %% [markdown]
# What the plot says: the pixels fill their range. Behind the layers a few large values set it: the middle
# 99 % end at 29 to 60 % of the range. Two fifths of the codes, or more, are kept for values that hardly ever
# come, and the many small values share the rest.

# %% [markdown]
# ## 2 · How fine is the grid?
#
# Eight-bit activations are **affine**: 256 codes over $[\min, \max]$, with a zero point so that
# one-sided ranges (after ReLU) waste nothing. Sixteen-bit activations of 16x8 are **symmetric**:
# zero point 0, 32767 steps to each side, which makes the arithmetic simpler.
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
    c.close("[-2, 1]", activation_steps(-2.0, 1.0), (3 / 255, 2 / 32767), misconceptions=[
        ((3 / 255, 1 / 32767), "The larger *magnitude* counts, here that of −2."),
        ((1 / 255, 2 / 32767), "From −2 to 1 there are 3."),
        ((3 / 255, 3 / 32767), "16x8 is symmetric: from zero to the larger magnitude."),
    ])
    c.close("the coarser of the two for [-1, 4]", activation_steps(-1.0, 4.0)[1], 4 / 32767)

# %% [markdown]
# ## 3 · The accumulator
#
# How large can a sum of $n$ products become? First say which codes there are. Activations of $a$ bits
# go from $-2^{a-1}$ to $2^{a-1} - 1$. TFLite's weights are **narrow**, $\pm (2^{w-1} - 1)$: −128 is never
# used. So the largest product is $2^{a-1} (2^{w-1} - 1)$ in magnitude, with either sign. A signed number
# of $b$ bits goes from $-2^{b-1}$ to $2^{b-1} - 1$, so $b$ must fulfil
#
# $$n \cdot 2^{a-1} (2^{w-1} - 1) \le 2^{b-1} - 1 .$$
#
# By hand: int8 × int8, $n = 9$: $9 \cdot 128 \cdot 127 = 146304$. $2^{17} - 1 = 131071$ is too small,
# $2^{18} - 1 = 262143$ is enough: 19 bits.
#
# Where weights may be −128, too (other tools' files), $(-128) \cdot (-128) = +2^{14}$, one more than the
# largest 15-bit number: a *single* product needs 16 bits. A border case like this is what overflows in
# the field.


# %% [markdown]
# ### Your turn: how wide?


# %% tags=["exercise"] exercise="accumulator_bits"
def accumulator_bits(terms, activation_bits, weight_bits, narrow=True):
    """Bits (with sign) that hold any sum of `terms` products without overflow.

    narrow: weights are ±(2^(w-1) - 1); else -2^(w-1) is there, too. Python's int.bit_length helps:
    it is the number of bits of a positive integer without a sign, 3 for 4 to 7.
    """
    ### BEGIN SOLUTION
    largest = terms * 2 ** (activation_bits - 1) * (2 ** (weight_bits - 1) - narrow)
    return int(largest).bit_length() + 1
    ### END SOLUTION


# %% tags=["check"] exercise="accumulator_bits" points=3
with check(
    "width of the accumulator",
    exercise="accumulator_bits",
    what="the example, sums that just fit and that just do not, and both ranges of weights.",
    why="an accumulator that overflows wraps round to the other sign, without a message.",
) as c:
    c.equal("9 products int8 × int8", accumulator_bits(9, 8, 8), 19, misconceptions=[
        (18, "One bit more, for the sign."),
        (20, "A signed number of b bits reaches 2^(b−1): −128 is 2^7."),
        (21, "A signed number of b bits reaches 2^(b−1): −128 is 2^7."),
    ])
    c.equal("512 products int8 × int8", accumulator_bits(512, 8, 8), 24)
    c.equal("516 products int16 × int8", accumulator_bits(516, 16, 8), 32, misconceptions=[
        (33, "Narrow weights reach 127, not 128: 516 · 32768 · 127 < 2^31."),
    ])
    c.equal("517 products int16 × int8", accumulator_bits(517, 16, 8), 33, misconceptions=[
        (32, "517 · 32768 · 127 is more than 2^31 − 1: compare integers, a logarithm rounds."),
    ])
    c.equal("one product (−128)(−128)", accumulator_bits(1, 8, 8, narrow=False), 16, misconceptions=[
        (15, "+2^14 is no 15-bit number: those end at 2^14 − 1."),
    ])
    c.equal("512 products int16 × int8, −128 allowed", accumulator_bits(512, 16, 8, narrow=False), 33,
            misconceptions=[
                (32, "512 · 2^15 · 2^7 is exactly 2^31, and 32 bits end at 2^31 − 1."),
            ])

# %% [markdown]
# 512 products of int16 × int8 just fit into 32 bits, 517 do not: a 3 × 3 convolution over 64 channels has
# 576. So the 16x8 kernels add up in **64 bits**, and the biases, which are added there, are stored as
# int64, whether the network at hand needs them or not. Does ours? The formula knows only $n$; the file
# knows the weights, and no sum of a channel can be larger than its $\sum |q_w|$ times the largest input.
# (With 8 bits a code minus its zero point, $q - Z$, is what is multiplied: up to 255, nine bits.)

# %%
int8_file = post_training.convert(baselines[SEED].model, "int8", images)
graph = measure.read_graph(int8_file)
rows = {}
for operator, layer in zip(graph.operators, measure.inspect(int8_file).operators["layer"]):
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        codes = graph.tensors[operator.inputs[1]].codes.astype(int)
        channels = -1 if operator.name == "DEPTHWISE_CONV_2D" else 0
        codes = np.moveaxis(codes, channels, 0).reshape(codes.shape[channels], -1)
        heaviest = int(np.abs(codes).sum(axis=1).max())
        rows[layer] = {
            "products": codes.shape[1],
            "int8, by the formula": accumulator_bits(codes.shape[1], 9, 8),
            "int8, by these weights": (255 * heaviest).bit_length() + 1,
            "16x8, by the formula": accumulator_bits(codes.shape[1], 16, 8),
            "16x8, by these weights": (32768 * heaviest).bit_length() + 1,
        }
widths = pd.DataFrame(rows).T.rename_axis("bits of a sum")
widths

# %% [markdown]
# 32 bits are enough for this network in both modes; its own weights need up to two bits less than the
# formula has to allow for, since not every weight is ±127. TFLite's 16x8 kernels do not look at the weights:
# they must work for any network.

# %% [markdown]
# ## 4 · A layer in integers
#
# Now the whole layer. Its inputs are codes with scale $S_x$ and zero point $Z_x$, its weights codes with
# a scale $S_w$ for each output, so the sum $\sum (q_x - Z_x)\,q_w$ counts in steps of $S_x S_w$. The
# **bias** is a real number; to be added to that sum, it must be counted in the *same* steps:
#
# $$S_b = S_x S_w, \qquad q_b = \operatorname{round}\!\left(\frac{b}{S_x S_w}\right).$$
#
# Then the result is brought to the step of the output, $M = S_x S_w / S_y$, and
#
# $$q_y = \operatorname{clip}\!\left(\operatorname{round}(M \cdot \text{sum}) + Z_y,\;
#   q_\text{low},\; 127\right).$$
#
# There is no operator for **ReLU**: a negative number has a code below that of zero, so the clip that is
# there anyway does it, from $q_\text{low} = Z_y$ on in place of −128.
#
# By hand: $S_x = 0.1$, $Z_x = 3$, $S_w = 0.5$, $b = -1.02$, $S_y = 0.2$, $Z_y = -128$. $q_b = -1.02/0.05 =
# -20.4$, rounded to −20. For $q_x = (13, 5)$ and $q_w = (4, -7)$ the sum is $10 \cdot 4 - 2 \cdot 7 - 20 =
# 6$, $M = 0.25$, and $q_y = \operatorname{round}(1.5) - 128 = -126$, which stands for 0.4. (The exact
# output is $1 \cdot 2 - 0.2 \cdot 3.5 - 1.02 = 0.28$.)


# %% [markdown]
# ### Your turn: a bias


# %% tags=["exercise"] exercise="quantize_bias"
def quantize_bias(bias, s_x, s_w):
    """Codes of the biases (out,), int32, for the sums of a layer; s_x a number, s_w (out,)."""
    ### BEGIN SOLUTION
    return np.round(bias / (s_x * s_w)).astype(np.int32)
    ### END SOLUTION


# %% tags=["check"] exercise="quantize_bias" points=3
with check(
    "codes of a bias",
    exercise="quantize_bias",
    what="the bias by hand, a scale for each output, and a bias of many steps.",
    why="a bias on another grid is off by the factor between the grids, in every output.",
) as c:
    c.equal("by hand", quantize_bias(np.array([-1.02]), 0.1, np.array([0.5])), np.array([-20]),
            misconceptions=[
                (np.array([-2]), "Divide by both scales: S_b = S_x S_w."),
                (np.array([-10]), "Divide by both scales: S_b = S_x S_w."),
                (np.array([-127]), "A bias needs no scale of its own: it must have that of the sum."),
                (np.array([-21]), "Round to the nearest; −20.4 is nearer to −20."),
            ])
    codes = quantize_bias(np.array([1.0, 1.0, -0.5]), 0.01, np.array([0.1, 0.01, 0.002]))
    c.equal("a scale for each output", codes, np.array([1000, 10_000, -25_000]), misconceptions=[
        (np.array([127, 127, -128]), "A bias has 32 bits, not eight: do not clip it."),
        (np.array([-24, 16, 88]), "A bias has 32 bits: in eight of them it wraps round."),
    ])
    c.dtype("32 bits", codes, np.int32)

# %% [markdown]
# ### Your turn: the whole layer


# %% tags=["exercise"] exercise="integer_dense"
def integer_dense(q_x, zero_x, q_w, q_b, factor, zero_y, relu):
    """Output codes (n, out), int8, of a dense layer, from integers and one factor for each output.

    q_x: int8 (n, in); q_w: int8 (in, out); q_b: int32 (out,); factor: M, float (out,); relu: bool.
    """
    ### BEGIN SOLUTION
    sums = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32) + q_b
    codes = np.round(factor * sums) + zero_y
    return np.clip(codes, zero_y if relu else -128, 127).astype(np.int8)
    ### END SOLUTION


# %% tags=["check"] exercise="integer_dense" points=4
with check(
    "a layer in integers",
    exercise="integer_dense",
    what="the layer by hand, ReLU with its zero in the middle, both ends of the range, and a wide sum.",
    why="lab 04 makes a whole network of it.",
) as c:
    q_x, q_w, q_b = np.array([[13, 5]], np.int8), np.array([[4], [-7]], np.int8), np.array([-20])
    c.equal("by hand", integer_dense(q_x, 3, q_w, q_b, np.array([0.25]), -128, False), [[-126]],
            misconceptions=[
                ([[2]], "The zero point of the output is missing."),
                ([[-122]], "The bias is missing."),
                ([[-127]], "Round, do not cut off."),
                ([[-128]], "Subtract the zero point of the input from every code."),
            ])
    two = np.array([[13, 5], [-10, 20]], np.int8)
    c.equal("without ReLU, zero at −10", integer_dense(two, 3, q_w, q_b, np.array([0.25]), -10, False),
            [[-8], [-58]])
    c.equal("ReLU, zero at −10", integer_dense(two, 3, q_w, q_b, np.array([0.25]), -10, True),
            [[-8], [-10]], misconceptions=[
                ([[-8], [-58]], "Nothing was cut off: with ReLU the clip begins at Z_y."),
                ([[0], [0]], "Zero has the code Z_y, not 0: cut off below that."),
                ([[-8], [0]], "Zero has the code Z_y, not 0: cut off below that."),
            ])
    ends = integer_dense(two, 3, q_w, q_b, np.array([50.0]), -10, False)
    c.equal("both ends of the range", ends, [[127], [-128]], misconceptions=[
        ([[34], [-10 - 50 * 191 + 256 * 37]], "Clip to −128 … 127 before the cast."),
    ])
    wide = integer_dense(np.full((1, 200), 127, np.int8), -128, np.full((200, 1), 127, np.int8),
                         np.zeros(1, np.int32), np.array([1e-5]), 0, False)
    c.equal("200 products of 255 · 127", wide, [[65]])

# %% [markdown]
# **Does LiteRT do this?** The next cell converts a dense layer with ReLU to int8. From the file it takes only
# codes, scales and zero points; your functions quantise the biases and compute the outputs, and the codes of
# both are compared with LiteRT's.

# %%
layer = tf.keras.Sequential([tf.keras.layers.Dense(16, activation="relu", input_shape=(40,))])
rng = np.random.default_rng(0)
layer.set_weights([rng.normal(size=(40, 16)), rng.normal(size=16)])
samples = rng.normal(size=(2000, 40)).astype(np.float32)
content = post_training.convert(layer, "int8", samples[:200])

graph = measure.read_graph(content)
(operator,) = graph.operators
x, w, b, y = (graph.tensors[i] for i in (*operator.inputs, *operator.outputs))
low, high = calibrate_range([samples[:200]])
print(f"step of the input: yours {activation_steps(low, high)[0]:.8f}, the file's {x.scales[0]:.8f}")

q_b = quantize_bias(layer.get_weights()[1], x.scales[0], w.scales)
print(f"{q_b.size} biases, {np.count_nonzero(q_b != b.codes)} codes differ")

factor = x.scales[0].astype(np.float64) * w.scales / y.scales[0]
q_x = affine.quantize(samples, x.scales[0], x.zero_points[0]).astype(np.int8)
codes = integer_dense(q_x, x.zero_points[0], w.codes.T, q_b, factor, y.zero_points[0], relu=True)
outputs = measure.TFLiteModel(content, reference=True).predict(samples)  # comes back as real numbers
theirs = np.round(outputs / y.scales[0]) + y.zero_points[0]
differ = np.count_nonzero(codes != theirs)
print(f"{codes.size:,} outputs, {differ} codes differ, "
      f"by {int(np.abs(codes - theirs).max())} at most; {np.mean(theirs == y.zero_points[0]):.0%} "
      "are zeros of the ReLU")

# %%
with check(
    "your layer and LiteRT's",
    what="16 biases and 32,000 output codes.",
    why="whatever the rest of the course says of int8 rests on this arithmetic.",
) as c:
    c.between("biases that differ", np.count_nonzero(q_b != b.codes), 0, 0)
    c.between("outputs that differ", differ, 0, codes.size // 1000)
    c.between("by", np.abs(codes - theirs).max(), 0, 1, unit="step")

# %% [markdown]
# The biases are the same, code for code. The rare output that differs lies on the border between two codes:
# your factor is a float, LiteRT's an integer and a shift. Lab 04 does that last step in integers, too.

# %% [markdown]
# ## 5 · The representative dataset, and the conversions
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
    what="what your function yields: a list, shape, type, and all of the images as they are.",
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
    values = np.concatenate([np.asarray(item[0], float) for item in items])
    c.close("the images, in order", values, some, misconceptions=[
        (255 * some, "Prepared as in training: from 0 to 1."),
        (some[::-1], "Yield the images in the order in which they are given."),
        (np.zeros_like(some), "Those are zeros: the ranges would be empty."),
        (np.repeat(some[:1], 5, axis=0), "That is the first image, five times."),
    ])
    again = list(generate())
    c.equal("a second call begins anew", len(again), 5)

# %% [markdown]
# ### Your turn: convert to int8
#
# Set `optimizations` as in lab 02, `representative_dataset`, and two things more: that only integer
# kernels will do, `target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]`, and that the file
# takes and gives integers, too, `inference_input_type` and `inference_output_type`. Without the last two
# the file keeps a float input and output, and converts on the device.


# %% tags=["exercise"] exercise="convert_int8"
def convert_int8(model, images):
    """The bytes of a TFLite file that is int8 throughout, input and output included."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    ### BEGIN SOLUTION
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset(images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()
    ### END SOLUTION


# %% tags=["check"] exercise="convert_int8" points=4
with check(
    "an int8 file",
    exercise="convert_int8",
    what="the types of all tensors, and the step of the input against your calibration.",
    why="one float tensor, and an integer-only device refuses the file.",
) as c:
    int8_path = lab.write("sign_mnist_quant_int8.tflite", convert_int8(baselines[SEED].model, images))
    inspection = measure.inspect(int8_path)
    c.that("int8 weights", set(inspection.weight_types) == {"int8"},
           otherwise=f"the weights are {inspection.weight_types}: set optimizations.")
    c.that("int8 activations", set(inspection.activation_types) <= {"int8"},
           otherwise=f"the activations are {inspection.activation_types}: a representative dataset "
           "makes them integers, inference_input_type and inference_output_type input and output.")
    c.that("int32 biases", set(inspection.bias_types) == {"int32"},
           otherwise=f"the biases are {inspection.bias_types}.")
    step = inspection.graph.tensors[inspection.graph.inputs[0]].scales
    expected = activation_steps(*calibrate_range([images]))[0]
    c.that("the step of the input is that of your calibration",
           len(step) == 1 and abs(step[0] / expected - 1) < 1e-4,
           otherwise=f"it is {step}, your two functions say {expected:.6f}: were the images handed on "
           "as they are?")

# %% [markdown]
# ### Your turn: convert to 16x8
#
# The same without the last two, and with the one set of operators that stands for this mode:
# `tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8`. The lab sheet's file keeps
# float input and output: a QUANTIZE operator in front and a DEQUANTIZE behind.


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
    step = inspection.graph.tensors[inspection.graph.operators[0].outputs[0]].scales
    expected = activation_steps(*calibrate_range([images]))[1]
    c.that("the step of the input is that of your calibration",
           len(step) == 1 and abs(step[0] / expected - 1) < 1e-4,
           otherwise=f"it is {step}, your two functions say {expected:.3g}: were the images handed on "
           "as they are?")

# %% [markdown]
# Are *all* steps of both files those that your two functions say? They should be, if the converter does
# what section 1 says: the inputs and every ReLU, from the ranges of the figure above.

# %%
calibrated = {
    name: activation_steps(*calibrate_range([np.array([row["min"], row["max"]])]))
    for name, row in ranges.iterrows()
}


def steps_of(path, kind):
    """Steps of the input and of all outputs with a ReLU fused into them, in the file's order."""
    graph = measure.read_graph(path)
    first = next(t for t in graph.tensors if t.type == kind and not t.is_constant)
    behind = [graph.tensors[o.outputs[0]] for o in graph.operators
              if o.options.get("fused_activation_function") == "RELU"]
    return [t.scales[0] for t in (first, *behind)]


theirs = [steps_of(lab.path(f"sign_mnist_quant_{kind}.tflite"), activation)
          for kind, activation in (("int8", "int8"), ("int16x8", "int16"))]
steps = pd.DataFrame(
    [{"tensor": name, "int8, yours": mine[0], "the file's": eight, "16x8, yours": mine[1],
      "its file's": sixteen}
     for (name, mine), eight, sixteen in zip(calibrated.items(), *theirs)]
).set_index("tensor")
steps.map("{:.4g}".format)

# %% [markdown]
# ## 6 · All modes beside each other
#
# | mode | weights | activations | bias | input and output | data needed |
# | --- | --- | --- | --- | --- | --- |
# | float | float32 | float32 | float32 | float32 | no |
# | float16 | float16 | float32 | float16 | float32 | no |
# | dynamic range | int8 | float32, quantised at run time | float32 | float32 | no |
# | int8 | int8 | int8 | int32 | int8 | yes |
# | 16x8 | int8 | int16 | int64 | float32 | yes |
#
# (float16 is a way to *store*: weights and biases are unpacked to float32 before the first image.)
#
# **Predict.** Which of the three files with eight-bit weights gives the outputs that are nearest to the
# float file's, on the harder images of lab 02?

# %%
my_guess = predict(
    "nearest to float",
    "The largest SQNR of the outputs, against the float file:",
    choices=["dynamic range", "int8", "16x8"],
    answer=None,
)

# %%
harder = data.corrupted(noise=0.03)
FILES = {
    "float": ("sign_mnist.tflite", lambda m: post_training.convert(m, "float")),
    "float16": ("sign_mnist_quant_float16.tflite", lambda m: post_training.convert(m, "float16")),
    "dynamic range": ("sign_mnist_quant_dyn.tflite",
                      lambda m: post_training.convert(m, "dynamic_range")),
    "int8": ("sign_mnist_quant_int8.tflite", lambda m: convert_int8(m, images)),
    "16x8": ("sign_mnist_quant_int16x8.tflite", lambda m: convert_int16x8(m, images)),
}
for seed, baseline in baselines.items():
    reference = lab.path("sign_mnist.tflite", seed)
    for technique, (file, converted) in FILES.items():
        path = lab.write(file, converted(baseline.model), seed)
        lab.measure(technique, path, seed, reference=reference, harder=harder)
noise = {name: lab.mean("output_sqnr", name) for name in ("dynamic range", "int8", "16x8")}
reveal("nearest to float", my_guess, max(noise, key=noise.get),
       ", ".join(f"{name} {value:.1f} dB" for name, value in noise.items()))

# %% [markdown]
# The file with sixteen bits for every activation is *farther* from float than one that quantises each input
# to eight bits. How can that be?

# %% [markdown]
# ## 7 · Where does the noise come from?
#
# To find a source of noise, keep everything else exact. Below, in Keras and with all activations in float,
# the weights of *one* layer at a time are rounded to eight bits, with a scale for each output channel as in
# the files; then those of all layers; then those of all layers but the first.

# %%
probabilities = baselines[SEED].model.predict(harder.x_test, verbose=0)
weighted = [layer.name for layer in baselines[SEED].model.layers
            if getattr(layer, "kernel", getattr(layer, "depthwise_kernel", None)) is not None]


def with_rounded_weights(model, names):
    """A copy with eight-bit weights in these layers, everything else as it is."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name in names:
        kernel = copy.get_layer(name).weights[0]
        w = kernel.numpy()
        others = tuple(range(w.ndim - 1)) if "depthwise" not in kernel.name else (0, 1, 3)
        scales = np.abs(w).max(axis=others, keepdims=True) / 127
        kernel.assign(scales * np.round(w / scales))
    return copy


def sqnr_of(model):
    """Of the outputs on the harder images, in dB."""
    return measure.sqnr(probabilities, model.predict(harder.x_test, verbose=0))


sources = {f"weights of {name}": sqnr_of(with_rounded_weights(baselines[SEED].model, [name]))
           for name in weighted}
sources["weights of all layers"] = sqnr_of(with_rounded_weights(baselines[SEED].model, weighted))
sources["all but the first layer's"] = sqnr_of(
    with_rounded_weights(baselines[SEED].model, weighted[1:]))
measured = {name: measure.compare(lab.path(FILES[name][0]), lab.path("sign_mnist.tflite"),
                                  harder.x_test, harder.y_test)["output_sqnr"] for name in noise}
pd.DataFrame({"SQNR (dB)": sources | {f"the {name} file": v for name, v in measured.items()}}).rename_axis(
    "rounded").round(1)

# %% [markdown]
# Rounding the weights of the *first* layer alone leaves 30.7 dB, which is more than three quarters of all the
# noise in the 16x8 file (29.6 dB); no other layer's weights make a tenth of it. Rounding the weights of all
# layers, with activations in float, makes as much noise as the whole file. So 16x8's activations add nothing
# that could be seen, and int8's cost 0.8 dB more. And the dynamic-range file is nearer to float because **its
# first layer is not quantised at all**: that layer has fewer than 1,024 weights, and the converter leaves it
# in float. All eight-bit weights but the first layer's leave 39.1 dB; the 1.4 dB from there to that file come
# from the activations, which it rounds as they arrive.
#
# More bits help where the noise is. Here it is in the nine weights of each channel of the first layer, and
# sixteen bits for the activations are spent in the wrong place.

# %% [markdown]
# Here is the time that each file takes on this computer for one image, with one thread:

# %%
times = {technique: lab.latency(technique, lab.path(file)) for technique, (file, _) in FILES.items()}
pd.DataFrame({"ms per image": {t: v.median_ms for t, v in times.items()}}).rename_axis("file").round(3)

# %% [markdown]
# ## 8 · Where the activations' range matters
#
# On this network 16 bits buy next to nothing. To see when they do, we stretch **one channel** of one
# layer without changing what the network computes. ReLU lets positive factors through,
#
# $$\operatorname{ReLU}(s\,x) = s \operatorname{ReLU}(x), \quad s > 0,$$
#
# so we multiply the channel by $s$ before the activation and divide the next layer's weights for it
# by $s$. In float nothing changes.

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
FACTORS = {"quick": (1, 16, 256), "full": (1, 4, 16, 64, 256, 1024, 4096)}[PROFILE]
subject = baselines[SEED].model
if not calibration.stretchable_layers(subject):  # your own network has no such channel
    subject = lab.trained(sign_cnn, SEED).model
STRETCHED = calibration.stretchable_layers(subject)[:2][-1]
test = slice(0, {"quick": 400, "full": 2000}[PROFILE])
x_test, y_test = data.x_test[test], data.y_test[test]


def accuracy_of_rounded_weights(model):
    """Accuracy (%) in Keras with all weights in eight bits and activations in float."""
    rounded = with_rounded_weights(model, [layer.name for layer in model.layers
                                           if getattr(layer, "kernel", None) is not None])
    return 100 * np.mean(rounded.predict(x_test, verbose=0).argmax(axis=1) == y_test)


rows = []
for factor in FACTORS:
    stretched = calibration.stretch_channel(subject, STRETCHED, 0, factor)
    row = {"factor": factor, "8-bit weights alone": accuracy_of_rounded_weights(stretched)}
    for technique, mode in [("float", "float"), ("int8", "int8"), ("16x8", "int16x8")]:
        content = post_training.convert(stretched, mode, images)
        row[technique] = 100 * measure.accuracy(content, x_test, y_test)
    rows.append(row)
sweep = pd.DataFrame(rows).set_index("factor")
sweep.round(1)

# %%
kept = sweep.loc[256, "int8"] / sweep.loc[256, "float"]
answer = "nearly all of it" if kept > 0.8 else "about half" if kept > 0.3 else "next to nothing"
reveal("stretched channel", my_guess, answer, f"int8 keeps {kept:.0%} of the float accuracy.")
plots.show(
    plots.lines(sweep, x="stretching factor of one channel", y="test accuracy (%)", log_x=2),
    alt="Accuracy over the stretching factor: float stays level, and 16x8 and eight-bit weights alone "
    "lie on it or just below; int8 falls.",
)

# %% [markdown]
# What the plot says: float does not notice. int8 breaks down, and there are two suspects. First, the whole
# tensor of activations has one step, which grows with the stretched channel, so that all *other* channels are
# left with fewer and fewer codes. Second, the next layer's weights for the stretched channel were divided by
# the factor but share a scale with the weights for the other channels, so that *they* are left with fewer and
# fewer codes, and end as zeros. The curve of eight-bit weights alone tests the second suspect by itself: it
# stays at 100.0 % whatever the factor, since the network does without one channel (and 16x8, which rounds the
# same weights, loses 0.1 points at the last factor). So int8's loss, 2.9 points at 64-fold and 91 at 256-fold,
# is that of the activations: *that* is what 16 bits buy.
#
# Networks without normalisation and transformers with their outliers have such channels. One can also go
# the other way and use the same identity to make the channels equal: cross-layer equalisation, in the
# further reading.

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
report = lab.report(device=True).drop(columns="model")
measure.printed(report, 3)

# %%
plots.show(
    plots.comparison(report, "accuracy, harder (%)", spread=""),
    alt="Accuracy on the harder test images, and size, of float, float16, dynamic range, int8 and "
    "16x8: float16 has half of the size and the others less than a third.",
)

# %% [markdown]
# What the ledger says: all files with eight-bit weights have about the same size and differ in the rest.
# **int8 needs a quarter of float's working memory, 16x8 half of it**; dynamic range and float16 need all of it
# (and float16 unpacks its weights into memory besides). On the harder images 59 and 60 answers of 7,172 have
# changed in the files whose first layer is quantised, 17 in the one where it is not. On the test images as they
# are, int8 and 16x8 lose nothing. 16x8 takes about eight times as long as int8 on this computer, which has no
# fast kernels for it. A latency is a fact about a file *and* a machine.
#
# On the microcontroller float, int8 and 16x8 run; float16 is refused as dynamic range is, since TensorFlow Lite
# Micro cannot unpack its weights. The arenas are the working memory and 4 to 7 kB more: 19,952 bytes for int8
# where float takes 66,736.

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
# The weights are the same in the same eight bits, so the file is nearly as small as dynamic range's: the
# first layer is quantised, too, but biases have 64 bits and every activation a scale. The accuracy on the
# test images is that of both others, 100.0 %; on the harder images it is 94.13 against 94.25 and 94.16 %, and 59
# answers have changed. The outputs are farther from float than dynamic range's (28.4 against 39.0 dB): the noise
# comes from the first layer's weights, which dynamic range leaves in float. Between the operators 16x8 needs
# no floating point (input and output of this file do) and half of float's working memory, and a
# microcontroller runs it in an arena of 37,888 bytes.
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
# - A layer in integers: products, a bias on the grid S_x S_w, one factor, and a clip that is also the
#   ReLU. LiteRT does the same, code for code.
# - Noise comes from somewhere: round one thing at a time to find out where. More bits elsewhere buy nothing.
# - One large channel takes the resolution from all others; 16 bits have some to spare, at twice the
#   working memory and, on this computer, many times the time of int8.
#
# **Further reading:** M. Nagel et al., *Data-free quantization through weight equalization and bias
# correction*, ICCV 2019 · LiteRT, [16x8 quantisation](https://www.tensorflow.org/lite/performance/post_training_integer_quant_16x8).
#
# **Next:** lab 04 lets the network train with the rounding in it.

# %% tags=["finish"]
lab.finish()
