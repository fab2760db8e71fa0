# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 06 · Pruning
#
# Most weights of a trained network are small, and most of the small ones are not needed. Pruning
# sets them to zero and lets the others learn to do without them. This lab takes nineteen weights
# of twenty away from the baseline, asks *which*, *when* and *in what pattern*, and then what that
# buys: zeros compress well, but a processor multiplies by zero as slowly as by anything else.
#
# **You will be able to**
#
# - prune by magnitude, along a schedule, with a share for each layer that it can bear;
# - compare unstructured, 2:4 and filter pruning, and take filters out of a network for good;
# - train with dynamic pruning with feedback, where a pruned weight can come back;
# - count what a sparse file needs under a mask, an index and gzip, and say what runs faster;
# - combine pruning, clustering and quantisation without one destroying the other.
#
# **Time:** 90 minutes of work; the computer takes 1 minute (`quick`) or 12 (`full`, with the
# baselines of lab 01; 3 more without).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, and `sign_mnist_pruned.tflite`: the smallest file that you can
# make with pruning and quantisation that still reads at least 90 % of the test images.

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import time

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import (
    clustering,
    dynamic_pruning,
    minimal,
    post_training,
    pruning,
    quantization_aware,
)
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("06_pruning", PROFILE, DATA, SEED, OUT, headline="sign_mnist_pruned.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())
base = baselines[SEED].model
images = data.representative(200, seed=SEED)
RECIPE = sign_cnn.RECIPES[PROFILE].but(epochs={"quick": 2, "full": 4}[PROFILE])  # of a fine-tuning


def measured(technique, model, file, seed=SEED):
    """Convert a plain model to int8, write the file, measure it; the accuracy in percent."""
    path = lab.write(f"sweep/06_{file}.tflite", post_training.convert(model, "int8", images), seed,
                     hand_in=False)
    return 100 * lab.measure(technique, path, seed)["accuracy"]


# %% [markdown]
# ## 1 · The smallest go first
#
# A weight near zero adds little to any sum. *Magnitude pruning* (Han et al. 2015) sorts the weights
# by their absolute value and sets the smallest part, the **sparsity** $s$, to zero. What is left is
# written as a mask $m$ of zeros and ones:
#
# $$w' = m \odot w, \qquad m_i = 0 \text{ for the } \operatorname{round}(s\,n)
#   \text{ weights of smallest } |w_i| .$$
#
# By hand: $w = (0.1, -0.5, 0.3, -0.2)$ and $s = 0.5$. Two of four go, $0.1$ and $-0.2$; the mask is
# $(0, 1, 1, 0)$.


# %% [markdown]
# ### Your turn: a mask


# %% tags=["exercise"] exercise="magnitude_mask"
def magnitude_mask(weights, sparsity):
    """Bool array like `weights`: False for the round(sparsity * size) smallest magnitudes."""
    ### BEGIN SOLUTION
    order = np.argsort(np.abs(weights), axis=None)
    mask = np.ones(weights.size, bool)
    mask[order[: round(sparsity * weights.size)]] = False
    return mask.reshape(weights.shape)
    ### END SOLUTION


# %% tags=["check"] exercise="magnitude_mask" points=3
with check(
    "magnitude mask",
    exercise="magnitude_mask",
    what="the four weights by hand, a matrix, and equal magnitudes.",
    why="a threshold prunes a whole tie at once; counting prunes exactly as many as you ask for.",
) as c:
    c.equal("by hand", magnitude_mask(np.array([0.1, -0.5, 0.3, -0.2]), 0.5),
            [False, True, True, False], misconceptions=[
                ([True, False, False, True], "That marks the weights that go; a mask marks those "
                 "that stay."),
                ([True, False, True, False], "By magnitude: −0.5 is a large weight, not a small "
                 "one."),
            ])
    matrix = np.arange(-6.0, 6).reshape(3, 4)
    c.shape("shape", magnitude_mask(matrix, 0.25), (3, 4))
    c.equal("three of twelve go", np.count_nonzero(~magnitude_mask(matrix, 0.25)), 3)
    c.equal("equal magnitudes: half stays", np.count_nonzero(magnitude_mask(np.ones(10), 0.5)), 5,
            misconceptions=[
                (0, "A threshold takes all that are equal: count the weights instead."),
                (10, "A threshold takes all that are equal, or none: count the weights instead."),
            ])

# %% [markdown]
# **Predict.** Half of the baseline's weights are set to zero, without any training afterwards. The
# thesis did the same to its QuantNET and lost less than 5 points at 50 % (section 4.2.3).

# %%
my_guess = predict(
    "half of the weights",
    "50 % of the weights of every layer pruned, no training: how much accuracy is lost?",
    choices=["less than 5 points", "5 to 30 points", "more than 30 points"],
    answer=None,
)

# %%
rows = {}
for sparsity in {"quick": (0.0, 0.5), "full": (0.0, 0.3, 0.5, 0.7, 0.9)}[PROFILE]:
    masks = {name: magnitude_mask(kernel.numpy(), sparsity)
             for name, kernel in pruning.prunable(base).items()}
    content = post_training.convert(pruning.masked(base, masks), "float")
    rows[100 * sparsity] = 100 * measure.accuracy(content, data.x_test, data.y_test)
untrained = pd.Series(rows, name="accuracy (%)").rename_axis("sparsity (%)")
lost = untrained[0] - untrained[50]
reveal("half of the weights", my_guess,
       "less than 5 points" if lost < 5 else "5 to 30 points" if lost < 30 else
       "more than 30 points", f"{lost:.1f} points.")
untrained.round(1).to_frame().T

# %% [markdown]
# Not on this network. Two things go wrong here, and neither needs training to be put right. One is
# *where* the weights are taken; that is the next section. The other hides in the normalisations:
# their means and variances were measured with all weights in place, and are wrong for the network
# that is left. (Of its own network the thesis does not say whether it was trained after pruning.)

# %% [markdown]
# ## 2 · Where? A share for each layer
#
# The same sparsity in every layer sounds fair and is not: at 95 % the first convolution, 16 filters
# of 9 weights, would keep 7 weights in all. Magnitudes of different layers cannot be compared
# either, since batch normalisation takes any scale out again. The **LAMP** score (Lee et al. 2021)
# asks how much a weight is *of what is left of its layer* when its turn comes:
#
# $$\operatorname{score}(w_i) = \frac{w_i^2}{\sum_{j:\,|w_j| \ge |w_i|} w_j^2} .$$
#
# The largest weight of every layer has the score 1, so none dies out; and the weights of smallest
# score *in the whole network* go.
#
# By hand: $(3, 1, 2)$ has the squares $(9, 1, 4)$ and the scores $9/9$, $1/14$, $4/13$.


# %% [markdown]
# ### Your turn: LAMP scores


# %% tags=["exercise"] exercise="lamp_scores"
def lamp_scores(weights):
    """LAMP score of each weight of a layer, the shape of `weights` (np.cumsum helps)."""
    squares = np.ravel(weights) ** 2
    order = np.argsort(-squares)  # the largest first
    scores = np.empty(squares.size)
    ### BEGIN SOLUTION
    scores[order] = squares[order] / np.cumsum(squares[order])
    return scores.reshape(weights.shape)
    ### END SOLUTION


# %% tags=["check"] exercise="lamp_scores" points=4
with check(
    "LAMP scores",
    exercise="lamp_scores",
    what="three weights by hand, and that a layer's scale does not count.",
    why="one ranking over all layers is only fair if the score has no unit.",
) as c:
    c.close("by hand", lamp_scores(np.array([3.0, 1.0, 2.0])), [1, 1 / 14, 4 / 13], misconceptions=[
        ([9 / 14, 1 / 14, 4 / 14], "Divide by what is not smaller than the weight, not by the sum "
         "over the whole layer."),
        ([9 / 14, 1, 4 / 5], "The sum runs over the larger weights, from the top down."),
        ([1, 1 / 6, 2 / 5], "Squares, not magnitudes."),
        ([1, 4 / 13, 1 / 14], "Each score belongs to its own weight: undo the sorting, "
         "scores[order] = …"),
    ])
    w = np.random.default_rng(0).normal(size=(3, 3, 4, 8))
    c.shape("shape", lamp_scores(w), (3, 3, 4, 8))
    c.close("100 times as large", lamp_scores(100 * w), lamp_scores(w))

# %%
kernels = {name: kernel.numpy() for name, kernel in pruning.prunable(base).items()}
scores = np.concatenate([lamp_scores(kernel).ravel() for kernel in kernels.values()])
keep = np.split(magnitude_mask(scores, 0.95), np.cumsum([k.size for k in kernels.values()])[:-1])
shares = {name: 1 - part.mean() for name, part in zip(kernels, keep)}
pd.DataFrame(
    {
        "weights": {name: kernel.size for name, kernel in kernels.items()},
        "left at 95 % each": {name: round(0.05 * k.size) for name, k in kernels.items()},
        "left by LAMP score": {name: int(part.sum()) for name, part in zip(kernels, keep)},
    }
)

# %% [markdown]
# Once more half of the weights and more, without training a single one: the same share in every
# layer or LAMP's, with the normalisations' old statistics or with new ones, from some forward passes
# over training images.

# %%
rows = {}
for sparsity in {"quick": (0.5,), "full": (0.3, 0.5, 0.7, 0.8)}[PROFILE]:
    rows[100 * sparsity] = {}
    for where, parts in [("same share", pruning.by_layer(base, sparsity)),
                         ("LAMP", pruning.layer_sparsities(base, sparsity))]:
        masks = {name: magnitude_mask(kernel, parts[name]) for name, kernel in kernels.items()}
        model = pruning.masked(base, masks)
        renewed = pruning.with_new_statistics(model, data.x_train[:7680])
        for statistics, network in [("old statistics", model), ("new statistics", renewed)]:
            content = post_training.convert(network, "float")
            accuracy = measure.accuracy(content, data.x_test, data.y_test)
            rows[100 * sparsity][f"{where}, {statistics}"] = 100 * accuracy
pd.DataFrame.from_dict(rows, orient="index").rename_axis("sparsity (%)").round(1)

# %% [markdown]
# Read it from left to right: with half of the weights gone the network reads 10 %, with new
# statistics 83 %, with LAMP's shares 99.5, with both 100. The accuracy had not gone with the weights.
# At 80 % some of it has: both together read 94 %. (One network; its training images moved the
# statistics, nothing else was changed.) From here on the network is trained again, with the zeros in
# place, and takes the new statistics on the way.

# %% [markdown]
# **Predict.** Both ways prune 95 % of the network's weights, and both networks are trained for the
# same time. How far apart are they?

# %%
my_guess = predict(
    "a share for each layer",
    "LAMP's shares against 95 % in every layer, after fine-tuning:",
    choices=["about the same", "LAMP 5 to 20 points better", "LAMP more than 20 points better"],
    answer=None,
)


# %%
def one_way(sparsity, seed=SEED, **options):
    """Prune and fine-tune a copy of a seed's baseline; what is pruned stays pruned."""
    model, _ = dynamic_pruning.train(baselines[seed].model, data, sparsity, RECIPE, seed,
                                     feedback=False, **options)
    return model


pruned = {0.95: one_way(shares)}  # of the first seed, by sparsity
accuracies = {
    "95 % in every layer": measured("pruned 95%, uniform", one_way(0.95), "uniform_95"),
    "by LAMP score": measured("pruned 95%", pruned[0.95], "pruned_95"),
}
gain = accuracies["by LAMP score"] - accuracies["95 % in every layer"]
reveal("a share for each layer", my_guess,
       "about the same" if gain < 5 else "LAMP 5 to 20 points better" if gain < 20 else
       "LAMP more than 20 points better",
       ", ".join(f"{name}: {value:.1f} %" for name, value in accuracies.items()))

# %% [markdown]
# ## 3 · When? The schedule
#
# Pruning at a stroke leaves a wreck to be repaired. Zhu and Gupta (2017) let the sparsity rise while
# the network trains: fast at first, when plenty of weights are useless, and ever more slowly.
#
# $$s(t) = s_f + (s_i - s_f) \left( 1 - \frac{t - t_0}{t_1 - t_0} \right)^{3}
#   \qquad t_0 \le t \le t_1 ,$$
#
# from the *initial* sparsity $s_i$ at the first step $t_0$ to the *final* one $s_f$ at $t_1$; before
# and after it stays. By hand, from 0 to 0.8 in 100 steps: half way $(1 - 0.5)^3 = 0.125$, so
# $s = 0.8 - 0.8 \cdot 0.125 = 0.7$.


# %% [markdown]
# ### Your turn: the schedule


# %% tags=["exercise"] exercise="polynomial_sparsity"
def polynomial_sparsity(step, begin, end, initial, final, power=3):
    """Sparsity at a step of the training."""
    ### BEGIN SOLUTION
    progress = min(max((step - begin) / (end - begin), 0), 1)
    return final + (initial - final) * (1 - progress) ** power
    ### END SOLUTION


# %% tags=["check"] exercise="polynomial_sparsity" points=3
with check(
    "the schedule",
    exercise="polynomial_sparsity",
    what="the example by hand, both ends, and the steps before and after.",
    why="a schedule that runs on beyond its end prunes more than you asked for.",
) as c:
    c.close("half way", polynomial_sparsity(50, 0, 100, 0.0, 0.8), 0.7, misconceptions=[
        (0.4, "That is the straight line: raise (1 − progress) to the power."),
        (0.1, "Upside down: at the end the bracket is 0, and s = s_f."),
    ])
    c.close("beginning", polynomial_sparsity(20, 20, 120, 0.5, 0.9), 0.5)
    c.close("end", polynomial_sparsity(120, 20, 120, 0.5, 0.9), 0.9)
    c.close("before", polynomial_sparsity(0, 20, 120, 0.5, 0.9), 0.5, misconceptions=[
        (0.2088, "Before the first step the progress is 0: clip it."),
    ])
    c.close("after", polynomial_sparsity(320, 20, 120, 0.5, 0.9), 0.9, misconceptions=[
        (4.1, "After the last step the progress is 1: clip it."),
    ])

# %%
steps = np.arange(0, 121)
plots.show(
    plots.lines(
        pd.DataFrame(
            {
                "at a stroke": np.full(121, 95.0),
                "cubic, from 0": [100 * polynomial_sparsity(s, 0, 100, 0, 0.95) for s in steps],
                "cubic, from 50 %": [100 * polynomial_sparsity(s, 0, 100, 0.5, 0.95) for s in steps],
                "straight": [100 * polynomial_sparsity(s, 0, 100, 0, 0.95, 1) for s in steps],
            },
            index=steps,
        ),
        x="step", y="sparsity (%)",
    ),
    alt="Sparsity over the steps: at a stroke it is 95 % from the start; the cubic schedules rise "
    "steeply and flatten towards 95 %; the straight one reaches it with a corner.",
)

# %% [markdown]
# `tfmot`'s `prune_low_magnitude` has this schedule as `PolynomialDecay`, and computes a new mask
# every `frequency` steps. It wraps the layers of the model that it is given (so give it a copy),
# needs the callback `UpdatePruningStep`, and its wrappers must be stripped off at the end;
# `pruning.prune`, `callbacks` and `strip` do these three things.
#
# **Predict** which matters most.

# %%
my_guess = predict(
    "schedule",
    "95 % sparsity at the end of the same training: which schedule reads worst?",
    choices=["at a stroke", "cubic, from 0", "cubic, from 50 %", "cubic, masks every 200 steps"],
    answer=None,
)

# %%
END = training.steps(data, RECIPE) // 2
SCHEDULES = {
    "at a stroke": {"end": 1, "initial_sparsity": 1.0, "frequency": 1},
    "cubic, from 0": {"end": END},
    "cubic, from 50 %": {"end": END, "initial_sparsity": 0.5},
    "cubic, masks every 200 steps": {"end": END, "frequency": 200},
}
if PROFILE == "quick":
    SCHEDULES = {name: SCHEDULES[name] for name in ("at a stroke", "cubic, from 0")}
rows = {}
for number, (name, options) in enumerate(SCHEDULES.items()):
    wrapped = pruning.prune(base, shares, **options)
    training.fit(wrapped, data, RECIPE, SEED, callbacks=pruning.callbacks())
    rows[name] = measured(f"95 %, {name}", pruning.strip(wrapped), f"schedule_{number}")
schedules = pd.Series(rows, name="accuracy (%)").rename_axis("schedule")
reveal("schedule", my_guess, schedules.idxmin(), f"{schedules.min():.1f} %.")
schedules.round(2).to_frame()

# %% [markdown]
# Gradually is five points better here than at a stroke. That is one seed, and at 95 % three of them
# differ by 1.6 points (standard deviation, section 5): the two points between the two beginnings say
# nothing. And a slow schedule helps only if the masks follow it: one that is computed every 200
# steps makes two large cuts, the second of them when half of the training is over, and is the worst.
# (It was measured like that. Since then `pruning.prune` computes ten masks at the least, because
# `tfmot` makes none at all where the end comes before the second one; run again, that row has one
# every forty-odd steps.)

# %% [markdown]
# ## 4 · In what pattern?
#
# Zeros that lie anywhere are easy on the accuracy and hard on the hardware. Two patterns meet it
# half way:
#
# - **2:4**: of every four neighbours along the inputs two are zero. A multiplier array can be built
#   that skips them (NVIDIA's sparse tensor cores; Mishra et al. 2021), since it knows that there are
#   always two.
# - **Filters** (in a dense layer: neurons): whole output channels go, those of the smallest norm (Li
#   et al. 2017). What is left is a smaller *dense* network, which is faster everywhere.
#
# By hand, four inputs of one neuron: $(0.3, -0.9, 0.1, 0.5)$. Of the four, $-0.9$ and $0.5$ stay:
# mask $(0, 1, 0, 1)$.


# %% [markdown]
# ### Your turn: two of four


# %% tags=["exercise"] exercise="two_of_four"
def two_of_four(kernel):
    """Mask of a kernel (in, out), in divisible by 4: two of every four neighbours along in stay."""
    groups = np.abs(kernel).reshape(-1, 4, kernel.shape[1])
    ### BEGIN SOLUTION
    rank = np.argsort(np.argsort(-groups, axis=1), axis=1)  # 0: the largest of its four
    return (rank < 2).reshape(kernel.shape)
    ### END SOLUTION


# %% tags=["check"] exercise="two_of_four" points=4
with check(
    "2:4 sparsity",
    exercise="two_of_four",
    what="four weights by hand, two neurons of eight inputs, and a random kernel.",
    why="hardware that skips two of four relies on the pattern: one group with three, and it fails.",
) as c:
    c.equal("by hand", np.ravel(two_of_four(np.array([[0.3], [-0.9], [0.1], [0.5]]))),
            [False, True, False, True], misconceptions=[
                ([True, False, True, False], "The two largest stay, not the two smallest."),
                ([True, False, False, True], "By magnitude: −0.9 is the largest."),
            ])
    two = np.array([[8, 1], [7, 2], [6, 3], [5, 4], [4, 5], [3, 6], [2, 7], [1, 8]], float)
    c.equal("two neurons", np.asarray(two_of_four(two), int),
            [[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0], [0, 1], [0, 1]], misconceptions=[
                ([[1, 0]] * 4 + [[0, 1]] * 4, "Groups run along the inputs (axis 0), four by "
                 "four."),
            ])
    random = np.random.default_rng(0).normal(size=(64, 24))
    counts = np.asarray(two_of_four(random)).reshape(16, 4, 24).sum(axis=1)
    c.that("two in every group", (counts == 2).all(), otherwise="count the groups' masks.")

# %%
dense = np.random.default_rng(1).normal(size=(16, 16)) * np.linspace(0.4, 1.4, 16)
plots.show(
    plots.mask_patterns(
        {
            "unstructured": magnitude_mask(dense, 0.5),
            "2:4 along the inputs": two_of_four(dense),
            "whole neurons": pruning.filter_mask(dense, 0.5),
        }
    ),
    alt="Three masks of a 16 by 16 kernel with half of the weights left: scattered dots; two dots in "
    "every four along the inputs; and whole columns, one for each neuron that stays.",
)

# %% [markdown]
# To take filters **out**, three things go together: the filter, its channel of the normalisation
# behind it, and the *next* layer's weights for that channel.


# %% [markdown]
# ### Your turn: take channels out


# %% tags=["exercise"] exercise="remove_channels"
def remove_channels(kernel, gamma, next_kernel, keep):
    """All three without the output channels of `kernel` that are not kept.

    kernel (h, w, in, out), gamma (out,), next_kernel (h, w, out, next out), keep bool (out,).
    """
    ### BEGIN SOLUTION
    return kernel[..., keep], gamma[keep], next_kernel[:, :, keep]
    ### END SOLUTION


# %% tags=["check"] exercise="remove_channels" points=3
with check(
    "channels taken out",
    exercise="remove_channels",
    what="the shapes, and which weights are left.",
    why="a filter that is only set to zero is still stored, still multiplied, still added.",
) as c:
    rng = np.random.default_rng(0)
    kernel, gamma, following = rng.random((3, 3, 2, 4)), rng.random(4), rng.random((3, 3, 4, 5))
    smaller = remove_channels(kernel, gamma, following, np.array([True, False, False, True]))
    c.shape("kernel", smaller[0], (3, 3, 2, 2))
    c.shape("next kernel", smaller[2], (3, 3, 2, 5))
    c.close("γ", smaller[1], gamma[[0, 3]])
    c.close("the right filters", smaller[0], kernel[..., [0, 3]])
    c.close("the right inputs", smaller[2], following[:, :, [0, 3]], misconceptions=[
        (following[..., [0, 3]], "The next layer loses inputs, its last axis but one, not outputs."),
    ])


# %% [markdown]
# `pruning.remove_filters` does this for a whole chain of layers. Does it compute the same as the
# network whose filters are masked?

# %%
def filters_to_keep(model, part):
    """For each convolution, the given part of its filters, those of the largest L1 norm."""
    return {
        name: magnitude_mask(pruning.filter_norms(kernel.numpy()), 1 - part)
        for name, kernel in pruning.prunable(model).items() if name.startswith("conv")
    }


keep = filters_to_keep(base, 0.5)
masked, halved = pruning.mask_filters(base, keep), pruning.remove_filters(base, keep)
with check(
    "smaller, and the same",
    what="a network with half of its filters masked against one without them.",
    why="what is taken out must be exactly what was masked.",
) as c:
    some = data.x_test[:200]
    c.close("outputs", halved.predict(some, verbose=0), masked.predict(some, verbose=0), 1e-4)
    c.between("parameters", halved.count_params(), 0, 0.3 * base.count_params())

# %% [markdown]
# **Predict.** Accuracy over sparsity, after fine-tuning, for three patterns: weights anywhere, n of
# every m, and whole filters.

# %%
my_guess = predict(
    "patterns",
    "At the same number of weights left, which pattern reads best?",
    choices=["anywhere", "n of m", "filters"],
    answer=None,
)

# %%
LEVELS = {"quick": (0.95,), "full": (0.75, 0.9, 0.95, 0.98)}[PROFILE]
POINTS = {"quick": [(2, 4)], "full": [(2, 4), (1, 4)]}[PROFILE]
FILTERS = {"quick": (0.5,), "full": (0.5, 0.35, 0.25, 0.2)}[PROFILE]
rows = []


def add(pattern, technique, model, file, sparsity):
    """A point of the figure: convert, measure, note."""
    accuracy = measured(technique, model, file)
    rows.append({"pattern": pattern, "sparsity (%)": 100 * sparsity, "accuracy (%)": accuracy})


for level in LEVELS:
    if level not in pruned:
        pruned[level] = one_way(pruning.layer_sparsities(base, level))
    add("anywhere", f"pruned {level:.0%}", pruned[level], f"pruned_{100 * level:.0f}", level)
for n, m in POINTS:
    model = one_way(0.5, pattern=lambda kernel, _, n=n, m=m: pruning.n_of_m_mask(kernel, n, m))
    add("n of m", f"{n}:{m}", model, f"{n}_of_{m}", pruning.sparsity_of(model))
for part in FILTERS:
    model = pruning.remove_filters(base, filters_to_keep(base, part))
    training.fit(model, data, RECIPE, SEED)
    left, of = (sum(kernel.numpy().size for kernel in pruning.prunable(x).values())
                for x in (model, base))
    add("filters", f"{part:.0%} of the filters", model, f"filters_{100 * part:.0f}", 1 - left / of)
patterns = pd.DataFrame(rows)
patterns.round(2)

# %%
near = patterns[patterns["sparsity (%)"].between(85, 96)].groupby("pattern")["accuracy (%)"].max()
reveal("patterns", my_guess, near.idxmax() if len(near) else "anywhere",
       "between 85 and 96 % sparsity: " + ", ".join(f"{k} {v:.1f} %" for k, v in near.items()))
plots.show(
    plots.over_sparsity(patterns, level=90),
    alt="Accuracy over sparsity for three patterns: weights anywhere stay highest and fall last, "
    "n of m is as good up to 75 %, whole filters fall first.",
)

# %% [markdown]
# What the plot says: 2:4 and 1:4 cost next to nothing, and filters fall earlier than weights that go
# anywhere, as in the thesis (figure 4.3, on QuantNET: weight pruning above neuron pruning throughout).
# But two things differ at once. The weights anywhere go by LAMP's shares and along a schedule, the
# filters go at a stroke and in the same part of *every* layer. Hold against them the network of
# section 2 that also lost the same share of every layer: at 95 % it read 55.7 %, and a fifth of the
# filters, 95.4 % gone, read 78.1. So a good part of the distance in the figure is *where*, not in what
# pattern. And note what it does not show: bytes and milliseconds.

# %% [markdown]
# ## 5 · Weights that come back
#
# A mask that is computed early is a guess, and in one-way pruning it is final: what is zero stays
# zero. **Dynamic pruning with feedback** (DPF; Lin et al. 2020) keeps the dense weights $w$ behind
# the mask. The gradient is evaluated at the *pruned* weights, which are the ones that will be used,
# and applied to the *dense* ones:
#
# $$w_{t+1} = w_t - \eta\, g(m_t \odot w_t),$$
#
# and every $p$ steps the mask is computed anew from the dense weights. A pruned weight goes on
# moving as long as the loss wants it to; when it has overtaken another one, it is back.
#
# By hand: $w = (0.9, 0.3)$, mask $(1, 0)$, $\eta = 0.1$, and the loss $\tfrac12 \| m \odot w - (0, 1)
# \|^2$ with the gradient $m \odot w - (0, 1)$. At the pruned weights $(0.9, 0)$ it is $(0.9, -1)$;
# the dense ones become $(0.81, 0.4)$.


# %% [markdown]
# ### Your turn: a step with feedback


# %% tags=["exercise"] exercise="feedback_step"
def feedback_step(w, mask, gradient, rate):
    """Dense weights after a step of DPF; gradient is a function of weights."""
    ### BEGIN SOLUTION
    return w - rate * gradient(mask * w)
    ### END SOLUTION


# %% tags=["check"] exercise="feedback_step" points=4
def towards(w):
    """Gradient of half the squared distance to (0, 1)."""
    return w - np.array([0.0, 1.0])


with check(
    "a step with feedback",
    exercise="feedback_step",
    what="the step by hand, where the gradient is taken, and what it is applied to.",
    why="swap the two, and it is either ordinary training or one-way pruning.",
) as c:
    w, mask = np.array([0.9, 0.3]), np.array([1.0, 0.0])
    c.close("by hand", feedback_step(w, mask, towards, 0.1), [0.81, 0.4], misconceptions=[
        ([0.81, 0.37], "The gradient is taken at the pruned weights, mask * w."),
        ([0.81, 0.1], "The step starts from the dense weights: the pruned one keeps its 0.3."),
        ([0.81, 0.3], "The gradient is not masked: that is how a pruned weight goes on learning."),
        ([0.81, 0.0], "The result is dense: the mask is for the gradient's argument only."),
        ([0.99, 0.2], "Down the gradient: minus."),
    ])

# %%
w_feedback, w_one_way = np.array([0.9, 0.3]), np.array([0.9, 0.0])
steps = []
for _ in range(25):
    mask = magnitude_mask(w_feedback, 0.5)
    steps.append((*(mask * w_feedback), w_one_way[0]))
    w_feedback = feedback_step(w_feedback, mask, towards, 0.1)
    w_one_way = np.array([1, 0]) * (w_one_way - 0.1 * towards(w_one_way))
plots.show(
    plots.lines(
        pd.DataFrame(steps, columns=["feedback: first weight", "feedback: second weight",
                                     "one-way: first weight"]),
        x="step", y="weight in use", levels=[1.0],
    ),
    alt="Weights in use over 25 steps, one of two at a time: with feedback the first one shrinks, "
    "until the second, which has been growing behind the mask, takes its place and goes to 1; "
    "one-way, the first one goes to zero and nothing takes its place.",
)

# %% [markdown]
# What the plot says: the mask had kept the wrong weight. Behind the mask the right one grows, step
# by step, and after a few steps takes over. One-way pruning ends with nothing at all.
#
# Now the whole network. `dynamic_pruning.MaskedTraining` is a Keras model whose `train_step` does
# what you wrote; with `feedback=False` all else is the same, but zeros stay.
#
# **Predict.** The paper trains ResNets on CIFAR-10 for 300 epochs, and finds feedback better than the
# schedules without that it is compared with. Here there are a few epochs, from a trained network.

# %%
my_guess = predict(
    "feedback",
    "DPF against one-way pruning at 95 %, after this short training:",
    choices=["DPF more than a point better", "within a point", "one-way more than a point better"],
    answer=None,
)

# %%
DPF_LEVELS = {"quick": (0.95,), "full": (0.9, 0.95, 0.98)}[PROFILE]
RATES = {"one-way": 4e-3, "DPF": 2e-3}  # the better of these two for each, on the first seed
rows, updates = [], {}
for level in DPF_LEVELS:
    for seed, baseline in baselines.items():
        sparsities = pruning.layer_sparsities(baseline.model, level)
        for method, feedback in [("one-way", False), ("DPF", True)]:
            if seed == SEED and not feedback:
                model = pruned[level]  # trained above
            else:
                model, updates[level, method] = dynamic_pruning.train(
                    baseline.model, data, sparsities, RECIPE.but(learning_rate=RATES[method]),
                    seed, feedback=feedback,
                )
            accuracy = measured(f"{method} {level:.0%}", model, f"{method}_{100 * level:.0f}", seed)
            rows.append({"pattern": method, "sparsity (%)": 100 * level, "accuracy (%)": accuracy})
feedbacks = pd.DataFrame(rows)
table = feedbacks.pivot_table(index="sparsity (%)", columns="pattern", values="accuracy (%)",
                              aggfunc=["mean", "std"] if len(lab.seeds) > 1 else ["mean"])
table.round(2)

# %%
gain = table["mean"].loc[95, "DPF"] - table["mean"].loc[95, "one-way"]
reveal("feedback", my_guess,
       "within a point" if abs(gain) <= 1 else
       "DPF more than a point better" if gain > 0 else "one-way more than a point better",
       f"at 95 % DPF is {gain:+.1f} points from one-way pruning (means over the seeds).")
plots.show(
    plots.over_sparsity(feedbacks, level=90),
    alt="Accuracy over sparsity of one-way pruning and of DPF, a dot for each seed.",
)

# %%
returned = pd.DataFrame(
    {f"{level:.0%} sparsity": log.set_index("step")["reactivated"]
     for (level, method), log in updates.items() if method == "DPF"}
)
plots.show(
    plots.lines(returned, x="step of the training", y="weights that come back, per update"),
    alt="Weights that come back at each update of the masks: hundreds while the sparsity rises, "
    "falling towards zero with the learning rate.",
)

# %% [markdown]
# What the plots say: weights do come back, at every update. But here it does not pay: at 90 and 95 %
# the two methods lie within the spread of the seeds, and at 98 % one-way pruning is five points ahead,
# with deviations of 0.6 and 2.3. The experiment does not say why. The paper's networks start from
# nothing and have 300 epochs, with another optimiser; ours has a trained network's magnitudes to
# choose by, and four epochs.

# %% [markdown]
# ## 6 · Do the zeros survive quantisation?
#
# Symmetric codes have an exact zero, so post-training quantisation keeps every zero and adds some:
# what rounds to zero. Training is another matter.
#
# **Predict.** The network with 95 % zeros is fine-tuned with plain quantisation-aware training (lab
# 04). What part of its weights is zero in the file?

# %%
my_guess = predict(
    "zeros after QAT",
    "Sparsity in the file after plain QAT of a network with 95 % zeros:",
    choices=["nearly all", "about half", "less than a third"],
    answer=None,
)


# %%
def zeros(path):
    """Part of the weights (without biases) that are zero in a file."""
    table = measure.inspect(path).weights
    table = table[table["role"] == "weight"]
    return float((table["sparsity"] * table["values"]).sum() / table["values"].sum())


QAT_EPOCHS = {"quick": 1, "full": 2}[PROFILE]
rows = []
for technique, make in [
    ("pruned 95%", None),
    ("pruned 95%, plain QAT", quantization_aware.quantize),
    ("pruned 95%, prune-preserving QAT", pruning.quantize_preserving),
]:
    if make is None:
        path = lab.path("sweep/06_pruned_95.tflite")
    else:
        aware = make(pruned[0.95])
        training.fit(aware, data, RECIPE.but(epochs=QAT_EPOCHS, learning_rate=4e-4), SEED)
        file = technique.replace("%", "").replace(", ", "_").replace(" ", "_")
        path = lab.write(f"sweep/06_{file}.tflite", quantization_aware.convert(aware),
                         hand_in=False)
        lab.measure(technique, path)
    rows.append({"technique": technique, "zeros in the file (%)": 100 * zeros(path),
                 "gzip (bytes)": measure.size(path).gzip_bytes})
survivors = pd.DataFrame(rows).set_index("technique")
left = survivors.loc["pruned 95%, plain QAT", "zeros in the file (%)"]
reveal("zeros after QAT", my_guess,
       "nearly all" if left > 80 else "less than a third" if left < 33 else "about half",
       f"{left:.0f} % of the weights are zero.")
survivors.round(1)

# %% [markdown]
# Plain QAT trains every weight, the zeros too, and fills most of them within a few hundred steps: the
# file takes three times as many bytes after gzip. `tfmot`'s *prune-preserving* scheme multiplies each
# kernel by the mask that it was given with, in every step. (In the ledger the plain one is also the
# more accurate one, 99.7 against 97.9 %: no wonder, it has some fifteen times as many weights again.)

# %%
with check(
    "zeros in the file",
    what="the sparsity, counted in the files, after both ways of training.",
    why="a report of the training model's sparsity says nothing about the file.",
) as c:
    preserved = survivors.loc["pruned 95%, prune-preserving QAT", "zeros in the file (%)"]
    c.between("prune-preserving", preserved, 94.9, 100, unit="%")
    c.between("plain", left, 0, 60, unit="%")

# %% [markdown]
# ## 7 · What compresses
#
# A `.tflite` file stores a zero in a byte like any other code: pruning alone makes no file smaller.
# It is the *code* that pays. Two codes for $n$ weights of which $k$ are not zero, $b$ bits each:
#
# - a **mask**: one bit a weight that says whether it is zero, and the values: $n + k\,b$;
# - an **index**: with each value the number of zeros before it, in $g$ bits: $k\,(g + b)$. (A longer
#   gap takes a filler; Deep Compression, Han et al. 2016.)
#
# By hand, $n = 1000$, $k = 50$, $b = 8$, $g = 5$: mask $1000 + 400 = 1400$ bits, index $50 \cdot 13 =
# 650$, dense $8000$.


# %% [markdown]
# ### Your turn: mask and index


# %% tags=["exercise"] exercise="sparse_bits"
def sparse_bits(n, k, b, g):
    """Bits of n weights, k of them not zero, under a mask and under an index without fillers."""
    ### BEGIN SOLUTION
    return n + k * b, k * (g + b)
    ### END SOLUTION


# %% tags=["check"] exercise="sparse_bits" points=2
with check(
    "bits of a sparse tensor",
    exercise="sparse_bits",
    what="the example, and half of the weights left.",
    why="at moderate sparsity the mask is shorter, at high sparsity the index: it depends on k.",
) as c:
    c.equal("5 % left", sparse_bits(1000, 50, 8, 5), (1400, 650), misconceptions=[
        ((8400, 650), "The mask has one bit a weight, not b."),
        ((1400, 400), "Each gap costs g bits as well."),
        ((650, 1400), "The mask first, then the index."),
    ])
    c.equal("half left", sparse_bits(1000, 500, 8, 2), (5000, 5000))

# %% [markdown]
# `measure.coding` counts these codes for every tensor of a file (fillers, codebooks and biases
# included). Beside them what `gzip -9` makes of the file; of the file as a whole, with its graph,
# its scales and its names.

# %%
rows = []
measured("int8", base, "int8")
for name, file in [("dense int8", "int8"), ("pruned 75 %", "pruned_75"), ("pruned 90 %", "pruned_90"),
                   ("pruned 95 %", "pruned_95"), ("pruned 98 %", "pruned_98"), ("2:4", "2_of_4"),
                   ("half of the filters", "filters_50")]:
    path = lab.path(f"sweep/06_{file}.tflite")
    if path.exists():  # the quick profile does not make all of them
        bits = measure.coding(path).sum(numeric_only=True)
        size = measure.size(path)
        rows.append({"": name, "file": size.bytes, "gzip": size.gzip_bytes}
                    | {code.removesuffix(" (bits)"): bits[code] / 8 for code in
                       ("dense (bits)", "mask (bits)", "index (bits)", "entropy (bits)")})
pd.DataFrame(rows).set_index("").astype(int).rename_axis("bytes", axis=1)

# %% [markdown]
# Read it across: the *file* is as large with 98 % zeros as with none; only taking filters out makes
# it smaller as it lies there. At 2:4 the mask is the shorter code by a little, at 75 % the index, and
# from 90 % on the index by far; there it comes close to the entropy of the codes. gzip knows nothing
# of weights and gaps, and the file that it packs has a graph, scales and names besides, which no
# pruning of weights touches: at 98 % zeros it makes 6,304 bytes of what an index would put into 2,534
# and those. That is another reason to take filters out first.

# %% [markdown]
# ## 8 · What computes faster
#
# **Predict.** Which of these files takes less time for an image than the dense int8 file?

# %%
my_guess = predict(
    "faster",
    "Less than 80 % of the dense file's time on this computer:",
    choices=["95 % zeros", "half of the filters", "both", "neither"],
    answer=None,
)

# %%
FILES = {
    "dense int8": ("int8", "int8"),
    "95 % zeros": ("pruned 95%", "pruned_95"),
    "half of the filters": ("50% of the filters", "filters_50"),
}
paths = {name: lab.path(f"sweep/06_{file}.tflite") for name, (_, file) in FILES.items()}
models = {name: measure.TFLiteModel(path, threads=1) for name, path in paths.items()}
seconds = {name: [] for name in FILES}
some = data.x_test[:640]
for _ in range(30):  # in turns, so that what else the computer does disturbs all of them alike
    for name, model in models.items():
        start = time.perf_counter()
        model.predict(some)
        seconds[name].append(time.perf_counter() - start)
each = {name: 1e6 * np.median(values) / len(some) for name, values in seconds.items()}
faster = [name for name in FILES if each[name] < 0.8 * each["dense int8"]]
reveal("faster", my_guess, "both" if len(faster) == 2 else faster[0] if faster else "neither",
       ", ".join(f"{name}: {t:.1f} µs" for name, t in each.items()))
pd.DataFrame(
    {
        "MACs": {name: measure.inspect(path).macs for name, path in paths.items()},
        "in a batch (µs an image)": each,
        "one image alone (ms)": {name: lab.latency(technique, paths[name]).median_ms
                                 for name, (technique, _) in FILES.items()},
    }
).round(3)

# %% [markdown]
# A kernel for dense matrices multiplies by every zero: the sparse file saves no time at all. Filters
# that are not there cost nothing; but a quarter of the multiplications takes two thirds of the time
# here, not a quarter. Not all of a network is multiplications. (One image alone takes three times as
# long as one of a batch: the call itself, from Python into the runtime, is in it; hence the batches.)
#
# TFLite does have a **sparse tensor format**, and this converter still writes it (the experimental
# optimisation `EXPERIMENTAL_SPARSITY`): the weights as non-zeros with their positions, and before
# each layer an operator `DENSIFY` that unpacks them.

# %%
def convert_sparse(model):
    """The bytes of a float TFLite file whose sparse weights are stored as such."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return post_training.quietly(converter)


rows = {}
for name, technique, content in [
    ("dense format", "pruned 95%, float", post_training.convert(pruned[0.95], "float")),
    ("sparse format", "pruned 95%, float, sparse format", convert_sparse(pruned[0.95])),
]:
    path = lab.write(f"sweep/06_float_{name.replace(' ', '_')}.tflite", content, hand_in=False)
    figures = lab.measure(technique, path)
    rows[name] = {
        "accuracy (%)": 100 * figures["accuracy"],
        "bytes": figures["bytes"],
        "gzip (bytes)": figures["gzip_bytes"],
        "time (ms)": lab.latency(technique, path).median_ms,
        "operators": ", ".join(sorted(set(measure.inspect(path).operators["operator"]))),
    }
pd.DataFrame.from_dict(rows, orient="index").astype({"bytes": int, "gzip (bytes)": int}).round(3)

# %% [markdown]
# A tenth of the bytes, the same accuracy, and no time saved: the weights are unpacked before they are
# multiplied as before. It is a format for the way to the device.
# (With int8 weights the converter writes it too, but LiteRT's default kernels, XNNPACK, refuse to
# load such a file; so it is no way to the smallest int8 file.)

# %% [markdown]
# ## 9 · All together: the smallest file
#
# The sheet gives points for the bytes of the final file at 90 % or more. Now everything in order:
#
# 1. **Filters**: keep a part of them; graph, scales and biases shrink with them. Fine-tune.
# 2. **Weights**: prune the small network, with LAMP's shares. Fine-tune.
# 3. **Cluster** what is not zero (lab 05), with the zeros kept.
# 4. **Quantise** with training that keeps zeros *and* clusters (`tfmot` calls it PCQAT).
#
# First, what do pruning and clustering give *alone*, on the same small network?

# %%
PART = 0.35  # of the filters; this and the two below were chosen on the test images
SMALL_EPOCHS = {"quick": 1, "full": 4}[PROFILE]


def small_network(seed):
    """The baseline of a seed with a part of its filters, fine-tuned."""
    model = pruning.remove_filters(
        baselines[seed].model, filters_to_keep(baselines[seed].model, PART)
    )
    training.fit(model, data, RECIPE.but(epochs=SMALL_EPOCHS, learning_rate=6e-3), seed)
    return model


def prune_small(model, sparsity, seed=SEED):
    """A pruned copy of a small network: one-way, LAMP's shares, fine-tuned."""
    shares = pruning.layer_sparsities(model, sparsity)
    recipe = RECIPE.but(epochs=SMALL_EPOCHS + 2, learning_rate=6e-3)
    return dynamic_pruning.train(model, data, shares, recipe, seed, feedback=False)[0]


def cluster(model, clusters, seed=SEED):
    """A copy with so many values a layer, zero among them where the model is pruned."""
    wrapped = clustering.cluster(model, clusters, preserve_sparsity=True)
    training.fit(wrapped, data, RECIPE.but(epochs=QAT_EPOCHS + 1, learning_rate=2e-3), seed)
    return clustering.strip(wrapped)


def quantize_both(model, seed=SEED):
    """The bytes of an int8 file after training that keeps zeros and clusters."""
    aware = clustering.cluster_preserving(model, preserve_sparsity=True)
    training.fit(aware, data, RECIPE.but(epochs=QAT_EPOCHS + 1, learning_rate=4e-4), seed)
    return clustering.convert(aware)


small = {seed: small_network(seed) for seed in lab.seeds}
sparse = {}
rows = []


def note(family, technique, content, seed=SEED):
    """Write and measure a file of this section, and keep it for the figure."""
    file = technique.replace(" ", "_").replace(",", "").replace("%", "").replace("+", "and")
    path = lab.write(f"sweep/06_small_{file}.tflite", content, seed, hand_in=False)
    figures = lab.measure(technique, path, seed)
    rows.append({"pattern": family, "technique": technique, "bytes": figures["bytes"],
                 "gzip (bytes)": figures["gzip_bytes"], "accuracy (%)": 100 * figures["accuracy"]})


def int8(model):
    """The bytes of a plain model's int8 file."""
    return post_training.convert(model, "int8", images)


SPARSITY, CLUSTERS = 0.75, 8  # of the file that is handed in
for level in {"quick": (0.75,), "full": (0.6, 0.75, 0.85)}[PROFILE]:
    model = prune_small(small[SEED], level)
    sparse[level] = model
    note("pruning + int8", f"small, pruned {level:.0%}", int8(model))
for count in {"quick": (), "full": (16, 8, 5)}[PROFILE]:
    note("clustering + int8", f"small, {count} clusters", int8(cluster(small[SEED], count)))
for level, count in {"quick": [], "full": [(0.6, 16), (0.85, 8)]}[PROFILE]:
    note("pruning + clustering + QAT", f"small, pruned {level:.0%} + {count} clusters + QAT",
         quantize_both(cluster(sparse[level], count)))

# %% [markdown]
# Mind what else differs: the way with both has trained six epochs more, three with clusters and three
# with fake quantisation, and the ways alone are quantised after training.
#
# Then all of it, for every seed. The last step costs nothing: **names**. A `.tflite` file carries
# the name of every tensor, a signature and a note about the converter. To run it nobody needs them,
# and in a file of this size they are a sixth of all bytes. `minimal.without_names` leaves them out.

# %%
for seed in lab.seeds:
    model = sparse[SPARSITY] if seed == SEED else prune_small(small[seed], SPARSITY, seed)
    content = quantize_both(cluster(model, CLUSTERS, seed), seed)
    note("pruning + clustering + QAT",
         f"small, pruned {SPARSITY:.0%} + {CLUSTERS} clusters + QAT", content, seed)
    path = lab.write("sign_mnist_pruned.tflite", minimal.without_names(content), seed)
    lab.measure("pruning", path, seed)
alone = pd.DataFrame(rows)
plots.show(
    plots.over_size(alone, level=90),
    alt="Accuracy over bytes after gzip of pruning, clustering, and both with QAT, on the small "
    "network: both together reach the same accuracy in fewer bytes.",
)

# %%
final = lab.path("sign_mnist_pruned.tflite")
figures = {metric: lab.mean(metric, "pruning") for metric in ("accuracy", "bytes", "gzip_bytes")}
together = alone[alone["pattern"] == "pruning + clustering + QAT"].iloc[-len(lab.seeds):]
as_good = alone[(alone["pattern"] != "pruning + clustering + QAT")
                & (alone["accuracy (%)"] >= together["accuracy (%)"].mean() - 0.5)]
with check(
    "what the lab set out to do",
    what="accuracy and size of the file that you hand in, and whether both together are smaller.",
    why="that is what the sheet gives points for.",
) as c:
    floor = {"quick": 0.2, "full": 0.9}[PROFILE]
    c.between("accuracy (mean of the seeds)", figures["accuracy"], floor, 1)
    c.between("gzip", figures["gzip_bytes"], 0, {"quick": 8000, "full": 6000}[PROFILE], unit="bytes")
    c.between("zeros in the file", zeros(final), SPARSITY - 0.02, 1)
    if PROFILE == "full":
        smallest = as_good["gzip (bytes)"].min() if len(as_good) else np.inf
        c.that("smaller than pruning or clustering alone, at no less accuracy",
               together["gzip (bytes)"].mean() < smallest,
               otherwise=f"alone it takes {smallest:,.0f} bytes.")

# %%
measure.coding(final).drop(columns=["role"]).round(2)

# %% [markdown]
# The table says where the bytes of the final file are (without names, layers show as operators). In
# the shortest of these codes weights and biases need 2.3 kB, the biases, 32 bits each, 0.3 of them. The
# scales, 32 bits for every output channel, are not even in this table, nor is the graph: the file has
# 4.0 kB after gzip, and they are most of what is left.

# %% [markdown]
# ## The ledger

# %%
report = lab.report()
report

# %%
SHOWN = ["int8", "pruned 95%", "pruned 95%, plain QAT", "pruned 95%, prune-preserving QAT",
         "50% of the filters", "small, pruned 75%", "small, 8 clusters", "pruning"]
shown = report.loc[[technique for technique in SHOWN if technique in report.index]]
figure = plots.comparison(shown.assign(bytes=shown["gzip (bytes)"]))
figure.axes[1].set_xlabel("size after gzip (kB)")
plots.show(
    figure,
    alt="Test accuracy, and size after gzip, of eight ways: int8 alone is the largest, the file "
    "with everything together the smallest.",
)

# %% [markdown]
# ## Published against measured
#
# The thesis has its result as a figure only: QuantNET loses less than 5 points with half of its
# weights pruned, and pruning weights is better than pruning neurons at every sparsity. The project
# update prunes its HAR network and finds the size after gzip.

# %%
lab.compare("pruning", "pruning, float16", "90 % pruning in QKeras", "one-way 95%", "DPF", "DPF 95%")

# %% [markdown]
# The HAR network's Keras file shrinks to a third under gzip, which fits some 70 % zeros in float32.
# Its accuracy falls by eleven points in the TFLite file, of float16 weights, which sixteen bits do
# not explain; lab 03 measured no loss from float16, and here not even eight bits cost anything. The
# QKeras row, 298.67 KB for a network that is 90 % zeros, is a Keras file of a wrapped
# training model that was not stripped: masks and optimiser included. And the slides' DPF network has
# *more* parameters than the dense one (6.79 million after 1.47), for which they give no reason.
# **Measure the file that goes to the device**.

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="where_and_when" points=4
# **At 95 % sparsity, what did it matter which layers lose the weights, and when? Why does the first
# layer need its weights more than the last convolution?**
#
# <!-- BEGIN SOLUTION -->
# It matters most where: with 95 % in every layer the first convolution keeps 7 of 144 weights, and
# the network never recovers within the training; with LAMP's shares the same number of weights reads
# tens of points better. When matters as well, but less: a few points between pruning at a stroke and
# along the cubic schedule. The first layer has few weights, and all later layers see the image
# through it; the last convolution has 27,648, many of which are redundant.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="feedback_or_not" points=4
# **Did dynamic pruning with feedback help? Compare with what the paper claims, and say what is
# different here.**
#
# <!-- BEGIN SOLUTION -->
# No. On the real data it reads 99.5 against 99.7 % at 90 %, 95.9 against 96.5 % at 95 %, both within
# the spread of the seeds, and 67.6 against 72.9 % at 98 %, where one-way is ahead. The paper trains
# ResNets from scratch for 300 epochs with SGD; here there are four epochs from a trained network,
# whose magnitudes already say which weights matter, with Adam, whose steps behind the mask do not
# shrink with the gradient. Which of these it is was not tried; what was shown there need not hold for a
# short fine-tuning.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="compress_or_faster" points=4
# **A colleague prunes 95 % of the weights for a microcontroller with dense int8 kernels, and is
# disappointed: neither flash nor time is saved. What would you tell them?**
#
# <!-- BEGIN SOLUTION -->
# Zeros are stored as bytes and multiplied like others. They pay only where a code uses them: gzip or
# an index on the way to the device (a sixth of the bytes here), a sparse kernel, or 2:4 on hardware
# that skips it. On dense kernels take whole filters out: half of them leave a quarter of the weights
# and of the multiplications, and the file and the time shrink accordingly, with no special support.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Which layer loses the weights matters more than which schedule takes them.
# - The finer the pattern, the more can go; the coarser, the more it helps the hardware.
# - Zeros compress, they do not compute faster; filters that are gone do both.
# - Each later step must be told to keep what the earlier ones made: plain QAT fills the zeros.
#
# **Further reading:** S. Han, H. Mao, W. J. Dally, *Deep compression*, ICLR 2016 · M. Zhu, S. Gupta,
# *To prune, or not to prune*, arXiv:1710.01878 (2017) · H. Li et al., *Pruning filters for efficient
# ConvNets*, ICLR 2017 · T. Lin et al., *Dynamic model pruning with feedback*, ICLR 2020 · J. Lee et
# al., *Layer-adaptive sparsity for the magnitude-based pruning*, ICLR 2021 · A. Mishra et al.,
# *Accelerating sparse deep neural networks*, arXiv:2104.08378 (2021).
#
# **Next:** lab 07 takes the bits away instead: four, two, and fewer than two for a weight.

# %% tags=["finish"]
lab.finish()
