# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 05 · Weight sharing: a codebook for each layer
#
# Quantisation gives every weight fewer bits. Weight sharing gives the weights of a layer only a few
# values between them: the layer keeps a *codebook* of, say, sixteen values, and each weight is the number
# of one of them. TFLite has no codebooks, so the file stays as long as it was; but a compressor on the way
# to the device finds the repetition. In this lab you make a codebook, train it, follow it through every
# quantisation of labs 02 to 04, and then find out with how few values a network still reads hands.
#
# **You will be able to**
#
# - cluster the weights of a layer by k-means, and say how much it matters where the centroids begin;
# - work out the gradient of a centroid, check it against `tfmot`'s, and train shared weights;
# - separate what training gives from what new statistics alone would give;
# - count what a codebook saves, on paper and in a file, before and after `gzip`;
# - keep the clusters through quantisation-aware training, and show how its plain form loses them;
# - spend clusters where they cost little.
#
# **Time:** 90 minutes of work; the computer takes 1 minute (`quick`) or 8 (`full`, with the
# baselines of lab 01; 3 more without). The quick profile trains once, for one epoch, on
# few images: its figures show only that everything runs. The stored ones are those of `full`.

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, and `sign_mnist_clustered.tflite`: the smallest file, after
# `gzip`, that still reads at least 90 % of the test images.

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import zlib

