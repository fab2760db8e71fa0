"""A student's first minute: JupyterLab opens a notebook in a browser, and its first cells run."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from labkit import course

TOKEN = "labkit-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a JupyterLab on a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(course.root() / "notebooks", folder / "notebooks")
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
        f"--ServerApp.root_dir={folder / 'notebooks'}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    ]
    settings = {
        "LABKIT_PROFILE": "quick",
        "LABKIT_DATA_MODE": "synthetic",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | settings)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.25)
        else:
            pytest.fail(f"JupyterLab does not answer: {(folder / 'log').read_text()}")
        yield address
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def test_the_first_cells_run(browser, server):
    browser.get(f"{server}/lab/tree/00_start_here.ipynb?token={TOKEN}")
    wait = WebDriverWait(browser, 60, poll_frequency=0.5)
    wait.until(lambda b: "Lab 00" in b.find_element(By.TAG_NAME, "body").text)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-CodeCell .cm-content"))
    idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, idle))
    # Run the cells down to the first one that has output: title, texts, parameters, set-up.
    run = browser.find_element(
        By.CSS_SELECTOR, "[data-command='notebook:run-cell-and-select-next']"
    )
    for _ in range(5):
        run.click()
        time.sleep(0.3)
    wait.until(lambda b: "synthetic images, drawn by labkit" in output(b))
    assert "quick" in output(browser)
    assert [dialog.text for dialog in browser.find_elements(By.CSS_SELECTOR, ".jp-Dialog")] == []
    assert "Traceback" not in output(browser)


def output(browser):
    """The text of all outputs on the page."""
    areas = browser.find_elements(By.CSS_SELECTOR, ".jp-Cell-outputArea")
    return "\n".join(area.text for area in areas)
