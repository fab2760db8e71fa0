"""Data sets and metrics that labkit's own assignments do not have, graded from end to end."""

import dataclasses
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from labkit import files
from labkit.grading import GradingError, grades, hidden
from labkit.grading.assignment import load
from labkit.grading.grade import Settings, grade_class

ERROR = "average distance error"
MIXED = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


class Beacons:
    """Four readings, from which a place in a room follows: float (N, 4) and (N, 2), metres."""

    SAMPLES, SCALE, CHANGES = "readings", 1, "each with a little noise"

    @staticmethod
    def synthetic(count, seed):
        places = np.random.default_rng(seed).uniform(0, 3, (count, 2)).astype(np.float32)
        return places @ MIXED, places


class Signals:
    """Windows of three sensors, one of which is loud: float (N, 16, 3) and classes, mostly 0."""

    SAMPLES, SCALE, CHANGES = "windows", 1, "each with a little noise"

    @staticmethod
    def synthetic(count, seed):
        rng = np.random.default_rng(seed)
        classes = rng.choice(3, count, p=(0.8, 0.1, 0.1))
        loud = np.eye(3)[classes][:, None, :] + rng.normal(0, 0.1, (count, 16, 3))
        return loud.astype(np.float32), classes


@pytest.fixture(scope="module", autouse=True)
def data_sets():
    """Both as modules that an assignment may name."""
    with pytest.MonkeyPatch.context() as patched:
        for kind in (Beacons, Signals):
            kind.find = kind.load = staticmethod(lambda *a: None)
            kind.real = kind.synthetic
            kind.public = staticmethod(lambda count, real, kind=kind: kind.synthetic(count, [0]))
            patched.setitem(sys.modules, f"course.{kind.__name__.lower()}", kind)
        yield


def written(path, dataset, metric, curve, **requirement):
    """An assignment of one file, 10 points."""
    item = {
        "model": "m.tflite",
        "points": 10,
        "requires": [{"figure": metric, **requirement}],
        "curve": {"figure": metric, "shares": curve},
    }
    path.write_text(
        yaml.safe_dump(
            {
                "schema": 1,
                "name": "own",
                "title": "Own",
                "points": 10,
                "dataset": dataset,
                "metric": metric,
                "data": "synthetic",
                "hidden": {"samples": 60},
                "files": [{"name": "m.tflite"}],
                "leaderboard": {"files": ["m.tflite"]},
                "parts": [{"title": "The file", "items": [item]}],
            }
        )
    )
    return load(path)


def model_file(shape, *weights, mean=False):
    """A file of dense layers, behind a mean over time."""
    import tensorflow as tf

    from labkit.compress import post_training

    layers = tf.keras.layers
    dense = [layers.Dense(w.shape[1], name=f"dense_{n}") for n, (w, _) in enumerate(weights)]
    pooled = [layers.GlobalAveragePooling1D()] if mean else []
    model = tf.keras.Sequential([layers.Input(shape), *pooled, *dense])
    model.set_weights([array for pair in weights for array in pair])
    return post_training.convert(model, "float")


def graded(contents, assignment, folder, **settings):
    """Grades and feedback by name, and the folder of the reports."""
    for name, content in contents.items():
        files.write_bytes(folder / "in" / name / "m.tflite", content)
    found = grade_class(folder / "in", assignment, folder / "out", Settings(**settings))
    by_name = {grade["submission"]["name"]: grade for grade in found}
    of = {
        name: folder / "out" / "students" / grade["submission"]["folder"] / "feedback.html"
        for name, grade in by_name.items()
    }
    return by_name, {name: path.read_text("utf-8") for name, path in of.items()}, folder / "out"


