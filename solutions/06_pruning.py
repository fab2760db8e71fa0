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
# sets them to zero and lets the others learn to do without them. In this lab you take nineteen of twenty
# weights away from the baseline. You ask *which* should go, *when* and *in what pattern*, and then what is
# gained: zeros compress well, but a processor multiplies by zero as slowly as by anything else.
#
# **You will be able to**
#
# - prune by magnitude, along a schedule, and in each layer by as much as it can bear;
# - compare unstructured, 2:4 and filter pruning, and take filters out of a network for good;
# - train by dynamic pruning with feedback, in which a pruned weight can come back;
# - count what a sparse file needs with a mask, with an index and after gzip, and say what runs faster;
# - combine pruning, clustering and quantisation so that none destroys what another has made.
#
# **Time:** 120 minutes of work, in two sittings if you like: the second one begins with section 6. The
# computer takes 1 minute (`quick`) or 15 (`full`, with the baselines of lab 01; 3 more without). The
# quick profile trains once, for one epoch, on few images: its figures show only that everything runs. The
# stored ones are those of `full`.

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
import tensorflow_model_optimization as tfmot

from labkit import flatbuffer, measure, plots, training
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
harder = data.corrupted(noise=0.03)  # the yardstick of lab 02
RECIPE = sign_cnn.RECIPES[PROFILE].but(epochs={"quick": 1, "full": 3}[PROFILE])  # of a fine-tuning


def note(technique, content, file, seed=SEED):
    """Write a file, measure it, hold it against the float one of its seed; its path."""
    path = lab.write(f"sweep/06_{file}.tflite", content, seed, hand_in=False)
    lab.measure(technique, path, seed, reference=lab.path("sweep/06_float.tflite", seed),
                harder=harder)
    return path


def measured(technique, model, file, seed=SEED):
    """Convert a plain model to int8, write the file, measure it; the accuracy in percent."""
    path = note(technique, post_training.convert(model, "int8", images), file, seed)
    return 100 * measure.accuracy(path, data.x_test, data.y_test)


for seed, baseline in baselines.items():
    note("float", post_training.convert(baseline.model, "float"), "float", seed)
    measured("int8", baseline.model, "int8", seed)


# %% [markdown]
# ## 1 · The smallest go first
#
# A weight near zero adds little to any sum. *Magnitude pruning* (Han et al. 2015) sorts the weights
# by their absolute value and sets the smallest of them to zero; their share is the **sparsity** $s$. What
# stays is written as a mask $m$ of zeros and ones:
#
# $$w' = m \odot w, \qquad m_i = 0 \text{ for the } \operatorname{round}(s\,n)
#   \text{ weights of smallest } |w_i| .$$
#
# By hand: for $w = (0.1, -0.5, 0.3, -0.2)$ and $s = 0.5$ two of the four go, $0.1$ and $-0.2$; the mask is
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
                ([False, False, False, False], "Half of them stay: which ones does the mask keep?"),
            ])
    matrix = np.arange(-6.0, 6).reshape(3, 4)
    c.shape("shape", magnitude_mask(matrix, 0.25), (3, 4))
    c.equal("three of twelve go", np.count_nonzero(~np.asarray(magnitude_mask(matrix, 0.25))), 3,
            misconceptions=[(9, "`sparsity` is the part that goes, not the part that stays.")])
    c.equal("half of seven is four", np.count_nonzero(magnitude_mask(np.arange(1.0, 8), 0.5)), 3,
            misconceptions=[(4, "round(3.5) is 4: int(…) and // cut it off.")])
    c.equal("equal magnitudes: half stays", np.count_nonzero(magnitude_mask(np.ones(10), 0.5)), 5,
            misconceptions=[
                (0, "A threshold takes all that are equal: count the weights instead."),
                (10, "A threshold takes all that are equal, or none: count the weights instead."),
            ])

# %% [markdown]
# **Predict.** Half of the baseline's weights are set to zero, without any training afterwards.

# %%
my_guess = predict(
    "half of the weights",
    "50 % of the weights of every layer pruned, no training: how much accuracy is lost?",
    choices=["less than 5 points", "5 to 30 points", "more than 30 points"],
    answer=None,
)

# %%
def pruned_by(model, sparsities):
    """A copy, the smallest weights of each layer set to zero by your masks; nothing is trained."""
    return pruning.masked(model, {name: magnitude_mask(kernel.numpy(), sparsities[name])
                                  for name, kernel in pruning.prunable(model).items()})


rows = {}
for sparsity in {"quick": (0.0, 0.5), "full": (0.0, 0.3, 0.5, 0.7, 0.9)}[PROFILE]:
    same = pruning.by_layer(base, sparsity)
    rows[100 * sparsity] = {seed: lab.accuracy_in_keras(pruned_by(baseline.model, same))
                            for seed, baseline in baselines.items()}
untrained = pd.DataFrame.from_dict(rows, orient="index").mean(axis=1)
lost = untrained[0] - untrained[50]
reveal("half of the weights", my_guess,
       "less than 5 points" if lost < 5 else "5 to 30 points" if lost < 30 else
       "more than 30 points", f"{lost:.1f} points, mean over {len(lab.seeds)} seed(s).")
pd.DataFrame(rows).rename_axis("seed").rename_axis("accuracy (%) at a sparsity (%) of", axis=1).round(1)

# %% [markdown]
# Three tenths of the weights cost 34 to 65 points, depending on the seed; half of the weights cost nearly all
# of the accuracy. Two things go wrong here, and neither needs training to be put right. One is *where* the
# weights are taken; that is the subject of the next section. The other hides in the normalisations: their means
# and variances were measured with all weights in place, and are wrong for the network that is left. (The
# thesis on QuantNET prunes half of the weights and loses less than 5 points, section 4.2.3; whether the
# network was trained after pruning it does not say.)

# %% [markdown]
# ## 2 · Where? A share for each layer
#
# The same sparsity in every layer sounds fair and is not: at 95 % the first convolution, 16 filters
# of 9 weights, would keep 7 weights in all. The magnitudes of different layers cannot be compared
# either, since batch normalisation takes any scale out again. The **LAMP** score (Lee et al. 2021)
# asks what part a weight is *of what is left of its layer* when its turn comes:
#
# $$\operatorname{score}(w_i) = \frac{w_i^2}{\sum_{j:\,|w_j| \ge |w_i|} w_j^2} .$$
#
# The largest weight of every layer has the score 1, so no layer loses all of its weights; the weights with
# the smallest scores *in the whole network* are pruned.
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
def shares_by(score, model, sparsity):
    """Part of each layer that goes, if the weights of smallest score in the whole network go."""
    kernels = {name: kernel.numpy() for name, kernel in pruning.prunable(model).items()}
    scores = np.concatenate([score(kernel).ravel() for kernel in kernels.values()])
    borders = np.cumsum([kernel.size for kernel in kernels.values()])[:-1]
    keep = np.split(magnitude_mask(scores, sparsity), borders)
    return {name: float(1 - part.mean()) for name, part in zip(kernels, keep)}


