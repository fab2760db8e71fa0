import json

import nbformat
import pytest

from labkit.authoring.build import student_notebook
from labkit.grading import cells, notebooks
from labkit.grading.code_cells import definitions
from labkit.grading.executable import executable
from labkit.grading.rehearsal import filled

GOOD = {"step": "solution", "rounded": "solution", "why_steps": "Gaps lie between."}


@pytest.fixture
def given(rehearsal_lab):
    return student_notebook(rehearsal_lab)


@pytest.fixture
def raw(rehearsal_lab):
    """A good submission as JSON."""
    return json.loads(nbformat.writes(filled(rehearsal_lab, GOOD)))


def restore(raw, given):
    return notebooks.restore(cells.parse(json.dumps(raw).encode()), given)


def cell(raw, identifier):
    return next(c for c in raw["cells"] if c["id"] == identifier)


def is_good(restored):
    return (
        "2**bits - 1" in restored.exercises.get("step", "")
        and "np.round" in restored.exercises.get("rounded", "")
        and restored.answers == {"why_steps": "Gaps lie between."}
    )


def test_a_good_submission_needs_no_repair(raw, given):
    restored = restore(raw, given)
    assert is_good(restored) and restored.repairs == []
    assert [c.id for c in restored.cells] == [c.id for c in given.cells]


def test_cells_are_found_without_ids_by_their_tags(raw, given):
    for each in raw["cells"]:
        del each["id"]
        each["metadata"].pop("nbgrader")
    restored = restore(raw, given)
    assert is_good(restored)
    assert "exercise step was found by its tag, not its id" in restored.repairs


def test_cells_are_found_without_metadata_by_their_names(raw, given):
    raw["metadata"] = None
    for each in raw["cells"]:
        del each["id"]
        each["metadata"] = {}
    restored = restore(raw, given)
    assert is_good(restored)
    assert "exercise rounded was found by its name, not its id" in restored.repairs
    assert "written why_steps was found by its name, not its id" in restored.repairs


def test_duplicated_ids_do_not_mislead(raw, given):
    cell(raw, "lab90-rounded")["id"] = "lab90-step"
    for each in raw["cells"]:
        each["metadata"].pop("nbgrader")
    restored = restore(raw, given)
    assert is_good(restored)
    assert any("occurs 2 times" in repair for repair in restored.repairs)


def test_an_answered_copy_wins_over_an_empty_one(raw, given):
    empty = dict(next(c for c in given.cells if c.id == "lab90-step"))
    raw["cells"].insert(2, json.loads(json.dumps(empty)))
    assert is_good(restore(raw, given))


@pytest.mark.parametrize(
    ("identifier", "label"),
    [
        ("lab90-step-check", "check step"),
        ("lab90-001", "the parameters cell"),
        ("lab90-002", "the setup cell"),
    ],
)
def test_the_labs_own_cells_are_restored(raw, given, identifier, label):
    original = next(c for c in given.cells if c.id == identifier).source
    cell(raw, identifier)["source"] = "print('✓ passed: step')"
    restored = restore(raw, given)
    assert next(c for c in restored.cells if c.id == identifier).source == original
    assert f"{label} was changed: the lab's own was executed" in restored.repairs
    raw["cells"] = [c for c in raw["cells"] if c["id"] != identifier]
    restored = restore(raw, given)
    assert next(c for c in restored.cells if c.id == identifier).source == original
    assert f"{label} was missing and was put back" in restored.repairs


def test_added_cells_stay_where_they_are(raw, given):
    at = next(i for i, c in enumerate(raw["cells"]) if c["id"] == "lab90-rounded")
    added = {"cell_type": "code", "source": ["helper = 1\n", "x = 2"], "metadata": {}}
    raw["cells"].insert(at, added)
    sources = [c.source for c in restore(raw, given).cells]
    assert sources.index("helper = 1\nx = 2") < next(
        i for i, s in enumerate(sources) if s.startswith("def rounded")
    )


