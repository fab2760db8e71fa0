import csv
import io
import json

import pytest

from labkit.grading import GradingError, exports, marks, report, similarity
from labkit.grading.assignment import Assignment, Board, Model, Part, Written

NASTY = '<img src=x onerror=alert(1)>\n=HYPERLINK("http://x")\t\x07'
ITEMS = (
    Model(model="m.tflite", title="The file", points=6.0),
    Written(written="01_x/why", title="Why?", points=4.0, figures=("m.tflite",)),
)
ASSIGNMENT = Assignment(
    schema=1,
    name="a",
    title="A · 1",
    points=10,
    parts=(Part("Files", ITEMS[:1]), Part("Text", ITEMS[1:])),
    leaderboard=Board(("m.tflite",)),
    digest="0" * 64,
)
FIGURES = {
    "accuracy": 0.9,
    "bytes": 1000,
    "gzip_bytes": 900,
    "weight_types": ["int8"],
    "storage_bits": 8,
    "code_bits": 8,
    "sparsity": 0.0,
}


def grade(name, earned=6.0, mark=None, faults=0, size=1000, accuracy=0.9):
    items = [
        {
            "id": ITEMS[0].id,
            "kind": "model",
            "part": "Files",
            "title": "The file",
            "points": 6.0,
            "earned": earned,
            "status": "scored",
            "reasons": [NASTY],
            "hints": [NASTY],
        },
        {
            "id": ITEMS[1].id,
            "kind": "written",
            "part": "Text",
            "title": "Why?",
            "points": 4.0,
            "earned": mark,
            "status": "scored" if mark is not None else "to be marked",
            "reasons": [],
            "hints": [],
        },
    ]
    return {
        "submission": {
            "id": name,
            "name": name,
            "folder": name.strip("=")[:8].strip("<\n "),
            "late": False,
            "trouble": "",
            "problems": [NASTY],
        },
        "environment": {
            "isolation": "limits",
            "isolation_says": "x",
            "profile": "quick",
            "data": "synthetic",
            "python": "3",
            "labkit": "0",
            "platform": "x",
            "sha256": "0" * 64,
            "hidden": {"samples": 10, "source": "s"},
        },
        "score": {
            "earned": earned + (mark or 0),
            "possible": 10,
            "waiting": 0 if mark is not None else 4,
            "faults": faults,
            "unread": 0,
        },
        "items": items,
        "remarks": [NASTY],
        "notebooks": [
            {"lab": "01_x", "file": NASTY, "status": NASTY, "repairs": [NASTY], "errors": [NASTY]}
        ],
        "models": {"m.tflite": FIGURES | {"bytes": size, "accuracy": accuracy}},
        "answers": {"01_x/why": NASTY},
    }


def table(text):
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def unreadable(name):
    """A grade of which nothing could be read."""
    found = grade(name)
    found["submission"]["trouble"] = "hw.zip: it is damaged"
    found["score"]["unread"], found["score"]["earned"] = 1, 0
    found["items"][0] |= {"earned": None, "status": "could not be read", "reasons": ["damaged"]}
    return found


@pytest.mark.parametrize(
    "page",
    [
        report.feedback(grade(NASTY), ASSIGNMENT),
        report.summary(
            [grade(NASTY)],
            ASSIGNMENT,
            grade("x")["environment"],
            [{"a": NASTY, "b": NASTY, "code": 1.0, "text": 0.5, "files": [NASTY]}],
            1.0,
        ),
        report.written([grade(NASTY)], ASSIGNMENT),
        report.leaderboard(exports.leaderboard([grade(NASTY)], ASSIGNMENT, b"s"), ASSIGNMENT),
    ],
    ids=["feedback", "class", "written", "leaderboard"],
)
def test_pages_escape_whatever_comes_from_a_submission(page):
    assert "<img" not in page and "<script" not in page
    assert "default-src 'none'" in page


def test_feedback_says_reason_and_hint():
    page = report.feedback(grade("ann", earned=2.0), ASSIGNMENT)
    assert "2 of 6" in page and "Hint:" in page and "still to be marked" in page


def test_cells_hold_no_formulas_and_no_control_characters():
    for text in ("=1+1", "+1", "-1", "@x"):
        assert exports.cell(text) == f"'{text}"
    assert exports.cell("a\tb\x00\rc") == "a b  c" and exports.cell(None) == ""
    rows = table(exports.grades_csv([grade(NASTY), grade("=cmd", mark=4.0)]))
    assert len(rows) == 3 and rows[2][1] == "'=cmd"
    assert rows[2][2:6] == ["10", "10", "0", "complete"]


def test_incomplete_grades_are_not_given_to_canvas():
    grades = [grade("1", mark=4.0), grade("2"), grade("3", faults=1, mark=1.0)]
    rows = table(exports.canvas_csv(grades, ASSIGNMENT, None))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "A · 1"]
    assert rows[1][0].strip() == "Points Possible" and rows[1][-1] == "10"
    assert [row[-1] for row in rows[2:]] == ["10", "", ""]