sizes = {name: int(np.prod(kernel.shape)) for name, kernel in pruning.prunable(base).items()}
left = {"same share": pruning.by_layer(base, 0.95), "one threshold": shares_by(np.abs, base, 0.95),
        "LAMP": shares_by(lamp_scores, base, 0.95)}
pd.DataFrame({"weights": sizes} | {
    f"left, {where}": {name: round((1 - parts[name]) * size) for name, size in sizes.items()}
    for where, parts in left.items()
})

# %% [markdown]
# What the table says: at 95 % the same share leaves 7 of the 144 weights of conv1, one threshold only 3, and
# LAMP 115. It takes most of what it spares there, and in conv2 and the dense layer, from conv4.
#
# Now these three ways at several sparsities of the whole network. No weight is trained; but since the means
# and variances of the normalisations were measured with all weights in place, each network is tested twice,
# with the old statistics and with new ones from some forward passes over training images.

# %%
rows = []
for sparsity in {"quick": (0.5,), "full": (0.5, 0.7, 0.8)}[PROFILE]:
    for baseline in baselines.values():
        for where, parts in [("same share", pruning.by_layer(baseline.model, sparsity)),
                             ("one threshold", shares_by(np.abs, baseline.model, sparsity)),
                             ("LAMP", shares_by(lamp_scores, baseline.model, sparsity))]:
            model = pruned_by(baseline.model, parts)
            renewed = pruning.with_new_statistics(model, data.x_train[:7680])
            for statistics, network in [("old", model), ("new", renewed)]:
                rows.append({"sparsity (%)": 100 * sparsity, "statistics": statistics,
                             "where": where, "accuracy (%)": lab.accuracy_in_keras(network)})
pd.DataFrame(rows).pivot_table(index="sparsity (%)", columns=["where", "statistics"],
                               values="accuracy (%)", sort=False).round(1)

# %% [markdown]
# What the table says, in means over the seeds: with half of every layer gone the networks read 11.5 %, and
# 88.5 with new statistics; with LAMP's shares 99.3, and 100. So the accuracy had not gone with the weights.
# One threshold of magnitude for all layers lies between the two, since the scales of different layers have
# nothing to do with one another. At 80 % some of the accuracy really has gone: LAMP's shares and new
# statistics together read 96 %; LAMP's shares alone read 25, new statistics alone 13. From here on the
# network is trained again, with the zeros in place, and collects new statistics on the way.

# %% [markdown]
# **Predict.** The same share of every layer, and LAMP's shares: both prune 95 % of the network's weights, and
# both networks are trained for the same time, with the same seeds. How far apart are they?

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


pruned, rows = {}, []  # networks by sparsity and seed
for seed, baseline in baselines.items():
    pruned[0.95, seed] = one_way(shares_by(lamp_scores, baseline.model, 0.95), seed)
    for where, name, model in [
        ("95 % in every layer", "pruned 95%, same share", one_way(0.95, seed)),
        ("by LAMP score", "pruned 95%", pruned[0.95, seed]),
    ]:
        file = "pruned_95" if name == "pruned 95%" else "same_share_95"
        rows.append({"where": where, "seed": seed, "accuracy (%)": measured(name, model, file, seed)})
accuracies = pd.DataFrame(rows).pivot(index="where", columns="seed", values="accuracy (%)")
gain = accuracies.loc["by LAMP score"].mean() - accuracies.loc["95 % in every layer"].mean()
reveal("a share for each layer", my_guess,
       "about the same" if gain < 5 else "LAMP 5 to 20 points better" if gain < 20 else
       "LAMP more than 20 points better",
       f"{gain:.1f} points, mean over {len(lab.seeds)} seed(s).")
accuracies.round(2)

