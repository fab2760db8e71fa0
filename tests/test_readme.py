"""The README and the pages beside it say what is so: the example runs, commands and files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from labkit import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/labkit.md", "docs/results.md")
README, *_, LABKIT, _ = TEXTS = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES]


def test_the_example_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", LABKIT, re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    for shown in ("macro F1 (%)", "half pruned, int8", "QAT int8", "int4", " ms"):
        assert shown in ran.stdout


def test_its_commands_and_options_exist():
    group = get_command(cli.app)
    names = (
        "run",
        "report",
        "data",
        "labs",
        "grade",
        "doctor",
        "build",
        "net",
        "har",
        "sweep",
        "site",
    )
    text = "\n".join(TEXTS).replace("\\\n", "")
    commands = re.findall(rf"labkit ((?:{'|'.join(names)})\b[^`\n;]*)", text)
    assert set(names) <= {c.split()[0] for c in commands}
    for words in (command.split() for command in commands):
        command = group.commands[words[0]]
        if words[0] in ("data", "labs", "net", "har") and len(words) > 1:
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_its_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^ {4}|`)make (\w+)", "\n".join(TEXTS), re.MULTILINE))
    assert {"labs", "test", "lab", "site", "release"} <= targets
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


@pytest.mark.parametrize(
    ("page", "link"),
    sorted(
        {
            (page, link)
            for page, text in zip(PAGES, TEXTS, strict=True)
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        }
    ),
)
def test_its_links_lead_somewhere(page, link):
    assert ((ROOT / page).parent / link).exists()
