"""Where students leave functions, answers and notebooks, and that they are found there."""

import dataclasses
import io
import json
import os
import zipfile

import nbformat
import pytest

from labkit.authoring.build import student_notebook
from labkit.grading import cells, grade, intake, notebooks, reading, students
from labkit.grading.executable import executable
from labkit.grading.inside import answers, plain
from labkit.grading.rehearsal import filled

STEP = "def step(low, high, bits):\n    return (high - low) / (2**bits - 1)\n"
ROUNDED = "def rounded(x, scale):\n    return scale * np.round(np.asarray(x) / scale)\n"
TEXT = "Between 256 codes there are 255 gaps, so 255 steps."
CASES = {
    "step": ({"low": 0.0, "high": 3.0, "bits": 2}, 1.0),
    "rounded": ({"x": [0.9, 2.1], "scale": 1.0}, [1.0, 2.0]),
}


@pytest.fixture(scope="module")
def given(rehearsal_lab):
    return student_notebook(rehearsal_lab)


@pytest.fixture
def made(rehearsal_lab):
    """A function from answers to a submission as JSON, whose cells are looked up by id."""

    def made(**given):
        raw = json.loads(nbformat.writes(filled(rehearsal_lab, given)))
        for cell in raw["cells"]:
            cell["source"] = "".join(cell["source"])
        return raw

    return made


def place(raw, name):
    return next(i for i, c in enumerate(raw["cells"]) if c.get("id") == f"lab90-{name}")


def own(source, kind="code"):
    return {"cell_type": kind, "metadata": {}, "source": source}


def at_the_end(raw):
    raw["cells"] += [own(STEP), own("import numpy as np\n" + ROUNDED)]


def above_the_stubs(raw):
    raw["cells"].insert(0, own("import numpy as np\n" + STEP + "\n" + ROUNDED))


def under_another_name_above(raw):
    step = "step = lambda low, high, bits: (high - low) / (2**bits - 1)\n"
    alias = ROUNDED.replace("rounded", "mine") + "rounded = mine"
    raw["cells"].insert(place(raw, "step"), own(f"import numpy as np\n{step}{alias}"))


def merged_upwards(raw):
    del raw["cells"][place(raw, "rounded")]
    raw["cells"][place(raw, "step")]["source"] = STEP + "\n\n" + ROUNDED


def merged_downwards(raw):
    del raw["cells"][place(raw, "step")]
    raw["cells"][place(raw, "rounded")]["source"] = STEP + "\n\n" + ROUNDED


def merged_into_a_check(raw):
    merged_upwards(raw)
    raw["cells"][place(raw, "step")]["source"] = STEP
    raw["cells"][place(raw, "step-check")]["source"] += "\n\n" + ROUNDED


def moved_to_the_end(raw):
    raw["cells"][place(raw, "step")]["source"] = STEP
    raw["cells"].append(raw["cells"].pop(place(raw, "step")))
    raw["cells"].append(own(ROUNDED))


def helpers_below(raw):
    raw["cells"][place(raw, "step")]["source"] = STEP.replace("(high - low)", "span(low, high)")
    raw["cells"] += [own("def span(low, high): return high - low"), own(ROUNDED)]


def an_import_added_to_the_setup(raw):
    raw["cells"][place(raw, "002")]["source"] += "\nimport math as m"
    raw["cells"][place(raw, "step")]["source"] = STEP.replace("2**bits", "m.floor(2**bits)")
    raw["cells"][place(raw, "rounded")]["source"] = ROUNDED


def wrong_first_right_below(raw):
    raw["cells"].insert(place(raw, "step"), own(STEP.replace("- 1", "")))
    raw["cells"] += [own(STEP), own(ROUNDED)]


def an_edited_stub_below(raw):
    raw["cells"].insert(0, own("import numpy as np\n" + STEP + ROUNDED))
    for name in ("step", "rounded"):
        raw["cells"][place(raw, name)]["source"] += "\n# see above"


