# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 04 · Quantisation-aware training
#
# So far the network was trained in float and rounded afterwards. Quantisation-aware training (QAT)
# lets it train *with* the rounding in place, so that it can arrange its weights around it. On the
# way you will compute a whole quantised network in integers yourself, since that is what training has
# to imitate.
#
# **You will be able to**
#
# - compute scale and zero point of an affine range, with an exact zero;
# - write a fake-quantisation node and a gradient for it: the straight-through estimator;
# - compute a convolutional network in integers alone, as in Jacob et al. (2018), and get LiteRT's codes;
# - fine-tune a network quantisation-aware, convert it, and compare it with the other files;
# - distinguish what training through the rounding wins from what longer training alone wins.
#
# **Time:** 90 minutes of work; the computer takes 1 minute (`quick`) or 10 (`full`, with the
# baselines of lab 01; 3 more without).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, and `sign_mnist_quant_aware_training.tflite`.

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
import tensorflow_model_optimization as tfmot
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from labkit import measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import affine, post_training
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("04_quantization_aware", PROFILE, DATA, SEED, OUT,
          headline="sign_mnist_quant_aware_training.tflite")
data = lab.dataset
network = lab.network(sign_cnn)  # your own of lab 01, where the output folder has it
baselines = {seed: lab.trained(network, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())

# %% [markdown]
# ## 1 · Scale and zero point
#
# An **affine** code $q$ stands for the real number
#
# $$r = S\,(q - Z), \qquad q \in \{-128, \dots, 127\},$$
#
# with scale $S$ and *zero point* $Z$, the code of zero. Lab 02 computed both from an input that was
# there; here a range is given, from calibration or from training. Padding, ReLU and pruned weights all
# need an exact zero, so $Z$ must be an integer: it is computed and then **rounded**, which shifts the
# range a little.
#
# $$S = \frac{\max - \min}{255}, \qquad
#   Z = \operatorname{round}\!\left(-128 - \frac{\min}{S}\right).$$
#
# By hand, $[-1, 3]$: $S = 4/255 = 0.015686$; $-128 + 1/S = -128 + 63.75 = -64.25$, so $Z = -64$.
# The representable range is now $[-64 S, 191 S] = [-1.0039, 2.9961]$.


# %% [markdown]
# ### Your turn: the parameters


# %% tags=["exercise"] exercise="affine_parameters"
def affine_parameters(low, high):
    """Scale (float) and zero point (int, -128..127) of the affine 8-bit grid over [low, high]."""
    ### BEGIN SOLUTION
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))
    ### END SOLUTION


# %% tags=["check"] exercise="affine_parameters" points=3
with check(
    "scale and zero point",
    exercise="affine_parameters",
    what="the range by hand, a range after ReLU, and one that does not contain zero.",
    why="a zero that is not exact turns every padded border into a faint signal.",
) as c:
    c.close("[-1, 3]", affine_parameters(-1.0, 3.0), (4 / 255, -64), misconceptions=[
        ((4 / 256, -64), "Eight bits have 256 codes but 255 steps between them."),
        ((4 / 255, -64.25), "The zero point is a code: round it to an integer."),
        ((4 / 255, 64), "Those are unsigned codes 0 … 255; ours are −128 … 127."),
        *(((4 / 255, code), "The sign: −128 − min/S, and min is negative.") for code in (-192, -128)),
    ])
    c.close("[0, 6], after ReLU", affine_parameters(0.0, 6.0), (6 / 255, -128))
    c.close("[-6, 0]", affine_parameters(-6.0, 0.0), (6 / 255, 127))
    c.close("[2, 6], widened to zero", affine_parameters(2.0, 6.0), (6 / 255, -128),
            misconceptions=[
                ((4 / 255, -128), "Zero must be in the range: widen it to [0, 6] first."),
            ])

# %% [markdown]
# ## 2 · A fake-quantisation node
#
# While training, the network stays in float, but passes each tensor through a node that rounds it
# to the grid and comes back at once:
#
# $$\operatorname{fq}(x) = S \left( \operatorname{clip}\!\left(
#   \operatorname{round}\!\left(\tfrac{x}{S}\right) + Z,\, -128,\, 127 \right) - Z \right).$$
#
# By hand, with $S = 0.5$ and $Z = 0$: $(0.2, 0.3, -1.1, 100)$ becomes $(0, 0.5, -1, 63.5)$; the
# last value is cut off at code 127, and −100 would be at −64, code −128.


# %% [markdown]
# ### Your turn: fake-quantise


# %% tags=["exercise"] exercise="fake_quantize"
def fake_quantize(x, scale, zero_point):
    """x (any shape) rounded and clipped to the 8-bit grid, as floats."""
    ### BEGIN SOLUTION
    codes = np.clip(np.round(x / scale) + zero_point, -128, 127)
    return scale * (codes - zero_point)
    ### END SOLUTION


# %% tags=["check"] exercise="fake_quantize" points=3
with check(
    "fake quantisation",
    exercise="fake_quantize",
    what="the tensor by hand, a shifted zero point, and that a second pass changes nothing.",
    why="this node stands behind every layer of the network that you will train.",
) as c:
    x = np.array([0.2, 0.3, -1.1, 100.0])
    c.close("by hand", fake_quantize(x, 0.5, 0), [0, 0.5, -1, 63.5], misconceptions=[
        ([0, 0.5, -1, 100], "What lies outside the codes −128 … 127 must be clipped."),
        ([0, 1, -2, 127], "Those are the codes: come back to real numbers, S (q − Z)."),
        ([0, 0, -1, 63.5], "Round to the nearest code, do not cut off."),
    ])
    c.close("zero point −128", fake_quantize(x, 0.5, -128), [0, 0.5, 0, 100.0], misconceptions=[
        ([-64.0, -63.5, -64.0, 36.0], "Subtract the zero point again on the way back."),
        ([0, 0.5, -1, 63.5], "The clip is at the *codes*, with the zero point added."),
        ([0, 0.5, -1, 100], "Negative numbers have no code here: clip below, too."),
    ])
    c.close("far below", fake_quantize(np.array([-100.0]), 0.5, 0), [-64.0], misconceptions=[
        ([-100.0], "Clip below, too: at −128."),
        ([-63.5], "The lowest code is −128."),
    ])
    once = fake_quantize(np.linspace(-3, 3, 101), 4 / 255, -64)
    c.close("a second pass changes nothing", fake_quantize(once, 4 / 255, -64), once,
            tolerance=1e-12)

