"""The site in a browser: desktop and phone, with and without a server, a script, a network."""

import pytest

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
#: What a page is about; it has the same elements in every window.
ARTICLE = ".bd-article"
#: The windows of a reader, the colours that he prefers, and what axe-core need not see once more.
WINDOWS = (
    (DESKTOP, "light", ""),
    (PHONE, "dark", ""),
    (DESKTOP, "dark", ARTICLE),
    (PHONE, "light", ARTICLE),
)
FOLDERS = ("", "api", "explorer", "labs", "techniques")
#: A page of each kind.
KINDS = (
    *("index", "ledger", "published", "glossary", "search", "labs/index", "labs/00_start_here"),
    *("techniques/clustering", "api/files", "instructors"),
)
#: Waits until equations are set; and the images that are not there.
SET = "window.MathJax?.startup?.promise?.then(() => null)"
LOST = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"


@pytest.fixture(scope="module")
def address(chromium, site, serve):
    """Where the site is served: axe asks for style sheets, which a file:// page may not."""
    with serve(site) as server:
        yield server.address


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder or "root" for folder in FOLDERS])
def test_nothing_is_wrong(site, address, open_page, violations, folder):
    """On every page: one of each kind is loaded in four windows, and every other in the first.

    That one is then looked at as wide as the second. axe-core examines a page whenever it is
    loaded; but not the colours of the others, which come from the same style sheets. In the third
    and fourth window it examines what is around an article, as the article has been seen in these
    colours, and as wide, before.
    """
    pages = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    names = {page.as_posix() for page in pages if "_static" not in page.parts}
    assert names > set(KINDS)
    assert {name.rpartition("/")[0] for name in names} == set(FOLDERS)
    page, found = open_page(), {}
    for name in sorted(name for name in names if name.rpartition("/")[0] == folder):
        faults = []
        for size, scheme, seen in WINDOWS if name in KINDS else WINDOWS[:2]:
            page.set_viewport_size(size)
            if name in KINDS or size is DESKTOP:
                page.emulate_media(color_scheme=scheme)
                page.goto(f"{address}/{name}.html", wait_until="load")
                page.evaluate(SET)
                faults += page.evaluate(LOST)
                faults += violations(page, colours=name in KINDS, around=seen)
            wide = page.evaluate("document.documentElement.scrollWidth") - size["width"]
            if wide > 0:
                faults += [f"{wide} px too wide at {size['width']}"]
        faults += page.faults
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
