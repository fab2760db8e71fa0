"""Hidden images: drawn or changed by the seed alone, never a public one."""

import os

import numpy as np
import pytest

from labkit.datasets import DataError, cifar10_pairs, hands, hidden_images

SEED, OTHER = [3, 1, 4, 1, 5], [2, 7, 1, 8, 2]
PAIR = hidden_images.CAT_DOG


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def on_disk(folder, batches, archive_of, monkeypatch):
    """A small real data set: two test images, a cat and a dog."""
    (folder / "cifar-10-python.tar.gz").write_bytes(archive_of(batches))
    for part, count in (("train", 10), ("test", 2)):
        monkeypatch.setitem(cifar10_pairs.CAT_DOG.rows, part, count)
    return PAIR.load("real")


def contents(images):
    return {image.tobytes() for image in images}


def are_offered(images, classes, count):
    assert images.shape == (count, 32, 32, 3) and images.dtype == np.uint8
    assert classes.shape == (count,) and classes.dtype == np.int64
    assert set(classes) <= {0, 1}


@pytest.mark.parametrize("count", [1, 7, 60])
def test_synthetic_images_are_balanced_and_depend_on_the_seed_alone(count):
    images, classes = PAIR.synthetic(count, SEED)
    are_offered(images, classes, count)
    assert abs(2 * classes.sum() - count) <= 1
    assert len(contents(images)) == count
    np.testing.assert_array_equal(PAIR.synthetic(count, SEED)[0], images)
    assert not contents(PAIR.synthetic(count, OTHER)[0]) & contents(images)


def test_public_images_are_those_of_the_quick_labs():
    public, classes = PAIR.public(40, of_real=False)
    are_offered(public, classes, 40)
    labs = cifar10_pairs.CAT_DOG.load("synthetic", quick=True)
    np.testing.assert_array_equal(public, np.round(labs.x_test[:40] * 255))
    assert not contents(PAIR.synthetic(100, SEED)[0]) & contents(public)


def test_pairs_differ():
    cats, frogs = (pair.synthetic(20, SEED)[0] for pair in (PAIR, hidden_images.HORSE_FROG))
    turned = hidden_images.ROTATED_CAT_DOG.synthetic(20, SEED)[0]
    assert not contents(cats) & contents(frogs) and not contents(cats) & contents(turned)


def test_real_images_are_changed_by_the_seed(on_disk):
    images, classes = PAIR.real(10, SEED)
    are_offered(images, classes, 2)
    np.testing.assert_array_equal(np.sort(classes), [0, 1])
    np.testing.assert_array_equal(PAIR.real(10, SEED)[0], images)
    assert not contents(PAIR.real(10, OTHER)[0]) & contents(images)
    public, labels = PAIR.public(10, of_real=True)
    are_offered(public, labels, 2)
    assert not contents(images) & contents(public)
    # A little changed: nearer to its own than to the other, in every channel.
    for image, label in zip(images.astype(float), classes, strict=True):
        far = np.abs(public - image).mean(axis=(1, 2))
        assert (far[labels == label] < far[labels != label]).all()


def test_images_of_anybody_are_taken_with_the_pair_s_classes():
    x, y = PAIR.synthetic(4, SEED)
    assert PAIR.own(x, y)[0] is x
    with pytest.raises(DataError, match="classes from 0 to 2, expected 0 to 1: cat, dog"):
        PAIR.own(x, np.array([0, 1, 2, 0]))


def test_perturbed_images_are_others_but_alike():
    images = hands.draw(np.arange(24), seed=1) / np.float32(255)
    changed = hidden_images.perturbed(images, np.random.default_rng(0))
    assert changed.shape == images.shape and changed.dtype == np.uint8
    difference = np.abs(changed / 255 - images).mean(axis=(1, 2, 3))
    assert (difference > 0.005).all() and (difference < 0.15).all()


def test_all_test_images_where_they_are_here():
    if not os.environ.get("LABKIT_DATA") or not PAIR.find():
        pytest.skip("LABKIT_DATA has no CIFAR-10")
    images, classes = PAIR.real(5000, SEED)
    are_offered(images, classes, 2400)
    assert np.bincount(classes).tolist() == [1200, 1200]