# %%
def four_bits(x):
    """The range [-1, 3] on 16 codes, -8..7: scale 4/15, zero point -4."""
    return 4 / 15 * (np.clip(np.round(x / (4 / 15)) - 4, -8, 7) + 4)


plots.show(
    plots.quantization_steps(four_bits, low=-1.5, high=3.5),
    alt="A staircase that follows the diagonal and turns flat at both ends of the range; below it "
    "the error, a saw tooth of half a step, which grows without bound outside the range.",
)

# %% [markdown]
# The picture shows the same range with four bits, since the 255 steps of eight bits could not be
# seen. Two kinds of error: a saw tooth of at most half a step **inside** the range (rounding), and
# one that grows without bound **outside** (clipping).

# %% [markdown]
# ## 3 · A gradient through a staircase
#
# The derivative of a staircase is zero almost everywhere: gradient descent would stand still. The
# **straight-through estimator** (Hinton; Bengio et al. 2013) uses the staircase forwards and
# pretends backwards that it was a straight line: derivative 1 inside the range, 0 where it clips.
# There is a neat way to write it without defining a gradient,
#
# $$\operatorname{ste}(x) = x_c + \operatorname{stop\_gradient}(\operatorname{fq}(x) - x_c),
#   \qquad x_c = \operatorname{clip}(x, -128\,S, 127\,S),$$
#
# whose value is $\operatorname{fq}(x)$ and whose derivative is that of $x_c$.


# %% [markdown]
# ### Your turn: straight through


# %% tags=["exercise"] exercise="straight_through"
def straight_through(x, scale, bits=8):
    """Symmetric fake quantisation of a tf.Tensor with straight-through gradient (zero point 0).

    Codes go from -(2**(bits-1)) to 2**(bits-1) - 1; use tf.round, tf.clip_by_value, tf.stop_gradient.
    """
    low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    ### BEGIN SOLUTION
    clipped = tf.clip_by_value(x, scale * low, scale * high)
    return clipped + tf.stop_gradient(scale * tf.round(clipped / scale) - clipped)
    ### END SOLUTION


# %% tags=["check"] exercise="straight_through" points=5
x = tf.constant([0.2, 0.3, -1.1, 100.0, -100.0])
with check(
    "straight-through estimator",
    exercise="straight_through",
    what="the values forwards and the gradient backwards.",
    why="without it the weights never move; without the zero where clipped they run away.",
) as c:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = straight_through(x, 0.5)
    gradient = tape.gradient(y, x)
    c.close("forwards", y, [0, 0.5, -1, 63.5, -64], misconceptions=[
        ([0.2, 0.3, -1.1, 63.5, -64], "Forwards it must be the staircase: the stop_gradient term is "
         "missing or zero."),
        ([0, 0.5, -1, 63.5, -100], "Clip below, too: at −128 S."),
        ([0, 0.5, -1, 100, -100], "What lies outside the codes must be clipped."),
    ])
    c.that("there is a gradient", gradient is not None,
           otherwise="everything is inside stop_gradient: leave the clipped x outside.")
    c.close("backwards", [0] * 5 if gradient is None else gradient, [1, 1, 1, 0, 0],
            misconceptions=[
                ([0] * 5, "That is the true derivative of the staircase: nothing would learn."),
                ([1] * 5, "The last two values are clipped: their derivative is 0."),
                ([1, 1, 1, 0, 1], "−100 is clipped, too."),
            ])
    c.close("three bits", straight_through(tf.constant([2.0, -2.0, 0.6]), 0.5, bits=3),
            [1.5, -2.0, 0.5], misconceptions=[
                ([2.0, -2.0, 0.5], "The codes of three bits are −4 … 3."),
            ])

# %% [markdown]
# **A network of two weights.** The task is a linear one with correlated inputs, and the weights may
# only be multiples of 0.5. Rounding treats each weight alone, and here rounds both down. Training
# through the rounding sees the loss, and lets one weight make up for what the other one loses.

# %%
rng = np.random.default_rng(3)
inputs = tf.constant(rng.normal(size=(500, 1)) + 0.2 * rng.normal(size=(500, 2)), tf.float32)
best = tf.constant([[0.74], [0.66]])
target = inputs @ best


def loss(w):
    """Mean squared error of the weights w (2, 1)."""
    return tf.reduce_mean((inputs @ w - target) ** 2)


def walk(rate):
    """Sixty steps from the best float weights, rate(step) each: loss and both weights of each step."""
    w, steps = tf.Variable(best), []
    for step in range(60):
        with tf.GradientTape() as tape:
            value = loss(straight_through(w, 0.5))
        steps.append((float(value), *np.ravel(w)))
        w.assign_sub(rate(step) * tape.gradient(value, w))
    return pd.DataFrame(steps, columns=["loss", "first weight", "second weight"])


constant = walk(lambda step: 0.01)
falling = walk(lambda step: 0.01 * (1 - step / 60))
lowest = constant.loc[constant["loss"].idxmin()]
rounded = 0.5 * np.round(best / 0.5)
trained = 0.5 * np.round(lowest[["first weight", "second weight"]].to_numpy() / 0.5)[:, None]
pd.DataFrame(
    {
        "first weight": [float(v[0, 0]) for v in (best, rounded, trained)],
        "second weight": [float(v[1, 0]) for v in (best, rounded, trained)],
        "mean squared error": [float(loss(tf.cast(v, tf.float32))) for v in (best, rounded, trained)],
    },
    index=["float", "rounded afterwards", "trained through the rounding, best step"],
).round(3)

# %%
for name, steps in (("constant", constant), ("falling", falling)):
    above = steps["first weight"] > 0.75
    print(f"{name} rate: the rounded weight changes {np.count_nonzero(above.diff()[1:])} times, "
          f"{np.count_nonzero(above[30:].diff()[1:])} of them in the second half; at the end the weight "
          f"is {steps['first weight'].iloc[-1]:.4f}")
plots.show(
    plots.lines(pd.DataFrame({"constant rate": constant["first weight"],
                              "falling rate": falling["first weight"]}), x="step",
                y="float weight behind the rounding", levels=[0.75]),
    alt="The first float weight over sixty steps, with a constant and with a falling rate: both begin "
    "below 0.75, the border between the roundings to 0.5 and 1, cross it at once and then swing about "
    "it; with the falling rate in ever smaller swings.",
)

# %% [markdown]
# What the figure says: the first weight crosses the border at 0.75, is rounded to 1 from there on, and the
# error turns round: now it is pushed back. So it **oscillates** about the border, and the rounded weight
# changes with it, 25 times in sixty steps. A falling rate makes the swings smaller; it does not end them (23
# changes, 11 of them in the second half), and leaves the weight so near to the border, at 0.7502, that its
# side is an accident of the last step. That is why the table keeps the *best* step.

