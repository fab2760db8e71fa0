# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 11 · Which layers matter?
#
# Not every layer of a network needs as many bits as the next one. A thesis of 2022 says how to find out
# which: estimate how many dimensions the data has before and after each layer, and give many bits to
# the layers that change it. Its network is small enough for something that no one can do with a large
# one: here **all** plans are tried, and every way to guess which layers matter is held against what
# really happened. On the way, most of what the labs before have taught is used once more, on one
# network, two tasks and several seeds.
#
# **You will be able to**
#
# - read a table of accuracies and say which of its differences 2,400 test images can tell;
# - quantise weights to one and two bits, and notice when two bits are one;
# - estimate an intrinsic dimension from two nearest neighbours, and say when not to believe it;
# - compute a binary layer with exclusive or and counting, and hold it against Keras;
# - estimate the trace of a Hessian that is never written down;
# - judge a measure of sensitivity by rank correlation, with an interval and with controls;
# - design a network backwards from its number of bytes.
#
# **Time:** 120 minutes of work; the computer takes 1 minute (`quick`) or 30 (`full`).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved; `quantnet.tflite`, the network as you trained it; and
# `quantnet_tiny.tflite`, an integer file of at most 50,000 bytes, input and output included, that tells
# cats from dogs. The course scores the second by its size and asks that it be within a point of the
# first.

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import functools
import itertools
import time
import warnings

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import stats

from labkit import dimension, measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import (
    clustering,
    forwards,
    hessian,
    kernels,
    minimal,
    mixed_precision,
    post_training,
    pruning,
    quantization_aware,
    significance,
)
from labkit.compress.mixed_precision import Precision, packed
from labkit.compress.mixed_precision.layers import input_codes, weight_codes
from labkit.datasets import cifar10, cifar10_pairs
from labkit.lab import Lab
from labkit.models import graph, quantnet
from labkit.plots.style import axes_of

lab = Lab("11_which_layers_matter", PROFILE, DATA, SEED, OUT, dataset=cifar10_pairs.CAT_DOG,
          headline="quantnet_tiny.tflite")
data = lab.dataset
full = PROFILE == "full"
CAT_DOG, HORSE_FROG, ROTATED = "QuantNET cat/dog", "QuantNET horse/frog", "QuantNET rotated cat/dog"
tasks = {CAT_DOG: data,
         HORSE_FROG: cifar10_pairs.HORSE_FROG.load(DATA, quick=not full, seed=0)}
LAYERS = ["conv1", "conv2", "linear1", "linear2", "output"]
INNER = LAYERS[1:-1]
warnings.simplefilter("ignore", dimension.DimensionWarning)  # section 7 is about what it says
warnings.simplefilter("ignore", stats.ConstantInputWarning)  # plans that come out all alike


def answers(network, x):
    """What a Keras model, or a file as bytes, makes of images: (N, outputs)."""
    if isinstance(network, bytes):
        return measure.TFLiteModel(network).predict(x)
    return np.concatenate([network(x[i : i + 256], training=False) for i in range(0, len(x), 256)])


def right_of(network, task=data):
    """Bool (N,): which test images of a task a Keras model, or a file, gets right."""
    found = answers(network, task.x_test)
    classes = found[:, 0] > 0.5 if found.shape[1] == 1 else found.argmax(axis=1)
    return classes == task.y_test


def fitted(network, task, epochs, rate, seed=SEED, **changes):
    """The network, trained on a task by so many epochs of the lab's recipe at another rate."""
    recipe = quantnet.RECIPES[PROFILE].but(epochs=epochs, learning_rate=rate, **changes)
    training.fit(network, task, recipe, seed)
    return network


# %% [markdown]
# ## 1 · A network, counted before it is trained
#
# *QuantNET*: two convolutions of 3 × 3 with 32 and 64 filters, dense layers of 128 and 16, and one
# output, the probability of the second class. The thesis gives the parameters of each layer: 896,
# 18,496, 534,416, 2,064 and 17. It does not say whether there is any pooling.
#
# A dense layer of $m$ units behind $n$ numbers has $n\,m + m$ parameters. By hand: 2,064 parameters and 16
# units are $(2064 - 16)/16 = 128$ inputs, and so it should be, behind a layer of 128.


# %% [markdown]
# ### Your turn: how many inputs?


# %% tags=["exercise"] exercise="inputs_of"
def inputs_of(parameters, units):
    """Inputs (int) of a dense layer with biases; None if no number of inputs gives these parameters."""
    ### BEGIN SOLUTION
    inputs, rest = divmod(parameters - units, units)
    return None if rest else inputs
    ### END SOLUTION


# %% tags=["check"] exercise="inputs_of" points=2
with check(
    "inputs",
    exercise="inputs_of",
    what="the example by hand, layers that Keras counts, and the printed 534,416.",
    why="a figure that no network can have is a misprint, and says which one was meant.",
) as c:
    c.equal("2,064 of 16 units", inputs_of(2064, 16), 128, misconceptions=[
        (129, "A bias for each unit is among them."),
    ])
    for inputs, units in ((10, 7), (300, 1), (4097, 3)):
        layer = tf.keras.layers.Dense(units)
        layer.build((None, inputs))
        c.equal(f"Keras's {inputs} to {units}", inputs_of(layer.count_params(), units), inputs)
    c.equal("534,416 of 128", inputs_of(534_416, 128), None, misconceptions=[
        (4174, "It does not come out: 4,174 inputs make 534,400 parameters. Say None."),
        (4174.125, "A layer has a whole number of inputs, or it is not this layer."),
    ])

# %% [markdown]
# So 534,416 is a misprint. One digit away lies a number that comes out:

# %%
candidates = {int(text): inputs_of(int(text), 128)
              for i in range(6) for digit in "0123456789"
              for text in ["534416"[:i] + digit + "534416"[i + 1:]] if text[0] != "0"}
print({parameters: inputs for parameters, inputs in candidates.items() if inputs})
untrained = quantnet.build()
untrained.count_params()

# %% [markdown]
# 4,096 = 8 · 8 · 64 inputs are what *two* poolings leave of 32 × 32 pixels; the other numbers of inputs
# are no multiple of 64 channels. That is the network here: 545,889 parameters, 96 % of them in one
# layer.
#
# **How much smaller does a plan make it?** The thesis multiplies each layer's parameters by its bits. By
# hand, two layers of 10 and 90 parameters, the second one in 2 bits: $100 \cdot 32$ bits become
# $10 \cdot 32 + 90 \cdot 2 = 500$, $6.4$ times less. (That is *not* the mean of 1 and 16.)


# %% [markdown]
# ### Your turn: times smaller


# %% tags=["exercise"] exercise="times_smaller"
def times_smaller(parameters, bits):
    """How many times a plan makes a network smaller (float).

    parameters: of each layer by its name. bits: of some layers by name; all others have 32.
    """
    ### BEGIN SOLUTION
    planned = sum(count * bits.get(name, 32) for name, count in parameters.items())
    return 32 * sum(parameters.values()) / planned
    ### END SOLUTION


# %% tags=["check"] exercise="times_smaller" points=3
parameters = {name: untrained.get_layer(name).count_params() for name in LAYERS}
with check(
    "times smaller",
    exercise="times_smaller",
    what="two layers by hand, the thesis's table 4.7, and `mixed_precision.reduction`.",
    why="these ratios are exact: with them a table can be checked to the last digit.",
) as c:
    c.close("by hand", times_smaller({"a": 10, "b": 90}, {"b": 2}), 6.4, misconceptions=[
        (8.5, "Bits add up, ratios do not: add the bits of all layers first."),
        (100 * 32 / 180, "Layers that the plan does not name have 32 bits."),
        (500 / 3200, "The other way round: the larger by the smaller."),
    ])
    for printed, bits in ((30.42, dict.fromkeys(INNER, 1)), (14.42, {"linear1": 1}),
                          (15.87, {"conv2": 1, "linear1": 2, "linear2": 2}), (1.03, {"conv2": 1})):
        c.close(f"{printed} ×", times_smaller(parameters, bits), printed, tolerance=5e-4 if printed > 2
                else 5e-3)
    c.close("labkit's", times_smaller(parameters, {"conv1": 4, "linear1": 3}), mixed_precision.reduction(
        mixed_precision.memory(untrained, {"conv1": 4, "linear1": 3}), "published (bits)"))
print(f"conv1 alone in one bit: {times_smaller(parameters, {'conv1': 1}):.4f} ×; the thesis has 1.01")

# %% [markdown]
# All ratios of the thesis come out but one, which should be 1.00. And two things can be read off before
# any training: whatever is done to the convolutions, the size hardly moves; and whatever is done to the
# first dense layer, it is the size.
#
# ## 2 · What 2,400 images can tell
#
# The thesis compares methods by accuracies such as 65.6 and 66.0 %, on 2,400 test images. Two networks
# are asked about the *same* images, so their difference is a mean over images, of +1 where only the
# first is right, −1 where only the second is, and 0 where they agree. It has the standard error of a
# mean, $s/\sqrt N$.
#
# By hand: right are $(1, 1, 0, 1)$ and $(1, 0, 0, 1)$. The differences are $(0, 1, 0, 0)$, their mean is
# $25$ points, their standard deviation $43.3$, and the standard error $43.3/\sqrt 4 = 21.7$ points.


# %% [markdown]
# ### Your turn: a difference and its error


# %% tags=["exercise"] exercise="paired"
def paired(first, second):
    """Accuracy of the first less that of the second, and its standard error, both in points.

    first, second: bool (N,), which images each gets right; the same images. np.std as it is.
    """
    ### BEGIN SOLUTION
    difference = 100 * (np.asarray(first, float) - np.asarray(second, float))
    return difference.mean(), difference.std() / np.sqrt(len(difference))
    ### END SOLUTION


