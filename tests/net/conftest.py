"""A drawn tree of images, networks trained on it, and a tree with damaged images."""

import shutil

import pytest
from net_command import LENET, net

from labkit.datasets import image_folder


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """80 training and 40 validation images of ten classes, 16x16."""
    path = tmp_path_factory.mktemp("trees") / "tree"
    image_folder.write_silhouettes(path, train=8, val=4, size=16)
    return path


@pytest.fixture(scope="session")
def trained(tree, tmp_path_factory):
    """The folder of a LeNet trained by the command; weights.npz says what it belongs to."""
    out = tmp_path_factory.mktemp("trained") / "lenet"
    net("train", tree, *LENET, "--out", out, "--epochs", 3, "--learning-rate", 0.02)
    return out


@pytest.fixture(scope="session")
def squeezed(tree, tmp_path_factory):
    """The folder of a narrow SqueezeNet."""
    out = tmp_path_factory.mktemp("trained") / "squeezenet"
    options = ("--size", 16, "--width", 0.125, "--bypass", "--logits", "linear", "--batch", 20)
    net("train", tree, *options, "--epochs", 0.5, "--out", out)
    return out


@pytest.fixture
def damaged(tree, tmp_path):
    """The tree with an image in each part that is none."""
    copy = tmp_path / "damaged"
    shutil.copytree(tree, copy)
    for part in ("train", "val"):
        path = copy / part / "cat" / "0001.png"
        path.write_bytes(path.read_bytes()[:60])
    return copy
