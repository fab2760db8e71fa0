# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 01 · A baseline worth compressing
#
# Before a network can be made small it must be good, and built so that the tools that shrink it
# later can read it. In this lab you build and train the baseline of the labs that follow: a
# convolutional network of your own, with fewer than 50,000 parameters, that reads 24 letters of the
# American Sign Language alphabet.
#
# **You will be able to**
#
# - count the parameters and multiplications of a convolution before you train it;
# - fold batch normalisation into the layer before it, find the folded weights in the file, and say why
#   its place in the network matters;
# - build a network that keeps the rules, train it, and turn it into a file;
# - judge a classifier on data that it cannot have seen, and on data that is harder than it was trained
#   for.
#
# **Time:** 60 minutes of work; the computer takes 1 minute (`quick`) or 4 (`full`: three
# trainings).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved, and `sign_mnist.tflite`, your baseline as a file. **The rules
# of the lab sheet:** at least 90 % on the test images; no customised layers; a batch
# normalisation stands immediately before an activation. The notebook checks all three. Labs 02 to 04
# quantise *your* network: they find it in the output folder.

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

from labkit import measure, plots
from labkit.checks import check, predict, reveal
from labkit.compress import post_training
from labkit.lab import Lab
from labkit.models import graph, rules, sign_cnn

lab = Lab("01_baseline", PROFILE, DATA, SEED, OUT, headline="sign_mnist.tflite")
data = lab.dataset

# %% [markdown]
# ## 1 · The data, and how it can fool you
#
# The labels of the original files are 0 for A, 1 for B and so on to 24 for Y, **with a hole at
# 9**: J is drawn in the air and has no image. A network with 24 outputs needs labels from 0 to 23
# without a hole; with the hole, the last class would have no output.
#
# | letter | A | … | I | (J) | K | … | Y |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | label in the file | 0 | … | 8 | – | 10 | … | 24 |
# | class index | 0 | … | 8 | – | 9 | … | 23 |


# %% [markdown]
# ### Your turn: from label to class index


# %% tags=["exercise"] exercise="class_index"
def class_index(labels):
    """Class indices 0..23 of labels 0..24 without 9; an integer array of any shape."""
    labels = np.asarray(labels)
    ### BEGIN SOLUTION
    return labels - (labels > 9)
    ### END SOLUTION


# %% tags=["check"] exercise="class_index" points=2
with check(
    "class index",
    exercise="class_index",
    what="the labels beside the hole, and that all 24 classes are used once.",
    why="a label that is one too large trains the network on the neighbour's name, and class 24 has "
    "no output: on a processor TensorFlow stops with an error, on a GPU the loss becomes NaN.",
) as c:
    c.equal(
        "labels of A, I, K, Y",
        class_index(np.array([0, 8, 10, 24])),
        np.array([0, 8, 9, 23]),
        misconceptions=[
            (np.array([0, 8, 10, 24]), "The hole is still there: K must become 9."),
            (np.array([-1, 7, 9, 23]), "Only the labels above the hole move down by one."),
        ],
    )
    present = np.array([k for k in range(25) if k != 9])
    c.equal("all 24", class_index(present), np.arange(24))

# %% [markdown]
# `labkit` has mapped the labels for you when it loaded the data. Here is one image of each class
# beside another of the same class.

# %%
rows = [np.flatnonzero(data.y_train == k)[:2] for k in range(24)]
chosen = np.array([rows[k][i] for i in (0, 1) for k in range(24)])
plots.show(
    plots.montage(data.x_train[chosen], data.y_train[chosen], data.class_names),
    alt="Two small grey images of a hand for each of the 24 letters.",
)

# %% [markdown]
# **Predict.** We hold back 1,000 images of the *training* file, and classify each by its nearest
# neighbour (the most similar other training image, pixel by pixel). Then we do the same with 1,000
# images of the *test* file. Which of the two accuracies is higher?

