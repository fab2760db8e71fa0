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
# way you will do the integer arithmetic of a quantised layer yourself, since that is what training
# has to imitate.
#
# **You will be able to**
#
# - compute scale and zero point of an affine range, with an exact zero;
# - write a fake-quantisation node and a gradient for it: the straight-through estimator;
# - do a layer in integers alone, as in Jacob et al. (2018), and say which term symmetric weights
#   remove;
# - fine-tune a network quantisation-aware and compare it with the other files.
#
# **Time:** 75 minutes of work; the computer takes 1 minute (`quick`) or 10 (`full`, with the
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

from labkit import measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import affine, post_training, quantization_aware
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("04_quantization_aware", PROFILE, DATA, SEED, OUT,
          headline="sign_mnist_quant_aware_training.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())

# %% [markdown]
# ## 1 · Scale and zero point
#
# An **affine** code $q$ stands for the real number
#
# $$r = S\,(q - Z), \qquad q \in \{-128, \dots, 127\},$$
#
# with scale $S$ and *zero point* $Z$, the code of zero. Padding, ReLU and pruned weights all need
# an exact zero, so $Z$ must be an integer: it is computed and then **rounded**, which shifts the
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
        ((4 / 255, -192), "The sign: −128 − min/S, and min is negative."),
    ])
    c.close("[0, 6], after ReLU", affine_parameters(0.0, 6.0), (6 / 255, -128))
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
# last value is cut off at code 127.


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
        ([-64.0, -63.5, -65.0, 36.0], "Subtract the zero point again on the way back."),
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
# pretends backwards that it was a straight line: derivative 1 inside the range, 0 where clipped.
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
x = tf.constant([0.2, 0.3, -1.1, 100.0])
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
    c.close("forwards", y, [0, 0.5, -1, 63.5], misconceptions=[
        ([0.2, 0.3, -1.1, 63.5], "Forwards it must be the staircase: the stop_gradient term is "
         "missing or zero."),
    ])
    c.that("there is a gradient", gradient is not None,
           otherwise="everything is inside stop_gradient: leave the clipped x outside.")
    c.close("backwards", [0, 0, 0, 0] if gradient is None else gradient, [1, 1, 1, 0],
            misconceptions=[
                ([0, 0, 0, 0], "That is the true derivative of the staircase: nothing would "
                 "learn."),
                ([1, 1, 1, 1], "The last value is clipped: its derivative is 0."),
            ])

# %% [markdown]
# **A network of two weights.** The task is a linear one with correlated inputs, and the weights may
# only be multiples of 0.5. Rounding treats each weight alone, and here both go down. Training
# through the rounding sees the loss, and lets one weight make up for what the other one loses.

# %%
rng = np.random.default_rng(3)
inputs = tf.constant(rng.normal(size=(500, 1)) + 0.2 * rng.normal(size=(500, 2)), tf.float32)
best = tf.constant([[0.74], [0.66]])
target = inputs @ best


def loss(w):
    """Mean squared error of the weights w (2, 1)."""
    return tf.reduce_mean((inputs @ w - target) ** 2)


w = tf.Variable(best)
steps = []
for _ in range(60):
    with tf.GradientTape() as tape:
        value = loss(straight_through(w, 0.5))
    steps.append((float(value), *np.ravel(w)))
    w.assign_sub(0.01 * tape.gradient(value, w))
lowest = min(steps)
rounded, trained = 0.5 * tf.round(best / 0.5), 0.5 * np.round(np.array(lowest[1:]) / 0.5)[:, None]
pd.DataFrame(
    {
        "first weight": [float(v[0, 0]) for v in (best, rounded, trained)],
        "second weight": [float(v[1, 0]) for v in (best, rounded, trained)],
        "mean squared error": [float(loss(tf.cast(v, tf.float32))) for v in (best, rounded, trained)],
    },
    index=["float", "rounded afterwards", "trained through the rounding"],
).round(3)

# %%
path_of_weights = pd.DataFrame(steps, columns=["loss", "first weight", "second weight"])
plots.show(
    plots.lines(path_of_weights[["first weight", "second weight"]], x="step",
                y="float weight behind the rounding", levels=[0.5, 0.75, 1.0]),
    alt="Two float weights over sixty steps: both rise; the first crosses 0.75, from where it is "
    "rounded to 1, and then swings around that border.",
)