# %% tags=["check"] exercise="paired" points=4
with check(
    "paired",
    exercise="paired",
    what="four images by hand, two networks that agree, and 3,000 simulated test sets.",
    why="every comparison of this lab, and the verdict on every claim, goes through it.",
) as c:
    one, other = np.array([1, 1, 0, 1], bool), np.array([1, 0, 0, 1], bool)
    difference, error = paired(one, other)
    c.close("difference", difference, 25, misconceptions=[
        (0.25, "In points: per cent."),
        (-25, "The first less the second."),
    ])
    c.close("its standard error", error, 100 * np.sqrt(3) / 8, misconceptions=[
        (100 * np.sqrt(0.1875 / 4 + 0.25 / 4), "That is for two different sets of images: here most of "
         "what makes an image hard is the same for both."),
        (100 * np.sqrt(3) / 4, "That is how single images scatter; a mean of N scatters √N less."),
    ])
    c.close("the same answers", paired(one, one), (0, 0))
    random = np.random.default_rng(0)
    found = []
    for _ in range(3000):
        first = random.random(200) < 0.7
        found.append(paired(first ^ (random.random(200) < 0.1), first))
    c.between("spread over the error that you give", np.std([d for d, _ in found])
              / np.mean([e for _, e in found]), 0.95, 1.05)

# %% [markdown]
# **Predict.** Unpaired, on 2,400 images of which two thirds are right, each of the two accuracies has a
# standard error of 0.97 points. What do the thesis's tables for cats
# and dogs show?

# %%
my_guess = predict(
    "decidable",
    "of the accuracies that are printed beside the float network's 66.00 %, how many differ from it by more than "
    "two standard errors?",
    choices=["none", "up to five", "more than five"],
    answer=None,
)

# %%
published = measure.published().query(f"model == '{CAT_DOG}' and metric == 'accuracy'")
published = published.set_index("technique")["value"].groupby("technique").first()
base = published["float"] / 100
error = 100 * np.sqrt(2 * base * (1 - base) / 2400)
told = (published["float"] - published).drop("float").sort_values(ascending=False)
beyond = int((told.abs() > 2 * error).sum())
reveal("decidable", my_guess, "none" if beyond == 0 else "up to five" if beyond <= 5 else
       "more than five", f"{beyond} of {len(told)}, if the two networks erred independently: two standard "
       f"errors are {2 * error:.1f} points. Paired it may be a third of that, but nobody printed it.")
pd.DataFrame({"below float (points)": told, "standard errors": told / error}).head(5).round(2)

# %% [markdown]
# The thesis says that its errors are means of 20 runs. That takes the scatter of *training* out, not that
# of the test images, which are the same in all runs. So: several seeds, and pairs.

# %%
floats, histories = {}, {}
for name, task in tasks.items():
    if name == HORSE_FROG and not full:
        continue
    for seed in lab.seeds:
        network = lab.trained(quantnet, seed) if task is data else training.fitted(
            lab.out, quantnet.build(name="quantnet_horse_frog"), task, quantnet.RECIPES[PROFILE], seed)
        floats[name, seed] = network.model
        histories[name, seed] = network.history


def written(technique, content, task=CAT_DOG, seed=SEED, label=None, **options):
    """Write a file, measure it on its task's test images, record it; which images it gets right."""
    name = f"{label or task} {technique}".translate(str.maketrans({"/": "_", " ": "_", ",": "", "≤": "at_most"}))
    path = lab.write(options.pop("file", f"sweep/11_{name}.tflite"), content, seed, **{"hand_in": False} | options)
    on = tasks[task]
    if on is data and label is None:
        lab.measure(technique, path, seed, model=task)
    else:
        figures = measure.evaluate(path, on.x_test, on.y_test, lab.metrics)
        lab.record(technique, figures, model=label or task, seed=seed)
    return right_of(content, on)


right = {}  # of each task, technique and seed: which test images are read
for (name, seed), network in floats.items():
    options = {"file": "quantnet.tflite", "hand_in": True} if name == CAT_DOG else {}
    right[name, "float", seed] = written("float", post_training.convert(network, "float"), name, seed,
                                         **options)


def against_float(technique, task=CAT_DOG):
    """Mean accuracy (%), points lost against float, and twice the paired error, over the seeds."""
    seeds = [s for s in lab.seeds if (task, technique, s) in right]
    pairs = [paired(right[task, technique, s], right[task, "float", s]) for s in seeds]
    return {
        "seeds": len(seeds),
        "accuracy (%)": 100 * np.mean([right[task, technique, s].mean() for s in seeds]),
        "against float (points)": np.mean([d for d, _ in pairs]),
        # Seeds share the test images: their errors are averaged, not divided by √seeds.
        "± 2 s.e. (points)": 2 * np.mean([e for _, e in pairs]),
    }


pd.DataFrame({
    (name, seed): {"training (%)": 100 * histories[name, seed]["accuracy"][-1],
                   "test (%)": 100 * right[name, "float", seed].mean()}
    for name, seed in floats}).T.rename_axis(["network", "seed"]).round(2)

# %% [markdown]
# FLOATS_SAY

# %% [markdown]
# ## 3 · After the training, or in it
#
# Tables 4.2 and 4.3. Post-training quantisation in all of TFLite's ways, then QAT (lab 04). **The control**
# for QAT is as many epochs more without quantisation.

# %%
MODES = {"int8": "int8", "dynamic range": "dynamic_range", "float16": "float16", "16x8": "int16x8"}
MORE = {"epochs": {"quick": 0.25, "full": 3}[PROFILE], "rate": 2e-4}
images = {name: task.representative(300 if full else 100, seed=SEED) for name, task in tasks.items()}


def qat(network, task, seed=SEED):
    """The int8 file of a network after a little QAT on a task."""
    aware = quantization_aware.quantize(network)
    quantization_aware.calibrate(aware, images[task])
    return quantization_aware.convert(fitted(aware, tasks[task], **MORE, seed=seed), batch=1)


for (name, seed), network in floats.items():
    for technique, mode in MODES.items():
        if full or technique == "int8":
            content = post_training.convert(network, mode, images[name] if "int" in mode else None)
            right[name, technique, seed] = written(technique, content, name, seed)
    if full:
        right[name, "QAT int8", seed] = written("QAT int8", qat(network, name, seed), name, seed)
        longer = fitted(graph.copy_of(network), tasks[name], **MORE, seed=seed)
        right[name, "as long, float", seed] = written(
            "as long, float", post_training.convert(longer, "float"), name, seed)
pd.DataFrame({(task, technique): against_float(technique, task)
              for task, technique in dict.fromkeys((t, k) for t, k, _ in right)}
             ).T.rename_axis(["network", "file"]).round(2)

# %% [markdown]
# QUANTISED_SAYS
#
# **Transfer.** A network for cats and dogs is trained on for horses and frogs, or for cats and dogs that are
# turned, mirrored and zoomed. What the thesis does not show is the control: the same few epochs from nothing.

# %%
my_guess = predict(
    "transfer",
    "horses and frogs, a few epochs: the network that knew cats and dogs, against one that knew nothing",
    choices=["is worse: it has to unlearn", "is as good within two standard errors", "is better"],
    answer=None,
)

# %%
if full:
    tasks[ROTATED] = cifar10_pairs.ROTATED_CAT_DOG.load(DATA, seed=0)
    images[ROTATED] = tasks[ROTATED].representative(300, seed=SEED)
A_FEW = {"epochs": {"quick": 0.5, "full": 4}[PROFILE], "rate": 1e-3}
rows, moved = {}, {}
for name in [task for task in tasks if task != CAT_DOG]:
    label = f"{name} after cat/dog"
    moved[name] = fitted(graph.copy_of(floats[CAT_DOG, SEED]), tasks[name], **A_FEW)
    scratch = fitted(quantnet.build(), tasks[name], **A_FEW)
    read = {"without any training": right_of(floats[CAT_DOG, SEED], tasks[name]),
            "the same epochs from nothing": right_of(scratch, tasks[name]),
            "float": written("float", post_training.convert(moved[name], "float"), name, label=label)}
    for technique, mode in MODES.items():
        if full:
            content = post_training.convert(moved[name], mode, images[name] if "int" in mode else None)
            read[technique] = written(technique, content, name, label=label)
    if full:
        read["QAT int8"] = written("QAT int8", qat(moved[name], name), name, label=label)
    for technique, mine in read.items():
        difference, error = paired(mine, read["float"])
        rows[name, technique] = {"accuracy (%)": 100 * mine.mean(),
                                 "against transfer, float (points)": difference, "± 2 s.e.": 2 * error}
transfer = pd.DataFrame(rows).T.rename_axis(["to", "network"])
gain, error = -transfer.loc[(HORSE_FROG, "the same epochs from nothing")].to_numpy()[1:]
reveal("transfer", my_guess,
       "is as good within two standard errors" if abs(gain) <= abs(error) else
       "is better" if gain > 0 else "is worse: it has to unlearn", f"{gain:+.1f} ± {abs(error):.1f} points.")
transfer.round(2)

# %% [markdown]
# TRANSFER_SAYS

# %% [markdown]
# ## 4 · One layer at a time, down to one bit
#
# Eight bits are easy on every layer. With two or one they are not, and layers begin to differ. The
# thesis's quantiser: take the mean off the weights, clip them to $[-1, 1]$, round to $2^b$ evenly spaced
# values *without a zero*, and scale by α. For values $q$ the α of least squared error is
#
# $$\alpha = \frac{\sum w\,q}{\sum q^2}, \qquad\text{for one bit } \alpha = \operatorname{mean}|w|
# \quad\text{(XNOR-Net)}.$$
#
# By hand: $w = (0.7,\ 0.1,\ -0.3,\ -0.5)$ has the mean 0. In one bit $q = (1, 1, -1, -1)$ and $\alpha =
# 0.4$. In two bits the values are $-1, -\tfrac13, \tfrac13, 1$; $q = (1, \tfrac13, -\tfrac13,
# -\tfrac13)$, $\alpha = 1.0/1.333 = 0.75$, and the weights become $(0.75, 0.25, -0.25, -0.25)$.


# %% [markdown]
# ### Your turn: few bits


