import numpy as np
import pytest
from PIL import Image

from labkit.datasets import DataError, image_folder, imagenet

SMALL = image_folder.Preprocessing(8, "bgr", (104.0, 117.0, 123.0), 1.0)


def tree(folder, classes):
    for i in range(classes):
        target = folder / "imagenet-sample" / "val" / f"n{i:08}"
        target.mkdir(parents=True)
        Image.new("RGB", (8, 8), (i % 250, 7, 9)).save(target / "1.png")


def test_classes_follow_the_sorted_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    tree(tmp_path, 1000)
    x, y = imagenet.load(SMALL)
    assert x.shape == (1000, 8, 8, 3) and list(y) == list(range(1000))
    # Blue first, mean pixel subtracted, no scale: 9 - 104, 7 - 117, i - 123.
    np.testing.assert_array_equal(x[201, 0, 0], [-95, -110, 201 - 123])


def test_missing_or_partial_trees_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert imagenet.find() is None
    with pytest.raises(DataError, match=r"no photographs of ImageNet in .*val/<wnid>"):
        imagenet.load(SMALL)
    tree(tmp_path, 3)
    with pytest.raises(DataError, match="has 3 classes, expected all 1,000"):
        imagenet.load(SMALL)
