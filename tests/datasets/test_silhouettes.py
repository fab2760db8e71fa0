"""The drawn pictures: deterministic, of ten kinds, their pairs in the order of difficulty."""

import numpy as np
import pytest

from labkit.datasets import silhouettes


@pytest.fixture(scope="module")
def drawn():
    classes = np.arange(1000) % 10
    return classes, silhouettes.draw(classes, seed=0)


def test_shape_and_range(drawn):
    _, images = drawn
    assert images.shape == (1000, 32, 32, 3) and images.dtype == np.uint8
    assert 0.35 < images.mean() / 255 < 0.65
    assert images.std(axis=(1, 2, 3)).min() > 4, "an image shows nothing"
    assert silhouettes.draw(np.arange(3), size=48).shape == (3, 48, 48, 3)


def test_images_depend_on_seed_and_position_not_on_the_number(drawn):
    classes, images = drawn
    for count in (1, 249, 250, 251):
        np.testing.assert_array_equal(silhouettes.draw(classes[:count], seed=0), images[:count])
    assert (silhouettes.draw(classes[:100], seed=1) != images[:100]).mean() > 0.9
    assert (silhouettes.draw(classes[:100], stream="test") != images[:100]).mean() > 0.9
    assert len(silhouettes.draw(classes[:0])) == 0


def test_an_image_depends_on_its_own_class_alone(drawn):
    classes, images = drawn
    other = classes[:250].copy()
    other[7] = (other[7] + 5) % 10
    changed = (silhouettes.draw(other, seed=0) != images[:250]).any(axis=(1, 2, 3))
    assert np.flatnonzero(changed).tolist() == [7]


def shape_of(name, size=64):
    """Where the silhouette is, upright and undistorted (size, size)."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = (a[None] for a in np.meshgrid(line, -line))
    still = np.zeros((8, 1, 1, 1), np.float32)
    return silhouettes._SILHOUETTES[name](x, y, still)[0] < 0


def overlap(a, b):
    one, other = shape_of(a), shape_of(b)
    return (one & other).sum() / (one | other).sum()


def test_every_class_has_a_shape_of_its_own_inside_the_picture():
    for name in silhouettes.CLASS_NAMES:
        shape = shape_of(name)
        assert 0.08 < shape.mean() < 0.5
        assert not shape[[0, -1]].any() and not shape[:, [0, -1]].any(), name


def test_cat_and_dog_are_closer_than_horse_and_frog():
    assert overlap("cat", "dog") > 0.7
    assert overlap("horse", "frog") < 0.5
    assert overlap("horse", "deer") > 0.7


def test_colours_say_nothing(drawn):
    neighbours = pytest.importorskip("sklearn.neighbors")
    classes, images = drawn
    colours = images.mean(axis=(1, 2))
    model = neighbours.KNeighborsClassifier(15).fit(colours[:700], classes[:700])
    assert model.score(colours[700:], classes[700:]) < 0.2  # chance is 0.1
