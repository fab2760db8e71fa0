"""The built-in studies, the command, and that populations train as well as `model.fit`."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from labkit import cli, measure
from labkit.explore import population, reference, studies
from labkit.explore.members import ExploreError, Member, Mlp, Scheme, Settings
from labkit.explore.sweep import sweep


@pytest.fixture
def labkit(tmp_path, monkeypatch):
    """A function that runs `labkit sweep` in an empty folder and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        ran = CliRunner().invoke(cli.app, ["sweep", *arguments])
        if ran.exception:
            raise ran.exception
        return ran.stdout

    return run


def test_designs_are_those_of_the_thesis():
    assert len(studies.study("mlp-bits").design()) == 225
    assert len(studies.study("mlp-neurons").design()) == 31
    assert len(studies.study("cnn-bits").design(weight_bits=(4,), activation_bits=(4, 8))) == 2
    with pytest.raises(ExploreError, match="no study 'mlp'; labkit has mlp-neurons, mlp-bits"):
        studies.study("mlp")
    with pytest.raises(ExploreError, match="mlp-bits has no 'bits'; it has weight_bits"):
        studies.study("mlp-bits").design(bits=(4,))


@pytest.mark.parametrize("name", ["mlp-neurons", "mlp-bits", "mlp-quantizers"])
def test_a_study_judges_every_run(name, tmp_path):
    study = studies.study(name)
    some = {"repeats": (2,), "epochs": (2,), "data": ("synthetic",)}
    design = study.design(**some)[:: len(study.design(**some)) - 1]
    table = sweep(study.function, design, tmp_path / "r.sqlite", version=study.version)
    assert len(table) == 2 and set(table["data"]) == {"synthetic"}
    for i, row in table.iterrows():
        errors = studies.runs(table, i)
        assert len(errors) == 2 and row["best ADE (m)"] == errors.min()
        assert row["ADE (m)"] == pytest.approx(errors.mean()) and row["chosen ADE (m)"] in errors
    assert len(study.version) == 12


def test_the_command_runs_a_study_and_goes_on(labkit, tmp_path):
    few = ["--vary", "repeats=2", "--vary", "epochs=2", "--vary", "data=synthetic"]
    bits = ["--vary", "weight_bits=4,8", "--vary", "activation_bits=8:9"]
    printed = labkit("mlp-bits", *few, *bits, "--csv", "t.csv")
    assert "4 configurations; results go to mlp-bits.sqlite" in printed
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 5
    both = ["--front", "weight_bits", "--front", "ADE (m)"]
    assert "that nothing beats" in labkit("mlp-bits", *few, *bits, *both)
    assert "mlp-neurons: float MLPs" in labkit()


def test_the_command_calls_a_function_of_a_file(labkit, tmp_path):
    (tmp_path / "mine.py").write_text("def cost(a, b=0):\n    return {'cost': a * 10 + b}\n")
    printed = labkit("mine.py:cost", "--vary", "a=1:3", "--vary", "b=5", "--jobs", "2")
    assert "3 configurations" in printed and "35" in printed
    labkit("mine.py:cost", "--random", "4", "--vary", "a=log:1e-3..1e-1", "--csv", "r.csv")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no study 'nothing'"),
        (["away.py:cost"], "there is no file away.py"),
        (["mine.py:price"], "mine.py has no function 'price'"),
        (["mine.py:cost", "--vary", "a"], "expected name=values"),
        (["mine.py:cost", "--vary", "a=1..2"], "a is a span of numbers: give --random"),
        (["mine.py:cost", "--vary", "a=1..x"], "--vary 'a=1..x'"),
        (["mine.py:cost", "--vary", "a=1", "--results", "t.txt"], "t.txt is damaged or no results"),
    ],
)
def test_a_users_mistake_is_told(arguments, message, labkit, tmp_path):
    (tmp_path / "mine.py").write_text("def cost(a):\n    return {'cost': a}\n")
    (tmp_path / "t.txt").write_text("text " * 999)
    with pytest.raises(ExploreError, match=re.escape(message)):
        labkit(*arguments)


def test_populations_train_as_well_as_fit(samples):
    """Several runs both ways: their mean errors differ by no more than chance allows."""
    (x, y), validation = samples
    scheme, runs, epochs = Scheme.of_thesis(8, 8), 5, 8
    members = [Member(Mlp((12,)), scheme, seed, 1e-2) for seed in range(runs)]
    found = population.train(members, (x, y), validation, Settings(epochs))
    ours = found.score(measure.AVERAGE_DISTANCE_ERROR, *validation)
    theirs = []
    model = reference.model(members[0], (4,), 2)
    first = model.get_weights()
    for member in members:
        model.set_weights(first)
        reference.begin(model, member)
        reference.fit(model, member, (x, y), validation, epochs)
        outputs = model.predict(validation[0], verbose=0)
        theirs.append(measure.AVERAGE_DISTANCE_ERROR.compute(validation[1], outputs))
    spread = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / runs)
    assert abs(ours.mean() - np.mean(theirs)) < 3.5 * spread + 1e-3
    assert max(ours.mean(), np.mean(theirs)) < 0.8 * np.linalg.norm(validation[1], axis=1).mean()