# %% tags=["exercise"] exercise="few_bits"
def few_bits(w, bits):
    """Weights w of any shape in 2^bits values: less their mean, clipped at ±1, rounded, scaled."""
    w = w - w.mean()
    ### BEGIN SOLUTION
    steps = 2**bits - 1
    q = 2 * np.round(steps * (np.clip(w, -1, 1) + 1) / 2) / steps - 1
    if bits == 1:
        q = np.where(w >= 0, 1.0, -1.0)  # np.round takes a half to the even side
    return q * np.sum(w * q) / np.sum(q**2)
    ### END SOLUTION


# %% tags=["check"] exercise="few_bits" points=5
with check(
    "few bits",
    exercise="few_bits",
    what="the example by hand, weights with a mean and beyond ±1, and `forwards.full_range`.",
    why="two plans of the thesis are made of these values.",
) as c:
    by_hand = np.array([0.7, 0.1, -0.3, -0.5])
    c.close("one bit", few_bits(by_hand, 1), [0.4, 0.4, -0.4, -0.4], misconceptions=[
        ([1, 1, -1, -1], "The scale: α = mean |w|."),
    ])
    c.close("two bits", few_bits(by_hand, 2), [0.75, 0.25, -0.25, -0.25], misconceptions=[
        ([1, 1 / 3, -1 / 3, -1 / 3], "The scale α."),
        ([0.4, 0.4 / 3, -0.4 / 3, -0.4 / 3], "mean |w| is the least squares for one bit alone."),
        ([0.7, 0, 0, 0], "Those are three values with a zero; 2² evenly spaced ones have none."),
        ([0.6, 0, 0, -0.6], "Those are three values with a zero; 2² evenly spaced ones have none."),
    ])
    some = np.random.default_rng(0).normal(0.3, 0.8, (40, 30)).astype(np.float32)
    for bits in (1, 2, 3, 4):
        c.close(f"1,200 weights in {bits} bits", few_bits(some, bits),
                forwards.full_range(bits, "unit").quantise(tf.constant(some)), tolerance=1e-4)

# %% [markdown]
# **Predict** before you look at a real layer.

# %%
my_guess = predict(
    "two bits",
    "the trained first dense layer in two bits, clipped at ±1: how many different values has it?",
    choices=["four", "three", "two"],
    answer=None,
)

# %%
kernel = floats[CAT_DOG, SEED].get_layer("linear1").kernel.numpy()
values = {name: np.unique(np.round(quantise(kernel), 6)) for name, quantise in {
    "1 bit": functools.partial(few_bits, bits=1), "2 bits, clipped at ±1": functools.partial(few_bits, bits=2),
    "2 bits, fitted": lambda w: forwards.full_range(2).quantise(tf.constant(w)).numpy()}.items()}
shares = {name: [100 * np.mean(np.isclose(few_bits(kernel, 2), v, atol=1e-6)) for v in found]
          for name, found in list(values.items())[1:2]}
reveal("two bits", my_guess, {2: "two", 3: "three", 4: "four"}[len(values["2 bits, clipped at ±1"])],
       f"weights have a standard deviation of {kernel.std():.3f}, and only what is beyond ±2/3 takes an outer "
       f"value: the shares are {', '.join(f'{s:.2f} %' for s in shares['2 bits, clipped at ±1'])}.")
plots.show(
    plots.rounded_values(kernel.ravel()[::50], {
        "1 bit": few_bits(kernel, 1).ravel()[::50],
        "2 bits, at ±1": few_bits(kernel, 2).ravel()[::50],
        "2 bits, fitted": forwards.full_range(2).quantise(tf.constant(kernel)).numpy().ravel()[::50]},
        "weight of linear1"),
    alt="Histogram of the first dense layer's weights with what one bit, two bits clipped at ±1 and two bits "
    "fitted to their spread make of them: ALT_OF_TWO_BITS",
)

# %% [markdown]
# TWO_BITS_SAY
#
# `mixed_precision.quantize` applies a plan; where nothing else is said, values lie where they fit the spread
# of the weights (`span="fitted"`), and the inputs of a layer, clipped at ±1, have as many bits as its weights.
# What clipping cuts off has no gradient, so `within_one` first divides each layer's outputs by their size
# and multiplies the next layer's weights. Now one layer at a time, as in the thesis's figure 4.2: at once, and
# after a short training.

# %%
SHORT = {"epochs": {"quick": 0.5, "full": 2}[PROFILE], "rate": {"quick": 5e-4, "full": 2e-4}[PROFILE]}
scaled = {key: mixed_precision.within_one(network, images[key[0]]) for key, network in floats.items()}


def mixed(plan, task=CAT_DOG, seed=SEED, train=True):
    """The network of a task in the precision of a plan, trained a little or not at all."""
    network = mixed_precision.quantize(scaled[task, seed], plan)
    if any(precision.inputs < 32 for precision in mixed_precision.plan_of(network).values()):
        network = mixed_precision.within_one(network, images[task])
    return fitted(network, tasks[task], **SHORT, seed=seed) if train else network


exact = right_of(scaled[CAT_DOG, SEED])
rows = {}
for name in LAYERS:
    for bits in (1, 2, 4) if full else (1,):
        weights_only = {name: Precision(bits, inputs=32)}
        rows[name, bits] = {
            "weights alone, at once": paired(right_of(mixed(weights_only, train=False)), exact)[0]}
        if full:
            rows[name, bits] |= {
                "with inputs, at once": paired(right_of(mixed({name: bits}, train=False)), exact)[0],
                "with inputs, trained": paired(right_of(mixed({name: bits})), exact)[0]}
one_layer = pd.DataFrame(rows).T.rename_axis(["layer", "bits"])
one_layer.round(1)

# %%
plots.show(
    plots.lines(one_layer.xs(1, level="bits"), "the layer of one bit", "against float (points)", levels=[0]),
    alt="Points of accuracy against float with one layer of one bit: ALT_OF_ONE_LAYER",
)

# %% [markdown]
# ONE_LAYER_SAYS

# %% [markdown]
# ## 5 · Weights, neurons and bytes
#
# The thesis's figure 4.3: a share of the weights is set to zero, or that share of the neurons, and weights
# win at every share. That they win at the same *share* is what lab 06 found, too.

# %%
my_guess = predict(
    "bytes",
    "at the same size of the file after gzip instead of the same share, without any training",
    choices=["weights still win", "it is a draw", "neurons win"],
    answer=None,
)

# %%
base = floats[CAT_DOG, SEED]
rows = []
for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95) if full else (0.5, 0.9):
    keep = {name: pruning.filter_mask(kernels.prunable(base)[name].numpy(), share).reshape(
        -1, base.get_layer(name).output_shape[-1])[0] for name in LAYERS[:-1]}
    for pattern, network in (
        ("weights", pruning.masked(base, pruning.layer_masks(base, share))),
        ("neurons", pruning.remove_filters(base, keep)),
    ):
        content = post_training.convert(network, "float")
        rows.append({"pattern": pattern, "sparsity (%)": 100 * share, "accuracy (%)": 100 * right_of(content).mean(),
                     "gzip (bytes)": measure.size(content).gzip_bytes})
pruned = pd.DataFrame(rows)
level = 100 * right[CAT_DOG, "float", SEED].mean()
plots.show(plots.over_sparsity(pruned, level), alt="Accuracy over the share of zeros: ALT_OF_SPARSITY")
plots.show(plots.over_size(pruned, level), alt="Accuracy over bytes after gzip: ALT_OF_SPARSITY_BYTES")

# %%
of_weights, of_neurons = (pruned[pruned["pattern"] == p].sort_values("gzip (bytes)") for p in ("weights", "neurons"))
there = of_neurons[of_neurons["gzip (bytes)"].between(*of_weights["gzip (bytes)"].agg(["min", "max"]))]
gap = float((there["accuracy (%)"] - np.interp(there["gzip (bytes)"], of_weights["gzip (bytes)"],
                                               of_weights["accuracy (%)"])).mean())
reveal("bytes", my_guess, "weights still win" if gap < -1 else "it is a draw" if gap < 1 else "neurons win",
       f"neurons are {gap:+.1f} points from weights, mean over {len(there)} sizes that both have.")
pruned.pivot_table(index="sparsity (%)", columns="pattern", values=["accuracy (%)", "gzip (bytes)"]).round(1)

# %% [markdown]
# PRUNING_SAYS

# %% [markdown]
# ## 6 · Clusters, and training that keeps them
#
# Figure 4.4 and tables 4.4, 4.5. Weights of a layer that are alike share a value (lab 05). The thesis takes
# sixteen.

