"""Downloads by HTTP from a server on this machine."""

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labkit.datasets import DataError, download

CONTENT = b"a file" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path, monkeypatch):
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file.bin").write_bytes(CONTENT)
    handler = functools.partial(Handler, directory=tmp_path / "served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/file.bin"
    server.shutdown()
    server.server_close()


def test_downloads(url, tmp_path):
    target = tmp_path / "new" / "file.bin"
    assert download.from_http(url, target, download.has_sha256(SHA256)) == target
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "digest", "expected"),
    [
        (lambda url: url, "0" * 64, f"its SHA-256 is {SHA256}, expected {'0' * 64}"),
        (lambda url: url + ".gone", SHA256, "does not know it"),
        (lambda url: "http://127.0.0.1:9/file.bin", SHA256, "no connection to the server"),
    ],
)
def test_a_failure_changes_nothing(url, tmp_path, change, digest, expected):
    target = tmp_path / "target" / "file.bin"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(DataError, match=expected) as caught:
        download.from_http(change(url), target, download.has_sha256(digest))
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]
