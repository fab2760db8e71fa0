"""The attack suite: what submissions try in order to get points, and that it earns them none.

All attacks are one class, graded once; nobody in it has solved anything unless it says so.
"""

import json
import os
import stat
import sys
import time
import uuid
import zipfile

import nbformat
import numpy as np
import psutil
import pytest

from labkit import course, files
from labkit.grading import rehearsal
from labkit.grading.grade import Settings, grade_class

PASSED = "✓ passed: step\n✓ passed: rounded"
MARK = f"labkit-{uuid.uuid4().hex}"  # of this run of the tests alone, whatever runs beside it

#: Code of a cell that is executed first of all, by attack.
CODE = {
    "monkeypatched showtraceback": (
        "get_ipython().showtraceback = lambda *a, **k: print('all good')\n"
        "import labkit.checks as c\n"
        "c.check.__exit__ = lambda self, *a: True\nc.PASSED = c.FAILED = c.UNFILLED = 'passed'"
    ),
    "sys.exit": "import sys; sys.exit(0)",
    "os._exit": "import os; os._exit(0)",
    "quit": "quit()",
    "forged results": (
        "import json, os\n"
        "for name in ('results.json', 'results/90.json', 'out/results/90.json', 'grade.json',\n"
        "             'figures/float.tflite.json', 'out/figures/float.tflite.json'):\n"
        "    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)\n"
        "    open(name, 'w').write(json.dumps({'accuracy': 1.0, 'score': 100, 'earned': 100,\n"
        "        'checks': [{'exercise': 'step', 'status': 'passed'}]}))"
    ),
    "forged answers": (
        "import json, os\nos.makedirs('answers', exist_ok=True)\n"
        "for name in ('step', 'rounded'):\n"
        "    open(f'answers/{name}.json', 'w').write(json.dumps(\n"
        "        [{'answer': {'value': True}}, {'answer': {'value': 0.0078}}]))\n"
        "os.chmod('answers', 0o500)"
    ),
    "answers that break the reader": (
        "import os\nos.makedirs('answers', exist_ok=True)\n"
        "open('answers/step.json', 'w').write('[' * 200_000)\n"
        "open('answers/rounded.json', 'w').write(\n"
        '    \'[{"answer": {"array": ["|O", [1], "AA"]}},\'\n'
        '    \'{"answer": {"list": {}}}]\')\n'
        "open('run.json', 'w').write('[' * 200_000)\nos.chmod('.', 0o500)"
    ),
    "printing what a check prints": f"print({PASSED!r})",
    "fork bomb": (
        "import os, time\n"
        "for _ in range(120):\n"
        "    try:\n"
        "        if not os.fork(): time.sleep(30); os._exit(0)\n"
        "    except OSError: pass\n"
        "time.sleep(30)"
    ),
    "filling the disk": (
        "for i in range(200): open(f'fill{i}', 'wb').write(b'1' * 1_000_000)\n"
        "import time; time.sleep(30)"
    ),
    "network": (
        "import urllib.request\n"
        "print(urllib.request.urlopen('http://192.0.2.1/solution', timeout=2).read())"
    ),
    "overridden __eq__": (
        "class Always(float):\n"
        "    __eq__ = __le__ = __lt__ = __ge__ = __gt__ = lambda *a: True\n"
        "    __hash__ = None\n"
        "    def __sub__(self, other): return 0.0\n"
        "    __rsub__ = __sub__\n"
        "step = lambda *a, **k: Always(1)"
    ),
    "patched grader": (
        "import labkit.grading.inside.plain as p, labkit.grading.inside.answers as i, numpy as np\n"
        "p.agrees = lambda *a: True\n"
        "i.answer = lambda *a: None\n"
        "i.one = lambda *a: {'answer': {'value': True}}\n"
        "np.array_equal = np.allclose = lambda *a, **k: True"
    ),
    "leaking inputs as names of cells": (
        "import json, os, signal, time\n"
        "told = ' '.join(open(f'cases/{n}.json').read() for n in ('step', 'rounded'))\n"
        "names = [{'cell': n, 'id': told[500 * n :][:500], 'error': told} for n in (0, 9, 10**9)]\n"
        "os.remove('run.json')\n"
        "open('run.json', 'w').write(json.dumps({'errors': names, 'cell': 1}))\n"
        "os.kill(os.getppid(), signal.SIGKILL)"
    ),
    "a cell number without end": (
        "import os, signal\nos.remove('run.json')\n"
        "open('run.json', 'w').write('{\"cell\": ' + '9' * 4290 + '}')\n"
        "os.kill(os.getppid(), signal.SIGKILL)"
    ),
    "memory in no process": (
        "import os\nfds = []\n"
        "for i in range(60):\n"
        "    fds.append(os.memfd_create(str(i)))\n"
        "    for _ in range(45): os.write(fds[-1], bytes(1 << 20))\n"
    ),
    "files that have no name": (
        "import os\n"
        "for i in range(34):\n"
        "    fd = os.open(f'f{i}', os.O_CREAT | os.O_RDWR); os.unlink(f'f{i}')\n"
        "    for _ in range(30): os.write(fd, bytes(1 << 20))"
    ),
    "a folder without end": "import os\nfor i in range(3000): os.mkdir('d'); os.chdir('d')",
    "killing the runner": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "killing everything": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "artefacts from the background": (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        f"    os.execv(__import__('sys').executable, ['python', '-c', '''# {MARK}\n"
        "import os, time\n"
        "while True:\n"
        '    os.makedirs("answers", exist_ok=True)\n'
        '    open("answers/step.json", "w").write("[]")\n'
        '    open("out/made.tflite", "wb").write(b"late")\n'
        "    time.sleep(0.01)'''])"
    ),
    "linked artefact": (
        "import os\nos.symlink('/etc/hostname', 'out/made.tflite')\n"
        "os.symlink('/etc/hostname', 'executed.ipynb')"
    ),
    "linked folder": "import os\nos.rmdir('out'); os.symlink('/usr', 'out')",
    "a pipe as artefact": "import os\nos.mkfifo('out/made.tflite')",
    "markup in an error": "raise RuntimeError('<script>alert(1)</script>\\n<img src=x>')",
}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the attacks are written for POSIX")


