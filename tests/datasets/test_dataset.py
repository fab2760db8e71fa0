"""Dataset: smaller sets keep the proportions of the classes."""

import subprocess
import sys

import numpy as np
import pytest

from labkit.datasets import DataError, Dataset, stratified


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
    places = Dataset.from_arrays(
        "room", (x, y), (x, y), origin="synthetic", coordinates=("x",), unit="m"
    )
    assert "synthetic samples, made by labkit" in places.describe()
    assert "10 for training, 10 for testing, to estimate x (m)." in places.describe()
    small = places.subset(4, 3, seed=1)
    assert len(small.x_train) == 4 and len(small.x_test) == 3
    np.testing.assert_array_equal(small.x_train[:, 0], 2 * small.y_train[:, 0])
    assert len(places.representative(5)) == 5
    with pytest.raises(ValueError, match="11 items asked for"):
        places.representative(11)


X, Y, PLACES = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1]), np.ones((4, 2))


@pytest.mark.parametrize(
    ("train", "test", "about", "message"),
    [
        ((X, Y[:3]), (X, Y), {}, "x_train has 4 samples and y_train 3, expected as many"),
        ((X[:0], Y[:0]), (X, Y), {"class_names": "AB"}, "x_train has 0 samples"),
        ((X, Y), (X * np.inf, Y), {}, "x_test has values that are not finite"),
        ((X, PLACES * np.nan), (X, PLACES), {}, "y_train has values that are not finite"),
        ((X, Y), (X[:, :2], Y), {}, r"x has samples of \(3,\) in train and \(2,\) in test"),
        ((X, Y), (X, Y), {"class_names": "A"}, "y_train has classes 0 to 1, expected 0 to 0"),
        ((X, PLACES), (X, PLACES), {"class_names": "AB"}, "expected classes, integers"),
        ((X, Y.astype(str)), (X, Y.astype(str)), {}, "expected coordinates, floats"),
        (
            (X, PLACES),
            (X, PLACES),
            {"coordinates": "xyz"},
            r"is \(4, 2\), expected x, y, z",
        ),
        ((X, Y, Y), (X, Y), {}, "one part has groups and the other has none"),
        ((X, Y, Y[:3]), (X, Y, Y + 2), {}, r"groups_train is \(3,\), expected \(4,\)"),
        ((X, Y, Y), (X, Y, Y + 1), {}, "group 1 is in train and in test"),
        ((X, Y), (X, Y), {"origin": "drawn"}, "origin is 'drawn', expected real or synthetic"),
    ],
)
def test_arrays_that_do_not_go_together(train, test, about, message):
    with pytest.raises(DataError, match=f"data set 'mine': .*{message}"):
        Dataset.from_arrays("mine", train, test, **about)


def test_anybodys_arrays():
    images = np.full((4, 2, 2, 1), 255, np.uint8)
    data = Dataset.from_arrays("mine", (images, Y.astype(np.uint8)), (images.tolist(), Y))
    assert data.x_train.dtype == data.x_test.dtype == np.float32 and data.x_train.max() == 1
    assert data.class_names == ("0", "1") and data.source == "real" == data.label[-4:]
    line = Dataset.from_arrays("mine", (X, PLACES[:, 0]), (X, PLACES[:, 0]))
    assert line.y_train.shape == (4, 1) and "to estimate 1 coordinates." in line.describe()
    assert (line.standardised().x_train == 0).all()  # channels that never change


def test_too_few_to_hold_out():
    with pytest.raises(DataError, match=r"0\.1 of it cannot be held out: "):
        Dataset.from_arrays("mine", (X, Y), (X, Y)).holdout(0.1)


def test_a_harder_test_part(dataset):
    harder = dataset.corrupted(noise=0.1, contrast=0.5, seed=1)
    assert (harder.x_train == dataset.x_train).all() and (harder.y_test == dataset.y_test).all()
    assert (
        harder.x_test.dtype == np.float32 and 0 <= harder.x_test.min() <= harder.x_test.max() <= 1
    )
    assert harder.label == "sign_mnist, noise 0.1, contrast 0.5, real"  # not that of the data set
    n = harder.x_test - (0.5 + 0.5 * (dataset.x_test - 0.5))
    assert abs(n.mean()) < 2e-3 and abs(n.std() - 0.1) < 2e-3
    assert (harder.x_test == dataset.corrupted(0.1, 0.5, seed=1).x_test).all()
    assert (harder.x_test != dataset.corrupted(0.1, 0.5, seed=2).x_test).any()
    assert (dataset.corrupted(0).x_test == dataset.x_test).all()
    clipped = dataset.corrupted(1.0).x_test
    assert (clipped == 0).mean() > 0.1 and (clipped == 1).mean() > 0.1


def test_only_images_are_corrupted():
    data = Dataset.from_arrays(
        "made up", (np.ones((4, 3)), np.zeros(4, int)), (np.ones((2, 3)), np.zeros(2, int))
    )
    with pytest.raises(DataError, match="only images"):
        data.corrupted(0.1)


def test_a_part_of_the_test_part_has_its_classes_in_their_proportions(dataset):
    x, classes = dataset.of_test(20, seed=[1, 2])
    expected = 20 * np.bincount(dataset.y_test) / len(dataset.y_test)
    assert np.abs(np.bincount(classes) - expected).max() <= 1
    assert len({image.tobytes() for image in x}) == 20
    for image, label in zip(x, classes, strict=True):
        (index,) = np.flatnonzero((dataset.x_test == image).all(axis=(1, 2, 3)))
        assert dataset.y_test[index] == label
    assert len(dataset.of_test(10**6)[0]) == len(dataset.x_test)
