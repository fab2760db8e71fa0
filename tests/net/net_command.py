"""The command in this process, and files of weights to compare."""

import numpy as np
from typer.testing import CliRunner

from labkit import cli

#: LeNet for 16x16 grey images.
LENET = ("--network", "lenet", "--size", "16", "--batch", "20")


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["net", *map(str, arguments)])


def net(*arguments):
    """What a command prints; it must succeed."""
    result = invoke(*arguments)
    if result.exception:
        raise result.exception
    return result.output


def refused(*arguments):
    """The one line that a command gives for a user's mistake."""
    result = invoke(*arguments)
    assert result.exception is not None, result.output
    message = cli._one_line(result.exception)
    if message is None:
        raise result.exception
    assert "\n" not in message
    return message


def arrays(path):
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def assert_same(a, b):
    a, b = arrays(a), arrays(b)
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
