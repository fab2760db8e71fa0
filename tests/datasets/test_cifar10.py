"""CIFAR-10 from the official archive, its folder, or a tree of images; small copies of them."""

import dataclasses
import hashlib
import io
import os
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit.datasets import DataError, cifar10


@pytest.fixture(autouse=True)
def _own(archive_of, tmp_path, monkeypatch):
    """A small data set is whole, and nothing was decoded before."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


def test_the_official_archive_and_its_folder(folder, batches, archive_of, pictures):
    (folder / "cifar-10-python.tar.gz").write_bytes(archive_of(batches))
    data = cifar10.load("real")
    assert data.source == "real" and data.x_train.shape == (50, 32, 32, 3)
    x, y = pictures["train"]
    order = np.concatenate([np.arange(50)[i::5] for i in range(5)])
    np.testing.assert_array_equal(np.round(data.x_train * 255), x[order])
    np.testing.assert_array_equal(data.y_train, y[order])
    (folder / "cifar-10-python.tar.gz").unlink()
    (folder / "cifar-10-batches-py").mkdir()
    for name, content in batches.items():
        (folder / "cifar-10-batches-py" / name).write_bytes(content)
    np.testing.assert_array_equal(cifar10.load("auto").x_test, data.x_test)
    report = cifar10.SOURCE.verify()
    assert report.rows == cifar10.SOURCE.rows and not report.published


def tree_of(pictures):
    members = {}
    for part, (images, classes) in pictures.items():
        for i, (image, number) in enumerate(zip(images, classes, strict=True)):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "PNG")
            members[f"{part}/{cifar10.CLASS_NAMES[number]}/{i:03}.png"] = stream.getvalue()
    return members


def test_a_zip_of_images_is_decoded_once(folder, pictures, make_zip, monkeypatch):
    make_zip(folder / "cifar10-images.zip", tree_of(pictures))
    data = cifar10.load("real")
    x, y = pictures["test"]
    order = np.argsort(y, kind="stable")
    np.testing.assert_array_equal(np.round(data.x_test * 255), x[order])
    np.testing.assert_array_equal(data.y_test, y[order])
    monkeypatch.setattr(Image, "open", None)  # from the cache now
    np.testing.assert_array_equal(cifar10.load("real").x_train, data.x_train)


def test_other_classes_are_told(folder, make_zip, pictures):
    members = {name.replace("/frog/", "/toad/"): data for name, data in tree_of(pictures).items()}
    make_zip(folder / "cifar10-images.zip", members)
    with pytest.raises(DataError, match=r"toad.*expected CIFAR-10's"):
        cifar10.load("real")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pickled",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2", pickle.dumps(Evil()), r"data_batch_2 is not .*\(it asks for"),
        ("test_batch", b"junk", "test_batch is not a batch of CIFAR-10"),
        (
            "test_batch",
            pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [1, 2]}),
            r"test_batch holds uint8 \(2, 9\) for 2 labels, expected uint8 \(2, 3072\)",
        ),
        (
            "test_batch",
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}),
            "labels 10 to 10, expected 0 to 9",
        ),
        ("data_batch_5", None, "holds no data_batch_5"),
    ],
)
def test_bad_batches_are_told_and_run_nothing(
    folder, batches, archive_of, name, content, message, monkeypatch
):
    monkeypatch.chdir(folder)
    changed = {k: content if k == name else v for k, v in batches.items()}
    changed = {k: v for k, v in changed.items() if v is not None}
    (folder / "cifar-10-python.tar.gz").write_bytes(archive_of(changed))
    with pytest.raises(DataError, match=message):
        cifar10.load("real")
    assert not Path("pickled").exists()


def test_drawn_images_of_the_quick_profile_are_easy():
    smaller, cluttered = cifar10.synthesize(30, 10, clutter=False), cifar10.synthesize(30, 10)
    np.testing.assert_array_equal(cluttered.y_train, smaller.y_train)
    assert sorted(smaller.y_train[:10]) == list(range(10))
    # Bright before dark: the corners are background.
    assert smaller.x_train[:, :2, :2].mean() < 0.3 < cluttered.x_train[:, :2, :2].mean()


@pytest.fixture
def server():
    """A function that serves bytes on this machine and gives their address."""
    servers = []

    def serve(content):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/cifar-10-python.tar.gz"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_get_downloads_and_checks(folder, batches, archive_of, server):
    content, name = archive_of(batches), "cifar-10-python.tar.gz"
    digest = {name: hashlib.sha256(content).hexdigest()}
    source = dataclasses.replace(cifar10.SOURCE, url=server(content), sha256=digest)
    assert source.get() == folder / name
    assert source.verify().published
    other = dataclasses.replace(source, url=server(content + b"x"))
    with pytest.raises(DataError, match="its SHA-256 is"):
        other.get(force=True)
    assert (folder / name).read_bytes() == content, "what was there stays"