@pytest.fixture(scope="module")
def reachable(tmp_path_factory):
    """A file that a submission must not be able to read."""
    path = tmp_path_factory.mktemp("private") / "solution"
    path.write_text("def step(low, high, bits): return (high - low) / (2**bits - 1)\n")
    return path


@pytest.fixture(scope="module")
def attackers(rehearsal_lab, model_files, forged_files, dense, reachable, tmp_path_factory):
    """The class of attackers, as a folder."""
    to = tmp_path_factory.mktemp("attackers")
    blank = rehearsal.filled(rehearsal_lab, {})

    def hand_in(name, notebook=blank, **models):
        if notebook is not None:
            text = notebook if isinstance(notebook, str) else nbformat.writes(notebook)
            files.write_text(to / name / "90_rehearsal.ipynb", text)
        for model, content in models.items():
            files.write_bytes(to / name / f"{model}.tflite", content)

    for name, code in CODE.items():
        hand_in(name, with_first(blank, code))
    root = course.root()
    hand_in(
        "reading outside",
        with_first(
            blank,
            (
                f"for path in ({str(reachable)!r},\n"
                f"             {str(root / 'solutions' / '01_baseline.py')!r},\n"
                f"             {str(rehearsal_lab.path)!r}, '/etc/passwd'):\n"
                "    try: print('READ', open(path).read()[:60])\n"
                "    except OSError as error: print(type(error).__name__)\n"
                f"exec(open({str(reachable)!r}).read())"
            ),
        ),
    )
    hand_in("claiming outputs", claimed(blank))
    hand_in("edited checks", edited(blank))
    hand_in("deleted cells", deleted(blank))
    leaking = {"step": "def step(low, high, bits):\n    raise ValueError(f'{low} {high}')"}
    leaking = with_first(
        rehearsal.filled(rehearsal_lab, leaking),
        ("raise RuntimeError(open('cases/step.json').read())"),
    )
    hand_in("leaking inputs", leaking)
    hand_in("float as int8", blank, int8=model_files["float"])
    hand_in("16 bits as 4 bits", blank, four_bits=model_files["float16"])
    hand_in("truncated model", blank, float=model_files["float"][:2000])
    hand_in("malformed model", blank, float=b"\x1c\0\0\0TFL3" + b"\xff" * 5000)
    hand_in("memorised images", blank, float=memoriser(dense))
    for name, (which, content) in forged_files.items():
        hand_in(name, blank, **{which: content})
    hand_in("a pickle as a model", blank, float=b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    hand_in("<img src=x onerror=alert(1)>\n&amp;", with_first(blank, "1"))
    archive(to / "zip that leads outside.zip", nbformat.writes(blank))
    (to / "zip bomb.zip").write_bytes(bomb())
    return to


def with_first(notebook, code):
    """The notebook with a cell before all others."""
    changed = nbformat.from_dict(json.loads(nbformat.writes(notebook)))
    changed.cells.insert(0, nbformat.v4.new_code_cell(code, id="attack"))
    return changed


def claimed(notebook):
    """Every cell shows a check that passed."""
    changed = nbformat.from_dict(json.loads(nbformat.writes(notebook)))
    for cell in changed.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
            cell.outputs = [nbformat.v4.new_output("stream", text=PASSED)]
    return changed


def edited(notebook):
    """Checks that pass, and parameters of one's own."""
    changed = nbformat.from_dict(json.loads(nbformat.writes(notebook)))
    for cell in changed.cells:
        if "check" in cell.metadata.get("tags", []):
            cell.source = f"print({PASSED!r})"
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = "PROFILE, DATA, SEED, OUT = 'none', 'mine', 1, '/'"
    return changed


def deleted(notebook):
    """Nothing but a printed claim is left."""
    changed = nbformat.from_dict(json.loads(nbformat.writes(notebook)))
    changed.cells = [c for c in changed.cells if "exercise" in c.metadata.get("tags", [])][:1]
    changed.cells[0].source = f"print({PASSED!r})"
    return changed


def memoriser(dense):
    """A file that names the public test images and nothing else."""
    from labkit.compress import post_training
    from labkit.datasets import sign_mnist
    from labkit.grading.hidden import PUBLIC

    public = sign_mnist.synthesize(1, PUBLIC, seed=0)
    model = dense(public.x_test[:100], public.y_test[:100])
    return post_training.convert(model, "float")


def archive(path, notebook):
    """A zip with a link, a path upwards and an absolute one."""
    link = zipfile.ZipInfo("float.tflite")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("90_rehearsal.ipynb", notebook)
        opened.writestr("../../escaped.txt", "out")
        opened.writestr("/tmp/escaped.txt", "out")
        opened.writestr(link, "/etc/hostname")


def bomb():
    """A few hundred kilobytes that want to be hundreds of megabytes."""
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in ("float.tflite", "int8.tflite", *map(str, range(8))):
            opened.writestr(name, bytes(30_000_000))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def graded(attackers, assignment, split, isolated, tmp_path_factory):
    """Grade of every attacker, by name; and the folder of the reports."""
    import dataclasses

    made = dataclasses.replace(
        assignment,
        files=(
            *assignment.files,
            dataclasses.replace(assignment.files[0], name="made.tflite", source="execution"),
        ),
        limits=dataclasses.replace(assignment.limits, seconds=25, disk_mb=40, processes=24),
    )
    out = tmp_path_factory.mktemp("graded")
    grades = grade_class(attackers, made, out, Settings(jobs=2, hidden=split))
    return {grade["submission"]["name"]: grade for grade in grades}, out


#: Files written by hand; what else they try is tried on measuring alone (`inside`).
FORGED = [
    "zeros that reach no output",
    "zeros of no effect",
    "zeros for inputs that nobody reads",
    "a kernel in pieces",
    "floats in other operators",
    "answers by the row",
]
ATTACKS = [
    *CODE,
    *FORGED,
    "reading outside",
    "leaking inputs",
    "claiming outputs",
    "edited checks",
    "deleted cells",
    "float as int8",
    "16 bits as 4 bits",
    "truncated model",
    "malformed model",
    "a pickle as a model",
    "<img src=x onerror=alert(1)>\n&amp;",
    "zip that leads outside",
    "zip bomb",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_earns_nothing_and_is_no_fault_of_the_machine(graded, attack):
    grade = graded[0][attack]
    assert grade["score"]["earned"] == 0
    assert grade["score"]["faults"] == 0
    lost = [item for item in grade["items"] if item["earned"] == 0]
    assert lost and all(item["reasons"] for item in lost)


def test_every_attacker_was_graded(graded, attackers):
    assert len(graded[0]) == len(list(attackers.iterdir())) == len(ATTACKS) + 1


@pytest.mark.parametrize("attack", FORGED)
def test_a_forged_file_was_measured(graded, forged_files, attack):
    """It loses its points for what it is, not because it does not run."""
    which, _ = forged_files[attack]
    figures = graded[0][attack]["models"][f"{which}.tflite"]
    assert "problem" not in figures
    assert (figures["accuracy"] > 0.9) == (attack != "answers by the row")


def status(graded, attack):
    return graded[0][attack]["notebooks"][0]["status"]


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("os._exit", "ended by itself"),
        ("fork bomb", "processes"),
        ("filling the disk", "MB written"),
        ("killing the runner", "ended by itself"),
        ("a cell number without end", "ended by itself"),
        ("memory in no process", "failed"),
        ("files that have no name", "MB written"),
        ("network", "failed"),
        ("sys.exit", "failed"),
    ],
)
def test_the_report_says_what_happened(graded, attack, expected):
    assert expected in status(graded, attack)


