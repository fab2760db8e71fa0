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
# Quantisation gives every weight fewer bits. Weight sharing gives every weight a *number in a
# list*: the layer keeps a codebook of, say, sixteen values, and each weight is one of them. TFLite
# does not know codebooks, so the file stays as long as it was; but a compressor on the way to the
# device finds the repetition. This lab makes the codebook, trains it, follows it through every
# quantisation of labs 02 to 04, and then asks how few values a hand can be read with.
#
# **You will be able to**
#
# - cluster the weights of a layer by k-means, and say where the centroids should begin;
# - train shared weights, and say what the gradient of a centroid is;
# - count what a codebook saves, on paper and in a file, before and after `gzip`;
# - keep the clusters through a quantisation-aware training, and show how the plain one loses them;
# - spend clusters where they cost nothing.
#
# **Time:** 75 minutes of work; the computer takes 1 minute (`quick`) or 12 (`full`, with the
# baselines of lab 01; 3 more without).

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
import numpy as np
import pandas as pd
import tensorflow as tf

from labkit import measure, plots, training
from labkit.checks import check, predict, reveal
from labkit.compress import clustering, minimal, post_training, quantization_aware
from labkit.lab import Lab
from labkit.models import sign_cnn

lab = Lab("05_clustering", PROFILE, DATA, SEED, OUT, headline="sign_mnist_clustered.tflite")
data = lab.dataset
baselines = {seed: lab.trained(sign_cnn, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())
base = baselines[SEED].model
images = data.representative(200, seed=SEED)

# %% [markdown]
# ## 1 · K-means by hand
#
# We look for $k$ centroids $c_j$ such that the weights lie as near to them as can be,
#
# $$\min_{c} \sum_{j=1}^{k} \; \sum_{w \in \text{cluster } j} (w - c_j)^2 .$$
#
# Lloyd's algorithm takes turns: every weight goes to its nearest centroid; every centroid goes to
# the mean of its weights; until nothing moves.
#
# By hand: the weights $(-1.1,\,-0.9,\,0.1,\,0.2,\,1.0)$ and the centroids $(-1, 0, 2)$. The nearest
# ones are number $(0, 0, 1, 1, 1)$, since $1.0$ is as far from $0$ as from $2$ and takes the first;
# the means are $-1.0$ and $1.3/3 = 0.433$, and the third cluster is empty: it stays at $2$.


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
    what="the five weights by hand, and a thousand random ones.",
    why="these numbers are what is stored for each weight: nothing else of it is left.",
) as c:
    c.equal("by hand", nearest_centroid(by_hand, np.array([-1.0, 0.0, 2.0])), [0, 0, 1, 1, 1],
            misconceptions=[
                ([0, 1, 2], "One index a weight is asked for, not one a centroid."),
                ([2, 2, 0, 2, 0], "That is the farthest."),
            ])
    some = np.random.default_rng(0).normal(size=1000)
    centroids = np.array([-1.5, -0.2, 0.3, 2.0])
    c.equal("random ones", nearest_centroid(some, centroids),
            clustering.nearest(some, centroids))


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
    c.close("by hand", got, [-1.0, 1.3 / 3, 2.0], misconceptions=[
        ([-1.0, 0.0, 2.0], "Nothing has moved: set `moved[j]` for each cluster j."),
        ([-1.0, 0.2, 2.0], "That is the median; k-means takes the mean."),
    ])
    c.that("no NaN", np.all(np.isfinite(got)),
           otherwise="an empty cluster has no mean: ask `np.any(indices == j)` first.")

# %% [markdown]
# Both together, over and over, are k-means. On the last convolution of the baseline, with eight
# centroids:

# %%
weights = base.get_layer("conv4").kernel.numpy()
flat = weights.ravel().astype(np.float64)
centroids = clustering.initial_centroids(flat, 8, "linear").astype(np.float64)
errors = []
for _ in range(12):
    indices = nearest_centroid(flat, centroids)
    errors.append(np.sqrt(np.mean((flat - centroids[indices]) ** 2)))
    centroids = move_centroids(flat, indices, centroids)
print("root mean square error, turn by turn:", np.round(errors, 4))

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
# 4512$ bits in place of 32,000: $r = 7.09$, not quite 8.


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
            ])
    c.close("1,000 weights, 5 clusters", compression_rate(1000, 5), 32000 / (3000 + 160),
            misconceptions=[
                (32000 / (1000 * np.log2(5) + 160), "Bits come whole: five indices need three."),
            ])
    c.close("16 weights, 16 clusters", compression_rate(16, 16), 512 / (64 + 512))