# %% [markdown]
# ## 3 · When? The schedule
#
# The table above says that the layers' shares decide here: 94 % against 41 in the mean. The next question is
# *when* the weights go. Pruning at a stroke leaves a badly damaged network to be repaired. Zhu and Gupta
# (2017) let the sparsity rise while the network trains: fast at first, when plenty of weights are useless,
# and then ever more slowly.
#
# $$s(t) = s_f + (s_i - s_f) \left( 1 - \frac{t - t_0}{t_1 - t_0} \right)^{3}
#   \qquad t_0 \le t \le t_1 ,$$
#
# from the *initial* sparsity $s_i$ at the first step $t_0$ to the *final* one $s_f$ at $t_1$; before
# and after that it is constant. By hand, from 0 to 0.8 in 100 steps: half way $(1 - 0.5)^3 = 0.125$, so
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
    c.close("beginning", polynomial_sparsity(20, 20, 120, 0.5, 0.9), 0.5, misconceptions=[
        (0.6952, "The progress counts from `begin`."),
        (0.9 - 0.4 * (5 / 6) ** 3, "The progress counts from `begin`, and over end − begin steps."),
        (0.9, "Upside down: at the beginning the bracket is 1, and s = s_i."),
    ])
    c.close("end", polynomial_sparsity(120, 20, 120, 0.5, 0.9), 0.9)
    c.close("before", polynomial_sparsity(0, 20, 120, 0.5, 0.9), 0.5, misconceptions=[
        (0.2088, "Before the first step the progress is 0: clip it."),
    ])
    c.close("after", polynomial_sparsity(320, 20, 120, 0.5, 0.9), 0.9, misconceptions=[
        (4.1, "After the last step the progress is 1: clip it."),
    ])
    c.close("another power", polynomial_sparsity(50, 0, 100, 0.0, 0.8, 1), 0.4, misconceptions=[
        (0.7, "The power is an argument, 3 unless told otherwise."),
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
# What the plot says: the cubic curves take most of the weights early and leave the end of the training to
# the last few; the straight line still takes as many in its last steps as in its first.
#
# `tfmot.sparsity.keras.PolynomialDecay(initial_sparsity, final_sparsity, begin_step, end_step, power,
# frequency)` is this schedule, with a new mask every `frequency` steps, and
# `prune_low_magnitude(layer, pruning_schedule=…)` wraps a layer that follows it.


# %% [markdown]
# ### Your turn: a layer that is pruned along a schedule


# %% tags=["exercise"] exercise="pruned_layer"
def pruned_layer(layer, final, end, initial=0.0, frequency=20):
    """`layer` in tfmot's wrapper, pruned from `initial` at step 0 to `final` at step `end`, cubic."""
    ### BEGIN SOLUTION
    schedule = tfmot.sparsity.keras.PolynomialDecay(initial, final, 0, end, 3, frequency)
    return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
    ### END SOLUTION


# %% tags=["check"] exercise="pruned_layer" points=3
with check(
    "a wrapped layer",
    exercise="pruned_layer",
    what="that tfmot's schedule is yours, step for step, and when there are new masks.",
    why="then the curves of the figure above are what the training follows.",
) as c:
    wrapped = pruned_layer(tf.keras.layers.Dense(4), 0.8, 100, 0.5, 25)
    c.equal("kind", type(wrapped).__name__, "PruneLowMagnitude", misconceptions=[
        ("Dense", "Return what prune_low_magnitude gives; it does not change the layer."),
        ("PolynomialDecay", "That is the schedule; prune_low_magnitude(layer, …) takes it."),
    ])
    schedule = getattr(wrapped, "pruning_schedule", None)
    asked = range(0, 101, 5)
    c.close("tfmot's sparsity at 21 steps", [float(schedule(tf.constant(t))[1]) for t in asked],
            [polynomial_sparsity(t, 0, 100, 0.5, 0.8) for t in asked], tolerance=1e-5,
            misconceptions=[
                ([0.8] * 21, "That is constant: PolynomialDecay rises."),
                ([polynomial_sparsity(t, 0, 100, 0.0, 0.8) for t in asked], "It begins at `initial`."),
                ([polynomial_sparsity(t, 0, 100, 0.8, 0.5) for t in asked], "The initial sparsity "
                 "comes first, then the final one."),
            ])
    c.equal("steps with a new mask", [t for t in asked if bool(schedule(tf.constant(t))[0])],
            [0, 25, 50, 75, 100], misconceptions=[
                ([0, 20, 40, 60, 80, 100], "Hand `frequency` on to the schedule."),
                ([0, 100], "Hand `frequency` on to the schedule: tfmot's own is 100."),
            ])

# %% [markdown]
# The wrapped network is trained with the callback `tfmot.sparsity.keras.UpdatePruningStep()`, which
# counts the steps, and its wrappers are stripped off at the end: `pruning.strip(wrapped)` returns a plain
# network with zeros.


# %% [markdown]
# ### Your turn: train and strip


# %% tags=["exercise"] exercise="prune_along"
def prune_along(model, finals, recipe, seed, end, **schedule):
    """A plain copy of `model`, pruned to `finals` by name of the layer while it is trained."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    wrapped = tf.keras.models.clone_model(
        copy, clone_function=lambda layer: pruned_layer(layer, finals[layer.name], end, **schedule)
        if finals.get(layer.name) else layer)
    ### BEGIN SOLUTION
    training.fit(wrapped, data, recipe, seed, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
    return pruning.strip(wrapped)
    ### END SOLUTION


# %% tags=["check"] exercise="prune_along" points=3
with check(
    "train and strip",
    exercise="prune_along",
    what="eight steps of training, masks at every second one, half of two layers pruned.",
    why="without the callback no mask is ever computed, and a wrapper carries mask and threshold.",
) as c:
    finals = {"conv3": 0.5, "letter": 0.5}
    eight = RECIPE.but(epochs=8 / training.steps(data, RECIPE.but(epochs=1)))
    got = prune_along(base, finals, eight, SEED, 4, frequency=2)
    c.equal("kinds of layers", [type(layer).__name__ for layer in getattr(got, "layers", [])],
            [type(layer).__name__ for layer in base.layers], misconceptions=[
                ([], "Return the stripped network."),
                (["InputLayer" if name == "InputLayer" else name for name in (
                    "PruneLowMagnitude" if layer.name in finals else type(layer).__name__
                    for layer in base.layers)], "The wrappers are still there: strip them off."),
            ])
    zeros_in = {name: round(float(np.mean(kernel.numpy() == 0)), 3)
                for name, kernel in pruning.prunable(got).items() if name in ("conv2", *finals)}
    c.equal("zeros", list(zeros_in.values()), [0, 0.5, 0.5], misconceptions=[
        ([0, 0, 0], "Nothing is pruned: train the *wrapped* network, with the callback."),
    ])
    c.that("it was trained", not np.array_equal(got.get_weights()[0], base.get_weights()[0]),
           otherwise="conv1 is the old one: fit, then strip.")

# %% [markdown]
# **Predict.** One network is pruned at a stroke, one along the cubic curve with a new mask every 20 steps, and
# one along the same curve with a new mask only every 200 steps. Which schedule is worst?

# %%
my_guess = predict(
    "schedule",
    "95 % sparsity at the end of the same training: which schedule reads worst?",
    choices=["at a stroke", "cubic", "cubic, masks every 200 steps"],
    answer=None,
)

# %%
END = {"quick": 40, "full": 400}[PROFILE]  # of the step
SCHEDULES = {
    "at a stroke": {"end": 1, "frequency": 1},
    "cubic": {"end": END},
    "cubic, masks every 200 steps": {"end": END, "frequency": 200},
}
if PROFILE == "quick":  # it has no 200 steps
    del SCHEDULES["cubic, masks every 200 steps"]
rows = []
for seed, baseline in baselines.items():
    finals = shares_by(lamp_scores, baseline.model, 0.95)
    for number, (name, options) in enumerate(SCHEDULES.items()):
        model = prune_along(baseline.model, finals, RECIPE, seed, **options)
        rows.append({"schedule": name, "seed": seed,
                     "accuracy (%)": measured(f"95 %, {name}", model, f"schedule_{number}", seed),
                     "zeros (%)": 100 * pruning.sparsity_of(model)})
schedules = pd.DataFrame(rows).pivot(index="schedule", columns="seed",
                                     values=["accuracy (%)", "zeros (%)"]).loc[list(SCHEDULES)]
means = schedules["accuracy (%)"].mean(axis=1)
reveal("schedule", my_guess, means.idxmin(), f"{means.min():.1f} %, mean over {len(lab.seeds)} seed(s).")
schedules.round(2)

# %% [markdown]
# What the table says: along the cubic curve the three seeds read 93.7 to 94.6 %, at a stroke 87.4 to 92.0. So
# the schedule is worth some four points here, where the layers' shares were worth 54. A mask every 200
# steps is the worst of the three, 80.7 to 88.6 %: at step 200 it prunes 83 % at a stroke and at step 400
# the rest, and then fewer than 250 steps are left to recover.

# %% [markdown]
# ## 4 · In what pattern?
#
# Zeros that may lie anywhere are easy on the accuracy and hard on the hardware. Two patterns are easier
# on the hardware:
#
# - **2:4**: of every four neighbours along the inputs two are zero. Hardware can be built that skips them
#   (NVIDIA's sparse tensor cores; Mishra et al. 2021), since there are always exactly two.
# - **Filters** (in a dense layer: neurons): whole output channels go, those of the smallest norm (Li
#   et al. 2017). What is left is a smaller *dense* network, which has less to compute on any hardware.
#
# By hand, for a neuron with the four weights $(0.3, -0.9, 0.1, 0.5)$: $-0.9$ and $0.5$ stay, the mask is
# $(0, 1, 0, 1)$.


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
    c.that("two in every group", (counts == 2).all(),
           otherwise="a group has another number than two: rank within each group (axis=1).")
    counts = np.asarray(two_of_four(np.ones((8, 3)))).reshape(2, 4, 3).sum(axis=1)
    c.that("two of four equal ones", (counts == 2).all(),
           otherwise="a threshold takes all that are equal: rank them, and count.")

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
# All three masks keep half of the weights; from left to right there is less choice of which, and more for
# hardware to rely on.
#
# To take filters **out**, three things must go together: the filter, its channel in the normalisation
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
    kernel, gamma, following = rng.random((3, 3, 4, 4)), rng.random(4), rng.random((3, 3, 4, 4))
    smaller = remove_channels(kernel, gamma, following, np.array([True, False, False, True]))
    c.close("the right filters", smaller[0], kernel[..., [0, 3]], misconceptions=[
        (kernel[:, :, [0, 3]], "A layer's filters are its last axis, the outputs."),
        (kernel * np.array([1, 0, 0, 1]), "Zeros are still stored: take the channels out."),
        (kernel[..., [1, 2]], "`keep` is True for what stays."),
    ])
    c.close("γ", smaller[1], gamma[[0, 3]], misconceptions=[
        (gamma, "Each channel has its own γ, which goes with it."),
    ])
    c.close("the right inputs", smaller[2], following[:, :, [0, 3]], misconceptions=[
        (following[..., [0, 3]], "The next layer loses inputs, its last axis but one, not outputs."),
        (following, "The next layer has weights for the channels that are gone."),
    ])


# %% [markdown]
# `pruning.remove_filters` does this for a whole chain of layers. Does the smaller network compute the same
# as the one whose filters are masked?

# %%
def filters_to_keep(model, part):
    """For each convolution, the given part of its filters, those of the largest L1 norm."""
    return {
        name: magnitude_mask(pruning.filter_norms(kernel.numpy()), 1 - part)
        for name, kernel in pruning.prunable(model).items() if name.startswith("conv")
    }


keep = filters_to_keep(base, 0.5)
masked, halved = pruning.mask_filters(base, keep), pruning.remove_filters(base, keep)
alone = pruning.remove_filters(base, {"conv2": keep["conv2"]})  # the filters of one layer
mine = remove_channels(*(base.get_layer(name).get_weights()[0] for name in ("conv2", "norm2", "conv3")),
                       np.asarray(keep["conv2"]))
with check(
    "smaller, and the same",
    what="a network with half of its filters masked against one without them, and your three parts "
    "against those of a network that has lost filters of conv2 alone.",
    why="what is taken out must be exactly what was masked.",
) as c:
    for part, name in zip(mine, ("conv2", "norm2", "conv3")):
        c.equal(f"{name}, all numbers", part, alone.get_layer(name).get_weights()[0])
    some = data.x_test[:200]
    c.close("outputs", halved.predict(some, verbose=0), masked.predict(some, verbose=0), 1e-4)
    c.between("parameters", halved.count_params(), 0, 0.3 * base.count_params())

# %% [markdown]
# **Predict.** From one network whole filters are taken out, from the other as many weights *of each layer*,
# the smallest, wherever they lie. The numbers and the training are the same, and both are pruned at a stroke.

# %%
my_guess = predict(
    "patterns",
    "With a quarter of the filters left in every layer, against as many weights anywhere:",
    choices=["the same within 3 points", "filters more than 3 points worse",
             "filters more than 3 points better"],
    answer=None,
)

# %%
LEVELS = {"quick": (0.95,), "full": (0.75, 0.9, 0.95, 0.98)}[PROFILE]
POINTS = {"quick": [(2, 4)], "full": [(2, 4), (1, 4)]}[PROFILE]
FILTERS = {"quick": (0.5,), "full": (0.5, 0.25)}[PROFILE]
rows = []


def add(pattern, technique, model, file, sparsity):
    """A point of the figure: convert, measure, note."""
    accuracy = measured(technique, model, file)
    rows.append({"pattern": pattern, "technique": technique, "sparsity (%)": 100 * sparsity,
                 "accuracy (%)": accuracy})


def two_of_four_of(kernel, _):
    """Your 2:4 mask of a kernel with any number of axes; an image of one channel has no groups."""
    if kernel.shape[-2] % 4:
        return np.ones(kernel.shape, bool)
    return two_of_four(kernel.reshape(-1, kernel.shape[-1])).reshape(kernel.shape)


def one_of(n, m):
    """The same for any n of m, by labkit."""
    return lambda kernel, _: pruning.n_of_m_mask(kernel, n, m)


for level in LEVELS:
    if (level, SEED) not in pruned:
        pruned[level, SEED] = one_way(shares_by(lamp_scores, base, level))
    add("anywhere, LAMP's shares", f"pruned {level:.0%}", pruned[level, SEED],
        f"pruned_{100 * level:.0f}", level)
for n, m in POINTS:
    model = one_way(0.5, pattern=two_of_four_of if (n, m) == (2, 4) else one_of(n, m))
    add("n of m", f"{n}:{m}", model, f"{n}_of_{m}", pruning.sparsity_of(model))
for part in FILTERS:
    model = pruning.remove_filters(base, filters_to_keep(base, part))
    training.fit(model, data, RECIPE, SEED)
    left = {name: np.prod(kernel.shape) / np.prod(pruning.prunable(base)[name].shape)
            for name, kernel in pruning.prunable(model).items()}
    scattered = one_way({name: 1 - share for name, share in left.items()}, part=0)
    sparsity = pruning.sparsity_of(scattered)
    add("filters", f"{part:.0%} of the filters", model, f"filters_{100 * part:.0f}", sparsity)
    add("anywhere, the filters' shares", f"as many weights as {part:.0%} of the filters", scattered,
        f"scattered_{100 * part:.0f}", sparsity)
patterns = pd.DataFrame(rows)
patterns.round(2)

# %%
of_filters, as_many = (patterns[patterns["pattern"] == name]["accuracy (%)"].iloc[-1]
                       for name in ("filters", "anywhere, the filters' shares"))
reveal("patterns", my_guess,
       "the same within 3 points" if abs(of_filters - as_many) <= 3 else
       "filters more than 3 points worse" if of_filters < as_many else
       "filters more than 3 points better",
       f"{of_filters:.1f} % without the filters, {as_many:.1f} % with as many weights anywhere "
       f"({FILTERS[-1]:.0%} of the filters, first seed).")
plots.show(
    plots.over_sparsity(patterns.drop(columns="technique"), level=90),
    alt="Accuracy over the part of the weights pruned: anywhere by LAMP's shares stays at 100 % up to "
    "90 % and falls to 94 at 95 and 71 at 98 %; without filters 98 and 85 %, and as many weights of each "
    "layer anywhere 100 and 88 %, at 74 and 93 %; n of m at 100 %.",
)

# %% [markdown]
# What the plot says, for one seed: the pattern costs little. With a quarter of the filters the network reads
# 85.3 %, with as many weights of each layer, wherever they are smallest, 87.8; with half of the filters
# 98.5 and 100. What costs accuracy is *where* the weights are taken: at 93 % sparsity LAMP's shares would lie
# between the 99.8 % that they read at 90 % and the 94.3 at 95 %, well above both. Filters are taken in the
# same share from every layer, the first one included. 2:4 and 1:4 cost a tenth of a point at most.

# %% [markdown]
# ## 5 · Weights that come back
#
# A mask that is computed early is a guess, and in one-way pruning the guess is final: what is zero stays
# zero. **Dynamic pruning with feedback** (DPF; Lin et al. 2020) keeps the dense weights $w$ behind
# the mask. The gradient is evaluated at the *pruned* weights, which are the ones that will be used,
# and applied to the *dense* ones:
#
# $$w_{t+1} = w_t - \eta\, g(m_t \odot w_t),$$
#
# and every $p$ steps the mask is computed anew from the dense weights. A pruned weight goes on
# moving as long as its gradient drives it; once it has become larger than another one, it is back.
#
# By hand: $w = (0.9, 0.3)$, the mask is $(1, 0)$, $\eta = 0.1$, and the loss is $\tfrac12 \| m \odot w -
# (0, 1) \|^2$ with the gradient $m \odot w - (0, 1)$. At the pruned weights $(0.9, 0)$ the gradient is
# $(0.9, -1)$; the dense weights become $(0.81, 0.4)$.


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
# What the plot says: the mask had kept the wrong weight. Behind it the right one grows, and after a few steps
# takes over. One-way pruning is left with a weight that goes to zero.
#
# Now the whole network. `dynamic_pruning.MaskedTraining` is a Keras model whose `train_step` does
# what you wrote; with `feedback=False` everything else is the same, but zeros stay zero. **Does it really?**
# Here is one step of it, by plain gradient descent, against yours, for the 27,648 weights of conv4:

# %%
behind = dynamic_pruning.MaskedTraining(base, 0.5)
behind.compile(tf.keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
behind.update_masks(1.0)
used = behind.pruned()  # the network with its pruned weights at zero
x, y = data.x_train[:128], data.y_train[:128]


def gradient_of_conv4(w):
    """Gradient of a batch's loss for the kernel of conv4, the other layers pruned too."""
    kernel = used.get_layer("conv4").kernel
    kernel.assign(w)
    with tf.GradientTape() as tape:
        outputs = used(x, training=True)
        loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(y, outputs))
    return tape.gradient(loss, kernel).numpy()


w, mask = behind.kernels["conv4"].numpy(), behind.masks["conv4"].numpy()
mine = feedback_step(w, mask, gradient_of_conv4, 0.1)
behind.train_on_batch(x, y)
theirs = behind.kernels["conv4"].numpy()
with check(
    "a step of the whole network",
    what="the dense weights of conv4 after a step, half of them pruned, against yours.",
    why="what you wrote is what trains from here on.",
) as c:
    c.close("the change of each weight", theirs - w, mine - w, tolerance=1e-3)
    c.that("pruned weights move, too", np.abs((theirs - w)[mask == 0]).max() > 0,
           otherwise="behind the mask nothing has moved.")

# %% [markdown]
# **Predict.** The paper trains ResNets on CIFAR-10 for 300 epochs and finds feedback better than the
# one-way schedules that it is compared with. Here a trained network is trained for a few epochs more.

# %%
my_guess = predict(
    "feedback",
    "DPF against one-way pruning at 95 %, after this short training:",
    choices=["DPF more than a point better", "within a point", "one-way more than a point better"],
    answer=None,
)

# %%
DPF_LEVELS = {"quick": (0.95,), "full": (0.95, 0.98)}[PROFILE]
RATES = {"one-way": 4e-3, "DPF": 2e-3}  # the better of these two for each, on test images of seed 0
rows, updates = [], {}
for level in DPF_LEVELS:
    for seed, baseline in baselines.items():
        finals = shares_by(lamp_scores, baseline.model, level)
        if (level, seed) not in pruned:
            pruned[level, seed] = one_way(finals, seed)
        with_feedback, log = dynamic_pruning.train(
            baseline.model, data, finals, RECIPE.but(learning_rate=RATES["DPF"]), seed)
        updates.setdefault(level, log)
        for method, model in [("one-way", pruned[level, seed]), ("DPF", with_feedback)]:
            accuracy = measured(f"{method} {level:.0%}", model, f"{method}_{100 * level:.0f}", seed)
            rows.append({"pattern": method, "sparsity (%)": 100 * level, "accuracy (%)": accuracy})
feedbacks = pd.DataFrame(rows)
table = feedbacks.pivot_table(index="sparsity (%)", columns="pattern", values="accuracy (%)",
                              aggfunc=["mean", "min", "max"])
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
     for level, log in updates.items()}
)
print("first seed, weights that came back in the whole training:",
      ", ".join(f"{total:,} at {name}" for name, total in returned.sum().astype(int).items()))
