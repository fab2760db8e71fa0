"""The site as it is built: whole, accessible, on its own, and without the solutions."""

import posixpath
import re
from urllib.parse import unquote, urlsplit

import pytest

from labkit import course
from labkit.authoring.source import solution_lines, sources

ROOT = course.root()
SOURCES = sources(root=ROOT)
each_lab = pytest.mark.parametrize("source", SOURCES, ids=[s.name for s in SOURCES])


def test_there_is_a_page_for_each_thing(pages):
    tables = pytest.importorskip("labkit.authoring.site.course")
    table = tables.read(ROOT / "docs" / "course.toml")
    wanted = {f"labs/{source.name}.html" for source in SOURCES}
    wanted |= {f"techniques/{name}.html" for name in table.techniques}
    parts = ("compress", "measure", "training", "hwce", "explore", "datasets", "grading")
    wanted |= {f"api/{part}.html" for part in parts}
    names = (
        "index",
        "results",
        "ledger",
        "published",
        "overview",
        "instructors",
        "glossary",
        "search",
    )
    wanted |= {f"{name}.html" for name in names}
    assert wanted <= set(pages)


def test_every_image_has_a_text_of_its_own(pages):
    texts = {}
    for name, page in pages.items():
        for image in page.all("img"):
            alt = image.get("alt", "")
            assert len(alt) > 20 and not re.fullmatch(r"\S+\.(png|svg|jpg)", alt), (name, image)
            texts.setdefault(alt, set()).add(posixpath.basename(image["src"]))
        for drawing in page.all("svg"):
            named = drawing.get("aria-hidden") or drawing.get("aria-labelledby")
            assert named or len(drawing.get("aria-label", "")) > 20, name
    assert len(texts) > 60
    assert {alt: files for alt, files in texts.items() if len(files) > 1} == {}


def test_no_link_is_dead(site, pages):
    dead = []
    for name, page in pages.items():
        for link in (a["href"] for a in page.all("a") if a.get("href")):
            address = urlsplit(link)
            if address.scheme in ("http", "https", "mailto"):
                continue
            folder = posixpath.dirname(name)
            to = posixpath.normpath(posixpath.join(folder, unquote(address.path)))
            to = to if address.path else name
            if not (site / to).is_file():
                dead.append((name, link))
            elif address.fragment and to in pages:
                ids = {e["id"] for found in pages[to].elements.values() for e in found if "id" in e}
                if unquote(address.fragment) not in ids:
                    dead.append((name, link))
    assert dead == []


def test_nothing_comes_from_elsewhere(site, pages):
    """Nothing but links that a reader follows names another host; what is named is there."""
    for name, page in pages.items():
        needed = [
            e["src"]
            for kind in ("script", "img", "iframe", "source")
            for e in page.all(kind)
            if "src" in e
        ]
        needed += [e["href"] for e in page.all("link") if e.get("rel") in ("stylesheet", "icon")]
        assert needed
        for address in needed:
            assert "//" not in address, (name, address)
            folder = site / posixpath.dirname(name)
            assert (folder / unquote(urlsplit(address).path)).is_file(), (name, address)
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), path


def squeezed(text):
    return re.sub(r"\s+", " ", text)


@each_lab
def test_no_page_shows_a_solution(source, pages):
    secret = solution_lines(source)
    assert secret
    text = pages[f"labs/{source.name}.html"].text
    assert "YOUR CODE HERE" in text
    assert secret & {squeezed(line.strip()) for line in text.splitlines()} == set()
    sentences = {line for line in secret if line.count(" ") > 6}  # elsewhere they wrap otherwise
    assert [line for line in sentences if line in squeezed(text)] == []


def test_no_file_holds_a_marker_of_a_solution(site):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".ipynb", ".txt", ".py", ".md"):
            assert "BEGIN SOLUTION" not in path.read_text(encoding="utf-8"), path


@each_lab
def test_a_labs_page_says_what_made_it(source, site, pages):
    page = pages[f"labs/{source.name}.html"]
    text = squeezed(page.text)
    for said in ("Time:", "Before it:", "Outputs:", "TensorFlow 2", "profile full", "seed 0"):
        assert said in text
    assert re.search(r"(real|synthetic) (images|samples)", text)
    (download,) = [a["href"] for a in page.all("a") if a.get("href", "").endswith(".ipynb")]
    student = (ROOT / "notebooks" / f"{source.name}.ipynb").read_bytes()
    assert (site / "labs" / download).read_bytes() == student