def test_an_empty_submission_is_the_given_notebook(given):
    restored = restore({"cells": []}, given)
    assert not restored.recognised and restored.exercises == {}
    assert [c.source for c in restored.cells] == [c.source for c in given.cells]


def test_a_free_notebook_is_not_recognised(given):
    assert not restore({"cells": [{"cell_type": "code", "source": "1 + 1"}]}, given).recognised


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b'{"cells": [{"source": "' + b"x" * 5_000_001 + b'"}]}', "5,000,000 characters"),
        (b'{"cells": ' + b"9" * 5000 + b"}", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b"[]", "no list of cells"),
        (b'{"cells": 3}', "no list of cells"),
        (b"[" * 100_000, "no valid JSON"),
        (b'{"worksheets": 3}', "old format"),
        (json.dumps({"cells": [{}] * 3000}).encode(), "3,000 cells"),
    ],
)
def test_what_is_no_notebook_is_told(given, content, message):
    with pytest.raises(cells.NotebookError, match=message):
        notebooks.restore(cells.parse(content), given)


@pytest.mark.parametrize(
    "damaged",
    [
        3,
        None,
        {"source": 3},
        {"cell_type": [], "source": [1, {}], "metadata": 3, "id": 7},
        {"cell_type": "code", "source": "1", "metadata": {"tags": "check", "nbgrader": []}},
    ],
)
def test_damaged_cells_do_no_harm(raw, given, damaged):
    raw["cells"].insert(1, damaged)
    assert is_good(restore(raw, given))


def test_old_formats_are_read(raw, given):
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {},
        "worksheets": [
            {
                "cells": [
                    {
                        "cell_type": "code",
                        "input": cell(raw, "lab90-step")["source"],
                        "outputs": [],
                        "language": "python",
                        "metadata": {},
                    }
                ]
            }
        ],
    }
    assert "2**bits" in restore(old, given).exercises["step"]


def test_outputs_of_a_submission_are_not_executed(raw, given):
    for each in raw["cells"]:
        if each["cell_type"] == "code":
            each["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "passed"}]
    prepared = executable(restore(raw, given), {"PROFILE": "quick"}, ["step"])
    assert all(c.outputs == [] for c in prepared.cells)
    sources = [c.source for c in prepared.cells]
    (parameters,) = [i for i, s in enumerate(sources) if s == "PROFILE = 'quick'"]
    assert "default_profile" in sources[parameters - 1]
    (asked,) = [i for i, s in enumerate(sources) if ".answer('step', globals())" in s]
    assert sources[asked - 1].startswith("def step")


def test_without_training_only_definitions_exercises_and_own_cells_are_executed(raw, given):
    own = {"cell_type": "code", "source": "helper = 1 + 1", "metadata": {}, "id": "mine"}
    raw["cells"].insert(4, own)
    prepared = executable(restore(raw, given), {"SEED": 0}, ["step"], whole=False)
    sources = [c.source for c in prepared.cells]
    text = "\n".join(sources)
    assert "import numpy as np" in text and "helper = 1 + 1" in text and "def rounded" in text
    assert "with check" not in text and "finished" not in text and "default_profile" not in text
    assert "### BEGIN SOLUTION" in text  # an exercise's cell stays as it is
    assert any(".answer('step'" in source for source in sources)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("import os\nx = f()\ny = [1, 2]\nprint(x)", "import os\ny = [1, 2]"),
        ("x.columns = ['a']\nx['b'] = 1\ny, z = 1, 2", "y, z = (1, 2)"),  # x is not defined
        ("def f(x):\n    return x\nf(1)", "def f(x):\n    return x"),
        ("%matplotlib inline", ""),
        ("class A: pass", "class A:\n    pass"),
        ("for i in range(9): train()", ""),
    ],
)
def test_definitions(code, kept):
    assert definitions(code) == kept