# %% [markdown]
# ## 4 · A layer in integers alone
#
# At inference there are no floats. With $r_x = S_x (q_x - Z_x)$ and $r_w = S_w (q_w - Z_w)$ a sum of
# $n$ products becomes
#
# $$\sum r_x r_w = S_x S_w \Bigl[ \underbrace{\textstyle\sum q_x q_w}_{\text{products}}
#   - \underbrace{Z_w \textstyle\sum q_x}_{\text{inputs}}
#   - \underbrace{Z_x \textstyle\sum q_w}_{\text{weights}}
#   + \underbrace{n Z_x Z_w}_{\text{constant}} \Bigr]$$
#
# (Jacob et al. 2018, equation 7). The weights and the constant are known in advance and go into
# the bias. **The term with the inputs is not:** it has to be summed anew for every input, for every
# output. Symmetric weights have $Z_w = 0$: the term, and the constant with it, disappear. That is
# why TFLite's weights are symmetric and its activations need not be.
#
# By hand: $q_x = (10, 20)$, $Z_x = 4$, $q_w = (3, -5)$, $Z_w = 1$. Directly:
# $6 \cdot 2 + 16 \cdot (-6) = -84$. In four terms: products $30 - 100 = -70$; inputs
# $1 \cdot 30$; weights $4 \cdot (-2) = -8$; constant $2 \cdot 4 \cdot 1 = 8$; and
# $-70 - 30 + 8 + 8 = -84$.


# %% [markdown]
# ### Your turn: the four terms


# %% tags=["exercise"] exercise="four_terms"
def four_terms(q_x, zero_x, q_w, zero_w):
    """The terms (products, inputs, weights, constant) of the equation, as integers.

    q_x, q_w: int8 arrays (n,). The sum is products - inputs - weights + constant.
    """
    q_x, q_w = q_x.astype(np.int32), q_w.astype(np.int32)
    ### BEGIN SOLUTION
    products = int(q_x @ q_w)
    return products, int(zero_w * q_x.sum()), int(zero_x * q_w.sum()), len(q_x) * zero_x * zero_w
    ### END SOLUTION


# %% tags=["check"] exercise="four_terms" points=5
q_x, q_w = np.array([10, 20], np.int8), np.array([3, -5], np.int8)
with check(
    "the four terms",
    exercise="four_terms",
    what="the example by hand, symmetric weights, and a long random sum against the direct one.",
    why="an integer accelerator computes exactly these; what can be computed in advance is free.",
) as c:
    c.equal("by hand", four_terms(q_x, 4, q_w, 1), (-70, 30, -8, 8), misconceptions=[
        ((-70, 120, -2, 8), "The zero points are crossed: Z_w goes with the inputs, Z_x with the "
         "weights."),
        ((-70, -8, 30, 8), "Those of inputs and weights stand in each other's place."),
        ((-70, 30, -8, 4), "The constant is added once for each of the n products."),
        ((-70, -30, 8, 8), "The signs stand in the equation: the terms themselves are asked for."),
    ])
    c.equal("symmetric weights", four_terms(q_x, 4, q_w, 0), (-70, 0, -8, 0))
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (2, 300)).astype(np.int8)
    products, of_inputs, of_weights, constant = four_terms(a, -7, b, 11)
    direct = int(((a.astype(int) + 7) * (b.astype(int) - 11)).sum())
    c.equal("300 products", products - of_inputs - of_weights + constant, direct)

# %% [markdown]
# ## 5 · Scaling back, still without floats
#
# The sum is an int32 on the grid $S_x S_w$; the next layer wants int8 on the grid $S_y$. The factor
# $M = S_x S_w / S_y$ is a real number, nearly always below 1. It is known in advance, so it is
# written as an integer and a shift,
#
# $$M = M_0 \cdot 2^{-31} \cdot 2^{e}, \qquad 2^{30} \le M_0 < 2^{31},$$
#
# and a multiplication by $M$ is one 64-bit integer product and one shift.
#
# By hand: $M = 0.3$. Halving and doubling until it lies in $[0.5, 1)$: $0.3 = 0.6 \cdot 2^{-1}$, so
# $e = -1$ and $M_0 = \operatorname{round}(0.6 \cdot 2^{31}) = 1288490189$.


# %% [markdown]
# ### Your turn: multiplier and shift


# %% tags=["exercise"] exercise="quantized_multiplier"
def quantized_multiplier(m):
    """M0 (int) and exponent e (int) of a positive factor m; np.frexp splits a float."""
    ### BEGIN SOLUTION
    fraction, exponent = np.frexp(m)
    m0 = round(float(fraction) * 2**31)
    if m0 == 2**31:  # 0.99999… rounds up to 1: halve it
        m0, exponent = m0 // 2, exponent + 1
    return m0, int(exponent)
    ### END SOLUTION


# %% tags=["check"] exercise="quantized_multiplier" points=4
with check(
    "multiplier and shift",
    exercise="quantized_multiplier",
    what="0.3 by hand, a factor above 1, a power of two, and the relative error.",
    why="31 bits of mantissa make the factor more exact than float32 could.",
) as c:
    c.equal("0.3", quantized_multiplier(0.3), (1_288_490_189, -1), misconceptions=[
        ((644_245_094, 0), "Normalise first: the fraction lies in [0.5, 1), so that no bit is "
         "wasted."),
        ((1_288_490_188, -1), "Round, do not cut off."),
        ((1_288_490_189, 1), "The exponent's sign: 0.3 = 0.6 · 2^(−1)."),
    ])
    c.equal("0.5", quantized_multiplier(0.5), (2**30, 0))
    c.equal("3.0", quantized_multiplier(3.0), (1_610_612_736, 2))
    c.equal("just below one", quantized_multiplier(1 - 2.0**-40), (2**30, 1), misconceptions=[
        ((2**31, 0), "2^31 does not fit into 31 bits: halve it and raise the exponent."),
    ])
    worst = max(
        abs(m0 * 2.0 ** (e - 31) / m - 1)
        for m in np.random.default_rng(0).uniform(1e-6, 1, 100)
        for m0, e in [quantized_multiplier(m)]
    )
    c.that("relative error below 2^-31", worst < 2.0**-30, otherwise=f"it is {worst:.1e}.")

