"""Downloads that take their place whole and checked, or not at all.

Archives are never unpacked: the loaders read the members they know by name, so that no path and no
link inside an archive can reach the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit import files, runtime
from labkit.datasets import DataError


def from_http(url: str, target: Path, check: Callable[[Path], object]) -> Path:
    """Download a file, in place of the one that is there.

    Args:
        url: of the file.
        target: where it is put.
        check: raises DataError if the file that arrived is not the one that was wanted; for
            example `has_sha256`.

    Raises:
        DataError: no connection, an error of the server, or what `check` found.
    """
    import pooch

    with _explained(url, f"Try again later, or put the file at {target} yourself."):
        fetch = pooch.HTTPDownloader(progressbar=runtime.interactive())
        return _place(target, check, lambda path: fetch(url, str(path), None))


def has_sha256(sha256: str) -> Callable[[Path], None]:
    """A check that a file has this checksum, hexadecimal."""
    import pooch

    def check(arrived: Path) -> None:
        found = pooch.file_hash(str(arrived), alg="sha256")
        if found != sha256:
            raise DataError(f"its SHA-256 is {found}, expected {sha256}.")

    return check


def from_kaggle(dataset: str, target: Path, check: Callable[[Path], None], *, page: str) -> Path:
    """Download an archive through Kaggle's client, in place of the one that is there.

    Args:
        dataset: owner/name.
        target: where the archive is put.
        check: raises DataError if the file that arrived is not the one that was wanted.
        page: where a person can download it.

    Raises:
        DataError: no credentials or refused ones, no such data set, no connection, a damaged or
            unexpected file; always with the two ways to get the data nevertheless.
    """
    ways = (
        "Two ways to get it. (1) On kaggle.com, under Settings, API, create a legacy API key, and "
        f"put the file kaggle.json that it gives you into {_kaggle_folders()[0]}; then run the "
        f"command again. (2) Download it in a browser from {page} and put the zip, as it is, at "
        f"{target}."
    )
    with _explained(f"Kaggle's {dataset}", ways):
        credentials = _kaggle_credentials()
        return _place(target, check, lambda path: _fetch_from_kaggle(dataset, path, credentials))


def _fetch_from_kaggle(dataset: str, path: Path, credentials: dict[str, str]) -> None:
    # kagglesdk is the client inside the package kaggle. `import kaggle` itself would look for
    # credentials at once, fail without them, and create a folder in the user's home.
    from kagglesdk import KaggleClient, KaggleEnv
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    from tqdm import tqdm

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.split("/")
    with KaggleClient(KaggleEnv.PROD, **credentials) as client:
        # Otherwise the client reads the archive into memory, with no progress to show.
        client.http_client()._session.stream = True
        response = client.datasets.dataset_api_client.download_dataset(request)
        total = int(response.headers.get("Content-Length", 0)) or None
        quiet = not runtime.interactive()
        with (
            open(path, "wb") as file,
            tqdm(total=total, unit="B", unit_scale=True, desc=dataset, disable=quiet) as bar,
        ):
            for part in response.iter_content(1 << 18):
                file.write(part)
                bar.update(len(part))


def _kaggle_credentials() -> dict[str, str]:
    """Arguments for Kaggle's client, which finds the token KAGGLE_API_TOKEN by itself."""
    if os.environ.get("KAGGLE_API_TOKEN"):
        return {}
    user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if user and key:
        return {"username": user, "password": key}
    places = [folder / "kaggle.json" for folder in _kaggle_folders()]
    for path in places:
        if path.is_file():
            try:
                content = json.loads(path.read_text("utf-8"))
                return {"username": content["username"], "password": content["key"]}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f'{path} is not the file that Kaggle gives, {{"username": …, "key": …}}.'
                ) from error
    raise DataError(
        "there are no Kaggle credentials: neither KAGGLE_USERNAME and KAGGLE_KEY in the "
        f"environment, nor {' nor '.join(map(str, places))}."
    )


def _kaggle_folders() -> list[Path]:
    """Where Kaggle's client looks for kaggle.json."""
    if named := os.environ.get("KAGGLE_CONFIG_DIR"):
        return [Path(named)]
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [Path.home() / ".kaggle", configuration / "kaggle"]


def _place(target: Path, check: Callable[[Path], object], fetch: Callable[[Path], object]) -> Path:
    """Fetch to a temporary file, check it, and let it take its place."""
    with files.replacing(target) as temporary:
        fetch(temporary)
        try:
            check(temporary)
        except DataError as error:
            # The temporary name says nothing to anybody, and is gone.
            message = str(error).replace(str(temporary), target.name)
            raise DataError(f"the file that arrived was rejected: {message}") from error
    return target


@contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    """Turn what goes wrong in a download into one DataError with advice."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        meaning = {
            401: "the server does not accept the credentials (error 401)",
            403: "the server refuses access with these credentials (error 403)",
            404: "the server does not know it (error 404)",
        }.get(status, f"the server answers with error {status}")
        raise DataError(f"{what} was not downloaded: {meaning}. {advice}") from error
    except requests.ConnectionError as error:
        raise DataError(
            f"{what} was not downloaded: there is no connection to the server. {advice}"
        ) from error
    except requests.RequestException as error:
        raise DataError(
            f"{what} was not downloaded: the connection broke off ({error}). {advice}"
        ) from error
    except (DataError, OSError) as error:
        raise DataError(f"{what} was not downloaded: {error} {advice}") from error