# %%
CLUSTERED = {"epochs": {"quick": 0.25, "full": 2}[PROFILE], "rate": 2e-4}
counts = (2, 4, 8, 16, 32, 64) if full else (16,)
shared, sweep = {}, {}
for count in counts:
    of_layers = {name: min(count, int(np.prod(kernel.shape)) // 2)
                 for name, kernel in kernels.prunable(base).items()}
    shared[count] = clustering.strip(fitted(clustering.cluster(base, of_layers), data, **CLUSTERED))
    content = post_training.convert(shared[count], "float")
    right[CAT_DOG, f"{count} clusters", SEED] = written(f"{count} clusters", content)
    sweep[count] = against_float(f"{count} clusters") | {"gzip (bytes)": measure.size(content).gzip_bytes}
pd.DataFrame(sweep).T.rename_axis("clusters").round(2)

# %%
def values_of(content):
    """Different values that the weights of one output have in a file, the most of each layer."""
    return {name: max(len(np.unique(row)) for row in w.reshape(len(w), -1))
            for name, w in measure.weights(content).items()}


def keeping(network, task=CAT_DOG, seed=SEED, only=None):
    """The int8 file after QAT that keeps the clusters of a network, or of some of its layers."""
    aware = clustering.cluster_preserving(network, only=only)
    quantization_aware.calibrate(aware, images[task])
    return clustering.convert(fitted(aware, tasks[task], **MORE, seed=seed))


files = {"16 clusters": post_training.convert(shared[16], "float")}
files |= {f"16 clusters, {technique}": post_training.convert(
    shared[16], mode, images[CAT_DOG] if "int" in mode else None)
    for technique, mode in MODES.items() if full or technique == "int8"}
if full:
    files["16 clusters, QAT int8"] = qat(shared[16], CAT_DOG)
    files["16 clusters, CQAT int8"] = keeping(shared[16])
rows = {}
for technique, content in files.items():
    if technique != "16 clusters":  # it has been measured
        right[CAT_DOG, technique, SEED] = written(technique, content)
    rows[technique] = against_float(technique) | {"gzip (bytes)": measure.size(content).gzip_bytes}
clusters = pd.DataFrame(rows).T.drop(columns="seeds").rename_axis("file")
clusters.astype({"gzip (bytes)": int}).round(2)

# %% [markdown]
# And do the sixteen values survive? Different weights that one output of a layer has, in the files:

# %%
pd.DataFrame({technique: values_of(files[technique]) for technique in files
              if technique in ("16 clusters", "16 clusters, int8", "16 clusters, QAT int8", "16 clusters, CQAT int8")}).T.set_axis(LAYERS, axis=1)

# %% [markdown]
# CLUSTERS_SAY

# %% [markdown]
# ## 7 · How many dimensions?
#
# 4,096 numbers leave the second convolution for each image; the images do not fill a space of 4,096
# dimensions. How many *do* they take? By **principal components**: how many explain 99 % of the variance.
# That counts straight directions: a circle is two of them. By **two nearest neighbours** (Facco et al.,
# 2017): where points lie evenly on $d$ dimensions, the ratio $\mu = r_2/r_1$ of the distances to the second
# and the first neighbour has the distribution
#
# $$F(\mu) = 1 - \mu^{-d}, \qquad\text{so that}\quad -\log(1 - F) = d\,\log\mu,$$
#
# a line through the origin whose slope is the dimension. (The thesis prints $d + 1$ for the exponent.)
# For $N$ ratios in rising order $F = i/N$; the largest tenth, outliers and noise, is left out of the fit.
#
# By hand: four ratios $1.155, 1.414, 2, 7$ have $F = \tfrac14, \tfrac12, \tfrac34, 1$. With the last one left
# out, $\log\mu = 0.144, 0.347, 0.693$ and $-\log(1-F) = 0.288, 0.693, 1.386$: twice as much each, $d = 2$.


# %% [markdown]
# ### Your turn: a dimension from two distances


# %% tags=["exercise"] exercise="slope"
def slope(nearest, discard=0.1):
    """The dimension (float) of points from the distances to their two nearest neighbours (N, 2).

    A least-squares line through the origin: Σ x y / Σ x². int(N (1 - discard)) ratios are fitted, N - 1
    at most.
    """
    ### BEGIN SOLUTION
    logs = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))
    kept = min(int(len(logs) * (1 - discard)), len(logs) - 1)
    x, y = logs[:kept], -np.log1p(-np.arange(1, kept + 1) / len(logs))
    return x @ y / (x @ x)
    ### END SOLUTION


# %% tags=["check"] exercise="slope" points=5
with check(
    "slope",
    exercise="slope",
    what="the example by hand, points on a circle, a Swiss roll and in a cube, and labkit's estimate.",
    why="everything that this section says about layers is this slope.",
) as c:
    far = np.array([2.0, 7.0, np.sqrt(4 / 3), np.sqrt(2)])
    c.close("by hand", slope(np.stack([np.full(4, 3.0), 3 * far], axis=1), 0.25), 2, misconceptions=[
        (1, "The slope is d itself: it is the thesis's exponent, d + 1, that takes one off."),
        (3, "The slope is d: nothing is added."),
        (0.5, "y over x: −log(1 − F) over log μ."),
    ])
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, 2000)
    turns = 4 + 8 * random.random(2000)
    shapes = {
        "circle": (np.stack([np.cos(angle), np.sin(angle)], axis=1), 1, 0.05),
        "Swiss roll": (np.stack([turns * np.cos(turns), 20 * random.random(2000), turns * np.sin(turns)], axis=1),
                       2, 0.1),
        "cube": (random.random((2000, 5)), 5, 0.1),
    }
    for name, (points, true, tolerance) in shapes.items():
        nearest = dimension.two_nearest(points)
        c.close(f"{name}, {true}", slope(nearest), true, tolerance=tolerance)
        c.close(f"{name}, as labkit has it", slope(nearest), dimension.two_nn(points).dimension, tolerance=1e-6)

# %% [markdown]
# **Before it is used, where does it fail?** Five shapes whose dimension is known, and noise in ever more
# dimensions, from as many points as the layers will get.

# %%
COUNT = 5000 if full else 400


def ball(dimensions, width):
    """Points on a sphere of so many dimensions, turned into a space of `width`."""
    random = np.random.default_rng(dimensions)
    points = random.standard_normal((COUNT, dimensions + 1))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points @ np.linalg.qr(random.standard_normal((width, dimensions + 1)))[0].T


clouds = {("circle", 1): shapes["circle"][0], ("Swiss roll", 2): shapes["Swiss roll"][0], ("sphere", 10): ball(10, 64),
          ("cube", 5): shapes["cube"][0]}
clouds |= {("Gaussian noise", d): np.random.default_rng(d).standard_normal((COUNT, d)).astype(np.float32)
           for d in ((10, 20, 50, 100, 1024) if full else (10, 50))}
rows = {}
for (name, true), points in clouds.items():
    estimate = dimension.two_nn(points)
    low, high = estimate.interval(resamples=200)
    rows[name, true] = {
        "TwoNN": estimate.dimension, "95 % from": low, "to": high,
        "censored": dimension.two_nn(points, "censored").dimension,
        "half of the points": dimension.two_nn(points[::2]).dimension,
        "components, 99 %": dimension.components(points)}
pd.DataFrame(rows).T.rename_axis(["points", "dimension"]).round(2)

# %% [markdown]
# BIAS_SAYS
#
# **Predict.** Ansuini et al. (2019) found that through a trained network the dimension first rises, then
# falls: a *hunchback*. The thesis sees it in QuantNET, too. Two controls: the same network before its
# training, and one that has learned random labels by heart.

# %%
my_guess = predict(
    "the hunchback",
    "the dimension behind the second convolution less that of the images, by TwoNN: in the trained network",
    choices=["rises by a fifth and more, in the untrained one not", "rises in both", "does not rise"],
    answer=None,
)

# %%
BY_HEART = min(3000, len(data.x_train))
if full:
    random = np.random.default_rng(0)
    memorised = (data.x_train[:BY_HEART], random.integers(0, 2, BY_HEART))
    by_heart = fitted(quantnet.build(dropout=0.0), memorised, 60, 1e-3, augment=None)
    print(f"random labels: {100 * np.mean((answers(by_heart, memorised[0])[:, 0] > 0.5) == memorised[1]):.1f} % by heart")
looked_at = data.x_train[:COUNT]


def through(network, dimensions):
    """A dimension of the images and behind each layer; behind the last one, a number, it is 1."""
    hidden = tf.keras.Model(network.inputs, network.get_layer(LAYERS[-2]).output)
    table = dimensions(hidden, looked_at)
    return pd.Series([table["read"].iloc[0], *table["given"], 1.0], ["images", *LAYERS])


networks = {("trained", seed): floats[CAT_DOG, seed] for seed in lab.seeds}
for seed in lab.seeds:
    runtime.set_seed(seed)
    networks["untrained", seed] = quantnet.build()
if full:
    networks["random labels", SEED] = by_heart
profiles, by_components = {}, {}
for key, network in networks.items():
    profiles[key] = through(network, significance.intrinsic_dimensions)
    by_components[key] = through(network, significance.principal_components)
profile = pd.DataFrame(profiles).T.groupby(level=0, sort=False).agg(["mean", "std"] if full else ["mean"])
mean = profile.xs("mean", axis=1, level=1)
rise = mean["conv2"] / mean["images"]
reveal("the hunchback", my_guess,
       "does not rise" if rise["trained"] < 1.2 else "rises in both" if rise["untrained"] >= 1.2 else
       "rises by a fifth and more, in the untrained one not",
       f"trained × {rise['trained']:.2f}, untrained × {rise['untrained']:.2f}.")
profile.round(1)

# %%
plots.show(
    plots.lines(mean.T, "behind", "intrinsic dimension, TwoNN"),
    alt="Intrinsic dimension of the images and behind each layer, by TwoNN: ALT_OF_HUNCHBACK",
)
plots.show(
    plots.lines(pd.DataFrame(by_components).T.groupby(level=0, sort=False).mean().T, "behind",
                "principal components, 99 %"),
    alt="Principal components that explain 99 % of the variance among channels: ALT_OF_COMPONENTS",
)

# %% [markdown]
# HUNCHBACK_SAYS

# %% [markdown]
# ## 8 · Which layers are significant?
#
# A layer is *significant* if it changes the dimension: $|ID_l - ID_{l-1}| > \Delta$, says the thesis;
# Hybrid-Net (Chakraborty et al., 2020) counts increases of principal components alone. The first and the last
# layer are left in full precision either way; significant ones get two bits, the others one.
#
# By hand: dimensions $20, 50, 45, 10$ of the input and three layers have the changes $30, -5, -35$. With
# $\Delta = 20$ the first and the third layer are significant by the change, the first one alone by the increase.


# %% [markdown]
# ### Your turn: choose layers


# %% tags=["exercise"] exercise="chosen"
def chosen(dimensions, threshold, rule="change"):
    """Names (list) of the significant layers, the first and the last layer aside.

    dimensions: of the input and behind each layer, by name, in order. rule: "change" or "increase".
    """
    names = list(dimensions)
    ### BEGIN SOLUTION
    steps = {name: dimensions[name] - dimensions[before] for before, name in itertools.pairwise(names)}
    inside = names[2:-1]
    size = abs if rule == "change" else float
    return [name for name in inside if size(steps[name]) > threshold]
    ### END SOLUTION


