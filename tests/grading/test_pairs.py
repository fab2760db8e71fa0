"""Lab 11's assignment: its files graded from end to end, on cats and dogs drawn with a secret."""

import re

import numpy as np
import pytest

from labkit import course, runtime
from labkit.datasets import cifar10_pairs
from labkit.grading import GradingError, hidden
from labkit.grading.assignment import load

Q11 = load(course.root() / "grading" / "q11.yaml")
FLOAT, TINY = (file.name for file in Q11.files)


@pytest.fixture(scope="module")
def graded(grade_files):
    """A class graded by q11's files: good, floats, as large as it was, and untrained."""
    from labkit import training
    from labkit.compress import minimal, post_training
    from labkit.models import quantnet

    pictures = cifar10_pairs.CAT_DOG.synthesize(1500, 100, clutter=False)
    runtime.set_seed(0)
    whole, small, untrained = (
        quantnet.build(),
        quantnet.build((12, 16), (12, 16), dropout=0.0),
        quantnet.build(),
    )
    recipe = quantnet.RECIPES["quick"]
    training.fit(whole, pictures, recipe.but(epochs=3, learning_rate=1e-3), 0)
    training.fit(small, pictures, recipe.but(epochs=10, learning_rate=4e-3), 0)

    def converted(model, mode):
        content = post_training.convert(model, mode, pictures.x_train[:100], batch=1)
        return minimal.without_names(content)

    handed_in = {
        "good": (converted(whole, "float"), converted(small, "int8")),
        "floats": (converted(small, "float"), converted(small, "float")),
        "large": (converted(whole, "float"), converted(whole, "int8")),
        "untrained": (converted(untrained, "float"), b"no model"),
    }
    return grade_files(Q11, handed_in, samples=300)


def test_good_files_earn_their_points(graded):
    good = graded.grades["good"]
    assert all(good["models"][name]["accuracy"] >= 0.72 for name in (FLOAT, TINY))
    first, second = (item["earned"] for item in good["items"])
    assert first == 10
    size = good["models"][TINY]["bytes"]
    assert 12_000 < size < 50_000
    share = np.interp(size, [12_000, 20_000, 50_000], [1, 0.85, 0.5])
    assert second == pytest.approx(36 * share, abs=0.1)


@pytest.mark.parametrize(
    ("name", "earned", "reasons"),
    [
        (
            "floats",
            [0, 0],
            [
                r"number of parameters: 1\d,\d{3}, asked for: at least 545,800 and at most 546,000",
                r"types of the activations: float32, asked for: nothing but int8",
                r"type of the input: float32, asked for: nothing but int8",
            ],
        ),
        ("large", [10, 0], [r"size of the file in bytes: 5\d\d,\d{3}, asked for: at most 50,000"]),
        (
            "untrained",
            [0, 0],
            [
                r"accuracy on the hidden images: [3-6]\d\.\d\d %, asked for: at least 72\.00 %\.",
                r"quantnet_tiny\.tflite: the file: not a TFLite model",
            ],
        ),
    ],
)
def test_other_files_are_told_why(graded, name, earned, reasons):
    assert [item["earned"] for item in graded.grades[name]["items"]] == earned
    page = graded.feedback(name)
    for reason in reasons:
        assert re.search(reason, page), reason


def test_data_sets_that_are_objects_of_a_module():
    assert hidden.offered("cat_dog").source is cifar10_pairs.CAT_DOG
    own = hidden.offered("labkit.datasets.hidden_images:HORSE_FROG")
    assert own is hidden.offered("horse_frog")
    with pytest.raises(GradingError, match=r"no data set 'labkit.datasets.hidden_images:BIRDS'"):
        hidden.offered("labkit.datasets.hidden_images:BIRDS")
    with pytest.raises(GradingError, match="makes no hidden split"):
        hidden.offered("labkit.datasets.hidden_images:np")