@pytest.mark.parametrize("whole", [True, False], ids=["all", "exercises"])
@pytest.mark.parametrize(
    "change",
    [
        at_the_end,
        above_the_stubs,
        under_another_name_above,
        merged_upwards,
        merged_downwards,
        merged_into_a_check,
        moved_to_the_end,
        helpers_below,
        an_import_added_to_the_setup,
        wrong_first_right_below,
        an_edited_stub_below,
    ],
)
def test_functions_are_found(change, whole, made, given, tmp_path, monkeypatch):
    raw = made()
    change(raw)
    assert right(raw, given, tmp_path, monkeypatch, whole) == {"step", "rounded"}


@pytest.mark.parametrize("whole", [True, False], ids=["all", "exercises"])
def test_what_is_blank_finds_nothing(made, given, tmp_path, monkeypatch, whole):
    assert right(made(), given, tmp_path, monkeypatch, whole) == set()


def right(raw, given, folder, monkeypatch, whole):
    """The exercises for which one of the readings is right, the cells run as a kernel does."""
    restored = notebooks.restore(cells.parse(json.dumps(raw).encode()), given)
    monkeypatch.chdir(folder)
    (folder / answers.CASES).mkdir()
    for name, (inputs, _) in CASES.items():
        spec = {"cases": [plain.encode(inputs)], "answer": f"answer = {name}(**inputs)"}
        (folder / answers.CASES / f"{name}.json").write_text(json.dumps(spec))
    namespace = {"__name__": "__main__"}
    prepared = executable(restored, {"OUT": "out"}, list(CASES), whole)
    for cell in prepared.cells:
        try:
            exec(cell.source, namespace)
        except Exception:
            continue  # as a notebook goes on after a failing cell
    found = set()
    for name, (_, expected) in CASES.items():
        for path in (folder / answers.ANSWERS).glob(f"{name}*.json"):
            (answer,) = json.loads(path.read_text())
            if "answer" in answer and plain.agrees(expected, plain.decode(answer["answer"]), 1e-9):
                found.add(name)
    return found


def below(raw, question):
    raw["cells"].insert(question + 1, own(TEXT, "markdown"))


def instead(raw, question):
    raw["cells"][question] = own(TEXT, "markdown")


def typed_over_the_question(raw, question):
    raw["cells"][question]["source"] = TEXT


def as_code(raw, question):
    raw["cells"].insert(question + 1, own(TEXT))


def as_a_comment(raw, question):
    raw["cells"].insert(question + 1, own(f"# {TEXT}"))


def as_raw_text(raw, question):
    raw["cells"].insert(question + 1, own(TEXT, "raw"))


def in_a_question_turned_raw(raw, question):
    raw["cells"][question] |= {"cell_type": "raw", "source": TEXT}


def above(raw, question):
    raw["cells"].insert(question, own(TEXT, "markdown"))


def at_the_end_of_all(raw, question):
    raw["cells"].append(own(f"## Answers\n\n{TEXT}", "markdown"))


def in_another_text_of_the_lab(raw, question):
    raw["cells"][place(raw, "003")]["source"] += f"\n\n{TEXT}"


@pytest.mark.parametrize(
    "change",
    [
        below,
        instead,
        typed_over_the_question,
        as_code,
        as_a_comment,
        as_raw_text,
        in_a_question_turned_raw,
        above,
        at_the_end_of_all,
        in_another_text_of_the_lab,
    ],
)
def test_written_answers_are_found(change, made, given):
    raw = made()
    change(raw, place(raw, "why_steps"))
    restored = notebooks.restore(cells.parse(json.dumps(raw).encode()), given)
    assert TEXT in restored.answers["why_steps"]


def test_a_blank_question_has_no_answer(made, given):
    raw = made()
    raw["cells"].insert(1, own("Jane Doe, 4711", "markdown"))
    raw["cells"][place(raw, "why_steps")]["source"] += "\n \n"
    assert not notebooks.restore(cells.parse(json.dumps(raw).encode()), given).answers["why_steps"]