# %% [markdown]
# ## 3 · Where to begin
#
# K-means ends in the nearest minimum, so the beginning decides. Four ways: **linear** between the
# smallest and the largest weight; by **density**, so that each cluster begins with as many weights;
# **k-means++**, at random but far from one another; **random** between the extremes.


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
    why="large weights are few, and matter most: a centroid must begin near them.",
) as c:
    heavy = np.concatenate([np.linspace(-0.1, 0.1, 90), np.linspace(0.9, 1.0, 10)])
    linear, density = initial_centroids(heavy, 5)
    c.close("linear", linear, np.linspace(-0.1, 1.0, 5), misconceptions=[
        (np.linspace(-0.1, 1.0, 7)[1:-1], "The extremes themselves are centroids, too."),
    ])
    c.close("by density", density, np.quantile(heavy, [0.1, 0.3, 0.5, 0.7, 0.9]), misconceptions=[
        (np.quantile(heavy, np.linspace(0, 1, 5)), "Take the middles of the k parts: (j + ½)/k."),
    ])

# %% [markdown]
# **Predict.** Eight clusters in every layer, k-means from each beginning, no training yet.

# %%
my_guess = predict(
    "beginning",
    "From which beginning does k-means keep the most accuracy?",
    choices=list(clustering.INITIALISATIONS),
    answer=None,
)


