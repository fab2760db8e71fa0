"""The options offer what the package has, and each command has those that it shares."""

import dataclasses
import inspect
import subprocess
import sys

import pytest
from net_command import net
from typer.main import get_command

from labkit.compress import post_training, progressive
from labkit.datasets import image_folder
from labkit.hwce.formats import MODES
from labkit.models import networks, squeezenet
from labkit.net import commands, extraction, options


@pytest.mark.parametrize(
    ("offered", "there"),
    [
        (options.NetworkName, networks.NETWORKS),
        (options.ChannelOrder, image_folder.CHANNEL_ORDERS),
        (options.Mode, MODES),
        (commands.Strategy, progressive.STRATEGIES),
        (commands.Order, progressive.ORDERS),
        (commands.Stage, extraction.STAGES),
        (commands.Kind, post_training.MODES),
    ],
)
def test_choices_are_those_of_the_package(offered, there):
    assert {choice.value for choice in offered} == set(there)


def test_shared_options_are_in_every_command():
    shared = {field.name for field in dataclasses.fields(options.Given)}
    formats = {field.name for field in dataclasses.fields(options.Formats)}
    for name, command in get_command(commands.app).commands.items():
        found = {parameter.name for parameter in command.params}
        assert shared <= found
        assert (formats <= found) == (name != "train")
        assert command.help and net(name, "--help")


def test_the_architecture_is_what_squeezenet_is_built_of():
    given = options.Given("tree", width=0.5, bypass=True, logits=options.Logits.linear, dropout=0.0)
    expected = {"width": 0.5, "bypass": True, "logits": "linear", "dropout": 0.0}
    assert given.architecture == expected
    assert set(expected) < set(inspect.signature(squeezenet.build).parameters)
    assert options.Given("tree").architecture == {}


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path):
    code = "from labkit.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "net", "evaluate", str(tmp_path), "--weights", "w.npz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert "there is no val or validation or test folder" in ran.stderr
