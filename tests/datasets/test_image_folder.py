"""Trees of images: found, preprocessed, read in batches; bad ones told by name."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from labkit.datasets import DataError, image_folder
from labkit.datasets.image_folder import CAFFE, Preprocessing, open_tree


def png(colour=(10, 20, 30), size=(8, 8)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


MEMBERS = {
    "train/cat/1.png": png((255, 0, 0)),
    "train/cat/2.png": png((254, 0, 0)),
    "train/dog/1.png": png((0, 255, 0)),
    "val/cat/1.png": png((0, 0, 255)),
    "val/dog/1.png": png((1, 0, 255)),
}


@pytest.fixture
def make(tmp_path):
    """A function that writes a tree of the given members, as a folder."""

    def make(members):
        root = tmp_path / "tree"
        for name, content in members.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return make


def test_a_folder_and_a_zip_hold_the_same(make, make_zip, tmp_path):
    folder = open_tree(make(MEMBERS))
    assert folder.class_names == ("cat", "dog")
    assert folder.members["train"] == ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png")
    assert folder.classes["train"].tolist() == [0, 0, 1]
    x, y = folder.load("train", Preprocessing(8))
    assert x.shape == (3, 8, 8, 3) and x.dtype == np.float32 and y.tolist() == [0, 0, 1]
    assert x[0, 0, 0].tolist() == [1, 0, 0]
    archive = open_tree(make_zip(tmp_path / "tree.zip", MEMBERS))
    np.testing.assert_array_equal(archive.load("train", Preprocessing(8))[0], x)


def test_a_tree_in_one_folder_and_other_names_for_val(make_zip, tmp_path):
    inner = {f"cifar/{name.replace('val', 'test')}": data for name, data in MEMBERS.items()}
    inner["__MACOSX/cifar/train/cat/1.png"] = b""
    tree = open_tree(make_zip(tmp_path / "inner.zip", inner))
    assert len(tree.members["train"]) == 3 and len(tree.members["val"]) == 2


def test_val_wins_over_test_where_both_are(make):
    tree = open_tree(make(MEMBERS | {"test/cat/9.png": png(), "test/dog/9.png": png()}))
    assert tree.members["val"] == ("val/cat/1.png", "val/dog/1.png")


def test_a_part_that_need_not_be_there(make):
    val = {name: data for name, data in MEMBERS.items() if name.startswith("val")}
    root = make(val)
    assert set(open_tree(root, parts=("val",)).members) == {"val"}
    with pytest.raises(DataError, match=r"no train folder .* expected train/<class>/\*\.jpg"):
        open_tree(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train/bird/note.txt": b"x", "val/bird/1.png": png()}, "'bird' of train is empty"),
        ({"val/bird/1.png": png()}, "train has no class 'bird', .* 1 of 3 classes are missing"),
    ],
)
def test_classes_must_agree(make, change, message):
    with pytest.raises(DataError, match=message):
        open_tree(make(MEMBERS | change))


def test_an_empty_class_is_named(make):
    root = make(MEMBERS)
    (root / "train" / "emu").mkdir()
    with pytest.raises(DataError, match=r"class 'emu' of train is empty, expected images \(\.jpg"):
        open_tree(root)


def test_no_such_folder_and_no_zip(tmp_path):
    with pytest.raises(DataError, match="there is no such folder or zip"):
        open_tree(tmp_path / "nothing")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        open_tree(tmp_path / "a.zip")


@pytest.mark.parametrize("content", [b"", b"not an image", png()[:40]])
def test_an_unreadable_image_is_named(make, content):
    tree = open_tree(make(MEMBERS | {"train/dog/0.png": content}))
    message = r"train/dog/0\.png cannot be read as an image: it is damaged"
    with pytest.raises(DataError, match=message):
        tree.verify(Preprocessing(8))
    with pytest.raises(DataError, match=message):
        list(tree.batches("train", Preprocessing(8), batch=2))


def test_caffes_preprocessing():
    image = Image.new("RGB", (227, 227), (200, 150, 100))
    assert CAFFE(image)[5, 5].tolist() == [100 - 104, 150 - 117, 200 - 123]
    assert CAFFE.shape == (227, 227, 3)


def test_the_middle_of_a_long_image_is_cut_out():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    square = Preprocessing(10)(Image.fromarray(pixels))
    assert square.min() == 1
    assert Preprocessing(5)(Image.fromarray(pixels)).shape == (5, 5, 3)


def test_grey_palette_and_transparent_images_are_converted():
    for mode in ("L", "P", "RGBA", "1", "CMYK"):
        assert Preprocessing(4)(Image.new(mode, (4, 4))).shape == (4, 4, 3)
    assert Preprocessing(4, "grey")(Image.new("RGB", (4, 4), (255,) * 3)).tolist()[0][0] == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "size is 0"),
        ((8, "gbr"), "channel_order is 'gbr', expected one of rgb, bgr, grey"),
        ((8, "rgb", (1.0,)), "mean_pixel has 1 numbers, expected one for each of the 3"),
    ],
)
def test_bad_preprocessing_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(*arguments)


def test_batches_hold_every_image_once(make):
    tree = open_tree(make(MEMBERS))
    reds = [x[:, 0, 0, 0] for x, _ in tree.batches("train", Preprocessing(8), 2)]
    assert [np.round(red * 255).tolist() for red in reds] == [[255, 254], [0]]


def test_shuffled_batches_repeat_by_seed_and_differ_by_pass(tmp_path):
    tree = image_folder.write_silhouettes(tmp_path / "drawn", train=4, val=1, size=16)
    assert len(tree.members["train"]) == 40 and len(tree.members["val"]) == 10

    def passes(seed):
        stream = tree.batches("train", Preprocessing(16), 16, shuffle=seed, forever=True)
        return [next(stream) for _ in range(5)]

    one, again = passes(3), passes(3)
    for (x, y), (u, v) in zip(one, again, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
    assert {len(x) for x, _ in one} == {16}  # the 8 left over in each pass of 40 are dropped
    first, second = (
        np.concatenate([y for _, y in one[:2]]),
        np.concatenate([y for _, y in one[2:4]]),
    )
    assert (first != second).any()
    assert (first != np.concatenate([y for _, y in passes(4)[:2]])).any()


def test_a_reader_may_stop_in_the_middle(tmp_path):
    tree = image_folder.write_silhouettes(tmp_path / "drawn", train=20, val=1, size=8)
    stream = tree.batches("train", Preprocessing(8), 4, forever=True)
    next(stream)
    stream.close()  # ends the threads, or the test would never end


def test_a_drawn_tree_takes_no_others_place(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        image_folder.write_silhouettes(tmp_path / "full", 1, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    path = tmp_path / "tree.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    content = path.read_bytes()
    at = content.index(b"train/dog/1.png") + 40
    path.write_bytes(content[:at] + b"\xff\xff\xff" + content[at + 3 :])
    with pytest.raises(DataError, match=r"train/dog/1\.png cannot be read"):
        open_tree(path).verify(Preprocessing(8))


def shown(make, image, name="1.png", **options):
    """What is read of a picture, 0 to 255: the corners (top left, top right, bottom left)."""
    stream = io.BytesIO()
    image.save(stream, options.pop("format", "PNG"), **options)
    members = MEMBERS | {f"train/cat/{name}": stream.getvalue()}
    tree = open_tree(make(members))
    place = tree.members["train"].index(f"train/cat/{name}")
    x = tree.read("train", place, Preprocessing(8, scale=1.0))
    return [np.round(x[row, column]).tolist() for row, column in ((1, 1), (1, 6), (6, 1))]


HALVES = np.repeat([[200] * 4 + [50] * 4], 8, axis=0).astype(np.uint8)
LEFT_IS_BRIGHT = [[200] * 3, [50] * 3, [200] * 3]


def test_pictures_are_read_as_a_viewer_shows_them(make):
    assert shown(make, Image.fromarray(HALVES)) == LEFT_IS_BRIGHT
    assert shown(make, Image.fromarray(HALVES.astype(np.uint16) * 257)) == LEFT_IS_BRIGHT
    turned = Image.Exif()
    turned[0x0112] = 6  # "show me turned by 90 degrees": what is left comes to the top
    assert shown(make, Image.fromarray(HALVES), exif=turned) == [[200] * 3, [200] * 3, [50] * 3]
    # Transparent is the right half; black, that nobody sees, lies under it.
    clear = np.dstack([HALVES, HALVES, HALVES, np.where(HALVES == 200, 255, 0).astype(np.uint8)])
    clear[:, 4:, :3] = 0
    on_white = [[200] * 3, [255] * 3, [200] * 3]
    assert shown(make, Image.fromarray(clear)) == on_white
    palette = Image.fromarray((HALVES == 50).astype(np.uint8)).convert("P")
    palette.putpalette([200, 200, 200, 0, 0, 0])
    assert shown(make, palette, transparency=1) == on_white


def test_pictures_of_any_common_suffix(make):
    for kind, suffix in (("BMP", ".bmp"), ("WEBP", ".webp"), ("TIFF", ".TIF"), ("GIF", ".gif")):
        options = {"lossless": True} if kind == "WEBP" else {}
        image = Image.fromarray(np.dstack([HALVES] * 3))
        assert shown(make, image, f"0{suffix}", format=kind, **options) == LEFT_IS_BRIGHT
    with pytest.raises(DataError, match="its pixels are floats"):
        shown(make, Image.fromarray(HALVES.astype(np.float32)), "1.tif", format="TIFF")
    with pytest.raises(DataError, match=r"train/cat/3\.HEIC: labkit reads .*convert"):
        open_tree(make(MEMBERS | {"train/cat/3.HEIC": b""}))


def test_a_zip_from_windows_with_backslashes(make_zip, tmp_path):
    path = tmp_path / "windows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            info = zipfile.ZipInfo()
            info.filename = name.replace("/", "\\")
            archive.writestr(info, content)
    tree = open_tree(path)
    assert tree.members == open_tree(make_zip(tmp_path / "other.zip", MEMBERS)).members
    assert tree.load("train", Preprocessing(8))[0].shape == (3, 8, 8, 3)


def test_links_to_folders_are_followed_once(make, tmp_path):
    root = make({name: data for name, data in MEMBERS.items() if "/dog/" not in name})
    for part in ("train", "val"):
        elsewhere = tmp_path / "elsewhere" / part
        elsewhere.mkdir(parents=True)
        (elsewhere / "1.png").write_bytes(MEMBERS[f"{part}/dog/1.png"])
        (root / part / "dog").symlink_to(elsewhere, target_is_directory=True)
    (root / "train" / "dog" / "again").symlink_to(root / "train", target_is_directory=True)
    wanted = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png")
    assert open_tree(root).members["train"] == wanted


def test_names_that_are_not_utf8(make):
    root = make(MEMBERS)
    odd = os.fsdecode(b"caf\xe9.png")
    (root / "train" / "cat" / odd).write_bytes(png())
    tree = open_tree(root)
    assert f"train/cat/{odd}" in tree.members["train"]
    assert tree.load("train", Preprocessing(8))[0].shape == (4, 8, 8, 3)
