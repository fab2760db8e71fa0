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
# Not every layer of a network needs as many bits as the next one. A thesis of 2022 proposes a way to find out
# which layers do: estimate how many dimensions the data has before and after each layer, and give more bits
# to the layers that change it. Its network is small enough for something that cannot be done with a large
# one: here **all** plans are tried, and every way of guessing which layers matter is compared with what
# really happened. On the way most of the techniques of the earlier labs are used once more, on one network,
# two tasks and several seeds.
#
# **You will be able to**
#
# - read a table of accuracies and say which of its differences 2,400 test images can establish;
# - quantise weights to one and two bits, and notice when two bits are worth no more than one;
# - estimate an intrinsic dimension from two nearest neighbours, and say when not to trust it;
# - compute a binary layer with exclusive or and counting, and check it against Keras;
# - estimate the trace of a Hessian that is never written down;
# - judge a measure of sensitivity by its rank correlation, with an interval and with controls;
# - design a network backwards, from its number of bytes.
#
# **Time:** 120 minutes of work; the computer takes 1 minute (`quick`) or 45 (`full`).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved; `quantnet.tflite`, the network as you trained it; and
# `quantnet_tiny.tflite`, an integer file of at most 50,000 bytes, input and output included, that tells cats
# from dogs. Both must recognise 72 % of the hidden images, and the second is scored by its size. Set yourself
# a stricter goal: the small file should stay within one point of the large one.

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


def right_in(outputs, task):
    """Bool (N,): which test images of a task these outputs for them get right."""
    classes = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return classes == task.y_test


def right_of(network, task=None):
    """Bool (N,): which test images of a task (cats and dogs by default) a Keras model or a file gets right."""
    task = task or data
    return right_in(answers(network, task.x_test), task)


def fitted(network, task, epochs, rate, seed=SEED, **changes):
    """The network, trained on a task by so many epochs of the lab's recipe at another rate."""
    recipe = quantnet.RECIPES[PROFILE].but(epochs=epochs, learning_rate=rate, **changes)
    training.fit(network, task, recipe, seed)
    return network


# %% [markdown]
# ## 1 · A network, counted before it is trained
#
# The network is called *QuantNET*: two convolutions of 3 × 3 with 32 and 64 filters, dense layers of 128 and
# 16 units, and one output, the probability of the second class. The thesis gives the number of parameters of
# each layer: 896, 18,496, 534,416, 2,064 and 17. It does not say whether there is any pooling.
#
# A dense layer of $m$ units that reads $n$ numbers has $n\,m + m$ parameters. By hand: 2,064 parameters and
# 16 units mean $(2064 - 16)/16 = 128$ inputs, as there should be behind a layer of 128 units.


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
# So 534,416 is a misprint. Which numbers that differ from it in a single digit are possible?

# %%
candidates = {int(text): inputs_of(int(text), 128)
              for i in range(6) for digit in "0123456789"
              for text in ["534416"[:i] + digit + "534416"[i + 1:]] if text[0] != "0"}
print({parameters: inputs for parameters, inputs in candidates.items() if inputs})
untrained = quantnet.build()
untrained.count_params()

# %% [markdown]
# 4,096 = 8 · 8 · 64 inputs are what *two* poolings leave of 32 × 32 pixels; 4,171, the only other candidate,
# is not a multiple of 64 channels. So this is the network: 545,889 parameters, 96 % of them in one layer.
#
# **How much smaller does a plan make it?** The thesis multiplies the parameters of each layer by its bits. By
# hand, for two layers of 10 and 90 parameters, the second one in 2 bits: $100 \cdot 32$ bits become $10 \cdot
# 32 + 90 \cdot 2 = 500$, which is $6.4$ times less. (This is *not* the mean of 1 and 16.)


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
# All ratios of the thesis are right but one, which should be 1.00. And two things are clear before any
# training: whatever is done to the convolutions hardly changes the size, and what is done to the first dense
# layer decides it.
#
# ## 2 · What 2,400 images can tell
#
# The thesis compares methods by accuracies such as 65.6 and 66.0 %, on 2,400 test images. Two networks are
# asked about the *same* images, so their difference is a mean over the images: of +1 where only the first
# network is right, −1 where only the second is, and 0 where they agree. Its standard error is that of any
# mean, $s/\sqrt N$.
#
# By hand: let the first network be right on $(1, 1, 0, 1)$ and the second on $(1, 0, 0, 1)$. The differences
# are $(0, 1, 0, 0)$; their mean is $25$ points, their standard deviation $43.3$, and the standard error
# $43.3/\sqrt 4 = 21.7$ points.


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
# **Predict.** Unpaired, on 2,400 images of which two thirds are classified correctly, each of the two
# accuracies has a standard error of 0.97 points. What do the thesis's tables for cats and dogs show?

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
# The thesis says that its figures are means of 20 runs. That averages out the scatter of *training*, but not
# that of the test images, which are the same in all runs. We therefore take several seeds, and compare in
# pairs.

# %%
def trained_on(name, seed):
    """A network of a task: trained now, or loaded."""
    if name == CAT_DOG:
        return lab.trained(quantnet, seed)
    runtime.set_seed(seed)
    network = quantnet.build(name="quantnet_horse_frog")
    return training.fitted(lab.out, network, tasks[name], quantnet.RECIPES[PROFILE], seed)


# Trainings that do not wait for each other run side by side in the full profile.
ended = lab.side_by_side(trained_on, itertools.product(tasks if full else [CAT_DOG], lab.seeds))
floats = {key: network.model for key, network in ended.items()}
histories = {key: network.history for key, network in ended.items()}


def written(technique, content, task=CAT_DOG, seed=SEED, label=None, outputs=None, **options):
    """Write a file, measure it on its task's test images, record it; which images it gets right.

    outputs: what it has made of these images, if it has been run already.
    """
    name = f"{label or task} {technique}".translate(str.maketrans({"/": "_", " ": "_", ",": "", "≤": "at_most"}))
    path = lab.write(options.pop("file", f"sweep/11_{name}.tflite"), content, seed, **{"hand_in": False} | options)
    lab.judge_on(label or task, tasks[task])
    if outputs is None:
        outputs = answers(content, tasks[task].x_test)
    lab.measure(technique, path, seed, model=label or task, outputs=outputs)
    return right_in(outputs, tasks[task])


right = {}  # of each task, technique and seed: which test images are right
for (name, seed), network in floats.items():
    options = {"file": "quantnet.tflite", "hand_in": True} if name == CAT_DOG else {}
    right[name, "float", seed] = written("float", post_training.convert(network, "float"), name, seed,
                                         **options)


def against_float(technique, task=CAT_DOG):
    """Mean accuracy (%), points lost against float, and twice the paired error, over the seeds."""
    seeds = [s for s in lab.seeds if (task, technique, s) in right]
    pairs = [paired(right[task, technique, s], right[task, "float", s]) for s in seeds]
    differences = [d for d, _ in pairs]
    return {
        "accuracy (%)": 100 * np.mean([right[task, technique, s].mean() for s in seeds]),
        "against float (points)": np.mean(differences),
        # Seeds share the test images: their errors are averaged, not divided by √seeds.
        "± 2 s.e. (points)": 2 * np.mean([e for _, e in pairs]),
        "seeds, from": min(differences), "to": max(differences), "seeds": len(seeds),
    }


pd.DataFrame({
    (name, seed): {"training (%)": 100 * histories[name, seed]["accuracy"][-1],
                   "test (%)": 100 * right[name, "float", seed].mean(),
                   "± 2 s.e.": 200 * right[name, "float", seed].std() / np.sqrt(len(tasks[name].y_test))}
    for name, seed in floats}).T.rename_axis(["network", "seed"]).round(2)

# %% [markdown]
# **What the table says:** the networks recognise 75.5 to 77.2 % of the cats and dogs, ten points more than
# the thesis's 66.00, and 96.5 to 97.0 % of the horses and frogs (thesis: 92.35). The layers are the same.
# What is new is that the training images are mirrored and shifted; with that the network does no better,
# within the error, on its training images than on the test images, so it has learned nothing by heart.
#
# Look at the last column, too. Three seeds of one recipe span 1.7 points, and the choice of images makes each
# figure uncertain by as much again. The differences between *files* of one network will be far smaller than
# that, and can be measured only because the images are the same.

