"""Images that a linear network reads without training, its files, and the rehearsal's lab."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import labkit  # noqa: F401  (before TensorFlow, which the fixtures import)
from labkit import course, files
from labkit.authoring.source import sources
from labkit.grading import assignment as assignments
from labkit.grading.box import sandbox
from labkit.grading.grade import Settings, grade_class

REHEARSAL = course.root() / "grading" / "rehearsal"


@pytest.fixture(scope="session")
def templates():
    """24 random patterns, one a class; float (24, 28, 28, 1)."""
    return np.random.default_rng(0).random((24, 28, 28, 1), np.float32)


@pytest.fixture(scope="session")
def split(templates, tmp_path_factory):
    """A hidden split of noisy patterns, as an instructor would give it: a `.npz` file."""
    rng = np.random.default_rng(1)
    y = np.arange(48) % 24
    x = np.clip(templates[y] + rng.normal(0, 0.2, (48, 28, 28, 1)), 0, 1)
    path = tmp_path_factory.mktemp("split") / "hidden.npz"
    np.savez(path, x=np.round(255 * x).astype(np.uint8), y=y)
    return path


@pytest.fixture(scope="session")
def dense():
    """A function from patterns (N, 28, 28, 1) and classes to a Keras model that knows them."""
    import tensorflow as tf

    def dense(patterns, classes):
        flat = patterns.reshape(len(patterns), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [
                layers.Input((28, 28, 1)),
                layers.Flatten(),
                layers.Dense(len(flat), activation="softmax", name="known"),
                layers.Dense(24, name="letter"),
            ]
        )
        model.set_weights([30 * flat.T, np.zeros(len(flat)), np.eye(24)[classes], np.zeros(24)])
        return model

    return dense


@pytest.fixture(scope="session")
def model_files(dense, templates):
    """Files of the linear network: "float", "int8" and "float16"."""
    from labkit.compress import post_training

    model = dense(templates, np.arange(24))
    return {
        mode: post_training.convert(model, mode, templates) for mode in ("float", "float16", "int8")
    }


@pytest.fixture(scope="session")
def rehearsal_lab():
    """The source of the rehearsal's lab."""
    (source,) = sources(None, REHEARSAL)
    return source


@pytest.fixture(scope="session")
def assignment():
    """The rehearsal's assignment with short limits."""
    loaded = assignments.load(REHEARSAL / "assignment.yaml")
    limits = dataclasses.replace(loaded.limits, seconds=20, processes=40)
    return dataclasses.replace(loaded, limits=limits)


@pytest.fixture
def settings(split):
    """Two jobs, and the hidden split of noisy patterns."""
    return Settings(jobs=2, hidden=split)


@pytest.fixture(scope="session")
def isolated():
    """Skips where there is no isolation but limits."""
    trouble = sandbox._trouble("namespaces")
    if trouble:
        pytest.skip(trouble)
    return sandbox.choose()


class Graded(NamedTuple):
    """Grades by name, and the folder of the reports."""

    grades: dict[str, dict]
    out: Path

    def feedback(self, name):
        """A student's page."""
        folder = self.grades[name]["submission"]["folder"]
        return (self.out / "students" / folder / "feedback.html").read_text("utf-8")


@pytest.fixture(scope="session")
def grade_files(tmp_path_factory):
    """A function that grades a class by an assignment's files, without its notebook."""

    def graded(assignment, handed_in, samples):
        """handed_in: by student, the contents of the assignment's files in their order."""
        to, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("graded")
        for student, contents in handed_in.items():
            for file, content in zip(assignment.files, contents, strict=True):
                files.write_bytes(to / student / file.name, content)
        (part,) = (p for p in assignment.parts if all(item.kind == "model" for item in p.items))
        points = sum(item.points for item in part.items)
        alone = dataclasses.replace(
            assignment,
            **{"notebooks": (), "parts": (part,), "points": points, "data": "synthetic"},
            hidden=dataclasses.replace(assignment.hidden, samples=samples),
        )
        secret = out / "secret"
        secret.write_text("01" * 32)
        grades = grade_class(to, alone, out, Settings(jobs=1, secret=secret))
        return Graded({grade["submission"]["name"]: grade for grade in grades}, out)

    return graded
