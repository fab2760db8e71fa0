"""`labkit net train`: weights, history and description; a killed run ends as another."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
from net_command import LENET, arrays, assert_same, net, refused


def test_writes_weights_history_and_what_they_belong_to(trained):
    history = pd.read_csv(trained / "history.csv")
    assert list(history) == ["epoch", "loss", "accuracy", "validation"]
    assert history["epoch"].tolist() == [1, 2, 3] and history["validation"].between(0, 1).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    description = json.loads((trained / "weights.json").read_text())
    assert description["network"] == "lenet" and description["size"] == 16
    assert description["channel_order"] == "grey" and len(description["classes"]) == 10


def test_squeezenet_is_normalised_in_training_and_folded(squeezed, tree):
    keys = arrays(squeezed / "weights.npz")
    assert not any("/bn" in key for key in keys)
    assert keys["conv1/kernel"].shape == (3, 3, 3, 16)
    with np.load(squeezed / "checkpoint.npz") as checkpoint:
        assert len(checkpoint.files) > 2 * len(keys)  # statistics and momentum besides
    description = json.loads((squeezed / "weights.json").read_text())
    assert description["architecture"] == {"width": 0.125, "bypass": True, "logits": "linear"}
    reached = pd.read_csv(squeezed / "history.csv")["validation"].iloc[-1]
    assert f"top-1 {reached:.1%}" in net("evaluate", tree, "--weights", squeezed / "weights.npz")


def test_a_process_that_is_killed_goes_on(tree, tmp_path):
    """By SIGKILL, after its first epoch."""
    options = [*LENET, "--epochs", "12", "--learning-rate", "0.01", "--seed", "3"]
    net("train", tree, *options, "--out", tmp_path / "whole")
    arguments = ["net", "train", str(tree), *options, "--out", str(tmp_path / "killed")]
    code = "from labkit.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (tmp_path / "killed" / "checkpoint.npz").exists() and process.poll() is None:
        assert time.monotonic() < until, "no checkpoint"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "weights.npz").exists(), "it ended before it was killed"
    printed = net(*arguments[1:])
    assert "epoch 1:" not in printed and "epoch 12:" in printed
    assert_same(tmp_path / "killed" / "weights.npz", tmp_path / "whole" / "weights.npz")
    columns = ["epoch", "loss", "accuracy"]
    killed, whole = (pd.read_csv(tmp_path / n / "history.csv") for n in ("killed", "whole"))
    pd.testing.assert_frame_equal(killed[columns], whole[columns])
    # Again: nothing is left to do, and the weights stay.
    assert "epoch" not in net(*arguments[1:])
    assert_same(tmp_path / "killed" / "weights.npz", tmp_path / "whole" / "weights.npz")


def test_a_folder_is_for_one_run(tree, trained):
    message = refused("train", tree, *LENET, "--out", trained, "--epochs", 5)
    assert "holds another run, which differs in epochs, learning_rate" in message


def test_warm_start_and_frozen_levels(tree, trained, tmp_path):
    weights = trained / "weights.npz"
    net(
        "train",
        tree,
        "--weights",
        weights,
        "--freeze",
        "conv1",
        "--freeze",
        "conv2",
        "--epochs",
        1,
        "--out",
        tmp_path / "out",
    )
    before, after = arrays(weights), arrays(tmp_path / "out" / "weights.npz")
    same = {key: np.array_equal(before[key], after[key]) for key in before}
    assert same == {key: key.startswith("conv") for key in before}
    message = refused("train", tree, "--weights", weights, "--freeze", "fire2", "--out", tmp_path)
    assert "levels conv1, conv2, dense1, dense2" in message
    everything = [
        part for level in ("conv1", "conv2", "dense1", "dense2") for part in ("--freeze", level)
    ]
    message = refused("train", tree, "--weights", weights, *everything, "--out", tmp_path)
    assert "nothing to train" in message


def test_a_new_head_for_classes_of_ones_own(tree, trained, tmp_path):
    two = tmp_path / "two"
    for part in ("train", "val"):
        for name in ("cat", "ship"):
            shutil.copytree(tree / part / name, two / part / f"my {name}")
    weights = trained / "weights.npz"
    options = ("--weights", weights, "--freeze", "conv1", "--epochs", 1, "--batch", 8)
    assert "class 'my cat' matches none" in refused("train", two, *options, "--out", tmp_path / "a")
    net("train", two, *options, "--new-head", "--out", tmp_path / "b")
    before, after = arrays(weights), arrays(tmp_path / "b" / "weights.npz")
    np.testing.assert_array_equal(before["conv1/kernel"], after["conv1/kernel"])
    assert after["dense2/kernel"].shape == (500, 2)
    assert "2 classes" in net("evaluate", two, "--weights", tmp_path / "b" / "weights.npz")


def test_options_that_make_no_sense(tree, trained, tmp_path):
    out, weights = ("--out", tmp_path / "out"), ("--weights", trained / "weights.npz")
    for options, message in (
        ((*LENET, "--batch-norm"), "lenet has no batch_norm"),
        ((*LENET, "--width", 0.5), "lenet has no width"),
        ((*LENET, "--new-head"), "begins with --weights"),
        ((*weights, "--batch-norm"), "without --weights"),
        (("--size", 2), "give a larger --size"),
        ((*LENET, "--epochs", 0), "expected more than 0"),
        ((*LENET, "--mean", "1,2,3"), "mean_pixel has 3 numbers, expected one for each of the 1"),
        ((*LENET, "--mean", "dark"), "--mean is 'dark', expected numbers as in 104,117,123"),
    ):
        assert message in refused("train", tree, *options, *out)
    assert not (tmp_path / "out").exists()
