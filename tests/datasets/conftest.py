"""Small real-looking files of the data sets, an own folder for them, and no internet."""

import hashlib
import io
import pickle
import socket
import tarfile
import zipfile

import numpy as np
import pytest

from labkit.datasets import (
    cifar10,
    hands,
    har_features,
    har_simulator,
    sign_mnist,
    silhouettes,
    uci_har,
)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch):
    """A connection to anywhere but this machine is a fault of the test."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"connection to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of real data, empty."""
    path = tmp_path / "real"
    path.mkdir()
    monkeypatch.setenv("LABKIT_DATA", str(path))
    return path


@pytest.fixture(scope="session")
def csvs(tmp_path_factory):
    """The bytes of a training CSV of 48 images and a test CSV of 24, as on Kaggle (CRLF)."""
    contents = {}
    for part, count in (("train", 48), ("test", 24)):
        classes = np.arange(count) % 24
        path = tmp_path_factory.mktemp("csv") / f"{part}.csv"
        sign_mnist.write_csv(path, hands.draw(classes, seed=1, stream=part), classes)
        contents[part] = path.read_bytes()
    return contents


@pytest.fixture
def small(csvs, monkeypatch):
    """Those CSVs pass for the published ones: their rows, their checksums."""
    for part, content in csvs.items():
        monkeypatch.setitem(sign_mnist.SOURCE.rows, part, content.count(b"\n") - 1)
        digest = hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
        monkeypatch.setitem(sign_mnist.SOURCE.sha256, part, digest)
    return csvs


@pytest.fixture(scope="session")
def pictures():
    """Images of CIFAR-10's classes with the classes, 50 for training and 20 for testing."""
    return {
        part: (silhouettes.draw(np.arange(count) % 10, stream=part), np.arange(count) % 10)
        for part, count in (("train", 50), ("test", 20))
    }


def batch(images, classes):
    data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return pickle.dumps({b"data": data, b"labels": classes.tolist()}, protocol=2)


@pytest.fixture(scope="session")
def batches(pictures):
    """They as the files of the official archive."""
    x, y = pictures["train"]
    files = {f"data_batch_{i + 1}": batch(x[i::5], y[i::5]) for i in range(5)}
    return files | {"test_batch": batch(*pictures["test"]), "readme.html": b"<html>"}


@pytest.fixture
def archive_of(monkeypatch):
    """A function that makes the bytes of the official archive of files, and takes it for whole."""

    def make(batches):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, content in batches.items():
                info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return stream.getvalue()

    for part, count in (("train", 50), ("test", 20)):
        monkeypatch.setitem(cifar10.SOURCE.rows, part, count)
    return make


def lines(table):
    text = io.StringIO()
    np.savetxt(text, table, "%16.7e", delimiter="")
    return text.getvalue().encode()


@pytest.fixture(scope="session")
def har_files():
    """The files of UCI HAR by name: 48 windows for training and 36 for testing."""
    names = "".join(f"{i} {name}\n" for i, name in enumerate(har_features.NAMES, start=1))
    files = {"features.txt": names.encode(), "README.txt": b"Universit\xe0"}
    for part, count in (("train", 48), ("test", 36)):
        x, y, people = har_simulator.draw(part, count, 9)
        for i, name in enumerate(uci_har.CHANNELS):
            files[f"{part}/Inertial Signals/{name}_{part}.txt"] = lines(x[..., i])
        files[f"{part}/X_{part}.txt"] = lines(np.tanh(har_features.extract(x)))
        files[f"{part}/y_{part}.txt"] = "".join(f"{label + 1}\n" for label in y).encode()
        files[f"{part}/subject_{part}.txt"] = "".join(f"{who}\n" for who in people).encode()
    return files


@pytest.fixture
def make_har(make_zip, monkeypatch):
    """A function that writes such files as a zip, and takes their number for the whole set's."""
    for part, count in (("train", 48), ("test", 36)):
        monkeypatch.setitem(uci_har.SOURCE.rows, part, count)

    def make(path, files, within="UCI HAR Dataset/"):
        return make_zip(path, {within + name: content for name, content in files.items()})

    return make


@pytest.fixture
def make_zip():
    """A function that writes a zip of the given members to a path."""

    def make(path, members):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return make