# %% [markdown]
# ## 3 · After the training, or in it
#
# This section repeats the thesis's tables 4.2 and 4.3: post-training quantisation in all of TFLite's modes,
# then QAT (lab 04). **The control** for QAT is a network that is trained for the same number of additional
# epochs, without quantisation.

# %%
INT8 = {"int8": "int8"}
MODES = {"int8": "int8", "dynamic range": "dynamic_range", "float16": "float16", "16x8": "int16x8"}
MORE = {"epochs": {"quick": 0.25, "full": 2}[PROFILE], "rate": 2e-4}
images = {name: task.representative(300 if full else 100, seed=SEED) for name, task in tasks.items()}


def qat(network, task, seed=SEED):
    """The int8 file of a network after a little QAT on a task."""
    aware = quantization_aware.quantize(network)
    quantization_aware.calibrate(aware, images[task])
    return quantization_aware.convert(fitted(aware, tasks[task], **MORE, seed=seed), batch=1)


def quantized(network, name, modes=MODES):
    """Files of a network in these modes, by technique."""
    return {technique: post_training.convert(network, mode, images[name] if "int" in mode else None)
            for technique, mode in modes.items()}


def run(contents, name):
    """Files, each with its outputs for the test images of a task, by technique."""
    return {technique: (content, answers(content, tasks[name].x_test)) for technique, content in contents.items()}


def with_and_without_training(name, seed):
    """Files of a network after its training and after so many more epochs, and their outputs."""
    every = full and (name == CAT_DOG or seed == SEED)
    contents = quantized(floats[name, seed], name, MODES if every else INT8)
    if full:
        longer = fitted(graph.copy_of(floats[name, seed]), tasks[name], **MORE, seed=seed)
        contents |= {"QAT int8": qat(floats[name, seed], name, seed),
                     "as long, float": post_training.convert(longer, "float")}
    return run(contents, name)


for (name, seed), found in lab.side_by_side(with_and_without_training, list(floats)).items():
    for technique, (content, outputs) in found.items():
        right[name, technique, seed] = written(technique, content, name, seed, outputs=outputs)
pd.DataFrame({(task, technique): against_float(technique, task)
              for task, technique in dict.fromkeys((t, k) for t, k, _ in right)}
             ).T.rename_axis(["network", "file"]).astype({"seeds": int}).round(2)

# %% [markdown]
# **What the table says:** on cats and dogs every post-training file is as accurate as its float network, to a
# tenth of a point, with errors of three tenths or less. The thesis loses 2.3 points with int8, and 1.35 even
# with float16, which here changes fewer than one answer in a thousand: whatever its table shows, it is not
# rounding.
#
# QAT seems to gain, $+0.36 \pm 0.61$. But the control gains $+0.18 \pm 0.59$ without any quantisation:
# neither can be distinguished from zero. On horses and frogs, where the thesis sees QAT win 1.55 points over
# float, the gain is $+0.21 \pm 0.30$.
#
# **Transfer.** Now the network for cats and dogs is trained further on horses and frogs, or on cats and dogs
# that are rotated, mirrored and zoomed. The thesis lacks a control: the same few epochs from scratch.

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
A_FEW = {"epochs": {"quick": 0.5, "full": 3}[PROFILE], "rate": 1e-3}


def transferred(name):
    """Files of the network for cats and dogs after a few epochs of a task, and their outputs; one from scratch."""
    moved = fitted(graph.copy_of(floats[CAT_DOG, SEED]), tasks[name], **A_FEW)
    contents = {"float": post_training.convert(moved, "float")}
    if full:
        contents |= quantized(moved, name) | {"QAT int8": qat(moved, name)}
    runtime.set_seed(SEED)
    return run(contents, name), fitted(quantnet.build(), tasks[name], **A_FEW)


rows = {}
ended = lab.side_by_side(transferred, {name: (name,) for name in tasks if name != CAT_DOG})
for name, (found, scratch) in ended.items():
    read = {"without any training": right_of(floats[CAT_DOG, SEED], tasks[name]),
            "the same epochs from scratch": right_of(scratch, tasks[name])}
    for technique, (content, outputs) in found.items():
        read[technique] = written(technique, content, name, label=f"{name} after cat/dog", outputs=outputs)
    for technique, mine in read.items():
        difference, error = paired(mine, read["float"])
        rows[name, technique] = {"accuracy (%)": 100 * mine.mean(),
                                 "against transfer, float (points)": difference, "± 2 s.e.": 2 * error}
transfer = pd.DataFrame(rows).T.rename_axis(["to", "network"])
gain, error = -transfer.loc[(HORSE_FROG, "the same epochs from scratch")].to_numpy()[1:]
reveal("transfer", my_guess,
       "is as good within two standard errors" if abs(gain) <= abs(error) else
       "is better" if gain > 0 else "is worse: it has to unlearn", f"{gain:+.1f} ± {abs(error):.1f} points.")
transfer.round(2)

# %% [markdown]
# **What the table says:** after three epochs the network that knew cats and dogs recognises 92.8 % of the
# horses and frogs, and the one that knew nothing 91.6 %: transfer is better, by two and a half
# standard errors. Both stay below the 97 % of the network that had 24 epochs, so transfer saves time and does
# not add accuracy. (Without any training it gets 26.7 % right: it takes frogs for cats and horses for dogs.
# With the labels exchanged that would be 73 %.)
#
# On rotated images transfer is worth eleven points. The task is nearly the old one: without any training the
# old network is right about 69.4 % of them. The thesis reports 59.40 %, about what three epochs *from
# scratch* reach here.
#
# Here, too, quantisation costs nothing that 2,400 images can establish (0.3 points at most). QAT gains 0.9
# and 0.7 points over the network after transfer, but it had two more epochs, and that network had not finished
# learning.

# %% [markdown]
# ## 4 · One layer at a time, down to one bit
#
# Every layer can do with eight bits. With two or one the layers begin to differ. The thesis's quantiser works
# in four steps: subtract the mean from the weights, clip them to $[-1, 1]$, round to $2^b$ evenly spaced
# values *without a zero*, and scale by α. For rounded values $q$ the α of least squared error is
#
# $$\alpha = \frac{\sum w\,q}{\sum q^2}, \qquad\text{for one bit } \alpha = \operatorname{mean}|w|
# \quad\text{(XNOR-Net)}.$$
#
# By hand: $w = (0.7,\ 0.1,\ -0.3,\ -0.5)$ has the mean 0. In one bit $q = (1, 1, -1, -1)$ and $\alpha = 0.4$.
# In two bits the possible values are $-1, -\tfrac13, \tfrac13, 1$; so $q = (1, \tfrac13, -\tfrac13,
# -\tfrac13)$ and $\alpha = 1.0/1.333 = 0.75$, and the weights become $(0.75, 0.25, -0.25, -0.25)$.


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
    "fitted to their spread make of them: one bit and two bits at ±1 both have two values and an error of 41 %; fitted, four values leave 16 %.",
)

# %% [markdown]
# **What the figure says:** clipped at ±1, two bits *are* one bit here: none of the 524,288 weights is beyond
# ±2/3, the outer two values are never used, and the squared error is the same 41 %. Fitted to the spread of
# the weights, four values leave an error of 16 %. A layer that the thesis's table lists with two bits may
# have had only one.
#
# `mixed_precision.quantize` applies a plan. Unless told otherwise it puts the values where they fit the
# spread of the weights (`span="fitted"`), and gives the inputs of a layer, clipped at ±1, as many bits as its
# weights. What clipping cuts off has no gradient, so `within_one` first divides the outputs of each layer by
# their size and multiplies the next layer's weights by it. (The share that is clipped and the learning rate
# were chosen on the validation images, `cifar10_pairs.pair("cat", "dog", judged="validation")`, with one
# seed; the number of epochs is what time allows.)
#
# Now one layer at a time is quantised, as in the thesis's figure 4.2, and tested at once and after a short
# training.

# %%
SHORT = {"epochs": {"quick": 0.5, "full": 1}[PROFILE], "rate": {"quick": 5e-4, "full": 3e-4}[PROFILE]}
scaled = {key: mixed_precision.within_one(network, images[key[0]]) for key, network in floats.items()}


def mixed(plan, task=CAT_DOG, seed=SEED, how=None):
    """The network of a task in the precision of a plan, trained as `how` says, or not at all."""
    network = mixed_precision.quantize(scaled[task, seed], plan)
    few = any(precision.inputs <= 2 for precision in mixed_precision.plan_of(network).values())
    # Two bits say whether an input is beyond ±2/3: a tenth of them clipped, they say more.
    network = mixed_precision.within_one(network, images[task], 0.9 if few else 0.999)
    return fitted(network, tasks[task], **how, seed=seed) if how else network


