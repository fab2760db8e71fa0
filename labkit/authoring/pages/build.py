"""All pages that compute, built into one folder of the site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from labkit.authoring.pages import PageError, explorer, network, phone


def build(
    out: str | Path,
    ledger: pd.DataFrame,
    models: str | Path | None = None,
    home: str | None = "../index.html",
    note: Callable[[str], None] = print,
) -> list[Path]:
    """Write the pages as `out`/explorer and `out`/phone.

    Args:
        out: folder of the site, or one that becomes part of it.
        ledger: the figures of all labs, see `explorer.tasks`.
        models: output folder of lab 08, for its network; a quick one is trained without.
        home: address of the site's first page, as seen from a page's folder.
        note: told in a line if the phone's page is left out, since npm is not there.

    Returns:
        paths of the pages that were built.

    Raises:
        PageError: there is no network of lab 08 in `models`.
    """
    out = Path(out)
    built = [explorer.build(out / "explorer", ledger, home)]
    if models is not None:
        network.of_lab(models)  # what is asked for is missing: that is an error, unlike no npm
    try:
        built.append(phone.build(out / "phone", models, home))
    except PageError as error:
        note(f"the page for a phone is left out: {error}")
    return built