# %% [markdown]
# What the plot says: the first weight crosses the border at 0.75, is rounded to 1 from there on,
# and the error turns round: now it is pushed back down. It **oscillates** around the border, for
# ever, unless the learning rate falls. That is why quantisation-aware training ends with a small
# learning rate (and why one keeps the best weights, as the table does).

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
        ((-70, -2, 120, 8), "The zero points are crossed: Z_w goes with the inputs, Z_x with the "
         "weights."),
        ((-70, 30, -8, 4), "The constant is added once for each of the n products."),
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
    worst = max(
        abs(m0 * 2.0 ** (e - 31) / m - 1)
        for m in np.random.default_rng(0).uniform(1e-6, 1, 100)
        for m0, e in [quantized_multiplier(m)]
    )
    c.that("relative error below 2^-31", worst < 2.0**-30, otherwise=f"it is {worst:.1e}.")

# %% [markdown]
# **Does LiteRT really do this?** Convert a small dense layer to int8, take nothing from the file but
# codes, scales and zero points, and compute its output in integers. (`labkit.compress.affine` has
# what you have just written, for whole matrices; the multiplier is yours.)

# %%
layer = tf.keras.Sequential([tf.keras.layers.Dense(16, input_shape=(40,))])
samples = np.random.default_rng(0).normal(size=(2000, 40)).astype(np.float32)
content = post_training.convert(layer, "int8", samples[:200])

graph = measure.read_graph(content)
(operator,) = graph.operators
x, w, y = (graph.tensors[i] for i in (*operator.inputs[:2], *operator.outputs))
q_x = affine.quantize(samples, x.scales[0], x.zero_points[0])
sums = affine.integer_matmul(q_x, x.zero_points[0], w.codes.T)  # int32, symmetric weights
factors = [quantized_multiplier(x.scales[0] * scale / y.scales[0]) for scale in w.scales]
codes = affine.requantize(sums, *np.transpose(factors), y.zero_points[0])

outputs = measure.TFLiteModel(content).predict(samples)  # comes back as real numbers
theirs = np.round(outputs / y.scales[0]) + y.zero_points[0]
print(f"{codes.size:,} codes, {np.count_nonzero(codes != theirs)} differ, "
      f"by {int(np.abs(codes - theirs).max())} at most")

# %% [markdown]
# Code for code the same, but for a rare one on the border between two codes: the fast kernels of
# this computer (XNNPACK) scale back in float32, the plain ones of TFLite in integers, as you did.