def few_in(name, bits):
    """Which test images are right with so few bits in one layer, by what is quantised."""
    kinds = {"weights alone, at once": mixed({name: Precision(bits, inputs=32)})}
    if full:
        kinds["with inputs, at once"] = mixed({name: bits})
    if full and bits == 1:
        kinds["with inputs, trained"] = mixed({name: bits}, how=SHORT)
    return {kind: right_of(network) for kind, network in kinds.items()}


exact = right_of(scaled[CAT_DOG, SEED])
rows = {}
for key, kinds in lab.side_by_side(few_in, itertools.product(LAYERS, (1, 2) if full else (1,))).items():
    found = {kind: paired(mine, exact) for kind, mine in kinds.items()}
    rows[key] = {kind: difference for kind, (difference, _) in found.items()}
    rows[key]["± 2 s.e., at most"] = 2 * max(error for _, error in found.values())
one_layer = pd.DataFrame(rows).T.rename_axis(["layer", "bits"])
measure.printed(one_layer, 1)

# %%
plots.show(
    plots.lines(one_layer.xs(1, level="bits").iloc[:, :-1], "the layer of one bit", "against float (points)", levels=[0]),
    alt="Points of accuracy against float with one layer of one bit: weights alone at once lose some 20 points in the convolutions and the output, under one in the dense layers; with inputs it is 14 to 27 everywhere; trained, linear2 loses 1.5, linear1 5, conv2 13, and the ends stay at guessing.",
)

# %% [markdown]
# **What the figure says:** which layer is sensitive depends on what is quantised. The weights of `linear1`,
# 96 % of all, can be reduced to one bit at once with a loss of 0.9 points; those of the convolutions cannot.
# When the inputs have one bit too, all layers suffer, and a single epoch of training brings `linear2` back to
# a loss of 1.5 points, `linear1` to 5.2 and `conv2` to 13.1.
#
# The first layer stays at the level of guessing for a reason that no training can mend: pixels lie between 0
# and 1, so the sign of every pixel that is not black is plus. The last layer does not recover in one epoch
# either. This supports leaving the first and the last layer in full precision, as the thesis does, and Lee et
# al. before it; and in this figure convolutions do suffer more than dense layers.

# %% [markdown]
# ## 5 · Weights, neurons and bytes
#
# In the thesis's figure 4.3 a share of the weights is set to zero, or the same share of the neurons, and
# pruning weights is better at every share. Lab 06 found the same: for an equal *share*, single weights win.

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
for share in (0.1, 0.25, 0.5, 0.75, 0.9) if full else (0.5, 0.9):
    keep = {name: pruning.magnitude_mask(pruning.filter_norms(kernel.numpy()), share)
            for name, kernel in kernels.prunable(base).items() if name != LAYERS[-1]}
    for pattern, network in (
        ("weights", pruning.masked(base, pruning.layer_masks(base, share))),
        ("neurons", pruning.remove_filters(base, keep)),
    ):
        content = post_training.convert(network, "float")
        mine = right[CAT_DOG, f"without {100 * share:.0f} % of the {pattern}", SEED] = right_of(content)
        rows.append({"pattern": pattern, "sparsity (%)": 100 * share, "accuracy (%)": 100 * mine.mean(),
                     "gzip (bytes)": measure.size(content).gzip_bytes})
pruned = pd.DataFrame(rows)
level = 100 * right[CAT_DOG, "float", SEED].mean()
plots.show(plots.over_sparsity(pruned, level), alt="Accuracy over the share of zeros: weights are above neurons up to one half and at guessing from three quarters on, where neurons still reach 64 %.")
plots.show(plots.over_size(pruned, level), alt="Accuracy over bytes after gzip: neurons are above weights at every size below 1.6 MB.")

# %%
of_weights, of_neurons = (pruned[pruned["pattern"] == p].sort_values("gzip (bytes)") for p in ("weights", "neurons"))
there = of_neurons[of_neurons["gzip (bytes)"].between(*of_weights["gzip (bytes)"].agg(["min", "max"]))]
gap = float((there["accuracy (%)"] - np.interp(there["gzip (bytes)"], of_weights["gzip (bytes)"],
                                               of_weights["accuracy (%)"])).mean())
reveal("bytes", my_guess, "weights still win" if gap < -1 else "it is a draw" if gap < 1 else "neurons win",
       f"neurons are {gap:+.1f} points from weights, mean over {len(there)} sizes that both have.")
pruned.pivot_table(index="sparsity (%)", columns="pattern", values=["accuracy (%)", "gzip (bytes)"]).round(1).astype(
    {("gzip (bytes)", pattern): int for pattern in ("neurons", "weights")})

# %% [markdown]
# **What the figures say:** at the same *share* weights win up to one half (67.9 against 62.8 %), as in the
# thesis. Beyond that they lose: a network that is deprived of three quarters of its weights, and not trained
# again, can only guess. At the same number of *bytes* it is the other way round. A network of which half of
# the weights are zero still takes 1.2 MB after gzip. Without half of its neurons the first dense layer has
# half its units and half its inputs, so a quarter of its weights, and the file takes 0.5 MB. What was meant
# by "50 %" decided who won.

# %% [markdown]
# ## 6 · Clusters, and training that keeps them
#
# Now the thesis's figure 4.4 and its tables 4.4 and 4.5: similar weights of a layer share one value (lab 05).
# The thesis uses sixteen values.

# %%
CLUSTERED = {"epochs": {"quick": 0.25, "full": 1}[PROFILE], "rate": 2e-4}
counts = (2, 4, 8, 16, 32) if full else (16,)