# %% tags=["check"] exercise="chosen" points=3
TABLE_4_6 = {  # the thesis, cats and dogs
    "PCA": dict(zip(["input", *LAYERS], (2, 13, 48, 31, 1, 1))),
    "TwoNN": dict(zip(["input", *LAYERS], (25.61, 33.19, 49.48, 23.76, 0.98, 0.98))),
    "TwoNN*": dict(zip(["input", *LAYERS], (4.15, 6.72, 5.25, 19.54, 0.82, 0.82))),
}
with check(
    "significant layers",
    exercise="chosen",
    what="the example by hand with a first and a last layer, and the thesis's table 4.6.",
    why="the rule, the estimator and Δ are three choices; the table shows what each of them decides.",
) as c:
    toy = {"input": 20, "a": 99, "b": 129, "c": 124, "d": 89, "e": 5}
    c.equal("by the change", chosen(toy, 20), ["b", "d"], misconceptions=[
        (["a", "b", "d", "e"], "The first and the last layer stay in full precision."),
        (["b"], "A fall of 35 is a change, too: the magnitude."),
        (["b", "c", "d"], "More than Δ."),
    ])
    c.equal("by the increase", chosen(toy, 20, "increase"), ["b"])
    c.equal("TwoNN, Δ = 20", chosen(TABLE_4_6["TwoNN"], 20), ["linear1", "linear2"])
    c.equal("PCA's increase, Δ = 20", chosen(TABLE_4_6["PCA"], 20, "increase"), ["conv2"])
    c.equal("exactly Δ is not more", chosen(toy, 30), ["d"])

# %%
rows = []
for estimator, dimensions in TABLE_4_6.items():
    for rule in ("change", "increase"):
        by_threshold = [tuple(chosen(dimensions, t / 4, rule)) for t in range(161)]
        for layers, group in itertools.groupby(enumerate(by_threshold), key=lambda pair: pair[1]):
            group = [t / 4 for t, _ in group]
            rows.append({"estimator": estimator, "rule": rule, "Δ from": group[0], "to": group[-1],
                         "significant": ", ".join(layers) or "none"})
choices = pd.DataFrame(rows)
choices[choices["Δ from"].le(20) & choices["to"].ge(20)].set_index(["estimator", "rule"])

# %% [markdown]
# What the table says: from the thesis's own figures. Its two columns of TwoNN, both at Δ = 20, choose
# different layers: the second one, TwoNN*, chooses *none*. And PCA disagrees with TwoNN because of the rule: by
# the change instead of the increase it would have chosen `linear2`, too.
#
# Now with the dimensions that were measured here:

# %%
measured = {"TwoNN": pd.DataFrame({s: profiles["trained", s] for s in lab.seeds}),
            "PCA": pd.DataFrame({s: by_components["trained", s] for s in lab.seeds})}
rows = {}
for estimator, table in measured.items():
    change = table.diff().loc[INNER]
    for rule in ("change", "increase"):
        rows[estimator, rule] = change.mean(axis=1).round(1).to_dict() | {
            "significant at Δ = 20": [", ".join(chosen(table[s].to_dict(), 20, rule)) or "none" for s in lab.seeds]}
pd.DataFrame(rows).T.rename_axis(["estimator", "rule"])

# %% [markdown]
# SIGNIFICANCE_SAYS
#
# **Which one do the accuracies bear out?** Table 4.7 once more, every plan of it.

# %%
PLANS = {
    "all three inner layers binary": dict.fromkeys(INNER, 1),
    "conv1 binary": {"conv1": 1},
    "conv2 binary": {"conv2": 1},
    "linear1 binary": {"linear1": 1},
    "conv2 binary, linear1 and linear2 of 2 bits": {"conv2": 1, "linear1": 2, "linear2": 2},
}
as_printed = {name: Precision(bits, span="unit") for name, bits in
              PLANS["conv2 binary, linear1 and linear2 of 2 bits"].items()}
PLANS["the same, clipped at ±1 as printed"] = as_printed
PLANS["conv2 of 2 bits, the others binary (PCA's)"] = {"conv2": 2, "linear1": 1, "linear2": 1}
trained_plans, rows = {}, {}


def stored(network):
    """The bytes of a network in mixed precision: packed bits, steps, biases, and floats elsewhere."""
    parts = []
    for layer in network.layers:
        if layer.name in mixed_precision.plan_of(network):
            bits = packed.pack(layer)
            parts += [bits.weights, bits.step, bits.bias]
        else:
            parts += layer.get_weights()
    return b"".join(part.tobytes() for part in parts)


def noted(technique, network, task=CAT_DOG, seed=SEED):
    """Record a network in mixed precision; which images it gets right."""
    mine, size = right_of(network, tasks[task]), measure.size(stored(network))
    lab.record(technique, {"accuracy": float(mine.mean()), "bytes": size.bytes, "gzip_bytes": size.gzip_bytes},
               model=task, seed=seed)
    return mine


for name, plan in PLANS.items():
    if not full and name != "conv2 binary, linear1 and linear2 of 2 bits":
        continue
    for task in floats if full else [(CAT_DOG, SEED)]:
        if task[1] != SEED and name in ("conv1 binary", "the same, clipped at ±1 as printed"):
            continue
        network = trained_plans[(name, *task)] = mixed(plan, *task)
        right[task[0], name, task[1]] = noted(name, network, *task)
        table = mixed_precision.memory(network)
    for task in tasks:
        if (task, name, SEED) in right:
            rows[task, name] = against_float(name, task) | {
                "smaller (×), as the thesis counts": mixed_precision.reduction(table, "published (bits)"),
                "with biases and scales": mixed_precision.reduction(table)}
pd.DataFrame(rows).T.rename_axis(["task", "plan"]).round(2)

# %% [markdown]
# PLANS_SAY

# %% [markdown]
# ## 9 · One bit is one bit
#
# So far one bit was a float of two values. In memory a row of $K$ signs is $K/8$ bytes, a 1 for a plus, and
# the product of two rows needs no multiplication: where the bits are the same the product is $+1$, elsewhere
# $-1$, so that
#
# $$a \cdot b = K - 2 \cdot \text{(number of bits that differ)}.$$
#
# By hand: $(+,-,-,+) \cdot (+,+,-,-)$, bits 1001 and 1100. They differ in 0101, two places: $4 - 2 \cdot 2 = 0$.


# %% [markdown]
# ### Your turn: a product without multiplying


# %% tags=["exercise"] exercise="xnor_products"
def xnor_products(left, right, width):
    """Products (N, M) of all pairs of rows of signs; packed uint8 (N, ⌈K/8⌉), (M, ⌈K/8⌉), K = width.

    The bits behind the last sign are zero in all rows. np.bitwise_count counts the ones of each byte.
    """
    ### BEGIN SOLUTION
    differing = np.bitwise_count(left[:, None] ^ right[None]).sum(axis=2, dtype=np.int64)
    return width - 2 * differing
    ### END SOLUTION


# %% tags=["check"] exercise="xnor_products" points=4
with check(
    "xnor",
    exercise="xnor_products",
    what="the example by hand, 19 signs (three bytes with five idle bits), and `packed.product`.",
    why="a hundred multiplications become two instructions; that is what one bit is for.",
) as c:
    four = np.packbits(np.array([[1, 0, 0, 1], [1, 1, 0, 0]], np.uint8), axis=1)
    c.equal("by hand", xnor_products(four[:1], four[1:], 4), [[0]], misconceptions=[
        ([[4]], "K is the number of signs, four, not that of the bits in a byte."),
        ([[8]], "Four bits are idle, and the same in all rows: count where rows differ."),
        ([[2]], "That is how many differ, or are the same: K − 2 · differing."),
    ])
    signs = np.random.default_rng(0).choice([-1, 1], (9, 19))
    bits = packed.planes(signs, 1)[0]
    c.equal("19 signs", xnor_products(bits[:4], bits[4:], 19), signs[:4] @ signs[4:].T, misconceptions=[
        (signs[:4] @ signs[4:].T + 10, "Idle bits are the same in all rows: counting those that are the "
         "same counts them."),
    ])
    c.equal("labkit's", xnor_products(bits[:4], bits[4:], 19), packed.product(bits[None, :4], bits[None, 4:], 19))

# %% [markdown]
# **Does it really?** The first dense layer of a binary network: Keras multiplies floats, you count bits.

# %%
binary = trained_plans.get(("linear1 binary", CAT_DOG, SEED)) or mixed({"linear1": 1}, train=False)
layer = binary.get_layer("linear1")
read, given = graph.layer_outputs(binary, data.x_test[:64], ["linear1"])["linear1"]
weights, step = weight_codes(layer.kernel, layer.precision)
left = packed.planes(input_codes(tf.constant(read), 1).numpy(), 1)[0]
bits = packed.planes(weights.numpy().T, 1)[0]
with check("bits against floats", exercise="xnor_products",
           what="your products, scaled, with the bias and the ReLU, against the Keras layer's outputs.",
           why="if they differ anywhere, the simulation was not one of bits.") as c:
    ours = xnor_products(left, bits, read.shape[1]).astype(np.float32) * step.numpy().ravel()
    ours = np.maximum(ours + layer.bias.numpy(), 0)
    c.equal("outputs that differ", int(np.count_nonzero(ours != given)), 0)
print(f"{ours.size:,} outputs, the same to the last bit; the weights are {bits.nbytes:,} bytes "
      f"instead of {layer.kernel.numpy().nbytes:,}")

# %% [markdown]
# Two bits are two planes of signs, $c = s_0 + 2 s_1$, and a product four counts; a convolution's border has no
# sign at all and is masked. `packed.predict` does both:

# %%
name, one = list(trained_plans.items())[-1]
some = data.x_test[: 256 if full else 64]
simulated, bits = answers(one, some), packed.predict(one, some)
print(f"{name[0]}: largest difference {np.abs(simulated - bits).max()}, "
      f"{np.count_nonzero(simulated != bits)} of {len(some)} answers differ")
pd.DataFrame({layer.name: {"bytes, packed": packed.pack(layer).nbytes,
                           "bytes, float": 4 * layer.count_params()}
              for layer in one.layers if layer.name in mixed_precision.plan_of(one)}).T