# %% [markdown]
# And the way back from a sum to a code. Adding one half before the shift rounds to the nearest,
#
# $$q_y = \operatorname{clip}\bigl(\,(\text{sum} \cdot M_0 + 2^{30-e}) \gg (31 - e)\; + Z_y,\;
#   q_\text{low},\, 127 \bigr),$$
#
# with $q_\text{low} = Z_y$ for a ReLU and −128 without, as in lab 03. By hand, $M = 0.3$: a sum of 10 becomes
# 3, and one of −4, −1.2, becomes −1.


# %% [markdown]
# ### Your turn: back to codes


# %% tags=["exercise"] exercise="rescale"
def rescale(sums, m0, e, zero_y, relu):
    """Output codes, int8, of int32 sums (..., out), in integers alone.

    m0, e: from quantized_multiplier, a number or one for each output; relu: bool.
    """
    ### BEGIN SOLUTION
    shift = 31 - np.asarray(e, np.int64)
    scaled = (sums.astype(np.int64) * m0 + (np.int64(1) << (shift - 1))) >> shift
    return np.clip(scaled + zero_y, zero_y if relu else -128, 127).astype(np.int8)
    ### END SOLUTION


# %% tags=["check"] exercise="rescale" points=2
with check(
    "back to codes",
    exercise="rescale",
    what="sums by hand, ReLU, a wide sum, a factor for each output, and `affine.requantize`.",
    why="this is the last step of every layer on a device without floats.",
) as c:
    sums = np.array([10, -4, 1000, -1000])
    m0, e = quantized_multiplier(0.3)
    c.equal("M = 0.3, zero at 5", rescale(sums, m0, e, 5, False), [8, 4, 127, -128], misconceptions=[
        ([3, -1, 127, -128], "Add the zero point before you clip."),
        ([8, 4, 49, -39], "The codes have wrapped round: clip before the cast."),
        ([8, 3, 127, -128], "Rounded down: add one half, 2^(30 − e), before the shift."),
    ])
    c.equal("with ReLU", rescale(sums, m0, e, 5, True), [8, 5, 127, 5], misconceptions=[
        ([8, 4, 127, 0], "Zero has the code Z_y, 5: cut off below that."),
        ([8, 4, 127, -128], "With ReLU the clip begins at Z_y."),
    ])
    c.equal("a wide sum", rescale(np.array([20_000_000], np.int32), *quantized_multiplier(5e-6), 0,
                                  False), [100], misconceptions=[
        ([0], "The product has up to 62 bits: widen the sums to int64 first."),
    ])
    rng = np.random.default_rng(0)
    many = rng.integers(-(2**20), 2**20, (500, 4)).astype(np.int32)
    factors = np.array([quantized_multiplier(m) for m in (1e-4, 3e-5, 2e-4, 7e-5)])
    c.equal("2,000 sums, a factor for each output", rescale(many, *factors.T, -3, False),
            affine.requantize(many, *factors.T, -3))

# %% [markdown]
# ## 6 · A network in integers
#
# A convolution is the same sum over a window of the image. Where the window reaches over the border,
# TensorFlow's `same` padding puts *zeros*, and a zero has the code $Z_x$. So subtract the zero point
# first and pad with 0 afterwards, or pad with $Z_x$ and subtract then; padding codes with 0 would put
# a grey frame around every image.


# %% [markdown]
# ### Your turn: a convolution


# %% tags=["exercise"] exercise="integer_convolution"
def integer_convolution(q_x, zero_x, q_w, same):
    """Sums, int32 (n, h, w, out), of (q_x - zero_x), (n, h, w, in), with q_w (k, k, in, out), k odd.

    same: pad so that h and w stay; else only whole windows. (For `windows` of shape
    (n, h, w, in, k, k), np.einsum("nhwcij,ijco->nhwo", windows, q_w, optimize=True) adds up.)
    """
    side = q_w.shape[0]
    ### BEGIN SOLUTION
    x = q_x.astype(np.int32) - zero_x
    if same:
        x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows, q_w.astype(np.int32), optimize=True)
    ### END SOLUTION


# %% tags=["check"] exercise="integer_convolution" points=4
rng = np.random.default_rng(0)
q_x, q_w = rng.integers(-128, 128, (2, 6, 5, 3), np.int8), rng.integers(-127, 128, (3, 3, 3, 4), np.int8)


def by_tensorflow(x, zero_x, padding, pad_with=0):
    """The same sums by tf.nn.conv2d in float64, which is exact here."""
    shifted = np.pad(x.astype(np.float64) - zero_x, ((0, 0), (1, 1), (1, 1), (0, 0)),
                     constant_values=pad_with)
    if padding == "VALID":
        shifted = shifted[:, 1:-1, 1:-1]
    return tf.nn.conv2d(shifted, q_w.astype(np.float64), 1, "VALID").numpy()


with check(
    "a convolution in integers",
    exercise="integer_convolution",
    what="whole windows, padding with a zero point of −128 and of 7, and a 1 × 1 kernel.",
    why="a border that is not zero is in the outermost pixels of every map.",
) as c:
    c.equal("valid", integer_convolution(q_x, 7, q_w, False), by_tensorflow(q_x, 7, "VALID"),
            misconceptions=[
                (by_tensorflow(q_x, 0, "VALID"), "The zero point is missing: q − Z."),
                (by_tensorflow(q_x, 7, "SAME"), "Without padding, only whole windows count."),
            ])
    for zero in (-128, 7):
        c.equal(f"same, zero at {zero}", integer_convolution(q_x, zero, q_w, True),
                by_tensorflow(q_x, zero, "SAME"), misconceptions=[
                    (by_tensorflow(q_x, zero, "SAME", pad_with=-zero),
                     "The border was padded with the code 0. Zero has the code Z_x."),
                    (by_tensorflow(q_x, zero, "VALID"), "Pad by half a kernel on every side."),
                ])
    one = integer_convolution(q_x, 7, q_w[:1, :1], True)
    c.equal("1 × 1", one, (q_x.astype(int) - 7) @ q_w[0, 0].astype(int))

# %% [markdown]
# **Does LiteRT really do this?** Now the whole network. Its int8 file gives codes, scales and zero points;
# your three functions compute convolutions and dense layers; maximum, mean and softmax are given. LiteRT
# (its plain reference kernels) keeps all tensors on the way, and each of your operators is held against
# its own, code for code, on 100 test images. Your operators read *your* codes: what differs travels.

