"""What a user installs: the wheel, built from the source archive, with the labs in it."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import labkit

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
TINY = """# %% [markdown]
# # Lab 90 · Tiny

# %% tags=["parameters"]
from labkit import runtime

PROFILE, DATA, SEED = runtime.default_profile(), runtime.default_data_mode(), 0
OUT = runtime.default_out()

# %%
from pathlib import Path

(Path(OUT) / "where").write_text(str(Path(runtime.__file__).parent))
"""


def run(*command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the source archive and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(BIN / "uv", "build", "--no-build-isolation", "--offline", "--out-dir", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


def test_both_are_in_order(built, wheel):
    run(BIN / "twine", "check", "--strict", wheel, *built.glob("*.tar.gz"))
    run(BIN / "check-wheel-contents", "--config", ROOT / "pyproject.toml", wheel)


def test_the_wheel_brings_the_labs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in ("notebooks/*.ipynb", "solutions/*.py", "grading/*.yaml"):
        for path in ROOT.glob(pattern):
            assert f"labkit/course_files/{path.relative_to(ROOT).as_posix()}" in names
    assert not [n for n in names if n.startswith("labkit/course_files/solutions") and "ipynb" in n]
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "labkit").rglob("*.py")}
    assert code <= names


def test_the_wheel_works_outside_a_checkout(wheel, tmp_path):
    """Unpacked it comes before the installed labkit."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    here = tmp_path / "here"
    here.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    code = "import sys; from labkit import cli; sys.argv[0] = 'labkit'; cli.main()"

    def command(*words):
        return run(sys.executable, "-c", code, *words, cwd=here, env=environment)

    assert labkit.__version__ in command("--version")
    assert "Dynamic range quantisation" in command("labs", "list")
    command("labs", "get", "mine")
    assert len(list((here / "mine" / "notebooks").glob("*.ipynb"))) == len(
        list((ROOT / "notebooks").glob("*.ipynb"))
    )
    tiny = tmp_path / "site" / "labkit" / "course_files" / "solutions" / "90_tiny.py"
    tiny.write_text(TINY, encoding="utf-8")
    assert "90_tiny: done" in command("run", "90", "--out", "out")
    assert (here / "out" / "where").read_text(encoding="utf-8") == str(tmp_path / "site" / "labkit")


def test_one_version_everywhere():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{labkit.__version__}"' in pyproject
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == labkit.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == labkit.__version__


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_what_the_host_reads_is_yaml(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))