def clustered(count):
    """The network with so many values in each layer."""
    of_layers = {name: min(count, int(np.prod(kernel.shape)) // 2)
                 for name, kernel in kernels.prunable(base).items()}
    return clustering.strip(fitted(clustering.cluster(base, of_layers), data, **CLUSTERED))


shared = lab.side_by_side(clustered, {count: (count,) for count in counts})
sweep = {}
for count, network in shared.items():
    content = post_training.convert(network, "float")
    right[CAT_DOG, f"{count} clusters", SEED] = written(f"{count} clusters", content)
    sweep[count] = against_float(f"{count} clusters") | {"gzip (bytes)": measure.size(content).gzip_bytes}
pd.DataFrame(sweep).T.drop(columns=["seeds, from", "to", "seeds"]).rename_axis("clusters").astype(
    {"gzip (bytes)": int}).round(2)

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
files |= {f"16 clusters, {technique}": content for technique, content in quantized(
    shared[16], CAT_DOG, MODES if full else INT8).items()}
if full:
    files |= lab.side_by_side(lambda train: train(shared[16], CAT_DOG),
                              {"16 clusters, QAT int8": (qat,), "16 clusters, CQAT int8": (keeping,)})
rows = {}
for technique, content in files.items():
    if technique != "16 clusters":  # it has been measured
        right[CAT_DOG, technique, SEED] = written(technique, content)
    rows[technique] = against_float(technique) | {"gzip (bytes)": measure.size(content).gzip_bytes}
clusters = pd.DataFrame(rows).T.drop(columns=["seeds, from", "to", "seeds"]).rename_axis("file")
clusters.astype({"gzip (bytes)": int}).round(2)

# %% [markdown]
# Do the sixteen values survive? The next table counts the different weights of one output of a layer, in the
# files:

# %%
pd.DataFrame({technique: values_of(files[technique]) for technique in files
              if technique in ("16 clusters", "16 clusters, int8", "16 clusters, QAT int8", "16 clusters, CQAT int8")}).T.set_axis(LAYERS, axis=1)

# %% [markdown]
# **What the tables say:** sixteen values per layer lose $0.3 \pm 0.7$ points, eight lose $1.3 \pm 1.1$, four
# 3.5. Of the numbers tried sixteen is the smallest whose loss 2,400 images cannot establish, so the thesis's
# choice is supported. Post-training quantisation keeps the sixteen values and costs at most a quarter of a
# point more.
#
# QAT does not keep them: afterwards `linear1` has up to 126 values per output, and the file grows to 385 kB
# after gzip. Cluster-preserving QAT (CQAT) does, and the file takes 279 kB. This is what the thesis's table
# 4.5 shows, here with files instead of Keras networks: keeping the clusters wins *bytes*. The accuracies
# (76.62 and 77.04 %) cannot be told apart. The thesis's 0.1922 MB after plain QAT, as small as without QAT,
# could not be reproduced.

# %% [markdown]
# ## 7 · How many dimensions?
#
# The second convolution puts out 4,096 numbers for each image, but the images do not fill a space of 4,096
# dimensions. How many do they fill? There are two ways to estimate it. **Principal components**: how many of
# them explain 99 % of the variance? This counts straight directions, so a circle counts as two. **Two nearest
# neighbours**, TwoNN (Facco et al., 2017): where points are spread evenly over $d$ dimensions, the ratio $\mu
# = r_2/r_1$ of the distances to the second and the first neighbour has the distribution
#
# $$F(\mu) = 1 - \mu^{-d}, \qquad\text{so that}\quad -\log(1 - F) = d\,\log\mu,$$
#
# a line through the origin whose slope is the dimension. (The thesis prints $d + 1$ for the exponent.) For
# $N$ ratios in ascending order $F = i/N$; the largest tenth, outliers and noise, is left out of the fit.
#
# By hand: four ratios $1.155, 1.414, 2, 7$ have $F = \tfrac14, \tfrac12, \tfrac34, 1$. Without the last one
# $\log\mu = 0.144, 0.347, 0.693$ and $-\log(1-F) = 0.288, 0.693, 1.386$, twice as much each: $d = 2$.


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
# **Where does it fail?** Before we use it, we try it on four shapes whose dimension is known and on noise in
# more and more dimensions, with as many points as the layers will get.

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
# **What the table says:** up to five dimensions the interval of TwoNN contains the truth; at ten the estimate
# is four to six per cent too low. For 20 dimensions it is 17.6, for 50 only 34, for 100 51 and for 1,024 185.
# The intervals are narrow all the same and miss the truth: they measure how the ratios scatter and know
# nothing of the bias. Half of the points give nearly the same estimate, so that does not reveal the bias
# either. Above eighteen an estimate is a lower bound, useful for comparing sets of equally many points, and
# `dimension.two_nn` warns of it.
#
# Principal components count straight directions: they are right, or nearly so, where the shape is straight,
# and give two for the circle, three for the roll and eleven for the sphere of ten dimensions.
#
# **Predict.** Ansuini et al. (2019) found that along the layers of a trained network the dimension first
# rises and then falls: a *hunchback*. The thesis sees it in QuantNET, too. We add two controls: the same
# network before its training, and one that has learned random labels by heart.

# %%
my_guess = predict(
    "the hunchback",
    "from the images to what is behind the second convolution, the dimension by TwoNN",
    choices=["rises by a fifth or more in the trained network, not in the untrained one", "rises in both", "does not rise"],
    answer=None,
)

# %%
BY_HEART = min(1500, len(data.x_train))
if full:
    random = np.random.default_rng(0)
    memorised = (data.x_train[:BY_HEART], random.integers(0, 2, BY_HEART))
    runtime.set_seed(SEED)
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
       "rises by a fifth or more in the trained network, not in the untrained one",
       f"trained × {rise['trained']:.2f}, untrained × {rise['untrained']:.2f}.")
measure.printed(profile, 1)

# %%
plots.show(
    plots.lines(mean.T, "behind", "intrinsic dimension, TwoNN"),
    alt="Intrinsic dimension of the images and behind each layer, by TwoNN: in trained networks it rises from 28 to 51 behind conv2 and falls to 14 behind linear1; untrained it never rises; with random labels it rises to 45.",
)
plots.show(
    plots.lines(pd.DataFrame(by_components).T.groupby(level=0, sort=False).mean().T, "behind",
                "principal components, 99 %"),
    alt="Principal components that explain 99 % of the variance among channels: trained they rise to 55 behind conv2, with random labels to 61 and untrained to 79 behind linear1; all fall to below ten behind linear2.",
)

# %% [markdown]
# **What the figures say:** there is a hunchback. In the trained networks TwoNN's estimate rises from 28 to 45
# and 51, and falls to 14, 5 and 1; the thesis has 26, 33, 49, 24 and, behind `linear2`, 1. The standard
# deviation over the seeds is below two. The first control confirms it: before any training nothing rises, 28,
# 28, 27. The second does not: a network that has learned all of 1,500 random labels by heart has a hunchback
# of 45. So the rise comes with training, but not with understanding anything. (All estimates above eighteen
# are too low; what we compare are equally many points of the same images.)
#
# Principal components tell another story. They rise without any training as well, and highest there: to 79
# behind `linear1`, where a dense layer of 128 random directions bends its inputs into many straight ones.
# Judged by components alone, a hunchback would be a property of the layers' widths.

# %% [markdown]
# ## 8 · Which layers are significant?
#
# The thesis calls a layer *significant* if it changes the dimension by more than a threshold: $|ID_l -
# ID_{l-1}| > \Delta$. Hybrid-Net (Chakraborty et al., 2020) counts only increases, and those of principal
# components. Both leave the first and the last layer in full precision; of the others the significant ones
# get two bits and the rest one.
#
# By hand: the dimensions $20, 50, 45, 10$ of the input and of three layers have the changes $30, -5, -35$.
# With $\Delta = 20$ the first and the third layer are significant by their change, and the first alone by its
# increase.


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
# **What the table says:** these are the thesis's own figures. Its two columns of TwoNN choose different
# layers at the same Δ = 20: the second one, TwoNN*, chooses *none*. And the rule matters as much as the
# estimator: by the change instead of the increase, principal components would have chosen `linear2`, too; by
# the increase instead of the change, TwoNN would have chosen nothing.
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
# **What the table says:** here `linear1` is the only layer that changes TwoNN's dimension by more than 20,
# with all three seeds; `linear2`, significant in the thesis, changes it by nine and `conv2` by six. The
# increase of principal components chooses `conv2`, as in the thesis, and their change chooses `linear2` as
# well. So the two estimators do disagree, and the four rows lead to four different plans.
#
# **Which one do the accuracies support?** To find out, we train every plan of the thesis's table 4.7, and
# four variants.

# %%
pd.set_option("display.max_colwidth", 80)  # plans have long names
PLANS = {
    "all three inner layers binary": dict.fromkeys(INNER, 1),
    "conv1 binary": {"conv1": 1},
    "conv2 binary": {"conv2": 1},
    "linear1 binary": {"linear1": 1},
    "conv2 binary, linear1 and linear2 of 2 bits": {"conv2": 1, "linear1": 2, "linear2": 2},
}
ALL_BINARY, *_, TWO_NN = PLANS
EASED = ", 8-bit inputs"  # the weights are what is stored
PLANS |= {name + EASED: {layer: Precision(bits, inputs=8) for layer, bits in PLANS[name].items()}
          for name in (ALL_BINARY, TWO_NN)}
PLANS |= {"TwoNN's, clipped at ±1 as printed": {
    layer: Precision(bits, span="unit") for layer, bits in PLANS[TWO_NN].items()},
    "PCA's: conv2 of 2 bits, the others binary": {"conv2": 2, "linear1": 1, "linear2": 1}}
LONGER = SHORT | {"epochs": {"quick": 0.5, "full": 4}[PROFILE]}  # inputs of one bit learn slowly
ONCE = ("conv1 binary", *list(PLANS)[-2:])  # with one seed, for cats and dogs alone


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


def planned(name, task, seed):
    """The network of a task in the precision of a plan, trained."""
    return mixed(PLANS[name], task, seed, how=LONGER)


trained_plans = lab.side_by_side(planned, [
    (name, task, seed) for name in (PLANS if full else [TWO_NN]) for task, seed in floats
    if (task, seed) == (CAT_DOG, SEED) or (full and name not in ONCE and (task == CAT_DOG or seed == SEED))])
for (name, task, seed), network in trained_plans.items():
    right[task, name, seed] = noted(name, network, task, seed)
rows = {}
for (name, task, seed), network in trained_plans.items():
    if seed == SEED:
        table = mixed_precision.memory(network)
        rows[task, name] = against_float(name, task) | {
            "smaller (×), as the thesis counts": mixed_precision.reduction(table, "published (bits)"),
            "with biases and scales": mixed_precision.reduction(table)}
pd.DataFrame(rows).T.rename_axis(["task", "plan"]).astype({"seeds": int}).round(2)