def test_canvas_rows_follow_the_roster(tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Other\n    Points Possible,,,,,5\n"
        '"Roe, Jim",2,j2,jim,S1,3\n"Doe, Jane",1,j1,jane,S1,4\n'
    )
    rows = table(exports.canvas_csv([grade("1", mark=4.0)], ASSIGNMENT, roster))
    assert rows[2:] == [
        ["Roe, Jim", "2", "j2", "jim", "S1", ""],
        ["Doe, Jane", "1", "j1", "jane", "S1", "10"],
    ]
    rows = table(exports.canvas_csv([grade("7", mark=4.0), grade("jane")], ASSIGNMENT, roster))
    assert [row[-1] for row in rows[2:]] == ["", ""]
    (notice,) = exports.gaps(roster, ["1", "7", "j2", "jane"])
    assert "does not list 7: graded" in notice and exports.gaps(roster, ["1"]) == []
    # As Canvas exports it, and as a spreadsheet may have saved it since.
    text = roster.read_text().replace("Other", "A · 1 (55501)").replace(",", ";")
    roster.write_bytes(text.replace("Doe; Jane", "Dö; Jane").encode("cp1252"))
    rows = table(exports.canvas_csv([grade("1", mark=4.0)], ASSIGNMENT, roster))
    assert rows[0][-1] == "A · 1 (55501)" and rows[3][0::5] == ["Dö; Jane", "10"]
    roster.write_text("a,b\n1,2\n")
    with pytest.raises(GradingError, match="expected Canvas's"):
        exports.canvas_csv([], ASSIGNMENT, roster)


def test_what_could_not_be_read_is_nobodys_zero():
    rows = table(exports.canvas_csv([unreadable("1")], ASSIGNMENT, None))
    assert rows[2][-1] == ""
    content = json.loads(exports.gradescope(unreadable("1")))
    assert "score" not in content and "could not be read" in content["output"]
    page = report.feedback(unreadable("1"), ASSIGNMENT)
    assert "Not graded yet" in page and "hand it in again" in page and "0</b> of" not in page
    grades = [grade("ann"), grade("bob", mark=4.0), unreadable("zoe")]
    page = report.summary(grades, ASSIGNMENT, grade("x")["environment"], [], 1.0, ["NOTICE"])
    assert page.index("zoe") < page.index("ann") and "NOTICE" in page
    assert "1 complete, their mean 10.0" in page and "2 to be marked" in page


def test_tables_open_in_a_spreadsheet():
    for text in (exports.grades_csv([grade("é")]), marks.table([grade("é")], ASSIGNMENT, {})):
        assert text.encode().startswith(b"\xef\xbb\xbf")


def test_identical_files_are_told_once_a_group():
    who = [f"s{n}" for n in range(16)]
    pairs = [
        {"a": a, "b": b, "code": 0.0, "text": 0.0, "files": ["m.tflite"]}
        for a in who
        for b in who
        if a < b
    ]
    page = report.summary([grade("ann")], ASSIGNMENT, grade("x")["environment"], pairs, 1.0)
    assert page.count("m.tflite</code></td>") == 1
    pairs = [p | {"code": 0.9, "files": []} for p in pairs]
    page = report.summary([grade("ann")], ASSIGNMENT, grade("x")["environment"], pairs, 1.0)
    assert "the first 50 pairs, 70 more" in page


def test_gradescope():
    content = json.loads(exports.gradescope(grade("ann", mark=3.0)))
    assert content["score"] == 9.0
    assert [t["score"] for t in content["tests"]] == [6.0, 3.0]
    assert {t["output_format"] for t in content["tests"]} == {"text"}
    assert "score" not in json.loads(exports.gradescope(grade("ann", faults=1)))
    waiting = json.loads(exports.gradescope(grade("ann")))["tests"][1]
    assert not {"score", "status"} & waiting.keys() and waiting["output"] == "to be marked"


def test_the_leaderboard_is_pseudonymous_and_marks_the_front():
    grades = [
        grade("ann", size=100, accuracy=0.8),
        grade("bob", size=200, accuracy=0.9),
        grade("cem", size=300, accuracy=0.85),
        grade("dan", earned=0.0, size=1),
    ]
    rows = exports.leaderboard(grades, ASSIGNMENT, b"secret")
    assert [(r["size"], r["front"]) for r in rows] == [(100, True), (200, True), (300, False)]
    page = report.leaderboard(rows, ASSIGNMENT)
    assert not any(name in page for name in ("ann", "bob", "cem")) and rows[0]["who"] in page
    assert exports.pseudonym("ann", b"other") != exports.pseudonym("ann", b"secret")