# %% [markdown]
# ## 10 · All plans
#
# Three inner layers in one, two or 32 bits are 27 plans. Each of them is applied, trained a little, and
# tested: what usually nobody can know is known here. Then every measure that claims to know beforehand has
# to predict the order in which they come out.
#
# The measure of today needs one idea more. Near a minimum of the loss a change $\delta$ of the weights costs
# about $\tfrac12\,\delta^{\mathsf T} H \delta$, with the Hessian $H$ of second derivatives. HAWQ-V2 takes its mean
# diagonal for each layer. $H$ has $545{,}889^2$ entries, but $Hv$, for a vector $v$, is the gradient of
# $v \cdot g$, as cheap as two gradients. And with *random signs* for $v$
#
# $$\mathbb E\,[v^{\mathsf T} H v] = \sum_{ij} H_{ij}\,\mathbb E[v_i v_j] = \sum_i H_{ii}.$$
#
# By hand: $H = \begin{pmatrix}2&1\\1&3\end{pmatrix}$; $v = (1, 1)$ gives $7$, $v = (1, -1)$ gives $3$; their
# mean is $5$, the trace.


# %% [markdown]
# ### Your turn: the trace of a matrix that is not there


# %% tags=["exercise"] exercise="trace"
def trace(times, size, draws, random):
    """The trace (float) of H, from times(v) = H v alone, (size,); random: a generator of NumPy's."""
    ### BEGIN SOLUTION
    signs = random.choice([-1.0, 1.0], (draws, size))
    return float(np.mean([v @ times(v) for v in signs]))
    ### END SOLUTION


# %% tags=["check"] exercise="trace" points=3
with check(
    "trace",
    exercise="trace",
    what="a diagonal matrix in one draw, a full one in 4,000, and the Hessian of a small loss.",
    why="a quantity of 300 billion entries from a few gradients.",
) as c:
    diagonal = np.array([2.0, -1.0, 5.0])
    c.close("a diagonal one, one draw", trace(lambda v: diagonal * v, 3, 1, np.random.default_rng(0)), 6,
            misconceptions=[
                (2, "The mean over the draws; over the entries it is a sum."),
            ])
    H = np.random.default_rng(1).normal(size=(30, 30))
    H = H + H.T + 4 * np.eye(30)
    found = trace(lambda v: H @ v, 30, 4000, np.random.default_rng(2))
    # Random signs have the variance 2 Σ_{i≠j} H².
    error = np.sqrt(2 * (np.sum(H**2) - np.sum(np.diag(H) ** 2)) / 4000)
    c.close("a full one, 4,000 draws", found, np.trace(H), tolerance=4 * error / np.trace(H), misconceptions=[
        (np.trace(H) / 3, "Uniform numbers from −1 to 1 have the mean square 1/3: signs have 1."),
    ])
    c.that("draws count", trace(lambda v: H @ v, 30, 1, np.random.default_rng(3))
           != trace(lambda v: H @ v, 30, 2, np.random.default_rng(3)), otherwise="only one v is drawn.")
    c.that("one draw of a full matrix is not its trace", abs(
        trace(lambda v: H @ v, 30, 1, np.random.default_rng(4)) - np.trace(H)) > 1e-6,
        otherwise="the diagonal was asked entry by entry: that takes as many products as there are weights.")

# %% [markdown]
# Each measure gives a layer and a width an expected damage; a plan's is their sum. Measures that know layers
# only (dimensions) are multiplied by what so many bits do to normally distributed weights. **Controls:** all
# layers alike, the number of weights, and 200 random scores.

# %%
seconds, damage = {}, {}
WIDTHS = (1, 2, 32) if full else (1, 32)
normal = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
NOISE = {bits: float(np.mean((forwards.full_range(bits).quantise(tf.constant(normal)) - normal) ** 2))
         if bits < 32 else 0.0 for bits in WIDTHS}


def by_layer(scores):
    """Expected damage of each inner layer and width from scores of layers."""
    return pd.DataFrame({bits: scores[INNER] * NOISE[bits] for bits in WIDTHS})


def timed(name, measured):
    """Keep what a measure says, and how long it took."""
    started = time.perf_counter()
    damage[name] = measured()
    seconds[name] = time.perf_counter() - started


network = scaled[CAT_DOG, SEED]
timed("TwoNN, change", lambda: by_layer(through(network, significance.intrinsic_dimensions).diff().abs()))
timed("PCA, change", lambda: by_layer(through(network, significance.principal_components).diff().abs()))
timed("PCA, increase", lambda: by_layer(
    through(network, significance.principal_components).diff().clip(lower=0)))
timed("noise of the outputs", lambda: pd.DataFrame({
    bits: 10 ** (-significance.quantization_noise(network, images[CAT_DOG], bits)["output SQNR (dB)"][INNER] / 10)
    if bits < 32 else 0.0 for bits in WIDTHS}))


def hawq():
    """HAWQ-V2's: mean trace times the squared error of the weights."""
    some = slice(0, 1000 if full else 100)
    traces = hessian.mean_traces(network, (data.x_train[some], data.y_train[some, None].astype(np.float32)),
                                 "binary_crossentropy", draws=50 if full else 5, seed=SEED)
    print(traces)
    return significance.sensitivities(network, traces["mean trace"].clip(lower=0)[INNER], WIDTHS)


timed("Hessian (HAWQ-V2)", hawq)
alike = pd.Series(1.0, LAYERS)
damage["all layers alike"] = by_layer(alike)
damage["number of weights"] = by_layer(pd.Series(parameters, dtype=float))
pd.DataFrame({name: table[1] / table[1].sum() for name, table in damage.items()}).T.round(3).assign(
    seconds=pd.Series(seconds).round(1))

# %% [markdown]
# What one bit in a layer is expected to do there, as a share of all three layers' damage. **Predict**, before
# the plans come out:

# %%
my_guess = predict(
    "the best measure",
    "whose order of the 27 plans is nearest to the order of their accuracies?",
    choices=[*damage],
    answer=None,
)

# %%
chances = {}  # of each plan and seed: the probability of a dog, for each test image
for seed in lab.seeds:
    for widths in itertools.product(WIDTHS if seed == SEED else (1, 32), repeat=len(INNER)):
        # Quickly: the weights alone, and no training.
        plan = {n: b if full or b == 32 else Precision(b, inputs=32) for n, b in zip(INNER, widths)}
        chances[widths, seed] = answers(mixed(plan, seed=seed, train=full), data.x_test)[:, 0]
mine = [widths for widths, seed in chances if seed == SEED]
wrong = np.array([(chances[widths, SEED] > 0.5) != data.y_test for widths in mine])
entropies = np.array([-np.log(np.clip(np.where(data.y_test, chances[w, SEED], 1 - chances[w, SEED]), 1e-7, 1))
                      for w in mine]).mean(axis=1)
sizes = np.array([mixed_precision.memory(untrained, dict(zip(INNER, w)))["size (bits)"].sum() for w in mine])
plans = pd.DataFrame(mine, columns=INNER).assign(**{
    "kB": sizes / 8000, "accuracy (%)": 100 - 100 * wrong.mean(axis=1), "cross-entropy": entropies})
unbeaten = plans[[not ((plans["kB"] <= row["kB"]) & (plans["accuracy (%)"] > row["accuracy (%)"])).any()
                  for _, row in plans.iterrows()]].sort_values("kB")
unbeaten.round({"kB": 1, "accuracy (%)": 2, "cross-entropy": 3}).set_index(INNER)

# %% [markdown]
# FRONT_OF_PLANS_SAYS
#
# A rank correlation (Spearman's: the correlation of the ranks) of 1 is the right order, of 0 none at all. But
# accuracies on 2,400 images are uncertain, and so is the order. The **bootstrap** says how much: draw as many
# test images with repetition, take every plan's errors on *those* images, and correlate again; 95 % of what comes
# out is the interval.


# %% [markdown]
# ### Your turn: an interval for an order


# %% tags=["exercise"] exercise="interval_of"
def interval_of(predicted, wrong, random, draws=200):
    """2.5 and 97.5 % quantiles of Spearman's correlation of predicted damage and measured error.

    predicted: float (plans,). wrong: bool (plans, images), where each plan errs. random: a generator.
    stats.spearmanr(a, b)[0] is the correlation; np.quantile the quantiles.
    """
    ### BEGIN SOLUTION
    images, found = wrong.shape[1], []
    for _ in range(draws):
        drawn = random.integers(0, images, images)
        found.append(stats.spearmanr(predicted, wrong[:, drawn].mean(axis=1))[0])
    return np.quantile(found, [0.025, 0.975])
    ### END SOLUTION


# %% tags=["check"] exercise="interval_of" points=4
with check(
    "an interval",
    exercise="interval_of",
    what="plans whose order is certain, with and without a mistake in the prediction; plans that differ by chance.",
    why="without it a correlation of 0.6 and one of 0.8 look like a result.",
) as c:
    random = np.random.default_rng(0)
    hard = random.random(400)
    nested = np.array([hard < share for share in (0.3, 0.36, 0.42, 0.48)])  # each errs where the one before does
    c.close("certain, if all plans get the same images", interval_of(
        np.arange(4.0), nested, np.random.default_rng(1)), [1, 1], tolerance=1e-9)
    c.close("two neighbours exchanged", interval_of(np.array([0.0, 1, 3, 2]), nested, np.random.default_rng(1)),
            [0.8, 0.8], tolerance=1e-9, misconceptions=[
                ([-0.8, -0.8], "More damage goes with more errors: errors, not accuracies."),
            ])
    noise = random.random((27, 400)) < 0.3
    low, high = interval_of(np.arange(27.0), noise, np.random.default_rng(2))
    c.between("width, of plans that differ by chance", high - low, 0.4, 0.9, otherwise="images are drawn with "
              "repetition, as many as there are, and all plans get the same ones; 2.5 and 97.5 %.")
    centre = stats.spearmanr(np.arange(27.0), noise.mean(axis=1))[0]
    c.that("it holds the value itself", low < centre < high, otherwise="the measured correlation is outside.")

