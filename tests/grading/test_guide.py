"""The instructor's guide: its commands are understood, its files exist."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from labkit import cli, course
from labkit.grading import grade, rehearsal
from labkit.grading.box import sandbox

ROOT = course.root()
GUIDE = (ROOT / "grading" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^(?:    .+\n)+", GUIDE, re.MULTILINE)
COMMANDS = [
    line
    for block in BLOCKS
    for line in re.sub(r" \\\n *", " ", block).splitlines()
    if line.strip().startswith("labkit grade")
]


def test_the_guide_has_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", [c.strip() for c in COMMANDS])
def test_commands_are_understood(command, monkeypatch):
    calls = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(grade, "grade_class", lambda *a, **k: calls.append(a) or [])
    monkeypatch.setattr(rehearsal, "rehearse", lambda *a, **k: calls.append(a) or [])
    arguments = shlex.split(command, comments=True)[1:]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert len(calls) == 1


def test_links_and_named_files_exist():
    for name in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert "://" in name or (ROOT / "grading" / name).exists(), name


def test_the_guide_says_what_each_isolation_does_not_stop():
    for word in (*sandbox.BACKENDS, "does not stop"):
        assert word in GUIDE
