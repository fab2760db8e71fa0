# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 07 · Four bits and fewer
#
# Eight bits came for free. With four bits a weight has fifteen values to choose from, with two bits
# three, and a network that was trained in float reads little when its weights are simply rounded to so few.
# It needs a suitable scale and statistics that are measured anew, and with two bits it has to be
# trained on its few values. TensorFlow's own tools stop at eight bits. In this lab you train with
# [QKeras](https://github.com/google/qkeras) and then write what QKeras only simulates: TFLite files
# with real 4-bit and 2-bit weights, holding the same codes.
#
# **You will be able to**
#
# - say which values `quantized_bits(4, 0, 1, alpha=1)` can give, and compute them yourself;
# - write a quantiser that can be trained, as QKeras does it;
# - start a low-bit network from trained float weights without losing what they have learned;
# - explore the options of a quantiser over epochs, and say which differences between them mean something;
# - compare ten quantisers by what they do to weights and to accuracy;
# - count a model's bits with `print_qstats`, estimate its energy with QTools, and say what neither
#   figure tells you;
# - pack codes into the bytes of a file, and show that file and simulation agree.
#
# **Time:** 90 minutes of work; the computer takes 1 minute (`quick`) or 11 (`full`, with the
# baselines of lab 01; 3 more without).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, `sign_mnist_4bit.tflite`, and the report page
# `sign_mnist_4bit_report.html` or `.pdf`, which the notebook writes from your figures and your
# words. All weights and biases of convolutions and dense layers must have four bits; the course asks for
# 85 % of the test images, and scores the accuracy.

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import numpy as np
import pandas as pd
import qkeras
import tensorflow as tf

from labkit import measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import low_bit, minimal, post_training
from labkit.lab import Lab
from labkit.models import sign_cnn
from labkit.report import Report