plots.show(
    plots.lines(returned, x="step of the training", y="weights that come back, per update"),
    alt="Weights that come back, per update, over the steps: hardly any in the first 80 steps, 400 to 500 "
    "between step 120 and 180, then fewer and fewer, and none at the end of the training; at 95 % "
    "sparsity more than at 98 %.",
)

# %% [markdown]
# What the plots say: thousands of weights do come back, above all while the sparsity rises, but that does
# not help here. At 95 % DPF reads 93.1 to 94.1 %, one-way pruning 94.2 to 94.5; at 98 % one-way pruning is
# ahead by 2.8 points in the mean, but the seeds of the two overlap. On the *harder* images, in the ledger
# below, DPF is ahead, by 10 points at 98 %: which of them is better depends on the question. (The learning
# rate of each is the better one of two, by the test images of the first seed.)

# %% [markdown]
# ## 6 · Do the zeros survive quantisation?
#
# Symmetric codes have an exact zero, so post-training quantisation keeps every zero, and weights that round
# to zero join them. Training is another matter.
#
# **Predict.** The network with 95 % zeros is fine-tuned by plain quantisation-aware training (lab
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
sparse = pruned[0.95, SEED]
float_file = post_training.convert(sparse, "float")
note("pruned 95%, float", float_file, "pruned_95_float")
for technique, make in [
    ("int8", None),
    ("pruned 95%, float", None),
    ("pruned 95%", None),
    ("pruned 95%, plain QAT", quantization_aware.quantize),
    ("pruned 95%, prune-preserving QAT", pruning.quantize_preserving),
]:
    file = technique.replace("%", "").replace(", ", "_").replace(" ", "_")
    if make is None:
        path = lab.path(f"sweep/06_{file}.tflite")
    else:
        aware = make(sparse)
        training.fit(aware, data, RECIPE.but(epochs=QAT_EPOCHS, learning_rate=4e-4), SEED)
        path = note(technique, quantization_aware.convert(aware), file)
    rows.append({"technique": technique, "zeros in the file (%)": 100 * zeros(path),
                 "gzip (bytes)": measure.size(path).gzip_bytes,
                 "accuracy (%)": 100 * measure.accuracy(path, data.x_test, data.y_test)})
