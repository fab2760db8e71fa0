"""Dataset: smaller sets keep the proportions of the classes."""

import subprocess
import sys

import numpy as np
import pytest

from labkit.datasets import Dataset, stratified


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [60, 30, 10])
    images = rng.random((100, 28, 28, 1), dtype=np.float32)
    return Dataset(
        "sign_mnist", "real", images, classes, images[::2], classes[::2], ("A", "B", "C")
    )


def test_describe(dataset):
    assert dataset.describe() == (
        "`sign_mnist`, real images: 100 for training, 50 for testing, 3 classes."
    )


def test_subset_is_stratified_and_repeats(dataset):
    small = dataset.subset(50, 20, seed=3)
    assert np.abs(np.bincount(small.y_train) - [30, 15, 5]).max() <= 1
    assert np.abs(np.bincount(small.y_test) - [12, 6, 2]).max() <= 1
    for image, label in zip(small.x_train, small.y_train, strict=True):
        (index,) = np.flatnonzero((dataset.x_train == image).all(axis=(1, 2, 3)))
        assert dataset.y_train[index] == label
    np.testing.assert_array_equal(small.x_train, dataset.subset(50, 20, seed=3).x_train)
    assert (small.y_train != dataset.subset(50, 20, seed=4).y_train).any()


def test_representative(dataset):
    images = dataset.representative(10, seed=0)
    assert images.shape == (10, 28, 28, 1) and images.dtype == np.float32
    assert len({image.tobytes() for image in images}) == 10


@pytest.mark.parametrize("count", [0, 101])
def test_more_than_there_are(count):
    with pytest.raises(ValueError, match=f"{count} items asked for, there are 100"):
        stratified(np.zeros(100, int), count, 0)


def test_data_sets_do_not_import_tensorflow():
    code = (
        "import sys, labkit.datasets.sign_mnist, labkit.datasets.registry; "
        "sys.exit(any(name.split('.')[0] in ('tensorflow', 'kaggle', 'kagglesdk') "
        "for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_measurements_are_drawn_without_classes_and_described_as_such():
    x, y = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10, dtype=np.float32)[:, None]
    places = Dataset("room", "synthetic", x, y, x, y, ("x (m)",))
    assert "synthetic samples, made by labkit" in places.describe()
    assert "10 for training, 10 for testing, to estimate x (m)." in places.describe()
    small = places.subset(4, 3, seed=1)
    assert len(small.x_train) == 4 and len(small.x_test) == 3
    np.testing.assert_array_equal(small.x_train[:, 0], 2 * small.y_train[:, 0])
    assert len(places.representative(5)) == 5
    with pytest.raises(ValueError, match="11 items asked for"):
        places.representative(11)
