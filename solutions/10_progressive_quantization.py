# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 10 · SqueezeNet for a convolution engine
#
# PULP is a family of small processors that run on milliwatts, and some of them have a *hardware
# convolution engine*: it slides a filter over an image by itself, several multiplications a cycle.
# It has no floating point. Numbers are integers of 16, 8 or 4 bits, the step between two of them is
# a power of two, and every sum goes through a 16-bit word. In 2017 a master's thesis brought
# SqueezeNet to such numbers and found that below 16 bits the network stopped reading, unless it was
# trained, layer by layer, while it was being quantised. At four bits nothing helped.
#
# This lab repeats that work, on the published weights and on a network of your own, finds out why
# it went as it did, and ends on the engine itself, emulated to the bit.
#
# **You will be able to**
#
# - say what a fire module saves, and count it;
# - choose the range of a fixed-point format for a layer, from percentiles or from the error;
# - explain why rounding *down* ruins a network that rounding *to the nearest* leaves alone;
# - train a network through its rounding, level by level: quantise-and-lock, quantise-while-train,
#   gradual loss of resolution;
# - find where a signal dies in a network that does not learn any more;
# - compute one job of the engine by hand, and read its cost in cycles, energy and memory.
#
# **Time:** 120 minutes of work; the computer takes 2 minutes (`quick`) or 20 (`full`; the first time
# up to 50 more, for training the network).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, with the files `squeezenet_cifar10.tflite` (float),
# `squeezenet_cifar10_6bit.tflite` and `squeezenet_cifar10_4bit.tflite` (the trained networks with
# their rounding, as TFLite computes it) and `squeezenet_engine.json` (what the engine needs for the
# 4-bit one, layer by layer).

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import dataclasses
import warnings

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import hwce, measure, plots, training, widgets
from labkit.checks import check, predict, reveal
from labkit.compress import post_training, progressive
from labkit.compress.fixed_point import measured_ranges, portable
from labkit.compress.progressive import Resolution, Schedule
from labkit.datasets import cifar10, imagenet
from labkit.hwce import GAP8, IDEAL, LayerPlan, Plan, QFormat
from labkit.lab import Lab
from labkit.models import folding, graph, squeezenet, weights

lab = Lab("10_progressive_quantization", PROFILE, DATA, SEED, OUT, dataset=cifar10, repeats=1,
          headline="squeezenet_cifar10_6bit.tflite")
raw = lab.dataset
data = lab.dataset = raw.standardised()
full = PROFILE == "full"

# %% [markdown]
# ## 1 · The fire module
#
# SqueezeNet (Iandola et al. 2016) reads ImageNet as well as AlexNet did, with 50 times fewer
# parameters. Most of that is the *fire module*: a *squeeze* layer of 1×1 filters leaves few
# channels, an *expand* layer of 1×1 and 3×3 filters side by side makes many of them again. With
# $c$ input channels, $s$ squeeze filters and $e$ expand filters of each kind, weights and biases are
#
# $$\underbrace{(c+1)\,s}_{\text{squeeze}} + \underbrace{(s+1)\,e}_{1\times1} +
#   \underbrace{(9s+1)\,e}_{3\times3}.$$
#
# By hand, $c = 2$, $s = 1$, $e = 3$: $3 + 6 + 30 = 39$. One 3×3 convolution from 2 to the same 6
# channels has $(9 \cdot 2 + 1) \cdot 6 = 114$.


# %% [markdown]
# ### Your turn: count a fire module


# %% tags=["exercise"] exercise="fire_parameters"
def fire_parameters(channels, squeeze, expand):
    """Weights and biases (int) of a fire module: `expand` filters of 1x1, as many of 3x3."""
    ### BEGIN SOLUTION
    squeezed = (channels + 1) * squeeze
    return squeezed + (squeeze + 1) * expand + (9 * squeeze + 1) * expand
    ### END SOLUTION


# %% tags=["check"] exercise="fire_parameters" points=2
with check(
    "fire module",
    exercise="fire_parameters",
    what="the example by hand, then fire2 to fire9 against the network.",
    why="this is what makes the network small: you want to know which of its layers is not.",
) as c:
    c.equal("by hand", fire_parameters(2, 1, 3), 39, misconceptions=[
        (35 - 3, "Each filter has a bias: one more parameter a filter."),
        (32, "Each filter has a bias: one more parameter a filter."),
        (33, "The 3×3 filters read the squeezed channels, s of them."),
        (66, "expand counts each kind: e filters of 1×1 and e of 3×3, both on s channels."),
    ])
    published = squeezenet.build()
    channels = 64
    for name, squeeze, expand in squeezenet.FIRES:
        parts = [layer for layer in published.layers if layer.name.startswith(f"{name}/")]
        c.equal(name, fire_parameters(channels, squeeze, expand),
                sum(layer.count_params() for layer in parts))
        channels = 2 * expand

# %%
# NBVAL_CHECK_OUTPUT
channels, rows = 64, {}
for name, squeeze, expand in squeezenet.FIRES:
    fire, plain = fire_parameters(channels, squeeze, expand), (9 * channels + 1) * 2 * expand
    rows[name] = {"channels": channels, "squeeze": squeeze, "expand": 2 * expand,
                  "parameters": fire, "of one 3×3 convolution": plain, "fewer (×)": plain / fire}
    channels = 2 * expand
print(f"{published.count_params():,} parameters, {rows['fire9']['channels']:,} channels before conv10, "
      f"which has {published.get_layer('conv10').count_params():,}")
pd.DataFrame.from_dict(rows, orient="index").round({"fewer (×)": 1})

# %% [markdown]
# What the table says: six to twelve times fewer in each module. The last layer, `conv10`, has no
# module's trick and 1,000 classes: it holds two fifths of all parameters.

# %% [markdown]
# ## 2 · Two networks
#
# One to train, in minutes: SqueezeNet in the size of CIFAR-10's images, with ten classes and three
# quarters of the filters (in multiples of 16, which vector units like). Images of 32×32 leave nothing
# to throw away at the beginning, so that `conv1` keeps their resolution. Every second fire module has
# a *bypass*, which adds its input to its output (the SqueezeNet paper's own variant), so that it
# learns in few epochs. It is trained with batch normalisation, which then is *folded* into the
# kernels, as in lab 01: what the engine gets are convolutions with a bias, and additions.

# %%
trained = squeezenet.baseline(data, squeezenet.NETWORK[PROFILE], squeezenet.RECIPES[PROFILE],
                              SEED, OUT)
small = folding.fold(trained.model)
print(trained.describe())
lab.write("squeezenet_cifar10.tflite", post_training.convert(small, "float"))
SMALL = "SqueezeNet for 32×32"
float_figures = lab.measure("float", lab.path("squeezenet_cifar10.tflite"), model=SMALL)
small_float = float_figures["accuracy"]
print(f"{small.count_params():,} parameters folded; {small_float:.1%} of the test images, "
      f"{float_figures['bytes']:,} bytes")
plots.show(
    plots.history([trained.history]),
    alt="Loss and accuracy on augmented training images over the epochs: steep at first, and once "
    "more while the learning rate falls to zero.",
)

# %% [markdown]
# The networks of section 7 are quantised and trained from this one. The accuracies on their way are
# of a part of the test images; nothing is chosen by them.