def test_the_labs_ledgers_are_on_a_page(pages):
    stored = pytest.importorskip("labkit.authoring.site.stored")
    ledger = stored.ledger(stored.read(ROOT))
    page = pages["ledger.html"]
    assert len(ledger) > 100 and set(ledger["lab"]) == {source.number for source in SOURCES}
    rows = [row for row in page.all("tr") if "data-lab" in row]
    assert [row["data-lab"] for row in rows] == list(ledger["lab"])
    drawn = ledger["value"].notna()
    count = (drawn & ledger["bytes"].notna()).sum() + (drawn & ledger["gzip (bytes)"].notna()).sum()
    assert len(page.all("circle")) == count
    text = squeezed(page.text)
    for row in ledger.sample(20, random_state=0).itertuples():
        assert (row.technique in text and f"{row.bytes:,.0f}" in text) or row.bytes != row.bytes


def test_every_document_has_a_verdict(pages):
    published = pytest.importorskip("labkit.measure").published()
    text = squeezed(pages["published.html"].text)
    tables = pytest.importorskip("labkit.authoring.site.course")
    documents = tables.read(ROOT / "docs" / "course.toml").documents
    beginnings = tuple(document.title for document in documents)
    titles = [title for title in published["document"].unique() if title.startswith(beginnings)]
    assert len(titles) == len(documents) == text.count("Verdict") == 5
    for title in titles:
        assert title in text
        count = (published["document"] == title).sum()
        assert f"All {count} figures" in text


def test_the_reference_is_readable(pages):
    """Signatures name no object's address, constraint or private parameter; prose is no type."""
    reference = {name: page.text for name, page in pages.items() if name.startswith("api/")}
    raw = r"0x[0-9a-f]{6}|<(factory|lambda|locals)>|<(class|function) |Annotated|~\w"
    taken = r"\bType:|Return type:|\(\*args, \*\*kwargs\)"
    unlike = re.compile(f"{raw}|{taken}")
    assert [(name, m[0]) for name, text in reference.items() for m in unlike.finditer(text)] == []
    for part, signature in {
        "grading": "Item(*, points: float, title: str = '')",
        "datasets": "ImageFolder(path: Path, class_names: tuple[str, ...], members: dict[str, "
        "tuple[str, ...]], classes: dict[str, ndarray])",
        "measure": "Operator(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...], "
        "options: dict[str, object] = ..., subgraph: int = 0)",
        "compress": "QuantClip(nbits=8, msb=0, mode='thesis', **arguments)",
        "plots": "comparison(report: DataFrame, metric: str = 'accuracy (%)', "
        "spread: str = '± (%)')",
    }.items():
        assert signature in squeezed(reference[f"api/{part}.html"])
    assert "Those that labkit knows, by name: what a ledger" in reference["api/measure.html"]
    assert 'return {"area": width * height}' in reference["api/explore.html"]
    assert "SENSOR_SIZES = (0.25, 0.6, 0.5)" in reference["api/datasets.html"]
    assert "KNOWN = " not in reference["api/measure.html"]


def test_code_that_has_no_colour_is_no_element(site, pages):
    style = (site / "_static" / "pygments.css").read_text(encoding="utf-8")
    rule = r'html\[data-theme="(\w+)"\] \.highlight( \.\w+)? {[^}]*\bcolor: (#\w+) *}'
    colours = {}
    for theme, kind, colour in re.findall(rule, style):
        colours.setdefault(kind.strip(" ."), {})[theme] = colour
    around = colours.pop("")
    assert set(around) == {"light", "dark"}
    plain = {kind for kind, own in colours.items() if own == around}
    assert plain == {"n", "nn", "nx", "p", "pm", "w"}
    for source in SOURCES:
        kinds = {span.get("class") for span in pages[f"labs/{source.name}.html"].all("span")}
        assert not kinds & plain and {"k", "o"} < kinds