def test_half_characters_and_other_encodings(made, given):
    text = json.dumps(made(why_steps="It runs \ud83d there: é"), ensure_ascii=False)
    for content in (
        json.dumps(made(why_steps="It runs \ud83d there: é")).encode(),
        text.replace("\ud83d", "?").encode("utf-16"),
        text.replace("\ud83d", "?").encode("cp1252"),
        text.replace("\ud83d", "?").encode("utf-8-sig"),
    ):
        answer = notebooks.restore(cells.parse(content), given).answers["why_steps"]
        assert answer == "It runs ? there: é" and answer.encode()


@pytest.fixture(scope="module")
def wanted(given):
    lab = reading.WantedLab("90_rehearsal", ("90_rehearsal.ipynb",), given, {}, ("step",), True)
    return reading.Wanted((lab,), {"m.tflite": 100})


def read(folder, wanted):
    (handed,), _ = intake.find(folder)
    return reading.content(handed, wanted)


DONE = {"step": "solution", "rounded": "solution"}


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (("90_rehearsal.ipynb", {}), ("90_rehearsal-1.ipynb", DONE), 1),
        (("90_rehearsal.ipynb", DONE), ("90_rehearsal-1.ipynb", {}), 0),
        (("90_rehearsal.ipynb", {"step": "solution"}), ("90_rehearsal (2).ipynb", DONE), 1),
        (("90_rehearsal.ipynb", DONE), ("old/90_rehearsal.ipynb", {"step": "solution"}), 0),
        (("90_rehearsal.ipynb", DONE), ("draft.ipynb", {"step": "solution"}), 0),
    ],
)
def test_of_several_notebooks_the_latest_that_is_not_blank_counts(
    first, second, taken, made, wanted, tmp_path
):
    for name, done in (first, second):
        (tmp_path / "ann" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ann" / name).write_text(json.dumps(made(**done)))
    lab = read(tmp_path, wanted).labs["90_rehearsal"]
    names = first[0], second[0]
    assert lab.file == names[taken]
    assert any("not graded" in r and names[1 - taken] in r for r in lab.repairs)


def test_an_older_file_is_not_taken_for_its_name(made, wanted, tmp_path):
    (tmp_path / "ann").mkdir()
    for name, when in (("90_rehearsal.ipynb", 1e9), ("final.ipynb", 1.1e9)):
        (tmp_path / "ann" / name).write_text(json.dumps(made(step="solution")))
        os.utime(tmp_path / "ann" / name, (when, when))
    assert read(tmp_path, wanted).labs["90_rehearsal"].file == "final.ipynb"


def another_lab(raw):
    """The same as a notebook of lab 91, whose exercises are called otherwise."""
    text = json.dumps(raw).replace("lab90", "lab91").replace("90_rehearsal", "91_other")
    for old, new in (("step", "stride"), ("rounded", "cut"), ("steps", "strides")):
        text = text.replace(old, new)
    return json.loads(text)


@pytest.mark.parametrize("together", [False, True], ids=["two files", "one file"])
def test_a_blank_lab_is_not_taken_for_the_one_beside_it(together, made, given, wanted, tmp_path):
    other = nbformat.from_dict(another_lab(given))
    lab = dataclasses.replace(wanted.labs[0], lab="91_other", accepted=("91.ipynb",), given=other)
    blank, done = made(), another_lab(made(**DONE, why_steps=TEXT))
    done["cells"].insert(0, own("def step(low, high, bits): return 'by chance'"))
    done["cells"][-1]["source"] = "print('what takes long')"
    if together:
        done["cells"] += blank["cells"]
    else:
        (tmp_path / "ann").mkdir()
        (tmp_path / "ann" / "whatever.ipynb").write_text(json.dumps(blank))
    (tmp_path / "ann").mkdir(exist_ok=True)
    (tmp_path / "ann" / "91.ipynb").write_text(json.dumps(done))
    labs = read(tmp_path, reading.Wanted((*wanted.labs, lab), {})).labs
    assert labs["90_rehearsal"].file == ("91.ipynb" if together else "whatever.ipynb")
    assert not labs["90_rehearsal"].answers["why_steps"]
    assert "takes long" not in labs["90_rehearsal"].execute
    assert list(labs["91_other"].answers.values()) == [TEXT.replace("steps", "strides")]


def test_outputs_of_any_size_cost_nothing(made, wanted, tmp_path):
    raw = made(**DONE)
    outputs = [{"output_type": "stream", "name": "stdout", "text": "x" * 21_500_000}]
    raw["cells"][place(raw, "step")]["outputs"] = outputs
    (tmp_path / "ann.ipynb").write_text(json.dumps(raw))
    lab = read(tmp_path, wanted).labs["90_rehearsal"]
    assert lab.execute and len(lab.execute) < 50_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ann.zip", b"PK\x03\x04 cut"),
        ("ann.7z", b"7z"),
        ("ann/90_rehearsal.ipynb", b""),
        ("ann/90_rehearsal.ipynb", b'{"cells": ['),
        ("ann/.DS_Store", b""),
    ],
)
def test_a_submission_that_cannot_be_read_is_no_zero(name, content, wanted, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    found = read(tmp_path, wanted)
    assert found.trouble and found.labs["90_rehearsal"].unread


def test_what_is_not_there_is_a_zero(wanted, tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "report.pdf").write_bytes(b"x")
    found = read(tmp_path, wanted)
    assert not found.trouble and not found.labs["90_rehearsal"].unread and found.unread == []
    assert "report.pdf" in found.problems[0]


def test_files_in_an_archive_that_is_not_opened_may_be_there(made, wanted, tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "90_rehearsal.ipynb").write_text(json.dumps(made(**DONE)))
    (tmp_path / "ann" / "models.rar").write_bytes(b"Rar!")
    found = read(tmp_path, wanted)
    assert found.unread == ["m.tflite"] and "models.rar" in found.absent["m.tflite"]
    assert found.labs["90_rehearsal"].execute


def bomb(made):
    """Syntax that no parser of Python's takes, in a small zip with much behind it."""
    raw = made(**DONE)
    raw["cells"].append(own("x = " + "1 if x else " * 30_000 + "1"))
    raw["cells"][place(raw, "why_steps")]["source"] = "(" * 100_000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("90_rehearsal.ipynb", json.dumps(raw))
        archive.writestr("m.tflite", bytes(30_000_000))
    return buffer.getvalue()


def test_a_submission_ends_at_most_its_reader(made, wanted, tmp_path, monkeypatch):
    """What kills or holds up the child costs that submission alone; it is started anew."""
    (tmp_path / "a.zip").write_bytes(bomb(made))
    for name in ("b", "c"):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(made(**DONE)))
    handed, _ = intake.find(tmp_path)
    reader = reading.Reader(wanted)
    try:
        a, b = reader.read(handed[0]), reader.read(handed[1])
        assert "larger than" in " ".join(a.problems) and b.labs["90_rehearsal"].execute
        reader._child.kill()
        assert "the reader ended on it" in reader.read(handed[1]).trouble
        monkeypatch.setattr(reading, "SECONDS", 0.0)
        assert "longer than" in reader.read(handed[2]).trouble
        monkeypatch.undo()
        assert reader.read(handed[2]) == dataclasses.replace(
            b, name="c", files={"c.ipynb": b.files["b.ipynb"]}, labs=reader.read(handed[2]).labs
        )
    finally:
        reader.close()


def test_what_breaks_the_grader_fails_alone(wanted, tmp_path, monkeypatch):
    """Whatever scoring or a report meets in a submission, it gets a grade that says so."""
    (tmp_path / "ann.ipynb").write_text("{}")
    (handed,), _ = intake.find(tmp_path)
    student = students.Student("ann", "ann", "ann", False, "", reading.Content("ann", False))
    graded = []

    def grade_of(student, prepared):
        if not student.content.trouble:
            raise RecursionError
        return student.content.trouble

    monkeypatch.setattr(grade, "grade_of", grade_of)
    monkeypatch.setattr(grade.students, "wanted", lambda prepared: wanted)
    monkeypatch.setattr(grade.class_reports, "write_student", lambda *a: graded.append(a[0]))
    assert "RecursionError" in grade._graded(student, handed, None)
    assert len(graded) == 1 and student.absent and student.notebooks["90_rehearsal"]["status"]
