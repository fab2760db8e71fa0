# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 09 · Where in the room, and six thousand networks
#
# Four metal plates on the walls of a room sense where a person is, without a camera and without anything to
# wear. A thesis of 2020 (Politecnico di Torino) had networks of 226, 34,818 and 62 parameters read them,
# quantised two of these in 225 ways each, and found that quantisation makes the first one *better by a
# tenth*. In this lab you repeat its study, hundreds of times as fast, and find out how much of that is
# true.
#
# **You will be able to**
#
# - say how well a sensor can locate a person at all, before any network is involved;
# - judge a path by more than its mean error, and compare networks with a filter of a few lines;
# - distinguish a trend from luck, and the best of many runs from a better design;
# - explain how a quantiser's range moves while a network is trained;
# - explore a design space of thousands of networks in minutes, and read its front;
# - quantise an LSTM, and write an MLP in C integers that gives the same codes as its file.
#
# **Time:** 120 minutes of work; the computer takes 1 minute (`quick`) or 40 on two cores (`full`).

# %% [markdown]
# ## What to hand in
#
# This notebook, executed and saved; `localisation_mlp.tflite`, an integer file of the MLP, which reads one
# sample; and `localisation_cnn.tflite`, an integer file of the CNN, which reads a window of 10 s. The
# course judges both by their average distance error.

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import dataclasses
import itertools
import shutil
import subprocess
import time
import zlib

import numpy as np
import pandas as pd
import tensorflow as tf
from IPython.display import display
from scipy import stats
from sklearn.neighbors import KNeighborsRegressor

from labkit import files, measure, plots, training, widgets
from labkit.checks import check, predict, reveal
from labkit.compress import affine, minimal, post_training, quantization_aware
from labkit.datasets import localisation
from labkit.datasets import localisation_simulator as simulator
from labkit.explore import pareto, population, reference, selection
from labkit.explore.members import Cnn, Member, Mlp, Quantizer, Scheme, Settings
from labkit.explore.sweep import grid, sweep
from labkit.lab import Lab
from labkit.measure import micro, trajectory
from labkit.models import localisation as networks

ADE = measure.AVERAGE_DISTANCE_ERROR
lab = Lab("09_localisation", PROFILE, DATA, SEED, OUT, dataset=localisation,
          headline="localisation_cnn.tflite",
          metrics=(ADE, measure.MEAN_SQUARED_ERROR, trajectory.FIRST_DIFFERENCE,
                   trajectory.SECOND_DIFFERENCE))
raw = lab.dataset
scaled = raw.standardised()  # each sensor with mean 0 and standard deviation 1 over the training part
data = lab.dataset = localisation.windows(scaled)  # for networks that see 10 s
held = localisation.windows(scaled.holdout(0.25))  # the training part, its last quarter to choose on
now, held_now = localisation.latest(data), localisation.latest(held)  # of each window the last sample
full = PROFILE == "full"

#: What is trained where, (quick, full): runs and epochs.
RUNS, EPOCHS = (3, 10)[full], (60, 1000)[full]
CNN_RUNS, CNN_EPOCHS = (2, 12)[full], (6, 150)[full]
LSTM_EPOCHS = (8, 250)[full]
DECAY = 2e-2  # of the CNN's kernels


def parts(network):
    """Training and validation samples for an Mlp or a Cnn, as `population.train` takes them."""
    of = held_now if isinstance(network, Mlp) else held
    return (of.x_train, of.y_train), (of.x_test, of.y_test)


def explored(name, members, epochs, history=False):
    """Members trained; what is finished is kept, so that an interrupted run goes on."""
    network = members[0].network
    folder = f"sweep/09_{name}_{data.source}_{len(members)}x{epochs}_seed{SEED}"
    kept = lab.path(folder) if full else None
    settings = Settings(epochs, weight_decay=DECAY if isinstance(network, Cnn) else 0)
    return population.train(members, *parts(network), settings, history=history, checkpoint=kept)


def errors_of(found):
    """Average distance error (m) of every member on the test part."""
    of = now if isinstance(found.members[0].network, Mlp) else data
    return found.score(ADE, of.x_test, of.y_test)


# %% [markdown]
# ## 1 · What four plates can know
#
# A plate and a person form a capacitor, and the plate is part of an oscillator: the nearer the person, the
# lower its frequency. The data below are simulated, since the recording of the thesis was never published;
# `labkit.datasets.localisation_simulator` says of each of its numbers whether it is known, assumed or
# chosen. (Whoever has the recording saves it as one CSV file, and this lab reads it instead.)

# %%
walls = simulator.Room()
plots.show(
    plots.room(raw.y_test, walls.plates, walls.side),
    alt="The test path in the room of 3 m, seen from above: the person walks between a dozen places, "
    "more or less straight; the four plates are at the middle of the walls.",
)
plots.show(
    plots.lines(pd.DataFrame(raw.x_test[:180] / 1000, np.arange(180) / simulator.RATE,
                             [f"plate {i}" for i in range(1, 5)]),
                x="time (s)", y="frequency (kHz)"),
    alt="The four oscillators over the first minute, near 20 kHz: plate 3 falls four times and plate 1 "
    "twice by 50 to 75 hertz, while the person passes; otherwise all wander by some ten hertz.",
)
pd.DataFrame({part: {"samples": len(y), "minutes": len(y) / simulator.RATE / 60}
              for part, y in (("train", held_now.y_train), ("to choose on", held_now.y_test),
                              ("test", now.y_test))}).T.astype({"samples": int}).round(1)

# %% [markdown]
# The figures show the walk of the test part, and how the oscillators respond to it: the frequency of a
# plate falls by up to 75 Hz when the person comes close, and otherwise there is little but noise.
#
# The change of a plate's capacitance decreases with the distance $d$ as $n = \bigl(p / (p + d)\bigr)^k$,
# and the frequency is $f = f_0 / (1 + t\,n)$. The noise $\sigma_f$ of the frequency is the same everywhere;
# the uncertainty of the *distance* depends on how steep $f$ is there:
#
# $$\sigma_d = \frac{\sigma_f}{|\mathrm{d}f / \mathrm{d}d|}.$$
#
# By hand, with $f_0$ = 20 kHz, $p$ = 0.16 m, $k$ = 2, $t$ = 0.05, at $d$ = 0.34 m: $n = 0.32^2 = 0.1024$,
# $|\mathrm{d}f/\mathrm{d}d| \approx f_0\,t\,k\,n / (p + d) = 410$ Hz/m, so that 3.5 Hz are 9 mm.
#
# **Predict.** How uncertain is the distance at the other side of the room?

# %%
my_guess = predict(
    "the far plate",
    "3.5 Hz of noise on a plate that is 2.5 m away: the distance is uncertain by about",
    choices=["5 cm", "25 cm", "more than a metre"],
    answer=None,
)

# %% [markdown]
# ### Your turn: what noise does to a distance


# %% tags=["exercise"] exercise="position_noise"
def position_noise(room, distance, step=1e-4):
    """Standard deviation (m) of the distance, from one sample of a plate at that distance (m).

    room: a `simulator.Room`, whose `noise` is σ_f in Hz; `simulator.oscillators(room, distance)` gives
    f in Hz. Take the slope between `distance - step` and `distance + step`.
    """
    ### BEGIN SOLUTION
    ends = simulator.oscillators(room, np.array([distance - step, distance + step]))
    return room.noise / abs((ends[1] - ends[0]) / (2 * step))
    ### END SOLUTION


# %% tags=["check"] exercise="position_noise" points=3
with check(
    "noise of a place",
    exercise="position_noise",
    what="the example by hand, the far wall, and another room.",
    why="no network can know what the sensor does not say: this is the yardstick for all of them.",
) as c:
    def slope(room, d):
        n = (room.plate / (room.plate + d)) ** room.exponent
        return (room.frequency * room.touch * room.exponent * n
                / ((room.plate + d) * (1 + room.touch * n) ** 2))

    for room, d in ((walls, 0.34), (walls, 2.5), (simulator.Room(exponent=3, noise=1), 1.2)):
        right = room.noise / slope(room, d)
        c.close(f"{d} m, exponent {room.exponent:g}, {room.noise:g} Hz", position_noise(room, d), right,
                tolerance=1e-3, misconceptions=[
                    (-right, "The frequency *falls* with the capacitance: take the slope's magnitude."),
                    (right / 2, "From one step below to one above it are two steps."),
                    (2 * right, "From one step below to one above it are two steps."),
                    (room.noise * slope(room, d), "Hertz divided by hertz a metre."),
                    (1 / slope(room, d), "That is what one hertz does; the noise is `room.noise`."),
                ])

# %%
away = np.linspace(0.2, 2.8, 60)
knows = pd.DataFrame({"one plate": [100 * position_noise(walls, d) for d in away]}, away)
far = position_noise(walls, 2.5)
reveal("the far plate", my_guess,
       "more than a metre" if far > 1 else "25 cm" if far > 0.12 else "5 cm",
       f"{far:.2f} m: the slope falls with the third power of the distance.")
plots.show(
    plots.lines(knows, x="distance from the plate (m)", y="uncertainty of the distance (cm)"),
    alt="Uncertainty of the distance from one sample of a plate: under 5 cm up to 0.7 m, then "
    "rising ever more steeply to more than 1.5 m at the far wall.",
)

# %% [markdown]
# What the figure says: a plate measures distances well up to a metre, and hardly at all across the room. In
# the middle of the room all four are mediocre. What can help is *time*: a person moves by about 11 cm from
# one sample to the next, so ten seconds say more about a place than a single moment does.
#
# **How to judge.** The mean squared error averages over both coordinates; the *average distance error*
# (ADE) is the mean length of the error. By hand: errors of (0.3, 0.4) and (0, 0) m have an MSE of (0.09 +
# 0.16)/4 = 0.0625 m² and an ADE of (0.5 + 0)/2 = 0.25 m. A path may be right on average and still be one
# that nobody walks. Hence a third measure: the mean length of the *second differences*, which is how much
# the step from sample to sample changes.
#
# By hand: the path (0, 0), (1, 0), (2, 0), (2, 1) has the first differences (1, 0), (1, 0), (0, 1) and the
# second differences (0, 0), (−1, 1), whose mean length is √2/2.


# %% [markdown]
# ### Your turn: how far off, and how jumpy


# %% tags=["exercise"] exercise="judged"
def judged(wanted, found):
    """ADE (m) of a path, and the mean length (m) of its second differences.

    wanted, found: (N, 2), m. The second value depends on `found` alone.
    """
    ### BEGIN SOLUTION
    error = np.linalg.norm(found - wanted, axis=1).mean()
    return error, np.linalg.norm(np.diff(found, 2, axis=0), axis=1).mean()
    ### END SOLUTION


# %% tags=["check"] exercise="judged" points=3
with check(
    "judge a path",
    exercise="judged",
    what="both examples by hand, and a real path that is rounded.",
    why="the thesis warns that its best designs by ADE draw paths that nobody could walk.",
) as c:
    wanted = np.zeros((2, 2))
    toy = np.array([[0.0, 0], [1, 0], [2, 0], [2, 1]])
    error, _ = judged(np.zeros((3, 2)), np.array([[0.3, 0.4], [0, 0], [0, 0]]))
    c.close("ADE", error, 0.5 / 3, misconceptions=[
        (0.7 / 6, "That is the mean of the coordinates' errors: take the length of each error first."),
        (np.sqrt(0.25 / 3), "The mean of the lengths, not the root of the mean square: that one weighs "
         "large errors more."),
        (np.sqrt(0.25 / 6), "That is the root of the MSE."),
    ])
    _, second = judged(toy, toy)
    c.close("second differences", second, np.sqrt(2) / 2, misconceptions=[
        (1.0, "Those are the first differences: difference them once more."),
        (0.0, "The length first throws the direction away: a turn is a change, too."),
        (0.5, "The length of each second difference: √(1² + 1²) for the turn."),
    ])
    rounded = np.round(raw.y_test.astype(float) * 4) / 4
    error, second = judged(raw.y_test, rounded)
    c.close("a path on a grid of 25 cm, ADE", error, ADE.compute(raw.y_test, rounded), tolerance=1e-5)
    c.close("second differences of it", second, trajectory.differences(rounded, 2), tolerance=1e-5)

# %% [markdown]
# **Neighbouring windows share their answers.** The three parts above are consecutive stretches of time. A
# random split would put windows that share 29 of their 30 samples on both sides. To see what that does,
# take the position of the most similar known window as the answer, with both kinds of split:

# %%
order = np.random.default_rng(SEED).permutation(len(data.x_train))
flat, cut = data.x_train.reshape(len(data.x_train), -1), len(held.x_train)
leak = {}
for name, (known, asked) in {
    "the last quarter": (np.arange(cut), np.arange(cut + localisation.WINDOW, len(flat))),
    "a quarter at random": (order[:cut], order[cut:]),
}.items():
    nearest = KNeighborsRegressor(1).fit(flat[known], data.y_train[known])
    leak[name] = judged(data.y_train[asked], nearest.predict(flat[asked]))[0]
pd.DataFrame({"ADE (m)": leak}).rename_axis("tried on").round(3)

# %% [markdown]
# With the random split the nearest window often shares most of its samples with the one in question, and
# its answer is 15 cm off. On the last quarter the same method is 58 cm off: the random split would have
# measured the overlap. Everything that is chosen below is therefore chosen on the last quarter.

