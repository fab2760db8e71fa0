"""The page where a visitor draws the front: with the keyboard, on a phone, as a file."""

import json

import numpy as np
import pandas as pd
import pytest

from labkit.authoring.pages import explorer
from labkit.measure import pareto

HANDS = [
    # technique, value, bytes, after gzip
    ("float", 99.0, 1000, 900),
    ("float16", 99.0, 520, 480),
    ("int8", 98.9, 300, 280),
    ("QAT int8", 98.95, 310, 285),
    ("4 clusters, dynamic range", 97.0, 290, 100),
    ("16 clusters, dynamic range", 98.0, 290, 190),
    ("pruned 90%", 98.5, 300, 120),
    ("pruned 95%", 96.0, 300, 80),
    ("ternary", 90.0, 100, 95),
]


@pytest.fixture(scope="module")
def site(chromium, serve, tmp_path_factory):
    rows = [("a data set", "accuracy (%)", 1, *row) for row in HANDS]
    rows += [("a room", "average distance error (m)", -1, *row) for row in HANDS]
    names = ["data", "metric", "sign", "technique", "value", "bytes", "gzip (bytes)"]
    ledger = pd.DataFrame(rows, columns=names).assign(lab="05", model="baseline", spread=np.nan)
    folder = tmp_path_factory.mktemp("site")
    explorer.build(folder / "explorer", ledger, home="../index.html")
    with serve(folder) as server:
        yield server


@pytest.fixture
def page(open_page, site):
    """The page on a phone."""
    screen = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
    page = open_page(is_mobile=True, **screen)
    page.goto(f"{site.address}/explorer/index.html")
    yield page
    assert page.faults == []


def text(page, name):
    return page.locator(f"#{name}").inner_text()


def choose(page, name, option):
    page.locator(f"#{name} input[value='{option}']").dispatch_event("click")


def names_on(page, column):
    """Files of the table that have this in their last cell."""
    rows = page.locator("#seen tbody tr").all()
    ends = [row.locator("> :is(:first-child, :last-child)").all_inner_texts() for row in rows]
    return [first for first, last in ends if column in last]


def see_everything(page):
    for weights in ("float, 16 bits", "8 bits", "ternary"):
        choose(page, "weights", weights)
    choose(page, "weights", "8 bits")
    for clusters in ("4", "16", "none"):
        choose(page, "clusters", clusters)
    page.select_option("#how", label="QAT int8 (lab 05)")
    for sparsity in ("90 %", "95 %"):
        choose(page, "sparsity", sparsity)


def test_with_the_keyboard(page):
    assert text(page, "now").startswith("float: 99.00 %, 1,000 bytes, 900 after gzip")
    for expected in ("float16: 99.00 %, 520 bytes", "int8: 98.90 %, 300 bytes"):
        page.locator("#weights input:checked").press("ArrowRight")
        assert text(page, "now").startswith(expected)
    assert "3.2 times less than “float”" in text(page, "now")


def test_what_no_lab_has_made_cannot_be_chosen(page):
    able = "[...document.querySelectorAll('#sparsity input:enabled')].map((e) => e.value)"
    assert page.evaluate(able) == ["none"]
    choose(page, "weights", "8 bits")
    assert page.evaluate(able) == ["none", "90 %", "95 %"]
    choose(page, "clusters", "4")
    assert page.evaluate(able) == ["none"]
    assert text(page, "now").startswith("4 clusters, dynamic range: 97.00 %")


@pytest.mark.parametrize("size", ["gzip", "bytes"])
@pytest.mark.parametrize("sign", [1, -1])
def test_fronts_are_the_ledger_s(page, size, sign):
    """Of accuracies and of errors, over both sizes."""
    if sign < 0:
        page.select_option("#task", label="a room")
    choose(page, "size", size)
    see_everything(page)
    page.click("#reveal")
    costs = np.array([(row[3] if size == "gzip" else row[2], -sign * row[1]) for row in HANDS])
    best = {HANDS[i][0] for i in np.flatnonzero(pareto.beaten(costs) == 0)}
    assert set(names_on(page, "the labs'")) == set(names_on(page, "yours")) == best
    count = f"has {len(best)}: you have found {len(best)} of them"
    assert f"seen {len(HANDS)} of {len(HANDS)} files" in text(page, "verdict")
    assert count in text(page, "verdict")
    assert page.locator("#picture .seen-file").count() == len(HANDS)


def test_the_labs_front_is_hidden_until_it_is_asked_for(page):
    assert page.locator("#picture .theirs, #picture .unseen-file").count() == 0
    page.click("#reveal")
    assert page.locator("#picture .unseen-file").count() == len(HANDS) - 1
    assert "you have found" in text(page, "verdict")
    page.click("#anew")
    page.click("#reveal")
    assert page.locator("#picture .theirs, #picture .unseen-file").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_a_reader_s_way(page, violations, scheme):
    see_everything(page)
    page.click("#reveal")
    page.click("summary")
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_also_works_as_a_file(page, site):
    page.goto((site.folder / "explorer" / "index.html").as_uri())
    choose(page, "weights", "ternary")
    assert text(page, "now").startswith("ternary: 90.00 %, 100 bytes")
    known = page.locator("#files").text_content()
    assert len(json.loads(known)) == 2