# %%
def shared(model, clusters, initialisation, iterations=100):
    """A copy of a model, the kernels replaced by their k-means; no training."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for kernel in clustering.prunable(copy).values():
        start = clustering.initial_centroids(kernel.numpy(), clusters, initialisation, SEED)
        codebook, indices = clustering.share(kernel.numpy(), start, iterations)
        kernel.assign(codebook[indices])
    return copy


def keras_accuracy(model):
    """Test accuracy in percent of a Keras model: quick, for what is not handed in."""
    predicted = model.predict(data.x_test, batch_size=500, verbose=0).argmax(axis=1)
    return 100 * np.mean(predicted == data.y_test)


rows = {}
for initialisation in clustering.INITIALISATIONS:
    start = clustering.initial_centroids(flat, 8, initialisation, SEED)
    codebook, indices = clustering.share(flat, start)
    rows[initialisation] = {
        "largest |centroid| at the start": np.abs(start).max(),
        "after k-means": np.abs(codebook).max(),
        "RMS error of conv4": np.sqrt(np.mean((flat - codebook[indices]) ** 2)),
        "accuracy, beginning only (%)": keras_accuracy(shared(base, 8, initialisation, 0)),
        "accuracy, k-means (%)": keras_accuracy(shared(base, 8, initialisation)),
    }
beginnings = pd.DataFrame(rows).T
reveal("beginning", my_guess, beginnings["accuracy, k-means (%)"].idxmax(),
       ", ".join(f"{name}: {value:.1f} %"
                 for name, value in beginnings["accuracy, k-means (%)"].items()))
beginnings.round(4)

# %%
plots.show(
    plots.centroids(flat, {
        name: (clustering.initial_centroids(flat, 8, name, SEED),
               clustering.share(flat, clustering.initial_centroids(flat, 8, name, SEED))[0])
        for name in clustering.INITIALISATIONS
    }),
    alt="Histogram of the weights of conv4 on a logarithmic scale with eight centroids from each "
    "beginning, before and after k-means: those by density crowd around zero and leave the large "
    "weights without a centroid; linear ones reach them.",
)

# %% [markdown]
# What the plot says: by density no centroid begins anywhere near the large weights (the thesis on
# localisation, Figure 2.4; Han et al., section 5.2); a linear beginning reaches them. K-means then
# pulls every codebook towards the crowd, since it counts squares of errors and not what an error
# costs: in this layer all four end with the same error, and with a largest centroid of 0.24, less
# than half of the largest weight.
#
# What the table says, of this one network: a smaller error of the weights is not a better network. The
# four codebooks of conv4 are as good as one another, and the accuracies are 48 points apart; by
# density the network reads 90 % as it begins, and 75 % once k-means has made the error smaller. The
# linear beginning, which Han et al. advise, is the worst of the four here. That is no law either:
# this is one network, and nothing has been trained. The normalisations, too, still hold the means and
# variances of the old weights; lab 06 shows that this alone can cost tens of points.

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
    why="thousands of weights pull at one number: that is why a codebook learns so quickly.",
) as c:
    c.close("by hand", centroid_gradient(np.array([1.0, 2, -4, 3]), np.array([0, 1, 0, 1]), 2),
            [-3.0, 5.0], misconceptions=[
                ([-1.5, 2.5], "That is the mean of the members' gradients; the chain rule sums."),
            ])
    c.close("an empty cluster", centroid_gradient(np.array([1.0]), np.array([0]), 3),
            [1.0, 0.0, 0.0])
    codebook, indices = clustering.share(flat, clustering.initial_centroids(flat, 8, "linear"))
    codebook, indices = tf.constant(codebook), indices.ravel()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(codebook)
        looked_up = tf.gather(codebook, indices)
        loss = tf.reduce_sum(tf.sin(looked_up * tf.range(len(indices), dtype=tf.float32)))
    theirs = tf.convert_to_tensor(tape.gradient(loss, codebook)).numpy()
    ours = centroid_gradient(tape.gradient(loss, looked_up).numpy(), indices, 8)
    c.between("largest difference from TensorFlow's, relative",
              np.abs(ours - theirs).max() / np.abs(theirs).max(), 0, 1e-4)

# %% [markdown]
# `tfmot` sums just like this, and does two things more: the weights behind the codebook are trained
# along with it, and at every step each of them is looked up anew, so that members may change sides.
# `clustering.cluster` wraps each layer of a copy, `training.fit` trains it, and `strip` gives back a
# plain network whose kernels hold the shared values.
#
# **How many clusters?** The sweep, before and after training:

# %%
SWEEP = {"quick": (2, 16), "full": (2, 3, 4, 8, 16, 32, 64)}[PROFILE]
EPOCHS = {"quick": 1, "full": 2}[PROFILE]
RECIPE = sign_cnn.RECIPES[PROFILE].but(epochs=EPOCHS, learning_rate=2e-3)
rows = []
for clusters in SWEEP:
    model = clustering.cluster(base, clusters)
    training.fit(model, data, RECIPE, SEED)
    content = post_training.convert(clustering.strip(model), "dynamic_range")
    path = lab.write(f"sweep/05_clusters_{clusters}.tflite", content, hand_in=False)
    figures = lab.measure(f"{clusters} clusters, dynamic range", path)
    rows.append({
        "clusters": clusters,
        "k-means only": keras_accuracy(shared(base, clusters, "kmeans++")),
        f"trained for {EPOCHS} epochs": 100 * figures["accuracy"],
        "bytes": figures["bytes"],
        "gzip (bytes)": figures["gzip_bytes"],
        "coded weights (bytes)": figures["coded_bits"] / 8,
    })
sweep = pd.DataFrame(rows).set_index("clusters")
sweep.round(1)

# %%
plots.show(
    plots.lines(sweep.iloc[:, :2], x="clusters in every layer", y="test accuracy (%)", log_x=2),
    alt="Accuracy over the number of clusters, before and after training: without training it "
    "falls below 16 clusters, with training it stays high down to four or fewer.",
)

# %% [markdown]
# What the table says: after two epochs of training two values in each layer read 98 % of the images,
# where k-means alone read 6 %. Not all of that is the codebook's: a training also measures the
# normalisations' statistics anew, which k-means leaves as they were, and this table does not tell the
# two apart (lab 06, section 2, does, for pruning). Differences of some tenths, 99.4 and 99.7 %, are
# those of one seed and mean nothing.
#
# The file's bytes do not move at all: TFLite stores a byte a weight, whichever value it has. After
# `gzip` the file shrinks with every bit of index, but not as far as the weights and biases would with
# a codebook (the last column). Besides the graph, which no code of weights makes shorter, that is
# deflate, inside `gzip`: it looks for repeated strings and then gives each symbol a whole number of
# bits, one at the least.

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
    what="a kernel of two channels with two values each, four in all; and a kernel of four axes.",
    why="counted over the tensor, a clustered network looks as if it had lost its clusters.",
) as c:
    two = np.array([[1.0, 2, 1, 2], [3, 3, 3, 6]])
    c.equal("2 channels", unique_per_channel(two), 2, misconceptions=[
        (4, "That counts over the whole tensor; look at one channel at a time."),
        (1, "The most in any channel, not the fewest."),
    ])
    c.equal("axes behind the first", unique_per_channel(two.reshape(2, 1, 2, 2)), 2)

# %% [markdown]
# Sixteen clusters, trained, then converted in every way of labs 02 and 03, then trained once more
# with fake quantisation: the plain way of lab 04, and the **cluster-preserving** way, in which the
# quantised weights are looked up in the codebook at every step (CQAT).
#
# **Predict** what plain quantisation-aware training makes of the sixteen values.

# %%
my_guess = predict(
    "plain QAT",
    "How many different weights has each channel of conv4 (432 weights) after plain QAT?",
    choices=["16 still", "about 100", "nearly all of them"],
    answer=None,
)

# %%
QAT_EPOCHS = {"quick": 1, "full": 2}[PROFILE]


def quantization_aware_files(model, seed):
    """Plain and cluster-preserving QAT of a plain, clustered model: the int8 files."""
    plain = quantization_aware.quantize(model)
    keeping = clustering.cluster_preserving(model)
    for qat in (plain, keeping):
        training.fit(qat, data, RECIPE.but(epochs=QAT_EPOCHS, learning_rate=4e-4), seed)
    return {
        "16 clusters, QAT int8": quantization_aware.convert(plain),
        "16 clusters, CQAT int8": clustering.convert(keeping),
    }


for seed, baseline in baselines.items():
    path = lab.write("sign_mnist.tflite", post_training.convert(baseline.model, "float"), seed)
    lab.measure("float", path, seed)
    model = clustering.cluster(baseline.model, 16)
    training.fit(model, data, RECIPE, seed)
    model = clustering.strip(model)
    contents = {
        "16 clusters": post_training.convert(model, "float"),
        "16 clusters, dynamic range": post_training.convert(model, "dynamic_range"),
        "16 clusters, int8": post_training.convert(model, "int8", images),
        "16 clusters, 16x8": post_training.convert(model, "int16x8", images),
        **quantization_aware_files(model, seed),
    }
    for technique, content in contents.items():
        name = technique.replace(", ", "_").replace(" ", "_")
        lab.measure(technique, lab.write(f"sweep/05_{name}.tflite", content, seed, hand_in=False),
                    seed)

# %%
files = {technique: lab.path(f"sweep/05_{technique.replace(', ', '_').replace(' ', '_')}.tflite")
         for technique in contents}
counts = pd.DataFrame({
    technique: {
        layer: unique_per_channel(kernel) for layer, kernel in measure.weights(path).items()
    }
    for technique, path in files.items()
}).T
after_plain = counts.loc["16 clusters, QAT int8", "conv4"]
reveal("plain QAT", my_guess,
       "16 still" if after_plain <= 16 else "about 100" if after_plain < 150 else
       "nearly all of them",
       f"{after_plain} different codes of 255 possible, in a channel of 432 weights.")
counts

# %% [markdown]
# What the table says: each row is counted from its file. All conversions keep at most sixteen
# values a channel, and so does CQAT; plain QAT trains every weight by itself, and the sixteen
# scatter: in conv4 over 150 of 255 codes, which 432 weights share. (The thesis on QuantNET counts up
# to 361,277 different weights in a layer after it, Table 4.5.)

# %%
with check(
    "what the files hold",
    what="different values in each channel of each file.",
    why="a cluster that is not in the file saves nothing.",
) as c:
    kept = counts.drop(index="16 clusters, QAT int8")
    c.between("clusters that are kept", kept.to_numpy().max(), 2, 16)
    c.between("after plain QAT", after_plain, 17, 255)

# %% [markdown]
# ## 6 · As small as can be
#
# A layer of 144 weights costs hardly anything, however many clusters it has; the last convolution
# has 27,648. So many clusters where there are few weights, two where there are many. And which two?
# With two values from a *linear* beginning, the smallest and the largest weight, the border lies half
# way between them; the more weights are on its one side, the lower is the layer's **entropy**, and
# that is what a good code comes near to:
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
    ])

# %% [markdown]
# The runs: from k-means++ and from linear beginnings, at several generosities. Each is converted
# with dynamic range, and its names are taken out of the file (`minimal.without_names`: they are
# 600 bytes after `gzip`, and nothing runs by them).

# %%
RUNS = {
    "quick": [("linear", 2, 4, 16, 1)],
    "full": [  # beginning, few, some, many, epochs
        ("kmeans++", 2, 4, 16, 3),
        ("linear", 2, 4, 16, 3),
        ("linear", 2, 3, 16, 3),
        ("linear", 2, 3, 16, 8),
        ("linear", 2, 2, 8, 3),
        ("linear", 2, 2, 8, 2),
    ],
}[PROFILE]
RATE = 3e-3


def smallest(model, seed, initialisation, clusters, epochs):
    """The nameless dynamic-range file of a model with clusters by size, trained."""
    shares = clustering.cluster(model, clusters_by_size(sizes, *clusters), initialisation)
    training.fit(shares, data, RECIPE.but(epochs=epochs, learning_rate=RATE), seed)
    content = post_training.convert(clustering.strip(shares), "dynamic_range")
    return minimal.without_names(content)


rows = []
for initialisation, *clusters, epochs in RUNS:
    name = "-".join(map(str, clusters))
    content = smallest(base, SEED, initialisation, clusters, epochs)
    file = f"sweep/05_{name}_{initialisation}_{epochs}.tflite"
    path = lab.write(file, content, hand_in=False)
    figures = lab.measure(f"{name} clusters, {initialisation}, {epochs} epochs", path)
    table = measure.coding(path)
    rows.append({"few-some-many": name, "beginning": initialisation, "epochs": epochs,
                 "accuracy (%)": 100 * figures["accuracy"], "gzip (bytes)": figures["gzip_bytes"],
                 "one index each (bytes)": table["best (bits)"].sum() / 8,
                 "entropy (bytes)": table["entropy (bits)"].sum() / 8})
runs = pd.DataFrame(rows)
runs.round(1)

# %% [markdown]
# The same number of clusters, and a third fewer bytes from a linear beginning; it is not free, 97.9 %
# in place of 99.9. The size follows how unevenly the values are used, and hardly how many there are:
# the column of the entropy falls with it, that of the fixed indices does not. Eight epochs give a
# better network than three (99.0 and 95.0 %) and a *larger* file, of a larger entropy: more weights
# have changed sides. (One seed each.)
#
# We hand in the smallest of these that leaves a margin of six points over the sheet's 90 %, with all
# seeds; and beside it, for those who want more than the floor, the best one below 12 KB.

# %%
MARGIN = {"quick": -90, "full": 6}[PROFILE]
able = runs[runs["accuracy (%)"] >= 90 + MARGIN]
choices = {
    "smallest": ("sign_mnist_clustered.tflite", able.sort_values("gzip (bytes)").iloc[0]),
    "best below 12 KB": (
        "sweep/05_best_below_12_kb.tflite",
        runs[runs["gzip (bytes)"] <= 12 * 1024].sort_values("accuracy (%)").iloc[-1],
    ),
}
for technique, (file, run) in choices.items():
    clusters = [int(k) for k in run["few-some-many"].split("-")]
    for seed, baseline in baselines.items():
        content = smallest(baseline.model, seed, run["beginning"], clusters, int(run["epochs"]))
        path = lab.write(file, content, seed, hand_in=technique == "smallest")
        lab.measure(technique, path, seed)
    print(f"{technique}: clusters {run['few-some-many']}, {run['epochs']} epochs, "
          f"{lab.mean('accuracy', technique):.2%}, "
          f"{lab.mean('gzip_bytes', technique):,.0f} bytes after gzip")
measure.coding(lab.path("sign_mnist_clustered.tflite")).round(3)

# %%
with check(
    "the goal of the sheet",
    what="accuracy and size of `sign_mnist_clustered.tflite`, from the file.",
    why="90 % is the floor; the points go by the size.",
) as c:
    floor = {"quick": 0.1, "full": 0.9 if data.source == "real" else 0.6}[PROFILE]
    c.between("accuracy", lab.mean("accuracy", "smallest"), floor, 1)
    c.between("gzip", lab.mean("gzip_bytes", "smallest"), 1_000, 12 * 1024, unit="bytes")

# %% [markdown]
# Look at the seeds: the smallest file was chosen by the test images of the *first* seed, 97.1 %, and
# over three its mean is 91.2 % with a deviation of 5.3 points, so that both others are below the
# floor. A figure that something was chosen by flatters it. Had we asked for the worst of three seeds,
# the file below 12 KB would have been taken: 98.5 %, deviation 1.2. And the table says which layers the
# uneven values are in: 0.18 bits a weight in conv4 and 0.64 in conv3, but 0.90 in conv2 and one in
# the dense layer.

# %% [markdown]
# ## The ledger

# %%
report = lab.report()
report

# %%
points = report.reset_index()
points["pattern"] = np.select(
    [points["technique"].str.startswith("16 clusters"), points["technique"] == "smallest",
     points["technique"] == "best below 12 KB", points["technique"].str.contains("-")],
    ["16 clusters, all modes", "handed in", "below 12 KB", "clusters by size"], "clusters swept")
points = points[points["technique"] != "float"]
plots.show(
    plots.over_size(points, level=90),
    alt="Accuracy over bytes after gzip: clusters by size lie far to the left of the same number "
    "of clusters in every layer, and the 16-cluster files to the right, where the plain QAT file "
    "and the float file are the largest.",
)

# %% [markdown]
# ## Published against measured
#
# The published sizes of clustered files are compressed, that of their float file is not, so their
# "smaller" counts the compressor twice. Ours are taken after `gzip` on both sides.

# %%
lab.compare("16 clusters", "16 clusters, dynamic range", "16 clusters, int8", "16 clusters, 16x8",
            "16 clusters, QAT int8", "16 clusters, CQAT int8", "clustering", "smallest",
            "best below 12 KB", size="gzip (bytes)")

# %% [markdown]
# QuantNET's first dense layer has half a million weights, so there clustering saves
# more; ours has 48,424 in all, and the graph, the scales and the biases weigh more beside them.
# Ours loses hardly anything of 100 %, theirs up to 2.7 points of 66: other networks, on another
# task, and one training each there. One row differs in kind: the thesis' file after plain QAT is as
# small as the one without, although its own Table 4.5 counts hundreds of thousands of different
# weights in it; ours grows by a third, as lost clusters must. Both find that CQAT keeps clusters
# *and* accuracy.

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="clustering_size" points=6
# **Sixteen clusters need four bits a weight, so the file should be eight times smaller than the
# float file. How much smaller is it in bytes, after `gzip`, and coded with a codebook? Where does
# the rest go?**
#
# <!-- BEGIN SOLUTION -->
# In bytes the float file does not shrink at all, and the dynamic-range file is 3.6 times smaller, as
# without clusters: TFLite stores each weight at full width. After gzip it is about 5 times smaller
# than the compressed float file. With codebook and indices the weights alone are about 7 times
# smaller; gzip does not find indices, and graph, scales and biases stay as they are.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="linear_beginning" points=5
# **Two networks have two clusters in their large layers. One is a third smaller after `gzip`. Why,
# and why is a decoder with one bit a weight not the end of it?**
#
# <!-- BEGIN SOLUTION -->
# From the linear beginning one of the two values is used for most weights of the large layers (0.18
# bits a weight in conv4), so the entropy is far below one bit, and the compressor finds long runs of
# the same byte. One bit a weight is what a fixed-length code needs; a code for runs, or an arithmetic
# code, comes near to the entropy. It also read two points less: with how much accuracy a size is
# bought belongs to the answer.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="plain_qat" points=4
# **A colleague clusters a network, runs quantisation-aware training and wonders that the zip is as
# large as without clustering. What has happened, and what should be done?**
#
# <!-- BEGIN SOLUTION -->
# Plain QAT gives each weight its own gradient again, so weights that shared a value part: the file
# holds more than a hundred codes a channel. Cluster-preserving QAT looks the weights up in the
# codebook at every step and trains the codebook.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - A codebook replaces weights by indices; its gradient is the sum over its members.
# - TFLite stores no indices: clustering pays after compression, and there it is the entropy that
#   counts, not the number of clusters.
# - Many clusters in small layers, two in large ones; a linear beginning for an uneven use.
# - Plain QAT destroys clusters; cluster-preserving QAT keeps them. Count in the file.
#
# **Further reading:** S. Han, H. Mao and W. J. Dally, *Deep Compression*, ICLR 2016 · TensorFlow
# Model Optimization, [weight clustering](https://www.tensorflow.org/model_optimization/guide/clustering).
#
# **Next:** lab 06 takes weights away altogether.

# %% tags=["finish"]
lab.finish()
