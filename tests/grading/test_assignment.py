import json
import re

import pytest
import yaml

from labkit import course
from labkit.grading import GradingError
from labkit.grading.assignment import load, schema, schema_fault
from labkit.measure.graph import BITS

GRADING = course.root() / "grading"
COURSE = sorted(GRADING.glob("q*.yaml"))
SCHEMAS = ("assignment", "grade")
SHEET = {"q1": 180, "q2": 75, "q3": 75}

SMALL = {
    "schema": 1,
    "name": "a",
    "title": "A",
    "points": 5,
    "files": [{"name": "m.tflite"}],
    "parts": [
        {
            "title": "p",
            "items": [
                {
                    "model": "m.tflite",
                    "points": 4,
                    "requires": [{"figure": "accuracy", "at_least": 0.9}],
                },
                {"manual": "talk", "points": 1},
            ],
        }
    ],
}


def bound(content, **changes):
    content["parts"][0]["items"][0]["requires"][0].update(changes)


def again(content, **requirement):
    content["parts"][0]["items"][0]["requires"].append(requirement)


def curve(content, shares, figure="bytes"):
    content["parts"][0]["items"][0]["curve"] = {"figure": figure, "shares": shares}


def written(tmp_path, content):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_the_courses_assignments_are_valid(path):
    assignment = load(path)
    assert assignment.name == path.stem
    assert assignment.points == SHEET.get(path.stem, assignment.points)
    for item in assignment.items:
        if item.by_hand:
            continue
        asked = [item, *item.requires, item.curve] if item.kind == "model" else [item]
        assert any(each.hint for each in asked if each), (
            f"{item.id}: say what to do about a lost point"
        )


def test_q4_is_extra_credit_and_wants_four_bits():
    assignment = load(GRADING / "q4.yaml")
    (item,) = (item for item in assignment.items if item.kind == "model")
    assert assignment.extra_credit
    assert any(r.figure == "code_bits" and r.at_most == 4 for r in item.requires)


