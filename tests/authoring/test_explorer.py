import json

import bs4
import numpy as np
import pandas as pd
import pytest

from labkit.authoring.pages import explorer
from labkit.authoring.pages.explorer import Settings
from labkit.measure import pareto

WHOLE = "the whole network"


@pytest.mark.parametrize(
    ("model", "technique", "share", "expected"),
    [
        ("baseline", "float", 1, (WHOLE, "float, 32 bits", "none", "none")),
        ("", "float16", 0.5, (WHOLE, "float, 16 bits", "none", "none")),
        ("baseline", "16 clusters", 1, (WHOLE, "float, 32 bits", "16", "none")),
        ("baseline", "16 clusters, CQAT int8", 0.3, (WHOLE, "8 bits", "16", "none")),
        ("baseline", "2-4-16 clusters, 3 epochs", 0.27, (WHOLE, "8 bits", "2-4-16", "none")),
        ("baseline", "95 %, cubic, from 50 %", 0.29, (WHOLE, "8 bits", "none", "95 %")),
        ("baseline", "pruned 95%, float", 0.1, (WHOLE, "float, 32 bits", "none", "95 %")),
        ("baseline", "DPF 90%", 0.29, (WHOLE, "8 bits", "none", "90 %")),
        ("baseline", "2:4", 0.29, (WHOLE, "8 bits", "none", "50 %")),
        ("baseline", "1:4", 0.29, (WHOLE, "8 bits", "none", "75 %")),
        ("baseline", "35% of the filters", 0.07, ("35 % of the filters", "8 bits", "none", "none")),
        (
            "baseline",
            "small, pruned 60% + 16 clusters + QAT",
            0.07,
            ("a small network", "8 bits", "16", "60 %"),
        ),
        ("baseline", "pruning", 0.06, ("a small network", "8 bits", "none", "an unnamed share")),
        ("light CNN", "pruning", 1, ("light CNN", "float, 32 bits", "none", "an unnamed share")),
        ("baseline", "4-bit, dynamic range", 0.16, (WHOLE, "4 bits", "none", "none")),
        ("baseline", "ternary, no names", 0.1, (WHOLE, "ternary", "none", "none")),
        ("LSTM", "dynamic range", 1, ("LSTM", "float, 32 bits", "none", "none")),
        ("SqueezeNet", "6:6:6, train, msb per layer", 1, ("SqueezeNet", "6 bits", "none", "none")),
        ("", "≤ 50 kB, int8", 0.02, ("fewer units", "8 bits", "none", "none")),
        ("", "4 bits, 22 units", 0.01, ("fewer units", "4 bits", "none", "none")),
        (
            "",
            "conv2 binary, linear1 and linear2 of 2 bits, 8-bit inputs",
            0.06,
            (WHOLE, "down to 1 bit, layer by layer", "none", "none"),
        ),
    ],
)
def test_settings_of_the_labs_names(model, technique, share, expected):
    assert explorer.settings(model, technique, share) == Settings(*expected)


@pytest.fixture
def ledger():
    names = ["float", "int8", "4 clusters", "pruned 90%", "ternary", "smallest", "float", "QAT 4-4"]
    table = pd.DataFrame(
        {
            "lab": "05",
            "data": "hands, </script> of all kinds",
            "model": "baseline",
            "technique": names,
            "metric": "accuracy (%)",
            "value": [99.0, 98.9, 97.0, 98.0, 90.0, 80.0, 99.0, 95.0],
            "spread": [0.1, np.nan, np.nan, np.nan, 2.0, np.nan, 0.1, np.nan],
            "bytes": [1000.0, 300, 1000, 300, 100, 90, 1000, np.nan],
            "gzip (bytes)": [900.0, 280, 200, 120, 95, 80, 900, np.nan],
        }
    )
    few = table.iloc[:3].assign(data="three files")
    errors = table.iloc[:6].assign(
        data="a room", metric="average distance error (m)", technique=list("abcdef")
    )
    return pd.concat([table, few, errors], ignore_index=True)


def test_what_the_page_knows(ledger):
    hands, _ = explorer.tasks(
        pd.concat([ledger, ledger.iloc[:1].assign(technique="int8, too", value=98.8)])
    )
    assert [f["how"] for f in hands["files"]] == [
        *("float", "4 clusters", "int8", "pruned 90%", "int8, too", "ternary"),
    ]
    first = hands["files"][0]
    assert first["value"] == 99 and first["spread"] == 0.1 and first["gzip"] == 900
    assert "spread" not in hands["files"][1]
    assert (hands["unit"], hands["digits"], hands["higher"]) == ("%", 2, True)


def test_only_data_with_enough_files(ledger):
    (room,) = explorer.tasks(ledger)
    assert room["data"] == "a room" and room["higher"] is False and len(room["files"]) == 6


def test_the_page_holds_files_and_fronts_as_tables(ledger, tmp_path):
    more = ledger.iloc[:1].assign(technique="int8, too", value=98.8)
    table = pd.concat([ledger, more], ignore_index=True)
    page = explorer.build(tmp_path / "page", table, home="../index.html")
    soup = bs4.BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    known = json.loads(soup.find(id="files").string)
    assert known == explorer.tasks(table)
    assert soup.find("a")["href"] == "../index.html"
    for task, shown in zip(known, soup.select("#tables table"), strict=True):
        files = pd.DataFrame(task["files"])
        costs = np.c_[files["gzip"], files["value"] * (-1 if task["higher"] else 1)]
        best = files[pareto.beaten(costs) == 0].sort_values("gzip")
        assert [th.text for th in shown.select("tbody th")] == list(best["how"])
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"index.html", "explorer.js", "style.css", "common.css"}


def test_no_link_home_without_an_address(ledger, tmp_path):
    page = explorer.build(tmp_path, ledger)
    assert "The course" not in page.read_text(encoding="utf-8")