# %%
def layer_of_codes(graph, operator, q_x, rescale):
    """A convolution or dense layer from the codes of a file, by your functions."""
    x, w, *b = (graph.tensors[i] for i in operator.inputs if i >= 0)
    y = graph.tensors[operator.outputs[0]]
    if operator.name == "CONV_2D":
        same = operator.options["padding"] == "SAME"
        sums = integer_convolution(q_x, x.zero_points[0], np.moveaxis(w.codes, 0, -1), same)
    else:
        sums = affine.integer_matmul(q_x, x.zero_points[0], w.codes.T)
    bias = b[0].codes if b else 0
    factors = [quantized_multiplier(float(x.scales[0]) * float(scale) / float(y.scales[0]))
               for scale in w.scales]
    relu = operator.options["fused_activation_function"] == "RELU"
    return rescale(sums + bias, *np.transpose(factors), y.zero_points[0], relu)


def other_operator(graph, operator, q_x, rescale):
    """The operators without weights of this course's networks."""
    x, y = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if operator.name == "MAX_POOL_2D":  # codes are in the order of the numbers they stand for
        n, h, w, channels = q_x.shape
        return q_x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, channels).max((2, 4))
    if operator.name == "MEAN":
        sums = (q_x.astype(np.int32) - x.zero_points[0]).sum(axis=(1, 2))
        pixels = q_x.shape[1] * q_x.shape[2]
        factor = quantized_multiplier(float(x.scales[0]) / float(y.scales[0]) / pixels)
        return rescale(sums, *factor, y.zero_points[0], False)
    real = affine.dequantize(q_x, x.scales[0], x.zero_points[0])  # SOFTMAX: a table on the device
    exponentials = np.exp(real - real.max(axis=-1, keepdims=True))
    shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return affine.quantize(shares, y.scales[0], y.zero_points[0]).astype(np.int8)


LAYERS = ("CONV_2D", "FULLY_CONNECTED")


def can_compute(graph, operator):
    """Whether the two functions above know an operator as it is."""
    options = operator.options
    if operator.name == "MAX_POOL_2D":
        return options["filter_width"] == options["stride_w"] == 2 == options["filter_height"]
    if operator.name == "CONV_2D":
        _, high, wide, _ = graph.tensors[operator.inputs[1]].shape
        return high == wide and high % 2 == 1 and options["stride_w"] == options["dilation_w_factor"] == 1
    return operator.name in ("FULLY_CONNECTED", "MEAN", "SOFTMAX")


def is_known(graph):
    """Whether all of a file's operators are, with ReLU as the only activation inside of one."""
    inside = {o.options.get("fused_activation_function", "NONE") for o in graph.operators}
    return inside <= {"NONE", "RELU"} and all(can_compute(graph, o) for o in graph.operators)


images = data.representative(200, seed=SEED)
content = post_training.convert(baselines[SEED].model, "int8", images)
graph = measure.read_graph(content)
if not is_known(graph):  # your own network has operators of other kinds
    content = post_training.convert(lab.trained(sign_cnn, SEED).model, "int8", images)
    graph = measure.read_graph(content)

