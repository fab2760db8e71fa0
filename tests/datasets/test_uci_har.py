"""UCI HAR: the layouts it comes in, every kind of damage, downloads, features."""

import dataclasses
import functools
import hashlib
import os
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from labkit.datasets import DataError, har_features, har_simulator, uci_har

OFFICIAL = "human+activity+recognition+using+smartphones.zip"
SIGNAL = "test/Inertial Signals/body_gyro_y_test.txt"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


def unpack(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def double_zip(make_har, path, files):
    """The official archive: a zip in a zip, with what a Mac left in it."""
    inner = make_har(path.with_name("inner.zip"), files)
    with zipfile.ZipFile(inner, "a") as archive:
        archive.writestr("__MACOSX/UCI HAR Dataset/train/._y_train.txt", b"\0")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "UCI HAR Dataset.zip")
        archive.writestr("UCI HAR Dataset.names", b"...")
    inner.unlink()
    return path


def test_every_layout_is_the_same_data(folder, har_files, make_har, tmp_path):
    kinds = {
        "uci-har.zip": lambda path: make_har(path, har_files),
        "UCI HAR Dataset.zip": lambda path: make_har(path, har_files, within=""),
        OFFICIAL: lambda path: double_zip(make_har, path, har_files),
        "UCI HAR Dataset": lambda path: unpack(path, har_files),
    }
    x, y, people = har_simulator.draw("train", 48, 9)
    for name, make in kinds.items():
        make(folder / name)
        assert uci_har.SOURCE.found() == (folder / name,)
        data = uci_har.load("real")
        np.testing.assert_allclose(data.x_train, x, rtol=1e-6)
        np.testing.assert_array_equal(data.y_train, y)
        np.testing.assert_array_equal(data.groups_train, people)
        assert data.x_train.dtype == np.float32 and data.y_train.dtype == np.int64
        (folder / name).rename(tmp_path / name)


def damaged(files, name, change):
    lines = files[name].decode().splitlines()
    change(lines)
    return files | {name: ("\n".join(lines) + "\n").encode()}


def first(text):
    """A change of the third line: its first number becomes this."""

    def change(lines):
        lines[2] = f" {text} " + " ".join(lines[2].split()[1:])

    return change


def longer(lines):
    lines[4] += " 0.5"


def shorter(lines):
    lines[4] = lines[4][:-16]


