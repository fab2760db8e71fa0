"""`labkit net evaluate`: the right figures, in floating point, quantised and on the engine."""

import json
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from net_command import arrays, net, refused

from labkit import hwce, training
from labkit.compress.fixed_point import measured_ranges
from labkit.compress.progressive import quantized
from labkit.datasets import image_folder
from labkit.hwce import PRESETS, Plan
from labkit.models import networks, weights


@pytest.fixture(scope="module")
def model(trained):
    lenet = networks.network("lenet").build((16, 16, 1), 10)
    return weights.load(lenet, trained / "weights.npz")


GREY = image_folder.Preprocessing(16, "grey")


@pytest.fixture(scope="module")
def images(tree):
    return image_folder.open_tree(tree).load("val", GREY)


def figures(path):
    return json.loads(path.read_text())["evaluation"]


def test_float(tree, trained, model, images, tmp_path):
    printed = net(
        "evaluate",
        tree,
        "--weights",
        trained / "weights.npz",
        "--json",
        tmp_path / "a.json",
        "--csv",
        tmp_path / "a.csv",
    )
    ranks = training.ranks(model.predict(images[0], verbose=0), images[1])
    found = figures(tmp_path / "a.json")
    assert found == {
        "images": 40,
        "top1": np.mean(ranks < 1),
        "top5": np.mean(ranks < 5),
        "numbers": "float",
    }
    assert f"float: top-1 {found['top1']:.1%}, top-5 {found['top5']:.1%} of 40 images" in printed
    assert pd.read_csv(tmp_path / "a.csv").loc[0, "top1"] == found["top1"]


def test_quantised_and_bit_true(tree, trained, model, images, tmp_path):
    """The figures are those of the training twin, and of the engine."""
    weights = ("--weights", trained / "weights.npz")
    options = (*weights, "--resolution", "6:5:5", "--percentile", "99.9", "--calibration", 20)
    net("evaluate", tree, *options, "--json", tmp_path / "a.json")
    printed = net(
        "evaluate",
        tree,
        *options,
        "--engine",
        "gap8",
        "--json",
        tmp_path / "b.json",
        "--csv",
        tmp_path / "b.csv",
    )
    opened = image_folder.open_tree(tree)
    x = np.stack([opened.read("train", i, GREY) for i in range(0, 80, 4)])
    plan = measured_ranges(model, x).plan((6, 5, 5), 99.9)
    twin = training.ranks(quantized(model, plan).predict(images[0], verbose=0), images[1])
    with pytest.warns(hwce.EmulatedPrecisionWarning):
        engine = training.ranks(hwce.run(model, images[0], plan).outputs, images[1])
    for name, ranks, numbers in (
        ("a", twin, "6:5:5 nearest"),
        ("b", engine, "6:5:5 nearest on gap8"),
    ):
        assert figures(tmp_path / f"{name}.json") == {
            "images": 40,
            "top1": np.mean(ranks < 1),
            "top5": np.mean(ranks < 5),
            "numbers": numbers,
        }
    table = pd.read_csv(tmp_path / "b.csv")
    assert table["MACs"].notna().sum() == 4 and "dense1" in printed
    assert printed.count("no version of the engine has a 6-bit mode") == 1
    macs = table["MACs"].sum() / 1e6
    assert re.search(rf"^all +{macs:,.0f} ", printed, re.MULTILINE) and "nan" not in printed
    report = json.loads((tmp_path / "b.json").read_text())["engine"]
    assert report["images"] == 40 and report["totals"]["cycles"] == table["cycles"].sum()
    assert Plan.from_dict(report["plan"]).layers == plan.layers


def test_modes_and_least_error(tree, trained, tmp_path):
    weights = ("--weights", trained / "weights.npz", "--images", 10, "--calibration", 4)
    for options, numbers in (
        (("--resolution", "6", "--mode", "floor"), "6:6:6 floor"),
        (("--resolution", "6:6:6", "--mode", "thesis"), "6:6:6 thesis"),
        (("--resolution", "4:6:8"), "4:6:8 nearest"),
    ):
        net("evaluate", tree, *weights, *options, "--json", tmp_path / "a.json")
        assert figures(tmp_path / "a.json")["numbers"] == numbers
        assert figures(tmp_path / "a.json")["images"] == 10


def test_every_engine_is_in_the_help():
    text = " ".join(net("evaluate", "--help").replace("│", " ").split())
    for name in PRESETS:
        assert name in text


def test_engines_and_options_that_do_not_go_together(tree, trained, tmp_path):
    weights = ("--weights", trained / "weights.npz")
    (tmp_path / "plan.json").write_text('{"layers": {"conv1": 3}, "mode": "nearest"}')
    (tmp_path / "bad.json").write_text("[")
    for options, message in (
        ((), "give --weights"),
        ((*weights, "--engine", "gap8"), "give --resolution or --plan"),
        ((*weights, "--engine", "gap9", "--resolution", "8"), "no preset 'gap9': expected one of"),
        ((*weights, "--engine", "gap8", "--resolution", "8", "--mode", "thesis"), "not for the en"),
        ((*weights, "--resolution", "8-8-8"), "is '8-8-8', expected k:i:o"),
        ((*weights, "--resolution", "8:8"), "is '8:8', expected k:i:o"),
        ((*weights, "--resolution", "1:8:8"), "widths from 2 to 16"),
        ((*weights, "--resolution", "8", "--percentile", "101"), "--percentile is '101'"),
        ((*weights, "--resolution", "8", "--percentile", "most"), "or least-error"),
        ((*weights, "--resolution", "8", "--plan", tmp_path / "plan.json"), "not both"),
        ((*weights, "--plan", tmp_path / "plan.json"), "is no plan as quantize writes it"),
        ((*weights, "--plan", tmp_path / "bad.json"), "is not JSON"),
        ((*weights, "--plan", tmp_path / "none.json"), "none.json: No such file"),
        ((*weights, "--images", 41), "41 images asked for"),
        ((*weights, "--size", 20), "dense1/kernel has the shape (800, 500)"),
        ((*weights, "--network", "squeezenet", "--channels", "rgb"), "conv1/kernel has the shape"),
        ((*bare(trained, tmp_path), "--network", "squeezenet"), "holds no conv10/kernel: it bel"),
        (("--weights", tmp_path / "no.npz"), "there is no such file of weights"),
        (("--weights", tmp_path / "no.caffemodel"), "cannot be read"),
    ):
        assert message in refused("evaluate", tree, *options)


