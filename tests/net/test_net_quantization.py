"""`labkit net quantize`: a run that is killed at any phase ends as another."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from net_command import arrays, assert_same, net, refused

from labkit.compress import progressive
from labkit.hwce import Plan
from labkit.training import Checkpoint

#: Two levels of convolutions and a phase in which all rest: three phases.
OPTIONS = (
    *("--resolution", "5:5:5", "--relax", "--epochs", "0.5", "--learning-rate", "0.005"),
    *("--calibration", "20", "--seed", "2", "--order", "backward"),
)


@pytest.fixture(scope="module")
def whole(tree, trained, tmp_path_factory):
    """The folder of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("quantized") / "whole"
    net("quantize", tree, "--weights", trained / "weights.npz", *OPTIONS, "--out", out)
    return out


def test_writes_weights_plan_history_and_a_picture(whole, trained):
    history = pd.read_csv(whole / "history.csv")
    assert history["phase"].tolist() == ["conv2", "conv1", "relax"]
    assert history["epochs"].tolist() == [0.5, 1.0, 1.5]
    plan = Plan.from_dict(json.loads((whole / "plan.json").read_text()))
    assert list(plan.layers) == ["conv1", "conv2", "dense1", "dense2"]
    assert {formats.kernel.bits for formats in plan.layers.values()} == {5}
    assert (whole / "history.png").read_bytes().startswith(b"\x89PNG")
    before, after = arrays(trained / "weights.npz"), arrays(whole / "weights.npz")
    assert list(before) == list(after)
    assert not np.array_equal(before["conv1/kernel"], after["conv1/kernel"])


def test_its_weights_and_plan_are_what_evaluate_takes(whole, tree, tmp_path):
    net(
        "evaluate",
        tree,
        "--weights",
        whole / "weights.npz",
        "--plan",
        whole / "plan.json",
        "--json",
        tmp_path / "a.json",
    )
    found = json.loads((tmp_path / "a.json").read_text())["evaluation"]
    assert found["numbers"] == "5:5:5 nearest"
    assert found["top1"] == pd.read_csv(whole / "history.csv")["after"].iloc[-1]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_killed_run_goes_on_with_its_phase(tree, trained, whole, tmp_path, monkeypatch, at):
    """Before its first, second and third checkpoint is there: the phase is lost, no more."""
    written = []
    write = Checkpoint.write

    def dies(self, values, note):
        if len(written) == at:
            raise Killed
        written.append(len(note["history"]))
        write(self, values, note)

    command = ("quantize", tree, "--weights", trained / "weights.npz", *OPTIONS, "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", dies)
        with pytest.raises(Killed):
            net(*command)
    assert not (tmp_path / "weights.npz").exists() and written == list(range(1, at + 1))
    printed = net(*command)
    phases = ["conv2: ", "conv1: ", "relax: "]
    assert [phase in printed for phase in phases] == [i >= at for i in range(3)]
    assert_same(tmp_path / "weights.npz", whole / "weights.npz")
    for name in ("history.csv", "plan.json"):
        assert (tmp_path / name).read_text() == (whole / name).read_text()


def test_static_needs_no_training_images(tree, trained, tmp_path):
    shutil.copytree(tree / "val", tmp_path / "only" / "val")
    weights = ("--weights", trained / "weights.npz", "--calibration", 10)
    options = (*weights, "--resolution", "8:8:8", "--out", tmp_path / "out")
    printed = net("quantize", tmp_path / "only", *options, "--strategy", "static")
    assert "static: " in printed
    assert_same(tmp_path / "out" / "weights.npz", trained / "weights.npz")
    assert "there is no train folder" in refused("quantize", tmp_path / "only", *options)


def test_strategies_and_percentiles_reach_the_schedule(tree, trained, tmp_path, monkeypatch):
    seen = []

    def stop(quantizer, plan, schedule, folder, report):
        seen.append((plan, schedule, quantizer.source.augment))
        raise Killed

    monkeypatch.setattr(progressive.Quantizer, "run", stop)
    options = ("--weights", trained / "weights.npz", "--resolution", "8:6:4", "--calibration", 20)
    more = (
        ("--strategy", "gradual", "--mode", "floor", "--percentile", "95", "--no-augment"),
        ("--strategy", "lock", "--order", "random", "--relax", "--epochs", 2, "--seed", 9),
    )
    for i, extra in enumerate(more):
        with pytest.raises(Killed):
            net("quantize", tree, *options, *extra, "--out", tmp_path / str(i))
    (floor, gradual, augment), (nearest, lock, _) = seen
    assert floor.mode == "floor" and nearest.mode == "nearest" and not augment
    assert (gradual.strategy, gradual.order) == ("gradual", "forward")
    assert lock == progressive.Schedule("lock", "random", 2, 0.0005, True, 9)
    assert lock.learning_rate == progressive.Schedule().learning_rate
    formats = floor.layers["conv1"]
    assert (formats.kernel.bits, formats.input.bits, formats.output.bits) == (8, 6, 4)
    assert formats.output.msb <= nearest.layers["conv1"].output.msb


def test_what_cannot_be_quantised(tree, trained, whole, tmp_path):
    weights = ("--weights", trained / "weights.npz", "--calibration", 4)
    for options, message in (
        ((), "give --resolution k:i:o"),
        (("--resolution", "8/8/8"), "is '8/8/8', expected k:i:o"),
        (("--resolution", "8", "--mode", "thesis"), "not for the engine or for quantize"),
        (("--resolution", "8", "--epochs", 0), "epochs is 0"),
    ):
        assert message in refused("quantize", tree, *weights, *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    message = refused("quantize", tree, *weights, "--resolution", "6", "--out", whole)
    assert "holds another run, which differs in plan, order, " in message
