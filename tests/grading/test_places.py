"""Lab 09's assignment: its files graded from end to end, on walks that nobody has seen."""

import io
import re

import numpy as np
import pytest

from labkit import course
from labkit.datasets import localisation
from labkit.grading import hidden
from labkit.grading.assignment import load

Q9 = load(course.root() / "grading" / "q9.yaml")
MLP, CNN = (file.name for file in Q9.files)


@pytest.fixture(scope="module")
def parts():
    """Windows of the lab's walk, for training and to choose on."""
    held = localisation.load("synthetic", seed=0).standardised().holdout(0.25)
    return localisation.windows(held)


@pytest.fixture(scope="module")
def contents(parts):
    """Files: an MLP trained by a population, a small CNN by Keras, and what was not asked for."""
    from labkit import runtime, training
    from labkit.compress import minimal, post_training
    from labkit.explore import population
    from labkit.explore.members import Member
    from labkit.explore.members import Settings as Training
    from labkit.models import localisation as networks

    now = localisation.latest(parts)
    member = Member(learning_rate=1e-2)
    own = population.train(
        [member], (now.x_train, now.y_train), (now.x_test, now.y_test), Training(150)
    )
    mlp = networks.mlp()
    mlp.set_weights([w.reshape(v.shape) for w, v in zip(own.weights[0], mlp.weights, strict=True)])
    runtime.set_seed(0)
    cnn = networks.cnn(filters=(8, 8), hidden=(16,))
    recipe = networks.NETWORKS["cnn"].RECIPES["quick"].but(epochs=12, learning_rate=1e-2)
    training.fit(cnn, parts, recipe, 0)

    def converted(model, mode, x):
        return minimal.for_device(post_training.convert(model, mode, x, batch=1))

    return {
        "mlp": converted(mlp, "int8", now.x_train),
        "cnn": converted(cnn, "int8", parts.x_train),
        "empty room": converted(mlp, "int8", now.x_train[:1] * 0.05),
        "float": converted(cnn, "float", None),
        "untrained": converted(networks.cnn(filters=(4, 4), hidden=()), "int8", parts.x_train),
    }


@pytest.fixture(scope="module")
def graded(contents, grade_files):
    """A class graded by q9's files: good, in each other's place, worse, and no network."""
    handed_in = {
        "good": ("mlp", "cnn"),
        "exchanged": ("cnn", "mlp"),
        "worse": ("empty room", "float"),
        "no network": ("cnn", "untrained"),
    }
    pairs = {name: [contents[content] for content in pair] for name, pair in handed_in.items()}
    return grade_files(Q9, pairs, samples=592)


def test_both_files_are_measured_on_the_same_windows(graded):
    """The MLP's on the last sample of each, the CNN's on all of it; either one in either place."""
    good, exchanged = (graded.grades[name]["models"] for name in ("good", "exchanged"))
    for one, other in ((MLP, CNN), (CNN, MLP)):
        assert good[one]["average distance error"] == pytest.approx(
            exchanged[other]["average distance error"]
        )
    assert 0.2 < good[MLP]["average distance error"] < 0.42
    assert 0.2 < good[CNN]["average distance error"] < 0.5


def test_good_files_earn_by_their_error(graded):
    mlp, cnn = graded.grades["good"]["items"]
    assert 0.4 * 20 < mlp["earned"] <= 20 and 0.3 * 24 <= cnn["earned"] <= 24
    assert "average distance error on the hidden windows" in graded.feedback("good")


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        (
            "worse",
            [
                r"average distance error on the hidden windows: \d\.\d+ m, asked for: at most 0\.5",
                r"types of the activations: float32, asked for: nothing but int8",
                r"type of the input: float32, asked for: nothing but int8",
            ],
        ),
        (
            "no network",
            [
                r"size of the file in bytes: [\d,]+, asked for: at most 4,000\.",
                r"average distance error on the hidden windows: \d\.\d+ m, asked for: at most 0\.5",
            ],
        ),
    ],
)
def test_other_files_earn_nothing_and_are_told_why(graded, name, reasons):
    assert graded.grades[name]["score"]["earned"] == 0
    page = graded.feedback(name)
    for reason in reasons:
        assert re.search(reason, page), reason


def test_the_reports_speak_of_windows_and_metres(graded):
    grades, out = graded
    says = "synthetic windows, drawn with a secret seed"
    assert grades["good"]["environment"]["hidden"]["source"] == says
    assert f"592 windows: {says}" in (out / "index.html").read_text("utf-8")
    board = (out / "leaderboard.html").read_text("utf-8")
    assert "windows" in board and "images" not in board and " m" in board


def test_an_own_split_is_read_by_both_kinds_of_files(tmp_path, parts):
    np.savez(tmp_path / "own.npz", x=parts.x_test, y=parts.y_test)
    split = hidden.make("auto", 1, b"", tmp_path / "own.npz", "localisation")
    assert split.latest and split.says == "the instructor's own windows"
    found = [int(np.flatnonzero((parts.x_test == one).all((1, 2)))[0]) for one in split.x]
    assert sorted(found) == [*range(len(parts.x_test))] != found  # all of them, in a secret order
    np.testing.assert_array_equal(split.y, parts.y_test[found])
    with np.load(io.BytesIO(split.to_bytes())) as stored:
        assert stored["latest"] and stored["scale"] == 1