lab = Lab("07_low_bit", PROFILE, DATA, SEED, OUT, headline="sign_mnist_4bit.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())
base = baselines[SEED].model
harder = data.corrupted(noise=0.03)  # the yardstick of lab 02
sixty_batches = data.x_train[:7680]  # for the normalisations' statistics

# %% [markdown]
# ## 1 · What a 4-bit weight can be
#
# QKeras writes a fixed-point quantiser as `quantized_bits(bits, integer, symmetric, alpha=…)`. With
# $b$ bits, one of them for the sign and $i$ left of the binary point,
#
# $$Q(x) = \alpha \; 2^{\,i-b+1} \;
#   \operatorname{clip}\!\bigl(\operatorname{round}(x\,2^{\,b-1-i}),\; -2^{b-1}+s,\; 2^{b-1}-1\bigr).$$
#
# The step is $2^{i-b+1}$, a power of two, so no float scale has to be stored. `symmetric` ($s=1$) leaves
# the smallest code out, so that there are as many values below zero as above.
#
# By hand, `quantized_bits(4, 0, 1, alpha=1)`: the step is $1/8$, the codes $-7 \dots 7$.
# The numbers $(0.3, -0.06, 0.07, 0.9, -1.2)$ are $(2.4, -0.48, 0.56, 7.2, -9.6)$ steps; their codes are
# $(2, 0, 1, 7, -7)$ and their values $(0.25, 0, 0.125, 0.875, -0.875)$.


# %% [markdown]
# ### Your turn: the quantiser


# %% tags=["exercise"] exercise="quantized_bits"
def quantized_bits(x, bits=4, integer=0, symmetric=1, alpha=1.0):
    """x (any shape) on the grid of QKeras's quantized_bits; np.round takes halves as QKeras does."""
    ### BEGIN SOLUTION
    step = 2.0 ** (integer - bits + 1)
    low, high = -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1
    return alpha * step * np.clip(np.round(x / step), low, high)
    ### END SOLUTION


# %% tags=["check"] exercise="quantized_bits" points=3
with check(
    "quantized_bits",
    exercise="quantized_bits",
    what="five numbers by hand, then 1,001 numbers against QKeras in five settings.",
    why="these values are all that a weight can be from here on.",
) as c:
    x = np.array([0.3, -0.06, 0.07, 0.9, -1.2])
    c.close("by hand", quantized_bits(x), [0.25, 0, 0.125, 0.875, -0.875], misconceptions=[
        ([2, 0, 1, 7, -7], "Those are the codes: multiply by the step to come back to values."),
        ([0.25, 0, 0.125, 0.875, -1], "symmetric=1 leaves out the smallest code, −8."),
        ([0.3125, -0.0625, 0.0625, 0.4375, -0.4375], "One of the four bits is the sign: the step is "
         "2^(i−b+1) = 1/8."),
        ([0.25, 0, 0, 0.875, -0.875], "Round to the nearest code, do not cut off."),
        ([0.25, -0.125, 0, 0.875, -0.875], "Round to the nearest code, not down."),
        ([0.25, 0, 0.125, 0.875, -1.25], "Four bits end at ±7: clip the codes."),
    ])
    many = np.linspace(-3, 3, 1001).astype(np.float32)
    for setting in ["4,0,0", "4,0,1", "4,1,1", "3,0,1", "4,0,1,2.0"]:
        numbers = [float(v) for v in setting.split(",")]
        bits, integer, symmetric = (int(v) for v in numbers[:3])
        alpha = numbers[3] if len(numbers) > 3 else 1.0
        theirs = low_bit.rounded(f"quantized_bits({bits},{integer},{symmetric},alpha={alpha})", many)
        c.close(f"quantized_bits({bits}, {integer}, {symmetric}, alpha={alpha:g})",
                quantized_bits(many, bits, integer, symmetric, alpha), theirs, tolerance=1e-6,
                misconceptions=[
                    (theirs / alpha, "alpha multiplies the values."),
                    (low_bit.rounded(f"quantized_bits({bits},{integer},{1 - symmetric},alpha={alpha})",
                                     many), "`symmetric` gives the smallest code away, and without it "
                     "the code is there."),
                    (quantized_bits(many), "Bits, integer, symmetric and alpha are arguments."),
                ])

# %%
names = ["quantized_bits(4,0,0,alpha=1)", "quantized_bits(4,0,1,alpha=1)",
         "quantized_bits(4,1,1,alpha=1)", "quantized_bits(3,0,1,alpha=1)",
         "quantized_bits(2,0,1,alpha=1)", "ternary(alpha=1)", "binary(alpha=1)",
         "quantized_po2(4)", "quantized_po2(4,1)"]
values = {name: low_bit.quantizer_values(name) for name in names}
plots.show(
    plots.quantizer_values(values),
    alt="Each quantiser's values as ticks on a line: quantized_bits evenly spaced with 15, 7 or 3 "
    "values and one more without symmetry, ternary three, binary two without zero, quantized_po2 "
    "dense around zero and without zero.",
)

# %% [markdown]
# What the plot says: `integer` moves the binary point (the same values, twice as large); two
# symmetric bits give three values, just as `ternary` does; `binary` has no zero. Powers of two are dense
# where most weights are, but **zero is not one of them**. The last row has 18 values: QKeras gives
# `quantized_po2(4, max_value=1)` one exponent more than fits into four bits. Count before you
# believe a name.
#
# With `alpha="auto"` each output channel gets a float scale of its own, which has to be stored, too;
# `"auto_po2"` rounds that scale to a power of two.

# %% [markdown]
# ## 2 · A quantiser that can be trained
#
# In lab 04 the gradient passed through the rounding where $x$ lay inside the range. QKeras's quantisers
# of *weights* let it pass everywhere. They end in
#
# $$x + \operatorname{stop\_gradient}\bigl(Q(x) - x\bigr),$$
#
# whose value is $Q(x)$ and whose derivative is 1, outside the range too. What keeps the float
# weights from running away is a constraint of the layer: after each step of the optimiser they are
# clipped to $[-1, 1]$.


# %% [markdown]
# ### Your turn: straight through, everywhere


# %% tags=["exercise"] exercise="trainable_four_bits"
def trainable_four_bits(x):
    """quantized_bits(4, 0, 1, alpha=1) of a tf.Tensor, with the derivative 1 for every x."""
    ### BEGIN SOLUTION
    values = tf.clip_by_value(tf.round(8 * x), -7, 7) / 8
    return x + tf.stop_gradient(values - x)
    ### END SOLUTION


# %% tags=["check"] exercise="trainable_four_bits" points=3
with check(
    "straight through",
    exercise="trainable_four_bits",
    what="values forwards and gradients backwards, yours and QKeras's.",
    why="a weight that is clipped and gets no gradient can never come back.",
) as c:
    x = tf.constant([0.3, -0.06, 0.9, -1.2])
    gradients = {}
    for name, quantise in [("yours", trainable_four_bits),
                           ("QKeras's", low_bit.quantizer(low_bit.FOUR_BITS))]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = quantise(x)
        gradients[name] = tape.gradient(y, x)
        if name == "yours":
            c.close("forwards", y, [0.25, 0, 0.875, -0.875], misconceptions=[
                ([0.3, -0.06, 0.9, -1.2], "Forwards it must be the staircase: stop_gradient(Q − x) "
                 "is what turns x into Q."),
                ([0.25, 0, 0.875, -1], "symmetric: the codes go from −7 to 7."),
            ])
    yours = gradients["yours"]
    c.close("backwards", [0, 0, 0, 0] if yours is None else yours, gradients["QKeras's"],
            misconceptions=[
                ([0, 0, 0, 0], "Everything is inside stop_gradient, or the staircase is outside."),
                ([1, 1, 0, 0], "That is lab 04's estimator; QKeras adds the difference to x itself, "
                 "not to the clipped x."),
                ([8, 8, 8, 8], "The derivative of 8 x has stayed: only x is outside stop_gradient."),
            ])

# %% [markdown]
# **Do all of them?** Here are the derivatives of the ten quantisers of section 7, seven for weights and three
# for activations, at points inside their range and far outside it:

# %%
WEIGHTS = {
    "quantized_bits": low_bit.FOUR_BITS,
    "quantized_po2": "quantized_po2(4)",
    "ternary": "ternary(alpha=1)",
    "stochastic_ternary": "stochastic_ternary(alpha='auto')",
    "binary": "binary(alpha=1)",
    "stochastic_binary": "stochastic_binary(alpha=1)",
    "bernoulli": "bernoulli(alpha=1)",
}
ACTIVATIONS = {
    "quantized_relu": "quantized_relu(4,2)",
    "quantized_tanh": "quantized_tanh(4,0,1)",
    "quantized_relu_po2": "quantized_relu_po2(4)",
}
asked = [-20.0, -0.3, 0.3, 20.0]
derivatives = {}
for name, notation in {**WEIGHTS, **ACTIVATIONS}.items():
    x = tf.constant(asked)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = low_bit.quantizer(notation)(x)
    derivatives[name] = tape.gradient(y, x).numpy()
derivatives = pd.DataFrame.from_dict(derivatives, orient="index", columns=[f"x = {v:g}" for v in asked])
derivatives.rename_axis("derivative at").round(2)

# %% [markdown]
# What the table says: all seven quantisers of weights have the derivative 1 everywhere. Those of
# activations have the derivative of the function that they round: for `quantized_relu` it is 0 below zero and
# above its largest value, for `quantized_tanh` 0 where the function is flat, and for `quantized_relu_po2`,
# whose largest value is 128, it is that of a ReLU.

# %% [markdown]
# ## 3 · A scale for free
#
# The weights of the baseline's kernels are small. On a grid with the step $1/8$ many of them are rounded
# to zero. But behind each convolution stands a batch normalisation, which takes out any scale of a
# channel: the kernel may be **stretched** over the grid, and the normalisation's mean and variance be
# adjusted, without changing the function. Which scale is best? Only the *direction* of a kernel counts,
# so it is the scale at which the rounded kernel $q$ points most nearly in the direction of the float
# kernel $w$:
#
# $$\min_s \lVert w - s\,q \rVert^2 \;\Rightarrow\; s = \frac{\langle w, q\rangle}{\langle q, q\rangle},
#   \qquad \cos = \frac{\langle w, q\rangle}{\lVert w\rVert\,\lVert q\rVert}$$
#
# (Li et al. 2016 give this for three values; it holds for any number).
#
# By hand: $w = (3, 1, -3, 0)$ and $q = (1, 0, -1, 0)$ give $s = 6/2 = 3$ and
# $\cos = 6/\sqrt{19 \cdot 2} = 0.973$.


# %% [markdown]
# ### Your turn: scale and direction


# %% tags=["exercise"] exercise="scale_and_cosine"
def scale_and_cosine(w, q):
    """Least-squares scale and cosine (floats) of a rounded kernel q for a kernel w, any shape."""
    ### BEGIN SOLUTION
    product, power = np.sum(w * q), np.sum(q * q)
    return product / power, product / np.sqrt(power * np.sum(w * w))
    ### END SOLUTION


# %% tags=["check"] exercise="scale_and_cosine" points=3
with check(
    "scale and cosine",
    exercise="scale_and_cosine",
    what="the example by hand, and that no other scale does better.",
    why="a good start is worth more epochs than you have.",
) as c:
    w, q = np.array([3.0, 1, -3, 0]), np.array([1.0, 0, -1, 0])
    c.close("by hand", scale_and_cosine(w, q), (3, 6 / np.sqrt(38)), misconceptions=[
        ((6 / 19, 6 / np.sqrt(38)), "Divide by ⟨q, q⟩: the scale multiplies q, not w."),
        ((3, 6 / 38), "The cosine divides by the lengths, not by their squares."),
        ((6, 6 / np.sqrt(38)), "Divide by ⟨q, q⟩."),
    ])
    kernel = base.get_layer("conv2").kernel.numpy()[..., 0]
    rounded = low_bit.rounded("ternary(alpha=1)", kernel / np.abs(kernel).max())
    s, _ = scale_and_cosine(kernel, rounded)
    errors = [np.square(kernel - factor * s * rounded).sum() for factor in (0.98, 1, 1.02)]
    c.that("no other scale is better", errors[1] < min(errors[0], errors[2]),
           otherwise="a scale 2 % away gives a smaller error.")

# %%
kernel = base.get_layer("conv2").kernel.numpy()[..., :1]
rows = {}
for part in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0):
    rows[part] = {}
    for name in (low_bit.FOUR_BITS, "ternary(alpha=1)"):
        rounded = low_bit.rounded(name, kernel / np.abs(kernel).max() * part)
        rows[part][name] = scale_and_cosine(kernel, rounded)[1] if rounded.any() else 0
plots.show(
    plots.lines(pd.DataFrame.from_dict(rows, orient="index"),
                x="largest weight of the channel, before rounding", y="cosine to the float kernel",
                log_x=2),
    alt="Cosine between a rounded and the float channel over its largest weight before rounding: "
    "four bits reach 0.99 around one and fall off where the weights are too small; ternary reaches "
    "about 0.9 further to the right.",
)

# %% [markdown]
# What the plot says: four bits come very close to the float kernel when the largest weight of the channel lies
# near the end of the grid, and another scale costs them little. Three values depend on the scale much more,
# and do best when the largest weight lies beyond the end.
#
# **Does stretching change nothing?** With sixteen bits there is hardly any rounding, so a stretched
# network must compute what the baseline computes, although its kernels hold other numbers:

# %%
stretched = low_bit.quantize(base, "quantized_bits(16,0,1,alpha=1)", "quantized_bits(16,0,1,alpha=1)")
some = data.x_test[:500]
apart = np.abs(stretched.predict(some, verbose=0) - base.predict(some, verbose=0)).max()
print(f"largest difference of {24 * len(some):,} probabilities: {apart:.5f}; the largest weights of conv2, "
      f"before: {np.abs(base.get_layer('conv2').kernel).max():.3f}, stretched: "
      f"{np.abs(stretched.get_layer('conv2').kernel).max():.3f}")

# %% [markdown]
# **Predict.** All kernels of the baseline are rounded to four bits, without any training: as they are,
# stretched, and stretched with the statistics of the normalisations measured anew on training images.

# %%
my_guess = predict(
    "rounded without training",
    "4-bit weights without training, stretched, old statistics: how many test images does it read?",
    choices=["less than half", "50 to 95 %", "more than 95 %"],
    answer=None,
)

# %%
rows = []
for name in (low_bit.FOUR_BITS, "ternary(alpha=1)"):
    for seed, baseline in baselines.items():
        rounded = low_bit.quantize(baseline.model, name)
        for what, model in [
            ("as they are", low_bit.quantize(baseline.model, name, fit_scale=False)),
            ("stretched", rounded),
            ("stretched, new statistics", low_bit.with_new_statistics(rounded, sixty_batches)),
        ]:
            rows.append({"weights": name, "seed": seed, "rounded": what,
                         "accuracy (%)": lab.accuracy_in_keras(model)})
untrained = pd.DataFrame(rows).groupby(["weights", "rounded"], sort=False)["accuracy (%)"]
found = untrained.mean()[low_bit.FOUR_BITS, "stretched"]
reveal("rounded without training", my_guess,
       "less than half" if found < 50 else "50 to 95 %" if found <= 95 else "more than 95 %",
       f"{found:.1f} %, mean over {len(lab.seeds)} seed(s).")
untrained.agg(["mean", "min", "max"]).round(1)

# %% [markdown]
# What the table says: with four bits and kernels as they are, the networks read 27 % in the mean, 11 to 54
# depending on the seed; stretched they read 92.5 %, from 90 to 94. And once the statistics are measured anew,
# every seed reads 99.9 to 100 %, and *no weight has been trained*: after the stretching only the means and
# variances of the normalisations had to be put right. Ternary weights read 12 % stretched and 90 with new
# statistics. There something is left to be learned.

# %% [markdown]
# ## 4 · The network in QKeras
#
# A QKeras layer is a Keras layer with two more arguments, `kernel_quantizer` and `bias_quantizer`.
# The convolutions here have no bias, since the normalisation behind each of them has one; the sheet
# allows normalisations to stay as they are.


# %% [markdown]
# ### Your turn: quantised layers


# %% tags=["exercise"] exercise="low_bit_network"
def low_bit_network(weights, biases):
    """The baseline in QKeras: four QConv2D (3 x 3, "same", no bias) and a QDense with softmax.

    weights, biases: quantisers in QKeras's notation. Names of the layers: conv1 … conv4, letter.
    """
    inputs = x = tf.keras.layers.Input((28, 28, 1))
    for i, filters in enumerate(sign_cnn.FILTERS, start=1):
        ### BEGIN SOLUTION
        x = qkeras.QConv2D(filters, 3, padding="same", use_bias=False, kernel_quantizer=weights,
                           name=f"conv{i}")(x)
        ### END SOLUTION
        x = tf.keras.layers.BatchNormalization(momentum=0.95, name=f"norm{i}")(x)
        x = tf.keras.layers.ReLU(name=f"relu{i}")(x)
        if i < len(sign_cnn.FILTERS):
            x = tf.keras.layers.MaxPooling2D(name=f"pool{i}")(x)
    x = tf.keras.layers.GlobalAveragePooling2D(name="mean")(x)
    ### BEGIN SOLUTION
    outputs = qkeras.QDense(24, activation="softmax", kernel_quantizer=weights,
                            bias_quantizer=biases, name="letter")(x)
    ### END SOLUTION
    return tf.keras.Model(inputs, outputs)


# %% tags=["check"] exercise="low_bit_network" points=5
with check(
    "a network in QKeras",
    exercise="low_bit_network",
    what="the layers, their quantisers, and the outputs with the weights of a 4-bit copy.",
    why="a layer that you forget stays at 32 bits, and nothing complains.",
) as c:
    network = low_bit_network(low_bit.FOUR_BITS, low_bit.FOUR_BITS)
    layers = {layer.name: layer for layer in network.layers}
    names = ["conv1", "conv2", "conv3", "conv4", "letter"]
    c.equal("kinds of layers", [type(layers[n]).__name__ for n in names if n in layers],
            ["QConv2D"] * 4 + ["QDense"], misconceptions=[
                (["Conv2D"] * 4 + [last], "Those are Keras's layers: take qkeras.QConv2D and "
                 "qkeras.QDense.") for last in ("Dense", "QDense")
            ])
    quantised = {n: str(getattr(layers[n], "kernel_quantizer_internal", None)) for n in names}
    c.that("all kernels have four bits",
           all(q.startswith("quantized_bits(4,0,1") for q in quantised.values()),
           otherwise=f"the quantisers are {quantised}.")
    c.that("so has the bias of the dense layer",
           str(layers["letter"].bias_quantizer_internal).startswith("quantized_bits(4,0,1"),
           otherwise="give bias_quantizer=biases to QDense: without, the bias stays in float.")
    c.equal("biases of the convolutions", [bool(layers[n].use_bias) for n in names],
            [False] * 4 + [True])
    copy = low_bit.quantize(base)
    biases = np.linspace(-1, 1, 24)  # those of a trained network round to zeros, nearly all
    copy.get_layer("letter").bias.assign(biases)
    network.set_weights(copy.get_weights())
    some = data.x_test[:64]
    expected = copy.predict(some, verbose=0)
    c.that("biases matter in this test",
           np.abs(expected - low_bit.quantize(base).predict(some, verbose=0)).max() > 1e-3,
           otherwise="the biases of the copy have no effect.")
    c.close("outputs, with biases from −1 to 1", network.predict(some, verbose=0), expected,
            tolerance=1e-5)

# %% [markdown]
# ## 5 · Training
#
# `low_bit.quantize` makes such a network from any trained model and stretches the kernels as in
# section 3. Then it is trained, with each seed: once with four bits, and once with ternary weights, the
# coarsest that still have a zero. The control is the *float* network trained for as many epochs at the
# same rate, then stretched and rounded, and its statistics measured anew.

# %%
networks, histories, rows = {}, {"4-bit": [], "ternary": []}, []
RECIPE = sign_cnn.RECIPES[PROFILE].but(epochs={"quick": 1, "full": 3}[PROFILE], learning_rate=2e-3)
for seed, baseline in baselines.items():
    longer = tf.keras.models.clone_model(baseline.model)
    longer.set_weights(baseline.model.get_weights())
    training.fit(longer, data, RECIPE, seed)
    for technique, weights in [("4-bit", low_bit.FOUR_BITS), ("ternary", "ternary(alpha=1)")]:
        network = low_bit.quantize(baseline.model, weights)
        with low_bit.training():
            histories[technique].append(training.fit(network, data, RECIPE, seed))
        networks[technique, seed] = low_bit.with_new_statistics(network, sixty_batches)
        rounded = low_bit.with_new_statistics(low_bit.quantize(longer, weights), sixty_batches)
        rows.append({"weights": technique, "seed": seed,
                     "longer in float, then rounded (%)": lab.accuracy_in_keras(rounded),
                     "trained, statistics of the training (%)": lab.accuracy_in_keras(network),
                     "trained, new statistics (%)":
                         lab.accuracy_in_keras(networks[technique, seed])})
pd.DataFrame(rows).set_index(["weights", "seed"]).sort_index().round(2)

