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
import dataclasses
import functools
import itertools
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


def answers(network, x):
    """What a Keras model, or a file as bytes, makes of images: (N, outputs)."""
    if isinstance(network, bytes):
        return measure.TFLiteModel(network).predict(x)
    return network.predict(x, batch_size=256, verbose=0)


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
    file = f"sweep/11_{label or task}_{technique}".translate(str.maketrans("/, ", "___"))
    path = lab.write(options.pop("file", f"{file}.tflite"), content, seed, **{"hand_in": False} | options)
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
MORE = {"epochs": {"quick": 1, "full": 3}[PROFILE], "rate": 2e-4}
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
    right[name, "QAT int8", seed] = written("QAT int8", qat(network, name, seed), name, seed)
    if full:
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
A_FEW = {"epochs": {"quick": 1, "full": 4}[PROFILE], "rate": 1e-3}
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
       "is as good within two standard errors" if abs(gain) < abs(error) else
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
        ([0.8, 0, 0, -0.8], "Those are three values with a zero; 2² evenly spaced ones have none."),
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
SHORT = {"epochs": {"quick": 1, "full": 2}[PROFILE], "rate": {"quick": 5e-4, "full": 2e-4}[PROFILE]}
scaled = {key: mixed_precision.within_one(network, images[key[0]]) for key, network in floats.items()}


def mixed(plan, task=CAT_DOG, seed=SEED, train=True):
    """The network of a task in the precision of a plan, trained a little or not at all."""
    network = mixed_precision.quantize(scaled[task, seed], plan)
    network = mixed_precision.within_one(network, images[task])
    return fitted(network, tasks[task], **SHORT, seed=seed) if train else network