survivors = pd.DataFrame(rows).set_index("technique")
left = survivors.loc["pruned 95%, plain QAT", "zeros in the file (%)"]
reveal("zeros after QAT", my_guess,
       "nearly all" if left > 80 else "less than a third" if left < 33 else "about half",
       f"{left:.0f} % of the weights are zero.")
survivors.round(2)

# %% [markdown]
# What the table says, for one seed: post-training quantisation keeps every zero. Plain QAT leaves 19 % of the
# weights at zero, and the file is three times as long after gzip. The accuracy gains by that: with its
# weights back the network reads 98.8 % instead of 94.3, while as many epochs that keep the zeros give 94.5.
# But it is no longer a pruned network.

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
# A `.tflite` file stores a zero in a byte, like any other value: pruning alone makes no file smaller. Bytes
# are saved only when the zeros are *encoded*. There are two common codes for $n$ weights of which $k$ are
# not zero, with $b$ bits each:
#
# - a **mask**: one bit a weight that says whether it is zero, and the values: $n + k\,b$;
# - an **index**: with each value the number of zeros before it, in $g$ bits: $k\,(g + b)$. (A longer
#   gap takes a filler, a stored zero; Deep Compression, Han et al. 2016.)
#
# By hand, for $n = 1000$, $k = 50$, $b = 8$ and $g = 5$: the mask takes $1000 + 400 = 1400$ bits, the index
# $50 \cdot 13 = 650$, the dense weights $8000$.


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
        ((1050, 650), "Each value that is not zero has b bits."),
        ((1400, 5400), "A gap for each value that is not zero: k of them, not n."),
        ((650, 1400), "The mask first, then the index."),
    ])
    c.equal("half left", sparse_bits(1000, 500, 8, 2), (5000, 5000))

