"""The catalogue, and downloads from a Kaggle on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import kagglesdk.kaggle_env
import pytest

from labkit.datasets import DataError, cifar10_pairs, registry, sign_mnist

PATH = "/api/v1/datasets/download/datamunge/sign-language-mnist"
PAGE = "https://www.kaggle.com/datamunge/sign-language-mnist"


class FakeKaggle:
    """Answers a download as Kaggle does, with a redirect to a storage; or with an error."""

    def __init__(self):
        self.status, self.archive, self.sent = 200, b"", None
        self.requests = []
        kaggle = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                kaggle.requests.append((self.path, self.headers.get("Authorization")))
                if self.path.startswith("/storage"):
                    self._answer(200, kaggle.archive, "application/zip", kaggle.sent)
                elif kaggle.status != 200:
                    body = json.dumps({"code": kaggle.status, "message": "no"}).encode()
                    self._answer(kaggle.status, body, "application/json")
                elif self.path.startswith(PATH):
                    self.send_response(302)
                    self.send_header("Location", "/storage/archive.zip")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self._answer(404, b"{}", "application/json")

            def _answer(self, status, body, kind, sent=None):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:sent])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without credentials, and an environment without credentials or proxies."""
    path = tmp_path / "home"
    path.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(path))
    for name in ("USERNAME", "KEY", "API_TOKEN", "CONFIG_DIR"):
        monkeypatch.delenv(f"KAGGLE_{name}", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return path


@pytest.fixture
def kaggle(home, folder, small, make_zip, tmp_path, monkeypatch):
    """A Kaggle on this machine with a good archive, and credentials for it."""
    server = FakeKaggle()
    members = {f"sign_mnist_{part}.csv": content for part, content in small.items()}
    members |= {f"sign_mnist_{part}/sign_mnist_{part}.csv": c for part, c in small.items()}
    server.archive = make_zip(tmp_path / "served.zip", members).read_bytes()
    production = kagglesdk.kaggle_env.KaggleEnv.PROD
    monkeypatch.setitem(kagglesdk.kaggle_env._env_to_endpoint, production, server.url)
    monkeypatch.setenv("KAGGLE_USERNAME", "student")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    yield server
    server.close()


def basic(user, key):
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()


def test_the_catalogue():
    assert registry.source("sign_mnist") is sign_mnist.SOURCE
    assert registry.source("cat_dog") is cifar10_pairs.CAT_DOG
    assert registry.DERIVED.keys() == {"cat_dog", "horse_frog", "cat_dog_rotated"}
    with pytest.raises(DataError, match="there is no data set 'mnist'; labkit knows sign_mnist, c"):
        registry.source("mnist")


def test_the_folder_without_the_environment(tmp_path, monkeypatch, small):
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    course = tmp_path / "course"
    (course / "solutions").mkdir(parents=True)
    (course / "solutions" / "00_first.py").touch()
    (course / "data" / "real").mkdir(parents=True)
    (course / "data" / "real" / "sign-language-mnist.zip").touch()
    monkeypatch.chdir(course / "solutions")
    (found,) = sign_mnist.SOURCE.found()
    assert found == course / "data" / "real" / "sign-language-mnist.zip"


def test_get(kaggle, folder):
    path = sign_mnist.SOURCE.get()
    assert path == folder / "sign-language-mnist.zip"
    assert path.read_bytes() == kaggle.archive
    assert sign_mnist.SOURCE.verify().published
    assert [file.name for file in folder.iterdir()] == [path.name]
    (asked, authorization), (stored, _) = kaggle.requests
    assert asked.split("?")[0] == PATH and stored == "/storage/archive.zip"
    assert authorization == basic("student", "secret")


def test_get_makes_the_folder(kaggle, folder, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(folder / "a" / "b"))
    assert sign_mnist.SOURCE.get().parent == folder / "a" / "b"


def test_get_leaves_what_is_there(kaggle, folder):
    path = sign_mnist.SOURCE.get()
    kaggle.requests.clear()
    assert sign_mnist.SOURCE.get() == path
    assert not kaggle.requests
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"is damaged.*--force"):
        sign_mnist.SOURCE.get()
    assert path.read_bytes() == b"damaged" and not kaggle.requests
    assert sign_mnist.SOURCE.get(force=True) == path
    assert path.read_bytes() == kaggle.archive


def broken(kaggle):
    kaggle.sent = len(kaggle.archive) // 2


def cut(kaggle):
    kaggle.archive = kaggle.archive[: len(kaggle.archive) // 2]


def page_instead(kaggle):
    kaggle.archive = b"<html>Please sign in to the hotel's network</html>"


def other_data(kaggle):
    sign_mnist.SOURCE.sha256["train"] = "0" * 64


def status(code):
    def answer(kaggle):
        kaggle.status = code

    answer.__name__ = f"status_{code}"
    return answer


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (broken, "the connection broke off"),
        (cut, r"rejected: sign-language-mnist\.zip is damaged"),
        (page_instead, r"rejected: sign-language-mnist\.zip is damaged: File is not a zip file"),
        (other_data, "rejected: its checksums are not those of the published Sign Language MNIST"),
        (status(401), r"does not accept the credentials \(error 401\)"),
        (status(403), r"refuses access with these credentials \(error 403\)"),
        (status(404), r"does not know it \(error 404\)"),
        (status(500), "answers with error 500"),
        (lambda kaggle: kaggle.close(), "no connection to the server"),
    ],
)
def test_a_failed_download_changes_nothing(kaggle, folder, fault, expected):
    old = folder / "sign-language-mnist.zip"
    old.write_bytes(b"what was there")
    fault(kaggle)
    with pytest.raises(DataError, match=expected) as caught:
        sign_mnist.SOURCE.get(force=True)
    assert "Two ways" in str(caught.value) and PAGE in str(caught.value)
    assert str(old) in str(caught.value)
    assert old.read_bytes() == b"what was there"
    assert list(folder.iterdir()) == [old]


def test_no_credentials(kaggle, folder, home, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(DataError) as caught:
        sign_mnist.SOURCE.get()
    message = str(caught.value)
    assert "there are no Kaggle credentials" in message
    assert str(home / ".kaggle") in message and PAGE in message
    assert str(folder / "sign-language-mnist.zip") in message
    assert not kaggle.requests
    assert not list(home.iterdir()), "Kaggle's client made a folder in the home"


@pytest.mark.parametrize("place", [".kaggle", ".config/kaggle", "elsewhere"])
def test_credentials_from_a_file(kaggle, home, monkeypatch, place):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    if place == "elsewhere":
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / place))
    path: Path = home / place / "kaggle.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"username": "other", "key": "word"}')
    sign_mnist.SOURCE.get()
    assert kaggle.requests[0][1] == basic("other", "word")


def test_credentials_from_a_token(kaggle, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "abc")
    sign_mnist.SOURCE.get()
    assert kaggle.requests[0][1] == "Bearer abc"


@pytest.mark.parametrize("content", ["", "[]", '{"username": "me"}', '"text"'])
def test_a_damaged_credentials_file(kaggle, home, monkeypatch, content):
    monkeypatch.delenv("KAGGLE_KEY")
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(content)
    with pytest.raises(DataError, match=r"kaggle\.json is not the file that Kaggle gives"):
        sign_mnist.SOURCE.get()
    assert not kaggle.requests