# %% [markdown]
# **What the table says.** *Which layer?* A binary `conv2` costs 9.2 points on cats and dogs (seven to twelve,
# depending on the seed), a binary `linear1` 2.6. On horses and frogs it is 10.3 against 0.6. That is the
# opposite of the thesis's table (65.6 and 65.0 %), and of what TwoNN says, which calls `linear1` significant
# and `conv2` not. The increase of principal components, which calls `conv2` significant, comes nearer to it,
# though its own plan, two bits there and one elsewhere, reaches only 58.0 %.
#
# *Two bits or one?* TwoNN's plan, with two bits in the dense layers, is 11 points better than one bit
# everywhere, as the thesis claims; on horses and frogs no difference can be seen. But look at what was given
# two bits. With **inputs of eight bits** and the same weights both plans lose three points, one as much as
# the other: the cost lies in *inputs* of one bit and not in the weights, and only the weights are stored, so
# the file is as small with either. Nor does the second bit of the dense layers' weights matter: clipped at
# ±1, where two bits are one, the plan reaches 68.1 % with one seed, against 67.4 % in the mean of three when
# the values are fitted.
#
# With inputs of few bits our losses are far above the thesis's 1.8 and 0.2 points. Ours are after four
# epochs, and the thesis does not say how long it trained: trust the order more than the distance. The ratios
# of size are exact, and a little lower once biases and scales are counted.

# %% [markdown]
# ## 9 · One bit is one bit
#
# So far one bit was a floating-point number with two values. In memory a row of $K$ signs takes $K/8$ bytes,
# with a 1 for a plus, and the product of two rows needs no multiplication: where the bits agree the product
# is $+1$, elsewhere $-1$, so that
#
# $$a \cdot b = K - 2 \cdot \text{(number of bits that differ)}.$$
#
# By hand: $(+,-,-,+) \cdot (+,+,-,-)$ are the bits 1001 and 1100. Their exclusive or is 0101, so two places
# differ: $4 - 2 \cdot 2 = 0$.


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
    why="64 multiplications become two instructions, an exclusive or and a count: that is what one bit is for.",
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
# **Does it really?** We take the first dense layer of a binary network, where Keras multiplies floating-point
# numbers and you count bits.

# %%
binary = trained_plans.get(("linear1 binary", CAT_DOG, SEED)) or mixed({"linear1": 1})
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
# Two bits are two planes of signs, $c = s_0 + 2 s_1$, and a product takes four counts; the padding of a
# convolution has no sign at all and is masked. `packed.predict` does both:

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
# Three inner layers in one, two or 32 bits make 27 plans. Each of them is applied, trained a little and
# tested, with inputs of eight bits, since only the weights are stored. So here we know what can usually not
# be known. Then every measure that claims to know it in advance has to predict the order of the plans.
#
# A more recent measure needs one more idea. Near a minimum of the loss a change $\delta$ of the weights costs
# about $\tfrac12\,\delta^{\mathsf T} H \delta$, where $H$ is the Hessian, the matrix of second derivatives.
# HAWQ-V2 takes the mean of its diagonal for each layer. $H$ has $545{,}889^2$ entries, but the product $Hv$
# with a vector $v$ is the gradient of $v \cdot g$, where $g$ is the gradient of the loss: it costs as much as
# two gradients. And if $v$ consists of *random signs*,
#
# $$\mathbb E\,[v^{\mathsf T} H v] = \sum_{ij} H_{ij}\,\mathbb E[v_i v_j] = \sum_i H_{ii}.$$
#
# By hand: for $H = \begin{pmatrix}2&1\\1&3\end{pmatrix}$ the signs $v = (1, 1)$ give $7$ and $v = (1, -1)$
# give $3$; their mean is $5$, the trace.


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
    what="a diagonal matrix in one draw, and a full one in 4,000.",
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
# Each measure assigns an expected damage to a layer and a number of bits; the damage of a plan is the sum.
# Where a measure knows only layers (the dimensions), its score is multiplied by the error that so many bits
# leave in normally distributed weights. **Controls:** all layers alike, the number of weights, and 200 random
# scores.

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
    some = slice(0, 500 if full else 100)
    traces = hessian.mean_traces(network, (data.x_train[some], data.y_train[some, None].astype(np.float32)),
                                 "binary_crossentropy", draws=30 if full else 5, seed=SEED)
    print(traces)
    return significance.sensitivities(network, traces["mean trace"].clip(lower=0)[INNER], WIDTHS)


timed("Hessian (HAWQ-V2)", hawq)
alike = pd.Series(1.0, LAYERS)
damage["all layers alike"] = by_layer(alike)
damage["number of weights"] = by_layer(pd.Series(parameters, dtype=float))
measure.printed(pd.DataFrame({name: table[1] / table[1].sum() for name, table in damage.items()}).T.assign(
    seconds=pd.Series(seconds).round(1)), 3)

# %% [markdown]
# The first table shows the mean trace of each layer's Hessian, with its standard error; the second one how
# much of the damage, if all three layers have one bit, each measure expects from which. **Predict**, before
# the plans are tested:

# %%
my_guess = predict(
    "the best measure",
    "whose order of the 27 plans is nearest to the order of their accuracies?",
    choices=[*damage],
    answer=None,
)

# %%
def dogs(widths, seed):
    """The probability of a dog, for each test image, by the network with these widths."""
    plan = {name: Precision(bits, inputs=8) for name, bits in zip(INNER, widths) if bits < 32}
    return answers(mixed(plan, seed=seed, how=SHORT if full else None), data.x_test)[:, 0]


chances = lab.side_by_side(dogs, [
    (widths, seed) for seed in lab.seeds[:2]
    for widths in itertools.product(WIDTHS if seed == SEED else (1, 32), repeat=len(INNER))])
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
# **What the table says:** five plans are beaten by no other in size and accuracy, and `linear1` has one bit
# in all of them. With `conv2` in full precision the network then reaches 77.0 to 77.1 %, as in float, in 144
# kB; with one or two bits in `conv2` it reaches 72.5 to 73.7 % in half of that. The bits belong in
# `conv2`, and nowhere else.
#
# A rank correlation (Spearman's: the correlation of the ranks) is 1 if the order is right, and 0 if there is
# no relation. But accuracies on 2,400 images are uncertain, and so is their order. The **bootstrap** says how
# uncertain: draw as many test images again, with replacement, take the errors of all plans on *those* images,
# and correlate again; the middle 95 % of the results are the interval.


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
def expected(table, of=None):
    """Expected damage of each plan, of the first seed's without."""
    return np.array([sum(table.loc[name, bits] for name, bits in zip(INNER, widths)) for widths in of or mine])


def elsewhere(table):
    """Rank correlation with another seed's network, whose plans have one or 32 bits."""
    of = [(widths, seed) for widths, seed in chances if seed != SEED]
    errors = [np.mean((chances[key] > 0.5) != data.y_test) for key in of]
    return stats.spearmanr(expected(table, [widths for widths, _ in of]), errors)[0] if of else np.nan


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
                  "another seed": elsewhere(table), "regret (points)": regret(predicted),
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
measure.printed(judged, 2)

# %%
with plots.style():
    figure, ax = plots.axes_of(0.34 * len(judged) + 0.9)
    rank = np.arange(len(judged))
    ax.hlines(rank, judged["95 % from"], judged["to"], color="#888888", linewidth=2)
    ax.plot(judged["rank correlation"], rank, "o", color=plots.COLORS[0])
    ax.set_yticks(rank, judged.index)
    ax.invert_yaxis()
    ax.set(xlabel="rank correlation with the accuracies of all plans, 95 %")
plots.show(figure, alt="Rank correlation of each measure with its interval: PCA's increase 0.90 and the Hessian 0.80 at the top, noise of the outputs 0.56, all layers alike 0.31, random scores 0.29 from −0.1 to 0.8, the number of weights 0.09, TwoNN's change −0.01.")

# %% [markdown]
# **What the figure says:** TwoNN's change is at the very bottom, at −0.01 with an interval that includes zero,
# below the number of weights and below the mean of *random* scores, 0.29. (Random scores are not at 0,
# because they know as well that fewer bits do more harm. A measure has to beat that.) TwoNN expects 69 % of
# the damage in `linear1`, exactly where one bit does none. A plan chosen by it is 2.39 points below the best
# one of its size; a plan chosen by chance is 1.40 below.
#
# PCA's increase and the Hessian are at the top, with 0.90 and 0.80; their intervals overlap by half, and one
# random score in forty reaches 0.78. The noise of the outputs stays below PCA here, interval and all. But with
# another seed's network it and the Hessian are as good as PCA (and all layers alike reach 0.81, on eight
# plans), so the order of these three is not decided. PCA's increase puts all of the damage on one of the
# layers, and with only three layers a lucky guess goes a long way. The noise of the outputs needs neither
# labels nor gradients, and less than half of the Hessian's time.