# %%
plots.show(
    plots.history(histories["4-bit"] + histories["ternary"],
                  names=[way for way in ("4-bit", "ternary") for _ in histories[way]]),
    alt="Loss and training accuracy over the epochs: the 4-bit networks start near the end and "
    "stay there, the ternary ones start lower and come close.",
)

# %% [markdown]
# What the table and the plot say: when the weights have three values, the statistics of the normalisations
# lag behind the training. With those collected during the training the ternary networks read 93.6, 98.2 and
# 77.1 %; with the same weights and statistics measured anew 99.9, 99.7 and 100.0 %. At four bits nothing of
# this can be seen, 99.97 to 100 % either way. The control does as well there: three more epochs *in float*,
# rounded afterwards, read 99.99 %. With three values the control reads 81 to 90 %, no more than the float
# networks without those epochs, 86 to 94. There it is the training through the rounding that counts, and it
# is worth ten points.
#
# **Explore.** The sheet says: explore the options carefully, and be prepared to train for many epochs.
# So each option is tried by itself, from the weights *as they are*, not stretched, so that there is something
# to learn: `integer` moves the binary point, `symmetric=0` adds the sixteenth code, `alpha="auto"` gives
# each channel a float scale and `"auto_po2"` rounds that to a power of two. The test images are read after
# each epoch. The first row is the stretched start from above, at the same rate.
#
# **Predict.** Which option is best after the first epoch, from the weights as they are?

# %%
OPTIONS = {
    "alpha=1, stretched": (low_bit.FOUR_BITS, True),
    "alpha=1": (low_bit.FOUR_BITS, False),
    "symmetric=0": ("quantized_bits(4,0,0,alpha=1)", False),
    "integer=1": ("quantized_bits(4,1,1,alpha=1)", False),
    'alpha="auto"': ("quantized_bits(4,0,1,alpha='auto')", False),
    'alpha="auto_po2"': ("quantized_bits(4,0,1,alpha='auto_po2')", False),
}
my_guess = predict(
    "options",
    "Best after one epoch, from the weights as they are:",
    choices=[name for name, (_, fit) in OPTIONS.items() if not fit],
    answer=None,
)


# %%
def followed(model, epochs, seed=SEED):
    """Accuracies of a network in Keras, new statistics, before and after each epoch of a training."""
    after = [model.get_weights()]
    with low_bit.training():
        training.fit(model, data, RECIPE.but(epochs=epochs), seed,
                     on_epoch=lambda *_: after.append(model.get_weights()))
    accuracies = []
    for weights in after:  # outside: stochastic quantisers draw in there
        model.set_weights(weights)
        new = low_bit.with_new_statistics(model, sixty_batches)
        accuracies.append(lab.accuracy_in_keras(new))
    return accuracies


if PROFILE == "quick":
    OPTIONS = {name: OPTIONS[name] for name in ("alpha=1, stretched", "alpha=1", 'alpha="auto"')}
EXPLORED = {"quick": (1, (SEED,)), "full": (3, (SEED,))}[PROFILE]
explored = {}
for name, (notation, fit) in OPTIONS.items():
    explored[name] = np.mean([
        followed(low_bit.quantize(baselines[seed].model, notation, fit_scale=fit), EXPLORED[0], seed)
        for seed in EXPLORED[1]], axis=0)
explored = pd.DataFrame(explored).rename_axis("epochs").T
first = explored.drop(index="alpha=1, stretched")[1]
reveal("options", my_guess, first.idxmax(), ", ".join(f"{k}: {v:.1f} %" for k, v in first.items()))
explored.round(2)

# %%
plots.show(
    plots.lines(explored.T, x="epochs", y="test accuracy (%)"),
    alt="Test accuracy, statistics measured anew, before and after each of three epochs, for six settings "
    "of the 4-bit quantiser: integer=1 rises from 56 to 99 in the first epoch, alpha=1 and symmetric=0 "
    "from 95, the others begin at 100; after the first epoch all six lie between 99 and 100.",
)

# %% [markdown]
# What the table and the plot say: the five that start from the weights as they are read 99.0 to 99.9 % after
# one epoch and 99.97 to 100 % after three. With a scale of its own for each channel, float or a power of two,
# a network reads 100 % before any training; with one scale for all channels, 95 %. `integer=1` doubles the
# step, so that more of the weights are rounded to zero: it starts at 56 %, and is the last to arrive. Half of
# a tenth of a point is four images, and this is one seed: the order of the others means nothing, and many
# epochs are not needed here.

# %% [markdown]
# ## 6 · Size in bits
#
# `print_qstats` lists, layer by layer, the operations, the number of weights and the bits of each.

# %%
four_bit = networks["4-bit", SEED]
qkeras.print_qstats(four_bit)

# %% [markdown]
# `smult_4_8` is a multiplication of a 4-bit weight by a pixel, which `print_qstats` takes for an 8-bit
# number; `sfmult_4_32` is one of a 4-bit weight by a *float* activation, since we quantised no activations.
# The last lines give the share of weights whose value is zero.


# %% [markdown]
# ### Your turn: count the bits


# %% tags=["exercise"] exercise="size_in_bits"
def size_in_bits(model):
    """Bits of all kernels and biases in the QKeras layers of a model (int).

    Of a layer: kernel, kernel_quantizer_internal.bits, use_bias, bias, bias_quantizer_internal.bits.
    """
    total = 0
    for layer in low_bit.quantized_layers(model):
        ### BEGIN SOLUTION
        total += tf.size(layer.kernel).numpy() * layer.kernel_quantizer_internal.bits
        if layer.use_bias:
            total += tf.size(layer.bias).numpy() * layer.bias_quantizer_internal.bits
        ### END SOLUTION
    return int(total)


# %% tags=["check"] exercise="size_in_bits" points=3
with check(
    "size in bits",
    exercise="size_in_bits",
    what="the 4-bit and the ternary network, against the counts of print_qstats.",
    why="this is the size that the sheet asks you to compare with the baseline's.",
) as c:
    c.equal("4-bit", size_in_bits(four_bit), int(low_bit.bits(four_bit)["size (bits)"].sum()),
            misconceptions=[
                (191_040, "The 24 biases of the dense layer are missing."),
                (47_784, "That is the number of weights: multiply by the bits of each."),
                (1_529_088, "That is their size at 32 bits."),
            ])
    ternary = networks["ternary", SEED]
    c.equal("ternary, the bias still 4-bit", size_in_bits(ternary),
            int(low_bit.bits(ternary)["size (bits)"].sum()), misconceptions=[
                (95_568, "The bias of the dense layer has four bits here, not two."),
                (191_136, "Each quantiser knows its bits: layer.kernel_quantizer_internal.bits."),
            ])

# %%
normalisations = sum(layer.count_params() for layer in four_bit.layers if "norm" in layer.name)
baseline_bits = int(low_bit.bits(four_bit)["size at 32 bits (bits)"].sum())
sizes = pd.DataFrame(
    {
        "weights and biases (bits)": {
            "float32": baseline_bits, "4-bit": size_in_bits(four_bit), "ternary": size_in_bits(ternary),
        }
    }
).rename_axis("model")
sizes["smaller (×)"] = (baseline_bits / sizes.iloc[:, 0]).round(2)
sizes["with normalisations (bits)"] = sizes.iloc[:, 0] + 32 * normalisations
sizes["smaller, with them (×)"] = (
    sizes["with normalisations (bits)"].iloc[0] / sizes["with normalisations (bits)"]
).round(2)
sizes

# %% [markdown]
# By the sheet's count the network is eight times smaller. The last two columns also count the normalisations,
# whose four numbers per channel stay at 32 bits: they are one per cent of the baseline's bits and more than a sixth
# of the ternary network's. The fewer bits the weights have, the more the rest matters.

