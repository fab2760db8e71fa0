"""Chromium, for all tests of a module; without it they are skipped, but never in CI on Linux."""

import contextlib
import http.server
import os
import shutil
import sys
import threading
from functools import partial
from importlib import resources
from pathlib import Path

import pytest
from forked_kernels import PATIENCE

#: The first that there is; the shell, without the browser's own windows, starts and draws faster.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
#: What a page shows that stands in somebody's way, an example of each kind. The rows of a table
#: below its tenth, which look like those above, are not shown meanwhile.
AXE = """
async ([colours, around]) => {
  const codes = colours ? [] : [...document.querySelectorAll(".highlight pre")];
  const coloured = codes.map((code) => code.innerHTML);
  for (const code of codes) code.textContent += "";
  const below = "tbody > tr:nth-child(n + 11):not([hidden])";
  const more = [...document.querySelectorAll(below)];
  for (const row of more) row.hidden = true;
  const wanted = { enabled: colours };
  const rules = { "color-contrast": wanted, "link-in-text-block": wanted };
  const part = around ? { exclude: [[around]] } : document;
  const found = await axe.run(part, { rules, resultTypes: ["violations"], preload: false });
  for (const row of more) row.hidden = false;
  codes.forEach((code, i) => { code.innerHTML = coloured[i]; });
  return found.violations.map((v) => [v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120))]);
}
"""


@pytest.fixture(scope="module")
def chromium():
    """A module's, not the session's: while it runs, no other test may start an event loop."""
    if not CHROMIUM:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail("CI needs Chromium: tests/browser/install.sh installs it")
        pytest.skip("there is no Chromium: tests/browser/install.sh installs it on Debian")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(chromium):
    """For a `with`: opened(**options) is an empty page, and what goes wrong on it its `faults`."""

    @contextlib.contextmanager
    def page_of(**options):
        context = chromium.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.faults = []
        page.on("console", lambda m: m.type in ("error", "warning") and page.faults.append(m.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        # A page that is left gives up what it still waits for: no fault.
        page.on(
            "requestfailed",
            lambda r: "ABORTED" in (r.failure or "") or page.faults.append(r.url),
        )
        page.on("response", lambda r: r.status >= 400 and page.faults.append(f"{r.status} {r.url}"))
        try:
            yield page
        finally:
            context.close()

    return page_of


@pytest.fixture
def open_page(opened):
    """A function that opens such a page until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(opened(**options))


class Site:
    """A folder on a server that remembers what it was asked for, until it is stopped."""

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, form, *arguments):
                asked.append(self.path)

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=folder)
        )
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def serve():
    """Serves a folder: serve(folder) is a `Site`."""
    return Site


@pytest.fixture(scope="session")
def violations():
    """What axe-core finds on a page as it is: pairs of a rule and the elements that break it.

    violations(page, colours=False) leaves out the two rules about colours, which take most of the
    time, and takes the colours out of the page's code meanwhile: the rest takes half of the time.
    violations(page, around="article") looks at what is around such an element alone.
    """
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

    def find(page, colours=True, around=""):
        if not page.evaluate("!!window.axe"):
            page.add_init_script(script)  # on every document that it opens from now on
            page.evaluate(script)
        return page.evaluate(AXE, [colours, around])

    return find