# %% [markdown]
# ## 2 · Three networks, and a filter
#
# The thesis has three networks: an **MLP** with one hidden layer, which sees one sample; a **CNN** of two
# convolutions of 64 filters along 30 samples, followed by two dense layers of 32; and an **LSTM** of two
# cells over the same window. Its table counts 34,818 parameters for the CNN but mentions no pooling layer.
# Such a count can be solved for what is missing: how many values reach the first dense layer?
#
# By hand, with a smaller network: one convolution of 8 filters of 3 taps on 4 channels has $(3 \cdot 4 + 1)
# \cdot 8 = 104$ parameters; a dense layer of 5 neurons on $n$ values has $5n + 5$; two outputs have $12$.
# If there are 521 in all, $n = 80$: ten positions of eight filters.


# %% [markdown]
# ### Your turn: solve for the missing layer


# %% tags=["exercise"] exercise="flattened"
def flattened(total, channels, filters, taps, hidden, outputs):
    """How many values (int) reach the first dense layer of a CNN with `total` parameters.

    filters: of each convolution, in order; hidden: neurons of each dense layer but the last, which has
    `outputs`. Every layer has biases.
    """
    ### BEGIN SOLUTION
    widths = [channels, *filters]
    total -= sum((taps * a + 1) * b for a, b in itertools.pairwise(widths))
    total -= sum((a + 1) * b for a, b in itertools.pairwise([*hidden, outputs]))
    return (total - hidden[0]) // hidden[0]
    ### END SOLUTION


# %% tags=["check"] exercise="flattened" points=3
with check(
    "the missing layer",
    exercise="flattened",
    what="the example by hand, the thesis's CNN, and Keras's count of another one.",
    why="a table can be checked without the data: this one reveals a layer that the text leaves out.",
) as c:
    c.equal("by hand", flattened(521, 4, [8], 3, [5], 2), 80, misconceptions=[
        (81, "The first dense layer has biases of its own."),
        (82, "The last layer has parameters, too: a weight for each hidden neuron and output, and biases."),
    ])
    c.equal("the thesis's CNN", flattened(34_818, 4, [64, 64], 3, [32, 32], 2), 640, misconceptions=[
        (1920, "That is without pooling: 30 places of 64 filters. The count says otherwise."),
        (641, "The first dense layer has biases of its own."),
        (1000, "The second convolution sees 64 channels, not the four sensors."),
    ])
    other = networks.cnn(filters=(6, 10), pool=2, hidden=(7, 5, 9), window=24)
    c.equal("another one", flattened(other.count_params(), 4, [6, 10], 3, [7, 5, 9], 2),
            other.get_layer("flatten").output_shape[1])

# %% [markdown]
# 640 values are ten positions of 64 filters: a third of the window. The cheapest way to get there is a
# maximum over three samples behind the first convolution, and that is what `networks.cnn` has.
#
# **How they are trained.** By Adamax on the mean squared error, as in the thesis; of each training the
# weights of the epoch with the best *validation* error are kept. The thesis uses a learning rate of 1e-4
# over 1,000 epochs for all; here it is 1e-3, over 1,000 epochs for the MLP, 150 for the CNN and 250 for the
# LSTM. MLPs and CNNs are trained by `population.train`, all runs at once; the LSTM is trained by Keras.

# %%
def keras_of(found, i=0):
    """A trained member as a Keras model."""
    of = found.members[i].network
    model = networks.mlp(of.hidden) if isinstance(of, Mlp) else networks.cnn(of.filters)
    model.set_weights([w.reshape(v.shape) for w, v in zip(found.weights[i], model.weights, strict=True)])
    return model


def trained_lstm(seed, rate):
    """The LSTM after the epoch with the best validation; kept in the output folder."""
    runtime.set_seed(seed)
    model = networks.lstm()
    recipe = networks.NETWORKS["lstm"].RECIPES[PROFILE].but(epochs=LSTM_EPOCHS, learning_rate=rate)

    def fit():
        best = training.Best()
        history = training.fit(model, held, recipe, seed, callbacks=[best],
                               validation=(held.x_test, held.y_test))
        best.restore()
        return history

    path = lab.path(f"baseline/{model.name}-{data.source}-{PROFILE}-best-{rate:g}-seed{seed}.npz")
    return training.keep(path, model, fit, training.provenance(held, recipe, seed), seed).model


mlps = explored("mlp", [Member(seed=SEED + i) for i in range((8, 100)[full])], EPOCHS)
cnns = explored("cnn", [Member(Cnn(), seed=SEED + i) for i in range(CNN_RUNS)], CNN_EPOCHS)
lstms = list(lab.side_by_side(trained_lstm, [(seed, 1e-3) for seed in lab.seeds]).values())
paths = {"MLP": mlps.predict(now.x_test), "CNN": cnns.predict(data.x_test),
         "LSTM": np.stack([model.predict(data.x_test, verbose=0) for model in lstms])}
gaps = [float(np.abs(keras_of(found).predict(of.x_test, verbose=0) - paths[name][0]).max())
        for name, found, of in (("MLP", mlps, now), ("CNN", cnns, data))]
print(f"the same members in Keras: outputs differ by {max(gaps):.0e} m at most")


def judge(runs, wanted):
    """Means over runs (R, N, 2): ADE and its deviation, MSE, first and second differences."""
    ades = [ADE.compute(wanted, one) for one in runs]
    return {
        "ADE (m)": np.mean(ades), "±": np.std(ades, ddof=1) if len(ades) > 1 else np.nan,
        "MSE (m²)": np.mean((runs - wanted) ** 2),
        "first difference (m)": np.mean([trajectory.differences(one) for one in runs]),
        "second difference (m)": np.mean([trajectory.differences(one, 2) for one in runs]),
    }


middle = np.broadcast_to(data.y_train.mean(axis=0), (1, *data.y_test.shape))
parameters = {"MLP": keras_of(mlps).count_params(), "CNN": keras_of(cnns).count_params(),
              "LSTM": lstms[0].count_params(), "always the middle": 2}
rows = {name: {"parameters": parameters[name], "runs": len(runs), **judge(runs, data.y_test)}
        for name, runs in (paths | {"always the middle": middle}).items()}
walked = judge(data.y_test[None], data.y_test)
rows["the person"] = {name: walked[name] for name in walked if "difference" in name}
floats = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
measure.printed(floats.astype({"parameters": "Int64", "runs": "Int64"}), 4)

# %% [markdown]
# The order in this table is that of the thesis (0.433, 0.301 and 0.273 m): the MLP has the largest error,
# then the LSTM, then the CNN. All three beat a network that always answers with the middle of the room, and
# runs of one network differ by 5 to 8 mm. The last column shows what the ADE does not: from sample to
# sample the step of the MLP's path changes by 56 cm, eight times as much as the person's, while the CNN's
# path is nearly as smooth as the walk.
#
# **One learning rate for all?** A rate that is the same for every network favours one of them. The control:
# three rates, each with all seeds of this run, and for each network the rate that has the best *validation*
# error.

# %%
RATES = (1e-3, 3e-3, 1e-2) if full else (1e-3, 1e-2)
tries = [(rate, seed) for rate in RATES for seed in lab.seeds]
found = {}
for name, network, epochs in (("MLP", Mlp(), EPOCHS), ("CNN", Cnn(), CNN_EPOCHS)):
    if name == "CNN" and not full:
        continue
    some = explored(f"rates_{name}", [Member(network, None, seed, rate) for rate, seed in tries], epochs)
    found[name] = some.record["validation"], errors_of(some)
of_rate = lab.side_by_side(trained_lstm, [(seed, rate) for rate, seed in tries])
found["LSTM"] = [np.array([metric.compute(y, model.predict(x, verbose=0)) for model in of_rate.values()])
                 for metric, x, y in ((measure.MEAN_SQUARED_ERROR, held.x_test, held.y_test),
                                      (ADE, data.x_test, data.y_test))]
rates = pd.concat({name: pd.DataFrame({"rate": [rate for rate, _ in tries], "validation MSE (m²)": chosen,
                                       "ADE (m)": errors}) for name, (chosen, errors) in found.items()},
                  names=["network"])
rates = rates.groupby(["network", "rate"], sort=False).agg(["mean", "std"]).drop(
    columns=[("validation MSE (m²)", "std")])
rates.columns = ["validation MSE (m²)", "ADE (m)", "±"]
preferred = rates.loc[rates.groupby("network")["validation MSE (m²)"].idxmin()]
rates["preferred"] = np.where(rates.index.isin(preferred.index), "yes", "")
print("ADE at the preferred rates:",
      ", ".join(f"{name} {row['ADE (m)']:.3f} m" for (name, _), row in preferred.iterrows()))
rates.round(4)

# %% [markdown]
# All three networks prefer a rate of 0.01, and there the LSTM is ahead: 0.251 m, against 0.267 m for the
# CNN and 0.289 m for the MLP. So "MLP, LSTM, CNN" ranks *trainings*: the order holds at a rate of 1e-3, and
# not at the rate that validation would choose. (Even at 1e-3 the LSTM's validation error is the smallest.)
# The MLP is last at every rate. Below, all networks are trained at 1e-3, as close to the thesis as these
# epochs allow.
#
# **Predict.** The MLP knows only the present moment. A filter behind it can remember: a *moving average*,
# or a *Kalman filter*, which expects a person to keep moving as before and takes some twenty
# multiplications per sample. The CNN takes 167,000.

# %%
my_guess = predict(
    "a filter instead of a network",
    "the MLP of 226 parameters with the better of the two filters behind it, against the CNN alone:",
    choices=["the CNN is clearly better", "within 1 cm", "the filtered MLP is clearly better"],
    answer=None,
)

# %% [markdown]
# A filter that runs in the room knows only the past. By hand: the mean of the last three values of 3, 0, 6,
# 0 is 3, 1.5, 3, 2; at the beginning there are fewer than three to average.


# %% [markdown]
# ### Your turn: a moving average of the past


# %% tags=["exercise"] exercise="smoothed"
def smoothed(path, length):
    """Each place of a path (N, 2) averaged with those before it, at most `length` places in all."""
    ### BEGIN SOLUTION
    return np.stack([path[max(0, i - length + 1) : i + 1].mean(axis=0) for i in range(len(path))])
    ### END SOLUTION


# %% tags=["check"] exercise="smoothed" points=3
with check(
    "a moving average",
    exercise="smoothed",
    what="the example by hand, a jump, and `trajectory.moving_average`.",
    why="a control that costs nothing is what a network of 34,818 parameters has to beat.",
) as c:
    toy = np.array([[3.0, 3], [0, 0], [6, 6], [0, 0]])
    c.close("by hand", smoothed(toy, 3), np.array([[3.0, 3], [1.5, 1.5], [3, 3], [2, 2]]),
            misconceptions=[
                ([[1.5, 1.5], [3, 3], [2, 2], [3, 3]], "That looks ahead: a filter in the room knows the past."),
                ([[1, 1], [1, 1], [3, 3], [2, 2]], "At the beginning, divide by how many there are."),
                ([[3, 3], [1.5, 1.5], [3, 3], [3, 3]], "Of length 3 are the place itself and two before it."),
            ])
    jump = np.repeat([[0.0, 1], [2, 0]], 20, axis=0)
    c.equal("a jump comes late, not early", np.flatnonzero(smoothed(jump, 5)[:, 0] > 0)[0], 20)
    random = np.random.default_rng(0).normal(size=(60, 2))
    c.close("60 places", smoothed(random, 7), trajectory.moving_average(random, 7), tolerance=1e-9)

# %% [markdown]
# The length of the average and the two settings of the Kalman filter are chosen on the validation part, by
# a small sweep. `sweep` calls a function with every configuration of a grid, in as many processes as you
# like, and stores each result in one file, together with its configuration and the version of the code;
# results that are already there are not computed again.

# %%
TRUTH, FOUND = held.y_test, mlps.predict(held_now.x_test, [0])[0]


def filtered_error(kind, setting, trust, of):
    """ADE on the validation part behind a filter; `of` says of which path, for the file's key."""
    path = (smoothed(FOUND, setting) if kind == "mean" else
            trajectory.kalman(FOUND, setting / 100, trust, simulator.RATE))
    return {"ADE (m)": judged(TRUTH, path)[0]}


of = (f"{zlib.crc32(np.ascontiguousarray(FOUND)):08x}",)  # the results depend on it, so it is in the key
design = [*grid(kind=("mean",), setting=range(1, 11), trust=(0.0,), of=of),
          *grid(kind=("kalman",), setting=(10, 20, 30, 40, 60), trust=(0.1, 0.2, 0.4, 0.8, 1.6), of=of)]
filters = sweep(filtered_error, design, lab.path("sweep/09_filters.sqlite"))
best = filters.loc[filters.groupby("kind")["ADE (m)"].idxmin()].set_index("kind")
length = int(best.loc["mean", "setting"])
noise, trust = best.loc["kalman", "setting"] / 100, best.loc["kalman", "trust"]
print(f"chosen: a mean over {length}; a Kalman filter with {noise:g} m and {trust:g} m/s²")


def kalman(path):
    """The chosen Kalman filter."""
    return trajectory.kalman(path, noise, trust, simulator.RATE)


rows = {}
for name, runs in paths.items():
    rows[name] = judge(runs, data.y_test)
    rows[f"{name}, moving average"] = judge(np.stack([smoothed(p, length) for p in runs]), data.y_test)
    rows[f"{name}, Kalman filter"] = judge(np.stack([kalman(p) for p in runs]), data.y_test)
rows["the person"] = rows["MLP"] | dict.fromkeys(rows["MLP"], np.nan) | {
    name: walked[name] for name in walked if "difference" in name}
