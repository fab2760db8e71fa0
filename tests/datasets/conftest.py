"""Small real-looking files of Sign Language MNIST, an own folder for them, and no internet."""

import dataclasses
import hashlib
import socket
import zipfile

import numpy as np
import pytest

from labkit.datasets import hands, registry, sign_mnist


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
    monkeypatch.setattr(sign_mnist, "ROWS", {"train": 48, "test": 24})
    digests = {
        part: hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
        for part, content in csvs.items()
    }
    known = dataclasses.replace(registry.entry("sign_mnist"), sha256=digests)
    monkeypatch.setattr(registry, "entries", lambda: (known,))
    return csvs


@pytest.fixture
def make_zip():
    """A function that writes a zip of the given members to a path."""

    def make(path, members):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return make
