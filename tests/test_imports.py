"""Dependencies run one way, and importing labkit is cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import labkit

PACKAGE = Path(labkit.__file__).parent
#: What each part imports; itself and the root of errors are always allowed.
MAY_IMPORT = {
    "errors": set(),
    "runtime": set(),
    "files": set(),
    "processes": {"runtime"},
    "course": {"files"},
    "checkpoint": {"files"},
    "datasets": {"runtime", "files", "course", "checkpoint"},
    "flatbuffer": set(),
    "training": {"runtime", "checkpoint", "datasets"},
    "models": {"runtime", "files", "datasets", "training"},
    "dimension": {"runtime"},
    "compress": {"runtime", "files", "flatbuffer", "dimension", "training", "models", "hwce"},
    "hwce": {"runtime", "files", "models"},
    "measure": {"runtime", "files", "flatbuffer"},
    "checks": set(),
    "plots": set(),
    "widgets": {"runtime", "hwce", "plots"},
    "doctor": {"runtime", "datasets"},
    "report": set(),
    "lab": {
        *("runtime", "files", "processes", "datasets", "training", "models", "measure", "checks"),
    },
    "authoring": {
        *(
            "runtime",
            "files",
            "course",
            "datasets",
            "training",
            "models",
            "compress",
            "measure",
            "checks",
        ),
        "har",
    },
    "grading": {"runtime", "files", "course", "datasets", "measure", "authoring"},
    "console": set(),
    "net": {
        *("runtime", "files", "datasets", "training", "models", "compress", "hwce", "measure"),
        *("plots", "console"),
    },
    "har": {"files", "measure", "console"},
    "explore": {
        *("runtime", "files", "processes", "checkpoint", "datasets", "training", "measure"),
        "console",
    },
    "cli": {
        *("runtime", "files", "course", "datasets", "measure", "plots", "doctor", "authoring"),
        *("grading", "console", "net", "har", "explore"),
    },
    "__init__": {"runtime"},
}


def imports(path):
    """The parts of labkit that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("labkit.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "labkit":
            found |= {a.name for a in node.names if a.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit."):
            found.add(node.module.split(".")[1])
    return found


def test_dependencies_run_one_way():
    """Each part imports what the table says, neither more nor less."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        found.setdefault(part, set()).update(imports(path) - {part, "errors"})
    assert found == MAY_IMPORT


def test_the_engine_is_numpy_and_numba_alone():
    for path in (PACKAGE / "hwce").glob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) (tensorflow|tf_keras|keras)\b", code, re.M), path


def modules_after(statement):
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "labkit",
        "labkit.datasets.registry",
        "labkit.datasets.sign_mnist",
        "labkit.cli",
        "labkit.doctor",
        "labkit.measure",
    ],
)
def test_no_tensorflow(module):
    assert "tensorflow" not in modules_after(f"import {module}")


def test_import_is_cheap():
    """Modules are counted rather than milliseconds: the count is the same on every machine."""
    heavy = {"numpy", "pandas", "matplotlib", "IPython", "scipy"}
    assert not heavy & modules_after("import labkit")
    assert not {"numpy", "pandas", "matplotlib", "IPython"} & modules_after("import labkit.cli")


def test_import_takes_less_than_0_3_seconds_of_processor_time():
    code = "import time; t = time.process_time(); import labkit; print(time.process_time() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    assert min(times) < 0.3


def test_keras_is_keras_2_and_the_start_up_is_quiet():
    code = (
        "import sys, labkit, tensorflow as tf, tensorflow_model_optimization as tfmot\n"
        "print(tf.keras.Model.__module__, tfmot.clustering.keras.cluster_weights.__name__)\n"
        "assert 'keras' not in sys.modules, 'Keras 3 was imported for nothing'\n"
        "import keras\n"
        "print(keras.__version__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"tf_keras\S* cluster_weights\n3\.\S+\n", ran.stdout)
    assert ran.stderr == ""


def test_keras_3_before_labkit_is_an_error():
    code = "import os; os.environ['TF_USE_LEGACY_KERAS'] = '0'; import keras, tensorflow, labkit"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "import labkit first" in ran.stderr