filtered = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network, filter")
cheap = filtered.loc[["MLP, moving average", "MLP, Kalman filter"], "ADE (m)"].min()
gap = cheap - filtered.loc["CNN", "ADE (m)"]
reveal("a filter instead of a network", my_guess,
       "within 1 cm" if abs(gap) <= 0.01 else "the CNN is clearly better" if gap > 0 else
       "the filtered MLP is clearly better", f"{cheap:.3f} m against {filtered.loc['CNN', 'ADE (m)']:.3f} m.")
measure.printed(filtered, 4)

# %% [markdown]
# With a Kalman filter behind it the MLP has an error of 0.241 m. That is less than the CNN's (0.265 m),
# which has 154 times as many parameters, and less than the LSTM's at its best rate. Its second differences
# fall from 56 to 16 cm. A moving average of three samples achieves three quarters of that gain, 0.256 m.
# Behind the networks that see ten seconds the same filters do harm: their paths are smooth already, and a
# filter delays them. (The filters' settings were chosen for the MLP's path.)

# %%
plots.show(
    plots.tracks({"the person": data.y_test[:150], "MLP": paths["MLP"][0][:150],
                  "MLP, Kalman filter": kalman(paths["MLP"][0])[:150],
                  "CNN": paths["CNN"][0][:150]}, simulator.RATE),
    alt="x and y over 50 seconds: the MLP trembles around the person's path by up to half a metre; behind "
    "a Kalman filter, and read by the CNN, the path is smooth; the CNN's comes about a second late at turns.",
)

# %% [markdown]
# The figure shows the beginning of the test walk. The MLP's path trembles around the person's; behind the
# filter it is smooth and still on time, while the CNN's path lags at the turns.
#
# **Another walk.** Results vary not only with the seed: the test part is a hundred seconds of *one* walk,
# and the thesis's is the end of one recording. The simulator can send the person through the same room
# again. The table shows each network's mean error over new walks; the intervals are 95 % intervals of the
# mean difference from the CNN, over walks.

# %%
def another_walk(number):
    """Windows of another day in this room, standardised as the lab's are."""
    day = [SEED, 9, number]
    x, y = simulator.record(walls, len(raw.x_test), simulator.destinations(walls, 0), day)
    fresh = localisation.windows(dataclasses.replace(raw, x_test=x, y_test=y).standardised())
    return fresh.x_test, fresh.y_test


def errors_on(walks, runs):
    """Mean ADE over runs (R, W · N, 2) on each of the walks."""
    parts = np.split(runs, len(walks), axis=1)
    return np.array([np.mean([ADE.compute(y, one) for one in part]) for (_, y), part in
                     zip(walks, parts, strict=True)])


if data.source == "synthetic":
    walks = [another_walk(number) for number in range((3, 30)[full])]
    x = np.concatenate([x for x, _ in walks])
    some = {"MLP": mlps.predict(x[:, -1], range(min(len(mlps), 12))), "CNN": cnns.predict(x),
            "LSTM": np.stack([model.predict(x, verbose=0) for model in lstms]),
            "LSTM, rate 0.01": np.stack([of_rate[seed, 1e-2].predict(x, verbose=0) for seed in lab.seeds])}
    some["MLP, Kalman filter"] = np.stack([
        np.concatenate([kalman(part) for part in np.split(one, len(walks))]) for one in some["MLP"]])
    of_walks = pd.DataFrame({name: errors_on(walks, runs) for name, runs in some.items()})
    rows = {name: {"ADE (m)": values.mean(), "± of walks": values.std(ddof=1)} for name, values in of_walks.items()}
    for name in of_walks.columns.drop("CNN"):
        gap = 1000 * (of_walks[name] - of_walks["CNN"])
        half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
        rows[name] |= {"less the CNN's (mm)": gap.mean(), "from": gap.mean() - half, "to": gap.mean() + half}
    print(f"{len(walks)} walks of {len(walks[0][1])} samples")
    shown = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
    millimetres = dict.fromkeys(["less the CNN's (mm)", "from", "to"], 1)
    display(measure.printed(shown.round(millimetres), 4))
else:
    print("there is one recording of the real room.")

# %% [markdown]
# Over thirty walks the order is different, at the same learning rate: the LSTM has an error of 0.270 m, the
# CNN of 0.289 m and the MLP of 0.300 m, and no interval includes zero. The CNN's 0.265 m was luck, not of
# the seed but of the walk: its errors on two walks differ by 26 mm (standard deviation), those of two runs
# on one walk by 5 mm. The difference between two networks scatters by some 20 mm from walk to walk, and the
# thesis's CNN and LSTM are 28 mm apart, on a single walk. So its figures do not decide which of these two
# is better; that the bare MLP is last is confirmed. And the MLP behind a Kalman filter keeps its place: 4
# cm better than the CNN (33 to 46 mm), and level with the LSTM at its best rate.
#
# Below, each network is compared with its own quantised versions on the same walk, which affects both
# alike.

# %% [markdown]
# ## 3 · Does the number of neurons matter?
#
# The thesis tries 22 to 52 neurons, with ten runs each, and reports the best run of each. Its best network
# has 45 neurons and 0.397 m, against 0.433 m with 32: *"the found model can infer more precisely"*. It also
# draws a straight line through all of them and finds it flat.
#
# A slope needs an interval. With the variance of the residuals, $s^2 = \sum r_i^2 / (n - 2)$, its standard
# error is $s / \sqrt{\sum (x_i - \bar x)^2}$, and an interval of $\pm t_{0.975,\,n-2}$ standard errors
# contains the true slope in 95 % of all cases.
#
# By hand: $x$ = 0, 1, 2, 3 and $y$ = 0, 1, 1, 2 have a slope of 0.6 and the residuals −0.1, 0.3, −0.3, 0.1;
# $s^2 = 0.1$, and the standard error is $\sqrt{0.1/5} = 0.141$. With two degrees of freedom $t$ is 4.30, so
# the interval is −0.008 to 1.208.


# %% [markdown]
# ### Your turn: a slope with its interval


# %% tags=["exercise"] exercise="slope_interval"
def slope_interval(x, y):
    """Both ends of the 95 % interval of the slope of y over x, both (n,).

    `stats.linregress(x, y)` has .slope and .stderr; `stats.t.ppf(0.975, k)` is t with
    k degrees of freedom.
    """
    ### BEGIN SOLUTION
    line = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * line.stderr
    return line.slope - half, line.slope + half
    ### END SOLUTION


# %% tags=["check"] exercise="slope_interval" points=3
with check(
    "a slope's interval",
    exercise="slope_interval",
    what="the example by hand, and how often the interval holds the true slope of drawn data.",
    why="'flat' is a claim about an interval, not about a line.",
) as c:
    x, y = np.arange(4.0), np.array([0.0, 1, 1, 2])
    error, t = np.sqrt(0.1 / 5), stats.t.ppf(0.975, 2)
    c.close("by hand", slope_interval(x, y), (0.6 - t * error, 0.6 + t * error), tolerance=1e-6,
            misconceptions=[
                ((0.6 - 1.959964 * error, 0.6 + 1.959964 * error),
                 "That is the normal distribution's 1.96; four points have t with two degrees of freedom."),
                ((0.6 - stats.t.ppf(0.975, 3) * error, 0.6 + stats.t.ppf(0.975, 3) * error),
                 "Slope and intercept are both estimated: n − 2 degrees of freedom."),
                ((0.6 - error, 0.6 + error), "That is one standard error; 95 % need t of them."),
                ((0.6 - stats.t.ppf(0.95, 2) * error, 0.6 + stats.t.ppf(0.95, 2) * error),
                 "2.5 % on either side: the quantile of 0.975."),
            ])
    random = np.random.default_rng(0)
    x = np.arange(8.0)
    ends = np.array([slope_interval(x, 0.3 * x + random.normal(size=8)) for _ in range(800)])
    c.between("of 800 intervals, those that hold the slope",
              np.mean((ends[:, 0] < 0.3) & (ends[:, 1] > 0.3)), 0.93, 0.97)

# %%
neurons = np.arange(22, 53)
runs = (4, 10)[full]
members = [Member(Mlp((int(n),)), seed=SEED + i) for n in neurons for i in range(runs)]
wide = errors_of(explored("neurons", members, EPOCHS)).reshape(len(neurons), runs)
theirs = measure.published("09", "Battiato")
theirs = theirs[(theirs["table"] == "Table 3.1") & (theirs["metric"] == ADE.name)]
theirs = theirs["value"].to_numpy()
every = np.repeat(neurons, runs)
rows = {}
for name, x, y in (("thesis, best of ten", neurons, theirs), ("here, best of the runs", neurons, wide.min(axis=1)),
                   ("here, all runs", every, wide.ravel())):
    low, high = slope_interval(x, y)
    rows[name] = {"slope (mm per neuron)": 1000 * (low + high) / 2, "from": 1000 * low, "to": 1000 * high,
                  "spread of the values (mm)": 1000 * np.std(y, ddof=1)}
among, within = 1000 * wide.mean(axis=1).std(ddof=1), 1000 * np.sqrt(wide.var(axis=1, ddof=1).mean() / runs)
print(f"the means of {runs} runs differ from one number of neurons to the next by {among:.2f} mm (standard "
      f"deviation); runs of the same number alone would make that {within:.2f} mm; "
      f"analysis of variance: p = {stats.f_oneway(*wide).pvalue:.2g}; rank correlation with the thesis's "
      f"table: {stats.spearmanr(wide.mean(axis=1), theirs).statistic:+.2f}")
pd.DataFrame.from_dict(rows, orient="index").rename_axis("values").round(3)

# %%
plots.show(
    plots.lines(pd.DataFrame({name: 100 * (values / values.mean() - 1) for name, values in
                              (("thesis, best of ten", theirs), ("here, mean", wide.mean(axis=1)),
                               ("here, best", wide.min(axis=1)))}, neurons),
                x="neurons of the hidden layer", y="ADE against its mean over all (%)", levels=[0]),
    alt="ADE over the number of neurons, 22 to 52, in percent of its mean: the thesis's values jump up and down "
    "between −5 and +5 % without a trend; "
    "mean and best of the runs here stay within 2 %, the mean falling by some 1 % from the left to the right.",
)

# %% [markdown]
# The thesis's line is indeed flat: −0.49 to +0.51 mm per neuron. But that interval is wide, since the best of
# ten scatters by 12 mm from one number of neurons to the next. All runs together do show a trend here, of a
# ninth of a millimetre per neuron: thirty more neurons are worth 3 mm, a hundredth of the error. Beyond that
# the numbers of neurons hardly differ: their means scatter by 1.9 mm, where chance alone would make it 1.5.
# The thesis's best network, with 45 neurons, lies 5 % below the mean of its table; here 45 neurons lie less
# than 1 % below. The two rankings have nothing in common (a rank correlation of −0.07). The best entry of
# such a table is mostly the luckiest.

# %% [markdown]
# ## 4 · Post-training quantisation, and what to calibrate on
#
# A network that computes in integers throughout needs the ranges of its activations, and these are measured
# on a *representative dataset*. The thesis takes its whole training part, and loses 1 % (MLP) and 4 %
# (CNN).
#
# **Predict.** Suppose somebody calibrates in an empty room: on the 20 training samples in which all four
# sensors are closest to their mean.

# %%
my_guess = predict(
    "the empty room",
    "calibrated on 20 samples in which nobody is near a plate, the MLP's error grows by",
    choices=["less than 1 cm", "1 to 10 cm", "more than 10 cm"],
    answer=None,
)


# %%
def deployed(name, technique, content, file, seed=SEED):
    """Write a file of one of the networks, measure it, and return its figures and its path."""
    lab.dataset = now if name == "MLP" else data
    path = lab.write(file, content, seed, hand_in=not file.startswith("sweep/"))
    figures = lab.measure(technique, path, seed, model=name)
    found = measure.TFLiteModel(path).predict(lab.dataset.x_test)
    lab.dataset = data
    return figures, found


for seed in lab.seeds:
    i = seed - SEED
    for name, model in (("MLP", keras_of(mlps, i)), ("CNN", keras_of(cnns, i)), ("LSTM", lstms[i])):
        content = post_training.convert(model, "float", batch=1)
        deployed(name, "float", content, f"sweep/09_{name}_float.tflite", seed)

random = np.random.default_rng(SEED)
rows = {}
for name, found, of in (("MLP", mlps, now), ("CNN", cnns, data)):
    model, x = keras_of(found), of.x_train
    sets = {
        "the whole training part": x,
        "50 samples of it, all over": x[np.linspace(0, len(x) - 1, 50).astype(int)],
        "its first 20 samples, seven seconds": x[:20],
        "20 samples, nobody near a plate": x[np.abs(x).reshape(len(x), -1).max(axis=1).argsort()[:20]],
        "uniform noise of that spread": random.uniform(-1.7, 1.7, (200, *x.shape[1:])).astype(np.float32),
        "not standardised (Hz)": (raw.x_train if name == "MLP" else localisation.windows(raw).x_train)[:200],
    }
    start, whole = judged(of.y_test, paths[name][0])[0], of.x_test
    if name == "CNN" and not full:
        sets = {which: sets[which] for which in ("the whole training part", "20 samples, nobody near a plate")}
    for which, images in sets.items():
        content = minimal.for_device(post_training.convert(model, "int8", images, batch=1))
        graph = measure.read_graph(content)
        first = graph.tensors[graph.inputs[0]]
        codes = np.round(whole / first.scales[0]) + first.zero_points[0]
        if which == "the whole training part":
            figures, path = deployed(name, "int8", content, f"localisation_{name.lower()}.tflite")
        else:
            path = measure.TFLiteModel(content).predict(whole)
        rows[name, which] = {
            "ADE (m)": judged(of.y_test, path)[0], "more than float (m)": judged(of.y_test, path)[0] - start,
            "from the float path (m)": judged(paths[name][0], path)[0],
            "inputs cut off (%)": 100 * np.mean((codes < -128) | (codes > 127)),
        }