def test_marks_are_read_back(tmp_path):
    path = tmp_path / "written.csv"
    grades = [grade("ann"), grade("bob")]
    path.write_text(marks.table(grades, ASSIGNMENT, {}), encoding="utf-8")
    assert marks.read(path, ASSIGNMENT) == []
    rows = table(path.read_text(encoding="utf-8"))
    assert "m.tflite: 90.00 %, 1,000 bytes" in rows[1][6]
    rows[2][7:9] = ["3.5", "good"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    given, notices = marks.resolved(marks.read(path, ASSIGNMENT), path, ["ann", "bob"])
    found = marks.merged({}, given)
    assert notices == [] and found == {"bob": {ITEMS[1].id: {"points": 3.5, "comment": "good"}}}
    assert "3.5,good" in marks.table(grades, ASSIGNMENT, found)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ann,written:01_x/why,5", "from 0 to 4"),
        ("ann,written:01_x/why,nan", "from 0 to 4"),
        ("ann,written:01_x/why,two", "from 0 to 4"),
        ("ann,written:other,1", "not marked by hand"),
    ],
)
def test_impossible_marks_are_told(tmp_path, row, message):
    path = tmp_path / "w.csv"
    path.write_text(f"folder,item,mark\n{row}\n")
    with pytest.raises(GradingError, match=message):
        marks.read(path, ASSIGNMENT)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(GradingError, match="expected the columns"):
        marks.read(path, ASSIGNMENT)


def test_marks_of_two_people_are_put_together(tmp_path):
    path, item = tmp_path / "w.csv", ITEMS[1].id
    known = {"ann": {item: {"points": 1.0, "comment": "a"}}, "gone": {item: {"points": 2.0}}}
    for text, points in (
        (f"folder;item;mark\nbob;{item};3,5\n", {"ann": 1.0, "gone": 2.0, "bob": 3.5}),
        (f"folder,item,mark\nann,{item},2\n", {"ann": 2.0, "gone": 2.0}),
        (f"folder,item,mark\nann,{item},-\n", {"gone": 2.0}),
        (f"folder,item,mark\nann,{item},\n", {"ann": 1.0, "gone": 2.0}),
    ):
        path.write_text(text)
        given, notices = marks.resolved(marks.read(path, ASSIGNMENT), path, ["ann", "bob"])
        found = marks.merged(known, given)
        assert {folder: of[item]["points"] for folder, of in found.items()} == points
        assert notices == []


def test_marks_for_nobody_are_told_and_lost_zeros_found(tmp_path):
    path, item = tmp_path / "w.csv", ITEMS[1].id
    path.write_text(f"folder,item,mark\n7001,{item},2\n4.7E+05,{item},1\n")
    rows = marks.read(path, ASSIGNMENT)
    given, (unknown, found) = marks.resolved(rows, path, ["007001", "x"])
    assert given.marks["007001"][item]["points"] == 2
    assert "'4.7E+05' (row 3)" in unknown and "'7001' for '007001'" in found
    path.write_text(f"folder,item,mark\nx,{item},2\nx,{item},1\n")
    with pytest.raises(GradingError, match="rows 2 and 3: two marks"):
        marks.read(path, ASSIGNMENT)


GIVEN = "import numpy as np\n\ndef given(a, b):\n    return np.sum(a) + np.mean(b) - np.max(a)\n"
COPIED = """
def unusual(values, weights):
    total = 0
    for my_strange_index in range(len(values)):
        total = total + values[my_strange_index] * weights[my_strange_index] / 3.14159
    return [total for _ in range(7)][::-1]
"""
OTHER = """
def ordinary(codes, scale):
    result = np.where(codes > 0, codes * scale, -codes / scale).sum(axis=0)
    return np.clip(result, -1, 1).astype(np.float32), float(scale) ** 2
"""


def test_copies_are_found_and_what_was_given_is_not_counted():
    written = {
        "ann": ([GIVEN, COPIED], ["A text that both of them have written in their own words."], {}),
        "bob": ([GIVEN, COPIED.replace("total", "total")], [], {"m": "1"}),
        "cem": ([GIVEN, OTHER], [], {"m": "2"}),
        "dan": ([GIVEN], [], {"m": "2"}),
    }
    pairs = similarity.pairs(written, [GIVEN])
    assert [(p["a"], p["b"]) for p in pairs] == [("ann", "bob"), ("cem", "dan")]
    assert pairs[0]["code"] == 1.0 and pairs[1]["files"] == ["m"] and pairs[1]["code"] == 0


def test_comments_and_layout_make_no_difference():
    disguised = COPIED.replace("    return", "\n    # my own work!\n    return")
    written = {"a": ([COPIED], [], {}), "b": ([disguised], [], {})}
    assert similarity.pairs(written, [])[0]["code"] == 1.0


@pytest.mark.parametrize(
    "line", ["!echo (", "%time f('", "x = (", "np.sum?", "    odd = 1\n  odder"]
)
def test_a_line_that_is_no_python_hides_no_copy(line):
    written = {"a": ([COPIED], [], {}), "b": ([f"{line}\n{COPIED}"], [], {})}
    assert similarity.pairs(written, [])[0]["code"] > 0.8
    written["b"] = ([f"{COPIED}\n{line}"], [], {})
    assert similarity.pairs(written, [])[0]["code"] > 0.8