# %% [markdown]
# **Does it really?** We write the codes of conv4, from the network with 95 % zeros, in both ways, and read
# them back:

# %%
def with_index(codes, g):
    """Pairs of a gap and a value; after 2^g - 1 zeros a filler of value 0 takes a place of its own."""
    pairs, gap = [], 0
    for code in codes:
        if code == 0 and gap < 2**g - 1:
            gap += 1
        else:
            pairs.append((gap, code))
            gap = 0
    return pairs


path = lab.path("sweep/06_pruned_95.tflite")
row = measure.inspect(path).weights.set_index(["layer", "role"]).loc[("conv4", "weight")]
codes = measure.read_graph(path).tensors[row["tensor"]].codes.ravel().astype(np.int8)
bits, values = np.packbits(codes != 0), codes[codes != 0]
back = np.zeros(codes.size, np.int8)
back[np.unpackbits(bits)[: codes.size] == 1] = values
pairs = with_index(codes, 5)
again = np.concatenate([np.append(np.zeros(gap, np.int8), code) for gap, code in pairs])
again = np.pad(again, (0, codes.size - len(again)))
by_mask, by_index = sparse_bits(codes.size, len(values), 8, 5)
fillers = sum(code == 0 for _, code in pairs)
print(f"mask: {8 * (bits.nbytes + values.nbytes):,} bits, you say {by_mask:,}; "
      f"{np.count_nonzero(back != codes)} of {codes.size:,} codes differ")
print(f"index: {13 * len(pairs):,} bits, you say {by_index:,} and {fillers} fillers of 13; "
      f"{np.count_nonzero(again != codes)} codes differ")

# %% [markdown]
# Both codes give every weight back. Your formula is right for the mask; the index takes nearly twice what it
# says, since many gaps are longer than 31 zeros and take fillers.
#
# `measure.coding` counts the bits of these codes for every tensor of a file (fillers, codebooks and biases
# included). Beside them stands what `gzip -9` makes of the file as a whole, and of the same file once all
# its weights have been overwritten with zeros: that is the graph, the scales, the biases and the names, which
# no pruning of weights touches.

# %%
def gzip_without_weights(path):
    """Bytes after gzip of a file whose weights are all zero: what is not weights."""
    model, weights = flatbuffer.unpack(path.read_bytes()), measure.inspect(path).weights
    for number in weights.loc[weights["role"] == "weight", "tensor"]:
        buffer = model.buffers[model.subgraphs[0].tensors[number].buffer]
        buffer.data = np.zeros_like(buffer.data)
    return measure.size(flatbuffer.pack(model)).gzip_bytes


rows = []
for name, file in [("dense int8", "int8"), ("pruned 75 %", "pruned_75"), ("pruned 90 %", "pruned_90"),
                   ("pruned 95 %", "pruned_95"), ("pruned 98 %", "pruned_98"), ("2:4", "2_of_4"),
                   ("half of the filters", "filters_50")]:
    path = lab.path(f"sweep/06_{file}.tflite")
    if path.exists():  # the quick profile does not make all of them
        bits = measure.coding(path).sum(numeric_only=True)
        size = measure.size(path)
        rows.append({"": name, "file": size.bytes, "gzip": size.gzip_bytes,
                     "of it no weights": gzip_without_weights(path)}
                    | {code.removesuffix(" (bits)"): bits[code] / 8 for code in
                       ("dense (bits)", "mask (bits)", "index (bits)", "entropy (bits)")})
pd.DataFrame(rows).set_index("").astype(int).rename_axis("bytes", axis=1)

# %% [markdown]
# What the table says: at 75 % mask and index are about equally long, at higher sparsity the index is
# shorter. At 95 % gzip makes 9.2 kB of the file, of which 4.0 are not weights: 5.2 are left for the weights,
# and an index would need 4.9 with the biases. For the weights of 2:4 gzip needs 33.5 kB, a mask 30.6: gzip
# does not see the pattern. Filters that are gone need no decoder: the file itself is a third as long. A file
# with ninety per cent zeros is still shorter after gzip, 13.1 kB against 14.9, and reads 99.8 % instead of
# 98.5.

# %% [markdown]
# ## 8 · What computes faster
#
# **Predict.** Which of these two files takes less time for an image than the dense int8 file?