calibrated = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["network", "calibrated on"])
gap = calibrated.loc[("MLP", "20 samples, nobody near a plate"), "more than float (m)"]
reveal("the empty room", my_guess,
       "less than 1 cm" if gap < 0.01 else "1 to 10 cm" if gap < 0.1 else "more than 10 cm",
       f"{100 * gap:+.1f} cm: "
       f"{calibrated.loc[('MLP', '20 samples, nobody near a plate'), 'inputs cut off (%)']:.0f} % of the inputs are beyond "
       "what was seen in them.")
calibrated.round({"ADE (m)": 4, "more than float (m)": 4, "from the float path (m)": 4, "inputs cut off (%)": 1})

# %% [markdown]
# With the whole training part the MLP loses 2 mm and the CNN 3 mm (0.5 and 1 %; the thesis: 1 and 4 %).
# Fifty samples from all over the room do as well; the first seven seconds lose 6 to 8 mm. The empty room
# fails: what lies outside the ranges is clipped, and the file has never seen anybody near a plate. A window
# of the CNN covers ten seconds, so even the emptiest ones have somebody in them; it loses 4 cm. Noise that
# covers the range costs 1 to 2 cm, more than fifty real samples do. With frequencies in hertz, which were
# not standardised, one step of the codes is wider than the difference between somebody and nobody: every
# sample gets the same answer.
#
# Note the third column. Files with the float network's error do not draw its path: they deviate from it by
# 1 to 2 cm, sometimes to the better.
#
# **Quantisation-aware training (lab 04)** at eight bits, with the control that it needs: as many epochs
# without the rounding, converted afterwards.

# %%
FINE = networks.NETWORKS["mlp"].RECIPES[PROFILE].but(epochs=(4, 100)[full])
TUNED = {"MLP": (mlps, held_now, FINE), "CNN": (cnns, held, FINE.but(epochs=30, weight_decay=DECAY))}
KINDS = ("QAT int8", "as long, then int8", "int8")


def tuned_file(name, kind, seed):
    """The int8 file of a network, trained on before it or not."""
    found, of, recipe = TUNED[name]
    model = keras_of(found, seed - SEED)
    if kind == "QAT int8":
        model = quantization_aware.quantize(model)
        quantization_aware.calibrate(model, of.x_train)
    if kind != "int8":
        best = training.Best()
        training.fit(model, of, recipe, seed, callbacks=[best], validation=(of.x_test, of.y_test))
        best.restore()
    if kind == "QAT int8":
        return quantization_aware.convert(model, batch=1)
    return post_training.convert(model, "int8", of.x_train, batch=1)


rows = {}
for (name, kind, seed), content in lab.side_by_side(tuned_file, itertools.product(
        TUNED if full else ["MLP"], KINDS, lab.seeds)).items():
    file = f"sweep/09_{name}_{kind.replace(' ', '_').replace(',', '')}.tflite"
    figures, _ = deployed(name, kind, minimal.for_device(content), file, seed)
    rows.setdefault((name, kind), []).append(figures[ADE.name])
tuned = pd.DataFrame({key: {"ADE (m)": np.mean(v), "±": np.std(v, ddof=1) if len(v) > 1 else np.nan}
                      for key, v in rows.items()}).T.rename_axis(["network", "file"])
tuned.round(4)

# %% [markdown]
# For the MLP there is nothing to gain: the three kinds of files differ by half a millimetre, while seeds
# differ by 2 to 4 mm. For the CNN, QAT is 6 mm better than as many epochs without it, and than no further
# training; with three seeds and deviations of 3 to 7 mm that is a hint, not a result. Nor do such
# differences decide the thesis's *"the PTQ technique performs slightly better than the QAT"* (by 3 mm, at 8
# and at 6 bits).

# %% [markdown]
# ## 5 · Quantisers, and where their ranges begin
#
# For fewer than eight bits there is no converter, but the training can be simulated. The quantisers of
# tfmot (TensorFlow's model optimization toolkit) differ in how their range follows the values, batch by
# batch:
#
# - **last value**: the range becomes that of the batch;
# - **moving average**: it moves a thousandth of the way towards that of the batch;
# - **all values**: it is widened to include the batch, and never narrowed.
#
# All of them keep zero inside the range. By hand: after a batch from −1 to 2 a range from −6 to 6 becomes
# (−1, 2), or (−5.995, 5.996), or stays (−6, 6).


# %% [markdown]
# ### Your turn: a range that follows


# %% tags=["exercise"] exercise="moved"
def moved(kind, low, high, values):
    """The range (low, high) after a batch of values, for a kind of quantiser.

    kind: "last value", "moving average" or "all values". The batch's range always includes zero.
    """
    ### BEGIN SOLUTION
    lowest, highest = min(values.min(), 0), max(values.max(), 0)
    if kind == "last value":
        return lowest, highest
    if kind == "moving average":
        return low + 0.001 * (lowest - low), high + 0.001 * (highest - high)
    return min(low, lowest), max(high, highest)
    ### END SOLUTION


# %% tags=["check"] exercise="moved" points=4
with check(
    "a range that follows",
    exercise="moved",
    what="the example by hand, a batch above zero, and one step of `population.train` with each kind.",
    why="a quantiser's step is its range by its codes: whoever sets the range sets the step.",
) as c:
    batch = np.array([-1.0, 0.5, 2.0])
    c.close("last value", moved("last value", -6.0, 6.0, batch), (-1, 2), tolerance=1e-6)
    c.close("moving average", moved("moving average", -6.0, 6.0, batch), (-5.995, 5.996), tolerance=1e-6,
            misconceptions=[
                ((-1.005, 2.004), "A thousandth of the way, not all but a thousandth."),
                ((-6.001, 6.002), "Towards the batch: add a thousandth of the *difference*."),
            ])
    c.close("all values", moved("all values", -0.5, 6.0, batch), (-1, 6), tolerance=1e-6, misconceptions=[
        ((-0.5, 2), "Widened, never narrowed: the lower of the lows, the higher of the highs."),
    ])
    c.close("a batch above zero", moved("last value", -6.0, 6.0, batch + 2), (0, 4), tolerance=1e-6,
            misconceptions=[((1, 4), "Zero has to be inside: a ReLU gives many.")])
    x, y = held_now.x_train, held_now.y_train
    for kind, start in (("last value", 6), ("moving average", 6), ("all values", 0)):
        member = Member(scheme=Scheme(inputs=Quantizer(kind, 8)))
        theirs_now = population.train([member], (x, y), settings=Settings(1, batch=len(x))).ranges[0][:, 0]
        c.close(f"one step of labkit's, {kind}", moved(kind, -float(start), float(start), x), theirs_now,
                tolerance=1e-5)

# %% [markdown]
# The thesis chooses the *moving average* for weights. Its range begins at ±6, while the weights of such a
# network lie within about ±1: with four bits, a range of ±6 has a step of 0.86, and every weight below 0.43
# is rounded to **zero**. After $n$ steps towards a width $w$ the range is $w + (6 - w) \cdot 0.999^n$.
#
# By hand: how many steps bring it to within 10 % of $w$ = 0.5? From $0.05 = 5.5 \cdot 0.999^n$ follows $n =
# \ln(0.05 / 5.5) / \ln 0.999 = 4{,}698.1$, so 4,699 steps. An epoch here has 30.


# %% [markdown]
# ### Your turn: how long until the range has arrived


# %% tags=["exercise"] exercise="steps_until"
def steps_until(width, excess, start=6.0, rate=0.001):
    """The least number of steps (int) after which a moving range is at most (1 + excess) · width."""
    ### BEGIN SOLUTION
    return int(np.ceil(np.log(excess * width / (start - width)) / np.log(1 - rate)))
    ### END SOLUTION


# %% tags=["check"] exercise="steps_until" points=3
with check(
    "until the range is there",
    exercise="steps_until",
    what="the example by hand, and two ranges moved step by step.",
    why="a training that ends before its ranges have arrived has tested the ranges, not the bits.",
) as c:
    c.equal("width 0.5, to within 10 %", steps_until(0.5, 0.1), 4699, misconceptions=[
        (4698, "After 4,698 steps it is not there yet: round up."),
        (2389, "At most (1 + excess) · width: what is left of the way is excess · width, of start − width."),
        (4786, "The way is from the start to the width: start − width."),
    ])
    for width, excess in ((1.2, 0.05), (0.2, 0.5)):
        high, n = 6.0, 0
        while high > (1 + excess) * width:
            high, n = high + 0.001 * (width - high), n + 1
        c.equal(f"width {width}, step by step", steps_until(width, excess), n)