# %%
my_guess = predict(
    "nearest neighbour",
    "Nearest neighbour on held-back training images, or on test images: which reads higher?",
    choices=["held-back training images", "test images", "both the same"],
    answer=None,
)


# %%
def nearest_neighbour_accuracy(queries, labels, gallery, gallery_labels):
    """Top-1 accuracy of the nearest gallery image in Euclidean distance."""
    q, g = queries.reshape(len(queries), -1), gallery.reshape(len(gallery), -1)
    squared = (g**2).sum(axis=1) - 2 * q @ g.T  # without |q|^2, which is the same for all
    return float(np.mean(gallery_labels[np.argmin(squared, axis=1)] == labels))


order = np.random.default_rng(SEED).permutation(len(data.x_train))
held, rest = order[:1000], order[1000:]
inside = nearest_neighbour_accuracy(
    data.x_train[held], data.y_train[held], data.x_train[rest], data.y_train[rest]
)
outside = nearest_neighbour_accuracy(
    data.x_test[:1000], data.y_test[:1000], data.x_train[rest], data.y_train[rest]
)
higher = "both the same"
if abs(inside - outside) > 0.02:
    higher = "held-back training images" if inside > outside else "test images"
reveal("nearest neighbour", my_guess, higher, f"{inside:.1%} held back, {outside:.1%} test.")

# %% [markdown]
# On the real images the first number is close to 100 % and the second far lower. The real training
# file was made from some 1,700 photographs by turning, cutting and brightening each several times,
# so a random split puts two versions of one photograph on both sides: the validation score then
# measures memory, and the test file is the honest estimate of how a new hand will be read. **So this
# course never selects anything by a random split of the training file, nor by the test file: the network
# and the number of epochs were fixed in advance, and the test file only measures.** It does so in every
# lab; if you try ten networks on it and keep the best, its figure is no longer honest either. (In the
# drawn data the training and the test hands belong to different people, and no photograph is
# repeated.)

# %% [markdown]
# ## 2 · What a convolution costs
#
# A convolution with a $k_h \times k_w$ kernel, $c_\text{in}$ input and $c_\text{out}$ output
# channels has
#
# $$\text{parameters} = k_h k_w c_\text{in} c_\text{out} + c_\text{out}, \qquad
#   \text{MACs} = k_h k_w c_\text{in} c_\text{out} \cdot H_\text{out} W_\text{out}.$$
#
# (A MAC is one multiplication and one addition; the last term of the parameters is the bias.) The
# parameters go into flash, the MACs into time and energy, and the two are *not* proportional: every
# weight works once for each output pixel.
#
# By hand: a 3 × 3 convolution from 1 to 4 channels on a 28 × 28 image with `same` padding has
# 9·1·4 + 4 = 40 parameters and 36 · 784 = 28,224 MACs.


# %% [markdown]
# ### Your turn: parameters and MACs


# %% tags=["exercise"] exercise="convolution_cost"
def convolution_cost(kernel, channels_in, channels_out, output_size):
    """Parameters (bias included) and MACs of a square convolution.

    kernel: side of the kernel; output_size: side of the output in pixels.
    """
    ### BEGIN SOLUTION
    weights = kernel * kernel * channels_in * channels_out
    return weights + channels_out, weights * output_size**2
    ### END SOLUTION


# %% tags=["check"] exercise="convolution_cost" points=3
with check(
    "cost of a convolution",
    exercise="convolution_cost",
    what="the example above, and a late layer with many channels on few pixels.",
    why="with it you can tell flash, time and energy of a network from its drawing.",
) as c:
    c.equal(
        "3×3, 1→4, 28×28",
        convolution_cost(3, 1, 4, 28),
        (40, 28_224),
        misconceptions=[
            ((36, 28_224), "The bias is missing: one parameter for every output channel."),
            ((37, 28_224), "There is one bias for every output channel, not one in all."),
            ((40, 31_360), "The bias is added once, it is not a multiplication: MACs come from "
             "the kernel alone."),
            ((40, 36), "Those are the MACs of a single output pixel."),
            ((40, 1_008), "An image has output_size² pixels."),
        ],
    )
    c.equal("3×3, 48→64, 7×7", convolution_cost(3, 48, 64, 7), (27_712, 1_354_752))
    c.equal("5×5, 2→3, 10×10", convolution_cost(5, 2, 3, 10), (153, 15_000), misconceptions=[
        ((33, 3_000), "A square kernel has kernel² weights."),
    ])

