"""The drawn hands: deterministic, of 24 kinds, and neither too easy nor too hard."""

import numpy as np
import pytest

from labkit.datasets import hands


@pytest.fixture(scope="module")
def drawn():
    classes = np.arange(2400) % 24
    return classes, hands.draw(classes, seed=0)


def test_shape_and_range(drawn):
    _, images = drawn
    assert images.shape == (2400, 28, 28, 1) and images.dtype == np.uint8
    assert images.min() < 20 and images.max() > 235
    assert 0.35 < images.mean() / 255 < 0.7
    assert images.std(axis=(1, 2)).min() > 2, "an image shows nothing"


def test_images_depend_on_seed_and_position_not_on_the_number(drawn):
    classes, images = drawn
    for count in (1, 239, 240, 241):
        np.testing.assert_array_equal(hands.draw(classes[:count], seed=0), images[:count])
    assert (hands.draw(classes[:240], seed=1) != images[:240]).mean() > 0.9
    assert len(hands.draw(classes[:0])) == 0


def test_other_people_in_the_test_images(drawn):
    classes, images = drawn
    test = hands.draw(classes[:240], seed=0, stream="test")
    assert (test != images[:240]).mean() > 0.9


def test_an_image_depends_on_its_own_class_alone(drawn):
    classes, images = drawn
    other = classes[:240].copy()
    other[7] = (other[7] + 5) % 24
    changed = (hands.draw(other, seed=0) != images[:240]).any(axis=(1, 2, 3))
    assert np.flatnonzero(changed).tolist() == [7]


def test_fingers_stand_where_the_letters_have_them():
    """The mean finger tips of every letter, in widths of the palm; x to the right, y up."""
    assert hands.LETTERS == "ABCDEFGHIKLMNOPQRSTUVWXY"
    rng = np.random.default_rng(0)
    _, ends, _ = hands._hands(np.repeat(np.arange(24), 100), hands._people(40, rng), rng)
    mean = ends.reshape(24, 100, -1, 3).mean(axis=1)
    pieces = {"index": 5, "middle": 9, "ring": 13, "little": 17, "thumb": 20}
    tips = {
        letter: {finger: mean[i, piece] for finger, piece in pieces.items()}
        for i, letter in enumerate(hands.LETTERS)
    }

    def raised(letter):
        return {finger for finger in list(pieces)[:4] if tips[letter][finger][1] > 0.95}

    assert {letter: raised(letter) for letter in "ABDFIKLRSUVWY"} == {
        "A": set(),
        "B": {"index", "middle", "ring", "little"},
        "D": {"index"},
        "F": {"middle", "ring", "little"},
        "I": {"little"},
        "K": {"index", "middle"},
        "L": {"index"},
        "R": {"index", "middle"},
        "S": set(),
        "U": {"index", "middle"},
        "V": {"index", "middle"},
        "W": {"index", "middle", "ring"},
        "Y": {"little"},
    }

    def gap(letter):
        return tips[letter]["index"][0] - tips[letter]["middle"][0]

    assert gap("R") < 0 < gap("U") < gap("V") - 0.3  # crossed, closed, spread
    assert all(tips[letter]["index"][0] < -0.8 for letter in "GH")  # pointing sideways
    assert all(tips[letter]["index"][1] < -0.5 for letter in "PQ")  # pointing down
    assert all(tips[letter]["thumb"][0] > 0.8 for letter in "LY")  # thumb stretched out
    thumbs = [tips[letter]["thumb"][0] for letter in "MNTA"]
    assert (np.diff(thumbs) > 0.1).all()  # under three fingers, two, one, none


def test_a_linear_classifier_is_not_enough(drawn):
    linear_model = pytest.importorskip("sklearn.linear_model")
    classes, images = drawn
    test_classes = np.arange(720) % 24
    test = hands.draw(test_classes, seed=0, stream="test")

    def flat(x):
        return x.reshape(len(x), -1) / np.float32(255) - np.float32(0.5)

    accuracy = [
        linear_model.RidgeClassifier(alpha=alpha)
        .fit(flat(images), classes)
        .score(flat(test), test_classes)
        for alpha in (10, 100)
    ]
    # Far above chance (4 %): there is something to learn; far below what a small network reaches.
    assert 0.2 < max(accuracy) < 0.7
