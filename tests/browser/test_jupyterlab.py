"""A student in JupyterLab: the first exercise of every lab, and a view that can be moved."""

import ast
import base64
import contextlib
import json
import os
import re
import shutil
import socket
import sys
import time
import urllib.request

import forked_kernels
import nbformat
import pytest
from wrong_answers import WRONG

from labkit import course
from labkit.authoring import dependencies
from labkit.authoring.mutation import answered
from labkit.authoring.source import solution_lines, sources, tagged

TOKEN = "labkit-test"
SOURCES = sources(root=course.root())
#: What JupyterLab colours red: errors, and what was written to standard error.
RED = "[data-mime-type='application/vnd.jupyter.stderr']"
#: A kernel is there and has nothing to do. JupyterLab's own indicator says so before there is one,
#: and what is run then is not run at all.
KERNEL_IS_IDLE = """
() => jupyterapp.shell.currentWidget?.sessionContext?.kernelDisplayStatus === "idle"
"""

#: By lab that has a view: what stands for the statements that give the same names, since training
#: is no matter of the view; and what the picture's text says when every control has been moved.
VIEWS = {
    "09": (
        "RUNS, EPOCHS = 1, 1\npaths = {'MLP': mlps.predict(now.x_test)}",
        "with 3 bits for weights and 3 for activations",
    ),
    "10": (
        "small = folding.fold(squeezenet.build((32, 32, 3), 10, **squeezenet.NETWORK[PROFILE]))",
        "the engine ideal with 4-bit weights",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The notebooks up to their first check, lab 00's whole; and those that lead to the views.

    JupyterLab makes an editor of every cell, which is most of what it does with a long notebook.
    """
    folder = tmp_path_factory.mktemp("course") / "notebooks"
    shutil.copytree(course.root() / "notebooks", folder)
    for source in SOURCES[1:]:
        path = folder / f"{source.name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        last = next(i for i, cell in enumerate(notebook.cells) if tagged(cell, "check"))
        del notebook.cells[last + 1 :]
        nbformat.write(notebook, path)
    for source in (s for s in SOURCES if s.number in VIEWS):
        nbformat.write(to_the_view(source), folder / f"view_of_{source.number}.ipynb")
    return folder


def to_the_view(source):
    """A notebook of the statements that a lab's view depends on, the exercises' solutions too."""
    shorter = {given(code): code for code in statements_of(VIEWS[source.number][0])}
    statements = []
    for cell in (c for c in source.notebook.cells if c.cell_type == "code"):
        for statement in statements_of(cell.source):
            code = shorter.get(given(statement), statement)
            statements.append(nbformat.v4.new_code_cell(code))
            if code.startswith("widgets."):
                statements[-1].metadata.tags = ["view"]
    needed = [statements[i].source for i in sorted(dependencies.needed(statements, ["view"]))]
    assert set(shorter.values()) < set(needed)
    cells = ["\n".join(needed[:-1]), needed[-1]]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
    notebook.metadata = source.notebook.metadata
    return notebook


def statements_of(code):
    return [ast.unparse(statement) for statement in ast.parse(code).body]


def given(statement):
    """What a statement assigns to, as a text."""
    return statement.partition(" = ")[0]


@pytest.fixture(scope="module")
def server(chromium, folder, out):
    """The address of a JupyterLab in the folder; its kernels know that somebody is watching."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        "--allow-root",
        "--LabApp.expose_app_in_browser=True",
        "--LanguageServerManager.autodetect=False",  # it asks npm for what is not there
        f"--ServerApp.root_dir={folder}",
    ]
    silent = {"fetchNews": "false", "checkForUpdates": False}
    overrides = folder.parent / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": silent}))
    overrides.with_name("page_config.json").write_text(json.dumps({"buildCheck": False}))
    settings = {
        "LABKIT_PROFILE": "quick",
        "LABKIT_DATA_MODE": "synthetic",
        "LABKIT_OUT": out,
        "LABKIT_QUIET": "",
        "JUPYTER_CONFIG_DIR": str(folder.parent / "config"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder.parent / "workspaces"),
    }
    address = f"http://127.0.0.1:{port}"
    said = folder.parent / "log"
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(said.open("w"))
        processes = []
        if sys.platform == "linux":
            forking = forked_kernels.forking(folder.parent / "kernels", log)
            forker, settings["JUPYTER_PATH"] = stack.enter_context(forking)
            processes.append(forker)
        environment = os.environ | settings
        starting = forked_kernels.started(command, log, env=environment)
        processes.append(stack.enter_context(starting))
        end = time.monotonic() + forked_kernels.PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5)
                break
            except OSError:
                assert all(p.poll() is None for p in processes), said.read_text()
                assert time.monotonic() < end, f"JupyterLab does not answer: {said.read_text()}"
                time.sleep(0.25)
        yield address


@pytest.fixture(scope="module")
def lab(opened, server):
    """JupyterLab as `make lab` opens it."""
    with opened(viewport={"width": 1400, "height": 1600}) as page:
        page.goto(f"{server}/lab?token={TOKEN}")
        yield page


