"""The catalogue, and downloads from a Kaggle on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import kagglesdk.kaggle_env
import pytest

from labkit.datasets import DataError, registry

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
    entry = registry.entry("sign_mnist")
    assert entry in registry.entries()
    assert entry.rows == {"train": 27_455, "test": 7_172}
    assert all(len(digest) == 64 for digest in entry.sha256.values())
    with pytest.raises(DataError, match="there is no data set 'mnist'; labkit knows sign_mnist"):
        registry.entry("mnist")


def test_where(folder, small):
    assert registry.where() == {"sign_mnist": ()}
    for part, content in small.items():
        (folder / f"sign_mnist_{part}.csv").write_bytes(content)
    pair = (folder / "sign_mnist_train.csv", folder / "sign_mnist_test.csv")
    assert registry.where("sign_mnist") == {"sign_mnist": pair}


def test_where_without_the_environment(tmp_path, monkeypatch, small):
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    course = tmp_path / "course"
    (course / "solutions").mkdir(parents=True)
    (course / "pyproject.toml").touch()
    (course / "data" / "real").mkdir(parents=True)
    (course / "data" / "real" / "sign-language-mnist.zip").touch()
    monkeypatch.chdir(course / "solutions")
    (found,) = registry.where("sign_mnist")["sign_mnist"]
    assert found == course / "data" / "real" / "sign-language-mnist.zip"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_verify_knows_the_published_bytes(folder, small, line_end):
    for part, content in small.items():
        content = content.replace(b"\r\n", line_end)
        (folder / f"sign_mnist_{part}.csv").write_bytes(content)
    report = registry.verify("sign_mnist")
    assert report.published and report.rows == {"train": 48, "test": 24}
    assert "48 train + 24 test rows, the published bytes" in str(report)


def test_verify_knows_other_bytes(folder, small):
    swapped = small["train"].split(b"\r\n")
    swapped[1], swapped[2] = swapped[2], swapped[1]
    (folder / "sign_mnist_train.csv").write_bytes(b"\r\n".join(swapped))
    (folder / "sign_mnist_test.csv").write_bytes(small["test"])
    report = registry.verify("sign_mnist")
    assert not report.published and "not the published bytes" in str(report)


def test_verify_without_files(folder):
    with pytest.raises(DataError, match="is not in"):
        registry.verify("sign_mnist")


def test_get(kaggle, folder):
    path = registry.get("sign_mnist")
    assert path == folder / "sign-language-mnist.zip"
    assert path.read_bytes() == kaggle.archive
    assert registry.verify("sign_mnist").published
    assert [file.name for file in folder.iterdir()] == [path.name]
    (asked, authorization), (stored, _) = kaggle.requests
    assert asked.split("?")[0] == PATH and stored == "/storage/archive.zip"
    assert authorization == basic("student", "secret")


def test_get_makes_the_folder(kaggle, folder, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(folder / "a" / "b"))
    assert registry.get("sign_mnist").parent == folder / "a" / "b"


def test_get_leaves_what_is_there(kaggle, folder):
    path = registry.get("sign_mnist")
    kaggle.requests.clear()
    assert registry.get("sign_mnist") == path
    assert not kaggle.requests
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"is damaged.*--force"):
        registry.get("sign_mnist")
    assert path.read_bytes() == b"damaged" and not kaggle.requests
    assert registry.get("sign_mnist", force=True) == path
    assert path.read_bytes() == kaggle.archive


def broken(kaggle):
    kaggle.sent = len(kaggle.archive) // 2


def cut(kaggle):
    kaggle.archive = kaggle.archive[: len(kaggle.archive) // 2]


def page_instead(kaggle):
    kaggle.archive = b"<html>Please sign in to the hotel's network</html>"


def other_data(kaggle):
    entry = registry.entry("sign_mnist")
    entry.sha256["train"] = "0" * 64


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
        registry.get("sign_mnist", force=True)
    assert "Two ways" in str(caught.value) and PAGE in str(caught.value)
    assert str(old) in str(caught.value)
    assert old.read_bytes() == b"what was there"
    assert list(folder.iterdir()) == [old]


def test_no_credentials(kaggle, folder, home, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(DataError) as caught:
        registry.get("sign_mnist")
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
    registry.get("sign_mnist")
    assert kaggle.requests[0][1] == basic("other", "word")


def test_credentials_from_a_token(kaggle, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "abc")
    registry.get("sign_mnist")
    assert kaggle.requests[0][1] == "Bearer abc"


@pytest.mark.parametrize("content", ["", "[]", '{"username": "me"}', '"text"'])
def test_a_damaged_credentials_file(kaggle, home, monkeypatch, content):
    monkeypatch.delenv("KAGGLE_KEY")
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "kaggle.json").write_text(content)
    with pytest.raises(DataError, match=r"kaggle\.json is not the file that Kaggle gives"):
        registry.get("sign_mnist")
    assert not kaggle.requests