# %% [markdown]
# ## 7 · Ten quantisers
#
# QKeras has more quantisers. Seven are for weights, three for activations:
#
# | quantiser | what it gives |
# | --- | --- |
# | `quantized_bits` | evenly spaced values |
# | `ternary`, `stochastic_ternary` | −1, 0, 1; drawn at random in training, around the thresholds |
# | `binary`, `stochastic_binary` | −1, 1; the same |
# | `bernoulli` | 0 or 1, drawn with the probability sigmoid(6 x) at every **call**, inference too |
# | `quantized_po2` | ± powers of two |
# | `quantized_relu` | evenly spaced values from zero on, for activations |
# | `quantized_tanh` | evenly spaced values within ±1, for activations |
# | `quantized_relu_po2` | powers of two, for activations |
#
# (A trap: under Keras 2 nothing tells a stochastic quantiser that it is being trained, so it silently
# rounds like its deterministic counterpart. `low_bit.training` tells it.)
#
# A **power of two** needs no multiplier; a shift will do:
#
# $$Q(x) = \operatorname{sign}(x)\, 2^{\operatorname{clip}(\operatorname{round}(\log_2 |x|),\; e_{\min},\; e_{\max})}.$$
#
# By hand, with exponents $-4 \dots 3$: $\log_2 0.3 = -1.74$, so $0.3$ becomes $2^{-2} = 0.25$;
# $-0.001$ becomes $-2^{-4}$, not zero.


# %% [markdown]
# ### Your turn: powers of two


# %% tags=["exercise"] exercise="power_of_two"
def power_of_two(x, low=-4, high=3):
    """x (any shape, no zeros) rounded to signed powers of two with exponents low … high."""
    ### BEGIN SOLUTION
    exponents = np.clip(np.round(np.log2(np.abs(x))), low, high)
    return np.sign(x) * 2.0**exponents
    ### END SOLUTION


# %% tags=["check"] exercise="power_of_two" points=3
with check(
    "powers of two",
    exercise="power_of_two",
    what="four numbers by hand, and 1,000 random ones against quantized_po2(4).",
    why="multiplying by 2^e is a shift: in hardware, wires.",
) as c:
    c.close("by hand", power_of_two(np.array([0.3, -0.001, 3.0, -20.0])), [0.25, -1 / 16, 4, -8],
            misconceptions=[
                ([0.25, -1 / 1024, 4, -16], "The exponent has only three bits: clip it."),
                ([0.25, 1 / 16, 4, 8], "The sign is lost in the logarithm: put it back."),
                ([0.25, -1 / 16, 2, -8], "Round the exponent, not down: log2 3 = 1.58."),
                ([0.5, -1 / 16, 2, -8], "Round the exponent, do not cut it off: log2 3 = 1.58."),
                ([-2, -4, 2, 3], "Those are the exponents: 2 to the power of them."),
            ])
    random = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    c.close("quantized_po2(4)", power_of_two(random), low_bit.rounded("quantized_po2(4)", random))

# %% [markdown]
# **One kernel, seven quantisers.** The figure shows the weights of the second convolution, stretched for each
# quantiser, and the values at which they end up. Of the stochastic quantisers you see one draw, as in
# training. The error is $\lVert w - s\,q\rVert^2 / \lVert w\rVert^2$ at the best scale $s$.

# %%
kernel = base.get_layer("conv2").kernel.numpy()
panels = {}
for name, notation in WEIGHTS.items():
    divisor, _ = low_bit.fitted_scale(kernel, low_bit.quantizer(notation), per_channel=False)
    rounded = low_bit.rounded(notation, kernel / divisor, training=True, seed=SEED)
    panels[name] = scale_and_cosine(kernel, rounded)[0] * rounded
plots.show(
    plots.rounded_values(kernel, panels, label="weight"),
    alt="Histogram of the float kernel and, for each quantiser, stems on the values that it gives: "
    "quantized_bits follows the bell closely, powers of two crowd around zero, ternary keeps three "
    "and binary two, bernoulli zero and one positive value.",
)

# %% [markdown]
# What the plot says: the closer the values lie where the weights are, the smaller is the error, from 1 % for
# fifteen values to 38 % for two. What is drawn at random is further away than what is rounded.
#
# **Predict.** The same network, stretched, is now trained for a few epochs with each of them: the seven as
# quantisers of the weights, the three as quantisers of the activations, with 4-bit weights. There are two
# controls: `ternary` with `alpha="auto"`, since `stochastic_ternary` exists only with such a float scale for
# each channel; and `quantized_po2(2)`, which has few powers of two.

# %%
CONTROLS = {
    "ternary, auto": "ternary(alpha='auto')",
    "quantized_po2(2)": "quantized_po2(2)",
}
few_values = low_bit.quantizer_values("quantized_po2(2)")
print("quantized_po2(2) has the values", ", ".join(f"{v:g}" for v in few_values))
my_guess = predict(
    "one bit a weight",
    "binary weights, −1 and 1, against ternary ones, −1, 0 and 1, after the same few epochs:",
    choices=["about the same", "2 to 20 points worse", "more than 20 points worse"],
    answer=None,
)

# %%
EPOCHS = {"quick": 1, "full": 2}[PROFILE]
few = ("quantized_po2", "ternary", "binary", "quantized_relu")
twice = ("quantized_po2", "quantized_po2(2)", "ternary", "binary")  # with a second seed
rows = {}
for name, notation in {**WEIGHTS, **CONTROLS, **ACTIVATIONS}.items():
    if PROFILE == "quick" and name not in few:
        continue
    is_weight = name not in ACTIVATIONS
    runs = []
    for seed in lab.seeds[: 2 if name in twice else 1]:
        model = low_bit.quantize(
            baselines[seed].model, notation if is_weight else low_bit.FOUR_BITS,
            activations=None if is_weight else notation,
        )
        runs.append(followed(model, EPOCHS, seed))
    rows[name] = {"of": "weights" if is_weight else "activations"}
    if is_weight:
        divisor, _ = low_bit.fitted_scale(kernel, low_bit.quantizer(notation), per_channel=False)
        rounded = low_bit.rounded(notation, kernel / divisor)
        _, cosine = scale_and_cosine(kernel, rounded)
        magnitudes = np.abs(rounded[rounded != 0])
        rows[name] |= {"zeros (%)": 100 * np.mean(rounded == 0), "error": 1 - cosine**2}
        if "auto" not in notation:  # there each channel has magnitudes of its own
            rows[name]["smallest/largest"] = magnitudes.min() / magnitudes.max()
    rows[name] |= {"seeds": len(runs), "rounded (%)": np.mean(runs, axis=0)[0],
                   "trained (%)": np.mean(runs, axis=0)[-1]}
ten = pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantiser")
gap = ten.loc["ternary", "trained (%)"] - ten.loc["binary", "trained (%)"]
reveal("one bit a weight", my_guess,
       "about the same" if gap < 2 else "2 to 20 points worse" if gap <= 20 else
       "more than 20 points worse", f"{gap:.1f} points.")
measure.printed(ten.round({"zeros (%)": 1, "rounded (%)": 1, "trained (%)": 2}), 3)

# %%
two_alike = np.repeat(data.x_test[:1], 8, axis=0)
drawn = low_bit.quantize(base, "bernoulli(alpha=1)")
first, second = drawn(two_alike).numpy(), drawn(two_alike).numpy()
print(f"bernoulli, one image eight times in a call: probabilities differ by {np.ptp(first, axis=0).max():.1e};"
      f" in two calls by {np.abs(first - second).max():.1e}")