# %% [markdown]
# ## 11 · Backwards from the bytes
#
# 96 % of the parameters belong to the first dense layer, so a plan of bits alone cannot get below 72 kB.
# *Fewer units* there save bytes at any number of bits. With weights of $b$ bits and biases of 32, for $f_1$
# and $f_2$ filters, $u$ units, 16 more and one output, the network takes
#
# $$\tfrac b8\,(27 f_1 + 9 f_1 f_2 + 64 f_2 u + 16 u + 16) + 4\,(f_1 + f_2 + u + 16 + 1)\ \text{bytes.}$$
#
# By hand: $f = (2, 4)$, $b = 8$, 1,000 bytes. Without any unit there are $54 + 72 + 16 + 4 \cdot 23 = 234$
# bytes; a unit takes $256 + 16 + 4 = 276$; $(1000 - 234)/276 = 2.8$, so two units fit.


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
# Where do the weights of the small network come from? **Structured pruning** (lab 06) keeps those filters and
# units of the large one that have the largest norms, and trains on. The control trains the same small network
# from scratch, for as many epochs.

# %%
my_guess = predict(
    "cut down",
    "a network cut out of the trained one, against the same small one from scratch, equal epochs",
    choices=["the cut one is better", "no difference that 2,400 images can tell", "from scratch is better"],
    answer=None,
)

# %%
GRAPH_BYTES = 4_000  # of an int8 file without names, beside its weights
DESIGNS = {"≤ 50 kB": (50_000, (32, 48)), "≤ 20 kB": (20_000, (16, 24))}
TRAIN_ON = {"epochs": {"quick": 1, "full": 6}[PROFILE], "rate": 1e-3}


def cut(network, filters, units):
    """The network with the filters and units of largest norm, and no others."""
    keep = {}
    for name, count in zip(LAYERS[:3], (*filters, units)):
        norms = pruning.filter_norms(kernels.prunable(network)[name].numpy())
        keep[name] = norms >= np.sort(norms)[-count]
    return pruning.remove_filters(network, keep)


def units_of(design):
    """Units of the first dense layer in an int8 file of a design."""
    budget, filters = DESIGNS[design]
    return units_that_fit(budget - GRAPH_BYTES, filters, 8)


def designed(design, name, seed, epochs=None):
    """A network cut down to a design and trained, for other epochs if told; and its int8 file."""
    small = cut(floats[name, seed], DESIGNS[design][1], units_of(design))
    small = fitted(small, tasks[name], **TRAIN_ON | ({"epochs": epochs} if epochs else {}), seed=seed)
    return small, minimal.without_names(qat(small, name, seed))


def from_scratch(design):
    """The network of a design for cats and dogs, trained from scratch."""
    runtime.set_seed(SEED)
    return fitted(quantnet.build(DESIGNS[design][1], (units_of(design), 16)), data, **TRAIN_ON)


designs = list(DESIGNS if full else DESIGNS.keys() - {"≤ 20 kB"})
tiny = lab.side_by_side(designed, [
    (design, name, seed) for design in designs for name, seed in floats if name == CAT_DOG or seed == SEED])
for (design, name, seed), (small, content) in tiny.items():
    handed = {"file": "quantnet_tiny.tflite", "hand_in": True} if (design, name) == ("≤ 50 kB", CAT_DOG) else {}
    right[name, f"{design}, int8", seed] = written(f"{design}, int8", content, name, seed, **handed)
    right[name, f"{design}, cut, float", seed] = right_of(small, tasks[name])
for design, network in lab.side_by_side(from_scratch, {design: (design,) for design in designs}).items():
    right[CAT_DOG, f"{design}, from scratch, float", SEED] = right_of(network)
rows = {}
for design, name, kind in itertools.product(designs, tasks, ("cut, float", "from scratch, float", "int8")):
    if (name, f"{design}, {kind}", SEED) in right:
        rows[name, design, kind] = {"units": units_of(design)} | against_float(f"{design}, {kind}", name) | (
            {"bytes": len(tiny[design, name, SEED][1])} if kind == "int8" else {})
gain, error = paired(right[CAT_DOG, "≤ 50 kB, cut, float", SEED], right[CAT_DOG, "≤ 50 kB, from scratch, float", SEED])
reveal("cut down", my_guess, "no difference that 2,400 images can tell" if abs(gain) <= 2 * error else
       "the cut one is better" if gain > 0 else "from scratch is better", f"{gain:+.1f} ± {2 * error:.1f} points.")
small_ones = pd.DataFrame(rows).T.rename_axis(["task", "design", "network"])
measure.printed(small_ones.astype(dict.fromkeys(("units", "seeds", "bytes"), "Int64")), 2)

# %% [markdown]
# **How long?** Six epochs may be too few. With them the smaller design recognises 93.9 % of the horses and
# frogs (one seed): do twelve give more? The number of epochs is a choice, and choices are made on the
# *validation* images. The test images are used once, for the number that was chosen.

# %%
if full:
    chosen_on = cifar10_pairs.pair("horse", "frog", judged="validation").load(DATA, seed=0)
    ended = lab.side_by_side(designed, {(epochs, seed): ("≤ 20 kB", HORSE_FROG, seed, epochs)
                                        for epochs in (6, 12) for seed in lab.seeds})
    contents = {key: content for key, (_, content) in ended.items()}
    validated = pd.Series({key: 100 * right_of(content, chosen_on).mean() for key, content in contents.items()})
    longer = validated.groupby(level=0).agg(["mean", "std"]).add_prefix("validation (%), ")
    best = longer["validation (%), mean"].idxmax()
    technique = f"≤ 20 kB, int8, {best} epochs"
    for seed in lab.seeds:
        right[HORSE_FROG, technique, seed] = written(technique, contents[best, seed], HORSE_FROG, seed)
    tested = pd.Series([100 * right[HORSE_FROG, technique, seed].mean() for seed in lab.seeds])
    longer.loc[best, ["test (%), mean", "test (%), std", "bytes"]] = tested.mean(), tested.std(), len(contents[best, SEED])
measure.printed(longer.rename_axis("epochs").astype({"bytes": "Int64"}), 2) if full else "the full profile chooses it"

# %% [markdown]
# **Fewer bits or fewer units?** The same 20,000 bytes can be spent on weights of eight bits, of four or of
# two:

# %%
def of_bits(task, bits, units):
    """A small network with weights of so many bits, trained."""
    plan = {name: Precision(bits, inputs=32 if name in ("conv1", "output") else 8) for name in LAYERS}
    start = mixed_precision.within_one(cut(floats[task, SEED], (16, 24), units), images[task])
    network = mixed_precision.within_one(mixed_precision.quantize(start, plan), images[task])
    return fitted(network, tasks[task], **TRAIN_ON | {"epochs": 12})  # few bits learn more slowly


rows = {}
ended = lab.side_by_side(of_bits, [
    (task, bits, units_that_fit(DESIGNS["≤ 20 kB"][0], (16, 24), bits))
    for task, bits in itertools.product((CAT_DOG, HORSE_FROG), (8, 4, 2) if full else ())])
for (task, bits, units), network in ended.items():
    name = f"{bits} bits, {units} units"
    right[task, name, SEED] = noted(name, network, task)
    rows[task, name] = against_float(name, task) | {"bytes": len(stored(network))}
table = pd.DataFrame(rows).T.drop(columns=["seeds, from", "to", "seeds"]).astype({"bytes": int}) if full else None
table.rename_axis(["task", "network"]).round(2) if full else "the full profile trains them"

# %% [markdown]
# **What the tables say:** designing backwards from the bytes works. A file of 47,560 bytes holds nine units
# behind 48 filters, and recognises 76.8 % of the cats and dogs, as many as the float network of two megabytes
# ($+0.3 \pm 1.0$ points), and 96.7 % of the horses and frogs. A file of 18,704 bytes reaches 74.0 and 93.9 %
# after six epochs. Twelve are better on the validation images, by less than the seeds scatter ($95.6 \pm
# 0.7$ against $94.9 \pm 0.9$ %), and the test images then give $95.7 \pm 0.6$ % of the horses and frogs, mean
# and standard deviation of three seeds. The smallest network of the thesis takes 132,100 bytes.
#
# A network that was cut out of the trained one is 13 points better than the same one from scratch: six epochs
# are enough to continue from what the large one has learned, and far too few to begin with. That is all the
# control says; it does not say that small networks cannot be trained from scratch in more epochs.
#
# Fewer bits or fewer units? 20,000 bytes hold 10 units of eight bits, 22 of four or 47 of two. After twelve
# epochs eight and four bits cannot be told apart on either task (74.0 and 74.3 %, 95.1 and 95.3 %), and two
# bits are 1.2 to 1.6 points below either. Four bits do not justify a format that few devices compute in, and
# here two bits are a loss.

