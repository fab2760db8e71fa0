"""Pairs of classes: divided so that no image is in two parts, real, synthetic and rotated."""

import numpy as np
import pytest

from labkit.datasets import DataError, cifar10_pairs
from labkit.datasets.cifar10_pairs import CAT_DOG, HORSE_FROG, ROTATED_CAT_DOG, pair, turned

CAT, DOG = 3, 5


@pytest.fixture
def real(folder, batches, archive_of, tmp_path, monkeypatch):
    """Ten classes of seven images; a function that loads a pair of them."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    (folder / "cifar-10-python.tar.gz").write_bytes(archive_of(batches))

    def load(judged="test", **options):
        source = pair("cat", "dog", judged=judged, **options)
        source.rows.update(train=10, test=2)
        return source.load("real")

    return load


def rows(x):
    return {image.tobytes() for image in np.round(x * 255).astype(np.uint8)}


def test_all_images_of_two_classes_each_in_one_part(real, pictures):
    data, chosen_on = real(), real("validation")
    np.testing.assert_array_equal(data.x_train, chosen_on.x_train)
    parts = [rows(x) for x in (data.x_train, chosen_on.x_test, data.x_test)]
    assert [len(part) for part in parts] == [10, 2, 2]
    whole = {
        image.tobytes()
        for images, classes in pictures.values()
        for image in images[np.isin(classes, [CAT, DOG])]
    }
    assert len(whole) == 14 and set.union(*parts) == whole
    assert data.class_names == ("cat", "dog") and data.name == "cat_dog"
    assert [np.bincount(y).tolist() for y in (data.y_train, data.y_test)] == [[5, 5], [1, 1]]
    images, classes = pictures["train"]
    cats = {image.tobytes() for image in images[classes == CAT]}
    assert cats & rows(data.x_train[data.y_train == 0])
    assert not cats & rows(data.x_train[data.y_train == 1])


def test_seventy_ten_twenty_of_twelve_thousand():
    divided = cifar10_pairs._divided([np.arange(6000), np.arange(6000, 12000)])
    assert {part: len(found) for part, found in divided.items()} == {
        "train": 8400,
        "validation": 1200,
        "test": 2400,
    }
    np.testing.assert_array_equal(np.sort(np.concatenate(list(divided.values()))), np.arange(12000))
    assert [(found < 6000).mean() for found in divided.values()] == [0.5] * 3
    assert CAT_DOG.rows == HORSE_FROG.rows == {"train": 8400, "test": 2400}
    assert pair("cat", "dog", judged="validation").rows == {"train": 8400, "test": 1200}


def test_the_same_images_rotated(real):
    data, moved = real(), real(rotated=True)
    np.testing.assert_array_equal(moved.y_train, data.y_train)
    assert not rows(moved.x_train) & rows(data.x_train)
    np.testing.assert_array_equal(
        np.round(moved.x_test * 255),
        turned(np.round(data.x_test * 255).astype(np.uint8), [0, 2]),
    )


def test_drawn_parts_differ_and_have_both_classes():
    data = CAT_DOG.synthesize(20, 10)
    chosen_on = pair("cat", "dog", judged="validation").synthesize(20, 10)
    np.testing.assert_array_equal(data.x_train, chosen_on.x_train)
    assert not rows(data.x_test) & rows(chosen_on.x_test)
    assert not rows(data.x_train[:10]) & rows(chosen_on.x_test)
    assert np.bincount(data.y_train).tolist() == [10, 10]
    other = HORSE_FROG.synthesize(20, 10)
    assert other.class_names == ("horse", "frog") and not rows(other.x_train) & rows(data.x_train)
    assert not rows(ROTATED_CAT_DOG.synthesize(20, 10).x_train) & rows(data.x_train)


def test_turning_by_hand(monkeypatch):
    image = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(1, 5, 5, 3)

    def drawn(angle, mirror, zoom):
        class Fixed:
            def uniform(self, low, high, size):
                return np.tile([angle, mirror, zoom], (size[0], 1))

        monkeypatch.setattr(np.random, "default_rng", lambda seed: Fixed())
        return turned(image, 0)

    np.testing.assert_array_equal(drawn(0, -1, 0), image)
    np.testing.assert_array_equal(drawn(0, 1, 0), image[:, :, ::-1])
    np.testing.assert_array_equal(drawn(90 / 72, -1, 0), np.rot90(image, axes=(2, 1)))
    # Zoomed out: the middle stays, and its neighbours come nearer.
    small = drawn(0, -1, 1)[0].astype(int)
    assert (small[2, 2] == image[0, 2, 2]).all()
    assert small[2, 3, 0] - small[2, 2, 0] == round(3 * 1.2)


def test_turning_begins_alike_and_repeats():
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(turned(images, 3)[:4], turned(images[:4], 3))
    assert (turned(images, 3) != turned(images, 4)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cat", "wolf"), "'cat' and 'wolf', expected two of airplane"),
        (("cat", "cat"), "'cat' and 'cat'"),
    ],
)
def test_pairs_that_there_are_not(arguments, message):
    with pytest.raises(DataError, match=message):
        pair(*arguments)
    with pytest.raises(DataError, match="judged is 'train'"):
        pair("cat", "dog", judged="train")