# %% [markdown]
# What the table says, with statistics measured anew before and after the training: there is less between them
# than one might think. Eight of the twelve read 99.5 % or more after two epochs, where 0.1 points are seven
# images and most rows have one seed.
#
# - It is not the zero that counts. `quantized_po2` has none and loses nothing; `quantized_po2(2)`, with the
#   four values ±0.5 and ±1, has none either and reads 99.6 %, as `ternary` does. The error that the rounding
#   makes in the kernel says roughly where each begins: up to an error of 0.04 at 99.6 % or more, with about
#   0.2 at 85 to 94, `binary` with 0.38 at 31. Two epochs bring `binary` to within 1.6 points of `ternary`.
# - `stochastic_ternary` and `ternary, auto` have a scale for each channel in common. It seems to be worth some
#   points at the start: they read 93.5 % with one seed, `ternary` 88.3 in the mean of two, and section 3's
#   three seeds 86 to 94. That the former draws at random during the training costs a quarter of a point here.
#   `stochastic_binary` ends at 66 %, where `binary` reads 98.
# - `bernoulli` draws its weights anew at every call, the same for all images of the call; so what was learned
#   with one draw is read with another: 5 %, where guessing gives 4.
# - Activations of four bits, with 4-bit weights, cost nothing or 0.2 points; `quantized_tanh`, which starts
#   at 45 %, costs three.

# %%
with check(
    "fewer values, less accuracy",
    what="power of two, ternary and binary after the same training.",
    why="it is what the bits are paid with.",
) as c:
    trained = ten["trained (%)"]
    # So few steps as in the quick profile leave the order of the two to chance.
    c.between("ternary above binary", gap, {"quick": -40, "full": 0}[PROFILE], 100, unit="points")
    c.between("powers of two lose against float",
              lab.accuracy_in_keras(base) - trained["quantized_po2"], -5,
              {"quick": 40, "full": 3}[PROFILE], unit="points")

# %% [markdown]
# ## 8 · Real files
#
# So far every weight has been a float32 number that happens to lie on a grid; saved by Keras, or converted by
# TFLite, it would take 32 bits. The file can do better: TFLite has tensors of the types `int4` and
# `int2`, with several codes in a byte, the first one in the lowest bits, in two's complement.
#
# By hand: the codes $(1, -1)$ are $0001$ and $1111$, so the byte is $1111\,0001 = 241$.


# %% [markdown]
# ### Your turn: two codes in a byte


# %% tags=["exercise"] exercise="pack"
def pack(codes):
    """Bytes (uint8) of int codes -8 … 7, an even number of them: two in a byte, the first one low."""
    ### BEGIN SOLUTION
    nibbles = codes & 15  # two's complement of four bits
    return (nibbles[0::2] + 16 * nibbles[1::2]).astype(np.uint8)
    ### END SOLUTION


# %% tags=["check"] exercise="pack" points=4
path = lab.write("sign_mnist_4bit.tflite", low_bit.convert(four_bit))
stored = measure.inspect(path)
with check(
    "packing",
    exercise="pack",
    what="four codes by hand; then QKeras's codes of conv2, packed, against the bytes of the file.",
    why="this is where 32 bits become four.",
) as c:
    c.equal("by hand", pack(np.array([1, -1, 7, -8])), [241, 135], misconceptions=[
        ([31, 120], "The first code goes into the low half of the byte."),
        ([-15, -121], "Bytes are unsigned: take the four bits of each code with & 15."),
        ([121, 15], "Two's complement, not an offset of 8: −1 is 1111."),
        ([145, 135], "Two's complement, not a sign and a magnitude: −1 is 1111."),
        ([1, 15, 7, 8], "Two codes in *one* byte."),
    ])
    c.dtype("type", pack(np.array([1, -1])), np.uint8)
    codes = low_bit.codes(four_bit.get_layer("conv2")).values
    row = stored.weights.set_index(["layer", "role"]).loc[("conv2", "weight")]
    ours = np.moveaxis(codes, -1, 0)  # TFLite puts the output channels first
    theirs = stored.graph.tensors[row["tensor"]]
    sign = np.sign((ours * theirs.codes).sum(axis=(1, 2, 3)))  # a channel with a negative gamma
    signed = (ours * np.where(sign < 0, -1, 1)[:, None, None, None]).ravel()
    c.equal("2,304 bytes of conv2", pack(signed), np.ravel(theirs.data))

# %% [markdown]
# How do the codes get there? The converter folds each normalisation into its convolution: a factor
# for each output channel, $\gamma/\sqrt{\sigma^2 + \epsilon}$. TFLite's weights have a scale for each
# output channel anyway, so **the factor goes into the scale and the codes stay**.
# `low_bit.convert` puts QKeras's codes, and the steps that belong to them, into the float file, with
# the transformations of Google's ai-edge-quantizer. It does not use that tool's recipes: they would make the
# largest weight of a channel code 7, even where QKeras used no code above 5.
#
# The next two cells compare all codes of all layers.

# %%
def codes_of(path):
    """Weight codes of a file by layer, in Keras's layout (..., in, out)."""
    inspection = measure.inspect(path)
    rows = inspection.weights[inspection.weights["role"] == "weight"]
    return {row.layer: np.moveaxis(inspection.graph.tensors[row.tensor].codes, 0, -1)
            for row in rows.itertuples()}


def same_codes(model, path):
    """Number of codes that differ between a QKeras model and a file, up to a channel's sign."""
    differ = 0
    for layer in low_bit.quantized_layers(model):
        a, b = low_bit.codes(layer).values, codes_of(path)[layer.name]
        a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, a.shape[-1])
        differ += np.minimum((a != b).sum(axis=0), (a != -b).sum(axis=0)).sum()
    return int(differ)


# %%
images = data.representative(200, seed=SEED)
compared = []
for seed, baseline in baselines.items():
    four, three = networks["4-bit", seed], networks["ternary", seed]
    rounded = low_bit.quantize(baseline.model)
    four_file, three_file = low_bit.convert(four), low_bit.convert(three, bits=2)
    for technique, file, content, model in [
        ("float", "float", post_training.convert(baseline.model, "float"), None),
        ("int8", "int8", post_training.convert(baseline.model, "int8", images), None),
        ("4-bit, untrained", "4bit_untrained", low_bit.convert(rounded), rounded),
        ("4-bit", None, four_file, four),
        ("4-bit, dynamic range", "4bit_dynamic", low_bit.convert(four, mode="dynamic_range"), four),
        ("4-bit, no names", "4bit_no_names", minimal.without_names(four_file), None),
        ("ternary", "ternary", three_file, three),
        ("ternary, no names", "ternary_no_names", minimal.without_names(three_file), None),
    ]:
        if file is None:
            path = lab.write("sign_mnist_4bit.tflite", content, seed)
        else:
            path = lab.write(f"sweep/07_{file}.tflite", content, seed, hand_in=False)
        figures = lab.measure(technique, path, seed, harder=harder,
                              reference=lab.path("sweep/07_float.tflite", seed))
        if model is not None:
            compared.append({
                "file": technique,
                "seed": seed,
                "codes": sum(codes.size for codes in codes_of(path).values()),
                "codes that differ": same_codes(model, path),
                "in Keras (%)": lab.accuracy_in_keras(model),
                "from the file (%)": 100 * figures["accuracy"],
            })
compared = pd.DataFrame(compared)
compared.groupby("file", sort=False).agg({"codes": "first", "codes that differ": "max", "in Keras (%)": "mean",
                                          "from the file (%)": "mean"}).round(3)

# %% [markdown]
# Not one code differs, and each file reads as many images as its network in Keras.
#
# **The bias, honestly.** The sheet asks for 4-bit biases, and QKeras's are: they have at most 15 different
# values. A TFLite file has no 4-bit biases. It stores them as float32, as the table below says: the
# dense layer's bias with the same few *values*, and for each convolution a bias of full precision,
# which is no bias of the network at all but its folded normalisation. (One could quantise after
# folding and train a bias of four bits instead. It would save 160 · 28 bits, 2 % of the file.)