# %% [markdown]
# ## 12 · The final comparison
#
# The thesis's table 4.8 ends with two pipelines of its own. The first gives two bits to the significant
# layers (by TwoNN: the dense ones) and one bit to the other. The second trains the significant layers by
# plain QAT and clusters the insignificant one, keeping its clusters. The thesis gives the second one 0.1625
# MB, less than the 0.2394 MB with *all* layers clustered.

# %%
my_guess = predict(
    "the last row",
    "`linear1` has 524,288 weights of eight bits, not clustered. The file after gzip has",
    choices=["about 0.16 MB", "about 0.24 MB", "more than 0.3 MB"],
    answer=None,
)

# %%
insignificant = [name for name in INNER if name not in chosen(TABLE_4_6["TwoNN"], 20)]
EVERYWHERE = dict.fromkeys(LAYERS[:-1], 16) | {"output": 8}


def clustered_file(layers, seed):
    """The int8 file of a network of which some layers share so many values, which QAT keeps."""
    wrapped = clustering.cluster(floats[CAT_DOG, seed], layers)
    part = clustering.strip(fitted(wrapped, data, **CLUSTERED, seed=seed))
    return keeping(part, seed=seed, only=layers)


ended = lab.side_by_side(clustered_file, {
    ("TwoNN, CQAT int8", seed): (dict.fromkeys(insignificant, 16), seed) for seed in lab.seeds
} | {("16 clusters, CQAT int8", seed): (EVERYWHERE, seed) for seed in lab.seeds[1:]})  # the first one's is there
for (technique, seed), content in ended.items():
    right[CAT_DOG, technique, seed] = written(technique, content, seed=seed)

# %%
packed_size = measure.size(ended["TwoNN, CQAT int8", SEED]).gzip_bytes / 1e6
reveal("the last row", my_guess, "about 0.16 MB" if packed_size < 0.2 else "about 0.24 MB" if packed_size < 0.3 else
       "more than 0.3 MB", f"{packed_size:.3f} MB: what is not clustered does not shrink by being significant.")
rows = {}
for technique in ("float", "QAT int8", "16 clusters, QAT int8", "16 clusters, CQAT int8", TWO_NN, TWO_NN + EASED, "TwoNN, CQAT int8",
                  "≤ 50 kB, int8", "≤ 20 kB, int8"):
    if (CAT_DOG, technique, SEED) in right:
        rows[technique] = against_float(technique)
sizes_of = lab.report()
sizes_of = sizes_of[sizes_of["model"] == CAT_DOG]
final = pd.DataFrame(rows).T.astype({"seeds": int}).rename_axis("technique").join(sizes_of[["bytes", "gzip (bytes)"]])
(final.assign(**{"MB": final["gzip (bytes)"].fillna(final["bytes"]) / 1e6})
 .drop(columns=["bytes", "gzip (bytes)"]).round(dict.fromkeys(rows["float"], 2) | {"MB": 4}))

# %% [markdown]
# **What the table says:** the last row of the thesis's table keeps its accuracy, $-0.1 \pm 0.7$ points
# against float, but not its size: 0.419 MB, where the thesis prints 0.1625. In that plan `linear1`, 96 % of
# the network, is not clustered, so it cannot come out smaller than with clusters everywhere (0.276 MB here).
# A layer that is called significant is a layer that is not made smaller.
#
# Of all rows the smallest without a loss is not in the thesis: cut down to nine units, with eight bits, 0.040
# MB after gzip. The thesis's mixed precision takes 0.138 MB, and loses three points even with inputs of eight
# bits.
#
# **Ten classes.** The thesis leaves open whether its method extends to more classes. Here is the same network
# with ten outputs, on all of CIFAR-10.

# %%
if full:
    ten = cifar10.SOURCE.load(DATA, seed=0)
    tasks["ten classes"], images["ten classes"] = ten, ten.representative(300, seed=SEED)
    recipe = quantnet.RECIPES[PROFILE].but(epochs=12, learning_rate=2e-3, batch=128, loss="sparse_categorical_crossentropy")
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
# **What the table says:** with the same layers and twelve epochs the network recognises 73.07 % of the images
# of ten classes, and 73.26 % after QAT, in a quarter of the bytes. (QAT was one more epoch, as in section 3,
# and $+0.19 \pm 0.27$ points cannot be told from zero.) Nothing in these techniques depends on there being two
# classes.
#
# ### The thesis's claims
#
# Most claims are about a difference of two accuracies. We call such a claim confirmed or refuted if the
# measured difference is more than two standard errors from zero and has the same sign with every seed, and
# not decidable otherwise. A claim that something loses so many points against float is confirmed if the loss
# measured here is within two standard errors of it.

# %%
CLAIMS = [  # what is claimed, the better one, the other one, the thesis's difference (points) if it is printed
    ("QAT is better than post-training integers", CAT_DOG, "QAT int8", "int8", 2.10),
    ("integers lose more than the dynamic range", CAT_DOG, "dynamic range", "int8", 0.85),
    ("16x8 is better than int8", CAT_DOG, "16x8", "int8", 1.10),
    ("QAT improves horses and frogs over float", HORSE_FROG, "QAT int8", "float", 1.55),
    ("pruned weights are better than pruned neurons, at one half", CAT_DOG, "without 50 % of the weights",
     "without 50 % of the neurons", None),
    ("keeping clusters is better than losing them", CAT_DOG, "16 clusters, CQAT int8", "16 clusters, QAT int8", 0.25),
    ("the first layer bears one bit least: linear1 does better", CAT_DOG, "linear1 binary", "conv1 binary", 2.40),
    ("TwoNN's plan: a binary conv2 is better than a binary linear1", CAT_DOG, "conv2 binary", "linear1 binary", 0.60),
    ("the same for horses and frogs", HORSE_FROG, "conv2 binary", "linear1 binary", 0.50),
    ("two bits in the significant layers are better than one", CAT_DOG, TWO_NN, ALL_BINARY, 1.60),
    ("the same for horses and frogs, two bits", HORSE_FROG, TWO_NN, ALL_BINARY, 1.05),
    ("the same with inputs of 8 bits", CAT_DOG, TWO_NN + EASED, ALL_BINARY + EASED, None),
    ("TwoNN with kept clusters is better than clusters everywhere", CAT_DOG, "TwoNN, CQAT int8",
     "16 clusters, CQAT int8", 0.10),
] + [  # what is claimed to lose so little against float
    (f"{technique} loses {lost:.2f} points", CAT_DOG, "float", technique, lost)
    for technique, lost in (("int8", 2.30), ("float16", 1.35), ("16 clusters", 0.70), (TWO_NN, 0.20),
                            (TWO_NN + EASED, 0.20), ("TwoNN, CQAT int8", 0.05))
]
rows = []
for claim, task, better, worse, printed in CLAIMS:
    seeds = [s for s in lab.seeds if {(task, better, s), (task, worse, s)} <= set(right)]
    if not seeds:
        continue
    found = np.array([paired(right[task, better, s], right[task, worse, s]) for s in seeds])
    difference, error = found[:, 0].mean(), 2 * found[:, 1].mean()
    told = abs(difference) > error and np.ptp(np.sign(found[:, 0])) == 0
    verdict = "not decidable" if not told else "confirmed" if difference * (printed or 1) > 0 else "refuted"
    if better == "float":
        verdict = "confirmed" if abs(difference - printed) <= error else "refuted"
    rows.append({"claim": claim, "thesis": printed, "here": difference, "± 2 s.e.": error, "seeds": str(len(seeds)),
                 "verdict": verdict})