def test_places_by_their_error(tmp_path):
    """Lower is better: in the requirement, the curve, the leaderboard and the texts."""
    curve = [[0.1, 1.0], [0.9, 0.5], [1.7, 0.0]]
    assignment = written(tmp_path / "a.yaml", "course.beacons", ERROR, curve, at_most=1.5)
    found = np.linalg.pinv(MIXED)
    layer = {
        "exact": (found, np.zeros(2)),
        "half a metre": (found, np.array([0.3, 0.4])),
        "two metres": (found, np.array([1.2, 1.6])),
        "nowhere": (found, np.full(2, np.nan)),
        "three numbers": (np.ones((4, 3)), np.zeros(3)),
    }
    contents = {name: model_file((4,), pair) for name, pair in layer.items()}
    contents["exact"] = model_file((4,), (np.eye(4), np.zeros(4)), layer["exact"])
    by_name, page, out = graded(contents, assignment, tmp_path)

    earned = {name: grade["score"]["earned"] for name, grade in by_name.items()}
    assert earned == pytest.approx(
        {"exact": 10, "half a metre": 7.5, "two metres": 0, "nowhere": 0, "three numbers": 0},
        abs=1e-3,
    )
    assert by_name["two metres"]["models"]["m.tflite"][ERROR] == pytest.approx(2, abs=1e-4)
    problems = [by_name[n]["models"]["m.tflite"]["problem"] for n in ("nowhere", "three numbers")]
    assert "not finite" in problems[0] and "outputs (60, 3)" in problems[1]

    told = f"{ERROR} on the hidden readings is 0.5 m: 75 % of the points; all of them at 0.1 m."
    assert told in page["half a metre"]
    assert "Average distance error on 60 readings that nobody" in page["half a metre"]
    told = f"{ERROR} on the hidden readings: 2 m, asked for: at most 1.5 m."
    assert told in page["two metres"]
    assert "60 readings: synthetic readings" in (out / "index.html").read_text("utf-8")
    board = (out / "leaderboard.html").read_text("utf-8")
    assert "Sizes and average distance errors measured by the grader, on readings" in board
    # Two files of no points are not shown; the smaller file and the better one are the front.
    rows = re.findall(r"<td>\w+ \w+ \d+</td>.*", board)
    assert ["0.5 m" in row for row in rows] == [True, False]
    assert all("<td>yes</td>" in row for row in rows)


def test_series_by_their_macro_f1(tmp_path):
    """A file that always says the commonest class has 80 % accuracy, and a third of that F1."""
    assignment = written(
        tmp_path / "a.yaml", "course.signals", "macro F1", [[0.5, 0.0], [0.9, 1.0]], at_least=0.2
    )
    x, y = Signals.synthetic(60, [7])
    np.savez(tmp_path / "own.npz", x=x.astype(float), y=y)
    loud, never = (np.eye(3), np.zeros(3)), (np.zeros((3, 3)), np.array([1.0, 0, 0]))
    contents = {
        name: model_file((16, 3), layer, mean=True)
        for name, layer in {"good": loud, "commonest": never}.items()
    }
    by_name, page, _ = graded(contents, assignment, tmp_path, hidden=tmp_path / "own.npz")
    assert [by_name[name]["score"]["earned"] for name in contents] == [10, 0]
    assert by_name["commonest"]["models"]["m.tflite"]["macro F1"] < 0.35
    assert by_name["good"]["models"]["m.tflite"]["macro F1"] == 1.0
    assert by_name["good"]["environment"]["hidden"]["source"] == "the instructor's own windows"
    assert "Macro F1 on 60 windows that nobody" in page["good"]
    assert re.search(r"macro F1 on the hidden windows is 2\d\.\d\d %: 0 %", page["commonest"])


def test_samples_stay_as_they_are_and_images_in_bytes_stay_bytes(tmp_path):
    split = hidden.make("synthetic", 24, b"1", dataset="course.signals")
    assert split.x.dtype == np.float32 and split.x.shape == (24, 16, 3) and split.scale == 1
    assert hidden.make("synthetic", 24, b"1").scale == 255
    x, y = Beacons.synthetic(3, [1])
    for own in ({"x": x, "y": y[:, 0]}, {"x": x[:, :3], "y": y}, {"x": x * np.nan, "y": y}):
        np.savez(tmp_path / "own.npz", **own)
        with pytest.raises(GradingError, match=r"own\.npz: x "):
            hidden.make("auto", 1, b"", tmp_path / "own.npz", "course.beacons")
    images = np.linspace(0, 1, 2 * 784).reshape(2, 28, 28, 1)
    np.savez(tmp_path / "own.npz", x=images, y=np.array([1.0, 2.0]))
    split = hidden.make("auto", 1, b"", tmp_path / "own.npz")
    assert split.x.dtype == np.uint8 and split.x.max() == 255 and sorted(split.y) == [1, 2]


@pytest.mark.parametrize(
    ("metric", "public", "found", "suspicious"),
    [
        ("accuracy", 0.9, 0.5, True),
        ("accuracy", 0.6, 0.5, False),
        (ERROR, 0.2, 0.5, True),
        (ERROR, 0.4, 0.5, False),
    ],
)
def test_a_file_that_knows_the_public_samples_alone_is_remarked(
    assignment, metric, public, found, suspicious
):
    figures = {metric: found, f"public_{metric}": public}
    student = SimpleNamespace(
        figures={"m.tflite": figures, "damaged": {"problem": "x"}}, executed={}
    )
    remarks = grades._remarks(student, dataclasses.replace(assignment, metric_name=metric))
    assert bool(remarks) is suspicious
    if suspicious and metric == "accuracy":
        assert remarks == [
            "m.tflite reads 90% of the public test images and 50% of the hidden ones: memorised?"
        ]