# %%
VALIDATED = 500 if full else 200
validated = data.subset(len(data.class_names), VALIDATED)
source = training.ArrayBatches(data.x_train, data.y_train, validated.x_test, validated.y_test,
                              batch=squeezenet.RECIPES[PROFILE].batch)
quantizer = progressive.Quantizer(small, source)

# %% [markdown]
# And the published one, where its weights and photographs of ImageNet lie in the folder of real
# data; else sections 3 to 5 take the small network, on its own images. The published network wants
# its photographs as Caffe read them: blue before green before red, from 0 to 255, the mean pixel of
# the training images subtracted.

# %%
published_weights, photographs = squeezenet.find_weights(), imagenet.find()
if DATA != "synthetic" and published_weights and photographs:
    big = weights.load(squeezenet.build(), published_weights)
    every_x, every_y = imagenet.load(squeezenet.PREPROCESSING)
    x, y = every_x[::2], every_y[::2]
    BIG, big_data = "SqueezeNet v1.1 on ImageNet", "imagenet sample, real"
    static = progressive.Quantizer(big, training.ArrayBatches(x, y, x, y, batch=50))
    offset = np.array(squeezenet.PREPROCESSING.mean_pixel, np.float32)
else:
    big, BIG, big_data, static = small, SMALL, data.label, quantizer
    every_x, every_y = x, y = source.x_val, source.y_val
    offset = (raw.x_train.mean((0, 1, 2)) / raw.x_train.std((0, 1, 2))).astype(np.float32)
print(f"{BIG}: {len(x):,} images of {x.shape[1]}×{x.shape[2]}, {big.count_params():,} parameters")
read = training.predictor(big)


def accuracy_in_float(images, top=1):
    """Share (%) of images (N, ...) that the big network, with whatever weights it has, reads."""
    parts = [training.ranks(read(images[i:i + 50]), y[i:i + 50]) for i in range(0, len(images), 50)]
    return 100 * np.mean(np.concatenate(parts) < top)


big_float = accuracy_in_float(x)
variants = pd.Series({
    "as it was trained": big_float,
    "mean pixel not subtracted": accuracy_in_float(x + offset),
    "channels in the other order": accuracy_in_float(x[..., ::-1]),
}, name="top-1 accuracy (%)").round(1)
print(f"top-5 accuracy: {accuracy_in_float(x, top=5):.1f} %")
variants.to_frame()

# %% [markdown]
# A quarter to a third of what it reads is lost by a detail that no error message tells of. (The
# thesis lost more, 56.9 to 36.5 and 16.4 %; the photographs here are centred more tightly, one a
# class, and from the training set: read the *drops* of this lab, not its levels.)

# %% [markdown]
# ## 3 · Numbers with a power of two between them
#
# A format of $n$ bits is given by its *most significant bit*, an exponent: amplitude and step are
#
# $$A = 2^{\mathrm{msb}}, \qquad q = \frac{2A}{2^n} = 2^{\,\mathrm{msb}+1-n}.$$
#
# To quantise is to clip to the range, divide by the step, round, and multiply by the step. The
# thesis rounds down, $\lfloor x/q \rfloor\, q$; the engine's later versions can add half a step
# first, which rounds to the nearest.
#
# By hand, three bits and msb 0: $q = 1/4$, the codes are $-4 \dots 3$. $0.3$ is $1.2$ steps: both
# ways $0.25$. $-0.05$ is $-0.2$ steps: $-0.25$ rounded down, $0$ rounded to the nearest. $2$ is
# clipped: the largest code is 3, so $0.75$.


# %% [markdown]
# ### Your turn: quantise


