"""Small real-looking files of the data sets, an own folder for them, and no internet."""

import hashlib
import io
import pickle
import socket
import tarfile
import zipfile

import numpy as np
import pytest

from labkit.datasets import cifar10, hands, sign_mnist, silhouettes


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


@pytest.fixture
def make_zip():
    """A function that writes a zip of the given members to a path."""

    def make(path, members):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return make