# %%
steps = -(-len(held_now.x_train) // Settings().batch)  # of an epoch
widest = np.median([max(np.abs(w).max() for w in weights[::2]) for weights in mlps.weights])
after = steps_until(widest, 0.1)
print(f"the trained MLPs' largest weight is {widest:.2f}: {after:,} steps, {after / steps:.0f} epochs")
rows = {}
short = (10, 30, 60) if not full else (10, 30, 100, 300, 1000)
for kind, epochs in itertools.product(("moving average", "last value"), short):
    scheme = Scheme(Quantizer(kind, 4, symmetric=True, narrow_range=True), Quantizer("last value", 8))
    found = explored(f"{kind.split()[0]}_{epochs}", [Member(scheme=scheme, seed=SEED + i) for i in range(RUNS)],
                     epochs)
    rows.setdefault(kind, {})[epochs] = errors_of(found).mean()
for epochs in short:
    found = explored(f"float_{epochs}", [Member(seed=SEED + i) for i in range(RUNS)], epochs)
    rows.setdefault("floating point", {})[epochs] = errors_of(found).mean()
pd.DataFrame(rows).rename_axis("epochs").round(4)

# %% [markdown]
# The table shows the mean ADE (m) with 4 bits for weights and 8 for activations; only the quantiser of the
# weights differs. After 30 epochs the moving average gives 0.48 m and the last value 0.34, like floating
# point: a table made at this point would call one of the two quantisers bad. After 100 epochs they differ
# by 3 mm, and from 300 on by less than runs do. The 147 epochs that your function computes lie in between:
# the difference was in how long the range takes to arrive. After the thesis's 1,000 epochs four bits for
# weights cost nothing here: 0.297 m, against 0.298 in floating point.
#
# **The thesis's Table 3.3** compares seven combinations of settings on the CNN, with three pairs of bits,
# by the best of ten runs. Here are all of them on the MLP, and in `full` the pair 4-8 on the CNN too, by
# their means and the deviation between runs. The CNN has a weight decay, which pulls the kernels towards
# zero while a moving average comes down from ±6; so it is trained twice, once from ±6 and once with a range
# that begins at the range of the initial weights.

# %%
SETTINGS = {  # weights: kind, symmetric, narrow; activations: the same
    1: (("moving average", True, True), ("moving average", False, False)),
    2: (("moving average", False, True), ("moving average", False, True)),
    3: (("moving average", False, False), ("moving average", False, False)),
    4: (("last value", False, True), ("last value", False, True)),
    5: (("moving average", True, True), ("last value", False, False)),
    6: (("moving average", False, False), ("last value", False, False)),
    7: (("moving average", True, True), ("last value", True, True)),
}


def scheme_of(number, weight_bits, activation_bits, measured=False):
    """One of the table's settings; `measured`: a moving average begins with the weights' own range."""
    (w, ws, wn), (a, a_s, an) = SETTINGS[number]
    weights = Quantizer(w, weight_bits, ws, wn, measured=measured and w == "moving average")
    return Scheme(weights, Quantizer(a, activation_bits, a_s, an))


pairs = pareto.HARDWARE
runs = (2, 10)[full]
members = [Member(scheme=scheme_of(n, *pair), seed=SEED + i)
           for n in SETTINGS for pair in pairs for i in range(runs)]
errors = errors_of(explored("quantisers", members, EPOCHS)).reshape(len(SETTINGS), len(pairs), runs)
columns = {f"MLP {w}-{a}": errors[:, k].mean(axis=1) for k, (w, a) in enumerate(pairs)}
columns["± of runs"] = errors.std(axis=2, ddof=1).mean(axis=1)
if full:
    from_six = [Member(Cnn(), scheme_of(n, 4, 8), SEED) for n in SETTINGS]
    members = [Member(Cnn(), scheme_of(n, 4, 8, measured=True), SEED + i) for n in SETTINGS for i in range(2)]
    of_cnn = errors_of(explored("quantisers_cnn", members, CNN_EPOCHS)).reshape(len(SETTINGS), 2)
    columns |= {"CNN 4-8 from ±6, one run": errors_of(explored("quantisers_cnn_six", from_six, CNN_EPOCHS)),
                "CNN 4-8": of_cnn.mean(axis=1), "± CNN": of_cnn.std(axis=1, ddof=1)}
rows = measure.published("09", "Battiato").query("table == 'Table 3.3'")
columns |= {f"thesis, CNN 4-{a}": rows.loc[rows["technique"].str.endswith(f" 4-{a}"), "value"].to_numpy()
            for _, a in pairs}
p = [stats.f_oneway(*errors[:, k]).pvalue for k in range(len(pairs))]
print("no difference between the settings on the MLP:",
      ", ".join(f"p = {value:.2g} ({w}-{a})" for value, (w, a) in zip(p, pairs, strict=True)))
pd.DataFrame(columns, index=pd.Index(SETTINGS, name="setting")).round(3)

# %% [markdown]
# On the MLP one setting stands out, with four bits for both: number 7, with 0.324 m where the others have
# 0.305 to 0.310. Its activations are *symmetric*; since the outputs of a ReLU are never negative, half of
# the fifteen codes are never used. With 8 or 16 bits for activations no setting differs from the others (p
# = 0.7 and 0.9). The CNN at 4-8 has 0.269 to 0.275 m with every setting, which is within what two runs
# differ by. The thesis's choice, a moving average for weights and the last value for activations, is as
# good as any other here. Its advantage of 0.291 over 0.353 m, each the best of ten, does not repeat, and
# *"the quantizers actually affect more the result than the other parameters"* is not confirmed.
#
# What does matter is where the range *begins*. From ±6, six of seven CNNs end at 0.65 m: they always answer
# with the middle of the room. Only setting 4, which uses the last value, learns. In the others the weight
# decay has pulled the kernels to zero before the range had come down far enough to represent them. (The
# thesis's CNNs survived: at a tenth of this learning rate, over 1,000 epochs, and with an L2 penalty whose
# strength it does not state.)

# %% [markdown]
# ## 6 · 225 designs
#
# Two to sixteen bits for weights, and as many for activations: the thesis trains each of these 225 pairs
# ten to thirty times for 1,000 epochs, one `model.fit` after the other.
#
# **Predict.** Which of the two matters more for the MLP, the bits of weights or those of activations?

# %%
my_guess = predict(
    "weights or activations",
    "from 8 bits for both: which one hurts more when it goes down to 3?",
    choices=["weights", "activations", "both alike"],
    answer=None,
)

# %%
BITS = tuple(range(2, 17))
SURFACE_RUNS = (1, 10)[full]
designs = [(w, a) for w in BITS for a in BITS]
members = [Member(scheme=Scheme.of_thesis(w, a), seed=SEED + i) for w, a in designs for i in range(SURFACE_RUNS)]
started = time.perf_counter()
surface = explored("surface", members, EPOCHS)
spent = time.perf_counter() - started
quantised = errors_of(surface).reshape(len(designs), SURFACE_RUNS)
print(f"{len(members):,} networks, {EPOCHS} epochs each: {spent:.0f} s (a moment, if they were kept)")
table = pd.DataFrame(designs, columns=["weight bits", "activation bits"])
table["bits of both"] = table["weight bits"] + table["activation bits"]
table["ADE (m)"], table["best ADE (m)"] = quantised.mean(axis=1), quantised.min(axis=1)
as_map = table.pivot(index="weight bits", columns="activation bits", values="ADE (m)")
plots.show(
    plots.heat_map(as_map, "bits of activations", "bits of weights", "mean ADE (m)", 2, higher_is_better=False),
    alt="Mean ADE of the MLP over bits of weights (rows) and activations (columns), 2 to 16: "
    "0.38 to 0.40 m with two bits for activations, 0.33 to 0.35 with three, near 0.31 with four; from five on 0.29 to 0.31, "
    "but for the row of two bits for weights, which stays near 0.32.",
)

# %%
plots.show(
    plots.lines(as_map.loc[[2, 3, 4, 6, 8, 16]].T.rename(columns=lambda bits: f"{bits} bits"),
                x="bits of activations", y="mean ADE (m)", levels=[errors_of(mlps).mean()]),
    alt="Mean ADE of the MLP over the bits of activations, a line for 2, 3, 4, 6, 8 and 16 bits of weights, the "
    "dotted line the mean of float networks: all fall steeply up to four bits for activations; with three and more bits for "
    "weights they then run along the float networks' 0.30 m, with two they stay 2 cm above.",
)
least = table.loc[table.groupby("activation bits")["best ADE (m)"].idxmin()].set_index("activation bits")
least[["weight bits", "best ADE (m)"]].round(3).astype(object).T

# %%
at = table.set_index(["weight bits", "activation bits"])["ADE (m)"]
hurt = at[3, 8] - at[8, 8], at[8, 3] - at[8, 8]
reveal("weights or activations", my_guess,
       "both alike" if abs(hurt[0] - hurt[1]) < 0.005 else "weights" if hurt[0] > hurt[1] else "activations",
       f"weights {100 * hurt[0]:+.1f} cm, activations {100 * hurt[1]:+.1f} cm.")
ref = errors_of(mlps)
shares = {}
for name, values in (("mean of the runs", table["ADE (m)"]), ("best of the runs", table["best ADE (m)"])):
    worse = 100 * (values / ref.mean() - 1)
    counts = pd.cut(worse, [-np.inf, -5, 0, 5, 10, 30, np.inf], labels=[
        "better by 5 % or more", "better", "worse by up to 5 %", "5 to 10 %", "10 to 30 %", "30 % and more"])
    shares[name] = 100 * counts.value_counts(sort=False, normalize=True)
pd.DataFrame(shares).rename_axis("than the mean of float networks").round(1)

# %% [markdown]
# The map has a step at the left, one at the top, and a plain in between. From five bits for activations and
# three for weights on, nothing changes by more than runs do. It is *activations* that matter more here:
# three bits for them cost 3 cm, three bits for weights nothing. The thesis says the opposite, "the weight
# resolution is more important"; its curves, each the best of ten to thirty runs, are "always over this
# range" with two and three bits for weights. In `quick`, after 60 epochs, the same is true here: the
# weights' ranges have not arrived yet, which does not mean that weights need more bits.
#
# Now look at the last table. A third of the designs lie below the mean of the float networks, none of them
# by 5 %. Take the *best* of each design's ten runs instead, and 77 % of them do. The thesis found that 67 %
# of its quantised designs, each with its best run, are at least as good as the float network, and concluded
# that quantisation helps.
#
# **The CNN** is trained by the same call; TensorFlow trains the networks of a group together. In `full`
# these are 25 pairs of bits, in `quick` two, and too briefly to say anything. The ranges of the weights
# begin at the range of the initial weights.

# %%
CNN_BITS = (2, 4, 6, 8, 16) if full else (4, 8)
cnn_designs = [(w, a) for w in CNN_BITS for a in CNN_BITS if full or w == a]
cnn_runs = (1, 2)[full]
members = [Member(Cnn(), Scheme.of_thesis(w, a, narrow_activations=True, measured=True), SEED + i)
           for w, a in cnn_designs for i in range(cnn_runs)]
cnn_surface = explored("surface_cnn", members, CNN_EPOCHS)
cnn_quantised = errors_of(cnn_surface).reshape(len(cnn_designs), cnn_runs)
cnn_table = pd.DataFrame(cnn_designs, columns=["weight bits", "activation bits"])
cnn_table["bits of both"] = cnn_table["weight bits"] + cnn_table["activation bits"]
cnn_table["ADE (m)"], cnn_table["best ADE (m)"] = cnn_quantised.mean(axis=1), cnn_quantised.min(axis=1)
cnn_ref = errors_of(cnns)
if full:
    plots.show(
        plots.heat_map(cnn_table.pivot(index="weight bits", columns="activation bits", values="ADE (m)"),
                       "bits of activations", "bits of weights", "mean ADE (m)", 3, higher_is_better=False),
        alt="Mean ADE of the CNN over bits of weights (rows) and activations (columns): 0.7 to 1.6 m with "
        "two bits for activations, 0.28 to 0.30 with four, 0.27 to 0.29 with more; only two bits for weights cost another "
        "centimetre.",
    )
theirs = measure.published("09", "Battiato").query("model == 'CNN'")
theirs = theirs[theirs["metric"] == ADE.name].drop_duplicates("technique").set_index("technique")["value"]
rows = {"float": {"here, mean": cnn_ref.mean(), "±": cnn_ref.std(ddof=1), "best": cnn_ref.min(),
                  "thesis, best": theirs["float"]}}
for (w, a), values in zip(cnn_designs, cnn_quantised, strict=True):
    if f"QAT {w}-{a}" in theirs or (w, a) == (8, 8):
        rows[f"QAT {w}-{a}"] = {
            "here, mean": values.mean(), "±": values.std(ddof=1) if len(values) > 1 else np.nan,
            "best": values.min(), "thesis, best": theirs.get(f"QAT {w}-{a}", np.nan)}
        for seed, value in zip(lab.seeds, values, strict=False):
            lab.record(f"QAT {w}-{a}", {ADE: value}, "CNN", seed)
rows = pd.DataFrame.from_dict(rows, orient="index").rename_axis("CNN, ADE (m)")
for name in ("here, mean", "thesis, best"):
    rows[f"{name}, against float (%)"] = 100 * (rows[name] / rows.loc["float", name] - 1)
measure.printed(rows.round({name: 1 for name in rows if "(%)" in name}), 3)

# %% [markdown]
# With two bits for activations the CNN does not learn to locate anybody. From four bits on it does, and six
# for activations with four for weights are as good as any design: more bits change no more than two runs of
# one design differ by. Even weights of two bits, which are −1, 0 or 1 times a scale, cost only about a
# centimetre. The thesis's rule that activations should have "at least" as many bits as weights, and better
# twice as many, fits this map. So does its order at four bits for weights: 4-4 loses most, 4-8 and 4-16
# little.
#
# Two runs are few. With 6 bits for both, here are as many runs as in floating point, and the interval of
# the difference:

# %%
if full:
    scheme = Scheme.of_thesis(6, 6, narrow_activations=True, measured=True)
    six = errors_of(explored("fair_cnn_6_6", [Member(Cnn(), scheme, 5000 + i) for i in range(CNN_RUNS)], CNN_EPOCHS))
    gap, percent = selection.compare(six, cnn_ref, 1), 100 / cnn_ref.mean()
    print(f"{len(six)} runs with 6 bits: {six.mean():.4f} ± {six.std(ddof=1):.4f} m; {len(cnn_ref)} in floating point: "
          f"{cnn_ref.mean():.4f} ± {cnn_ref.std(ddof=1):.4f} m")
    print(f"the difference is {percent * gap.value:+.1f} % ({percent * gap.low:+.1f} to {percent * gap.high:+.1f} %)")
else:
    print("that takes the full profile.")

# %% [markdown]
# With six bits for both the CNN's error is 1.6 % larger than in floating point (0.1 to 3.2 %). The thesis's
# *"within the 5%"* is confirmed. Its own 5.1 % compare the best of 30 runs with one network, and the 4 % in
# the table above rest on two runs.
#
# **During training.** The thesis also plots losses over epochs: the validation loss of the float MLP
# follows the training loss for a hundred epochs and then *"starts to diverge"*, that of the quantised
# networks is *"extremely noisy"*, and the CNNs stop learning *"in the very first epochs"*.

# %%
rows = {}
for name, network, epochs, narrow in (("MLP", Mlp(), EPOCHS, False), ("CNN", Cnn(), CNN_EPOCHS, True)):
    if narrow and not full:
        continue
    schemes = {"float": None, "6-6": Scheme.of_thesis(6, 6, narrow, measured=narrow)}
    found = explored(f"curves_{name}", [Member(network, scheme, SEED) for scheme in schemes.values()], epochs, True)
    curves = pd.DataFrame({f"{scheme}, {part}": found.history[i, :, k] for i, scheme in enumerate(schemes)
                           for k, part in enumerate(("training", "validation"))}, range(1, epochs + 1))
    plots.show(
        plots.lines(curves.iloc[epochs // 50:], x="epoch", y=f"{name}: mean squared error (m²)"),
        alt=f"Mean squared error of the {name} after each epoch but the first {epochs // 50}, in floating point and "
        "with 6 bits for both, on training and validation samples: "
        + ("they fall together for some hundred epochs; then training falls on, the float network's validation rises "
           "slowly, and that with 6 bits jumps up and down above it." if name == "MLP" else
           "training falls for some 20 epochs, validation for some 70, and both networks' lines lie on one another."),
    )
    for i, scheme in enumerate(schemes):
        loss, validation = found.history[i].T
        rows[f"{name}, {scheme}"] = {
            "best epoch": found.record["best epoch"][i], "validation, best (m²)": validation.min(),
            "validation, last (m²)": validation[-1], "training, last (m²)": loss[-1],
            "validation's step from epoch to epoch, last half (%)":
                100 * np.abs(np.diff(validation[epochs // 2:])).mean() / validation[epochs // 2:].mean(),
        }
pd.DataFrame.from_dict(rows, orient="index").astype({"best epoch": int}).rename_axis("network").round(4)

# %% [markdown]
# The MLP's curves are like the thesis's: the validation error turns upwards while the training error keeps
# falling, and with six bits it changes by 3.3 % from epoch to epoch, where the float network's changes by
# 0.4 %. "Extremely noisy" is confirmed, and it has a consequence: the epoch with the *least* value of a
# noisy curve is kept. The best values of the two are 0.058 and 0.057 m², though the quantised network's
# curve lies above the other nearly everywhere. The CNN's curves are not like the thesis's. Its validation
# error falls for some 70 epochs instead of rising after the first ones, the best epochs are 131 and 124,
# and floating point is as noisy as six bits.

# %% [markdown]
# ## 7 · The Pareto front
#
# There are two aims: a small error and few bits. A design is *beaten* if another one is no worse in both
# and better in one. The designs that are not beaten form the **front**, named after Pareto.
#
# By hand: of (bits, error) = (8, 0.4), (12, 0.3), (12, 0.35), (10, 0.5), (8, 0.4) the first two and the
# last are on the front; equal designs do not beat one another.


# %% [markdown]
# ### Your turn: the front


# %% tags=["exercise"] exercise="on_front"
def on_front(costs):
    """Which rows (bool, (N,)) of costs (N, aims) no other row beats; less is better."""
    ### BEGIN SOLUTION
    beats = [((costs <= one).all(axis=1) & (costs < one).any(axis=1)).any() for one in costs]
    return ~np.array(beats)
    ### END SOLUTION


# %% tags=["check"] exercise="on_front" points=3
with check(
    "the front",
    exercise="on_front",
    what="the example by hand, three aims, and `explore.pareto`.",
    why="of 225 designs a handful are worth a second look.",
) as c:
    toy = np.array([[8, 0.4], [12, 0.3], [12, 0.35], [10, 0.5], [8, 0.4]])
    c.equal("by hand", on_front(toy), [True, True, False, False, True], misconceptions=[
        ([False, True, False, False, False], "Equal designs do not beat one another."),
        ([True, True, True, False, True], "(12, 0.35) has as many bits as (12, 0.3) and errs more: no worse in "
         "one, and better in the other, is enough."),
        ([False, False, False, False, False], "A design does not beat itself."),
    ])
    random = np.random.default_rng(0).integers(0, 6, (80, 3))
    theirs_front = pareto.front(pd.DataFrame(random, columns=list("abc")), list("abc")).index
    c.equal("80 designs of three aims", np.flatnonzero(on_front(random)), sorted(theirs_front))

# %%
for name, one, level, column in (("MLP", table, ref.mean(), "ADE (m)"), ("CNN", cnn_table, cnn_ref.mean(), "ADE (m)")):
    one = one[one[column] < 2 * level]  # those that have learnt
    if len(one) < 10:
        continue
    mask = on_front(one[["bits of both", column]].to_numpy())
    best = one[mask].sort_values("bits of both")
    marked = pareto.hardware_friendly(one)
    plots.show(
        plots.designs(one, best, marked, "bits of both", column, level, ["weight bits", "activation bits"]),
        alt=f"Mean ADE of the {name} over the sum of weight and activation bits: grey dots are all designs, "
        "blue ones those that nothing beats, squares 4-4, 4-8 and 4-16, the line the mean of float networks. "
        + ("The front falls to that line with nine bits, 4-5, and goes on along it, a few millimetres below."
           if name == "MLP" else "The front ends at 4-6, half a centimetre above the line."),
    )
    volume = pareto.hypervolume(one, ["bits of both", column], (32, level))
    print(f"{name}: {mask.sum()} designs on the front; they beat the float network's {level:.3f} m by "
          f"{1000 * volume:.1f} mm·bits (hypervolume up to 32 bits)")

# %%
rows = {}
if SURFACE_RUNS > 1:  # does a front found by some runs stay one with others?
    half = SURFACE_RUNS // 2
    for name, values in ((f"best of {half} runs", quantised[:, :half].min(axis=1)),
                         (f"mean of {half} runs", quantised[:, :half].mean(axis=1))):
        mask = on_front(np.stack([table["bits of both"], values], axis=1))
        again = quantised[mask, half:].mean(axis=1)
        rows[name] = {"on the front": mask.sum(), "their ADE, as found (m)": values[mask].mean(),
                      "with as many other runs (m)": again.mean(),
                      "below the float mean, as found": np.sum(values[mask] < ref.mean()),
                      "and with other runs": np.sum(again < ref.mean())}
if rows:
    display(pd.DataFrame.from_dict(rows, orient="index").rename_axis("front by").round(4))
else:
    print("one run per design: that takes the full profile.")

# %% [markdown]
# The MLP's front reaches the float networks' line with nine bits, four for weights and five for
# activations, and then runs along it, up to 4 mm below. The thesis would call such designs better. But they
# were judged by the very runs that selected them. The table uses five runs of each design to find a front
# and five others to judge it: of the four or five designs below the line not one stays there. A front of
# *best runs* moves most, from 0.306 to 0.326 m.
#
# Of the thesis's "hardware optimum" points 4-8 and 4-16 lie on the float networks' line, and 4-4 lies 8 mm
# above it; in the thesis all three are better than floating point. For the CNN 4-6 is as good as any design
# with more bits, so 4-8 and 4-16 are beaten; no design lies below the line, and 4-4 is too far above it to
# be in the picture.

# %% [markdown]
# ## 8 · The winner's curse
#
# The thesis reports *"even a performance improvements by around 10% for the MLP"*: 0.390 m with 6 bits for
# both, 0.433 m in floating point. But 0.390 is the least of 225 designs with ten to thirty runs each, and
# 0.433 is one design. Where the thesis itself tries more float designs, its 31 numbers of neurons, the
# least of them is 0.397 m.
#
# How small is the least of $k$ runs on average? Sort $n$ measured runs, $x_{(1)} \le \dots \le x_{(n)}$,
# and draw $k$ of them with replacement. All $k$ are the $i$-th or later with probability $(1 - (i-1)/n)^k$,
# so
#
# $$E_k = \sum_{i=1}^{n} x_{(i)} \left[\left(1 - \tfrac{i-1}{n}\right)^k - \left(1 - \tfrac{i}{n}\right)^k\right].$$
#
# By hand: of 1, 2, 4 the least of $k = 2$ draws is 1 with probability $1 - (2/3)^2 = 5/9$, 2 with $3/9$ and
# 4 with $1/9$: on average $15/9$.


# %% [markdown]
# ### Your turn: the best of k


# %% tags=["exercise"] exercise="expected_best"
def expected_best(runs, k):
    """The mean of the least of k draws, with replacement, from runs (n,)."""
    ### BEGIN SOLUTION
    ordered, n = np.sort(runs), len(runs)
    above = (1 - np.arange(n + 1) / n) ** k
    return np.sum(ordered * (above[:-1] - above[1:]))
    ### END SOLUTION


# %% tags=["check"] exercise="expected_best" points=4
with check(
    "the best of k",
    exercise="expected_best",
    what="the example by hand, one draw, drawn bests, and `selection.best_of`.",
    why="two figures compare if as many runs stand behind both.",
) as c:
    toy = np.array([4.0, 1.0, 2.0])
    c.close("by hand", expected_best(toy, 2), 15 / 9, misconceptions=[
        (1.0, "That is the least of all runs, not of k draws."),
        (4 / 3, "That is without replacement: of three runs two different ones."),
        (7 / 3, "That is the mean: one draw."),
        (4 * 5 / 9 + 1 / 3 + 2 / 9, "Sort the runs first."),
        (1 * 1 / 9 + 2 * 3 / 9 + 4 * 5 / 9, "That is the greatest of the draws: the least run has the largest "
         "weight."),
    ])
    c.close("one draw is the mean", expected_best(toy, 1), 7 / 3)
    random = np.random.default_rng(0)
    runs = random.normal(size=40)
    drawn = np.min(random.choice(runs, (40_000, 5)), axis=1).mean()
    c.between("40,000 times the best of 5", expected_best(runs, 5) - drawn, -0.02, 0.02)
    c.close("labkit's", expected_best(runs, 12), selection.best_of(runs, 12).value, tolerance=1e-9)

# %% [markdown]
# **Predict.** Now for the control that the thesis lacks. Take float networks, all of one kind, as many as
# the study has runs; only their seeds differ. *Call* them 225 designs, and take the best run of the best
# one.

# %%
my_guess = predict(
    "225 designs that are none",
    f"the best run of 225 × {SURFACE_RUNS} float networks that differ in nothing but their seed, against their mean:",
    choices=["better by less than 2 %", "better by 2 to 5 %", "better by more than 5 %"],
    answer=None,
)

# %%
members = [Member(seed=1000 + i) for i in range(len(designs) * SURFACE_RUNS)]
null = errors_of(explored("null", members, EPOCHS)).reshape(len(designs), SURFACE_RUNS)
one = null.mean()
gain = 100 * (1 - null.min() / one)
reveal("225 designs that are none", my_guess,
       "better by less than 2 %" if gain < 2 else "better by 2 to 5 %" if gain <= 5 else "better by more than 5 %",
       f"by {gain:.1f} %: {null.min():.3f} m against {one:.3f} m, for nothing.")
rows = {}
for name, values in (("225 quantised designs", quantised), ("225 times the same float design", null)):
    rows[name] = {"mean of all (m)": values.mean(), "± of runs (m)": np.sqrt(values.var(axis=1).mean()),
                  "best design's mean (m)": values.mean(axis=1).min(), "best run (m)": values.min(),
                  "best run against the float mean (%)": 100 * (values.min() / one - 1)}
    if SURFACE_RUNS > 1:
        rows[name]["the winner, judged by runs that did not choose it (m)"] = selection.winner(values).value
pd.DataFrame.from_dict(rows, orient="index").T.round(4)

# %% [markdown]
# The best of 2,250 runs of quantised networks has an error of 0.284 m, 4.7 % less than float networks have
# on average. The best of as many runs of *one* float network has 0.283 m, 5.1 % less. Picking the best is
# worth five per cent here, whatever one picks from. Judged by runs that did not choose it, the winner has
# 0.300 m, against 0.298 in floating point: nothing is left of the gain. (The thesis's bests of ten scatter
# by 12 mm where ours scatter by 2.5, so there picking is worth more.)
#
# **As many against as many.** To compare a design fairly, compare its runs with as many float runs: the
# difference of the means, and of the expected best of ten, with 95 % intervals by the bootstrap.

# %%
fair, pool = {}, null.ravel()
for w, a in ((4, 4), (4, 8), (4, 16), (5, 7), (6, 6), (6, 11), (8, 8), (16, 16)):
    extra = explored(f"fair_{w}_{a}", [Member(scheme=Scheme.of_thesis(w, a), seed=5000 + i)
                                      for i in range((6, 60)[full])], EPOCHS)
    values = errors_of(extra)
    for seed, value in zip(lab.seeds, quantised[designs.index((w, a))], strict=False):
        lab.record(f"QAT {w}-{a}", {ADE: value}, "MLP", seed)  # begun as the float files were
    mean, best = (selection.compare(values, pool, k) for k in (1, 10))
    fair[f"{w}-{a}"] = {
        "mean (m)": values.mean(), "best of 10 (m)": selection.best_of(values, 10).value,
        "mean less float's (mm)": 1000 * mean.value, "from": 1000 * mean.low, "to": 1000 * mean.high,
        "best of 10 less float's (mm)": 1000 * best.value, "from ": 1000 * best.low, "to ": 1000 * best.high}
fair["float"] = {"mean (m)": pool.mean(), "best of 10 (m)": selection.best_of(pool, 10).value}
shown = pd.DataFrame.from_dict(fair, orient="index").rename_axis("weights-activations")
measure.printed(shown.round({name: 1 for name in shown if "(m)" not in name}), 4)

# %% [markdown]
# With six bits for both, the thesis's winner, runs differ from float runs by +0.1 mm on average (−1.4 to
# +1.7), the best of ten by −0.8 mm (−2.2 to +1.4). Ten per cent would be 30 mm. That quantisation improves
# the MLP is refuted on these data; on the thesis's own it has not been shown. Four bits for both cost 9 mm
# (7 to 11). All other designs lie within 3 mm of floating point. One interval, for the best of ten with
# 4-16, lies entirely below zero (−4.2 to −1.1): runs with four-bit weights differ more from one another,
# and that helps a best. Of the fourteen intervals without 4-4, chance alone would place about one outside.

# %% [markdown]
# ## 9 · Paths with stairs
#
# The thesis explains its gain like this: *"degrading the representational precision, the quantized models
# in average start to be wrong less than the float32 thanks to their stair shape"*. That can be tested
# without any training: round the *float* network's outputs to as many steps as the activations' bits give.
#
# **Predict.** What do the stairs alone do to the error?

# %%
my_guess = predict(
    "stairs alone",
    "the float MLP's path, each coordinate rounded to 16 values: its ADE",
    choices=["falls by 1 % or more", "changes by less than 1 %", "rises by 1 % or more"],
    answer=None,
)


# %%
def stairs(path, bits):
    """A path whose coordinates are rounded to 2^bits values between its ends."""
    low, high = path.min(), path.max()
    step = (high - low) / (2**bits - 1)
    return low + step * np.round((path - low) / step)


number = {design: k * SURFACE_RUNS for k, design in enumerate(designs)}
shown_path = {f"{w}-{a}": surface.predict(now.x_test, range(number[w, a], number[w, a] + SURFACE_RUNS))
              for w, a in ((4, 4), (4, 8), (4, 16), (5, 3), (6, 6), (16, 16))}
rows = {}
for name, runs in ({"float": paths["MLP"]} | shown_path).items():
    rows[name] = judge(runs, data.y_test)
    rows[f"{name}, Kalman filter"] = judge(np.stack([kalman(p) for p in runs]), data.y_test)
for bits in (3, 4, 6):
    rows[f"float, rounded to {2**bits} values"] = judge(np.stack([stairs(p, bits) for p in paths["MLP"]]), data.y_test)
rows["the person"] = {name: walked[name] for name in walked if "difference" in name}
stepped = pd.DataFrame.from_dict(rows, orient="index").rename_axis("path")
change = 100 * (stepped.loc["float, rounded to 16 values", "ADE (m)"] / stepped.loc["float", "ADE (m)"] - 1)
reveal("stairs alone", my_guess,
       "changes by less than 1 %" if abs(change) < 1 else "falls by 1 % or more" if change < 0 else
       "rises by 1 % or more", f"{change:+.2f} %, in the mean of {len(paths['MLP'])} networks.")
measure.printed(stepped, 4)

# %% [markdown]
# Stairs alone do not help: 64 steps change nothing, 16 cost nearly 2 %, eight cost 8 %. So the thesis's
# explanation is refuted here, along with what it explains. Its warning, that one should look at the shape
# of the paths, is right, and goes further than it says. In second differences 4-4 and 5-3 are worse than
# floating point by 4 and 8 %, but floating point itself is eight times as jumpy as the person. What draws a
# path that nobody could walk is a network of a single sample, not its bits; a filter removes nearly three
# quarters of the jumps, from 4-4 too, which then has an error of 0.248 m.
#
# Choose the bits, and look at the path. On this page it is drawn for 4 and 4; in JupyterLab there are
# sliders.

# %%
def path_with(weight_bits, activation_bits):
    """The path that a design's first run draws, beside the person's and the float network's."""
    own = surface.predict(now.x_test, [number[weight_bits, activation_bits]])[0]
    name = f"{weight_bits}-{activation_bits}"
    error, second = judged(data.y_test, own)
    figure = plots.tracks({"the person": data.y_test[:150], "float": paths["MLP"][0][:150], name: own[:150]},
                          simulator.RATE)
    return figure, (f"x and y over 50 seconds, the person's, the float MLP's and those of a network with "
                    f"{weight_bits} bits for weights and {activation_bits} for activations: ADE {error:.3f} m, "
                    f"second differences of {second:.2f} m on average.")


widgets.choose(path_with, {"weight_bits": 4, "activation_bits": 4}, weight_bits=BITS, activation_bits=BITS)

# %% [markdown]
# ## 10 · The LSTM, which can be quantised after all
#
# *"Not possible"*, says the thesis, with TensorFlow 2.2. Today's converter knows the operator. A cell with
# $u$ units computes four gates from its inputs and its own last output, in Keras's order input, forget,
# candidate, output:
#
# $$z = x W + h U + b, \qquad c' = \sigma(z_f)\, c + \sigma(z_i) \tanh z_g, \qquad h' = \sigma(z_o) \tanh c'.$$
#
# By hand, with one unit and $z$ = 0 throughout: the gates are ½ and the candidate is 0, so $c' = c/2$; with
# $c = 2$, $h' = ½ \tanh 1 = 0.381$.


# %% [markdown]
# ### Your turn: a step of an LSTM


# %% tags=["exercise"] exercise="lstm_step"
def lstm_step(x, h, c, W, U, b):
    """Outputs and states (h', c') after a step. x (N, inputs); h, c (N, units); W, U, b as Keras has them."""
    ### BEGIN SOLUTION
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=1)
    c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    return np.tanh(c) / (1 + np.exp(-o)), c
    ### END SOLUTION


# %% tags=["check"] exercise="lstm_step" points=4
with check(
    "a step of an LSTM",
    exercise="lstm_step",
    what="the example by hand, saturated gates, and 30 steps against Keras's layer.",
    why="the state c is the one number in this lab without a bound: it is what quantisation has to fear.",
) as c:
    zero = np.zeros((1, 4)), np.zeros((1, 1)), np.array([[2.0]]), np.zeros((4, 4)), np.zeros((1, 4))
    h, state = lstm_step(*zero, np.zeros(4))
    c.close("state, by hand", state, [[1.0]])
    c.close("output, by hand", h, [[0.5 * np.tanh(1)]], misconceptions=[
        ([[0.5 * np.tanh(2)]], "The output is of the new state."), ([[0.5]], "tanh of the state."),
    ])
    h, state = lstm_step(*zero, np.array([50.0, -50, 0.5, 50]))
    c.close("forget all, take the candidate", state, [[np.tanh(0.5)]], misconceptions=[
        ([[2.0]], "The second quarter is the forget gate."),
        ([[2 + np.tanh(0.5)]], "A forget gate of 0 forgets."),
        ([[1.0]], "The third quarter is the candidate."),
    ])
    layer = lstms[0].get_layer("lstm")
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    some = data.x_test[:40]
    h = state = np.zeros((len(some), layer.units))
    for t in range(some.shape[1]):
        h, state = lstm_step(some[:, t], h, state, *weights)
    c.close("30 steps of the trained layer", h, layer(some).numpy(), tolerance=1e-4)

# %% [markdown]
# **Predict.** In integers, sixty-two parameters take one byte each instead of four. What does that do to
# the file?

# %%
my_guess = predict(
    "an LSTM in integers",
    "the int8 file of the LSTM, against the float file, is",
    choices=["a quarter as large", "about as large", "larger"],
    answer=None,
)

# %%
lstm, x = lstms[0], data.x_train
rows, contents = {}, {}
for kind in ("float", "dynamic_range", "int8", "int16x8"):
    try:
        content = post_training.convert(lstm, kind, x)
    except RuntimeError as error:
        print(f"{kind}: {str(error).strip().splitlines()[0]}")
        continue
    contents[kind] = content
    figures, found = deployed("LSTM", kind.replace("_", " "), content, f"sweep/09_lstm_{kind}.tflite")
    rows[kind.replace("_", " ")] = {
        "bytes": figures["bytes"], "ADE (m)": figures[ADE.name],
        "from the float path (m)": judged(paths["LSTM"][0], found)[0],
        "tensors in int8": sum(t.type == "int8" and t.data is not None for t in measure.read_graph(content).tensors),
    }
ratio = rows["int8"]["bytes"] / rows["float"]["bytes"]
reveal("an LSTM in integers", my_guess,
       "a quarter as large" if ratio < 0.5 else "about as large" if ratio < 1.1 else "larger",
       f"{rows['int8']['bytes']:,} against {rows['float']['bytes']:,} bytes: the graph, the scales and sixteen-bit "
       "states weigh more than 62 parameters.")
pd.DataFrame.from_dict(rows, orient="index").astype({"bytes": int, "tensors in int8": int}).round(4)

# %%
clip = next(op.options["cell_clip"] for op in measure.read_graph(contents["float"]).operators if "LSTM" in op.name)
layer = lstm.get_layer("lstm")
weights = [w.astype(np.float64) for w in layer.get_weights()]


def largest_state(windows):
    """The largest |c| of each window, by your LSTM."""
    h = state = np.zeros((len(windows), layer.units))
    largest = np.zeros(len(windows))
    for t in range(windows.shape[1]):
        h, state = lstm_step(windows[:, t], h, state, *weights)
        largest = np.maximum(largest, np.abs(state).max(axis=1))
    return largest


reached = largest_state(data.x_test)
still = np.repeat(data.x_test[:, :1], 300, axis=1)  # somebody who stands still for 100 s
print(f"the file clips states at ±{clip:g}; on the test windows |c| reaches {reached.max():.2f}, "
      f"and {largest_state(still).max():.2f} where somebody stands still for 100 s")

# %% [markdown]
# Dynamic-range quantisation changes nothing: the converter leaves tensors of fewer than 1,024 values as
# they are, and none here is larger. 16x8 is refused: the converter has no such LSTM.
#
# In integers the LSTM has an error of 0.274 m, in floating point of 0.272, and the two paths lie 1.2 cm
# apart. So it can be quantised after all. Whether that is worthwhile is another question: the file is a
# kilobyte larger, and what it saves is the floating-point arithmetic.
#
# The converter clips states at ±10, and Keras does not: the float file of an LSTM whose state goes beyond
# is a different network. This one stays far from it, at 2.0 on the walk and 3.0 where somebody stands still
# for a hundred seconds. That has to be checked anew for each training.

# %% [markdown]
# ## 11 · An MLP in integers, by hand
#
# The parameters in the MLP's file are a few hundred numbers. One of its dense layers, in integers alone
# (lab 04), computes
#
# $$q_y = Z_y + M \Bigl(b + \sum_k q_{w,k}\,(q_{x,k} - Z_x)\Bigr), \qquad M = \frac{S_x S_w}{S_y} = m \cdot 2^{s - 31}.$$
#
# A microcontroller need not subtract $Z_x$ from every input. By hand: with $q_w = (2, −3)$, $b = 10$ and
# $Z_x = 5$ the sum is $10 + 2 (q_1 − 5) − 3 (q_2 − 5) = 15 + 2 q_1 − 3 q_2$ for every input, so the bias to
# store is 15.


# %% [markdown]
# ### Your turn: a bias that knows the zero point


# %% tags=["exercise"] exercise="folded_bias"
def folded_bias(codes, bias, zero_x):
    """Biases (int, (units,)) for sums over codes alone. codes: int (units, inputs); bias: int (units,)."""
    ### BEGIN SOLUTION
    return bias - zero_x * codes.sum(axis=1, dtype=np.int64)
    ### END SOLUTION


# %% tags=["check"] exercise="folded_bias" points=3
with check(
    "a bias that knows",
    exercise="folded_bias",
    what="the example by hand, and 32 units with every input of a batch.",
    why="what is known before the first sample costs nothing at the second.",
) as c:
    c.equal("by hand", folded_bias(np.array([[2, -3]]), np.array([10]), 5), [15], misconceptions=[
        ([5], "q − Z: the term has a minus."), ([10], "The zero point's share is missing."),
    ])
    random = np.random.default_rng(0)
    codes, bias = random.integers(-127, 128, (32, 4)).astype(np.int8), random.integers(-5000, 5000, 32)
    q = random.integers(-128, 128, (9, 4))
    c.equal("sums of 32 units", q @ codes.T.astype(int) + folded_bias(codes, bias, -103),
            (q + 103) @ codes.T.astype(int) + bias, misconceptions=[
                (q @ codes.T.astype(int) + bias - (codes * -103).sum(axis=1),
                 "Sum in a wide type: codes are int8, and eight bits overflow."),
            ])

# %% [markdown]
# Then the sum is multiplied by $M$, without floating point: by an integer $m$ and a shift, rounded once,
# halves upwards. The zero point is added, and the result is clipped to eight bits.
#
# By hand: for a sum of 100, $m = 3 \cdot 2^{29}$ and $s = −1$, so $M = 0.375$: $37.5$ becomes 38, and with
# $Z_y = −128$ the code is −90.


# %% [markdown]
# ### Your turn: multiply by a fraction in integers


# %% tags=["exercise"] exercise="scaled_sum"
def scaled_sum(total, m, s, zero_y):
    """The code (int, −128 to 127) of one sum. total, m, s, zero_y: Python ints, s ≤ 0; no floats.

    m · total · 2^(s − 31), rounded once, halves upwards: add half of the last place and shift.
    """
    ### BEGIN SOLUTION
    shift = 31 - s
    scaled = (total * m + (1 << (shift - 1))) >> shift
    return max(-128, min(127, scaled + zero_y))
    ### END SOLUTION


# %% tags=["check"] exercise="scaled_sum" points=3
with check(
    "multiply by a fraction",
    exercise="scaled_sum",
    what="the example by hand, negative sums, saturation, and `affine.requantize` on 500 sums.",
    why="one code in a thousand that is off by one is what 'almost right' looks like.",
) as c:
    m = 3 << 29
    c.equal("by hand", scaled_sum(100, m, -1, -128), -90, misconceptions=[
        (-91, "Half of the last place is missing: 37.5 is rounded up."),
        (-53, "s shifts, too: 31 − s places."),
    ])
    c.equal("a negative sum", scaled_sum(-100, m, -1, 0), -37, misconceptions=[
        (-38, "Halves *upwards*: −37.5 becomes −37."),
    ])
    c.equal("saturated", [scaled_sum(t, m, 0, 5) for t in (900, -900)], [127, -128], misconceptions=[
        ([680, -670], "Codes end at −128 and 127."), ([132, -123], "The zero point first, then the limits."),
    ])
    random = np.random.default_rng(0)
    sums = random.integers(-40_000, 40_000, 500)
    m, s = affine.quantize_multiplier(0.00237)
    c.equal("500 sums", [scaled_sum(int(t), m, s, -7) for t in sums],
            affine.requantize(sums.astype(np.int32), m, s, -7))

# %%
def layers_of(content):
    """Of each dense layer of an int8 file what C needs, biases folded by you."""
    graph = measure.read_graph(content)
    found = []
    for operator in graph.operators:
        x, w, b = (graph.tensors[i] if i >= 0 else None for i in operator.inputs)
        y = graph.tensors[operator.outputs[0]]
        bias = np.zeros(w.shape[0], int) if b is None else b.codes
        factors = [affine.quantize_multiplier(float(x.scales[0]) * float(scale) / float(y.scales[0]))
                   for scale in np.broadcast_to(w.scales, w.shape[:1]).astype(np.float64)]
        found.append({"codes": w.codes, "bias": folded_bias(w.codes, bias, int(x.zero_points[0])),
                      "factors": factors, "zero": int(y.zero_points[0])})
    return found, graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]


def in_integers(q, layers):
    """Output codes of one sample's codes, by your functions."""
    for layer in layers:
        sums = [int(b) + sum(int(w) * v for w, v in zip(row, q, strict=True))
                for row, b in zip(layer["codes"], layer["bias"], strict=True)]
        q = [scaled_sum(t, m, s, layer["zero"]) for t, (m, s) in zip(sums, layer["factors"], strict=True)]
    return q


content = lab.path("localisation_mlp.tflite").read_bytes()
layers, entry, exit_ = layers_of(content)
q = affine.quantize(now.x_test, float(entry.scales[0]), int(entry.zero_points[0]))
mine = np.array([in_integers([int(v) for v in row], layers) for row in q])
of_file = measure.TFLiteModel(content, reference=True).predict(now.x_test)
of_file = np.round(of_file / exit_.scales[0]).astype(int) + int(exit_.zero_points[0])
print(f"{mine.size} output codes of {len(mine)} samples: {np.count_nonzero(mine != of_file)} differ from the file's")

# %% [markdown]
# The ReLU needs no operation of its own: the hidden layer's zero point is −128, where the codes end. The
# same in C, made of your numbers:

# %%
def c_array(kind, name, values):
    """A constant array of C."""
    return f"static const {kind} {name}[] = {{{', '.join(str(int(v)) for v in np.ravel(values))}}};\n"


def c_program(layers):
    """C99 of an MLP: integers alone, no library but <stdint.h>."""
    text = ["/* Made in lab 09: an MLP in integers, codes in and codes out. */\n#include <stdint.h>\n\n"]
    for i, layer in enumerate(layers):
        text += [c_array("int8_t", f"w{i}", layer["codes"]), c_array("int32_t", f"b{i}", layer["bias"]),
                 c_array("int32_t", f"m{i}", [m for m, _ in layer["factors"]]),
                 c_array("int8_t", f"s{i}", [s for _, s in layer["factors"]])]
    text.append("""
static void dense(const int8_t *x, int inputs, int8_t *y, int units, const int8_t *w,
                  const int32_t *b, const int32_t *m, const int8_t *s, int32_t zero) {
  for (int j = 0; j < units; ++j) {
    int32_t sum = b[j];
    for (int i = 0; i < inputs; ++i) sum += (int32_t)w[j * inputs + i] * x[i];
    int shift = 31 - s[j];
    int64_t code = (((int64_t)sum * m[j] + ((int64_t)1 << (shift - 1))) >> shift) + zero;
    y[j] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
  }
}

void localise(const int8_t *x, int8_t *y) {
""")
    sizes = [layers[0]["codes"].shape[1], *(len(layer["codes"]) for layer in layers)]
    for i, layer in enumerate(layers):
        out = "y" if i == len(layers) - 1 else f"h{i}"
        text.append("" if out == "y" else f"  int8_t {out}[{sizes[i + 1]}];\n")
        given = "x" if i == 0 else f"h{i - 1}"
        text.append(f"  dense({given}, {sizes[i]}, {out}, {sizes[i + 1]}, w{i}, b{i}, m{i}, s{i}, {layer['zero']});\n")
    return "".join([*text, "}\n"])


MAIN = """#include <stdio.h>
int main(void) {
  int8_t x[4], y[2];
  while (fread(x, 1, 4, stdin) == 4) { localise(x, y); fwrite(y, 1, 2, stdout); }
  return 0;
}
"""
source = files.write_text(lab.path("firmware/localisation_mlp.c"), c_program(layers))
constants = sum(layer["codes"].size + 4 * len(layer["bias"]) + 5 * len(layer["factors"]) for layer in layers)
print(f"{source.name}: {constants} bytes of constants; the file has {len(content):,}")
compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
if compiler is None:
    print("there is no C compiler here: the C stays unproven.")
else:
    main = files.write_text(lab.path("firmware/main.c"), source.read_text() + MAIN)
    program = lab.path("firmware/main").resolve()
    subprocess.run([compiler, "-std=c99", "-O2", "-Wall", "-Werror", "-o", program, main], check=True)
    answer = subprocess.run([program], input=q.astype(np.int8).tobytes(), capture_output=True, check=True).stdout
    by_c = np.frombuffer(answer, np.int8).reshape(-1, 2)
    print(f"compiled and run: {np.count_nonzero(by_c != of_file)} of {by_c.size} codes differ from the file's")

# %% [markdown]
# Python's integers and C's give the same codes as the file, without exception. The numbers that C needs
# take 498 bytes, less than a third of the file; the rest of the file is the graph. There is no interpreter,
# no arena and no library.
#
# **And with an interpreter.** Here is what TensorFlow Lite Micro makes of this lab's files, and the arena
# that each of them needs:

# %%
device = {
    "MLP, float": lab.path("sweep/09_MLP_float.tflite"), "MLP, int8": lab.path("localisation_mlp.tflite"),
    "CNN, float": lab.path("sweep/09_CNN_float.tflite"), "CNN, int8": lab.path("localisation_cnn.tflite"),
    **{f"LSTM, {kind.replace('_', ' ')}": lab.path(f"sweep/09_lstm_{kind}.tflite") for kind in contents},
}
if micro.available():
    verdicts = micro.table(device)
else:
    print(micro.MISSING)
    verdicts = pd.DataFrame({"bytes": {name: path.stat().st_size for name, path in device.items()}})
verdicts

# %% [markdown]
# All of them run, the LSTM too. The int8 MLP needs a larger arena than the float one, though its
# activations take 48 bytes instead of 144: the interpreter also stores a scale, a multiplier and a shift
# for each of its units. The CNN's arena falls from 19 to 8 kB.

# %% [markdown]
# ## 12 · Why this took minutes
#
# Keras spends some milliseconds on each step of such a network, whatever its size; nearly all of that
# passes between the operations. `population.train` is one compiled loop, and threads share the members.
# First: is it the same training? Train one member with tfmot's quantisers and Keras's Adamax too, with all
# samples in one batch, so that their order does not matter:

# %%
member = Member(scheme=Scheme.of_thesis(6, 6), seed=SEED)
x, y = held_now.x_train, held_now.y_train
keras = reference.model(member, x.shape[1:], y.shape[1])
keras.compile(tf.keras.optimizers.Adamax(member.learning_rate), "mse")
keras.fit(x, y, batch_size=len(x), epochs=5, shuffle=False, verbose=0)
own = population.train([member], (x, y), settings=Settings(5, batch=len(x)))
gap = max(np.abs(a - b).max() for a, b in zip(own.weights[0], reference.weights_of(keras), strict=True))
print(f"after 5 steps (the best of them kept): weights differ by {gap:.1e} at most")

# %%
keras = reference.model(member, x.shape[1:], y.shape[1])
some = (10, 40)[full]


def spent(work):
    """Seconds that some work takes, by the clock and of the processor."""
    started = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - started


def fit(epochs):
    """Train by model.fit, its graphs being traced anew."""
    reference.fit(keras, member, (x, y), (held_now.x_test, held_now.y_test), epochs)


spent(lambda: fit(1))  # the first one takes longer
by_keras = (spent(lambda: fit(1 + some)) - spent(lambda: fit(1))) / some  # an epoch of a member, tracing taken away
sample = [Member(scheme=Scheme.of_thesis(w, a), seed=SEED) for w, a in designs[:: (6, 1)[full]]]
epochs = (60, 200)[full]
by_us = spent(lambda: population.train(sample, *parts(sample[0].network), Settings(epochs))) / len(sample) / epochs
both = np.stack([by_keras, by_us])
print(f"population.train is {by_keras[0] / by_us[0]:.0f} times as fast by the clock, and takes "
      f"{by_keras[1] / by_us[1]:.0f} times less of the processor")
pd.DataFrame(np.hstack([1000 * both, 225 * 10 * 1000 * both / 60]), ["model.fit", "population.train"], pd.MultiIndex.from_product(
    [["ms per epoch and member", "minutes of the study, extrapolated"], ["clock", "processor"]])).round(3)

# %% [markdown]
# The study of section 6, with 225 designs, ten runs and 1,000 epochs, takes 6.7 minutes of processor time,
# 3.4 by the clock on two cores. `model.fit` would take 61 hours of it, 544 times as much, and 53 by the
# clock. (Section 6 itself took 337 s when these outputs were made: other work was running beside it.)
#
# The studies of this lab are on the command line too. They resume where they stopped, and run in several
# processes or on a Dask cluster (the extra `cluster`); any function of your own can be called in the same
# way, with `mine.py:cost` in place of `mlp-bits`:
#
# ```bash
# labkit sweep mlp-bits --results mlp_bits.sqlite --jobs 2
#
# dask scheduler --port 8786                    # or on several machines
# dask worker tcp://127.0.0.1:8786 --nworkers 2
# labkit sweep mlp-bits --results mlp_bits.sqlite --scheduler tcp://127.0.0.1:8786
# ```
#
# From Python, `sweep(..., jobs=2)` or `sweep(..., scheduler="tcp://127.0.0.1:8786")` gives the same
# results.

# %% [markdown]
# ## The ledger

# %%
report = lab.report(device=True)
columns = [name for name in ("model", ADE.column, ADE.spread, "second difference (m)", "bytes", "gzip (bytes)",
                             "microcontroller", "arena (bytes)") if name in report]
measure.printed(report[columns], 4)

# %%
everything = measure.summary(lab.ledger.table(), lab.metrics).query(f"lab == '{lab.number}'")
everything = everything[(everything["data"] == data.label) & (everything["profile"] == PROFILE)
                        & everything["bytes"].notna()]
everything = everything.assign(technique=everything["model"] + ", " + everything["technique"])
best = measure.front(everything, metric=ADE)
plots.show(
    plots.front(everything, best, metric=ADE.column, higher_is_better=False),
    alt="Average distance error over the size of this lab's files: those of the MLP, 1.3 to 2.4 kB, near "
    "0.30 m; those of the LSTM, 3.2 and 4.2 kB, near 0.27; those of the CNN, 39 and 144 kB, at 0.264 to 0.27.",
)

# %% [markdown]
# ## Published against measured

# %%
lab.compare("int8", "QAT int8", "QAT 6-6", "QAT 4-4", "QAT 4-8", "QAT 4-16", "QAT 5-7", "QAT 6-11")

# %% [markdown]
# This lab's rows are means over the first seeds, three for most and two for the CNN's pairs of bits; a
# "lost" of 1 cm or less is within what seeds differ by. As in the thesis, int8 costs next to nothing, and
# 4-4 costs the CNN most. Unlike in the thesis, the MLP gains nothing from six bits, and 6-6 has no
# advantage over its neighbours.
#
# The thesis compares the sizes of Keras's HDF5 files with those of TFLite files. **The data are not the
# thesis's**: the noise and disturbances of the simulator were chosen so that networks that see a window err
# about as much as those of the thesis (its MLP errs a third less here). What can be compared is the effect
# of quantisation relative to floating point; metres cannot.

# %% [markdown]
# ## Questions
#
# Answer each in two or three sentences, with the figures that you measured.

# %% [markdown] tags=["written"] question="does_it_help" points=5
# **Does quantisation help the MLP, as the thesis says? What would it have had to compare?**
#
# <!-- BEGIN SOLUTION -->
# No. With six bits for both the mean of 60 runs differs from that of float runs by 0.1 mm (−1.4 to +1.7),
# the best of ten by −0.8 mm (−2.2 to +1.4). The thesis compares the best of 225 designs, with ten to thirty
# runs each, with one float design. Here the best of 2,250 float runs that differ in nothing but the seed is
# 5.1 % below their mean. The thesis would have had to compare the best of as many float runs, or the means,
# or to judge the winner by new runs. Its own best float network of 31 × 10 runs has 0.397 m, 2 % from
# 0.390.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="which_neurons" points=4
# **"Take 45 neurons: it is 8 % better than 32." What do you answer?**
#
# <!-- BEGIN SOLUTION -->
# The 8 % lie between the best run of one number of neurons, the luckiest of 31, and the best run of
# another. The thesis's own line is flat (−0.49 to +0.51 mm per neuron). Here 45 neurons are less than 1 %
# below the mean of all, and the ranks of its table do not repeat (−0.07). There is a trend, of 0.11 mm per
# neuron (0.06 to 0.17): thirteen more neurons are worth 1.5 mm. Anyone who wants 45 should show ten *new*
# runs of both.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="which_design" points=4
# **For a microcontroller without floating point and with 16 kB of flash, which network do you choose, and
# what do you put behind it? State error, smoothness and bytes.**
#
# <!-- BEGIN SOLUTION -->
# The MLP after QAT, 1,272 bytes, with a Kalman filter behind it, whose gain soon becomes a constant that
# integers can hold. In floating point that pair has an error of 0.24 m, with second differences of 16 cm
# instead of 56; int8 changes the MLP's error by 1 mm. The CNN has 39 kB and does not fit, and on other
# walks its error is 4 cm larger. The int8 LSTM fits, with 4.2 kB: 0.27 m, second differences of 29 cm;
# trained at a rate of 0.01, in floating point, it reaches 0.25 m, with many more multiplications per sample.
# <!-- END SOLUTION -->

# %% [markdown] tags=["written"] question="which_range" points=4
# **Why may a moving-average quantiser for weights look bad in a short training, and how would you find out
# whether it is the quantiser?**
#
# <!-- BEGIN SOLUTION -->
# Its range begins at ±6 and moves a thousandth of the way in each step. Until it has arrived, the
# quantiser's step is so wide that weights are rounded to zero, with four bits all those below 0.43. Here
# that takes some 4,400 steps, 147 epochs; after 30 the moving average gave 0.48 m and the last value 0.34,
# and from 300 on both gave the same. To find out, train until the range has arrived, or begin with the
# weights' own range; and check the weight decay, which may have emptied the network by then (0.65 m against
# 0.27 for the CNN).
# <!-- END SOLUTION -->

# %% [markdown]
# ## Summary
#
# - The slope of a sensor's response limits what one sample can tell; time adds the rest, by a network or a filter.
# - A mean error does not show how jumpy a path is; second differences do. And one test walk is a sample of one.
# - A trend needs an interval, and a best needs its number of runs: compare the best of as many.
# - A quantiser's range begins somewhere and needs time: train until it has arrived.
# - Calibrate on what covers the room, not on the empty one.
# - A few hundred integers and twenty lines of C make a network.
#
# **Further reading:** A. R. Akhmareh et al., *A tagless indoor localization system based on capacitive sensing
# technology*, Sensors 16 (2016) 1448 · O. Bin Tariq et al., *Performance of machine learning classifiers for
# indoor person localization with capacitive sensors*, IEEE Access 5 (2017) · J. Dodge et al., *Show your work:
# improved reporting of experimental results*, EMNLP 2019 · B. Jacob et al., *Quantization and training of
# neural networks for efficient integer-arithmetic-only inference*, CVPR 2018 · Y. Bar-Shalom et al.,
# *Estimation with applications to tracking and navigation* (2001).
#
# **Where to go on:** lab 10 brings fixed-point numbers to PULP's convolution engine.

# %% tags=["finish"]
lab.finish()