# %% tags=["exercise"] exercise="quantclip"
def quantclip(x, msb, bits, nearest):
    """x (any shape) in steps of the format, clipped to its codes; halves are rounded upwards."""
    ### BEGIN SOLUTION
    step = 2.0 ** (msb + 1 - bits)
    codes = np.floor(x / step + (0.5 if nearest else 0))
    return step * np.clip(codes, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    ### END SOLUTION


# %% tags=["check"] exercise="quantclip" points=3
with check(
    "quantclip",
    exercise="quantclip",
    what="the example by hand, then 4,001 numbers in six formats against labkit's.",
    why="every number of the next sections goes through this function.",
) as c:
    some = np.array([0.3, -0.05, 2, -2, 0.125])
    c.close("down, by hand", quantclip(some, 0, 3, False), [0.25, -0.25, 0.75, -1, 0],
            misconceptions=[
                ([0.25, -0.25, 1, -1, 0], "A itself has no code: n bits end at 2^(n−1) − 1. (The "
                 "thesis's code does this, too: its format has one value more than n bits hold.)"),
                ([0.25, 0, 0.75, -1, 0], "Down means towards minus infinity: np.floor, not a cut."),
                ([1, -1, 3, -4, 0], "Those are the codes: multiply by the step."),
            ])
    c.close("nearest, by hand", quantclip(some, 0, 3, True), [0.25, 0, 0.75, -1, 0.25],
            misconceptions=[
                ([0.25, 0, 0.75, -1, 0], "Halves are rounded upwards here, as the engine's rounding "
                 "bit does; np.round takes them to the even neighbour."),
                ([0.25, -0.25, 0.75, -1, 0], "That is still rounding down: add half a step first."),
            ])
    many = np.linspace(-3, 3, 4001)
    for bits, msb in [(8, 0), (4, 0), (16, 0), (6, 1), (4, -2), (2, 0)]:
        for mode in ("floor", "nearest"):
            c.close(f"{bits} bits, msb {msb}, {mode}", quantclip(many, msb, bits, mode == "nearest"),
                    QFormat(bits, msb).quantize(many, mode))

# %%
line = np.linspace(-1.3, 1.3, 1301)
plots.show(
    plots.rounded_values(line, {"down": quantclip(line, 0, 3, False),
                                "nearest": quantclip(line, 0, 3, True)}, "value"),
    alt="Two staircases of eight steps from −1 to 0.75. The one that rounds down lies below the "
    "diagonal throughout, half a step on average; the other lies around it.",
)
inside = np.random.default_rng(0).uniform(-1, 0.7, 100_000)
for name, nearest in [("down", False), ("nearest", True)]:
    error = (quantclip(inside, 0, 3, nearest) - inside) / 0.25
    print(f"{name:8} mean error {error.mean():+.3f} steps, largest {np.abs(error).max():.2f}")

# %% [markdown]
# What the figure says: rounding down is wrong by half a step *on average*, always in the same
# direction. Remember this figure.

# %% [markdown]
# ## 4 · Ranges
#
# Too small a range clips the largest values, too large a one makes the step coarse for all. The
# thesis takes a percentile of the magnitudes and the next power of two above it:
#
# $$\mathrm{msb} = \bigl\lceil \log_2 \operatorname{percentile}(|x|) \bigr\rceil.$$
#
# By hand: if 99 % of the values lie within $\pm 0.3$, then $\log_2 0.3 = -1.74$ and msb is $-1$, a
# range of $\pm 0.5$.


# %% [markdown]
# ### Your turn: an exponent for a layer


# %% tags=["exercise"] exercise="msb_of"
def msb_of(values, percentile):
    """The smallest exponent (int) whose power of two covers a percentile of |values|."""
    ### BEGIN SOLUTION
    limit = np.percentile(np.abs(values), percentile)
    return int(np.ceil(np.log2(limit)))
    ### END SOLUTION


# %% tags=["check"] exercise="msb_of" points=2
with check(
    "msb",
    exercise="msb_of",
    what="1,001 numbers by hand, then all kernels of the network against labkit.",
    why="one exponent too few clips, one too many wastes half of the codes.",
) as c:
    even = np.linspace(-1, 1, 1001)
    c.equal("all of ±1", msb_of(even, 100), 0, misconceptions=[
        (1, "2^0 = 1 covers 1: round the logarithm up only where it is not whole."),
    ])
    c.equal("the inner 30 %", msb_of(even, 30), -1, misconceptions=[
        (-2, "Round the logarithm up: 2^−2 = 0.25 covers less than 0.3."),
        (0, "The percentile is of the magnitudes: np.abs first, then np.percentile."),
    ])
    for name in [name for names in graph.levels(big).values() for name in names][:6]:
        kernel = big.get_layer(name).kernel.numpy()
        for part in (95, 99.9):
            c.equal(f"{name}, {part} %", msb_of(kernel, part), hwce.msb_for(kernel, part))

# %%
PERCENTILES = (95, 98, 99.9, 99.99)
ranges = measured_ranges(big, x[::len(x) // 32][:32])
kernels = {name: kernel for name, (kernel, _, _) in ranges.tensors.items()}


def convolved(name, kernel):
    """The sums (N, rows, columns, filters) of a layer, before the bias, with some kernel."""
    return big.get_layer(name).convolution_op(ranges.tensors[name][1], kernel).numpy()


outputs = {name: convolved(name, kernel) for name, kernel in kernels.items()}


def limits(values):
    """Percentile → the magnitude that so many of the values stay within."""
    return {f"{p:g} %": float(np.percentile(np.abs(values), p)) for p in PERCENTILES}


every_kernel = np.concatenate([kernel.ravel() for kernel in kernels.values()])
plots.show(
    plots.limits(every_kernel, limits(every_kernel), "weight"),
    alt="Histogram of all kernels on a logarithmic scale: a sharp peak at zero with long tails; the "
    "limits of 95, 98, 99.9 and 99.99 % of the weights, each further out.",
)

# %%
every_output = np.concatenate([output.ravel()[::7] for output in outputs.values()])
plots.show(
    plots.limits(every_output, limits(every_output), "sum of a convolution, before the bias"),
    alt="Histogram of the convolutions' sums on a logarithmic scale: a peak at zero, the tail to the "
    "negative side longer, and the limits of 95, 98, 99.9 and 99.99 %.",
)

# %% [markdown]
# What the figures say: both have tails that reach many times further than nearly everything else.
# The last 5 % of the values would cost two or three bits. And the sums of a trained network lean to
# the negative side, where ReLU will make zeros of them.
#
# Layer by layer, the limits are not alike:

# %%
def short(table):
    """A table with shorter names of the layers."""
    return table.rename(index=lambda name: name.replace("squeeze", "s").replace("expand", "e"))


by_layer = {
    "kernels": pd.DataFrame({name: limits(kernel) for name, kernel in kernels.items()}).T,
    "sums": pd.DataFrame({name: limits(output) for name, output in outputs.items()}).T,
}
for name, table in by_layer.items():
    plots.show(
        plots.lines(np.log2(short(table)), x="convolution", y=f"log₂ of the limit of its {name}"),
        alt=f"Base-two logarithm of the limits of each convolution's {name}, a line a percentile: "
        "the lines lie apart by two to four, and go up and down together from layer to layer.",
    )

# %% [markdown]
# An msb is the number right above such a point. Those of the thesis's Table 11, here for each of the
# levels (a level is a fire module, or one of the convolutions at the ends; its msb is the largest of
# its convolutions'):

# %%
levels = graph.levels(big)
table = {
    (kind, f"{p:g} %"): {
        level: max(msb_of(values[name], p) for name in names) for level, names in levels.items()
    }
    for kind, values in (("kernels", kernels), ("sums", outputs)) for p in PERCENTILES
}
pd.DataFrame(table).loc[list(levels)]

# %% [markdown]
# ## 5 · Without training
#
# First the kernels alone. Clipped, without rounding (the thesis's Table 4); then with 16 to 4 bits
# in the range $\pm 1$ (Table 5), rounded down as in the thesis, and to the nearest.

# %%
my_guess = predict(
    "kernels of eight bits",
    "The thesis rounds the kernels down to 8 bits, with msb 0: 7 % of the photographs are left of 51. "
    "And if they are rounded to the nearest?",
    choices=["about the same: it is the eight bits", "half is lost", "next to nothing is lost"],
    answer=None,
)

# %%
original = big.get_weights()


def accuracy_with_kernels(change):
    """Accuracy (%) of the big network with every kernel replaced by change(kernel)."""
    try:
        big.set_weights([change(w) if w.ndim == 4 else w for w in original])
        return accuracy_in_float(x)
    finally:
        big.set_weights(original)


clipped = pd.Series({
    f"±2^{msb}": accuracy_with_kernels(lambda w, a=2.0**msb: np.clip(w, -a, a))
    for msb in (0, -1, -2)
}, name="accuracy (%)").round(1).rename_axis("kernels clipped to")
clipped.to_frame()

# %%
rounded = pd.DataFrame({
    bits: {name: accuracy_with_kernels(lambda w, b=bits, n=nearest: quantclip(w, 0, b, n))
           for name, nearest in (("down", False), ("to the nearest", True))}
    for bits in (16, 8, 6, 4)
}).T.rename_axis("bits")
kept = rounded.loc[8, "to the nearest"] / big_float
reveal("kernels of eight bits", my_guess,
       "next to nothing is lost" if kept > 0.9 else "half is lost" if kept > 0.3
       else "about the same: it is the eight bits",
       f"{rounded.loc[8, 'down']:.1f} % rounded down, {rounded.loc[8, 'to the nearest']:.1f} % to the "
       f"nearest, {big_float:.1f} % in float.")
rounded.round(1)

# %% [markdown]
# The thesis concludes from the first column that the kernels need 16 bits. The second column says
# something else. What is the difference? A weight that is rounded down is too small by half a step
# on average. Of one weight nobody would notice. But a convolution adds them all up, with inputs
# that come out of a ReLU and are *never negative*:
#
# $$\Delta y = \sum_{i} \Delta w_i\, x_i \;\approx\; -\frac q2 \sum_i x_i .$$
#
# The errors do not cancel, they pile up: every output moves down, by more than most of them are
# large, and the next ReLU makes zeros of them.
#
# By hand: a window of $(1, 2, 0, 5)$ and a step of $1/4$: the output moves by
# $-\frac18 \cdot 8 = -1$.


# %% [markdown]
# ### Your turn: where the outputs go


# %% tags=["exercise"] exercise="expected_shift"
def expected_shift(window, step):
    """By how much (float) an output moves on average if all weights on a window are rounded down."""
    ### BEGIN SOLUTION
    return -step / 2 * np.sum(window)
    ### END SOLUTION


# %% tags=["check"] exercise="expected_shift" points=2
with check(
    "the shift",
    exercise="expected_shift",
    what="the example by hand, then the mean shift of 500 random filters over one window.",
    why="it explains every collapse in this lab but one.",
) as c:
    c.close("by hand", expected_shift(np.array([1, 2, 0, 5]), 0.25), -1, misconceptions=[
        (1, "Rounded down, weights get smaller: the outputs move down."),
        (-2, "A weight loses half a step on average, not a whole one."),
        (-0.25, "Every input counts as often as it is large: the sum, not the mean."),
        (-0.5, "Multiply by the sum of the inputs, not by their number."),
    ])
    random = np.random.default_rng(1)
    window = np.maximum(random.normal(size=(3, 3, 16)), 0)
    filters = random.normal(0, 0.3, (500, 3, 3, 16))
    moved = ((quantclip(filters, 3, 8, False) - filters) * window).sum(axis=(1, 2, 3))
    c.close("random filters", expected_shift(window, 2.0**-4), moved.mean(), tolerance=0.1)

# %% [markdown]
# In the network: the mean shift of each layer's outputs, as a part of their own spread, if its
# kernels alone are rounded to 8 bits.

# %%
shifts = {"down": {}, "to the nearest": {}}
for how in shifts:
    for name, exact in outputs.items():
        kernel = quantclip(kernels[name], 0, 8, how == "to the nearest").astype(np.float32)
        shifts[how][name] = (convolved(name, kernel) - exact).mean() / exact.std()
plots.show(
    plots.lines(short(pd.DataFrame(shifts)), x="convolution", y="mean shift ÷ spread of the outputs"),
    alt="Mean shift of each convolution's outputs over their standard deviation: to the nearest it "
    "stays at zero, rounded down it is negative in every layer behind the first.",
)
half = 2.0**-8
mended = accuracy_with_kernels(lambda w: quantclip(w, 0, 8, False) + half)
print(f"8 bits, rounded down: {rounded.loc[8, 'down']:.1f} %; "
      f"half a step added to every weight: {mended:.1f} %")

# %% [markdown]
# That is the proof: the same eight bits, all of them rounded down, and one constant added to every
# weight. **The limit at 16 bits was an effect of the rounding, not of the bits.**
#
# Now inputs, too (Tables 7 and 8). The engine has 16-bit words for them, or fewer bits; the range is
# one for all layers, as in the thesis.

# %%
widest = ranges.plan((16, 16, 16), 100)
of_inputs = {p: msb_of(every_output, p) for p in PERCENTILES}


def with_inputs(bits, msb):
    """Kernels of 16 bits, msb 0; inputs as given; outputs of 16 bits that clip nothing."""
    return Plan({name: LayerPlan(QFormat(16, 0), QFormat(bits, msb), formats.output)
                 for name, formats in widest.layers.items()})


rows = {f"16 bits, ±2^{msb} ({p:g} %)": 100 * static.accuracy(with_inputs(16, msb))
        for p, msb in of_inputs.items()}
best = of_inputs[99.9]
rows |= {f"{bits} bits, ±2^{best}": 100 * static.accuracy(with_inputs(bits, best)) for bits in (8, 6)}
pd.Series(rows, name="accuracy (%)").round(1).rename_axis("inputs").to_frame()

# %% [markdown]
# Clipping what only one input in a thousand exceeds costs nothing, clipping one in twenty a lot;
# and eight bits are enough for inputs. Now everything at once (Table 9): kernels, inputs and
# outputs, in four ways. *One msb* is the thesis's: 0 for all kernels, one range for all activations.
# *msb a layer, 98 %* chooses it by the percentile. *Least error* tries the exponents, and takes the
# one with the smallest mean square of what clipping and rounding change: it weighs the two against
# each other, where a percentile guesses.

# %%
RESOLUTIONS = ("16:16:16", "16:8:8", "8:8:8", "8:6:6", "6:6:6", "4:4:4")


def plan_of(ranges, resolution, choice, mode="nearest", one=None):
    """The formats of a resolution k:i:o; choice of the msb: "one", "98 %" or "least error"."""
    bits = dataclasses.astuple(Resolution.parse(resolution))
    if choice == "one":
        return Plan.uniform(big, bits, one, mode=mode)
    return ranges.plan(bits, {"98 %": 98, "least error": None}[choice], mode=mode)


WAYS = {
    "one msb, down": ("one", "floor"),
    "one msb, nearest": ("one", "nearest"),
    "98 % a layer, nearest": ("98 %", "nearest"),
    "least error a layer, nearest": ("least error", "nearest"),
}
one_msb = (0, best, best)
found = {}
for resolution in RESOLUTIONS:
    for way, (choice, mode) in WAYS.items():
        plan = plan_of(ranges, resolution, choice, mode, one_msb)
        found[way, resolution] = static.accuracy(plan)
        lab.record(f"{resolution}, static: {way}", {"accuracy": found[way, resolution]}, model=BIG,
                   data=big_data)
all_static = (100 * pd.Series(found).unstack(0))[list(WAYS)].loc[list(RESOLUTIONS)]
plots.show(
    plots.lines(all_static, x="bits of kernels : inputs : outputs", y="top-1 accuracy (%)",
                levels=[big_float]),
    alt="Accuracy over the resolution from 16:16:16 to 4:4:4, a line a way. Rounded down it falls to "
    "nothing at 8-bit kernels; with one msb and rounding to the nearest at six bits; with an msb "
    "for each layer 8:8:8 is close to float, and least error keeps most at 6:6:6.",
)
all_static.round(1)

# %% [markdown]
# The two that count, on all images:

# %%
static.source = training.ArrayBatches(every_x, every_y, every_x, every_y, batch=50)
whole = {"float": static.accuracy()}
for resolution in ("8:8:8", "6:6:6"):
    whole[resolution] = static.accuracy(plan_of(ranges, resolution, "least error"))
    lab.record(f"{resolution}, static, all images", {"accuracy": whole[resolution]}, model=BIG,
               data=big_data)
print(f"{len(every_y):,} images")
pd.Series(whole, name="top-1 accuracy (%)").mul(100).round(1).to_frame()

# %% [markdown]
# What the figure says: the thesis's 0.25 % at 8:8:8 comes from rounding down, not from the bits.
# Rounded to the nearest, eight bits are almost as good as float *without any training*, even with one
# msb for all layers. At six bits the exponents matter: those of least error keep most, one for all
# loses half. A percentile is a poor guess here: 98 % clips so much that not even 16 bits help. A
# published post-training quantisation by powers of two keeps 54.6 of 56.5 % at 8 bits and 17.1 % at
# 6. At 4:4:4 nothing works: from here on it takes training.

# %% [markdown]
# ## 6 · Training through the rounding
#
# The derivative of a staircase is zero almost everywhere. The thesis overrides it, as lab 04 did:
# forwards the staircase, backwards the identity, but only where the value was not clipped,
#
# $$\frac{\partial\, Q(x)}{\partial x} \;:=\; \begin{cases} 1 & |x| \le A \\ 0 & \text{else.}\end{cases}$$
#
# (Its listing, as printed, computes the overridden `floor` and then returns another one, which has
# no gradient. Read code before you believe a figure.)


# %% [markdown]
# ### Your turn: a staircase with a gradient


# %% tags=["exercise"] exercise="trainable_quantclip"
def trainable_quantclip(x, msb, bits):
    """As quantclip to the nearest, for a tf.Tensor: derivative 1 where |x| <= 2^msb, else 0."""
    amplitude, step = 2.0**msb, 2.0 ** (msb + 1 - bits)
    ### BEGIN SOLUTION
    inside = tf.clip_by_value(x, -amplitude, amplitude)
    codes = tf.clip_by_value(tf.floor(x / step + 0.5), -amplitude / step, amplitude / step - 1)
    return inside + tf.stop_gradient(codes * step - inside)
    ### END SOLUTION


# %% tags=["check"] exercise="trainable_quantclip" points=3
with check(
    "straight through",
    exercise="trainable_quantclip",
    what="values against quantclip, gradients inside and outside of the range.",
    why="without a gradient nothing learns; with one outside of the range, weights run away.",
) as c:
    some = tf.constant([0.3, -0.05, 0.96, 2.0, -2.0])
    with tf.GradientTape() as tape:
        tape.watch(some)
        values = trainable_quantclip(some, 0, 3)
    c.close("forwards", values, quantclip(some.numpy(), 0, 3, True), misconceptions=[
        ([0.3, -0.05, 0.96, 1, -1], "Forwards it must be the staircase: add stop_gradient(Q − x)."),
        ([0.25, 0, 1, 1, -1], "The largest code is A / q − 1."),
    ])
    gradient = tape.gradient(values, some)
    c.close("backwards", [0] * 5 if gradient is None else gradient, [1, 1, 1, 0, 0], misconceptions=[
        ([0, 0, 0, 0, 0], "The whole result is inside stop_gradient, or floor is outside of it."),
        ([1, 1, 1, 1, 1], "A clipped value gets no gradient: clip outside of stop_gradient."),
        ([1, 1, 0, 0, 0], "0.96 is inside of ±1: only its code is clipped, not its gradient."),
    ])

# %% [markdown]
# `labkit` has a layer that does this to kernel, inputs and outputs, `QuantizedConv2D`; a network of
# such layers is what `progressive` trains.
#
# ## 7 · Level by level
#
# Quantising all ten levels at once is a shock to the network. The thesis's idea: one level after the
# other, and some training after each, so that the rest can adapt.
#
# | strategy | in phase *k* | is trained |
# | --- | --- | --- |
# | **quantise and lock** | levels 1 … *k* are quantised | the others: what is quantised stays as it is |
# | **quantise while train** | levels 1 … *k* are quantised | everything |
# | **gradual loss of resolution** | all levels, with fewer bits each time | everything |
#
# ### Your turn: who is trained when


# %% tags=["exercise"] exercise="phases"
def phases(levels, strategy):
    """For each phase the pair (quantised levels, trained levels), both lists in order.

    levels: names, from input to output; strategy: "lock" or "train".
    """
    ### BEGIN SOLUTION
    cuts = range(1, len(levels) + 1)
    return [(levels[:k], levels[k:] if strategy == "lock" else levels) for k in cuts]
    ### END SOLUTION


# %% tags=["check"] exercise="phases" points=2
with check(
    "phases",
    exercise="phases",
    what="three levels by hand, then the ten of SqueezeNet against labkit.",
    why="the two strategies differ in this alone, and in tens of points of accuracy.",
) as c:
    abc = ["a", "b", "c"]
    c.equal("lock", phases(abc, "lock"),
            ((["a"], ["b", "c"]), (["a", "b"], ["c"]), (["a", "b", "c"], [])), misconceptions=[
                ((([], abc), (["a"], ["b", "c"]), (["a", "b"], ["c"])),
                 "In the first phase the first level is quantised already."),
                (((["a"], abc), (["a", "b"], abc), (abc, abc)),
                 "Locked levels are not trained any more."),
            ])
    c.equal("train", phases(abc, "train"),
            ((["a"], abc), (["a", "b"], abc), (["a", "b", "c"], abc)), misconceptions=[
                (((["a"], ["a"]), (["a", "b"], ["a", "b"]), (abc, abc)),
                 "Everything is trained throughout, also what is not quantised yet."),
            ])
    names = list(graph.levels(small))
    some_plan = Plan.uniform(small, (8, 8, 8), (0, 4, 4))
    for strategy in ("lock", "train"):
        theirs = progressive.phases(small, some_plan, Schedule(strategy))
        c.equal(f"SqueezeNet, {strategy}", phases(names, strategy),
                tuple((list(p.quantized), [n for n in names if n not in p.locked]) for p in theirs))

# %% [markdown]
# The small network, four resolutions, six ways, a short training after each phase; msb a layer are
# those of least error, one msb for all covers 99.9 % of all kernels, or of all activations.

# %%
small_ranges = measured_ranges(small, data.representative(256))
of_kernels, _, of_outputs = (np.concatenate([t.ravel() for t in tensors])
                             for tensors in zip(*small_ranges.tensors.values()))
small_one = (msb_of(of_kernels, 99.9), *[msb_of(of_outputs, 99.9)] * 2)
EPOCHS = 0.02 if full else 0.05
RATE = 0.0005
WAYS = {
    "static, one msb": ("static", "one"),
    "static, msb a layer": ("static", "least error"),
    "lock, one msb": ("lock", "one"),
    "lock, msb a layer": ("lock", "least error"),
    "train, msb a layer": ("train", "least error"),
    "gradual, msb a layer": ("gradual", "least error"),
}
GRID = ("8:8:8", "8:6:6", "6:6:6", "4:4:4")
if not full:  # the shortest story: two resolutions, locked and trained
    GRID = GRID[2:]
    WAYS = {way: WAYS[way] for way in list(WAYS) if "one" not in way and "gradual" not in way}


def small_plan(resolution, choice, mode="nearest"):
    """A plan for the small network."""
    return plan_of(small_ranges, resolution, choice, mode, small_one)


runs = {}
for resolution in GRID:
    for way, (strategy, choice) in WAYS.items():
        schedule = Schedule(strategy, epochs=EPOCHS, learning_rate=RATE, seed=SEED)
        runs[resolution, way] = quantizer.run(small_plan(resolution, choice), schedule)

# %%
reached = pd.Series({key: 100 * run.history["after"].iloc[-1] for key, run in runs.items()})
grid = reached.unstack()[list(WAYS)].loc[list(GRID)]
print(f"in float {100 * quantizer.accuracy():.1f} %")
grid.round(1)

# %%
for resolution in GRID[-2:]:
    shown = {way: runs[resolution, way].history for way in WAYS if way.startswith(("lock", "train"))}
    plots.show(
        plots.phases(shown, names, small_float),
        alt=f"{resolution}: accuracy over the levels that are quantised, down with each new level and "
        "up again in its training. Locked levels leave less and less that can adapt; trained ones "
        "come back further.",
    )

# %% [markdown]
# What the figures say: at six bits a range for each layer is all it takes; there is nothing left that
# training could win. At four bits each new level costs something. What is locked stays as wrong as it
# was on the day it was locked, and what can still adapt gets less with every level: in the last
# modules the locked network falls behind. (Four points are few. In the thesis, with ImageNet and
# ranges that cost more, they were forty.)
#
# ## 8 · Why four bits collapsed
#
# In the thesis 4:4:4 ended at 0.19 %, with 100 epochs for each level: guessing gives 0.1 %. Longer
# training, it says, or another optimiser might help. Let us look first. A network can only learn
# where something flows: outputs on the way forwards, gradients on the way back.

# %%
my_guess = predict(
    "four bits",
    "4:4:4 as in the thesis: rounded down, one msb for all layers. How much of the gradient that the "
    "float network has in its first layer is left there?",
    choices=["about as much", "a tenth", "next to nothing"],
    answer=None,
)

# %%
FOUR = {
    "one msb, down": ("one", "floor"),
    "98 % a layer, down": ("98 %", "floor"),
    "one msb, nearest": ("one", "nearest"),
    "98 % a layer, nearest": ("98 %", "nearest"),
    "least error a layer, nearest": ("least error", "nearest"),
}
few, their_classes = validated.x_test[:256], validated.y_test[:256]
signals = {"float": quantizer.signals(few, their_classes)}
for way, (choice, mode) in FOUR.items():
    signals[way] = quantizer.signals(few, their_classes, small_plan("4:4:4", choice, mode))
zeros = short(pd.DataFrame({way: table["zeros (%)"] for way, table in signals.items()}))
plots.show(
    plots.lines(zeros, x="convolution", y="outputs that ReLU makes zero (%)"),
    alt="Share of each convolution's outputs that are not above zero, a line a way: rounded down it "
    "rises with the depth towards all of them; rounded to the nearest it stays near that of the "
    "float network.",
)

# %%
gradients = pd.DataFrame({way: table["gradient"] for way, table in signals.items()})
left = short(gradients.div(gradients["float"], axis=0).drop(columns="float"))
plots.show(
    plots.lines(np.log10(left.clip(lower=1e-8)), x="convolution",
                y="log₁₀ of the gradient, ÷ float", levels=[0]),
    alt="Size of the loss's gradient at each kernel over that of the float network, in powers of "
    "ten: near one if rounded to the nearest, several powers of ten smaller if rounded down.",
)
kept = left.iloc[0]["one msb, down"]
reveal("four bits", my_guess,
       "about as much" if kept > 0.3 else "a tenth" if kept > 0.03 else "next to nothing",
       f"{kept:.1e} of it; rounded to the nearest with exponents of least error "
       f"{left.iloc[0]['least error a layer, nearest']:.2f}.")

# %%
kernel = small.get_layer("fire5/expand3x3").kernel.numpy()
rows = {}
for way, (choice, mode) in FOUR.items():
    formats = small_plan("4:4:4", choice, mode).layers["fire5/expand3x3"].kernel
    codes = formats.codes(kernel, mode)
    rows[way] = {"step": formats.step, "codes in use": len(np.unique(codes)),
                 "below zero (%)": 100 * np.mean(codes < 0), "zero (%)": 100 * np.mean(codes == 0),
                 "above zero (%)": 100 * np.mean(codes > 0)}
pd.DataFrame.from_dict(rows, orient="index").round(3).rename_axis("kernel of fire5/expand3x3")

# %% [markdown]
# There it is. With one range for all, the step of a 4-bit kernel is larger than many weights. Rounded
# down, a small positive weight becomes $0$, a small negative one a whole step below it: **there are
# three times as many weights below zero as above**. The sums get smaller from layer to layer, ReLU
# makes zeros of nearly all of them, in the last modules of all; what is left of the gradient does
# not reach the first layers. No amount of training brings anything back, and the thesis could have
# trained for years. It is the shift of section 5, at its worst. A range for each layer alone does
# not help; rounding to the nearest does.
#
# Which part of the cure is the important one? Each of the ways, trained for the same short time:

# %%
rescued = {}
for way, (choice, mode) in list(FOUR.items())[:4 if full else 1]:
    schedule = Schedule("train", epochs=EPOCHS, learning_rate=RATE, seed=SEED)
    rescued[way] = quantizer.run(small_plan("4:4:4", choice, mode), schedule).history
rescued["least error a layer, nearest"] = runs["4:4:4", "train, msb a layer"].history
plots.show(
    plots.phases(rescued, names, small_float),
    alt="4:4:4 by quantise-while-train, a line a way: rounded down it falls to guessing within a few "
    "levels and stays there; rounded to the nearest, with an msb for each layer, it comes back after "
    "every level.",
)
pd.Series({way: 100 * history["after"].iloc[-1] for way, history in rescued.items()},
          name="4:4:4, accuracy (%)").round(1).to_frame()

# %% [markdown]
# And with patience: the best way for 6:6:6 and 4:4:4, trained on after all levels are quantised, at
# a rate that falls to zero. Measured on all test images, by `QuantizedConv2D`, whose sums are exact.

# %%
LONG = {"6:6:6": 0.5, "4:4:4": 1.0} if full else {"6:6:6": 0, "4:4:4": 0}
everything = dataclasses.replace(source, x_val=data.x_test, y_val=data.y_test)
final, table = {}, {"float": {"epochs": 0, "accuracy (%)": 100 * small_float, "lost (points)": 0}}
for resolution, epochs in LONG.items():
    network = runs[resolution, "train, msb a layer"].model
    if epochs:
        recipe = training.Recipe(epochs, 4 * RATE, schedule="triangle", warm_up=0.1,
                                 optimizer=training.momentum_sgd)
        training.fit(network, source, recipe, SEED + 100)
    accuracy = training.accuracy(network, everything)
    final[resolution] = network
    table[resolution] = {"epochs": epochs + len(names) * EPOCHS, "accuracy (%)": 100 * accuracy,
                         "lost (points)": 100 * (small_float - accuracy)}
pd.DataFrame.from_dict(table, orient="index").round(2).rename_axis("bits")

# %% [markdown]
# ## 9 · One job of the engine
#
# Now the hardware. The engine has no floating point, and it does not sum up a whole convolution at
# once: one *job* adds one input channel $b$ to an output map, and the map lies in memory as 16-bit
# words between two jobs. With $q_f$ the difference between the fractional bits of the products and
# those of the words,
#
# $$S = \sum_{i,j} w_{ij}\, x_{b,\,r+i,\,c+j}, \qquad
#   y \leftarrow \operatorname{saturate}_{16}\Bigl(\bigl((y \ll q_f) + S + 2^{q_f-1}\bigr) \gg q_f\Bigr).$$
#
# The $2^{q_f-1}$ is the rounding bit: GAP8 adds it, Fulmine, built before, does not and rounds down.
# The first $y$ is the bias. So a layer with 64 input channels rounds 64 times, not once.
#
# By hand: $y = 100$, $S = 37$, $q_f = 4$: $(1600 + 37 + 8) \gg 4 = 1645 \gg 4 = 102$; without the
# rounding bit $1637 \gg 4 = 102$, too, but for $S = 8$ they differ: $101$ and $100$.


# %% [markdown]
# ### Your turn: a job


# %% tags=["exercise"] exercise="job"
def job(y, pixels, weights, qf, half_up):
    """The 16-bit word (int) after one job: y and all codes are Python or NumPy integers."""
    ### BEGIN SOLUTION
    total = (int(y) << qf) + int(np.sum(np.asarray(pixels, np.int64) * weights))
    if half_up and qf > 0:
        total += 1 << (qf - 1)
    return max(-32768, min(32767, total >> qf))
    ### END SOLUTION


# %% tags=["check"] exercise="job" points=4
with check(
    "a job",
    exercise="job",
    what="the examples by hand, saturation, then 300 random windows against the emulator.",
    why="these few operations, repeated, are all that the engine does.",
) as c:
    one = np.ones((1, 1), int)
    c.equal("rounded", job(100, 37 * one, one, 4, True), 102)
    c.equal("a half goes up", job(100, 8 * one, one, 4, True), 101, misconceptions=[
        (100, "Add 1 << (qf − 1) before the shift."),
    ])
    c.equal("rounded down", job(100, 8 * one, one, 4, False), 100)
    c.equal("below zero", job(0, -1 * one, one, 4, False), -1, misconceptions=[
        (0, "An arithmetic shift rounds towards minus infinity: >>, not a division."),
    ])
    c.equal("no shift", job(5, 2 * one, 3 * one, 0, True), 11, misconceptions=[
        (12, "Without a shift nothing is rounded: 2^(0−1) is no integer."),
    ])
    c.equal("saturation", job(32000, 1000 * one, one, 0, True), 32767, misconceptions=[
        (33000, "The word has 16 bits: clip to −32768 … 32767."),
        (-32536, "It saturates, it does not wrap round."),
    ])
    random = np.random.default_rng(2)
    for half_up, engine in [(True, GAP8), (False, GAP8.with_(half_up=False))]:
        same = True
        for _ in range(150):
            qf = int(random.integers(0, 12))
            pixels = random.integers(-2000, 2000, (3, 3, 1))
            filters, y0 = random.integers(-128, 128, (3, 3, 1, 1)), int(random.integers(-30000, 30000))
            theirs = hwce.conv2d(pixels, filters, np.array([y0]), engine, qf=qf).y.item()
            same &= job(y0, pixels[..., 0], filters[..., 0, 0], qf, half_up) == theirs
        c.that(f"150 windows, {'half up' if half_up else 'down'}", bool(same),
               otherwise="your word differs from the emulator's for some window.")

# %% [markdown]
# One output of the network with 16-bit weights, channel by channel. (In JupyterLab engine, weights
# and job can be chosen.)

# %%
sixteen = progressive.quantized(small, small_plan("16:8:8", "least error"))
of_sixteen = Plan.from_layers(sixteen, GAP8)
widgets.engine_window(hwce.window(sixteen, validated.x_test[0], of_sixteen, "fire4/expand3x3", 4, 4, 5))

# %% [markdown]
# What the figure says: the pixels of a channel times its weights make a sum, which moves the word up
# or down. GAP8's rounding bit keeps the word within a few steps of the exact sum; Fulmine loses half
# a step at every job and never wins one back. It is rounding down once more, but now of words with
# 16 bits, whose step is small.
#
# ## 10 · The whole network on the engine
#
# First the promise: with *ideal* accumulation, one rounding at the end, the emulator must give the
# very codes of the network that was trained, in every layer.

# %%
SHOWN = len(data.x_test) if full else 100
tests, their = data.x_test[:SHOWN], data.y_test[:SHOWN]
tested = dataclasses.replace(source, x_val=tests, y_val=their)
four = final["4:4:4"]
convolutions = [name for names in graph.levels(four).values() for name in names]
ideal = hwce.run(four, tests[:64], Plan.from_layers(four, IDEAL), keep=convolutions)
twin = tf.keras.Model(four.input, [four.get_layer(name).output for name in convolutions])(tests[:64])
differing = [np.sum(ideal.activations[name].values != codes.numpy())
             for name, codes in zip(convolutions, twin)]
print(f"{sum(codes.numpy().size for codes in twin):,} codes of {len(convolutions)} convolutions, "
      f"{sum(differing)} of them differ")

# %% [markdown]
# The real engines round and saturate after every channel. What that changes, layer by layer, if each
# gets the same inputs, in the network with 16-bit weights:

# %%
table = {}
for engine in ("gap8", "fulmine"):
    found = hwce.differences(sixteen, tests[:64], of_sixteen.with_config(hwce.preset(engine)))
    found = found.set_index("layer")
    table["", "unit"], table["", "roundings"] = found["unit"], found["roundings"]
    for column in ("differing (%)", "mean (steps)", "largest (steps)"):
        table[engine, column] = found[column]
pd.DataFrame(table).round(2)

# %% [markdown]
# 1×1 convolutions have no mode of their own on the engine: the processor's cores compute them, with
# 32-bit sums and one rounding, so that they cannot differ. In the 3×3 ones few outputs differ, most
# of them by one step of the output's eight bits, and more where a word saturated on its way. In the
# 4-bit network nothing differs at all:

# %%
shift = hwce.differences(four, tests[:64], Plan.from_layers(four, GAP8)).set_index("layer")
shift[["unit", "roundings", "shift (bits)", "differing (%)"]].loc[convolutions[:6]]

# %% [markdown]
# Products of 4-bit numbers are so small that a 16-bit word holds their sums without a shift: there is
# nothing to round before the output is brought to four bits, once.
#
# And the bill. Three networks with 16-, 8- and 4-bit weights: trained as above, and the float one
# just rounded to 16:8:8. (With 16-bit inputs, too, the 32-bit sums on the cores could overflow.)

# %%
on_engine = {
    "16-bit weights": (sixteen, "16:8:8"),
    "8-bit weights": (runs[GRID[0], "train, msb a layer"].model, GRID[0]),
    "4-bit weights": (final["4:4:4"], "4:4:4"),
}
reports, bill = {}, {}
with warnings.catch_warnings():
    # Six bits lie in 8-bit containers: said below.
    warnings.simplefilter("ignore", hwce.EmulatedPrecisionWarning)
    for name, (network, resolution) in on_engine.items():
        report = reports[name] = hwce.run(network, tests, Plan.from_layers(network, GAP8))
        totals = report.totals
        accuracy = np.mean(training.ranks(report.outputs, their) < 1)
        bill[f"{name} ({resolution})"] = {
            "in Keras (%)": 100 * training.accuracy(network, tested),
            "on the engine (%)": 100 * accuracy,
            "saturations an image": totals["saturations"] / SHOWN,
            "cycles": totals["cycles"], "energy, lowest (µJ)": totals["energy, lowest (µJ)"],
            "energy, highest (µJ)": totals["energy, highest (µJ)"],
            "weights (bytes)": totals["weights (bytes)"],
            "weights, ideal (bytes)": totals["weights, ideal (bytes)"],
        }
        lab.record(f"{resolution} on the engine", {
            "accuracy": accuracy, "cycles": totals["cycles"],
            "energy_lowest": totals["energy, lowest (µJ)"],
            "energy_highest": totals["energy, highest (µJ)"],
            "packed_bytes": totals["weights (bytes)"],
            "saturations": totals["saturations"] / SHOWN,
        }, model=SMALL)
print(f"{hwce.BASIS}; accuracy on {SHOWN:,} test images")
pd.DataFrame(bill).T.round(1)

# %%
four_bits = reports["4-bit weights"]
files_written = four_bits.to_json(lab.path("squeezenet_engine.json"))
columns = ["layer", "unit", "filter", "lanes", "MACs", "cycles", "energy, lowest (µJ)",
           "energy, highest (µJ)", "weights (bytes)", "L1 (bytes)", "saturations"]
four_bits.table.dropna(subset=["MACs"])[columns].set_index("layer").round(2)

# %%
costs = {name: report.table.dropna(subset=["MACs"]).set_index("layer")["cycles"]
         for name, report in reports.items()}
plots.show(
    plots.lines(short(pd.DataFrame(costs)) / 1000, x="convolution", y="thousand cycles an image"),
    alt="Cycles of each convolution with 16-, 8- and 4-bit weights: the 3×3 convolutions get cheaper "
    "with narrower weights, the 1×1 ones, on the cores, do not.",
)

# %% [markdown]
# What table and figure say. Four weights of 4 bits share a word, so that the engine computes four
# output maps at once from the *same 16-bit pixels*: narrow weights save time and memory for weights,
# and nothing on activations. Eight bits save memory alone: GAP8's own 3×3 mode computes three maps at
# once with 16-bit weights, and the vector mode two with 8-bit ones (an assumption of this emulator).
# Only the 3×3 layers gain; the 1×1 ones stay on the cores: the network that was made for few
# parameters is not one that was made for this engine. The energy is a range, from published pJ a
# multiplication of four chips, since nobody has measured this network on any; it counts what runs on
# the engine. And a 6-bit network, the thesis's best, costs what an 8-bit one does: **no version of
# the engine has a 6-bit mode**.

# %%
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    six = hwce.run(final["6:6:6"], tests[:16], Plan.from_layers(final["6:6:6"], GAP8))
print(next(str(w.message) for w in said if w.category is hwce.EmulatedPrecisionWarning))
print(f"6:6:6: {six.totals['cycles']:,} cycles, {six.totals['weights (bytes)']:,} bytes of weights")

# %% [markdown]
# The trained networks as files, rounding and all, and measured from the files:

# %%
written = [("6:6:6", "squeezenet_cifar10_6bit.tflite"), ("4:4:4", "squeezenet_cifar10_4bit.tflite")]
for resolution, file in written:
    lab.write(file, post_training.convert(portable(final[resolution]), "float"))
    lab.measure(f"{resolution}, train, msb a layer", lab.path(file), model=SMALL)
for (resolution, way), run in runs.items():
    if way != "train, msb a layer" or resolution not in final:
        lab.record(f"{resolution}, {way}", {"accuracy": run.history["after"].iloc[-1]}, model=SMALL)
report = lab.report()
report[report["bytes"].notna()].dropna(axis=1, how="all")

# %% [markdown]
# ## Published against measured
#
# The thesis trained on ImageNet for weeks and we on CIFAR-10 for minutes: compare what is *lost*
# against the float network of the same row's source. Without training, on its own task:

# %%
theirs = measure.published("10").set_index("technique")["value"]
rows = []
for technique, ours in {
    "kernels clipped to ±2^0": clipped["±2^0"], "kernels clipped to ±2^-1": clipped["±2^-1"],
    "kernels clipped to ±2^-2": clipped["±2^-2"],
    "kernels of 16 bits": rounded.loc[16, "down"], "kernels of 8 bits": rounded.loc[8, "down"],
    "kernels of 4 bits": rounded.loc[4, "down"],
    **{f"{r}, static": all_static.loc[r, "one msb, down"]
       for r in ("16:16:16", "16:8:8", "8:8:8", "8:6:6")},
}.items():
    rows.append({"technique": technique, "thesis (%)": theirs[technique], "here (%)": ours,
                 "thesis lost": theirs["float"] - theirs[technique], "here lost": big_float - ours})
pd.DataFrame(rows).set_index("technique").round(1)

# %%
lab.compare("8:8:8, lock, one msb", "8:6:6, lock, one msb", "8:8:8, lock, msb a layer",
            "8:6:6, lock, msb a layer", "8:6:6, train, msb a layer", "6:6:6, lock, msb a layer",
            "6:6:6, train, msb a layer", "4:4:4, lock, msb a layer", "4:4:4, train, msb a layer",
            "8:8:8, lock", "8:6:6, lock", size="gzip (bytes)")

# %% [markdown]
# Rounded down, with one range for all, we lose what the thesis lost. What made ours better is said
# in three lines: rounding to the nearest takes the shift away; exponents of least error spend the
# codes where the values are; and ten classes are easier than a thousand, so that a network has more
# to spare. The first two are why 4:4:4 learns at all.

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="floor_and_bits" points=5
# **Why does the network survive 8-bit kernels that are rounded to the nearest, and not those that
# are rounded down, though the largest error of a weight only doubles?**
#
# <!-- BEGIN SOLUTION -->
# Rounded to the nearest, errors have both signs and cancel in a sum over hundreds of products.
# Rounded down, all of them have one sign: an output moves by −q/2 times the sum of its inputs, which
# are not negative behind a ReLU, so the shift grows with the number of inputs and is the same for all
# filters of a layer. Adding half a step to every weight brings the accuracy back, though every
# weight still has eight bits.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="lock_or_train" points=4
# **In which levels does quantise-and-lock lose most, and why does the last level's phase bring
# nothing back?**
#
# <!-- BEGIN SOLUTION -->
# At 4:4:4 with one msb for all, when fire6 is quantised; it does not quite come back, since what is
# locked cannot adapt any more, and in the last phase nothing is left to train. With an msb for each
# layer, from fire7 on: 77.2 % at the end, where training everything reaches 81.6 %. At 6:6:6 there is
# nothing to win. In the thesis, with ranges that cost more, training everything won by far (44.5
# against 3.97 %).
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="collapse" points=5
# **A colleague's 4-bit network reads nothing after 100 epochs, and he wants to train for 1,000. What
# do you measure first, and what do you change if you find what we found?**
#
# <!-- BEGIN SOLUTION -->
# The share of channels that are zero for every image, layer by layer, and the gradient at the first
# layer. If everything is silent from some layer on, the gradient before it is exactly zero and no
# number of epochs changes anything. Then round to the nearest, and choose the range of each layer by
# the error, so that its kernels have codes on both sides of zero.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="engine_gain" points=4
# **By how much do cycles and bytes of weights fall from 16- to 4-bit weights, layer by layer? Why not
# by four?**
#
# <!-- BEGIN SOLUTION -->
# Weights by 3.1 (969 to 311 kB), less than four where a filter or a group of output maps does not fill
# its words; cycles by a quarter (1.52 to 1.16 million). Only the 3×3 layers get faster, and from three
# maps at once to four, because pixels stay 16 bits wide; loading weights, filling line buffers and
# the 1×1 layers on the cores cost the same.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - A fire module has a sixth to a twelfth of the parameters of the 3×3 convolution that it stands
#   for.
# - A fixed-point format is a number of bits and an exponent. Choose the exponent for each layer, and
#   by the error.
# - Rounding down shifts every sum behind a ReLU. It made 8 bits look impossible, and 4 bits
#   untrainable.
# - Quantise while you train, and leave what is quantised free to move.
# - Look at signals and gradients before you train longer.
# - The engine rounds and saturates after every input channel; narrow weights pay off in 3×3 layers,
#   and not in the activations.
#
# **Further reading:** F. N. Iandola et al., *SqueezeNet*, arXiv:1602.07360 (2016) · F. Conti and
# L. Benini, *A ultra-low-energy convolution engine for fast brain-inspired vision in multicore
# clusters*, DATE 2015 · P. J. Pereira Vieito, *Convolutional neural networks for efficient object
# detection on ultra low-power platforms*, master's thesis (2017) · E. Flamand et al., *GAP-8: A
# RISC-V SoC for AI at the edge of the IoT*, ASAP 2018 · M. Nagel et al., *A white paper on neural
# network quantization*, arXiv:2106.08295 (2021).
#
# **Where to go on:** `labkit net --help` does all of this on your own images.

# %% tags=["finish"]
lab.finish()