DAMAGE = {
    "not there": (SIGNAL, None, "holds no {name}: it is not the UCI HAR data set"),
    "text": (SIGNAL, first("zero"), "{name}, line 3, column 1 is 'zero', expected a finite number"),
    "nothing": (SIGNAL, first("NA"), "{name}, line 3, column 1 is 'NA', expected a finite number"),
    "nan": (SIGNAL, first("nan"), "{name}, line 3, column 1 is 'nan', expected a finite number"),
    "infinite": ("train/X_train.txt", first("-inf"), "{name}, line 3, column 1 is '-inf', exp"),
    "too large": (SIGNAL, first("1e50"), "{name}, line 3, column 1 is '1e50', expected a finite"),
    "quoted": (SIGNAL, first('"1.0"'), "{name}, line 3, column 1 is '\"1.0\"', expected a finite"),
    "a column more": (SIGNAL, longer, "{name}, line 5 has 129 columns, expected 128."),
    "a column less": (SIGNAL, shorter, "{name}, line 5 has 127 columns, expected 128."),
    "features less": ("test/X_test.txt", shorter, "{name}, line 5 has 560 columns, expected 561."),
    "an empty line": (SIGNAL, lambda c: c.insert(1, ""), "{name}, line 2 has 0 columns, exp"),
    "empty": (SIGNAL, lambda c: c.clear(), "{name}, line 1 has 0 columns, expected 128."),
    "a row less": (
        *(SIGNAL, lambda c: c.pop()),
        "{name} has 35 rows, expected 36, one for each label of test/y_test.txt.",
    ),
    "labels from 0": (
        *("train/y_train.txt", first("0")),
        "{name}, line 3, column 1 is '0', expected an integer from 1 to 6.",
    ),
    "a seventh label": ("train/y_train.txt", first("7"), "is '7', expected an integer from 1 to 6"),
    "half a label": ("train/y_train.txt", first("1.5"), "is '1.5', expected an integer from 1"),
    "nobody": ("test/subject_test.txt", first("31"), "is '31', expected an integer from 1 to 30"),
    "other features": (
        *("features.txt", lambda c: c.__setitem__(2, "3 tBodyAcc-mean()-W")),
        "{name}, line 3 is '3 tBodyAcc-mean()-W', expected '3 tBodyAcc-mean()-Z'.",
    ),
    "fewer features": (
        *("features.txt", lambda c: c.pop()),
        "{name}, line 561 is '', expected '561 angle(Z,gravityMean)'.",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told(kind, folder, har_files, make_har):
    name, change, expected = DAMAGE[kind]
    others = {other: content for other, content in har_files.items() if other != name}
    make_har(folder / "uci-har.zip", damaged(har_files, name, change) if change else others)
    with pytest.raises(DataError) as caught:
        uci_har.load("real")
    message = str(caught.value)
    assert "\n" not in message and f"{folder / 'uci-har.zip'}" in message
    assert expected.format(name=name) in message
    assert "`labkit data get uci_har --force` downloads it again." in message
    assert not list((folder.parent / "cache").glob("*")), "half-loaded data was kept"


def test_nobody_is_in_both_parts(folder, har_files, make_har):
    somebody = har_files["train/subject_train.txt"].split()[0].decode()
    files = damaged(har_files, "test/subject_test.txt", first(somebody))
    make_har(folder / "uci-har.zip", files)
    expected = rf"subject_test\.txt, line 3: subject {somebody} is in train/subject_train\.txt too"
    with pytest.raises(DataError, match=expected):
        uci_har.SOURCE.verify()


@pytest.mark.parametrize(
    ("cut", "expected"),
    [(-3, "line 36: the file ends within it"), (0, "body_gyro_y_test.txt is empty.")],
)
def test_a_file_cut_short_in_the_folder(folder, har_files, make_har, cut, expected):
    unpack(folder / "UCI HAR Dataset", har_files | {SIGNAL: har_files[SIGNAL][:cut]})
    with pytest.raises(DataError, match=expected):
        uci_har.load("real")


@pytest.mark.parametrize("damage", ["cut", "bit", "inner"])
def test_a_damaged_zip(folder, har_files, make_har, damage):
    path = double_zip(make_har, folder / OFFICIAL, har_files)
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 4
    path.write_bytes(content[:-1000] if damage == "cut" else content)
    if damage == "inner":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("UCI HAR Dataset.zip", b"PK, or not")
    with pytest.raises(DataError, match=r"smartphones\.zip is damaged: "):
        uci_har.load("auto")


def test_another_file_of_that_name_is_read_anew(folder, har_files, make_har):
    unpack(folder / "UCI HAR Dataset", har_files)
    make_har(folder.parent / "uci-har.zip", har_files)
    before = uci_har.load("real")
    label = "2" if before.y_train[2] == 0 else "1"
    changed = damaged(har_files, "train/y_train.txt", first(label))
    file = folder / "UCI HAR Dataset" / "train" / "y_train.txt"
    file.write_bytes(changed["train/y_train.txt"])
    os.utime(file, ns=(1, 1))
    assert (uci_har.load("real").y_train != before.y_train).sum() == 1
    make_har(folder / "uci-har.zip", har_files)
    assert (uci_har.load("real").y_train == before.y_train).all()


def test_published_data_is_told_from_other_data(folder, har_files, make_har, monkeypatch):
    make_har(folder / "uci-har.zip", har_files)
    assert not uci_har.SOURCE.verify().published
    windows = uci_har.load("real").x_test.astype(np.float64)
    monkeypatch.setattr(uci_har, "_TEST_MOMENTS", (windows.mean(), windows.std()))
    assert not uci_har.SOURCE.verify().published
    for name in uci_har._SHA256:
        digest = hashlib.sha256(har_files[name].rstrip()).hexdigest()
        monkeypatch.setitem(uci_har._SHA256, name, digest)
    assert uci_har.SOURCE.verify().published


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The archive's server on this machine, and the folder that it serves."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    handler = functools.partial(Handler, directory=served)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{http.server_port}/{OFFICIAL}"
    yield dataclasses.replace(uci_har.SOURCE, url=url), served
    http.shutdown()
    http.server_close()


def test_get(server, folder, har_files, make_har):
    source, served = server
    double_zip(make_har, served / OFFICIAL, har_files)
    assert source.get() == folder / "uci-har.zip"
    assert [path.name for path in folder.iterdir()] == ["uci-har.zip"]
    assert len(source.load("real").x_test) == 36


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: {"index.html": b"<html>"}, "rejected: uci-har.zip holds no features.txt"),
        (lambda f: damaged(f, SIGNAL, shorter), f"rejected: uci-har.zip: {SIGNAL}, line 5 has 127"),
        (None, "does not know it"),
    ],
)
def test_a_failed_download_changes_nothing(server, folder, har_files, make_har, change, expected):
    source, served = server
    if change:
        double_zip(make_har, served / OFFICIAL, change(har_files))
    old = folder / "uci-har.zip"
    old.write_bytes(b"what was there")
    with pytest.raises(DataError) as caught:
        source.get(force=True)
    assert expected in str(caught.value) and str(old) in str(caught.value)
    assert old.read_bytes() == b"what was there" and list(folder.iterdir()) == [old]


