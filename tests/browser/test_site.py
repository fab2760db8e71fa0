"""The site in a browser: desktop and phone, with and without a server, a script, a network."""

import pytest

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
#: A page of each kind.
KINDS = (
    *("index", "ledger", "published", "glossary", "search", "labs/index", "labs/00_start_here"),
    *("techniques/clustering", "api/files", "instructors"),
)


@pytest.fixture(scope="module")
def address(chromium, site, serve):
    """Where the site is served: axe asks for style sheets, which a file:// page may not."""
    with serve(site) as server:
        yield server.address


@pytest.mark.parametrize(
    ("size", "scheme", "everywhere"),
    [
        pytest.param(DESKTOP, "light", True, id="desktop"),
        pytest.param(PHONE, "dark", True, id="phone"),
        pytest.param(DESKTOP, "dark", False, id="dark desktop"),
        pytest.param(PHONE, "light", False, id="light phone"),
    ],
)
def test_nothing_is_wrong(site, address, open_page, violations, size, scheme, everywhere):
    """On every page in two windows, and on one of each kind in the other colours.

    axe-core examines one of each kind every time, and every page once, on a desktop: those but for
    their colours, which come from the same style sheets.
    """
    pages = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    names = {path.relative_to(site).with_suffix("").as_posix() for path in pages}
    assert names > set(KINDS)
    page, found = open_page(viewport=size, color_scheme=scheme), {}
    for name in sorted(names) if everywhere else KINDS:
        page.goto(f"{address}/{name}.html", wait_until="load")
        page.wait_for_function("!window.MathJax?.startup?.promise || MathJax.startup.promise")
        faults = page.faults + page.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        wide = page.evaluate("document.documentElement.scrollWidth") - size["width"]
        if wide > 0:
            faults += [f"{wide} px too wide"]
        if name in KINDS:
            faults += violations(page).items()
        elif size is DESKTOP:
            faults += violations(page, colours=False).items()
        page.faults.clear()
        if faults:
            found[name] = faults
    assert found == {}


def test_it_works_from_a_folder_without_a_network(site, open_page):
    page = open_page(viewport=PHONE, offline=True)
    page.goto((site / "labs" / "02_dynamic_range.html").as_uri())
    page.wait_for_selector("mjx-container mjx-math")  # equations are set
    page.goto((site / "search.html").as_uri() + "?q=quantisation")
    page.locator("#search-results li a").nth(5).wait_for()  # they come one by one
    assert page.faults == []


def test_one_goes_from_lab_to_lab(address, open_page):
    page = open_page(viewport=DESKTOP)
    page.goto(f"{address}/labs/02_dynamic_range.html")
    page.locator(".prev-next-area .right-next").click()
    assert page.url.endswith("/labs/03_int16x8.html")
    page.locator(".prev-next-area .left-prev").click()
    assert page.url.endswith("/labs/02_dynamic_range.html")
    with page.expect_download() as download:
        page.locator("a.download").click()
    assert download.value.suggested_filename == "02_dynamic_range.ipynb"


def test_dark_is_remembered(address, open_page):
    page = open_page(viewport=DESKTOP, color_scheme="light")
    page.goto(f"{address}/index.html")
    page.locator(".theme-switch-container button").first.click()
    page.get_by_text("Dark", exact=True).first.click()
    page.goto(f"{address}/ledger.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_front_names_what_is_pointed_at_and_is_filtered(address, open_page):
    page = open_page(viewport=DESKTOP)
    page.goto(f"{address}/ledger.html")
    figure = page.locator(".front-figure:visible")
    assert figure.count() == 1
    circle = figure.locator("circle").last
    circle.scroll_into_view_if_needed()
    circle.hover(force=True)
    said = figure.locator(".front-tip").text_content()
    assert said in figure.locator("circle title").all_text_contents()
    line = figure.locator(".front").get_attribute("d")
    everything = figure.locator("circle:visible").count()
    rows = page.locator("tr[data-lab]:visible").count()
    for lab in ("05", "06", "07"):
        page.locator(f"[data-filter=lab][value='{lab}']").uncheck()
    assert figure.locator("circle[data-lab='06']:visible").count() == 0
    assert 0 < figure.locator("circle:visible").count() < everything
    assert figure.locator(".front").get_attribute("d") != line
    assert page.locator("tr[data-lab='06']:visible").count() == 0
    assert 0 < page.locator("tr[data-lab]:visible").count() < rows
    page.locator("#front-filters select").first.select_option(index=1)
    assert figure.locator("circle[data-lab='08']:visible").count() > 5
    assert figure.locator("circle[data-lab='01']").count() == 0


def test_without_a_script_everything_is_there(address, open_page):
    page = open_page(viewport=PHONE, java_script_enabled=False)
    page.goto(f"{address}/ledger.html")
    figures = page.locator(".front-figure")
    assert figures.count() >= 8
    assert page.locator(".front-figure:visible").count() == figures.count()
    assert page.locator(".filters:visible").count() == 0
    assert page.locator("tr[data-lab]:visible").count() > 100