# %%
weights = measure.inspect(lab.path("sign_mnist_4bit.tflite")).weights
bias = weights[(weights["layer"] == "letter") & (weights["role"] == "bias")].iloc[0]
stored_bias = measure.read_graph(lab.path("sign_mnist_4bit.tflite")).tensors[bias["tensor"]].values()
letter = networks["4-bit", SEED].get_layer("letter")
in_keras = np.asarray(letter.bias_quantizer_internal(letter.bias))
print(f"bias of the dense layer, in float: {letter.bias.numpy().min():.3f} to "
      f"{letter.bias.numpy().max():.3f}; with a step of 1/8, {np.count_nonzero(in_keras)} of 24 are not zero")
weights[["layer", "role", "type", "values", "bytes", "unique", "sparsity"]].round(3)

# %% [markdown]
# Only one of the 24 values is not zero, so the file holds two different ones: with a step of 1/8 a bias of
# four bits is next to no bias, and this network does without it.

# %%
four_loss = 100 * (lab.mean("accuracy", "float") - lab.mean("accuracy", "4-bit"))
with check(
    "what the lab set out to do",
    what="the bits in the file, the agreement of file and simulation, and the accuracy.",
    why="a simulation is a promise; the file keeps it.",
) as c:
    inspection = measure.inspect(lab.path("sign_mnist_4bit.tflite"))
    c.equal("weights of the 4-bit file", sorted(set(inspection.weight_types)), ["int4"])
    c.equal("codes that differ, all files", int(compared["codes that differ"].sum()), 0)
    of_file = compared[compared["file"] != "4-bit, dynamic range"]
    gap = (of_file["in Keras (%)"] - of_file["from the file (%)"]).abs().max()
    c.between("file against simulation", gap, 0, 0.03, unit="points")
    c.close("the dense layer's bias in the file is QKeras's", np.ravel(stored_bias), in_keras)
    c.that("and it lies on the grid of four bits",
           np.allclose(8 * in_keras, np.round(8 * in_keras)) and np.abs(in_keras).max() <= 0.875,
           otherwise="its values are no multiples of 1/8 within ±7/8.")
    c.between("4-bit accuracy", 100 * lab.mean("accuracy", "4-bit"),
              {"quick": 60, "full": 95}[PROFILE], 100, unit="%")
    c.between("lost against float", four_loss, -5, {"quick": 10, "full": 2}[PROFILE], unit="points")
    c.between("ternary accuracy", 100 * lab.mean("accuracy", "ternary"),
              {"quick": 40, "full": 90}[PROFILE], 100, unit="%")

# %% [markdown]
# ## 9 · Energy, estimated
#
# QTools walks through a QKeras model and adds up what each operation and each memory access would
# cost on a chip made for this network: multipliers and adders as wide as the types need, weights and
# activations in on-chip memory. Its figures come from M. Horowitz's measurements of a 45 nm process
# (ISSCC 2014). It is a model for comparing networks: it leaves out control, idle time and DRAM, and an
# untrained network costs the same as a trained one.
#
# **Predict.** The 4-bit network of this lab keeps its activations in float.

# %%
my_guess = predict(
    "energy of 4-bit weights",
    "4-bit weights with float activations, against float weights: the estimated energy is",
    choices=["about the same", "about half", "about an eighth"],
    answer=None,
)

# %%
rows = {"float weights and activations": low_bit.energy(base)}
for label, notation, activations in [
    ("4-bit weights, float activations", low_bit.FOUR_BITS, None),
    ("8-bit weights and activations", "quantized_bits(8,0,1,alpha=1)", "quantized_relu(8,2)"),
    ("4-bit weights, 8-bit activations", low_bit.FOUR_BITS, "quantized_relu(8,2)"),
    ("4-bit weights and activations", low_bit.FOUR_BITS, "quantized_relu(4,2)"),
    ("powers of two, 4-bit activations", "quantized_po2(4)", "quantized_relu(4,2)"),
    ("ternary, 4-bit activations", "ternary(alpha=1)", "quantized_relu(4,2)"),
    ("binary, 4-bit activations", "binary(alpha=1)", "quantized_relu(4,2)"),
]:
    rows[label] = low_bit.energy(low_bit.quantize(base, notation, activations=activations))
energies = pd.DataFrame({name: table.sum() for name, table in rows.items()}).T
energies = energies[["operations (nJ)", "reading weights (nJ)", "reading inputs (nJ)"]]
share = energies.iloc[1].sum() / energies.iloc[0].sum()
reveal("energy of 4-bit weights", my_guess,
       "about the same" if share > 0.75 else "about half" if share > 0.3 else "about an eighth",
       f"{share:.0%} of the float network's: a float32 activation needs a float32 multiplier and "
       "adder, whatever it is multiplied with.")
energies.round(1)

# %%
plots.show(
    plots.energy(energies.iloc[2:].rename(columns=lambda name: name.removesuffix(" (nJ)"))),
    alt="Estimated energy of one image for networks without float activations: operations fall from "
    "8-bit to 4-bit, powers of two and ternary; reading weights and inputs is a small part.",
)

# %% [markdown]
# What the plot says: with activations quantised too, four bits for both cost little more than half
# of what eight cost, and ternary weights three quarters of that, since only an addition is left of the
# multiplication. The additions stay: their accumulators must be wide, whatever the weights are. Memory is a
# small part here, because the whole network fits on the chip. From DRAM it would be the larger part:
# QTools takes 20.3 pJ a bit there, 3,900 nJ for reading the 4-bit weights once.
#
# On *this* computer the TFLite files above save none of it, as their latencies show:

# %%
timed = {}
for technique, file in [("float", "sweep/07_float.tflite"), ("int8", "sweep/07_int8.tflite"),
                        ("4-bit", "sign_mnist_4bit.tflite"),
                        ("4-bit, dynamic range", "sweep/07_4bit_dynamic.tflite"),
                        ("ternary", "sweep/07_ternary.tflite")]:
    timed[technique] = lab.latency(technique, lab.path(file)).median_ms
operators = {technique: measure.inspect(lab.path(file)).operators["operator"].value_counts()
             for technique, file in [("4-bit", "sign_mnist_4bit.tflite"),
                                     ("4-bit, dynamic range", "sweep/07_4bit_dynamic.tflite")]}
print({name: int(counts.get("DEQUANTIZE", 0)) for name, counts in operators.items()}, "operators DEQUANTIZE")
pd.Series(timed, name="latency (ms)").rename_axis("file").round(3).to_frame()

# %% [markdown]
# In the 4-bit file a `DEQUANTIZE` stands before each of the five layers: the weights are unpacked and
# multiplied as floats, which takes nearly three times as long as with float weights. The dynamic-range file
# has no such operators, computes in integers, and takes three fifths of that time, still more than int8.
# Few bits make any file shorter; they save time only on hardware that is made for them.
#
# **Your own network.** If you have designed one in lab 01, it lies in the output folder; here its
# weights get four bits, from its own stretched start.

# %%
own = lab.network(sign_cnn)
if own is sign_cnn:
    print("No network of your own in the output folder: lab 01 puts it there.")
else:
    model = lab.trained(own, SEED).model
    small = low_bit.quantize(model)
    with low_bit.training():
        training.fit(small, data, RECIPE, SEED)
    small = low_bit.with_new_statistics(small, sixty_batches)
    for technique, content in [("own float", post_training.convert(model, "float")),
                               ("own 4-bit", low_bit.convert(small))]:
        path = lab.write(f"sweep/07_{technique.replace(' ', '_')}.tflite", content, hand_in=False)
        figures = lab.measure(technique, path, model="own network")
        print(f"{technique}: {figures['accuracy']:.2%}, {figures['bytes']:,} bytes")
    print("left in float:", low_bit.left_in_float(small) or "nothing")