def test_an_incomplete_download_is_rejected(server, folder, har_files, make_har):
    source, served = server
    double_zip(make_har, served / OFFICIAL, har_files)
    source.rows["train"] += 1
    with pytest.raises(DataError, match=r"rejected: .* train has 48 samples, expected 49"):
        source.get()
    assert not list(folder.iterdir())


def test_features_go_with_the_windows(folder, har_files, make_har, monkeypatch):
    monkeypatch.setitem(uci_har.SOURCE.quick, "train", 24)
    monkeypatch.setitem(uci_har.SOURCE.quick, "test", 18)
    make_har(folder / "uci-har.zip", har_files)
    for mode in ("real", "synthetic"):
        for quick in (True, False):
            windows = uci_har.load(mode, quick=quick, seed=1)
            features = uci_har.features(mode, quick=quick, seed=1)
            assert features.origin == windows.origin and features.name == "uci_har"
            assert features.x_train.shape == (len(windows.x_train), 561)
            assert features.x_train.dtype == features.x_test.dtype == np.float32
            for what in ("y_train", "y_test", "groups_train", "groups_test"):
                np.testing.assert_array_equal(getattr(features, what), getattr(windows, what))
            computed = har_features.extract(windows.x_train)
            if mode == "real":  # the files have what this wrote into them
                # But for a few of gravity, which is so smooth that the files' rounding counts.
                same = np.isclose(features.x_train, np.tanh(computed), 1e-3, 1e-3)
                assert same.mean() > 0.999
            else:
                assert features.x_train.min() == pytest.approx(-1)
                assert features.x_train.max() == pytest.approx(1)
                changes = np.ptp(computed, axis=0) > 0
                assert np.ptp(features.x_train, axis=0)[changes] == pytest.approx(2, abs=1e-4)


def test_the_real_data_where_it_is(monkeypatch):
    """Its numbers, and how well computed features agree with those given."""
    if not uci_har.SOURCE.found():
        pytest.skip("LABKIT_DATA holds no UCI HAR")
    windows, features = uci_har.load("real"), uci_har.features("real")
    assert windows.x_train.shape == (7352, 128, 9) and windows.x_test.shape == (2947, 128, 9)
    assert np.bincount(windows.y_train).tolist() == [1226, 1073, 986, 1286, 1374, 1407]
    assert len(set(windows.groups_train)) == 21 and len(set(windows.groups_test)) == 9
    assert abs(features.x_train).max() == 1
    some = slice(None, None, 4)
    computed = har_features.extract(windows.x_test[some]).astype(np.float64)
    given = features.x_test[some].astype(np.float64)
    changes = (np.ptp(computed, axis=0) > 0) & (np.ptp(given, axis=0) > 0)
    both = zip(computed.T[changes], given.T[changes], strict=True)
    agreement = np.array([np.corrcoef(a, b)[0, 1] for a, b in both])
    assert changes.sum() >= 550
    assert np.median(agreement) > 0.9 and (agreement > 0.9).mean() > 0.75