# %% [markdown]
# **Predict.** Four 3 × 3 convolutions in a row, 1 → 16 → 32 → 48 → 64 channels, on 28 × 28, 14 × 14, 7 × 7
# and 3 × 3 pixels (`same` padding; the image is halved between them). Which one has most MACs?

# %%
my_guess = predict("most MACs", "Which of the four convolutions has most MACs?",
                   choices=["the first", "the second", "the third", "the fourth"], answer=None)

# %%
widths, sides = (1, 16, 32, 48, 64), (28, 14, 7, 3)
costs = pd.DataFrame(
    [convolution_cost(3, widths[i], widths[i + 1], sides[i]) for i in range(4)],
    columns=["parameters", "MACs"],
    index=["the first", "the second", "the third", "the fourth"],
).rename_axis("convolution")
reveal("most MACs", my_guess, costs["MACs"].idxmax(),
       "MACs are weights times pixels, and the weights are channels in times channels out: the first "
       "layer has one channel to read.")
costs

# %% [markdown]
# The parameters grow from layer to layer; the MACs rise and then fall again. The first layer is cheap in
# both, since it has a single input channel.

# %% [markdown]
# ## 3 · Why batch normalisation stands before its activation
#
# After training, batch normalisation is nothing but a multiplication and an addition for every
# channel. If it follows a convolution (or dense layer) directly, the two can be **folded** into
# one layer with other weights:
#
# $$\hat w = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}\, w, \qquad
#   \hat b = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} (b - \mu) + \beta .$$
#
# By hand, one channel: $w = 2$, $b = 0$, $\mu = 1$, $\sigma^2 + \varepsilon = 4$, $\gamma = 3$,
# $\beta = 5$. Then the factor is 3/2, so $\hat w = 3$ and $\hat b = 1.5 \cdot (0 - 1) + 5 = 3.5$.
# With $x = 1$: the convolution gives 2, the normalisation $3 \cdot (2 - 1)/2 + 5 = 6.5$, and the
# folded layer $3 \cdot 1 + 3.5 = 6.5$.
#
# The TFLite converter folds like this where it finds *convolution – normalisation*. A normalisation after
# the activation cannot be folded backwards through it and stays behind as operators of its own: more
# time, and one more place where something is rounded. That is the reason for the sheet's second rule.


# %% [markdown]
# ### Your turn: fold


# %% tags=["exercise"] exercise="fold_batch_norm"
def fold_batch_norm(w, b, gamma, beta, mean, variance, epsilon):
    """Weights (kh, kw, in, out) and bias (out,) of the convolution that does both.

    gamma, beta, mean, variance: (out,), as the batch normalisation has learnt them.
    """
    ### BEGIN SOLUTION
    factor = gamma / np.sqrt(variance + epsilon)
    return w * factor, (b - mean) * factor + beta
    ### END SOLUTION