runtime_of_all = Interpreter(model_content=content, experimental_preserve_all_tensors=True,
                             experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
pixels = graph.tensors[graph.inputs[0]]
codes = affine.quantize(data.x_test[:100], pixels.scales[0], pixels.zero_points[0]).astype(np.int8)
runtime_of_all.resize_tensor_input(graph.inputs[0], codes.shape)
runtime_of_all.allocate_tensors()
runtime_of_all.set_tensor(graph.inputs[0], codes)
runtime_of_all.invoke()


def run(rescale_of):
    """The network on `codes`: a row per operator, and the outputs' codes."""
    mine, rows = {graph.inputs[0]: codes}, []
    for operator in graph.operators:
        compute = layer_of_codes if operator.name in LAYERS else other_operator
        output = operator.outputs[0]
        mine[output] = compute(graph, operator, mine[operator.inputs[0]], rescale_of(operator.name))
        theirs = runtime_of_all.get_tensor(output)
        rows.append({"operator": operator.name, "codes": theirs.size,
                     "differ": np.count_nonzero(mine[output] != theirs),
                     "by at most": np.abs(mine[output].astype(int) - theirs).max()})
    return pd.DataFrame(rows), mine[graph.outputs[0]]


once, _ = run(lambda name: rescale)
once

# %% [markdown]
# Nearly. In the first convolution two codes in a thousand are off by one, and the operators behind it read
# them. The cause is in the last step. The codes that differ lie just below the
# border between two codes: TFLite's convolutions (and its mean) **round twice**, as Jacob et al. do. The
# product is first rounded to its upper 31 bits, $h = \operatorname{round}(\text{sum} \cdot M_0 / 2^{31})$, and
# then $h / 2^{-e}$ is rounded to the code: 5.4966 becomes 5.5 and then 6. Its dense layers round once.

# %%
def rescale_twice(sums, m0, e, zero_y, relu):
    """As `rescale`, with the two roundings of TFLite's convolutions."""
    high = ((sums.astype(np.int64) << np.maximum(e, 0)) * m0 + 2**30) >> 31
    right = np.maximum(-np.asarray(e, np.int64), 0)
    half = (np.int64(1) << right) >> 1  # halves go away from zero here
    scaled = (high + half - (high < 0) * (right > 0)) >> right
    return np.clip(scaled + zero_y, zero_y if relu else -128, 127).astype(np.int8)


whole, outputs = run(lambda name: rescale if name == "FULLY_CONNECTED" else rescale_twice)
whole

# %%
theirs = runtime_of_all.get_tensor(graph.outputs[0])
read = np.array_equal(outputs.argmax(axis=1), theirs.argmax(axis=1))
with check(
    "a network in integers",
    what="every code that LiteRT computes of 100 images, against yours.",
    why="if your arithmetic was not the runtime's, QAT would train for another device.",
) as c:
    c.between("codes that differ", whole["differ"].sum(), 0, whole["codes"].sum() // 10_000)
    c.between("by", whole["by at most"].max(), 0, 1, unit="step")
    c.that("the same answers", read, otherwise="the network gives other classes.")

# %% [markdown]
# Not one code of 2.7 million differs. You have computed everything that the int8 file does, from nothing but
# its codes, scales and zero points. (XNNPACK, the fast kernels for this kind of processor, scales back in
# float32: there a code may be off by one.)

# %% [markdown]
# ## 7 · Quantisation-aware training
#
# `tfmot` wraps every layer of a Keras model and puts fake-quantisation nodes into it: weights symmetric,
# a scale for each output channel, activations affine with a running average of their range.


# %% [markdown]
# ### Your turn: make it quantisation-aware


# %% tags=["exercise"] exercise="make_quantization_aware"
def make_quantization_aware(model):
    """A new model with fake quantisation that begins with the weights of `model`.

    tfmot.quantization.keras.quantize_model does it.
    """
    ### BEGIN SOLUTION
    return tfmot.quantization.keras.quantize_model(model)
    ### END SOLUTION


# %% tags=["check"] exercise="make_quantization_aware" points=5
base = baselines[SEED].model
some = data.x_test[:64]
before = base.predict(some, verbose=0)
with check(
    "a quantisation-aware model",
    exercise="make_quantization_aware",
    what="that it has quantisers and the trained weights, and that the baseline still predicts as before.",
    why="training has to begin where the float network stands.",
) as c:
    aware = make_quantization_aware(base)
    wrapped = [layer for layer in aware.layers if "quant" in layer.name]
    c.that("every layer is wrapped", len(wrapped) >= len(base.layers) - 1,
           otherwise="call tfmot.quantization.keras.quantize_model on the model.")
    kernels = [
        [v.numpy() for v in m.trainable_variables if "kernel" in v.name] for m in (base, aware)
    ]
    same = all(np.array_equal(a, b) for a, b in zip(*kernels))
    c.that("it has the trained weights", same,
           otherwise="clone_model copies the architecture only, with new weights.")
    c.that("the baseline is as it was", np.array_equal(base.predict(some, verbose=0), before),
           otherwise="the baseline's outputs have changed.")

# %% [markdown]
# (That `quantize_model` leaves the model alone is worth a check, since its siblings do not: pruning and
# clustering wrap the very layers of the model that they are given, labs 05 and 06. Its own trap is
# *saving*: a quantisation-aware model cannot be read back from a `.keras` file; keep its weights.)


# %% [markdown]
# ### Your turn: fine-tune and convert
#
# The rounding is new to the network, so it is trained on, **for a few epochs with a small rate that
# falls**. `training.fit(model, data, recipe, seed)` trains by a recipe; `network.RECIPES[PROFILE]` is the
# one of lab 01, with its augmentation and a rate that falls to zero, and `.but(epochs=…,
# learning_rate=…)` changes it. A tenth of the first rate and `EPOCHS` will do.
#
# The conversion needs no representative dataset: the ranges are in the model. Set `optimizations`, and
# integer input and output as for int8.

# %% tags=["exercise"] exercise="fine_tune"
EPOCHS = 2


def fine_tune(aware, seed):
    """Train a model in place, with a small, falling rate; returns its history."""
    ### BEGIN SOLUTION
    recipe = network.RECIPES[PROFILE].but(epochs=EPOCHS, learning_rate=4e-4)
    return training.fit(aware, data, recipe, seed)
    ### END SOLUTION


# %% tags=["check"] exercise="fine_tune" points=4
kernel_before = kernels[1]
with check(
    "fine-tuned",
    exercise="fine_tune",
    what="that the weights have moved, a little, and that the network still reads.",
    why="a rate as large as the first one throws away what was learnt; one of zero learns nothing.",
) as c:
    aware = make_quantization_aware(base)  # anew each time that you run this
    histories = [fine_tune(aware, SEED)]
    c.equal("epochs", len(histories[0]["loss"]), EPOCHS)
    moved = [np.linalg.norm(v.numpy() - k) / np.linalg.norm(k) for v, k in zip(
        [v for v in aware.trainable_variables if "kernel" in v.name], kernel_before)]
    c.between("the kernels have moved, relative to their size", max(moved), 1e-3, 0.6,
              otherwise="look at the rate: about a tenth of the first one.")
    accuracy = [np.mean(m.predict(data.x_train[:500], verbose=0).argmax(axis=1) == data.y_train[:500])
                for m in (base, aware)]
    c.between("points of training accuracy lost", 100 * (accuracy[0] - accuracy[1]), -100, 5,
              otherwise="the rate was too large, or the classes were not those of the images.")


# %% tags=["exercise"] exercise="convert_quantization_aware"
def convert_quantization_aware(aware):
    """The bytes of a TFLite file, int8 throughout, input and output included."""
    converter = tf.lite.TFLiteConverter.from_keras_model(aware)
    ### BEGIN SOLUTION
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()
    ### END SOLUTION


# %% tags=["check"] exercise="convert_quantization_aware" points=4
with check(
    "a quantisation-aware file",
    exercise="convert_quantization_aware",
    what="the types in the file, and that it does what the model does.",
    why="the file must be integer throughout: one float operator, and an integer-only device "
    "refuses it.",
) as c:
    path = lab.write("sign_mnist_quant_aware_training.tflite", convert_quantization_aware(aware))
    inspection = measure.inspect(path)
    c.that("int8 weights", set(inspection.weight_types) == {"int8"},
           otherwise=f"the weights are {inspection.weight_types}: set optimizations.")
    c.that("int8 activations", set(inspection.activation_types) == {"int8"},
           otherwise=f"the activations are {inspection.activation_types}: set inference_input_type "
           "and inference_output_type.")
    c.equal("biases", sorted(set(inspection.bias_types)), ["int32"])
    agree = np.mean(measure.TFLiteModel(path).predict(data.x_test[:500]).argmax(axis=1)
                    == aware.predict(data.x_test[:500], verbose=0).argmax(axis=1))
    c.between("answers that the model gives, too", 100 * agree, 97, 100, unit="%",
              otherwise="was that the model that you have trained?")

# %% [markdown]
# **Does the file hold what training saw?** Training rounded each *kernel as it is*, with a scale for each
# channel; the batch normalisation behind it stayed in float. If the converter folded first and rounded
# then, the file would hold other codes. Below, the codes of the file are compared with those of the
# training's kernels and ranges, and the file's scales with the training's. (For a network of your own in
# which a convolution has no normalisation the table stays empty.)

# %%
wraps = [layer for layer in aware.layers if isinstance(getattr(layer, "layer", None),
                                                       tf.keras.layers.Conv2D)]
norms = [layer.layer for layer in aware.layers if isinstance(
    getattr(layer, "layer", None), tf.keras.layers.BatchNormalization)]
held = [o for o in inspection.graph.operators if o.name == "CONV_2D"]
rows = []
for layer, norm, operator in zip(wraps, norms, held) if len(wraps) == len(norms) == len(held) else ():
    largest = next(v for v in layer.weights if "kernel_max" in v.name).numpy()
    kernel = next(v for v in layer.weights if "kernel:" in v.name).numpy()
    scales = largest / 127
    codes = np.clip(np.round(kernel / scales), -127, 127)
    w = inspection.graph.tensors[operator.inputs[1]]
    gamma = np.abs(norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon))
    rows.append({"layer": layer.layer.name, "codes": codes.size,
                 "differ, up to the sign of γ": np.count_nonzero(
                     np.abs(np.moveaxis(codes, -1, 0)) != np.abs(w.codes)),
                 "scale of the file / (scale · γ/σ)": f"{np.min(w.scales / scales / gamma):.4f} … "
                 f"{np.max(w.scales / scales / gamma):.4f}"})
pd.DataFrame(rows, columns=["layer", "codes", "differ, up to the sign of γ",
                            "scale of the file / (scale · γ/σ)"]).set_index("layer")

# %% [markdown]
# All codes of the file but one of 46,224 are those that training saw: the kernels were rounded *as they are*,
# and the normalisation has gone into the scales, which are the training's times γ/σ. Where each channel has a
# scale of its own, a factor for each channel needs no rounding: what is folded here is a scale, not a weight.

# %% [markdown]
# **Predict.** QAT also trains two epochs longer. So there is a **control**: a copy of the
# float network gets the same epochs with the same recipe in float, and is quantised afterwards. On the
# harder images of lab 02, which file of the two keeps more of its accuracy?

# %%
my_guess = predict(
    "QAT at eight bits",
    "QAT against the control (as many more epochs in float, then int8), harder images:",
    choices=["more than a point better", "within a point", "more than a point worse"],
    answer=None,
)

# %%
harder = data.corrupted(noise=0.03)
CONVERTED = {
    "float": ("sign_mnist.tflite", "float"),
    "dynamic range": ("sign_mnist_quant_dyn.tflite", "dynamic_range"),
    "int8": ("sign_mnist_quant_int8.tflite", "int8"),
    "16x8": ("sign_mnist_quant_int16x8.tflite", "int16x8"),
}
longer = {}  # the controls, in float
for seed, baseline in baselines.items():
    if seed != SEED:
        aware = make_quantization_aware(baseline.model)
        histories.append(fine_tune(aware, seed))
    longer[seed] = tf.keras.models.clone_model(baseline.model)
    longer[seed].set_weights(baseline.model.get_weights())
    fine_tune(longer[seed], seed)
    reference = lab.path("sign_mnist.tflite", seed)
    contents = {
        technique: (file, post_training.convert(baseline.model, mode, images))
        for technique, (file, mode) in CONVERTED.items()
    } | {
        "trained on, float": ("trained_on.tflite", post_training.convert(longer[seed], "float")),
        "trained on, int8": ("trained_on_int8.tflite",
                             post_training.convert(longer[seed], "int8", images)),
        "QAT int8": ("sign_mnist_quant_aware_training.tflite", convert_quantization_aware(aware)),
    }
    for technique, (file, content) in contents.items():
        path = lab.write(file, content, seed, hand_in=not file.startswith("trained_on"))
        lab.measure(technique, path, seed, reference=reference, harder=harder)
gain = 100 * (lab.mean("harder_accuracy", "QAT int8")
              - lab.mean("harder_accuracy", "trained on, int8"))
answer = "within a point"
if abs(gain) > 1:
    answer = "more than a point better" if gain > 0 else "more than a point worse"
reveal("QAT at eight bits", my_guess, answer,
       f"QAT is {gain:+.2f} points from the control, "
       f"{100 * (lab.mean('harder_accuracy', 'QAT int8') - lab.mean('harder_accuracy', 'int8')):+.2f} "
       "from int8 without training.")

# %%
plots.show(
    plots.history(histories),
    alt="Loss and accuracy while fine-tuning with fake quantisation, one line for each seed.",
)

# %% [markdown]
# On the harder images, in the mean of three trainings, QAT lies 1.2 points below its control and 0.7 below
# int8 without any training. Single networks differ by 3.4 points on these images (lab 01), so three trainings
# do not prove that QAT does harm. But it does not help: **at eight bits there is nothing for QAT to win here.**

# %%
with check(
    "what the lab set out to do",
    what="the accuracy of the file that you hand in against the baseline's.",
    why="QAT that loses accuracy has been trained badly.",
) as c:
    lost = 100 * (lab.mean("accuracy", "float") - lab.mean("accuracy", "QAT int8"))
    c.between("accuracy lost", lost, -5.0, {"quick": 3.0, "full": 0.5}[PROFILE], unit="points")

# %% [markdown]
# ## 8 · Where training pays: fewer bits
#
# At eight bits there is hardly anything to win back. So take bits away. Below, all kernels are rounded to
# four, three and two bits (symmetric, a scale for each output channel; measured in Keras, with float activations).
# Training through the rounding changes *three* things at once: it trains on, its batch normalisation
# measures its means and variances anew behind the rounded kernels, and it sees the rounding. So there are
# four curves, each of which adds one thing:
#
# 1. **rounded**: the kernels of the baseline are rounded, nothing else;
# 2. **+ statistics**: then the normalisations' means and variances are measured again, on training images;
# 3. **+ epochs**: as many more epochs in float (the control of above), then rounded, then statistics;
# 4. **through the rounding**: those epochs with your straight-through estimator, written for a whole
#    network: the gradient is taken at the **rounded** weights and applied to the **float** weights behind
#    them; then rounded, then statistics.
#
# Epochs, augmentation, batches and falling rate are the same in 3 and 4.


# %%
def rounded_kernel(w, bits):
    """Kernel (..., out) on a symmetric grid of `bits` bits, a scale for each output channel."""
    scale = tf.reduce_max(tf.abs(w), axis=list(range(w.shape.rank - 1)), keepdims=True)
    scale /= 2.0 ** (bits - 1) - 1
    return scale * tf.round(w / scale)


def kernels_of(model):
    """The variables that are rounded."""
    return [v for v in model.trainable_variables if "kernel" in v.name]


def rounded_copy(model, bits):
    """A copy with rounded kernels."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for k in kernels_of(copy):
        k.assign(rounded_kernel(k, bits))
    return copy


def measure_statistics(model):
    """Let the normalisations see 60 batches of training images; no weight moves."""
    for start in range(0, 60 * 64, 64):
        model(data.x_train[start : start + 64], training=True)
    return model


class ThroughRounding(tf.keras.Model):
    """Trains float weights by the gradients that the rounded ones have."""

    bits = None

    def train_step(self, batch):
        x, y = batch
        kernels = kernels_of(self)
        floats = [tf.identity(k) for k in kernels]
        for k in kernels:
            k.assign(rounded_kernel(k, self.bits))
        with tf.GradientTape() as tape:
            prediction = self(x, training=True)
            value = self.compute_loss(x, y, prediction)
        gradients = tape.gradient(value, self.trainable_variables)
        for k, w in zip(kernels, floats):
            k.assign(w)  # back to the float weights: straight through
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return self.compute_metrics(x, y, prediction, None)


def trained_through(model, bits, seed):
    """A copy, fine-tuned as above but through rounded kernels, then rounded."""
    copy = tf.keras.models.clone_model(model)
    through = ThroughRounding(copy.inputs, copy.outputs)
    through.set_weights(model.get_weights())
    through.bits = bits
    fine_tune(through, seed)
    return rounded_copy(tf.keras.Model(through.inputs, through.outputs), bits)


def accuracy_in_keras(model):
    """Top-1 accuracy (%) on the test images."""
    return 100 * float(np.mean(model.predict(data.x_test, verbose=0).argmax(axis=1) == data.y_test))


# %%
rows = []
for bits in {"quick": (4, 2), "full": (4, 3, 2)}[PROFILE]:
    for seed, baseline in baselines.items():
        rounded = rounded_copy(baseline.model, bits)
        row = {"bits": bits, "seed": seed, "rounded": accuracy_in_keras(rounded)}
        row["+ statistics"] = accuracy_in_keras(measure_statistics(rounded))
        row["+ epochs"] = accuracy_in_keras(measure_statistics(rounded_copy(longer[seed], bits)))
        through = measure_statistics(trained_through(baseline.model, bits, seed))
        rows.append(row | {"through the rounding": accuracy_in_keras(through)})
runs = pd.DataFrame(rows).set_index(["bits", "seed"])
sweep = runs.groupby("bits").mean().sort_index(ascending=False)
spread = runs.groupby("bits").std().sort_index(ascending=False)
sweep.map("{:.1f}".format) + (spread.map(" ± {:.1f}".format) if len(lab.seeds) > 1 else "")

# %%
plots.show(
    plots.lines(sweep, x="bits of a weight", y="test accuracy (%)"),
    alt="Accuracy over the bits of a weight from four to two, four lines: rounding alone lies lowest; with "
    "statistics measured anew, with more epochs or without, it falls later; training through the rounding "
    "ends far above the others at two bits.",
)

# %% [markdown]
# What the plot says: read it from curve to curve. At **four bits** bare rounding reads 95.0 % (± 4.3 between
# the trainings). Measuring the statistics anew, for which nothing is trained at all, brings back all of it,
# and at **three bits** it lifts 30.1 to 99.1 %. More epochs in float add nothing to that, not even at two bits
# (24.8 against 26.4 %, with a spread of 5 to 6 points). Training *through* the rounding wins 0.9 points more at
# three bits; only at **two**, where a weight can be −1, 0 or 1 times its scale, does it achieve what nothing
# else does, 91.9 %. QAT does not make eight bits better, it makes **fewer bits possible**; but whoever compares
# it with bare rounding credits it with what measuring the statistics does in seconds.

# %%
with check(
    "training pays at few bits",
    what="the four curves at two bits.",
    why="what a technique wins is what it wins against its control.",
) as c:
    two = sweep.loc[2]
    c.between("through the rounding, more than + epochs",
              two["through the rounding"] - two["+ epochs"], 5, 100, unit="points")

# %% [markdown]
# ## The ledger

# %%
report = lab.report(device=True).drop(columns="model")
measure.printed(report, 3)

# %%
plots.show(
    plots.comparison(report, "accuracy, harder (%)", spread=""),
    alt="Accuracy on the harder images, and size, of float, dynamic range, int8, 16x8, of the network that was "
    "trained on, in float and int8, and of QAT: the files of eight-bit weights have less than a third of the "
    "size.",
)

# %% [markdown]
# "Changed" and SQNR are counted against the *baseline's* float file. Rounding to int8 changes 60 of 7,172
# answers; training on changes 104 in float, without any rounding, and QAT 162. QAT does not preserve a
# network, it makes another one. On the test images as they are, too, it reads no more than int8 without
# training (99.99 ± 0.02 and 100.00 ± 0.00 %). For the microcontroller it is an int8 file like any other: its
# arena is 19,760 bytes where int8's is 19,952.

# %% [markdown]
# ## Published against measured
#
# The thesis lists its quantisation-aware network at 4.18 MB, twice the size of the float one: that
# is the *training* model saved from Keras, with the quantisers' own variables and the optimiser's
# state. The figure to compare with is the one after conversion.

# %%
lab.compare("dynamic range", "int8", "16x8", "QAT int8", "QAT before conversion")

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="qat_comparison" points=5
# **Comment on size and accuracy of the QAT file, relative to the original model and to the
# dynamic-range and 16x8 files. Which would you put on a device, and on which one?**
#
# <!-- BEGIN SOLUTION -->
# All files with eight-bit weights have less than a third of the float size. On the test images as they are
# they lose a hundredth of a point at most. On the harder ones QAT (93.6 %) has to be compared with a network
# that was trained as long in float and quantised then (94.7 %): it has won nothing, and with three trainings
# of networks that differ by 3.4 points the 1.2 points do not prove a loss. On an integer-only device int8 (QAT
# or not) needs the least memory and time; 16x8 if a range is too wide for 8 bits; dynamic range on a phone, where
# floats are no problem and no calibration data is at hand (a microcontroller refuses that file). QAT where
# fewer bits are needed than rounding survives.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="symmetric_weights" points=4
# **Why are weights quantised symmetrically and activations not?**
#
# <!-- BEGIN SOLUTION -->
# With a zero point of the weights the sum over the inputs would have to be computed at run time.
# The zero point of the activations costs only a constant that goes into the bias, and it lets
# one-sided ranges (after ReLU) use all 256 codes.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Fake quantisation rounds forwards; the straight-through estimator lets gradients pass.
# - In integers a network is products, biases on the grid of the sums, a multiplication with a shift, and
#   clips. Yours computes LiteRT's codes.
# - A technique is worth what it wins against its control: at four bits and at three nearly all that training
#   wins over rounding is new statistics. At two bits it is the training.
#
# **Further reading:** B. Jacob et al., *Quantization and training of neural networks for efficient
# integer-arithmetic-only inference*, CVPR 2018 · Y. Bengio, N. Léonard, A. Courville, *Estimating
# or propagating gradients through stochastic neurons*, arXiv:1308.3432 (2013) · M. Nagel et al.,
# *Up or down? Adaptive rounding for post-training quantization*, ICML 2020.
#
# **Next:** lab 05 lets many weights share few values. `labkit report` prints the figures of all labs beside
# each other.

# %% tags=["finish"]
lab.finish()