import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import clustering, minimal, post_training, pruning, quantization_aware
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("05_clustering", PROFILE, DATA, SEED, OUT, headline="sign_mnist_clustered.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())
base = baselines[SEED].model
images = data.representative(200, seed=SEED)
harder = data.corrupted(noise=0.03)  # the yardstick of lab 02
sixty_batches = data.x_train[:7680]  # for the normalisations' statistics


def file_of(technique):
    """Where a technique's file goes, in the folder of the sweeps."""
    return f"sweep/05_{technique.replace(', ', '_').replace(' ', '_')}.tflite"


for seed, baseline in baselines.items():
    path = lab.write("sign_mnist.tflite", post_training.convert(baseline.model, "float"), seed)
    lab.measure("float", path, seed, reference=path, harder=harder)


def measured(technique, content, seed=SEED):
    """Write a file of a sweep, measure it, hold it against the float one of its seed."""
    path = lab.write(file_of(technique), content, seed, hand_in=False)
    return lab.measure(technique, path, seed, reference=lab.path("sign_mnist.tflite", seed),
                       harder=harder)

# %% [markdown]
# ## 1 · K-means by hand
#
# We look for $k$ centroids $c_j$ such that the weights lie as near to them as possible,
#
# $$\min_{c} \sum_{j=1}^{k} \; \sum_{w \in \text{cluster } j} (w - c_j)^2 .$$
#
# Lloyd's algorithm alternates between two steps until nothing moves any more: every weight goes to its
# nearest centroid, and every centroid goes to the mean of its weights.
#
# By hand: the weights are $(-1.1,\,-0.9,\,0.1,\,0.2,\,1.0)$ and the centroids $(-1, 0, 2)$. The nearest
# centroids are numbers $(0, 0, 1, 1, 1)$, since $1.0$ is as far from $0$ as from $2$ and takes the first;
# the means are $-1.0$ and $1.3/3 = 0.433$, and the third cluster is empty: its centroid stays at $2$.


# %% [markdown]
# ### Your turn: to the nearest


# %% tags=["exercise"] exercise="nearest_centroid"
def nearest_centroid(weights, centroids):
    """Index of the nearest centroid of each weight; weights (n,), centroids (k,)."""
    ### BEGIN SOLUTION
    return np.argmin(np.abs(weights[:, None] - centroids[None, :]), axis=1)
    ### END SOLUTION


# %% tags=["check"] exercise="nearest_centroid" points=2
by_hand = np.array([-1.1, -0.9, 0.1, 0.2, 1.0])
with check(
    "nearest centroid",
    exercise="nearest_centroid",
    what="the five weights by hand, and a thousand random ones, the centroids in any order.",
    why="these numbers are what is stored for each weight: nothing else of it is left.",
) as c:
    c.equal("by hand", nearest_centroid(by_hand, np.array([-1.0, 0.0, 2.0])), [0, 0, 1, 1, 1],
            misconceptions=[
                ([1, 2, 4], "One index a weight is asked for, not one a centroid: the other axis."),
                ([2, 2, 2, 2, 0], "That is the farthest."),
                ([2, 2, 2, 2, 2], "The distance has no sign: np.abs."),
                ([-1, -1, 0, 0, 0], "Those are the centroids' values: their numbers are asked for."),
            ])
    some = np.random.default_rng(0).normal(size=1000)
    centroids = np.array([0.3, -1.5, 2.0, -0.2])
    c.equal("random ones", nearest_centroid(some, centroids),
            [min(range(4), key=lambda j: abs(w - centroids[j])) for w in some])


# %% [markdown]
# ### Your turn: to the mean
#
# A cluster without weights has no mean. Leave its centroid where it is: the next turn may give it
# some.


# %% tags=["exercise"] exercise="move_centroids"
def move_centroids(weights, indices, centroids):
    """Each centroid at the mean of its weights; an empty cluster's stays."""
    moved = centroids.copy()
    ### BEGIN SOLUTION
    for j in range(len(centroids)):
        if np.any(indices == j):
            moved[j] = weights[indices == j].mean()
    ### END SOLUTION
    return moved


# %% tags=["check"] exercise="move_centroids" points=3
with check(
    "move the centroids",
    exercise="move_centroids",
    what="the example, with its empty cluster.",
    why="the mean is the one value that minimises the squares; and 0/0 would make a NaN of every "
    "weight.",
) as c:
    got = move_centroids(by_hand, np.array([0, 0, 1, 1, 1]), np.array([-1.0, 0.0, 2.0]))
    c.that("no NaN", np.all(np.isfinite(got)),
           otherwise="an empty cluster has no mean: ask `np.any(indices == j)` first.")
    c.close("by hand", got, [-1.0, 1.3 / 3, 2.0], misconceptions=[
        ([-1.0, 0.0, 2.0], "Nothing has moved: set `moved[j]` for each cluster j."),
        ([-1.0, 0.2, 2.0], "That is the median; k-means takes the mean."),
        ([-1.0, 1.3 / 3, 0.0], "An empty cluster stays where it is, at 2."),
        ([-2.0, 1.3, 2.0], "That is the sum; k-means takes the mean."),
    ])

# %% [markdown]
# The two steps, repeated, are k-means; from here on your two functions make every codebook that is not
# trained. Neither step can raise the error, so it falls from turn to turn; here it is for the last
# convolution of the baseline, with eight centroids:

# %%
def k_means(weights, centroids, turns=100):
    """Codebook and index of each weight: to the nearest, to the mean, until nothing moves."""
    for _ in range(turns):
        moved = move_centroids(weights, nearest_centroid(weights, centroids), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids, nearest_centroid(weights, centroids)


flat = base.get_layer("conv4").kernel.numpy().ravel().astype(np.float64)
start = np.linspace(flat.min(), flat.max(), 8)
errors = []
for turns in range(13):
    codebook, indices = k_means(flat, start, turns)
    errors.append(np.sqrt(np.mean((flat - codebook[indices]) ** 2)))
print("root mean square error, turn by turn:", np.round(errors, 4))
theirs, _ = clustering.share(flat, start)
print("largest distance to the codebook of labkit's k-means:",
      f"{np.abs(k_means(flat, start)[0] - theirs).max():.1e}")

# %% [markdown]
# ## 2 · What does it save?
#
# $n$ weights of $b$ bits become $n$ indices of $\lceil \log_2 k \rceil$ bits and a codebook of $k$
# values (Han et al. 2016, equation 1; the thesis on localisation, equation 2.1; neither rounds the
# logarithm up):
#
# $$r = \frac{n\,b}{n \lceil \log_2 k \rceil + k\,b} .$$
#
# By hand: a layer of 1,000 weights of 32 bits in 16 clusters takes $1000 \cdot 4 + 16 \cdot 32 =
# 4512$ bits instead of 32,000: $r = 7.09$, not quite 8.


# %% [markdown]
# ### Your turn: the rate


# %% tags=["exercise"] exercise="compression_rate"
def compression_rate(n, k, b=32):
    """How many times smaller n weights of b bits become in k clusters, codebook included."""
    ### BEGIN SOLUTION
    index_bits = int(np.ceil(np.log2(k)))
    return n * b / (n * index_bits + k * b)
    ### END SOLUTION


# %% tags=["check"] exercise="compression_rate" points=3
with check(
    "compression rate",
    exercise="compression_rate",
    what="the example, a number of clusters that is no power of two, and a tiny layer.",
    why="in a small layer the codebook costs more than it saves.",
) as c:
    c.close("1,000 weights, 16 clusters", compression_rate(1000, 16), 32000 / 4512,
            misconceptions=[
                (8.0, "The codebook counts, too: k values of b bits."),
                (32000 / (1000 * 16 + 512), "An index has log₂ k bits, not k."),
                (4512 / 32000, "Upside down: how many times smaller, so more than 1."),
                (32000 / (4000 + 16), "Each of the k values in the codebook has b bits, too."),
                (32000 / (4000 + 16 * 4), "The codebook's values have b bits, not log₂ k."),
            ])
    c.close("1,000 weights, 5 clusters", compression_rate(1000, 5), 32000 / (3000 + 160),
            misconceptions=[
                (32000 / (1000 * np.log2(5) + 160), "Bits come whole: five indices need three."),
                (32000 / (2000 + 160), "Round up: two bits have only four indices."),
            ])
    c.close("16 weights, 16 clusters", compression_rate(16, 16), 512 / (64 + 512))
    c.close("8-bit weights", compression_rate(1000, 4, 8), 8000 / 2032, misconceptions=[
        (32000 / (2000 + 4 * 32), "The weights may have other than 32 bits: b."),
        (8000 / (2000 + 4 * 32), "The codebook's values have b bits, too."),
        (32000 / 2032, "The weights may have other than 32 bits: b."),
    ])

# %% [markdown]
# ## 3 · Where to begin
#
# K-means ends in a local minimum, and which one depends on where the centroids begin. Four beginnings are
# common: **linear**, evenly spaced from the smallest to the largest weight; by **density**, so that each
# cluster begins with equally many weights; **k-means++**, at random but far from one another; and
# **random** between the extremes.


# %% [markdown]
# ### Your turn: linear and by density
#
# For $k$ centroids by density take the quantiles $(j + \tfrac12)/k$ of the weights.


# %% tags=["exercise"] exercise="initial_centroids"
def initial_centroids(weights, k):
    """Two arrays of k centroids: spread linearly over the range, and by density."""
    ### BEGIN SOLUTION
    linear = np.linspace(weights.min(), weights.max(), k)
    density = np.quantile(weights, (np.arange(k) + 0.5) / k)
    return linear, density
    ### END SOLUTION


# %% tags=["check"] exercise="initial_centroids" points=3
with check(
    "initial centroids",
    exercise="initial_centroids",
    what="a hundred weights, ninety of them near zero.",
    why="by density, a centroid begins only where weights are many.",
) as c:
    heavy = np.concatenate([np.linspace(-0.1, 0.1, 90), np.linspace(0.9, 1.0, 10)])
    linear, density = initial_centroids(heavy, 5)
    c.close("linear", linear, np.linspace(-0.1, 1.0, 5), misconceptions=[
        (np.linspace(-0.1, 1.0, 7)[1:-1], "The extremes themselves are centroids, too."),
        (-0.1 + 1.1 * (np.arange(5) + 0.5) / 5, "The extremes themselves are centroids, too."),
        (np.linspace(0, 1.0, 5), "From the smallest weight, which is negative."),
    ])
    c.close("by density", density, np.quantile(heavy, [0.1, 0.3, 0.5, 0.7, 0.9]), misconceptions=[
        (np.quantile(heavy, np.linspace(0, 1, 5)), "Take the middles of the k parts: (j + ½)/k."),
        (np.quantile(heavy, np.arange(5) / 5), "Take the middles of the k parts: (j + ½)/k."),
        (np.linspace(-0.1, 1.0, 5), "Equal distances are linear; by density the *numbers* of weights "
         "between them are equal: quantiles."),
    ])

# %% [markdown]
# **Predict.** Every layer gets eight clusters, from each of the four beginnings, and nothing is trained.
# The means and variances that the batch normalisations keep are then still those of the *old* weights'
# sums. So the same networks are tested once more with **new statistics**, measured in some forward passes
# over training images that change no weight (`pruning.with_new_statistics`).

# %%
my_guess = predict(
    "beginning",
    "Which makes more of a difference to the accuracy, before any training?",
    choices=["from which beginning k-means starts", "whether the statistics are measured anew"],
    answer=None,
)


# %%
def beginning(weights, k, name):
    """Centroids of one of the four beginnings; the first two are yours."""
    if name in ("linear", "density"):
        return initial_centroids(weights, k)[name == "density"]
    return clustering.initial_centroids(weights, k, name, SEED).astype(np.float64)


def shared(model, k, name, turns=100):
    """A copy of a model, each kernel replaced by its k-means; no training."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for kernel in clustering.prunable(copy).values():
        weights = kernel.numpy().ravel().astype(np.float64)
        codebook, indices = k_means(weights, beginning(weights, k, name), turns)
        kernel.assign(codebook[indices].reshape(kernel.shape))
    return copy


rows, codebooks = [], {}
for name in clustering.INITIALISATIONS:
    start = beginning(flat, 8, name)
    codebook, indices = k_means(flat, start)
    codebooks[name] = start, codebook
    for baseline in baselines.values():
        model = shared(baseline.model, 8, name)
        rows.append({
            "beginning": name,
            "largest |centroid| at the start": np.abs(start).max(),
            "after k-means": np.abs(codebook).max(),
            "RMS error of conv4": np.sqrt(np.mean((flat - codebook[indices]) ** 2)),
            "beginning only (%)": lab.accuracy_in_keras(shared(baseline.model, 8, name, 0)),
            "k-means (%)": lab.accuracy_in_keras(model),
            "k-means, new statistics (%)": lab.accuracy_in_keras(
                pruning.with_new_statistics(model, sixty_batches)),
        })
beginnings = pd.DataFrame(rows).groupby("beginning", sort=False).mean().round(3)
least, most = (getattr(pd.DataFrame(rows).groupby("beginning", sort=False)["k-means (%)"], f)()
               for f in ("min", "max"))
gain = (beginnings["k-means, new statistics (%)"] - beginnings["k-means (%)"]).mean()
apart = np.ptp(beginnings["k-means (%)"])
reveal("beginning", my_guess,
       "whether the statistics are measured anew" if gain > apart else
       "from which beginning k-means starts",
       f"The best and the worst beginning are {apart:.1f} points apart, new statistics give "
       f"{gain:.1f} (means over {len(lab.seeds)} seed(s)).")
beginnings["seeds, k-means (%)"] = [f"{a:.1f} to {b:.1f}" for a, b in zip(least, most)]
beginnings.T

# %%
plots.show(
    plots.centroids(flat, codebooks),
    alt="Histogram of the weights of conv4 on a logarithmic scale with eight centroids from each "
    "beginning, before and after k-means: those by density crowd around zero and leave the large "
    "weights without a centroid, linear ones reach them; after k-means all four look alike.",
)

# %% [markdown]
# What the plot says: by density no centroid begins anywhere near the large weights (the thesis on
# localisation, Figure 2.4; Han et al., section 5.2); a linear beginning reaches them. K-means then
# pulls every codebook towards the crowd, since it counts squares of errors and not what an error
# costs: in this layer all four end with nearly the same eight values, the largest of them 0.24, less than
# half of the largest weight.
#
# What the table says: with the old statistics the four beginnings read 39 to 51 % on average, but each of
# them varies by 45 to 63 points between the seeds, so the 12 points between them say nothing. With new
# statistics all four read 99.5 % or more, with eight values per layer and *no training*, and less than half a
# point is left between them. K-means had not destroyed what the weights knew; it had only left the
# normalisations with means and variances that no longer fitted them. The advice to begin linearly (Han et al.)
# finds no support here: that beginning is the last of the four, by a quarter of a point. It earns its place
# in section 6, by another property.

# %% [markdown]
# ## 4 · Train the codebook
#
# In a shared layer the weights are looked up, $w_i = c_{a(i)}$, so by the chain rule a centroid's
# gradient is the **sum of the gradients of its members**,
#
# $$\frac{\partial L}{\partial c_j} = \sum_{i:\, a(i) = j} \frac{\partial L}{\partial w_i} .$$
#
# By hand: weights' gradients $(1, 2, -4, 3)$ and the indices $(0, 1, 0, 1)$ give $(-3, 5)$.


# %% [markdown]
# ### Your turn: gradient of a centroid


# %% tags=["exercise"] exercise="centroid_gradient"
def centroid_gradient(weight_gradients, indices, k):
    """Gradient (k,) of the centroids, from those of the weights (n,) and their indices (n,)."""
    ### BEGIN SOLUTION
    return np.bincount(indices, weight_gradients, minlength=k)
    ### END SOLUTION


# %% tags=["check"] exercise="centroid_gradient" points=4
with check(
    "gradient of the centroids",
    exercise="centroid_gradient",
    what="the example, a cluster without members, and TensorFlow's own gradient of a lookup.",
    why="the members of a cluster pull at one number, and each pull counts in full.",
) as c:
    c.close("by hand", centroid_gradient(np.array([1.0, 2, -4, 3]), np.array([0, 1, 0, 1]), 2),
            [-3.0, 5.0], misconceptions=[
                ([-1.5, 2.5], "That is the mean of the members' gradients; the chain rule sums."),
                ([1.0, 2.0, -4.0, 3.0], "One gradient per centroid, not one per weight: sum the members'."),
                ([-4.0, 3.0], "`g[indices] += …` writes once for each index: np.add.at or "
                 "np.bincount adds them all."),
                ([5.0, 5.0], "Absolute values? Members may pull in opposite directions."),
            ])
    c.close("an empty cluster", centroid_gradient(np.array([1.0]), np.array([0]), 3),
            [1.0, 0.0, 0.0], misconceptions=[
                ([1.0], "k centroids have k gradients, also those without members: minlength=k."),
            ])
    codebook, indices = k_means(flat, np.linspace(flat.min(), flat.max(), 8))
    codebook = tf.constant(codebook)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(codebook)
        looked_up = tf.gather(codebook, indices)
        loss = tf.reduce_sum(tf.sin(looked_up * tf.range(len(indices), dtype=tf.float64)))
    theirs = tf.convert_to_tensor(tape.gradient(loss, codebook)).numpy()
    ours = centroid_gradient(tape.gradient(loss, looked_up).numpy(), indices, 8)
    c.close("TensorFlow's gradient of a lookup", ours, theirs, tolerance=1e-6)

# %% [markdown]
# **Does `tfmot` do this?** `clustering.cluster` wraps each layer of a copy. On one batch we ask the
# wrapped network for the gradient of its centroids, and a plain network with the same weights for the
# gradient of its kernel, which your function then sums up.

# %%
def loss_of(network):
    """Cross-entropy of a batch of training images, as in a step of the training."""
    outputs = network(data.x_train[:128], training=True)
    return tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(data.y_train[:128],
                                                                          outputs))


wrapped = clustering.cluster(base, 8)
(wrapper,) = [w for w in wrapped.layers if getattr(w, "layer", w).name == "conv4"]
with tf.GradientTape() as tape:
    loss = loss_of(wrapped)
theirs = tf.convert_to_tensor(tape.gradient(loss, wrapper.cluster_centroids["kernel"])).numpy()
members = wrapper.pulling_indices["kernel"].numpy().ravel()
plain = clustering.strip(clustering.cluster(base, 8))
with tf.GradientTape() as tape:
    loss = loss_of(plain)
of_weights = tape.gradient(loss, plain.get_layer("conv4").kernel).numpy().ravel()
mine = centroid_gradient(of_weights, members, 8)
with check(
    "the gradient that tfmot uses",
    what="eight centroids of conv4 in the whole network, against your sums.",
    why="what you wrote is what trains from here on.",
) as c:
    c.close("gradients of the centroids", theirs, mine, tolerance=1e-3)
print("tfmot's:", np.round(theirs, 4), "\nyours:  ", np.round(mine, 4))

# %% [markdown]
# `tfmot` does two more things. The weights behind the codebook are trained along with it, by their own
# gradients, and at every step each weight is assigned anew to its nearest centroid: so weights may change
# clusters while the codebook learns.
#
# A clustered network is made in three steps: `clustering.cluster(model, clusters, initialisation)`
# wraps the layers of a copy, `training.fit(model, data, recipe, seed)` trains it in place, and
# `clustering.strip(model)` gives back a plain network whose kernels hold the shared values.


# %% [markdown]
# ### Your turn: cluster, train, strip


# %% tags=["exercise"] exercise="train_shared"
def train_shared(model, clusters, recipe, seed, initialisation="kmeans++"):
    """A plain network like `model`, its kernels in `clusters` values, trained; `model` stays as it is."""
    ### BEGIN SOLUTION
    wrapped = clustering.cluster(model, clusters, initialisation)
    training.fit(wrapped, data, recipe, seed)
    return clustering.strip(wrapped)
    ### END SOLUTION


# %% tags=["check"] exercise="train_shared" points=3
with check(
    "cluster, train, strip",
    exercise="train_shared",
    what="some steps on a copy of the baseline, four clusters.",
    why="unstripped it is twice as large, untrained it has the old statistics, and a network that "
    "was trained in place of its copy is no baseline any more.",
) as c:
    copy = tf.keras.models.clone_model(base)
    copy.set_weights(base.get_weights())
    some_steps = sign_cnn.RECIPES[PROFILE].but(epochs=4 / training.steps(data,
                                                                         sign_cnn.RECIPES[PROFILE]))
    got = train_shared(copy, 4, some_steps, SEED, "linear")
    c.equal("kinds of layers", [type(layer).__name__ for layer in getattr(got, "layers", [])],
            [type(layer).__name__ for layer in base.layers], misconceptions=[
                ([type(layer).__name__ for layer in wrapped.layers],
                 "The wrappers are still there: strip them off."),
                ([], "Return the stripped network."),
            ])
    c.that("the model that was given is as it was",
           all(np.array_equal(a, b) for a, b in zip(copy.get_weights(), base.get_weights())),
           otherwise="its weights have changed: train what `cluster` returns.")
    c.that("at most four values per kernel",
           all(len(np.unique(k)) <= 4 for k in clustering.prunable(got).values()),
           otherwise="wrap first, train the wrapped network, and strip last.")
    untrained = clustering.strip(clustering.cluster(base, 4, "linear"))
    c.that("it was trained",
           not np.allclose(got.get_weights()[0], untrained.get_weights()[0], atol=1e-7),
           otherwise="the codebook is the one of the beginning: fit the wrapped network before "
           "you strip it.")
    twice = train_shared(copy, 4, some_steps, SEED, "density")
    c.that("the initialisation counts",
           not np.allclose(got.get_weights()[0], twice.get_weights()[0], atol=1e-7),
           otherwise="give `initialisation` to `cluster`.")

# %% [markdown]
# **How many clusters?** Here is the sweep, with its controls. A training of two epochs does more than move
# centroids: it also measures the statistics anew, and it is two more epochs of training. So there are four
# curves: k-means alone; k-means and new statistics; the *float* network trained for as many epochs at the
# same rate, then k-means and new statistics; and the trained codebook.
#
# **Predict.** How much of what the training gives would new statistics alone have given?

# %%
my_guess = predict(
    "what training gives",
    "Four clusters: of the gap between k-means alone and the trained codebook, new statistics close",
    choices=["next to nothing", "about half", "nearly all"],
    answer=None,
)

# %%
SWEEP = {"quick": (4, 16), "full": (2, 4, 16)}[PROFILE]
EPOCHS = {"quick": 1, "full": 2}[PROFILE]
RECIPE = sign_cnn.RECIPES[PROFILE].but(epochs=EPOCHS, learning_rate=2e-3)
rows, sixteen = [], {}
for seed, baseline in baselines.items():
    longer = tf.keras.models.clone_model(baseline.model)
    longer.set_weights(baseline.model.get_weights())
    training.fit(longer, data, RECIPE, seed)
    for clusters in SWEEP:
        only = shared(baseline.model, clusters, "kmeans++")
        model = train_shared(baseline.model, clusters, RECIPE, seed)
        if clusters == 16:
            sixteen[seed] = model
        figures = measured(f"{clusters} clusters, dynamic range",
                           post_training.convert(model, "dynamic_range"), seed)
        rows.append({
            "clusters": clusters,
            "seed": seed,
            "k-means": lab.accuracy_in_keras(only),
            "new statistics": lab.accuracy_in_keras(
                pruning.with_new_statistics(only, sixty_batches)),
            "longer in float": lab.accuracy_in_keras(
                pruning.with_new_statistics(shared(longer, clusters, "kmeans++"), sixty_batches)),
            "codebook trained": 100 * figures["accuracy"],
            "gzip (bytes)": figures["gzip_bytes"],
            "coded weights (bytes)": figures["coded_bits"] / 8,
        })
sweep = pd.DataFrame(rows).groupby("clusters").mean().drop(columns="seed")
four = sweep.loc[4]
part = (four["new statistics"] - four["k-means"]) / (four["codebook trained"] - four["k-means"])
reveal("what training gives", my_guess,
       "next to nothing" if part < 0.25 else "about half" if part < 0.75 else "nearly all",
       f"{part:.0%} of the gap (means over {len(lab.seeds)} seed(s)).")
sweep.round(1)

# %%
plots.show(
    plots.lines(sweep.iloc[:, :4], x="clusters in every layer", y="test accuracy (%)", log_x=2),
    alt="Accuracy over two, four and sixteen clusters in every layer: k-means alone rises from 5 over "
    "13 to 99 %; with new statistics, of the baseline or of a network trained longer in float, from "
    "some 30 over 93 to 100 %; the trained codebook reads 97 % with two values already.",
)

# %%
pd.DataFrame(rows).groupby("clusters")[["k-means", "new statistics", "longer in float",
                                        "codebook trained"]].agg(["min", "max"]).round(1)

# %% [markdown]
# What the plot says: with sixteen values nothing is left for training to do: k-means alone reads
# 99.3 %, and 100 % with new statistics. With four, k-means alone reads 13 %; new statistics close 93 %
# of the gap to the trained codebook, and only the last 6 points come from the training itself. With two it
# is the other way round: 29 % with new statistics, 97 % trained, 96 to 98 depending on the seed. The two
# extra epochs as such play no part: spent in float before k-means, they change less than the choice of the
# seed does, which is worth more than 20 points there. (The first three curves are of Keras models, the last one
# of dynamic-range files.)
#
# The length of the file does not change at all: TFLite stores one byte a weight, whatever its value. After
# `gzip` the file shrinks with every bit of index, but not down to the length of a code with a codebook. To
# see why, take the codes of conv4 by themselves: Huffman's code gives each symbol a whole number of bits, at
# least one; deflate, the method inside `gzip`, also looks for strings that have occurred before.

# %%
rows = {}
for clusters in SWEEP:
    path = lab.path(file_of(f"{clusters} clusters, dynamic range"))
    row = measure.inspect(path).weights.set_index(["layer", "role"]).loc[("conv4", "weight")]
    codes = measure.read_graph(path).tensors[row["tensor"]].codes.astype(np.int8)
    huffman = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    share = np.unique(codes, return_counts=True)[1] / codes.size
    rows[clusters] = {
        "codes in the tensor": len(share),
        "a codebook, an index each": 8 * codes.size / compression_rate(codes.size, clusters, 8) / 8,
        "entropy of the codes": -np.sum(share * np.log2(share)) * codes.size / 8,
        "Huffman alone": len(huffman.compress(codes.tobytes()) + huffman.flush()),
        "deflate": len(zlib.compress(codes.tobytes(), 9)),
    }
pd.DataFrame.from_dict(rows, orient="index").rename_axis("clusters; bytes of conv4").round(0).astype(int)

# %% [markdown]
# What the table says: with two values an index is one bit, but Huffman's code needs one and a half times
# as much, since deflate has a third symbol, which marks the end, and of three symbols two must have codes
# of two bits. Repeated strings win some of that back; with four values and with sixteen they cost more than
# they save, and deflate is longer than Huffman's code alone. With sixteen clusters the tensor holds 30 codes:
# in a channel without a weight in the outermost cluster the next one becomes the code ±127, and all the
# others move with it. A codebook would not notice: the index stays the same.

# %% [markdown]
# ## 5 · Clusters in the file
#
# The converter folds each batch normalisation into the kernel before it, and so multiplies every
# output channel by a factor of its own. In a float file the sixteen values of a tensor become
# sixteen *for each channel*. Quantisation per channel takes the factor out again, into the scale.


# %% [markdown]
# ### Your turn: count, channel by channel


# %% tags=["exercise"] exercise="unique_per_channel"
def unique_per_channel(kernel):
    """Most different values in any one output channel; kernel (out, ...), as in TFLite."""
    ### BEGIN SOLUTION
    return max(len(np.unique(channel)) for channel in kernel)
    ### END SOLUTION


# %% tags=["check"] exercise="unique_per_channel" points=3
with check(
    "different values in a channel",
    exercise="unique_per_channel",
    what="a kernel of two channels, one with two values and one with three, five in all; and a kernel of "
    "four axes.",
    why="counted over the tensor, a clustered network looks as if it had lost its clusters.",
) as c:
    two = np.array([[1.0, 2, 1, 2], [3, 3, 4, 6]])
    c.equal("2 channels", unique_per_channel(two), 3, misconceptions=[
        (5, "That counts over the whole tensor; look at one channel at a time."),
        (2, "The most in any channel, not the fewest; and output channels come first in TFLite."),
    ])
    c.equal("axes behind the first", unique_per_channel(two.reshape(2, 1, 2, 2)), 3)

# %% [markdown]
# **Does it really?** A codebook and indices of four bits are all that is left of a clustered kernel. So
# we write conv4 down like that, and read it back:

# %%
kernel = sixteen[SEED].get_layer("conv4").kernel.numpy()
codebook = np.unique(kernel)
indices = nearest_centroid(kernel.ravel(), codebook)
packed = (indices[0::2] + 16 * indices[1::2]).astype(np.uint8)  # two indices a byte
unpacked = np.stack([packed & 15, packed >> 4], axis=1).ravel()
different = np.count_nonzero(codebook[unpacked].reshape(kernel.shape) != kernel)
bytes_of_it = packed.nbytes + codebook.nbytes
print(f"{kernel.size:,} weights from {len(codebook)} values and {packed.nbytes:,} bytes of indices: "
      f"{different} differ; {kernel.nbytes / bytes_of_it:.3f} times smaller, your formula says "
      f"{compression_rate(kernel.size, len(codebook)):.3f}")

# %% [markdown]
# The network with sixteen trained clusters is now converted in every way of labs 02 and 03. Then it is
# trained once more with fake quantisation: in the plain way of lab 04, and in the **cluster-preserving**
# way (CQAT), in which the quantised weights are looked up in the codebook at every step. There are two
# controls: the int8 file of the network that was *never clustered*, and plain QAT at a learning rate of
# $10^{-12}$, which has the same passes, ranges and statistics, while no weight moves.
#
# **Predict.** What does plain quantisation-aware training make of the sixteen values?

# %%
my_guess = predict(
    "plain QAT",
    "How many different weights has each channel of conv4 (432 weights) after plain QAT?",
    choices=["16 still", "more, but fewer than a network that was never clustered",
             "as many as a network that was never clustered"],
    answer=None,
)

# %%
QAT_EPOCHS = {"quick": 1, "full": 2}[PROFILE]


def quantization_aware_files(model, seed):
    """QAT of a plain, clustered model, plain, without steps and cluster-preserving: the int8 files."""
    plain, still = quantization_aware.quantize(model), quantization_aware.quantize(model)
    keeping = clustering.cluster_preserving(model)
    for qat, rate in ((plain, 4e-4), (still, 1e-12), (keeping, 4e-4)):
        training.fit(qat, data, RECIPE.but(epochs=QAT_EPOCHS, learning_rate=rate), seed)
    return {
        "16 clusters, QAT, no steps": quantization_aware.convert(still),
        "16 clusters, QAT int8": quantization_aware.convert(plain),
        "16 clusters, CQAT int8": clustering.convert(keeping),
    }


for seed, model in sixteen.items():
    contents = {
        "int8": post_training.convert(baselines[seed].model, "int8", images),
        "16 clusters": post_training.convert(model, "float"),
        "16 clusters, int8": post_training.convert(model, "int8", images),
        "16 clusters, 16x8": post_training.convert(model, "int16x8", images),
        **quantization_aware_files(model, seed),
    }
    for technique, content in contents.items():
        measured(technique, content, seed)

# %%
order = ["int8", "16 clusters", "16 clusters, dynamic range", "16 clusters, int8",
         "16 clusters, 16x8", "16 clusters, QAT, no steps", "16 clusters, QAT int8",
         "16 clusters, CQAT int8"]
counts = pd.DataFrame({
    technique: {layer: unique_per_channel(kernel)
                for layer, kernel in measure.weights(lab.path(file_of(technique))).items()}
    for technique in order
}).T.rename_axis("most values in a channel")
never, after_plain = counts.loc["int8", "conv4"], counts.loc["16 clusters, QAT int8", "conv4"]
reveal("plain QAT", my_guess,
       "16 still" if after_plain <= 16 else
       "as many as a network that was never clustered" if after_plain > 0.8 * never else
       "more, but fewer than a network that was never clustered",
       f"{after_plain} different codes of 255 possible, in a channel of 432 weights; {never} in the "
       "network that was never clustered.")
counts

# %% [markdown]
# What the table says: all conversions keep at most sixteen values per channel (in conv1 a channel has only
# nine weights), and so does fake quantisation, as long as no weight moves. Plain QAT, however, trains every
# weight by itself. After two epochs conv4 has up to 164 codes in a channel, nearly as many as the network
# that was never clustered, and conv2 and conv3 have some 70 % of theirs; CQAT keeps the sixteen. (The thesis on
# QuantNET counts up to 361,277 different weights in a layer after plain QAT, Table 4.5.)

# %%
with check(
    "what the files hold",
    what="different values in each channel of each file.",
    why="a cluster that is not in the file saves nothing.",
) as c:
    kept = counts.drop(index=["int8", "16 clusters, QAT int8"])
    c.between("clusters that are kept", kept.to_numpy().max(), 2, 16)
    c.between("after plain QAT", after_plain, 17, 255)

# %% [markdown]
# ## 6 · As small as can be
#
# A layer of 144 weights costs hardly anything, however many clusters it has; the last convolution
# has 27,648. So a layer of few weights should have many clusters, and a layer of many weights only two.
# But which two? From a *linear* beginning they start at the smallest and the largest weight. The border
# lies half way between them, and the more unevenly the weights lie on its two sides, the lower is the
# layer's **entropy**, which a good compressor comes close to:
#
# $$H = -\sum_j p_j \log_2 p_j .$$
#
# With 95 % of the weights in one of two clusters it is 0.29 bits.


# %% [markdown]
# ### Your turn: clusters by size


# %% tags=["exercise"] exercise="clusters_by_size"
def clusters_by_size(sizes, few, some, many):
    """Clusters for each layer: `many` up to 1,000 weights, `some` up to 10,000, else `few`.

    sizes: number of weights by layer's name.
    """
    ### BEGIN SOLUTION
    return {
        name: many if size <= 1_000 else some if size <= 10_000 else few
        for name, size in sizes.items()
    }
    ### END SOLUTION


# %% tags=["check"] exercise="clusters_by_size" points=3
sizes = {name: int(np.prod(kernel.shape)) for name, kernel in clustering.prunable(base).items()}
with check(
    "clusters by size",
    exercise="clusters_by_size",
    what="the five layers of the baseline.",
    why="bits are paid for by the weight: spend clusters where the weights are few.",
) as c:
    got = clusters_by_size(sizes, 2, 4, 16)
    c.equal("layers", list(got), list(sizes))
    c.equal("2, 4 and 16 clusters", list(got.values()), [16, 4, 2, 2, 4], misconceptions=[
        ([2, 4, 16, 16, 4], "The other way round: the large layers get few."),
        ([16, 16, 2, 2, 16], "Up to 10,000 weights means `some`, and `many` only up to 1,000."),
    ])
    c.equal("at the borders", list(clusters_by_size(
        {"a": 1_000, "b": 1_001, "c": 10_000, "d": 10_001}, 2, 4, 16).values()), [16, 4, 4, 2],
        misconceptions=[([4, 4, 4, 2], "Up to 1,000 weights means 1,000, too: ≤.")])

# %% [markdown]
# The runs begin with k-means++ or linearly, have more clusters or fewer, and are made with every seed; one
# of them is measured without training. Each network is converted with dynamic range, and the names are
# taken out of its file (`minimal.without_names`), since no runtime needs them.

# %%
RUNS = {
    "quick": [("linear", 2, 4, 16, 1)],
    "full": [  # beginning, few, some, many, epochs
        ("kmeans++", 2, 4, 16, 2),
        ("linear", 2, 4, 16, 2),
        ("linear", 2, 3, 16, 0),
        ("linear", 2, 3, 16, 4),
    ],
}[PROFILE]
RATE = 3e-3


def smallest(model, seed, beginning, clusters, epochs):
    """The nameless dynamic-range file of a model with clusters by size, trained."""
    layers = {name: int(np.prod(k.shape)) for name, k in clustering.prunable(model).items()}
    by_size = clusters_by_size(layers, *clusters)
    if epochs:
        recipe = RECIPE.but(epochs=epochs, learning_rate=RATE)
        model = train_shared(model, by_size, recipe, seed, beginning)
    else:
        untrained = clustering.strip(clustering.cluster(model, by_size, beginning))
        model = pruning.with_new_statistics(untrained, sixty_batches)
    return minimal.without_names(post_training.convert(model, "dynamic_range"))


rows, made = [], {}
for run in RUNS:
    start, *clusters, epochs = run
    name = f"{'-'.join(map(str, clusters))} clusters, {start}, {epochs} epochs"
    for seed, baseline in baselines.items():
        made[name, seed] = smallest(baseline.model, seed, start, clusters, epochs)
        figures = measured(name, made[name, seed], seed)
        bits = measure.coding(lab.path(file_of(name), seed))
        rows.append({"run": name, "accuracy (%)": 100 * figures["accuracy"],
                     "gzip (bytes)": figures["gzip_bytes"],
                     "one index each (bytes)": bits["best (bits)"].sum() / 8,
                     "entropy (bytes)": bits["entropy (bits)"].sum() / 8})
by_run = pd.DataFrame(rows).groupby("run", sort=False)
runs = by_run.mean()
runs.insert(1, "worst seed (%)", by_run["accuracy (%)"].min())
runs.round(1)

# %% [markdown]
# What the table says: with the same clusters and epochs the linear beginning takes 41 % fewer bytes than
# k-means++, and reads 2.4 points less. The size depends on how unevenly the values are used, and hardly on
# how many there are: with the beginning the entropy falls, while the fixed indices take as many bytes as
# before. Untrained, the linear beginning reads 15 % even with new statistics: two values at the ends of the
# range say little about the weights. Here it is the training that makes a network of them, and it also makes
# the use of the values more uneven. The last run has three values instead of four in two layers, and twice
# the epochs. It saves another 3 % of the bytes, but one of its seeds falls below 90 %.
#
# We hand in the smallest of these that reads at least 90 % with *every* seed. (The sheet scores by the test
# images, so we have chosen by them; with more runs to choose from, the figure would flatter us.)

# %%
able = runs[runs["worst seed (%)"] >= {"quick": 0, "full": 90}[PROFILE]]
chosen = able["gzip (bytes)"].idxmin()
for seed in lab.seeds:
    path = lab.write("sign_mnist_clustered.tflite", made[chosen, seed], seed)
    lab.measure("smallest", path, seed, reference=lab.path("sign_mnist.tflite", seed), harder=harder)
print(f"{chosen}: {lab.mean('accuracy', 'smallest'):.2%}, "
      f"{lab.mean('gzip_bytes', 'smallest'):,.0f} bytes after gzip")
table = measure.coding(lab.path("sign_mnist_clustered.tflite")).drop(columns=["mask (bits)",
                                                                              "index (bits)"])
table["entropy of a value (bits)"] = table["entropy (bits)"] / table["values"]
table.round(2)

# %% [markdown]
# The table is of the first seed's file; without names its layers show as operators. It says where the
# uneven values are: the entropy is 0.30 bits per weight in the fourth convolution and 0.51 in the third,
# codebooks included, where a fixed index takes one bit. With fixed indices the weights and biases alone
# would need more bytes than `gzip` leaves of the whole file. And the ledger below says what the floor of
# 90 % does not: on the harder images the file reads 82 % where float reads 94.

# %%
with check(
    "the goal of the sheet",
    what="accuracy and size of `sign_mnist_clustered.tflite`, from the file.",
    why="90 % is the floor; the points go by the size.",
) as c:
    floor = {"quick": 0.1, "full": 0.9 if data.source == "real" else 0.6}[PROFILE]
    c.between("accuracy", lab.mean("accuracy", "smallest"), floor, 1)
    c.between("gzip", lab.mean("gzip_bytes", "smallest"), 1_000, 12_000, unit="bytes")

# %% [markdown]
# **Your own network.** If you have designed one in lab 01, it lies in the output folder; here it is
# clustered in the same way, by the sizes of its own layers.

# %%
own = lab.network(sign_cnn)
if own is sign_cnn:
    print("No network of your own in the output folder: lab 01 puts it there.")
else:
    model = lab.trained(own, SEED).model
    path = lab.write("sweep/05_own.tflite", post_training.convert(model, "float"), hand_in=False)
    lab.measure("own float", path, model="own network")
    content = smallest(model, SEED, "linear", (2, 4, 16), {"quick": 1, "full": 3}[PROFILE])
    path = lab.write("sweep/05_own_clustered.tflite", content, hand_in=False)
    figures = lab.measure("own, clusters by size", path, model="own network")
    print(f"your own network: {figures['accuracy']:.2%}, {figures['gzip_bytes']:,} bytes after gzip")

# %% [markdown]
# ## The ledger
#
# The last two columns are those of TensorFlow Lite Micro. Shared weights change nothing there, since the arena
# holds activations: int8 needs 20 kB, 16x8 38 and float 67, with clusters or without. What matters is how a
# network was converted: every dynamic-range file, and with it the one to hand in, is refused, since that
# interpreter has no convolution of float activations with int8 weights.
#
# The plot shows accuracy over size: only clusters by size come below 10 kB, and that costs three to five points.

# %%
report = lab.report(device=True).drop(columns="model")
measure.printed(report, 3)

# %%
points = report.reset_index()
points["pattern"] = np.select(
    [points["technique"].str.startswith("16 clusters"), points["technique"] == "smallest",
     points["technique"].str.contains("-")],
    ["16 clusters, all modes", "handed in", "clusters by size"], "clusters swept")
points = points[~points["technique"].isin(["float", "int8"])
                & ~points["technique"].str.endswith(" 0 epochs")]
plots.show(
    plots.over_size(points, level=90),
    alt="Accuracy over bytes after gzip: clusters by size lie at 7 to 13 kB with 95 to 100 %, left of "
    "the line of two and four clusters in every layer at 12 and 19 kB with 97 and 99.5 %; the 16-cluster files "
    "lie at 100 % from 35 kB on, the plain QAT file at 48 and the float file at 52 kB.",
)

# %% [markdown]
# ## Published against measured
#
# The published sizes of the clustered files are compressed, that of the float file is not, so their
# "smaller" counts the compressor, too. Ours are taken after `gzip` on both sides.

# %%
lab.compare("16 clusters", "16 clusters, dynamic range", "16 clusters, int8", "16 clusters, 16x8",
            "16 clusters, QAT int8", "16 clusters, CQAT int8", "clustering", "smallest",
            size="gzip (bytes)")

# %% [markdown]
# QuantNET's first dense layer has half a million weights, so clustering saves more there; our network has
# 48,424 parameters in all, and the graph, the scales and the biases weigh more beside them. Ours loses
# nothing of 100 % with sixteen clusters, theirs up to 2.7 points of 66; but it is another network on another
# task, trained once for each figure. One row differs in kind: the thesis's file after plain QAT is as
# small as the one without, although its own Table 4.5 counts hundreds of thousands of different
# weights in it; ours grows by more than a third, as a file that has lost its clusters must. Both find that
# CQAT keeps the clusters *and* the accuracy.

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="clustering_size" points=6
# **Sixteen clusters need four bits per weight, so the file should be eight times smaller than the
# float file. How much smaller is it in bytes, after `gzip`, and coded with a codebook? Where does
# the rest go?**
#
# <!-- BEGIN SOLUTION -->
# In bytes the float file does not shrink at all, and the dynamic-range file is 3.6 times smaller, as
# without clusters: TFLite stores each weight at full width. After gzip the latter is about 5 times smaller
# than the compressed float file. With codebook and indices the weights alone are about 7 times
# smaller; gzip does not find indices, and graph, scales and biases stay as they are.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="linear_beginning" points=5
# **Two networks have two clusters in their large layers. One is two fifths smaller after `gzip`. Why,
# and why is a decoder with one bit a weight not the end of it?**
#
# <!-- BEGIN SOLUTION -->
# From the linear beginning one of the two values is used for most weights of the large layers (0.30
# bits per weight in conv4), so the entropy is far below one bit, and the compressor finds long runs of
# the same byte. One bit a weight is what a fixed-length code needs; a code for runs, or an arithmetic
# code, comes close to the entropy. That network also reads 2.4 points less: what a size costs in accuracy
# belongs to the answer.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="plain_qat" points=4
# **A colleague clusters a network, runs quantisation-aware training and is surprised that the zip file is
# as large as without clustering. What has happened, and what should be done?**
#
# <!-- BEGIN SOLUTION -->
# Plain QAT gives each weight its own gradient again, so weights that shared a value drift apart: the file
# holds more than a hundred codes per channel in the large layers. Cluster-preserving QAT looks the weights up in
# the codebook at every step and trains the codebook.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - A codebook replaces weights by indices; its gradient is the sum over its members.
# - After k-means, measure the statistics anew before you judge: at four values that is nearly all there is
#   to win, at two the codebook has to be trained.
# - TFLite stores no indices: clustering pays after compression, and there it is the entropy that
#   counts, not the number of clusters.
# - Give many clusters to small layers and two to large ones; a linear beginning makes their use uneven.
# - Plain QAT destroys clusters; cluster-preserving QAT keeps them. Count in the file.
#
# **Further reading:** S. Han, H. Mao and W. J. Dally, *Deep Compression*, ICLR 2016 · TensorFlow
# Model Optimization, [weight clustering](https://www.tensorflow.org/model_optimization/guide/clustering).
#
# **Next:** lab 06 removes weights altogether.

# %% tags=["finish"]
lab.finish()
