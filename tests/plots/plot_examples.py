"""An example of every figure, and the texts that a figure shows."""

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit import measure, plots

RNG = np.random.default_rng(0)
LETTERS = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")


def a_report():
    return pd.DataFrame(
        {
            "accuracy (%)": [98.91, 98.90, 98.92, 98.71, 98.88, 98.95],
            "± (%)": [0.21, 0.22, 0.2, 0.35, 0.2, 0.28],
            "bytes": [157_344, 81_912, 44_520, 47_096, 48_032, 47_300],
        },
        index=pd.Index(
            ["float", "float16", "dynamic range", "int8", "16x8", "QAT int8"], name="technique"
        ),
    )


def a_front():
    report = a_report().reset_index().assign(data="real", profile="full")
    return report, report.iloc[[2, 5]]


def ranges():
    return pd.DataFrame(
        {"min": [0, 0, -24.0], "p0.5": [0.1, 0, -17], "p99.5": [0.9, 2.4, 11], "max": [1, 6.2, 18]},
        index=["image", "relu1", "logits"],
    )


def sweep():
    values = {"16x8": [98.9, 98.8, 98.7], "float": [98.9] * 3, "int8": [98.7, 81, 12]}
    return pd.DataFrame(values, index=[1, 64, 1024])


def staircase(x):
    return 0.25 * np.clip(np.round(x / 0.25), -4, 11)


def training(epochs=5):
    return {"loss": list(RNG.random(epochs)), "accuracy": list(RNG.random(epochs))}


def many_models(labs=7, each=6):
    """Files of several labs, most of them between 98 and 100 %."""
    random = np.random.default_rng(0)
    rows = [
        {
            "lab": f"{lab:02d}",
            "technique": f"technique {lab}.{i} of a long name",
            "model": "baseline",
            "accuracy (%)": 100 - 10 ** random.uniform(-2, 1.5),
            "bytes": 10 ** random.uniform(3.7, 5.3),
            "data": "real",
            "profile": "full",
        }
        for lab in range(1, labs + 1)
        for i in range(each)
    ]
    return pd.DataFrame(rows)


def values():
    return {"four bits": np.arange(-7, 8) / 8, "ternary": np.array([-1, 0, 1])}


def weights():
    w = RNG.normal(0, 0.3, (500,))
    return w, {name: np.round(w * n) / n for name, n in [("a", 2), ("b", 4), ("c", 8), ("d", 16)]}


def nanojoules():
    return pd.DataFrame(
        {"operations": [600.0, 200, 100], "memory": [80.0, 70, 65]},
        index=["8-bit", "4-bit", "ternary"],
    )


def two_groups():
    table = pd.concat([many_models(3, 3), many_models(3, 3).assign(data="synthetic")])
    return table.reset_index(drop=True)


def grid():
    return pd.DataFrame(
        90 + RNG.random((5, 8)), index=[0.1, 0.5, 1, 2, 4], columns=np.arange(8) / 10
    )


def a_path(seed=0, count=150):
    return np.cumsum(np.random.default_rng(seed).normal(0, 0.1, (count, 2)), axis=0) + 1.5


def a_room():
    return plots.room(a_path(), np.array([[0, 1.5], [3, 1.5], [1.5, 0], [1.5, 3]]), 3)


def some_designs():
    bits = np.array([(w, a) for w in range(2, 9) for a in range(2, 9)])
    table = pd.DataFrame(bits, columns=["w", "a"]).assign(bits=bits.sum(axis=1))
    table["error (m)"] = 0.3 + 0.5 / table["w"] ** 2 + 0.3 / table["a"] ** 2
    front = table[(table["w"] - table["a"]).between(0, 1)].sort_values("bits")
    marked = table[(table["w"] == 4) & table["a"].isin((4, 8))]
    return plots.designs(table, front, marked, "bits", "error (m)", 0.33, ["w", "a"])


FIGURES = {
    "room": a_room,
    "tracks": lambda: plots.tracks({"the person": a_path(), "MLP": a_path(1), "CNN": a_path(2)}, 3),
    "designs": some_designs,
    "windows": lambda: plots.windows(
        RNG.normal(size=(6, 128, 3)), [f"activity {i}" for i in range(6)], "xyz", 50, "signal (g)"
    ),
    "heat map": lambda: plots.heat_map(grid(), "α", "σ", "accuracy (%)"),
    "montage": lambda: plots.montage(RNG.random((24, 28, 28, 1)), np.arange(24), LETTERS),
    "history": lambda: plots.history([training(), training()]),
    "history of two": lambda: plots.history([training(), training()], names=["4-bit", "ternary"]),
    "confusion": lambda: plots.confusion(*RNG.integers(0, 24, (2, 900)), LETTERS),
    "comparison": lambda: plots.comparison(a_report()),
    "comparison of two": lambda: plots.comparison(a_report().iloc[:2].drop(columns="± (%)")),
    "front": lambda: plots.front(*a_front()),
    "lines": lambda: plots.lines(sweep(), x="factor", y="test accuracy (%)", log_x=2),
    "weights": lambda: plots.weight_histogram(RNG.normal(0, 0.1, (16, 3, 3, 1)), 0.3 / 127),
    "four-bit weights": lambda: plots.weight_histogram(RNG.normal(0, 0.1, 999), 0.3 / 7, bits=4),
    "ranges": lambda: plots.activation_ranges(ranges()),
    "ranges and steps": lambda: plots.activation_ranges(ranges(), steps=True),
    "staircase": lambda: plots.quantization_steps(staircase, -1.5, 3.5),
    "levels": lambda: plots.quantizer_values(values()),
    "rounded": lambda: plots.rounded_values(*weights(), label="weight"),
    "energy": lambda: plots.energy(nanojoules()),
    "front of many": lambda: plots.front(many_models(), measure.front(many_models())),
    "front of two groups": lambda: plots.front(two_groups(), measure.front(two_groups())),
}


def texts(figure):
    """The texts that a figure shows, each with its box in dots."""
    FigureCanvasAgg(figure).draw()
    found = list(figure.texts)
    for ax in figure.axes:
        found += [*ax.texts, ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
        for axis in filter(lambda axis: axis.get_visible(), (ax.xaxis, ax.yaxis)):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            found += [label for place, label in ticks if ax.axison and low <= place <= high]
    return [
        (t.get_text(), t.get_window_extent())
        for t in found
        if t.get_visible() and t.get_text().strip()
    ]
