"""The site in a browser: desktop and phone, with and without a server, a script, a network."""

import functools
import http.server
import os
import shutil
import threading
from importlib import resources

import pytest

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    not CHROMIUM and not os.environ.get("CI"),
    reason="there is no Chromium: tests/browser/install.sh installs it on Debian",
)

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
#: A page of each kind, for the examination that takes a second a page.
KINDS = (
    *("index", "ledger", "published", "glossary", "search", "labs/index", "labs/00_start_here"),
    *("techniques/clustering", "api/files", "instructors"),
)
WIDTHS = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served: axe asks for style sheets, which a file:// page may not."""
    handler = functools.partial(_Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    assert CHROMIUM, "CI needs Chromium: tests/browser/install.sh installs it"
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """A function that opens an empty page; whatever goes wrong on it is in its `faults`."""
    contexts = []

    def opened(**options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("console", lambda m: m.type in ("error", "warning") and page.faults.append(m.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        # A page that is left gives up what it still waits for: no fault.
        page.on(
            "requestfailed",
            lambda r: "ABORTED" in (r.failure or "") or page.faults.append(r.url),
        )
        page.on("response", lambda r: r.status >= 400 and page.faults.append(f"{r.status} {r.url}"))
        return page

    yield opened
    for context in contexts:
        context.close()


def names(site):
    found = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    return [path.relative_to(site).as_posix() for path in found]


@WIDTHS
def test_no_page_has_a_fault_or_scrolls_sideways(site, address, open_page, size):
    page = open_page(viewport=size)
    wrong = {}
    for name in names(site):
        page.goto(f"{address}/{name}", wait_until="load")
        page.wait_for_function("!window.MathJax?.startup?.promise || MathJax.startup.promise")
        wide = page.evaluate("document.documentElement.scrollWidth") - size["width"]
        missing = page.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        if page.faults or wide > 0 or missing:
            wrong[name] = [*page.faults, *missing, wide]
            page.faults.clear()
    assert wrong == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@WIDTHS
def test_axe_finds_nothing(address, open_page, size, scheme):
    if size is PHONE and scheme == "dark":
        pytest.skip("the colours of the desktop")
    axe = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page = open_page(viewport=size, color_scheme=scheme)
    found = {}
    for name in KINDS:
        page.goto(f"{address}/{name}.html", wait_until="load")
        page.evaluate(axe)
        options = "{resultTypes: ['violations'], preload: false}"
        for violation in page.evaluate(f"axe.run(document, {options})")["violations"]:
            shown = [node["html"][:120] for node in violation["nodes"][:3]]
            found[name, violation["id"]] = shown
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