# %% tags=["check"] exercise="fold_batch_norm" points=4
rng = np.random.default_rng(1)
w, b = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=4)
gamma, beta, mean = rng.normal(size=(3, 4))
variance = rng.uniform(0.5, 2, 4)
image = rng.normal(size=(1, 6, 6, 2))
conv = tf.nn.conv2d(image, w, 1, "SAME").numpy() + b
normalised = gamma * (conv - mean) / np.sqrt(variance + 1e-3) + beta
one = np.ones(1)
with check(
    "batch normalisation folded",
    exercise="fold_batch_norm",
    what="the example by hand, and a random convolution followed by its normalisation.",
    why="the file that goes to the device holds the folded weights; those are the numbers that "
    "will be quantised.",
) as c:
    by_hand = fold_batch_norm(
        2 * one.reshape(1, 1, 1, 1), 0 * one, 3 * one, 5 * one, one, 3.999 * one, 1e-3
    )
    c.close("folded weight by hand", np.ravel(by_hand[0]), [3.0],
            misconceptions=[([1.5], "The variance stands under a square root.")])
    c.close("folded bias by hand", np.ravel(by_hand[1]), [3.5],
            misconceptions=[
                ([4.0], "The mean is subtracted before the multiplication: (b − μ) · factor + β."),
                ([5.0], "The mean is missing: it moves into the bias."),
                ([6.5], "The mean is subtracted, not added."),
            ])
    w_folded, b_folded = fold_batch_norm(w, b, gamma, beta, mean, variance, 1e-3)
    folded = tf.nn.conv2d(image, w_folded, 1, "SAME").numpy() + b_folded
    c.close("one layer does both", folded, normalised, tolerance=1e-9)

# %% [markdown]
# ## 4 · The network
#
# Now build one. Convolution, batch normalisation, activation, pooling, some times over; then a small
# classifier. **The rules:** input `(28, 28, 1)`, output 24 probabilities, fewer than 50,000 parameters,
# standard Keras layers only, each batch normalisation immediately before an activation layer. Your
# `convolution_cost` tells you what a layer costs before you write it.
#
# Some advice. A dense layer behind a 7 × 7 × 64 map has 3,136 weights for each of its units; pooling first, or
# a mean over the pixels, leaves the weights in the convolutions. A convolution with a normalisation behind
# it needs no bias. In lab 04 you compute the network with integer functions of your own, which know
# convolutions, 2 × 2 maximum pooling, means and dense layers; other layers (depthwise, strided) work in every
# other lab.


# %% [markdown]
# ### Your turn: a network of your own


# %% tags=["exercise"] exercise="build_network"
def build_network():
    """An untrained tf.keras.Model that keeps the rules."""
    layers = tf.keras.layers
    ### BEGIN SOLUTION
    inputs = x = layers.Input((28, 28, 1), name="image")
    for i, filters in enumerate((16, 32, 48, 64), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.95, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x) if i < 4 else x
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return tf.keras.Model(inputs, layers.Dense(24, activation="softmax", name="letter")(x))
    ### END SOLUTION


# %% tags=["check"] exercise="build_network" points=3
with check(
    "the rules",
    exercise="build_network",
    what="shapes, parameters, and the two rules, read off your model by `rules.check`.",
    why="what breaks a rule here is a layer that no later lab can shrink.",
) as c:
    model = build_network()
    c.equal("input", model.input_shape[1:], (28, 28, 1))
    c.equal("output", model.output_shape[1:], (24,), misconceptions=[
        ((25,), "24 classes: the labels have been mapped to 0 … 23."),
        ((26,), "24 classes: J and Z are drawn in the air."),
    ])
    sums = model.predict(data.x_test[:8], verbose=0).sum(axis=-1)
    c.that("the outputs are probabilities", np.allclose(sums, 1, atol=1e-4),
           otherwise="they do not add up to one: the last activation is a softmax.")
    c.between("parameters", model.count_params(), 1, 49_999,
              otherwise="fewer filters, or fewer pixels before a dense layer.")
    try:
        broken = ""
        rules.check(model)
    except rules.RuleError as error:
        broken = str(error)
    c.that("both rules are kept", not broken, otherwise=broken)

# %%
model = build_network()
pd.DataFrame(
    [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "output": "×".join(str(n) for n in layer.output_shape[1:]),
            "parameters": layer.count_params(),
        }
        for layer in model.layers[1:]
    ]
).set_index("layer")

# %% [markdown]
# `rules.check` finds out whether a model keeps the two rules. This is what it says of a network that breaks
# one, and what the converter makes of that network: a MUL and an ADD stay behind.