# %%
def expected(table, of=mine):
    """Expected damage of each plan."""
    return np.array([sum(table.loc[name, bits] for name, bits in zip(INNER, widths)) for widths in of])


def elsewhere(table):
    """Mean rank correlation over the other seeds' networks, whose plans have one or 32 bits."""
    found = []
    for other in lab.seeds[1:]:
        of = [widths for widths, seed in chances if seed == other]
        errors = [np.mean((chances[widths, other] > 0.5) != data.y_test) for widths in of]
        found.append(stats.spearmanr(expected(table, of), errors)[0])
    return np.mean(found) if found else np.nan


def regret(predicted):
    """Points below the best plan of each size, mean over the sizes, if the prediction chooses."""
    lost = []
    for size in sizes:
        fit = np.flatnonzero(sizes <= size)
        lost.append(wrong[fit[predicted[fit].argmin()]].mean() - wrong[fit].mean(axis=1).min())
    return 100 * np.mean(lost)


rows = {}
for name, table in damage.items():
    predicted = expected(table)
    low, high = interval_of(predicted, wrong, np.random.default_rng(SEED))
    rows[name] = {"rank correlation": stats.spearmanr(predicted, wrong.mean(axis=1))[0], "95 % from": low, "to": high,
                  "with cross-entropy": stats.spearmanr(predicted, entropies)[0],
                  "other seeds": elsewhere(table), "regret (points)": regret(predicted),
                  "seconds": seconds.get(name, 0.0)}
random = np.random.default_rng(SEED)
by_chance = [expected(by_layer(pd.Series(random.random(5), LAYERS))) for _ in range(200)]
found = [stats.spearmanr(p, wrong.mean(axis=1))[0] for p in by_chance]
rows["200 random scores"] = {"rank correlation": np.mean(found), "95 % from": np.quantile(found, 0.025),
                             "to": np.quantile(found, 0.975), "regret (points)": np.mean([regret(p) for p in by_chance]),
                             "with cross-entropy": np.mean([stats.spearmanr(p, entropies)[0] for p in by_chance])}
judged = pd.DataFrame(rows).T.rename_axis("measure").sort_values("rank correlation", ascending=False)
reveal("the best measure", my_guess, judged.index.drop("200 random scores")[0],
       f"{judged['rank correlation'].drop('200 random scores').iloc[0]:.2f}; look at the intervals, and at what "
       "random scores reach, before you believe the order of the measures.")
judged.round(2)

# %%
with plots.style():
    figure, ax = axes_of(0.34 * len(judged) + 0.9)
    rank = np.arange(len(judged))
    ax.hlines(rank, judged["95 % from"], judged["to"], color="#888888", linewidth=2)
    ax.plot(judged["rank correlation"], rank, "o", color=plots.COLORS[0])
    ax.set_yticks(rank, judged.index)
    ax.invert_yaxis()
    ax.set(xlabel="rank correlation with the accuracies of all plans, 95 %")
plots.show(figure, alt="Rank correlation of each measure with its interval: ALT_OF_MEASURES")

# %% [markdown]
# MEASURES_SAY

# %% [markdown]
# ## 11 · Backwards from the bytes
#
# 96 % of the parameters are the first dense layer's, so a plan of bits alone ends at 72 kB. With *fewer units*
# there, fewer bytes are left for any number of bits. Weights of $b$ bits and biases of 32: for filters $f_1, f_2$
# and units $u$, 16 and one,
#
# $$\tfrac b8\,(27 f_1 + 9 f_1 f_2 + 64 f_2 u + 16 u + 16) + 4\,(f_1 + f_2 + u + 16 + 1)\ \text{bytes.}$$
#
# By hand: $f = (2, 4)$, $b = 8$, 1,000 bytes. Without any unit there are $54 + 72 + 16 + 4 \cdot 23 = 234$ bytes; a
# unit takes $256 + 16 + 4 = 276$; $(1000 - 234)/276 = 2.8$: two units.


# %% [markdown]
# ### Your turn: how many units fit?