@pytest.fixture
def open_notebook(lab):
    """A function that opens a notebook, which has a kernel until the end of the test."""

    def opening(name):
        lab.locator(".jp-DirListing-item", has_text=name).dblclick()
        lab.wait_for_function(KERNEL_IS_IDLE, polling=100)
        return lab.locator(".jp-NotebookPanel")

    yield opening
    lab.keyboard.press("Escape")
    lab.keyboard.press("Control+s")
    lab.keyboard.press("Control+Shift+q")  # Close and Shut Down Notebook
    lab.locator(".jp-Dialog .jp-mod-accept").click()
    lab.locator(".jp-NotebookPanel").wait_for(state="detached")


def run(lab, command):
    """A command of the menu Run."""
    lab.get_by_role("menuitem", name="Run", exact=True).click()
    lab.get_by_role("menuitem", name=command, exact=True).click()


def write(lab, cell, text):
    """Type a text in place of a cell's own."""
    editor = cell.locator(".cm-content")
    editor.click()
    lab.keyboard.press("Control+a")
    lab.keyboard.insert_text(text)
    assert editor.locator(".cm-line").all_text_contents() == text.split("\n")


@pytest.mark.parametrize("source", SOURCES, ids=[s.name for s in SOURCES])
def test_a_first_exercise(lab, open_notebook, source):
    """Left blank, answered wrongly, solved: what a student sees of each."""
    cells = source.notebook.cells
    place = next(i for i, cell in enumerate(cells) if tagged(cell, "exercise"))
    name = cells[place].metadata["exercise"]
    mistake, hint = next(pair for pair in WRONG[source.name][name] if pair[1])
    panel = open_notebook(source.name)
    exercise, check = (
        panel.locator(f".jp-Cell[data-windowed-list-index='{i}']") for i in (place, place + 1)
    )
    outcome = check.locator(".jp-Cell-outputArea")
    seen = {}
    for attempt, verdict, text in (
        ("blank", "… not filled in yet: ", None),
        ("wrong", "✗ not yet: ", answered(cells[place].source, mistake)),
        ("right", "✓ passed: ", answered(cells[place].source)),
    ):
        if text:
            write(lab, exercise, text)
        else:
            exercise.locator(".cm-content").click()
            run(lab, "Run All Above Selected Cell")
            exercise.locator(".cm-content").click()
        lab.keyboard.press("Shift+Enter")
        lab.keyboard.press("Shift+Enter")
        outcome.get_by_text(verdict).first.wait_for()
        lab.wait_for_function(KERNEL_IS_IDLE, polling=100)
        seen[attempt] = outcome.inner_text()
        if attempt == "blank":
            shown = {re.sub(r"\s+", " ", line) for line in panel.inner_text().splitlines()}
            assert shown & solution_lines(source) == set()
        if attempt != "right":
            assert check.locator(".jp-InputPlaceholder").is_visible()
            assert check.locator(".cm-content").count() == 0
            assert panel.locator(RED).count() == outcome.locator(RED).count() == 1
    assert f"not filled in yet: exercise {name}" in seen["blank"]
    assert "What is tested: " in seen["blank"] and "Why it matters: " in seen["blank"]
    assert "Hint: " in seen["wrong"] and hint in seen["wrong"]
    assert "Hint" not in seen["right"] and "CheckFailed" not in seen["right"]
    said = "\n".join(panel.locator(".jp-Cell-outputArea").all_inner_texts())
    assert "synthetic" in said and "quick" in said and "Traceback" not in said
    assert panel.locator(RED).count() == 0
    assert lab.locator(".jp-Dialog").count() == 0


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if s.number in VIEWS], ids=lambda source: source.name
)
def test_a_view_follows_its_controls(lab, open_notebook, source):
    """Whose picture is drawn anew: behind the statements alone that it depends on, all solved.

    Profile and data are those of the test before; next to nothing is trained.
    """
    panel = open_notebook(f"view_of_{source.number}")
    run(lab, "Run All Cells")
    picture = panel.locator(".jupyter-widgets img")
    fault = panel.locator(RED)
    picture.or_(fault).first.wait_for()
    assert fault.count() == 0, fault.first.inner_text()
    pictures, texts = [picture.get_attribute("src")], [picture.get_attribute("alt")]
    for control in panel.locator(".widget-toggle-buttons, .noUi-handle").all():
        buttons = control.locator("button")
        if buttons.count():
            buttons.last.click()
        else:
            control.press("ArrowLeft")
        unlike = "(old) => document.querySelector('.jupyter-widgets img').src !== old"
        lab.wait_for_function(unlike, arg=pictures[-1], polling=100)
        pictures.append(picture.get_attribute("src"))
        texts.append(picture.get_attribute("alt"))
    images = [base64.b64decode(src.split(",")[1]) for src in pictures]
    assert len(set(images)) == len(set(texts)) == len(texts) >= 3
    assert all(image.startswith(b"\x89PNG") for image in images)
    assert VIEWS[source.number][1] in texts[-1]
    assert fault.count() == 0