# %%
inputs = tf.keras.Input((28, 28, 1))
x = tf.keras.layers.Conv2D(8, 3, activation="relu")(inputs)
x = tf.keras.layers.BatchNormalization(name="too_late")(x)
x = tf.keras.layers.Dense(24)(tf.keras.layers.Flatten()(x))
late = tf.keras.Model(inputs, x)
late.get_layer("too_late").set_weights([np.full(8, v, np.float32) for v in (2, 1, 0.5, 3)])
try:
    rules.check(late)
except rules.RuleError as error:
    print(error)
print("operators:", ", ".join(measure.inspect(post_training.convert(late, "float")).operators["operator"]))

# %% [markdown]
# ## 5 · Training
#
# Small shifts, turns and zooms of the training images stand in for the hands that the photographs
# do not show. They happen outside the model, because the device will not do them. The number of
# epochs is fixed, and over them the learning rate falls to zero. In the full profile the training
# is repeated with three seeds: a difference between two models means something only if it is
# larger than the difference between two trainings of the same model. (On two free cores a training takes
# 1 to 1.5 minutes; the outputs stored here are from a machine that was busy.)

# %%
network = lab.adopt(model, sign_cnn)  # kept in the output folder for the labs that follow
baselines = {seed: lab.trained(network, seed) for seed in lab.seeds}
for baseline in baselines.values():
    print(baseline.describe())

# %%
plots.show(
    plots.history([baseline.history for baseline in baselines.values()]),
    alt="Loss and accuracy on the training images over the epochs, one line for each seed; both "
    "flatten at the end.",
)

# %% [markdown]
# ## 6 · The file
#
# From now on the file is measured, not the model: on the test images, and on harder ones, the same with
# normal noise of standard deviation 0.03 in each pixel (8 of 255 grey levels).

# %%
harder = data.corrupted(noise=0.03)
for seed, baseline in baselines.items():
    path = lab.write("sign_mnist.tflite", post_training.convert(baseline.model, "float"), seed)
    figures = lab.measure("float", path, seed, harder=harder)
    print(f"seed {seed}: {figures['accuracy']:.2%} of {len(data.y_test):,} test images, "
          f"{figures['harder_accuracy']:.2%} of the harder ones, {figures['bytes']:,} bytes")
accuracy = lab.mean("accuracy", "float")

# %% [markdown]
# On the images as they are, the three trainings cannot be told apart. On the harder ones they read 92.5 to
# 95.9 %: networks that seem equal need not be.
#
# **Does the file hold the folded weights?** The next cell applies your `fold_batch_norm` to each convolution
# and its normalisation and compares the result with the weights in the file; it also compares your
# `convolution_cost` with the MACs that `measure.inspect` counts there.

# %%
path = lab.path("sign_mnist.tflite")
inspection, held = measure.inspect(path), measure.weights(path)
trained, wiring = baselines[SEED].model, graph.Wiring(baselines[SEED].model)
rows = []
for layer in trained.layers:
    norm = wiring.sole_behind(layer)
    if type(layer) is tf.keras.layers.Conv2D and isinstance(norm, tf.keras.layers.BatchNormalization):
        bias = layer.bias.numpy() if layer.use_bias else np.zeros(layer.filters)
        folded, _ = fold_batch_norm(layer.kernel.numpy(), bias, *(
            getattr(norm, name).numpy() for name in ("gamma", "beta", "moving_mean", "moving_variance")
        ), norm.epsilon)
        operator = inspection.operators.set_index("layer").loc[layer.name]
        kernel, channels = layer.kernel_size[0], layer.kernel.shape[2]
        rows.append({
            "layer": layer.name,
            "largest difference, weights":
                f"{np.abs(np.moveaxis(folded, -1, 0) - held[layer.name]).max():.1e}",
            "MACs, yours": convolution_cost(kernel, channels, layer.filters, layer.output_shape[1])[1],
            "MACs, the file's": operator["MACs"],
            "parameters": folded.size + layer.filters,
        })
pd.DataFrame(rows).set_index("layer")