exact = right_of(scaled[CAT_DOG, SEED])
rows = {}
for name in LAYERS:
    for bits in (1, 2, 4) if full else (1, 2):
        both = {name: bits}
        weights_only = {name: Precision(bits, inputs=32)}
        rows[name, bits] = {
            "weights alone, at once": paired(right_of(mixed(weights_only, train=False)), exact)[0],
            "with inputs, at once": paired(right_of(mixed(both, train=False)), exact)[0],
        }
        if full:
            rows[name, bits]["with inputs, trained"] = paired(right_of(mixed(both)), exact)[0]
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
for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95) if full else (0.25, 0.5, 0.9):
    keep = {name: pruning.filter_mask(kernels.prunable(base)[name].numpy(), share) for name in LAYERS[:-1]}
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
CLUSTERED = {"epochs": {"quick": 1, "full": 2}[PROFILE], "rate": 2e-4}
counts = (2, 4, 8, 16, 32, 64) if full else (4, 16)
shared, sweep = {}, {}
for count in counts:
    by_layer = {name: min(count, int(np.prod(kernel.shape)) // 2)
                for name, kernel in kernels.prunable(base).items()}
    shared[count] = clustering.strip(fitted(clustering.cluster(base, by_layer), data, **CLUSTERED))
    content = post_training.convert(shared[count], "float")
    mine = written(f"{count} clusters", content)
    right[CAT_DOG, f"{count} clusters", SEED] = mine
    sweep[count] = against_float(f"{count} clusters") | {"gzip (bytes)": measure.size(content).gzip_bytes}
pd.DataFrame(sweep).T.rename_axis("clusters").round(2)

# %%
def values_of(content):
    """Different values that the weights of one output have in a file, the most of each layer."""
    return {name: max(len(np.unique(row)) for row in w.reshape(len(w), -1))
            for name, w in measure.weights(content).items()}


plain = quantization_aware.quantize(shared[16])
quantization_aware.calibrate(plain, images[CAT_DOG])
kept = clustering.cluster_preserving(shared[16])
quantization_aware.calibrate(kept, images[CAT_DOG])
files = {
    "16 clusters": post_training.convert(shared[16], "float"),
    "16 clusters, QAT int8": quantization_aware.convert(fitted(plain, data, **MORE)),
    "16 clusters, CQAT int8": clustering.convert(fitted(kept, data, **MORE)),
}
if full:
    files |= {f"16 clusters, {technique}": post_training.convert(
        shared[16], mode, images[CAT_DOG] if "int" in mode else None) for technique, mode in MODES.items()}
rows = {}
for technique, content in files.items():
    right[CAT_DOG, technique, SEED] = written(technique, content)
    rows[technique] = against_float(technique) | {"gzip (bytes)": measure.size(content).gzip_bytes}
clusters = pd.DataFrame(rows).T.drop(columns="seeds").rename_axis("file")
clusters.astype({"gzip (bytes)": int}).round(2)

# %% [markdown]
# And do the sixteen values survive? Different weights that one output of a layer has, in the files:

# %%
pd.DataFrame({technique: values_of(files[technique]) for technique in list(files)[:3]}).T.set_axis(LAYERS, axis=1)

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
        (1, "The slope is d. With the thesis's exponent, d + 1, it would be one too much."),
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
COUNT = 5000 if full else 800


def ball(dimensions, width):
    """Points on a sphere of so many dimensions, turned into a space of `width`."""
    random = np.random.default_rng(dimensions)
    points = random.standard_normal((COUNT, dimensions + 1))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points @ np.linalg.qr(random.standard_normal((width, dimensions + 1)))[0].T


grid = np.round(np.random.default_rng(0).random((COUNT, 3)) * 8)
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
BY_HEART = 3000 if full else 200
if full:
    random = np.random.default_rng(0)
    memorised = (data.x_train[:BY_HEART], random.integers(0, 2, BY_HEART))
    by_heart = fitted(quantnet.build(dropout=0.0), memorised, 60, 1e-3, augment=None)
    print(f"random labels: {100 * np.mean((answers(by_heart, memorised[0])[:, 0] > 0.5) == memorised[1]):.1f} % by heart")
looked_at = data.x_train[:COUNT]
networks = {("trained", seed): floats[CAT_DOG, seed] for seed in lab.seeds}
for seed in lab.seeds:
    runtime.set_seed(seed)
    networks["untrained", seed] = quantnet.build()
if full:
    networks["random labels", SEED] = by_heart
profiles, by_components = {}, {}
for key, network in networks.items():
    table = significance.intrinsic_dimensions(network, looked_at)
    profiles[key] = pd.Series([table["read"].iloc[0], *table["given"]], ["images", *LAYERS])
    table = significance.principal_components(network, looked_at[:1000])
    by_components[key] = pd.Series([table["read"].iloc[0], *table["given"]], ["images", *LAYERS])
through = pd.DataFrame(profiles).T.groupby(level=0, sort=False).agg(["mean", "std"] if full else ["mean"])
mean = through.xs("mean", axis=1, level=1)
rise = mean["conv2"] / mean["images"]
reveal("the hunchback", my_guess,
       "does not rise" if rise["trained"] < 1.2 else "rises in both" if rise["untrained"] >= 1.2 else
       "rises by a fifth and more, in the untrained one not",
       f"trained × {rise['trained']:.2f}, untrained × {rise['untrained']:.2f}.")
through.round(1)

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
            "significant at Δ = 20": [", ".join(chosen(table[s], 20, rule)) or "none" for s in lab.seeds]}
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
for name, plan in PLANS.items():
    if not full and name not in list(PLANS)[2:5]:
        continue
    for task in floats if full else [(CAT_DOG, SEED)]:
        if task[1] != SEED and name in ("conv1 binary", "the same, clipped at ±1 as printed"):
            continue
        network = trained_plans[(name, *task)] = mixed(plan, *task)
        right[task[0], name, task[1]] = right_of(network, tasks[task[0]])
        table = mixed_precision.memory(network)
        lab.record(name, {"accuracy": right[task[0], name, task[1]].mean(), "bytes": int(
            table["size (bits)"].sum() // 8)}, model=task[0], seed=task[1])
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
        ([[4]], "Bytes have eight bits, of which four are idle here: count where they differ, or take "
         "the idle ones off."),
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
stored = packed.planes(weights.numpy().T, 1)[0]
with check("bits against floats", exercise="xnor_products",
           what="your products, scaled, with the bias and the ReLU, against the Keras layer's outputs.",
           why="if they differ anywhere, the simulation was not one of bits.") as c:
    ours = xnor_products(left, stored, read.shape[1]).astype(np.float32) * step.numpy().ravel()
    ours = np.maximum(ours + layer.bias.numpy(), 0)
    c.equal("outputs that differ", int(np.count_nonzero(ours != given)), 0)
print(f"{ours.size:,} outputs, the same to the last bit; the weights are {stored.nbytes:,} bytes "
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
