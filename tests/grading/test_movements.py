"""Lab 08's assignment: its files graded from end to end, on windows of people made up."""

import re

import numpy as np
import pytest

from labkit import course, runtime
from labkit.datasets import har_simulator, hidden_har, uci_har
from labkit.grading import GradingError, hidden
from labkit.grading.assignment import load

Q8 = load(course.root() / "grading" / "q8.yaml")
LIGHT, MICRO = (file.name for file in Q8.files)


@pytest.fixture(scope="module")
def windows():
    """Scaled windows of 108 people, and classes: enough strangers to learn from in seconds."""
    parts = [har_simulator.draw("train", 54, seed)[:2] for seed in range(36)]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return uci_har.scaled(x), y


@pytest.fixture(scope="module")
def networks(windows):
    """The slides' light network and a small separable one, trained; a light one that is not."""
    from labkit import training
    from labkit.models import har

    runtime.set_seed(0)
    found = {name: har.NETWORKS[name].build() for name in ("light", "separable_small")}
    for name, model in found.items():
        recipe = har.NETWORKS[name].RECIPES["quick"].but(epochs=8, augment=None)
        training.fit(model, windows, recipe, 0)
    return found | {"untrained": har.light()}


@pytest.fixture(scope="module")
def graded(networks, windows, grade_files):
    """A class graded by q8's files: good, as good but large, and what was not asked for."""
    from labkit.compress import minimal, post_training

    def converted(name, mode):
        return post_training.convert(networks[name], mode, windows[0][:200], batch=1)

    light, small = converted("light", "float"), converted("separable_small", "int8")
    handed_in = {
        "good": (light, minimal.for_device(small)),
        "as converted": (light, small),
        "floats": (converted("separable_small", "float"), converted("separable_small", "float")),
        "large": (converted("light", "float16"), converted("light", "int8")),
        "untrained": (converted("untrained", "float"), b"no model"),
    }
    return grade_files(Q8, handed_in, samples=240)


def test_good_files_earn_their_points(graded):
    good, large = (graded.grades[name] for name in ("good", "as converted"))
    assert [item["earned"] for item in good["items"]] == [10, pytest.approx(23.4, abs=0.2)]
    assert all(good["models"][name]["accuracy"] >= 0.9 for name in (LIGHT, MICRO))
    # Names and other things that no device reads cost bytes, and so points.
    assert [item["earned"] for item in large["items"]] == [10, pytest.approx(18.5, abs=1)]
    assert large["models"][MICRO]["accuracy"] == pytest.approx(
        good["models"][MICRO]["accuracy"], abs=0.02
    )
    assert "size of the file in bytes is" in graded.feedback("as converted")


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        (
            "floats",
            [
                r"number of parameters: 2,3\d\d, asked for: at least 40,000 and at most 40,400\.",
                r"types of the activations: float32, asked for: nothing but int8",
                r"type of the input: float32, asked for: nothing but int8",
                r"type of the output: float32, asked for: nothing but int8",
            ],
        ),
        (
            "large",
            [
                r"types of the weights: float16, asked for: nothing but float32\.",
                r"size of the file in bytes: 5\d,\d{3}, asked for: at most 16,000\.",
            ],
        ),
        (
            "untrained",
            [
                r"accuracy on the hidden windows: [1-6]\d\.\d\d %, asked for: at least 90\.00 %\.",
                r"har_micro\.tflite: the file: not a TFLite model",
            ],
        ),
    ],
)
def test_other_files_earn_nothing_and_are_told_why(graded, name, reasons):
    assert graded.grades[name]["score"]["earned"] == 0
    told = [reason for item in graded.grades[name]["items"] for reason in item["reasons"]]
    assert all(re.search(r"[^.]\.$", reason) for reason in told)
    page = graded.feedback(name)
    for reason in reasons:
        assert re.search(reason, page), reason


def test_the_reports_speak_of_windows(graded):
    grades, out = graded
    says = "synthetic windows, drawn with a secret seed"
    assert grades["good"]["environment"]["hidden"]["source"] == says
    assert grades["good"]["environment"]["hidden"]["samples"] == 240
    assert f"Accuracy on 240 windows that nobody has trained on ({says})" in graded.feedback("good")
    assert f"240 windows: {says}" in (out / "index.html").read_text("utf-8")
    for page in (graded.feedback("good"), (out / "leaderboard.html").read_text("utf-8")):
        assert "windows" in page and "images" not in page


def test_what_another_phone_changes_costs_a_network_little(networks, windows):
    x, y, _ = har_simulator.draw("test", 600, 99)
    changed = hidden_har.perturbed(x, np.random.default_rng(0))
    for name in ("light", "separable_small"):
        before, after = (
            np.mean(networks[name].predict(uci_har.scaled(w), verbose=0).argmax(axis=1) == y)
            for w in (x, changed)
        )
        assert abs(after - before) < 0.03, name


def test_an_own_split_of_windows(tmp_path):
    """Anybody's windows in g and rad/s become what files read."""
    x, y, _ = har_simulator.draw("test", 24, 5)
    np.savez(tmp_path / "own.npz", x=x.astype(float), y=y.astype(float))
    split = hidden.make("auto", 1, b"", tmp_path / "own.npz", "uci_har")
    assert split.says == "the instructor's own windows" and split.scale == 1
    places = [int(np.flatnonzero((uci_har.scaled(x) == one).all((1, 2)))[0]) for one in split.x]
    assert sorted(places) == [*range(24)] != places  # all of them, in a secret order
    np.testing.assert_array_equal(split.y, y[places])
    assert split.x.dtype == np.float32 and split.y.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, ::2], y), r"x has the shape \(24, 64, 9\) .* expected \(N, 128, 9\)"),
        (lambda x, y: (x[..., :6], y), r"expected \(N, 128, 9\) and \(N,\)"),
        (lambda x, y: (x, y[:5]), r"y \(5,\)"),
        (lambda x, y: (x * np.nan, y), "x holds something else than finite numbers"),
        (lambda x, y: (9.81 * x, y), "expected about 1: windows in g and rad/s"),
        (lambda x, y: (x, y + 1), "classes from 1 to 6, expected 0 to 5"),
    ],
)
def test_another_split_of_windows_is_refused(tmp_path, change, message):
    x, y = change(*har_simulator.draw("test", 24, 5)[:2])
    np.savez(tmp_path / "own.npz", x=x, y=y)
    with pytest.raises(GradingError, match=rf"own\.npz: .*{message}"):
        hidden.make("auto", 1, b"", tmp_path / "own.npz", "uci_har")