rows += [{"claim": "a hunchback: the dimension rises up to conv2 (times)", "thesis": 49.48 / 25.61,
          "here": rise["trained"], "verdict": "refuted" if rise["trained"] < 1.2 else "confirmed"
          if rise["untrained"] < 1.2 else "confirmed, but before any training too"},
         {"claim": "30.42, 14.4 and 15.87 times smaller", "verdict": "confirmed, exactly"},
         {"claim": "conv1 in one bit is 1.01 times smaller", "thesis": 1.01,
          "here": times_smaller(parameters, {"conv1": 1}), "verdict": "refuted: 1.00"},
         {"claim": "TwoNN with kept clusters takes 0.1625 MB", "thesis": 0.1625, "here": packed_size,
          "verdict": "refuted" if packed_size > 0.2 else "confirmed"}]
claims = pd.DataFrame(rows).set_index("claim")
measure.printed(claims, 2)

# %% [markdown]
# **What the table says:** most of the differences from which the thesis draws its conclusions cannot be
# decided with 2,400 images, even in pairs and with three seeds: QAT against post-training quantisation,
# activations of sixteen bits, kept against lost clusters, TwoNN with kept clusters against clusters
# everywhere. Confirmed are the hunchback, the ratios, the sensitivity of the first layer, weights before
# neurons at one half, the small losses of clusters, and two bits before one where the inputs have as few;
# with inputs of eight bits, or on horses and frogs, even that cannot be decided. Refuted is what the method
# rests on, that `conv2` is the layer to be made binary and `linear1` the one to be spared; so are the losses
# of post-training files, which did not occur here, and the size of the last pipeline.
#
# "Not decidable" does not mean "wrong". And "refuted" holds for this training: four epochs after quantising,
# where the thesis does not say how many it took.

# %% [markdown]
# ## The ledger

# %%
report = lab.report(device=True)
report = report[report["model"] == CAT_DOG]
columns = ["accuracy (%)", "± (%)", "bytes", "gzip (bytes)", "microcontroller", "arena (bytes)"]
measure.printed(report[[name for name in columns if name in report]], 2)

# %%
everything = measure.summary(lab.ledger.table(), lab.metrics).query(f"lab == '{lab.number}'")
everything = everything[(everything["data"] == data.label) & (everything["profile"] == PROFILE)
                        & everything["gzip (bytes)"].notna() & (everything["model"] == CAT_DOG)]
plots.show(
    plots.front(everything, measure.front(everything, "gzip (bytes)"), "gzip (bytes)"),
    alt="Test accuracy over bytes after gzip of all cat and dog files of this lab; not beaten are four: at most 20 kB in int8, 4 bits with 22 units, at most 50 kB in int8, and, a tenth of a point above it in eight times the bytes, 16 clusters in float16.",
)

# %% [markdown]
# **What the ledger says:** TensorFlow Lite Micro runs all TFLite files but those of dynamic range and of float16:
# it has no convolution of float activations with int8 weights, and converts no float16. The smallest file needs
# an arena of 23,344 bytes, more than its own 18,704, and the one of nine units 44,144, nearly as much as the
# whole network after QAT: an arena holds activations, and its first convolution has kept all 32 filters.
#
# **What the figure says:** between 40 kB and two megabytes nothing is more accurate than the network that was
# cut down to nine units, except, with one seed, by a tenth of a point. Clusters and QAT lie beside it at seven to
# twelve times the bytes, and plans of one and two bits below it. Reduce the number of units first, and the number
# of bits second.

# %% [markdown]
# ## Published against measured

# %%
sides = lab.compare("int8", "dynamic range", "float16", "16x8", "QAT int8", "16 clusters", "16 clusters, QAT int8",
                    "16 clusters, CQAT int8", *list(PLANS)[:5], "TwoNN, CQAT int8", size="gzip (bytes)")
sides = sides.rename(index=lambda name: "thesis" if "IIT" in name else name, level="source")
sides.xs(CAT_DOG, level="model")

# %%
sides.drop(CAT_DOG, level="model").sort_index(level=["model", "technique"]).swaplevel(0, 2)

# %% [markdown]
# **What the tables say:** with the same layers the networks here recognise ten points more of the cats and
# dogs, four of the horses and frogs, and eleven of the rotated ones. The differences that are known are
# augmentation, a learning rate that rises and falls, and no early stopping. Post-training files lose 1.2 to 2.3
# points of the cats and dogs in the thesis and nothing here. The sizes of the int8 files agree (4.0 times
# smaller and, after gzip, 4.2); the clustered ones are larger here, where each weight is stored at full width
# and only gzip makes use of the clusters. Plans with few-bit inputs lose far more here. (These tables compare a
# file of one seed with the mean of three float networks; section 6 compares it with its own.)

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="noise" points=4
# **A table shows 65.6 and 66.0 %, on 2,400 images, as means of 20 runs. What can be concluded? What would you
# ask the author for?**
#
# <!-- BEGIN SOLUTION -->
# Not which of the two is better. At 66 % of 2,400 images one accuracy has a standard error of 0.97 points,
# and the difference of two independent ones has 1.37; 0.4 is a third of that. A mean of 20 runs averages out
# the scatter of training, but not that of the images, which all runs share. I would ask how many images only
# one of the two networks gets right, so that the difference can be paired (here its standard error is then
# 0.04 to 0.4 points), and for the spread over the runs.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="two_bits" points=4
# **Why are two bits, clipped at ±1, hardly better than one in this network, and what are two ways out?**
#
# <!-- BEGIN SOLUTION -->
# The weights of `linear1` have a standard deviation of 0.03, and only a weight beyond ±2/3 takes one of the
# outer two values: none of 524,288 does. Two of the four values are never used, and the squared error is 41
# %, as with one bit. Two ways out: put the values where the weights are (fitted to their spread: 16 %), or
# bring the weights to the size of the grid before they are rounded, layer by layer or channel by channel.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="worth" points=5
# **Is the intrinsic dimension worth its cost as a measure of which layers matter? Name its rank correlation, that of
# two controls, the intervals, and the seconds.**
#
# <!-- BEGIN SOLUTION -->
# No. TwoNN's change ranks the 27 plans with a correlation of −0.01 (−0.15 to 0.13); treating all layers alike
# gives 0.31 (0.14 to 0.39), 200 random scores 0.29 in the mean, and 95 % of them lie between −0.11 and 0.78.
# It took 6.9 seconds, three quarters of the Hessian's 9.6 (0.80, 0.64 to 0.84) and nearly twice as long as the
# noise of the outputs (0.56, 0.47 to 0.65). Three layers of one network are few; but on them it chose the wrong one.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="hunchback" points=4
# **Does QuantNET have a hunchback? What do the two controls say, and what do estimates above 20 mean at
# all?**
#
# <!-- BEGIN SOLUTION -->
# Yes: TwoNN gives 28, 45, 51, 14, 5 and 1, alike with three seeds. Untrained it gives 28, 28 and 27: the
# hunchback comes with training. With random labels, learned by heart, it gives 45 behind `conv2`: it does not
# come with knowing what a cat is. Estimates above 20 are too low, and noise of 100 dimensions gives 51 as
# well: 51 may stand for a hundred. They serve to compare equally many points of the same images, and no more.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Two networks are compared on the same images, and the standard error of the mean difference says what a
#   table can establish.
# - Bits add up, ratios do not; a layer with 96 % of the weights decides the size, whatever is done to the
#   others.
# - Where the values of a quantiser lie matters as much as how many there are: two bits can be worth one.
# - TwoNN measures curved shapes, which principal components cannot, and underestimates high dimensions.
# - A measure of sensitivity is a prediction: rank it against the truth and against trivial scores, with an
#   interval.
# - A budget of bytes is met by arithmetic, backwards; training comes after that.
#
# **Further reading:** E. Facco et al., *Estimating the intrinsic dimension of datasets by a minimal neighborhood
# information*, Scientific Reports 7 (2017) · A. Ansuini et al., *Intrinsic dimension of data representations in deep
# neural networks*, NeurIPS 2019 · I. Chakraborty et al., *Constructing energy-efficient mixed-precision neural networks
# through principal component analysis for edge intelligence*, Nature Machine Intelligence 2 (2020) · M. Rastegari et
# al., *XNOR-Net*, ECCV 2016 · Z. Dong et al., *HAWQ-V2: Hessian aware trace-weighted quantization of neural networks*,
# NeurIPS 2020 · Anirudh S, *Optimal compression of convolutional neural networks for edge devices*, IIT Madras, 2022.
#
# **Where to go on:** lab 10 takes fixed-point numbers to PULP's convolution engine; lab 09 asks which of many
# small networks is the best, and how much of that is luck.

# %% tags=["finish"]
lab.finish()