# %%
with check(
    "a layer in integers",
    what="32,000 codes that LiteRT computed, against yours.",
    why="if your arithmetic was not the runtime's, QAT would train for another device.",
) as c:
    c.between("codes that differ", np.count_nonzero(codes != theirs), 0, codes.size // 1000)
    c.between("by", np.abs(codes - theirs).max(), 0, 1, unit="step")

# %% [markdown]
# ## 6 · The whole model
#
# `tfmot` puts fake-quantisation nodes behind every layer of a Keras model: folded weights
# symmetric and per channel, activations affine with a running average of their range. One trap:
# **it changes the model that it is given.** So work on a copy.

# %% [markdown]
# ### Your turn: make a copy quantisation-aware


# %% tags=["exercise"] exercise="make_quantization_aware"
def make_quantization_aware(model):
    """A new model with fake quantisation and the weights of `model`, which stays as it is.

    Use tf.keras.models.clone_model and tfmot.quantization.keras.quantize_model.
    """
    ### BEGIN SOLUTION
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return tfmot.quantization.keras.quantize_model(copy)
    ### END SOLUTION


# %% tags=["check"] exercise="make_quantization_aware" points=5
base = baselines[SEED].model
some = data.x_test[:64]
before = base.predict(some, verbose=0)
with check(
    "a quantisation-aware copy",
    exercise="make_quantization_aware",
    what="that the copy has quantisers and the old weights, and that the baseline is untouched.",
    why="a clone starts with random weights, and a wrapped model cannot be used for anything else.",
) as c:
    aware = make_quantization_aware(base)
    wrapped = [layer for layer in aware.layers if "quant" in layer.name]
    c.that("every layer is wrapped", len(wrapped) >= len(base.layers) - 1,
           otherwise="call tfmot.quantization.keras.quantize_model on the copy.")
    kernels = [
        [v.numpy() for v in m.trainable_variables if "kernel" in v.name] for m in (base, aware)
    ]
    same = all(np.array_equal(a, b) for a, b in zip(*kernels))
    c.that("the copy has the trained weights", same,
           otherwise="clone_model copies the architecture only: set_weights(get_weights()).")
    c.that("it is a copy", all(a is not b for a in base.layers for b in aware.layers)
           and np.array_equal(base.predict(some, verbose=0), before),
           otherwise="the baseline itself was changed: clone it first.")

# %% [markdown]
# **Predict.** Post-training int8 already reads nearly as well as float. What will fine-tuning with
# the rounding do to the 8-bit accuracy?

# %%
my_guess = predict(
    "QAT at eight bits",
    "QAT against post-training int8, on the test images:",
    choices=["more than a point better", "within a point", "more than a point worse"],
    answer=None,
)

# %%
images = data.representative(200, seed=SEED)
RECIPE = sign_cnn.RECIPES[PROFILE].but(epochs={"quick": 2, "full": 4}[PROFILE], learning_rate=4e-4)
histories = []
for seed, baseline in baselines.items():
    aware = make_quantization_aware(baseline.model)
    histories.append(training.fit(aware, data, RECIPE, seed))
    path = lab.write(
        "sign_mnist_quant_aware_training.tflite", quantization_aware.convert(aware), seed
    )
    lab.measure("QAT int8", path, seed)
    for technique, file, mode in [
        ("float", "sign_mnist.tflite", "float"),
        ("dynamic range", "sign_mnist_quant_dyn.tflite", "dynamic_range"),
        ("int8", "sign_mnist_quant_int8.tflite", "int8"),
        ("16x8", "sign_mnist_quant_int16x8.tflite", "int16x8"),
    ]:
        path = lab.write(file, post_training.convert(baseline.model, mode, images), seed)
        lab.measure(technique, path, seed)
gain = 100 * (lab.mean("accuracy", "QAT int8") - lab.mean("accuracy", "int8"))
answer = "within a point"
if abs(gain) > 1:
    answer = "more than a point better" if gain > 0 else "more than a point worse"
reveal("QAT at eight bits", my_guess, answer, f"QAT is {gain:+.2f} points from int8.")

# %%
plots.show(
    plots.history(histories),
    alt="Loss and accuracy while fine-tuning with fake quantisation, one line for each seed.",
)

# %%
inspection = measure.inspect(lab.path("sign_mnist_quant_aware_training.tflite"))
with check(
    "what the lab set out to do",
    what="the types in the file, and its accuracy against the baseline's.",
    why="the file must be integer throughout: one float operator, and an integer-only device "
    "refuses it.",
) as c:
    c.equal("weights", sorted(set(inspection.weight_types)), ["int8"])
    c.equal("activations", sorted(set(inspection.activation_types)), ["int8"])
    c.equal("biases", sorted(set(inspection.bias_types)), ["int32"])
    lost = 100 * (lab.mean("accuracy", "float") - lab.mean("accuracy", "QAT int8"))
    c.between("accuracy lost", lost, -5.0, {"quick": 3.0, "full": 0.5}[PROFILE], unit="points")

# %% [markdown]
# ## 7 · Where training pays: fewer bits
#
# At eight bits there was hardly anything to win back. So take bits away. Below, all kernels are
# rounded to 8 … 2 bits (symmetric, a scale for each output channel), once after training and once
# *while* training, with your straight-through estimator written for a whole network: the gradient
# is taken at the **rounded** weights and applied to the **float** weights behind them. (Measured in
# Keras, with float activations: this converter writes no files with fewer than eight bits.)


# %%
def rounded_kernel(w, bits):
    """Kernel (..., out) on a symmetric grid of `bits` bits, a scale for each output channel."""
    scale = tf.reduce_max(tf.abs(w), axis=list(range(w.shape.rank - 1)), keepdims=True)
    scale /= 2.0 ** (bits - 1) - 1
    return scale * tf.round(w / scale)


def copy_of(model):
    """A clone with the same weights."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def accuracy_in_keras(model):
    """Top-1 accuracy on the test images."""
    return float(np.mean(model.predict(data.x_test, verbose=0).argmax(axis=1) == data.y_test))


def train_rounded(model, bits, epochs):
    """Fine-tune a copy through rounded kernels; returns the copy, its kernels rounded."""
    model = copy_of(model)
    kernels = [v for v in model.trainable_variables if "kernel" in v.name]
    optimizer = tf.keras.optimizers.Adam(1e-3)
    cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy()

    @tf.function(autograph=False)
    def step(x, y):
        floats = [tf.identity(k) for k in kernels]
        for k in kernels:
            k.assign(rounded_kernel(k, bits))
        with tf.GradientTape() as tape:
            value = cross_entropy(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        for k, w in zip(kernels, floats):
            k.assign(w)  # back to the float weights: straight through
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    batches = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train))
    for x, y in batches.shuffle(len(data.x_train), seed=SEED).batch(128).repeat(epochs):
        step(x, y)
    for k in kernels:
        k.assign(rounded_kernel(k, bits))
    return model


# %%
rows = []
for bits in {"quick": (8, 4, 2), "full": (8, 6, 4, 3, 2)}[PROFILE]:
    after = copy_of(base)
    for v in after.trainable_variables:
        if "kernel" in v.name:
            v.assign(rounded_kernel(v, bits))
    during = train_rounded(base, bits, epochs={"quick": 2, "full": 4}[PROFILE])
    rows.append(
        {
            "bits": bits,
            "rounded afterwards": 100 * accuracy_in_keras(after),
            "trained through the rounding": 100 * accuracy_in_keras(during),
        }
    )
sweep = pd.DataFrame(rows).set_index("bits")
sweep.round(1)

# %%
plots.show(
    plots.lines(sweep, x="bits of a weight", y="test accuracy (%)"),
    alt="Accuracy over the bits of a weight: rounding afterwards falls below four bits, training "
    "through the rounding stays high down to three.",
)

# %% [markdown]
# What the plot says: QAT does not make eight bits better, it makes **fewer bits possible**. Where
# rounding afterwards breaks down, the trained network goes on reading. (At two bits a weight can
# only be −1, 0 or 1 times its scale: that takes a longer training than these few epochs.)

# %%
with check(
    "training pays at few bits",
    what="the two curves at two bits.",
    why="it is the reason for the effort.",
) as c:
    two = sweep.loc[2]
    c.between("gain of training at two bits",
              two["trained through the rounding"] - two["rounded afterwards"], 5, 100,
              unit="points")

# %% [markdown]
# ## The ledger

# %%
report = lab.report()
report

# %%
plots.show(
    plots.comparison(report),
    alt="Test accuracy with its spread, and size, of float, dynamic range, int8, 16x8 and QAT: the "
    "8-bit files lie within a tenth of a point at less than a third of the size.",
)

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
# All 8-bit weight files have about a quarter of the float size. At eight bits post-training
# quantisation leaves nothing to win back, so QAT equals it within the spread of the seeds. On an
# integer-only device int8 (QAT or not) is the fastest; 16x8 if a range is too wide for 8 bits;
# dynamic range on a phone, where floats are no problem and no calibration data is at hand.
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
# - In integers a layer is products, a bias that knows the zero points, and one multiplication with
#   a shift.
# - QAT pays where few bits are left.
#
# **Further reading:** B. Jacob et al., *Quantization and training of neural networks for efficient
# integer-arithmetic-only inference*, CVPR 2018 · Y. Bengio, N. Léonard, A. Courville, *Estimating
# or propagating gradients through stochastic neurons*, arXiv:1308.3432 (2013) · M. Nagel et al.,
# *Up or down? Adaptive rounding for post-training quantization*, ICML 2020.
#
# **Where to go on:** `labkit report` prints the figures of all labs beside each other.

# %% tags=["finish"]
lab.finish()