# %% [markdown]
# ## The ledger
#
# Of these files TensorFlow Lite Micro runs only float and int8: it cannot unpack int4 and int2, nor multiply
# int4 weights with float activations. On a microcontroller, too, fewer than eight bits need kernels that are
# made for them.

# %%
report = lab.report(device=True)
measure.printed(report, 3)

# %%
plots.show(
    plots.comparison(report[report["model"] == "baseline"]),
    alt="Test accuracy with its spread, and size, of each file: the trained 4-bit files lie beside "
    "float at a sixth of its size, ternary just below it at a tenth.",
)

# %% [markdown]
# ## The page to hand in
#
# The sheet asks for a page with size, accuracy and their comparison. It is made from the figures
# above. Its last paragraph, `my_words`, is yours: write it.

# %%
my_words = (
    f"With four bits for every weight and bias of the convolutions and the dense layer the network "
    f"needs {size_in_bits(four_bit):,} bits in place of {baseline_bits:,}, and reads "
    f"{100 * lab.mean('accuracy', '4-bit'):.2f} % of the test images in place of "
    f"{100 * lab.mean('accuracy', 'float'):.2f} %."
)

# %%
table = report.loc[["float", "int8", "4-bit", "ternary"],
                   ["accuracy (%)", "bytes", "gzip (bytes)", "weights (bits)"]].copy()
bits_of = {"float": baseline_bits, "4-bit": size_in_bits(four_bit), "ternary": size_in_bits(ternary)}
table.insert(1, "print_qstats (bits)", [bits_of.get(name) for name in table.index])
table["print_qstats (bits)"] = table["print_qstats (bits)"].astype("Int64")
table["file smaller (×)"] = (table["bytes"].iloc[0] / table["bytes"]).round(1)
page = Report(
    title="Sign language with four bits",
    paragraphs=[
        f"Data: {data.describe()} Profile {PROFILE}, mean over {len(lab.seeds)} seed(s); accuracy "
        "on the test images, measured from the TFLite file with LiteRT.",
        f"Weights: {low_bit.FOUR_BITS}, trained by QKeras from the float baseline; ternary: "
        "ternary(alpha=1). Batch normalisation is folded into scales and biases, which are float32 "
        "in the file. Bits by print_qstats count weights and biases of convolutions and dense "
        "layers; the last columns count the file.",
        my_words,
    ],
    table=table,
    figure=plots.comparison(report.loc[list(table.index)]),
    alt="Accuracy with its spread, and size of the file, of float, int8, 4-bit and ternary weights.",
)
lab.write("sign_mnist_4bit_report.html", page.html().encode())
lab.write("sign_mnist_4bit_report.pdf", page.pdf())
measure.printed(table, 2)

# %% [markdown]
# ## All techniques so far
#
# These figures show every model file that was measured in this folder, from all labs that you have run. A file
# is on the **front** if no smaller one is as accurate.

# %%
everything = measure.summary(lab.ledger.table())
everything = everything[(everything["data"] == data.source) & (everything["profile"] == PROFILE)]
by_bytes, by_gzip = measure.front(everything), measure.front(everything, "gzip (bytes)")
print(f"{len(everything)} models of labs {', '.join(everything['lab'].unique())}; "
      f"{len(by_bytes)} on the front by bytes, {len(by_gzip)} by bytes after gzip")
plots.show(
    plots.front(everything, by_bytes),
    alt="Test accuracy over the size of the file for all measured models, coloured by lab; the "
    "front is numbered and named from the smallest file, a pruned network of fewer filters, over ternary "
    "weights to four bits.",
)

# %%
plots.show(
    plots.front(everything, by_gzip, "gzip (bytes)"),
    alt="The same over the size after gzip, into which clustering and pruning pay: small networks, pruned or "
    "clustered, from 4 to 8 kB, ternary weights at 12, and 75 % pruned at 23 kB.",
)

# %%
by_gzip[["lab", "technique", "accuracy (%)", "seeds", "bytes", "gzip (bytes)"]].set_index(
    "lab").round({"accuracy (%)": 2}).astype({"bytes": int, "gzip (bytes)": int})

# %% [markdown]
# Read them with care: the front is chosen on the test images, as the course's scores are, and picks
# the luckiest of many files. Where two files lie within a tenth of a point, take the simpler one.

# %% [markdown]
# ## Published against measured
#
# Published are the floor of the sheet and a project on activity recognition, which trained weights that are
# powers of two (4 bits) in QKeras. Its Keras file grew, because QKeras keeps float weights behind the
# rounding; its TFLite file has float16 weights and is zipped.

# %%
lab.compare("4-bit", "ternary", "4-bit, dynamic range", "4-bit QAT in QKeras",
            "4-bit QAT in QKeras, float16", "QAT in QKeras")

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="four_bit_size" points=5
# **How much smaller is the 4-bit model: by print_qstats, as a file, after gzip? Why are these three
# different numbers?**
#
# <!-- BEGIN SOLUTION -->
# By print_qstats eight times, 191,136 bits against 1,529,088: it counts only weights and biases of
# convolutions and dense layers. The file is about six times smaller, because it also holds
# scales, the folded normalisations in float32, the graph and its names. After gzip it is about
# seven times smaller: graph and names compress well, while 4-bit codes, like float weights, hardly do.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="four_bit_bias" points=4
# **Are all biases 4-bit in your file? What would you have to change to make it so?**
#
# <!-- BEGIN SOLUTION -->
# No: TFLite has no 4-bit bias tensors. The dense layer's bias has at most 15 different values, but
# each is stored as a float32. The convolutions have no bias in QKeras; the one in the file is the
# folded normalisation. To have 4-bit biases one would fold first, then quantise and train the
# folded bias, and use a file format that stores it.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="few_values" points=4
# **Ternary has a zero and trains better than binary, which has none. But powers of two have no zero
# either, and train better than both. What do you conclude?**
#
# <!-- BEGIN SOLUTION -->
# Most weights of the float network are small. Ternary rounds them to zero, powers of two to small
# values, which are near; binary has to make them as large as all others, with one sign or the other,
# so the rounded kernel points further away from the float one (the error in the figure and the table). What
# is needed are values near zero, and zero is one of them. Powers of two also have four bits, not two; and it
# was two epochs with two seeds.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="energy_and_time" points=3
# **QTools says that 4-bit weights and activations take a fraction of the energy, but your 4-bit file
# is no faster than int8. Are both right?**
#
# <!-- BEGIN SOLUTION -->
# Yes: QTools models a chip with multipliers of just the width that is needed; this computer unpacks
# the codes first, to floats, or to bytes in the dynamic-range file. What is saved here is the length of the
# file.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - A 4-bit weight is one of 15 values; a quantiser is a staircase with a straight-through gradient.
# - Before a normalisation the scale of a kernel is free: use it for a warm start, and measure the
#   statistics anew. At four bits that was all there was to do.
# - Four bits lose next to nothing here, two bits little; one bit, with no small values, starts far below them
#   and has to be trained.
# - The codes of the simulation can be stored as they are, in `int4` and `int2`; biases cannot.
# - Energy falls only when activations are narrow, too, and only on hardware made for it.
#
# **Further reading:** C. N. Coelho et al., *Automatic heterogeneous quantization of deep neural
# networks for low-latency inference on the edge for particle detectors*, Nature Machine Intelligence
# 3 (2021) · F. Li, B. Zhang, B. Liu, *Ternary weight networks*, arXiv:1605.04711 (2016) ·
# M. Courbariaux et al., *Binarized neural networks*, arXiv:1602.02830 (2016) · M. Horowitz,
# *Computing's energy problem (and what we can do about it)*, ISSCC 2014.
#
# **Where to go on:** lab 08 reads movements in place of hands, with recurrent layers, which are
# harder to quantise.

# %% tags=["finish"]
lab.finish()
