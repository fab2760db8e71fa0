"""The loader against good, damaged and missing files, and against the published ones."""

import os
from pathlib import Path

import numpy as np
import pytest

from labkit.datasets import DataError, sign_mnist

TRAIN, TEST = "sign_mnist_train", "sign_mnist_test"


def nested(csvs):
    return {f"sign_mnist_{p}/sign_mnist_{p}.csv": content for p, content in csvs.items()}


def flat(csvs):
    return {f"sign_mnist_{p}.csv": content for p, content in csvs.items()}


def unpack(folder, members):
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def changed(csvs, line, column, value, part="train"):
    """The CSVs with one field changed; lines count from 1."""
    lines = csvs[part].split(b"\r\n")
    fields = lines[line - 1].split(b",")
    fields[column] = value
    lines[line - 1] = b",".join(fields)
    return {**csvs, part: b"\r\n".join(lines)}


def error_of(folder, csvs, mode="auto"):
    unpack(folder, flat(csvs))
    with pytest.raises(DataError) as caught:
        sign_mnist.load(mode)
    return str(caught.value)


# Good files


def check_small(dataset):
    assert dataset.source == "real"
    assert dataset.x_train.shape == (48, 28, 28, 1) and dataset.x_test.shape == (24, 28, 28, 1)
    assert dataset.x_train.dtype == np.float32 and dataset.y_train.dtype == np.int64
    assert dataset.y_train.tolist() == list(range(24)) * 2
    assert 0 <= dataset.x_train.min() < dataset.x_train.max() <= 1


@pytest.mark.parametrize("layout", [flat, nested, lambda csvs: flat(csvs) | nested(csvs)])
@pytest.mark.parametrize("name", ["sign-language-mnist.zip", "archive.zip"])
def test_reads_an_archive(folder, small, make_zip, layout, name):
    make_zip(folder / name, layout(small) | {"amer_sign2.png": b"not read"})
    check_small(sign_mnist.load("auto"))


@pytest.mark.parametrize("layout", [flat, nested])
@pytest.mark.parametrize("base", ["", "sign-language-mnist/"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_reads_unpacked_files(folder, small, layout, base, line_end):
    members = {base + name: c.replace(b"\r\n", line_end) for name, c in layout(small).items()}
    unpack(folder, members)
    check_small(sign_mnist.load("real"))


def test_the_written_csv_is_read_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (24, 28, 28, 1), dtype=np.uint8)
    path = sign_mnist.write_csv(tmp_path / "a.csv", images / np.float32(255), np.arange(24))
    table = sign_mnist.read_csv(path)
    np.testing.assert_array_equal(table[:, 1:], images.reshape(24, 784))
    assert table[:, 0].tolist() == [label for label in range(25) if label != 9]
    assert sign_mnist.class_index(table[:, 0]).tolist() == list(range(24))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_what_an_editor_adds_means_nothing(tmp_path, small, line_end):
    """A byte order mark, and empty lines at the end."""
    content = small["test"].replace(b"\r\n", line_end)
    tables = []
    for name, written in (
        ("plain.csv", content),
        ("edited.csv", b"\xef\xbb\xbf" + content + 2 * line_end),
    ):
        (tmp_path / name).write_bytes(written)
        tables.append(sign_mnist.read_csv(tmp_path / name))
    np.testing.assert_array_equal(*tables)


def test_another_data_sets_archive_is_passed_over(folder, small, make_zip):
    make_zip(folder / "archive.zip", {"train.csv": b"a,b\n"})
    assert not sign_mnist.SOURCE.found()
    unpack(folder, flat(small))
    check_small(sign_mnist.load("auto"))


# Bad files: one error that names file, line and what was expected, in mode auto too


@pytest.mark.parametrize("value", [b"9", b"25", b"-1", b"3.5", b"", b"A", b"300"])
def test_label_out_of_range(folder, small, value):
    message = error_of(folder, changed(small, 7, 0, value))
    assert "sign_mnist_train.csv, line 7: label is" in message
    assert repr(value.decode()) in message and "0–24 without 9" in message


@pytest.mark.parametrize("value", [b"256", b"-1", b"3.5", b"", b"x", b"1e2", b"65537", b"\xff"])
def test_pixel_out_of_range(folder, small, value):
    message = error_of(folder, changed(small, 25, 784, value, part="test"))
    assert "sign_mnist_test.csv, line 25: pixel784 is" in message
    assert "expected an integer 0–255" in message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"letter,pixel1", "column 1 of the header is 'letter', expected 'label'"),
        (b"label,pixel1", "column 3 of the header is missing, expected 'pixel2'"),
        (b"\xff\xfe", "column 1 of the header is"),
        (b"", "column 1 of the header is ''"),
    ],
)
def test_wrong_header(folder, small, header, expected):
    rest = small["train"].split(b"\r\n", 1)[1]
    message = error_of(folder, {**small, "train": header + b"\r\n" + rest})
    assert "sign_mnist_train.csv, line 1: " + expected in message


def test_one_column_too_many_in_the_header(folder, small):
    bad = changed(small, 1, 784, b"pixel784,pixel785")
    assert "column 786 of the header is 'pixel785', expected the end" in error_of(folder, bad)