# %%
operators = set(inspection.operators["operator"])
with check(
    "the rules of the sheet",
    what="accuracy from the file, the number of parameters, and that no normalisation is left.",
    why="the next labs start from this network.",
) as c:
    floor = {"quick": 0.60, "full": 0.90}[PROFILE]
    c.between("accuracy on the test images", accuracy, floor, 1.0)
    c.between("parameters", baselines[SEED].model.count_params(), 1, 50_000)
    c.that(
        "batch normalisation is folded away",
        operators <= {"CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN",
                      "FULLY_CONNECTED", "SOFTMAX", "RESHAPE", "SHAPE", "STRIDED_SLICE", "PACK"},
        otherwise=f"the file still holds {operators}: a MUL or ADD is a normalisation that could "
        "not be folded. Put it directly before its activation.",
    )

# %% [markdown]
# Which letters does it confuse? On the real images as they are, hardly any; so look at the harder ones: at
# the pairs off the diagonal, and then at the images of these letters in section 1.

# %%
probabilities = measure.TFLiteModel(lab.path("sign_mnist.tflite")).predict(harder.x_test)
predicted = probabilities.argmax(axis=1)
plots.show(
    plots.confusion(data.y_test, predicted, data.class_names),
    alt="Confusion matrix of the 24 letters on the harder images: most lie on the diagonal; the errors "
    "gather in few rows.",
)

# %%
wrong = np.flatnonzero(predicted != data.y_test)
pairs = pd.DataFrame(
    {
        "shown": [data.class_names[k] for k in data.y_test[wrong]],
        "read as": [data.class_names[k] for k in predicted[wrong]],
    }
)
pairs.value_counts().head(8).rename("images").reset_index()

# %% [markdown]
# Most of the confusion goes one way only: 32 % of the Gs are read as H, but no H as G, and 31 % of the Vs are
# read as W, but no W as V. Nor are all letters equally hard. 43 % of the Rs are read as one of eight other
# letters, whereas 19 of the 24 letters are read correctly in at least 95 % of their images.

# %% [markdown]
# ## The ledger
#
# The baseline, too, runs on a microcontroller. It takes 195,808 bytes of flash and an arena of 66,736 bytes
# of RAM: 62,720 for the output of the first convolution and that of the pooling behind it, which exist at
# the same time, and 4,016 for the interpreter's notes. Not the weights but one large map decides how much
# RAM the network needs.

# %%
lab.report(device=True)

# %% [markdown]
# ## Published against measured

# %%
lab.compare("float")

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="design" points=4
# **Which choices of the baseline's design help it to be compressed later, and what did you leave
# out to stay below 50,000 parameters?**
#
# <!-- BEGIN SOLUTION -->
# Every normalisation directly follows a convolution, so it folds and adds no operator. No large
# fully connected layer: 24 units on a 7 × 7 × 64 map alone would have 75,000 weights; a mean over the
# pixels leaves the weights in the 3 × 3 convolutions, where they are reused on every pixel. Only
# standard layers, so that every converter knows them.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="split" points=4
# **A friend reports 100 % validation accuracy on a random tenth of the training file. What would
# you tell them?**
#
# <!-- BEGIN SOLUTION -->
# That the tenth holds other versions of the photographs they trained on, so it measures
# memorising: even the nearest neighbour reads about 100 % there. The test file has other
# photographs; nothing may be chosen by looking at it, or it becomes a second training file.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - Parameters are flash, MACs are time and energy; a weight costs a MAC for every output pixel.
# - Batch normalisation folds into the convolution before it, if it stands before the activation.
# - A random split of augmented data is no test.
#
# **Further reading:** S. Ioffe and C. Szegedy, *Batch normalization*, ICML 2015 · B. Jacob et al.,
# *Quantization and training of neural networks for efficient integer-arithmetic-only inference*,
# CVPR 2018, section 3.2 (folding).
#
# **Next:** lab 02 stores every weight in one byte instead of four.

# %% tags=["finish"]
lab.finish()
