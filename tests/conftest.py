"""Shared by all tests: a small data set, a small trained-looking network, a quiet environment."""

import os
import subprocess
import sys
import time

os.environ.setdefault("LABKIT_QUIET", "1")

import numpy as np
import pytest

import labkit  # noqa: F401 - sets the environment before TensorFlow is imported
from labkit import files
from labkit.datasets import Dataset, hands, sign_mnist


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    if "LABKIT_CACHE" not in os.environ:
        monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def two_processors(monkeypatch):
    """Two processors with room in memory for what they do, and nobody to share them with."""
    from labkit import processes, runtime

    monkeypatch.setattr(runtime, "processors", lambda: 2)
    monkeypatch.setattr(processes, "EACH", 1)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """48 training and 24 test images, drawn."""
    classes = np.arange(48) % 24
    images = hands.draw(classes, seed=3) / np.float32(255)
    names = sign_mnist.CLASS_NAMES
    return Dataset("sign_mnist", "synthetic", images, classes, images[:24], classes[:24], names)


@pytest.fixture(scope="session")
def sign_model():
    """The baseline's architecture with weights and statistics that are not the initial ones."""
    from labkit import runtime
    from labkit.models import sign_cnn

    runtime.set_seed(5)
    model = sign_cnn.build()
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if "norm" in layer.name:
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, shape),
                    rng.normal(0, 0.3, shape),
                    rng.normal(0, 0.2, shape),
                    rng.uniform(0.3, 1, shape),
                ]
            )
    return model


@pytest.fixture(scope="session")
def recipe():
    """How the small networks of the tests are trained: an epoch on the 48 images in one batch."""
    from labkit.training import Recipe

    return Recipe(1, 4e-3, batch=64)


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """The folder in which all quick executions of labs share what they train; a text."""
    return os.environ.get("LABKIT_OUT") or str(tmp_path_factory.getbasetemp() / "out")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built site, built by the command, once for all jobs of this run."""
    pytest.importorskip("sphinx", reason="the site needs the extra site, and Python 3.11")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, said = shared / "site", shared / "site.txt"
    try:
        (shared / "site-begun").touch(exist_ok=False)
    except FileExistsError:  # by another job: it writes what was said last of all
        while not said.exists():
            time.sleep(0.2)
    else:
        code = "from labkit.cli import main; main()"
        command = [sys.executable, "-c", code, "site", "--out", str(folder)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        files.write_text(said, ran.stdout + ran.stderr)
    if not folder.exists():
        pytest.fail(f"the site was not built:\n{said.read_text(encoding='utf-8')}")
    return folder