@pytest.mark.parametrize(("value", "columns"), [(b"1,2", 786), (b"1,2,3", 787)])
def test_wrong_number_of_columns(folder, small, value, columns):
    message = error_of(folder, changed(small, 3, 5, value))
    assert f"line 3: {columns} columns, expected 785" in message


def test_every_row_with_a_column_too_many(folder, small):
    head, *rows = small["train"].split(b"\r\n")[:-1]
    bad = b"\r\n".join([head, *(row + b",0" for row in rows)]) + b"\r\n"
    assert "line 2: 786 columns" in error_of(folder, {**small, "train": bad})


def test_blank_line(folder, small):
    bad = small["train"].replace(b"\r\n", b"\r\n\r\n", 1)
    assert "line 2: 1 columns, expected 785" in error_of(folder, {**small, "train": bad})


@pytest.mark.parametrize("cut", [1, 2, 3, 1000])
def test_truncated_last_line(folder, small, cut):
    # With three bytes gone the line still has 785 columns, but its last number has lost a digit.
    message = error_of(folder, {**small, "train": small["train"][:-cut]})
    assert "sign_mnist_train.csv, line 49: the file ends within it" in message
    assert "--force" in message


def test_header_alone(folder, small):
    bad = small["train"].split(b"\r\n", 1)[0] + b"\r\n"
    assert "line 2: there are no images" in error_of(folder, {**small, "train": bad})


def test_one_of_the_two_files(folder, small):
    unpack(folder, {f"{TRAIN}.csv": small["train"]})
    with pytest.raises(DataError, match=r"sign_mnist_test\.csv cannot be read: No such file"):
        sign_mnist.load("auto")


def test_archive_without_the_csvs(folder, make_zip):
    make_zip(folder / "sign-language-mnist.zip", {"other.csv": b"a"})
    with pytest.raises(DataError, match=r"sign_mnist_train\.csv is missing"):
        sign_mnist.load("auto")


@pytest.mark.parametrize("name", ["sign-language-mnist.zip", "archive.zip"])
@pytest.mark.parametrize("damage", [lambda z: z[: len(z) // 2], lambda z: b"<html>sign in</html>"])
def test_damaged_archive_is_never_passed_over(folder, small, make_zip, name, damage):
    path = make_zip(folder / name, nested(small))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="is damaged"):
        sign_mnist.load("auto")


def test_flipped_bytes_in_an_archive(folder, small, make_zip):
    path = make_zip(folder / "sign-language-mnist.zip", nested(small))
    content = bytearray(path.read_bytes())
    content[5000:5050] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        sign_mnist.load("auto")


def test_an_archive_cannot_write_outside(folder, small, make_zip, tmp_path):
    make_zip(folder / "archive.zip", {f"../../{name}": c for name, c in flat(small).items()})
    before = sorted(tmp_path.rglob("*"))
    check_small(sign_mnist.load("auto"))  # read by name, not unpacked
    assert sorted(tmp_path.rglob("*")) == before


# The synthetic form


def test_the_embedded_sample_is_what_the_generator_draws():
    path = Path(__file__).parents[2] / "data" / "sign_mnist_sample.csv"
    table = sign_mnist.read_csv(path)
    drawn = sign_mnist.synthesize(240, 24, seed=0)
    assert np.bincount(table[:, 0], minlength=25).tolist() == [10] * 9 + [0] + [10] * 15
    np.testing.assert_array_equal(sign_mnist.class_index(table[:, 0]), drawn.y_train)
    off = np.abs(table[:, 1:].astype(int) - np.round(drawn.x_train.reshape(240, -1) * 255))
    # Other processors round a few numbers otherwise.
    assert (off > 2).mean() < 1e-3


# The published files, where LABKIT_DATA has them


@pytest.fixture(scope="module")
def real():
    if not os.environ.get("LABKIT_DATA") or not sign_mnist.SOURCE.found():
        pytest.skip("LABKIT_DATA has no Sign Language MNIST")
    return sign_mnist.load("real")


def test_the_published_files(real):
    assert len(real.x_train) == 27_455 and len(real.x_test) == 7_172
    for classes, low, high in ((real.y_train, 957, 1_294), (real.y_test, 144, 498)):
        counts = np.bincount(classes)
        assert len(counts) == 24 and (counts.min(), counts.max()) == (low, high)
    assert real.y_train[:5].tolist() == [3, 6, 2, 2, 12]  # the file's labels 3, 6, 2, 2, 13
    assert (real.x_train.min(), real.x_train.max()) == (0, 1)
    report = sign_mnist.SOURCE.verify()
    assert report.published and report.rows == {"train": 27_455, "test": 7_172}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_verify_knows_the_published_bytes(folder, small, line_end):
    unpack(folder, {name: c.replace(b"\r\n", line_end) for name, c in flat(small).items()})
    assert sign_mnist.SOURCE.verify().published
    lines = small["train"].split(b"\r\n")
    lines[1], lines[2] = lines[2], lines[1]
    unpack(folder, {f"{TRAIN}.csv": b"\r\n".join(lines)})
    assert not sign_mnist.SOURCE.verify().published