def test_images_that_cannot_be_read(damaged, trained, tmp_path):
    """Each command names the file."""
    weights = ("--weights", trained / "weights.npz")
    for command in (
        ("evaluate", damaged, *weights),
        ("train", damaged, "--network", "lenet", "--size", 16, "--out", tmp_path / "a"),
        (
            "quantize",
            damaged,
            *weights,
            "--resolution",
            "8",
            "--calibration",
            1,
            "--out",
            tmp_path / "b",
        ),
        ("extract", damaged, *weights, "--images", 40, "--out", tmp_path / "a.npz"),
        ("export", damaged, *weights, "--images", 40, "--out", tmp_path / "a.tflite"),
    ):
        message = refused(*command)
        assert "cat/0001.png cannot be read as an image" in message, command
    assert not (tmp_path / "a.npz").exists() and not (tmp_path / "a.tflite").exists()


def test_an_empty_class(tree, trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    for path in (copy / "val" / "dog").iterdir():
        path.unlink()
    message = refused("evaluate", copy, "--weights", trained / "weights.npz")
    assert "class 'dog' of val is empty" in message
    assert "there is no such folder or zip" in refused(
        "evaluate", tmp_path / "no", "--weights", copy
    )


def part_of(tree, target, names, labels=None):
    """A zip of some validation classes, by other names; with a labels.csv."""
    with zipfile.ZipFile(target, "w") as archive:
        for old, new in names.items():
            for path in sorted((tree / "val" / old).iterdir()):
                archive.write(path, f"val/{new}/{path.name}")
        if labels:
            archive.writestr("labels.csv", labels)
    return target


def bare(trained, folder):
    """The weights without what says which classes they know."""
    shutil.copy(trained / "weights.npz", folder / "bare.npz")
    return ("--weights", folder / "bare.npz", "--network", "lenet", "--size", 16)


def test_some_of_the_classes_by_name_or_by_number(tree, trained, model, images, tmp_path):
    names = {"cat": "cat", "dog": "dog", "ship": "ship"}
    by_name = part_of(tree, tmp_path / "a.zip", names)
    net("evaluate", by_name, "--weights", trained / "weights.npz", "--json", tmp_path / "a.json")
    # Folders in another order than the outputs; a table says which is which.
    numbers = {"cat": "n3", "dog": "n2", "ship": "n1"}
    table = "file,wnid,label,name\n,n3,3,cat\n,n2,5,dog\n,n1,8,ship\n"
    by_number = part_of(tree, tmp_path / "b.zip", numbers, table)
    net("evaluate", by_number, *bare(trained, tmp_path), "--json", tmp_path / "b.json")
    found = figures(tmp_path / "a.json")
    assert found["images"] == 12 and figures(tmp_path / "b.json") == found
    ranks = training.ranks(model.predict(images[0], verbose=0), images[1])
    ranks = ranks[np.isin(images[1], [3, 5, 8])]
    assert found["top1"] == np.mean(ranks < 1) and found["top5"] == np.mean(ranks < 5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "has 1 classes, the network has 10 outputs"),
        ("wnid,label\nn3,10\n", "class 'n3' matches output 10 of the network's 10"),
        ("wnid,label\nn4,3\n", "class 'n3' matches none"),
        ("wnid,label\nn3,three\n", "labels.csv cannot be used"),
        ("a,b\n1,2\n", "expected the columns wnid"),
    ],
)
def test_classes_that_match_no_output(tree, trained, tmp_path, labels, message):
    path = part_of(tree, tmp_path / "a.zip", {"cat": "n3"}, labels)
    assert message in refused("evaluate", path, *bare(trained, tmp_path))


def test_the_mean_moves_with_the_channels(tree, tmp_path):
    """The same network for the other order: kernels of the first layer turned round."""
    net(
        "train",
        tree,
        "--network",
        "basicnet",
        "--size",
        16,
        "--channels",
        "bgr",
        "--epochs",
        0.5,
        "--mean",
        "104,117,123",
        "--out",
        tmp_path / "bgr",
    )
    kernels = arrays(tmp_path / "bgr" / "weights.npz")
    kernels["conv1/kernel"] = kernels["conv1/kernel"][:, :, ::-1]
    np.savez(tmp_path / "rgb.npz", **kernels)
    shutil.copy(tmp_path / "bgr" / "weights.json", tmp_path / "rgb.json")
    for name, options in (("bgr/weights", ()), ("rgb", ("--channels", "rgb"))):
        net(
            "extract",
            tree,
            "--weights",
            tmp_path / f"{name}.npz",
            *options,
            "--layer",
            "loss",
            "--out",
            tmp_path / "out" / f"{name}.npz",
        )
    a, b = (arrays(tmp_path / "out" / f"{name}.npz") for name in ("bgr/weights", "rgb"))
    np.testing.assert_allclose(a["outputs/loss"], b["outputs/loss"], atol=1e-5)
    np.testing.assert_array_equal(a["images"], b["images"][..., ::-1])
    assert a["images"].min() < -0.4