@pytest.mark.parametrize("path", COURSE[1:], ids=lambda path: path.stem)
def test_headline_files_are_graded_and_labs_write_what_is_graded(path):
    """Of all but the warm-up, which asks for no file."""
    from labkit.authoring.source import sources

    assignment = load(path)
    labs = sources([notebook.lab for notebook in assignment.notebooks], GRADING.parent)
    texts = [lab.path.read_text("utf-8") for lab in labs]
    graded = {file.name for file in assignment.files}
    assert {re.search(r'headline="([^"]+)"', text)[1] for text in texts} <= graded
    assert all(any(f'"{name}"' in text for text in texts) for name in graded)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schemas_are_those_in_use(name):
    """`python tests/grading/test_assignment.py` writes them."""
    published = json.loads((GRADING / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert published == schema(name)


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_the_schema_takes_the_courses_assignments(path):
    assert schema_fault(yaml.safe_load(path.read_text("utf-8")), "assignment") is None


def test_defaults(tmp_path):
    assignment = load(written(tmp_path, SMALL))
    assert assignment.files[0].source == "submission" and assignment.profile == "quick"
    assert [item.by_hand for item in assignment.items] == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(points=6), "add up to 5 points, `points` says 6"),
        (lambda c: c.pop("parts"), "at parts: it is required"),
        (lambda c: c.update(colour="red"), "colour"),
        (lambda c: c.update(files=[]), "is not under `files`"),
        (
            lambda c: (
                c["parts"][0]["items"].append(c["parts"][0]["items"][1]) or c.update(points=6)
            ),
            "appears twice",
        ),
        (lambda c: c["files"].append({"name": "m.tflite"}), "m.tflite appears twice"),
        (lambda c: c.update(points="5"), "at points: Input should be a valid number, not '5'"),
        (lambda c: c.update(dataset="nothing"), "no data set 'nothing'"),
        (lambda c: c.update(dataset="json"), "the module json makes no hidden split"),
        (lambda c: c.update(metric="beauty"), "at metric: Input should be 'accuracy',"),
        (lambda c: c.update(metric="macro F1"), "accuracy is not measured, the assignment's"),
        (lambda c: bound(c, at_least=50), "accuracy is a share from 0 to 1, not 50"),
        (lambda c: bound(c, only=["int8"]), "accuracy has no bound, or one of another kind"),
        (lambda c: bound(c, figure="weight_types"), "weight_types has no bound, or one of another"),
        (lambda c: bound(c, figure="weight_types", only=["int_8"]), "requires/0/only/0"),
        (lambda c: bound(c, figure="bytes", at_most=-1), "at least 0.9 and at most -1"),
        (lambda c: bound(c, at_most=0.95), "`at_most` asks for a bad accuracy"),
        (
            lambda c: c["parts"][0]["items"][0].update(
                curve={"figure": "accuracy", "shares": [[0, 1], [1, 0]]}
            ),
            "for a better accuracy",
        ),
        (lambda c: c["parts"][0]["items"][0].update(points=float("nan")), "a finite number"),
        (lambda c: c["parts"][0]["items"].append({"points": 1}), "an item: model, exercise"),
        (lambda c: c["parts"][0]["items"][0]["requires"][0].pop("at_least"), "has no bound"),
        (
            lambda c: c["parts"][0]["items"][0].update(
                curve={"figure": "bytes", "shares": [[2, 0], [1, 1]]}
            ),
            "must rise",
        ),
        (lambda c: c["parts"][0]["items"][0]["requires"][0].update(figure="beauty"), "parts/0"),
        (
            lambda c: (
                c["parts"][0]["items"].append({"written": "01_x/q", "points": 1})
                or c.update(points=6)
            ),
            "is not under `notebooks`",
        ),
        (
            lambda c: c.update(
                execute="exercises", files=[{"name": "m.tflite", "from": "execution"}]
            ),
            "need `execute: all`",
        ),
        (lambda c: bound(c, at_least=0), "accuracy at least 0: every file has that"),
        (lambda c: again(c, figure="accuracy", at_least=0.8), "accuracy has `at_least` twice"),
        (lambda c: again(c, figure="sparsity", at_least=1.0, at_most=1.0), "every file has that"),
        (lambda c: again(c, figure="bytes", at_most=1e6), "bytes at most 1e+06: every file has"),
        (lambda c: again(c, figure="bytes", at_least=2e6), "bytes at least 2e+06: none has that"),
        (lambda c: again(c, figure="storage_bits", at_least=2), "every file has that"),
        (lambda c: again(c, figure="code_bits", at_most=0), "code_bits at most 0: none has that"),
        (lambda c: again(c, figure="weight_types", only=[*BITS]), "of all types: every file"),
        (
            lambda c: again(c, figure="weight_types", only=["int8"], includes="int4"),
            "weight_types cannot be int8 only and include int4",
        ),
        (
            lambda c: again(c, figure="macs", at_least=9) or again(c, figure="macs", at_most=8),
            "macs cannot be at least 9 and at most 8",
        ),
        (lambda c: curve(c, [[0, 1], [9, 1]]), "the curve gives every file the same"),
        (lambda c: curve(c, [[-1, 1], [9, 0]]), "the curve has bytes from -1 to 9: none has that"),
        (
            lambda c: curve(c, [[0, 0], [90, 1]], "accuracy"),
            "the curve has accuracy from 0 to 90: none has that",
        ),
        (lambda c: c.update(leaderboard={"files": ["other.tflite"]}), "leaderboard"),
    ],
)
def test_mistakes_are_named(tmp_path, change, message):
    content = json.loads(json.dumps(SMALL))
    change(content)
    with pytest.raises(GradingError) as error:
        load(written(tmp_path, content))
    assert message in str(error.value) and "a.yaml" in str(error.value)
    assert "\n" not in str(error.value)


SHORT = """schema: 1
name: a
title: A
points: 5
files:
  - name: m.tflite
parts:
  - title: p
    items:
      - model: m.tflite
        points: 4
        requires:
          - {figure: accuracy, at_least: 0.9}
      - {manual: talk, points: 1}
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("points: 4", "points: .nan", 11),
        ("points: 4", "points: 3", 4),
        ("at_least: 0.9", "at_least: 1.5", 13),
        ("at_least: 0.9", "only: [int_8]", 13),
        ("figure: accuracy", "figure: beauty", 13),
        ("manual: talk", "manual: 7", 14),
        ("model: m.tflite", "model: n.tflite", 10),
        ("title: p", "titel: p", 8),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, old, new, line):
    (tmp_path / "a.yaml").write_text(SHORT.replace(old, new))
    with pytest.raises(GradingError, match=rf"a\.yaml: line {line}: "):
        load(tmp_path / "a.yaml")


def test_no_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1")
    with pytest.raises(GradingError, match="no valid YAML"):
        load(tmp_path / "a.yaml")
    with pytest.raises(GradingError, match="cannot read"):
        load(tmp_path / "b.yaml")


def test_a_key_that_stands_twice_is_told(tmp_path):
    """YAML would take the second one, and lose what the first one holds."""
    text = yaml.safe_dump(SMALL) + "points: 9\n"
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(GradingError, match="the key 'points' stands twice"):
        load(tmp_path / "a.yaml")


def test_yaml_makes_no_objects(tmp_path):
    (tmp_path / "a.yaml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(GradingError, match="no valid YAML"):
        load(tmp_path / "a.yaml")


def test_schema_fault_is_none_for_what_fits():
    assert schema_fault(SMALL, "assignment") is None


if __name__ == "__main__":
    for name in SCHEMAS:
        text = json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"
        (GRADING / f"{name}.schema.json").write_text(text, encoding="utf-8")