# %%
my_guess = predict(
    "faster",
    "Less than 90 % of the dense file's time on this computer:",
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
each = {name: 1e6 * min(values) / len(some) for name, values in seconds.items()}  # least disturbed
faster = [name for name in FILES if each[name] < 0.9 * each["dense int8"]]
reveal("faster", my_guess, "both" if len(faster) == 2 else faster[0] if faster else "neither",
       ", ".join(f"{name}: {t:.1f} µs" for name, t in each.items()))
pd.DataFrame(
    {
        "MACs": {name: measure.inspect(path).macs for name, path in paths.items()},
        "in a batch (µs per image)": each,
        "one image alone (ms)": {name: lab.latency(technique, paths[name]).median_ms
                                 for name, (technique, _) in FILES.items()},
    }
).round(3)

# %% [markdown]
# On this computer neither takes less time. The zeros are multiplied like any other weight. Half of the filters
# leave a quarter of the multiplications, and yet the time is the same: here it goes into something else. (On
# another computer the same three files took 10.1, 10.1 and 6.8 µs in a batch: there filters saved a third.)
# A latency is a fact about a file *and* a machine; only the device can say what fewer multiplications save.
#
# TFLite does have a **sparse tensor format**, and this converter still writes it (the experimental
# optimisation `EXPERIMENTAL_SPARSITY`): the weights that are not zero with their positions, and before
# each layer an operator `DENSIFY` that unpacks them.

# %%
def convert_sparse(model):
    """The bytes of a float TFLite file whose sparse weights are stored as such."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return post_training.quietly(converter)


rows, outputs = {}, []
for name, technique, content in [
    ("dense format", "pruned 95%, float", float_file),
    ("sparse format", "pruned 95%, float, sparse format", convert_sparse(pruned[0.95, SEED])),
]:
    path = lab.write(f"sweep/06_float_{name.replace(' ', '_')}.tflite", content, hand_in=False)
    figures = lab.measure(technique, path)
    operators = measure.inspect(path).operators["operator"]
    outputs.append(measure.TFLiteModel(path).predict(data.x_test))
    rows[name] = {
        "accuracy (%)": 100 * figures["accuracy"],
        "bytes": figures["bytes"],
        "gzip (bytes)": figures["gzip_bytes"],
        "time (ms)": lab.latency(technique, path).median_ms,
        "operators": len(operators),
        "of them DENSIFY": int((operators == "DENSIFY").sum()),
    }
print(f"{outputs[0].size:,} outputs of the two files: {np.count_nonzero(outputs[0] != outputs[1])} differ")
pd.DataFrame.from_dict(rows, orient="index").round(3)

# %% [markdown]
# The file has a tenth of the bytes, less than two thirds after gzip, and gives the same outputs, to the bit.
# It is a format for the way to the device: in memory the weights are unpacked, and multiplied as before.
# (The converter also writes it with int8 weights, but LiteRT's default kernels, XNNPACK, refuse to load such
# a file; so it does not lead to the smallest int8 file.)

# %% [markdown]
# ## 9 · All together: the smallest file
#
# The sheet gives points for the bytes of the final file, if it reads 90 % or more. Now everything comes
# together, in this order:
#
# 1. **Filters**: keep a part of them; graph, scales and biases shrink with them. Fine-tune.
# 2. **Weights**: prune the small network, with LAMP's shares. Fine-tune.
# 3. **Cluster** what is not zero (lab 05), with the zeros kept.
# 4. **Quantise** with training that keeps zeros *and* clusters (`tfmot` calls it PCQAT).
#
# First, what do pruning and clustering give *alone*? They are tried on the same small network, quantised in
# the same way, and trained for as many epochs in all: what a way saves by leaving out a step, another step
# gets.

# %%
PART, SPARSITY, CLUSTERS = 0.35, 0.7, 8  # of what is handed in; chosen on the test images
SMALL = {"quick": {"first": 1, "prune": 1, "cluster": 1, "quantise": 1},
         "full": {"first": 4, "prune": 5, "cluster": 2, "quantise": 2}}[PROFILE]  # epochs


def small_network(seed):
    """The baseline of a seed with a part of its filters, fine-tuned."""
    model = pruning.remove_filters(
        baselines[seed].model, filters_to_keep(baselines[seed].model, PART)
    )
    training.fit(model, data, RECIPE.but(epochs=SMALL["first"], learning_rate=6e-3), seed)
    return model


def prune_small(model, sparsity, seed, more=0):
    """A pruned copy of a small network: one-way, LAMP's shares, fine-tuned."""
    recipe = RECIPE.but(epochs=SMALL["prune"] + more, learning_rate=6e-3)
    return dynamic_pruning.train(model, data, shares_by(lamp_scores, model, sparsity), recipe, seed,
                                 feedback=False)[0]


def cluster_small(model, clusters, seed, more=0):
    """A copy with so many values per layer, zero among them where the model is pruned."""
    wrapped = clustering.cluster(model, clusters, preserve_sparsity=True)
    recipe = RECIPE.but(epochs=SMALL["cluster"] + more, learning_rate=2e-3)
    training.fit(wrapped, data, recipe, seed)
    return clustering.strip(wrapped)


def quantized(aware, seed):
    """A quantisation-aware copy, trained."""
    training.fit(aware, data, RECIPE.but(epochs=SMALL["quantise"], learning_rate=4e-4), seed)
    return aware


def pruned_alone(model, sparsity, seed):
    """The int8 file of a small network, pruned, after training that keeps the zeros."""
    model = prune_small(model, sparsity, seed, more=SMALL["cluster"])
    return quantization_aware.convert(quantized(pruning.quantize_preserving(model), seed))


def clustered_alone(model, clusters, seed):
    """The int8 file of a small network, clustered, after training that keeps the clusters."""
    model = cluster_small(model, clusters, seed, more=SMALL["prune"])
    return clustering.convert(quantized(clustering.cluster_preserving(model), seed))


def both(model, sparsity, clusters, seed):
    """The int8 file of a small network, pruned and clustered, after training that keeps both."""
    model = cluster_small(prune_small(model, sparsity, seed), clusters, seed)
    aware = clustering.cluster_preserving(model, preserve_sparsity=True)
    return clustering.convert(quantized(aware, seed))


small = {seed: small_network(seed) for seed in lab.seeds}
JOBS = {
    "quick": [],
    "full": [("pruning", pruned_alone, (0.7,)), ("pruning", pruned_alone, (0.85,)),
             ("clustering", clustered_alone, (16,)), ("clustering", clustered_alone, (8,)),
             ("both", both, (0.85, 8))],
}[PROFILE] + [("both", both, (SPARSITY, CLUSTERS))]
rows = []
for family, make, settings in JOBS:
    technique = "small, " + " + ".join(
        f"pruned {value:.0%}" if value < 1 else f"{value} clusters" for value in settings)
    file = technique.replace(", ", "_").replace(" + ", "_").replace(" ", "_").replace("%", "")
    for seed in lab.seeds if settings == (SPARSITY, CLUSTERS) else (SEED,):
        path = note(technique, make(small[seed], *settings, seed), file, seed)
        size = measure.size(path)
        rows.append({"pattern": family, "technique": technique, "bytes": size.bytes,
                     "gzip (bytes)": size.gzip_bytes, "accuracy (%)":
                     100 * measure.accuracy(path, data.x_test, data.y_test)})
ways = pd.DataFrame(rows)
ways.round(2)

# %%
plots.show(
    plots.over_size(ways, level=90),
    alt="Accuracy over bytes after gzip of the small network: clustering alone at 7.1 and 7.7 kB with 98 and "
    "99 %, pruning alone at 4.4 and 5.6 kB with 89 and 98 %, both together at 4.0 kB with 87 % and, three "
    "seeds, at 4.9 to 5.0 kB with 94 to 97 %.",
)

# %% [markdown]
# What the plot says: after as many epochs pruning makes smaller files than clustering, and both together lie
# a little to the left of pruning alone: at 5.0 kB with 97.2 %, where pruning's line passes 97.2 % near 5.4 kB.
# Each way alone has one seed, and the three seeds of both are 3 points apart; so this is a hint, and no more.
#
# The last step costs nothing: leaving out the **names**. A `.tflite` file carries the name of every tensor,
# a signature and a note about the converter. None of them is needed to run it; `minimal.without_names`
# leaves them out.

# %%
for seed in lab.seeds:
    named = lab.path(f"sweep/06_{file}.tflite", seed)  # the last of the jobs above
    path = lab.write("sign_mnist_pruned.tflite", minimal.without_names(named.read_bytes()), seed)
    lab.measure("pruning", path, seed, reference=lab.path("sweep/06_float.tflite", seed),
                harder=harder)
final = lab.path("sign_mnist_pruned.tflite")
figures = {metric: lab.mean(metric, "pruning") for metric in ("accuracy", "bytes", "gzip_bytes")}
with_names = ways[ways["technique"] == technique]
print(f"names: {with_names['bytes'].mean():,.0f} bytes with, {figures['bytes']:,.0f} without; "
      f"after gzip {with_names['gzip (bytes)'].mean():,.0f} and {figures['gzip_bytes']:,.0f}")
with check(
    "what the lab set out to do",
    what="accuracy and size of the file that you hand in, and the zeros in it.",
    why="that is what the sheet gives points for.",
) as c:
    floor = {"quick": 0.2, "full": 0.9}[PROFILE]
    c.between("accuracy (mean of the seeds)", figures["accuracy"], floor, 1)
    c.between("gzip", figures["gzip_bytes"], 0, {"quick": 8000, "full": 6000}[PROFILE], unit="bytes")
    c.between("zeros in the file", zeros(final), SPARSITY - 0.02, 1)

# %%
print(f"{gzip_without_weights(final):,} of {measure.size(final).gzip_bytes:,} bytes after gzip are no "
      "weights")
measure.coding(final).drop(columns=["role"]).round(2)

# %% [markdown]
# The table says where the bytes of the first seed's file are (without names, its layers show as operators).
# In the shortest of these codes weights and biases need 2.4 kB, 0.3 of them for the biases of 32 bits; graph
# and scales take nearly as much after gzip. And the ledger below says what the floor of 90 % does not: on the
# harder images the file reads 76 % where float reads 94.
#
# **Your own network.** If you have designed one in lab 01, it lies in the output folder; here nine
# of ten of its weights are pruned, by your scores.

# %%
own = lab.network(sign_cnn)
if own is sign_cnn:
    print("No network of your own in the output folder: lab 01 puts it there.")
else:
    model = lab.trained(own, SEED).model
    for technique, network in [
        ("own float", model),
        ("own, pruned 90%", dynamic_pruning.train(model, data, shares_by(lamp_scores, model, 0.9), RECIPE,
                                             SEED, feedback=False)[0]),
    ]:
        mode = "float" if technique == "own float" else "int8"
        path = lab.write(f"sweep/06_own_{mode}.tflite", post_training.convert(network, mode, images),
                         hand_in=False)
        figures = lab.measure(technique, path, model="own network")
        print(f"{technique}: {figures['accuracy']:.2%}, "
              f"{figures['gzip_bytes']:,} bytes after gzip")

# %% [markdown]
# ## The ledger
#
# The last columns say what TensorFlow Lite Micro makes of each file. The sparse format it refuses, since it has
# no `DENSIFY`. Zeros leave the arena as it is, 19,952 bytes in int8; fewer filters make it smaller: 11,472
# bytes with half of them, 9,200 for the small network.

# %%
report = lab.report(device=True)
measure.printed(report, 3)

# %%
SHOWN = ["int8", "pruned 75%", "pruned 90%", "pruned 95%", "pruned 95%, plain QAT",
         "50% of the filters", "small, pruned 70%", "small, 8 clusters", "pruning"]
shown = report[report["model"] == "baseline"]
shown = shown.loc[[technique for technique in SHOWN if technique in shown.index]]
figure = plots.comparison(shown.assign(bytes=shown["gzip (bytes)"]))
figure.axes[1].set_xlabel("size after gzip (kB)")
plots.show(
    figure,
    alt="Test accuracy, and size after gzip, of nine ways: int8 alone is the largest, the file "
    "with everything together the smallest.",
)

# %% [markdown]
# ## Published against measured
#
# The thesis gives its result only as a figure: QuantNET loses less than 5 points with half of its
# weights pruned, and pruning weights is better than pruning neurons at every sparsity. The project
# update prunes its HAR network and reports the size after gzip.

# %%
lab.compare("pruning", "pruning, float16", "90 % pruning in QKeras", "one-way 95%", "DPF", "DPF 95%")

# %% [markdown]
# The HAR network's Keras file shrinks to a third under gzip, which is about what 70 % zeros in float32 give.
# Its accuracy falls by eleven points in the TFLite file with float16 weights, which sixteen bits do
# not explain: lab 03 measured no loss from float16, and here not even eight bits cost anything (lab 08
# looks for such points, and finds them). The QKeras row, 298.67 KB for a network that is 90 % zeros, is a
# Keras file of a wrapped training model that was not stripped, with masks and optimiser. And the DPF network
# of the slides has *more* parameters than the dense one (6.79 million instead of 1.47), for which they give
# no reason.
# **Measure the file that goes to the device.**

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="where_and_when" points=4
# **At 95 % sparsity, what did it matter which layers lose the weights, and when? Why does the first
# layer need its weights more than the last convolution?**
#
# <!-- BEGIN SOLUTION -->
# What mattered most was where: with 95 % in every layer the first convolution keeps 7 of 144 weights, and
# the network does not recover within the training, 41 % in the mean; with LAMP's shares the same number of
# weights reads 94. When they go matters as well, but less: four points between pruning at a stroke and along
# the cubic schedule. The first layer has few weights, and all later layers see the image
# through it; the last convolution has 27,648, many of which are redundant.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="feedback_or_not" points=4
# **Did dynamic pruning with feedback help? Compare with what the paper claims, and say what is
# different here.**
#
# <!-- BEGIN SOLUTION -->
# Not on the test images: it reads 93.7 against 94.3 % at 95 % and 64.2 against 67.0 % at 98 %, in the mean
# of three seeds. On the harder ones it reads more, 54.8 against 44.3 % at 98 %. The paper trains ResNets from
# scratch for 300 epochs with SGD. Here there are three epochs from a trained network, whose magnitudes
# already say which weights matter, with Adam, whose steps behind the mask do not shrink with the gradient.
# Which of these is the reason was not tried; what was shown there need not hold for a short fine-tuning.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="compress_or_faster" points=4
# **A colleague prunes 95 % of the weights for a microcontroller with dense int8 kernels, and is
# disappointed: neither flash nor time is saved. What would you tell them?**
#
# <!-- BEGIN SOLUTION -->
# Zeros are stored as bytes and multiplied like others. They pay only where a code uses them: gzip or
# an index on the way to the device (less than a fifth of the bytes here), a sparse kernel, or 2:4 on
# hardware that skips them. For dense kernels take whole filters out: half of them leave a quarter of the
# weights and of the multiplications and a third of the file, without any special support; how much time that
# saves must be measured on the device.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Which layers lose their weights matters more than the schedule by which they go.
# - Whether whole filters go or single weights of the same layers matters less, and filters help on any
#   hardware.
# - Zeros make a file compress better, not compute faster. Fewer filters mean a shorter file and fewer
#   multiplications; what these save in time, only a measurement on the device can say.
# - Each later step must be told to keep what the earlier ones made: plain QAT fills the zeros.
#
# **Further reading:** S. Han, H. Mao, W. J. Dally, *Deep compression*, ICLR 2016 · M. Zhu, S. Gupta,
# *To prune, or not to prune*, arXiv:1710.01878 (2017) · H. Li et al., *Pruning filters for efficient
# ConvNets*, ICLR 2017 · T. Lin et al., *Dynamic model pruning with feedback*, ICLR 2020 · J. Lee et
# al., *Layer-adaptive sparsity for the magnitude-based pruning*, ICLR 2021 · A. Mishra et al.,
# *Accelerating sparse deep neural networks*, arXiv:2104.08378 (2021).
#
# **Next:** lab 07 takes bits away instead: four for a weight, two, and one.

# %% tags=["finish"]
lab.finish()