def test_repairs_are_reported(graded):
    repairs = graded[0]["edited checks"]["notebooks"][0]["repairs"]
    assert "check step was changed: the lab's own was executed" in repairs
    assert "the parameters cell was changed: the lab's own was executed" in repairs
    repairs = graded[0]["deleted cells"]["notebooks"][0]["repairs"]
    assert "check rounded was missing and was put back" in repairs


def test_nothing_outside_was_read(graded):
    _, out = graded
    (path,) = (out / "students").glob("reading_outside*/executed/*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    printed = "".join(o.text for c in cells for o in c.outputs if o.output_type == "stream")
    assert printed.split()[:4] == ["FileNotFoundError"] * 4


def test_nothing_stays_in_the_background(graded):
    def command(process):
        try:
            return " ".join(process.cmdline())
        except psutil.Error:
            return ""

    time.sleep(0.2)
    assert not [p for p in psutil.process_iter() if MARK in command(p)]


def test_no_declared_file_came_from_a_link_a_pipe_or_the_background(graded):
    for attack in ("linked artefact", "linked folder", "a pipe as artefact"):
        assert "made.tflite" not in graded[0][attack]["models"]
    late = graded[0]["artefacts from the background"]["models"].get("made.tflite", {})
    assert "accuracy" not in late


def test_memorised_images_do_not_help(attackers, assignment, isolated, tmp_path):
    """On the public images the file is perfect; the hidden ones, drawn anew, tell."""
    import shutil

    shutil.copytree(attackers / "memorised images", tmp_path / "class" / "memorised images")
    (grade,) = grade_class(tmp_path / "class", assignment, tmp_path / "out", Settings())
    figures = grade["models"]["float.tflite"]
    assert figures["public_accuracy"] > figures["accuracy"] and figures["accuracy"] < 0.5
    assert grade["score"]["earned"] == 0


def test_zips_and_their_problems_are_told(graded, attackers):
    problems = " ".join(graded[0]["zip that leads outside"]["submission"]["problems"])
    assert problems.count("leads outside the submission") == 2 and "is a link" in problems
    assert not (attackers.parent / "escaped.txt").exists()
    assert not os.path.exists("/tmp/escaped.txt") and not os.path.exists("/tmp/owned")
    assert "larger than" in " ".join(graded[0]["zip bomb"]["submission"]["problems"])


def test_markup_is_escaped_everywhere(graded):
    _, out = graded
    pages = [*out.glob("*.html"), *out.glob("students/*/feedback.html")]
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<img" not in text and "<script" not in text, page
    (folder,) = [p for p in (out / "students").iterdir() if p.name.startswith("img_src")]
    assert "&lt;img src=x onerror=alert(1)&gt; &amp;amp;" in (folder / "feedback.html").read_text()


def test_feedback_shows_no_hidden_inputs_and_no_answers(graded):
    _, out = graded
    (cases,) = (out / "private" / "cases").glob("*.json")
    content = json.loads(cases.read_text())["90_rehearsal"]
    hidden = [answer["value"] for answer in content["step"]["expected"]]
    hidden += [case["dict"]["high"]["value"] for case in content["step"]["inputs"]]
    secret = (out / "private" / "secret").read_text().strip()
    for name in ("feedback.html", "results.json"):
        for page in out.glob(f"students/*/{name}"):
            text = page.read_text(encoding="utf-8")
            assert secret not in text and not any(str(value) in text for value in hidden)
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700


def test_the_inputs_are_not_those_of_the_notebook(graded):
    """A function that knows the notebook's own cases by heart knows none of the grader's."""
    _, out = graded
    (cases,) = (out / "private" / "cases").glob("*.json")
    content = json.loads(cases.read_text())["90_rehearsal"]
    inputs = [case["dict"] for case in content["step"]["inputs"]]
    assert [i["low"]["value"] for i in inputs] != [-1.0, -1.0]
    assert np.isfinite([i["high"]["value"] for i in inputs]).all() and sys.version_info