# %% tags=["exercise"] exercise="units_that_fit"
def units_that_fit(budget, filters, bits):
    """The most units (int) of the first dense layer with which the network has at most `budget` bytes."""
    first, second = filters
    ### BEGIN SOLUTION
    without = bits / 8 * (27 * first + 9 * first * second + 16) + 4 * (first + second + 17)
    return int((budget - without) // (bits / 8 * (64 * second + 16) + 4))
    ### END SOLUTION


# %% tags=["check"] exercise="units_that_fit" points=4
with check(
    "units that fit",
    exercise="units_that_fit",
    what="the example by hand, and networks that Keras counts, at the edge of the budget.",
    why="a budget is met by arithmetic, not by trying.",
) as c:
    c.equal("by hand", units_that_fit(1000, (2, 4), 8), 2, misconceptions=[
        (3, "Three do not fit: round down."),
    ])
    for filters, units, bits in (((16, 24), 7, 8), ((32, 48), 10, 4), ((8, 64), 20, 2)):
        network = quantnet.build(filters, (units, 16))
        table = mixed_precision.memory(network, dict.fromkeys(LAYERS, bits))
        # memory() counts the scales, too, five floats.
        size = (table["size (bits)"].sum() - 32 * table["scales"].sum()) / 8
        c.equal(f"{filters}, {bits} bits, just enough", units_that_fit(size, filters, bits), units, misconceptions=[
            (units - 1, "Exactly the budget is allowed."),
        ])
        c.equal(f"{filters}, {bits} bits, a byte less", units_that_fit(size - 1, filters, bits), units - 1)

# %% [markdown]
# Where do the weights of the small network come from? **Structured pruning** (lab 06) keeps the filters and units
# of the large one that have the largest norms, and trains them on. The control trains the same small network from
# nothing, as long.

# %%
my_guess = predict(
    "cut down",
    "a network cut out of the trained one, against the same small one from nothing, equal epochs",
    choices=["the cut one is better", "no difference that 2,400 images can tell", "from nothing is better"],
    answer=None,
)

# %%
GRAPH_BYTES = 4_000  # of an int8 file without names, beside its weights
DESIGNS = {"≤ 50 kB": (50_000, (32, 48)), "≤ 20 kB": (20_000, (16, 24))}
TRAIN_ON = {"epochs": {"quick": 1, "full": 15}[PROFILE], "rate": 1e-3}


def cut(network, filters, units):
    """The network with the filters and units of largest norm, and no others."""
    keep = {}
    for name, count in zip(LAYERS[:3], (*filters, units)):
        norms = pruning.filter_norms(kernels.prunable(network)[name].numpy())
        keep[name] = norms >= np.sort(norms)[-count]
    return pruning.remove_filters(network, keep)


tiny, rows = {}, {}
for design, (budget, filters) in DESIGNS.items():
    if not full and design == "≤ 20 kB":
        continue
    units = units_that_fit(budget - GRAPH_BYTES, filters, 8)
    for (name, seed), network in floats.items():
        small = fitted(cut(network, filters, units), tasks[name], **TRAIN_ON, seed=seed)
        content = minimal.without_names(qat(small, name, seed))
        handed = {"file": "quantnet_tiny.tflite", "hand_in": True} if (design, name) == ("≤ 50 kB", CAT_DOG) else {}
        right[name, f"{design}, int8", seed] = written(f"{design}, int8", content, name, seed, **handed)
        right[name, f"{design}, cut, float", seed] = right_of(small, tasks[name])
        if seed == SEED:
            runtime.set_seed(seed)
            scratch = fitted(quantnet.build(filters, (units, 16)), tasks[name], **TRAIN_ON, seed=seed)
            right[name, f"{design}, from nothing, float", seed] = right_of(scratch, tasks[name])
        tiny[design, name, seed] = len(content)
    for name in tasks:
        for kind in ("cut, float", "from nothing, float", "int8"):
            if (name, f"{design}, {kind}", SEED) in right:
                rows[name, design, kind] = {"units": units} | against_float(f"{design}, {kind}", name) | (
                    {"bytes": tiny[design, name, SEED]} if kind == "int8" else {})
gain, error = paired(right[CAT_DOG, "≤ 50 kB, cut, float", SEED], right[CAT_DOG, "≤ 50 kB, from nothing, float", SEED])
reveal("cut down", my_guess, "no difference that 2,400 images can tell" if abs(gain) <= 2 * error else
       "the cut one is better" if gain > 0 else "from nothing is better", f"{gain:+.1f} ± {2 * error:.1f} points.")
small_ones = pd.DataFrame(rows).T.rename_axis(["task", "design", "network"])
small_ones.astype(object).where(small_ones.notna(), "").map(lambda v: round(v, 2) if isinstance(v, float) else v)

# %% [markdown]
# **Fewer bits or fewer units?** The same 20,000 bytes, spent on eight bits, on four and on two:

# %%
rows = {}
for bits in (8, 4, 2) if full else ():
    units = units_that_fit(DESIGNS["≤ 20 kB"][0], (16, 24), bits)
    plan = {name: Precision(bits, inputs=32 if name in ("conv1", "output") else 8) for name in LAYERS}
    start = cut(floats[CAT_DOG, SEED], (16, 24), units)
    network = mixed_precision.within_one(mixed_precision.quantize(start, plan), images[CAT_DOG])
    network = fitted(network, data, **TRAIN_ON)
    name = f"{bits} bits, {units} units"
    right[CAT_DOG, name, SEED] = noted(name, network)
    rows[name] = against_float(name) | {"bytes": len(stored(network))}
pd.DataFrame(rows).T.drop(columns="seeds").rename_axis("network").round(2) if full else "the full profile trains them"

# %% [markdown]
# TINY_SAYS

# %% [markdown]
# ## 12 · The final comparison
#
# The thesis's table 4.8 ends on two pipelines of its own: significant layers (by TwoNN: the dense ones) in two
# bits and the other in one; and significant layers by plain QAT, the insignificant one clustered, with the
# clusters kept. It gives the second one 0.1625 MB, less than the 0.2394 MB with *all* layers clustered.

# %%
my_guess = predict(
    "the last row",
    "`linear1` has 524,288 weights of eight bits, not clustered. The file after gzip has",
    choices=["about 0.16 MB", "about 0.24 MB", "more than 0.3 MB"],
    answer=None,
)

# %%
insignificant = [name for name in INNER if name not in chosen(TABLE_4_6["TwoNN"], 20)]
selected = {}
for seed in lab.seeds:
    network = floats[CAT_DOG, seed]
    part = clustering.strip(fitted(clustering.cluster(network, dict.fromkeys(insignificant, 16)), data, **CLUSTERED,
                                   seed=seed))
    selected[seed] = keeping(part, seed=seed, only=insignificant)
    right[CAT_DOG, "TwoNN, CQAT int8", seed] = written("TwoNN, CQAT int8", selected[seed], seed=seed)
    if full and seed != SEED:
        everywhere = clustering.strip(fitted(clustering.cluster(network, {n: 16 for n in LAYERS[:-1]} | {"output": 8}),
                                             data, **CLUSTERED, seed=seed))
        right[CAT_DOG, "16 clusters, CQAT int8", seed] = written("16 clusters, CQAT int8", keeping(
            everywhere, seed=seed), seed=seed)
packed_size = measure.size(selected[SEED]).gzip_bytes / 1e6
reveal("the last row", my_guess, "about 0.16 MB" if packed_size < 0.2 else "about 0.24 MB" if packed_size < 0.3 else
       "more than 0.3 MB", f"{packed_size:.3f} MB: what is not clustered does not shrink by being significant.")
mixed_plan = "conv2 binary, linear1 and linear2 of 2 bits"
rows = {}
for technique in ("float", "QAT int8", "16 clusters, QAT int8", "16 clusters, CQAT int8", mixed_plan, "TwoNN, CQAT int8",
                  "≤ 50 kB, int8", "≤ 20 kB, int8"):
    if (CAT_DOG, technique, SEED) in right:
        rows[technique] = against_float(technique)
sizes_of = lab.report()
sizes_of = sizes_of[sizes_of["model"] == CAT_DOG]
final = pd.DataFrame(rows).T.rename_axis("technique").join(sizes_of[["bytes", "gzip (bytes)"]])
(final.assign(**{"MB": final["gzip (bytes)"].fillna(final["bytes"]) / 1e6})
 .drop(columns=["bytes", "gzip (bytes)"]).round({"accuracy (%)": 2, "against float (points)": 2,
                                                 "± 2 s.e. (points)": 2, "MB": 4}))

# %% [markdown]
# FINAL_SAYS
#
# **Ten classes**, which the thesis leaves open: the same network with ten outputs on all of CIFAR-10.

# %%
if full:
    ten = cifar10.SOURCE.load(DATA, seed=0)
    tasks["ten classes"], images["ten classes"] = ten, ten.representative(300, seed=SEED)
    recipe = quantnet.RECIPES[PROFILE].but(epochs=12, batch=128, loss="sparse_categorical_crossentropy")
    wide = training.fitted(lab.out, quantnet.build(classes=10, name="quantnet_ten"), ten, recipe, SEED).model
    aware = quantization_aware.quantize(wide)
    quantization_aware.calibrate(aware, images["ten classes"])
    training.fit(aware, ten, recipe.but(epochs=1, learning_rate=2e-4), SEED)
    both = {"float": post_training.convert(wide, "float"), "QAT int8": quantization_aware.convert(aware, batch=1)}
    for technique, content in both.items():
        right["ten classes", technique, SEED] = written(technique, content, "ten classes", label="QuantNET ten classes")
    print(pd.DataFrame({k: against_float(k, "ten classes") | {"bytes": len(v)} for k, v in both.items()}).T.round(2))
else:
    print("the full profile trains it")

# %% [markdown]
# TEN_SAYS
#
# ### The thesis's claims
#
# Each claim is a difference of two accuracies; measured it is confirmed or refuted if it is more than two
# standard errors from zero, and not decidable otherwise.

# %%
CLAIMS = [  # what is claimed, the better one, the other one, the thesis's difference (points)
    ("QAT is better than post-training integers", CAT_DOG, "QAT int8", "int8", 2.10),
    ("integers lose more than the dynamic range", CAT_DOG, "dynamic range", "int8", 0.85),
    ("16x8 is better than int8", CAT_DOG, "16x8", "int8", 1.10),
    ("QAT improves horses and frogs over float", HORSE_FROG, "QAT int8", "float", 1.55),
    ("keeping clusters is better than losing them", CAT_DOG, "16 clusters, CQAT int8", "16 clusters, QAT int8", 0.25),
    ("TwoNN's plan: a binary conv2 is better than a binary linear1", CAT_DOG, "conv2 binary", "linear1 binary", 0.60),
    ("the same for horses and frogs", HORSE_FROG, "conv2 binary", "linear1 binary", 0.50),
    ("two bits in the significant layers are better than one", CAT_DOG, mixed_plan, "all three inner layers binary", 1.60),
    ("TwoNN with kept clusters is better than clusters everywhere", CAT_DOG, "TwoNN, CQAT int8",
     "16 clusters, CQAT int8", 0.10),
    ("and as good as float", CAT_DOG, "TwoNN, CQAT int8", "float", -0.05),
]
rows = []
for claim, task, better, worse, printed in CLAIMS:
    seeds = [s for s in lab.seeds if {(task, better, s), (task, worse, s)} <= set(right)]
    if not seeds:
        continue
    found = np.array([paired(right[task, better, s], right[task, worse, s]) for s in seeds])
    difference, error = found[:, 0].mean(), 2 * found[:, 1].mean()
    rows.append({"claim": claim, "thesis": printed, "here": difference, "± 2 s.e.": error, "seeds": len(seeds),
                 "verdict": "not decidable" if abs(difference) <= error else
                 "confirmed" if difference * printed > 0 else "refuted"})
rows += [{"claim": "30.42, 14.42 and 15.87 times smaller", "verdict": "confirmed, exactly"},
         {"claim": "conv1 in one bit is 1.01 times smaller", "verdict": "refuted: 1.00"},
         {"claim": "TwoNN with kept clusters takes 0.1625 MB", "here": packed_size,
          "verdict": "refuted" if packed_size > 0.2 else "confirmed"}]
claims = pd.DataFrame(rows).set_index("claim")
claims.astype(object).where(claims.notna(), "").map(lambda v: round(v, 2) if isinstance(v, float) else v)

# %% [markdown]
# CLAIMS_SAY

# %% [markdown]
# ## The ledger

# %%
report = lab.report()
report[[name for name in ("model", "accuracy (%)", "± (%)", "bytes", "gzip (bytes)") if name in report]]

# %%
everything = measure.summary(lab.ledger.table(), lab.metrics).query(f"lab == '{lab.number}'")
everything = everything[(everything["data"] == data.label) & (everything["profile"] == PROFILE)
                        & everything["gzip (bytes)"].notna() & (everything["model"] == CAT_DOG)]
plots.show(
    plots.front(everything, measure.front(everything, "gzip (bytes)"), "gzip (bytes)"),
    alt="Test accuracy over bytes after gzip of all cat and dog files of this lab; not beaten are ALT_OF_FRONT",
)

# %% [markdown]
# LEDGER_SAYS

# %% [markdown]
# ## Published against measured

# %%
lab.compare("int8", "dynamic range", "float16", "16x8", "QAT int8", "16 clusters", "16 clusters, QAT int8",
            "16 clusters, CQAT int8", *list(PLANS)[:5], "TwoNN, CQAT int8", size="gzip (bytes)")

# %% [markdown]
# COMPARISON_SAYS

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="noise" points=4
# **A table shows 65.6 and 66.0 %, on 2,400 images, means of 20 runs. What can be concluded? What would you ask the
# author for?**
#
# <!-- BEGIN SOLUTION -->
# ANSWER_NOISE
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="two_bits" points=4
# **Why are two bits, clipped at ±1, hardly better than one in this network, and what are two ways out?**
#
# <!-- BEGIN SOLUTION -->
# ANSWER_TWO_BITS
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="worth" points=5
# **Is the intrinsic dimension worth its cost as a measure of which layers matter? Name its rank correlation, that of
# two controls, the intervals, and the seconds.**
#
# <!-- BEGIN SOLUTION -->
# ANSWER_WORTH
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="hunchback" points=4
# **Does QuantNET have a hunchback? What do the two controls say, and what do readings above 20 mean at all?**
#
# <!-- BEGIN SOLUTION -->
# ANSWER_HUNCHBACK
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Two networks on the same images differ by a mean over images: its standard error says what a table can tell.
# - Bits add up, ratios do not; one layer of 96 % decides the size whatever is done to the others.
# - Where values lie counts as much as how many there are: two bits can be one.
# - TwoNN reads curved shapes that principal components cannot, and reads high dimensions too low.
# - A measure of sensitivity is a prediction: rank it against the truth, against trivial scores, with an interval.
# - A budget is met backwards, by arithmetic; then comes the training.
#
# **Further reading:** E. Facco et al., *Estimating the intrinsic dimension of datasets by a minimal neighborhood
# information*, Scientific Reports 7 (2017) · A. Ansuini et al., *Intrinsic dimension of data representations in deep
# neural networks*, NeurIPS 2019 · I. Chakraborty et al., *Constructing energy-efficient mixed-precision neural networks
# through principal component analysis for edge intelligence*, Nature Machine Intelligence 2 (2020) · M. Rastegari et
# al., *XNOR-Net*, ECCV 2016 · Z. Dong et al., *HAWQ-V2: Hessian aware trace-weighted quantization of neural networks*,
# NeurIPS 2020 · Anirudh S, *Optimal compression of convolutional neural networks for edge devices*, IIT Madras, 2022.
#
# **Where to go on:** lab 10 takes numbers with a fixed point to a convolution engine of PULP; lab 09 asks which of
# many small networks is the best, and how much of that is luck.

# %% tags=["finish"]
lab.finish()
