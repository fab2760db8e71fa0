"""Downloads that are checked before they take their place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from labkit import runtime
from labkit.datasets import DataError


def fetch(url: str, target: Path, sha256: str) -> Path:
    """Download a file over HTTP, compare its SHA-256, and only then put it at `target`.

    Raises:
        DataError: no connection, an HTTP error, or another checksum; `target` is as before.
    """
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(progressbar=runtime.interactive(), timeout=30)
    with _beside(target) as folder:
        try:
            name = pooch.retrieve(
                url, known_hash=f"sha256:{sha256}", path=folder, downloader=downloader
            )
        except (requests.RequestException, OSError) as error:
            raise DataError(f"{url} cannot be downloaded: {_reason(error)}.") from error
        except ValueError as error:
            raise DataError(f"{url}: the download has another checksum than expected.") from error
        os.replace(name, target)
    return target


def fetch_from_kaggle(name: str, target: Path, validate: Callable[[Path], None]) -> Path:
    """Download a Kaggle data set's archive, validate it, and only then put it at `target`.

    Args:
        name: "owner/data-set".
        target: of the zip.
        validate: raises DataError if the archive at the path it gets is not as it should be.

    Raises:
        DataError: no credentials, no connection, refused, or damaged; `target` is as before.
    """
    _require_credentials(name, target)
    import requests
    from kaggle.api.kaggle_api_extended import KaggleApi

    with _beside(target) as folder:
        try:
            api = KaggleApi()
            api.authenticate()
            api.dataset_download_files(
                name, path=folder, force=True, quiet=not runtime.interactive()
            )
        except (requests.RequestException, OSError, ValueError, KeyError) as error:
            raise DataError(
                f"Kaggle did not deliver {name}: {_reason(error)}. {_by_hand(name, target)}"
            ) from error
        archive = Path(folder) / f"{name.split('/')[1]}.zip"
        validate(archive)
        os.replace(archive, target)
    return target


def _beside(target: Path) -> tempfile.TemporaryDirectory:
    """A temporary folder on the same disk as the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-")


def _require_credentials(name: str, target: Path) -> None:
    """Look before importing `kaggle`, which authenticates on import and ends the process."""
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return
    named = os.environ.get("KAGGLE_CONFIG_DIR")
    home = Path.home()
    folders = [Path(named)] if named else [home / ".kaggle", home / ".config" / "kaggle"]
    if any((folder / "kaggle.json").is_file() for folder in folders):
        return
    raise DataError(
        "Kaggle asks for an account, and there are no credentials. Either create a token on "
        "https://www.kaggle.com/settings (API, Create New Token) and put kaggle.json into "
        f"{folders[0]}. {_by_hand(name, target)}"
    )


def _by_hand(name: str, target: Path) -> str:
    return f"Or download the archive from https://www.kaggle.com/{name} and put it at {target}."


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        hints = {401: "are the credentials right?", 403: "are the credentials right?",
                 404: "there is no such data set"}  # fmt: skip
        hint = hints.get(response.status_code, response.reason)
        return f"HTTP status {response.status_code}, {hint}"
    if type(error).__name__ in ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout"):
        return "no connection (is this computer offline?)"
    return f"{type(error).__name__}: {error}"
