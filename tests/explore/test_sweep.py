"""Sweeps: each configuration once, the same results everywhere, kept through kills and damage."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from labkit.explore import sweep as sweeps
from labkit.explore.members import ExploreError
from labkit.explore.sweep import Span, at_random, grid, sweep


def area(width, height, log=None):
    if log:
        with open(log, "a") as file:
            file.write(f"{width} {height}\n")
    return {"area": np.float64(width) * height, "sides": np.array([width, height])}


def test_grids_and_random_designs():
    assert grid(a=(1, 2), b=("x",)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    levels = {"rate": Span(1e-4, 1e-1, log=True), "bits": Span(2, 16, whole=True), "kind": "ab"}
    drawn = at_random(400, 3, **levels)
    assert drawn[:50] == at_random(50, 3, **levels) and drawn != at_random(400, 4, **levels)
    rates = np.array([each["rate"] for each in drawn])
    assert rates.min() >= 1e-4 and rates.max() <= 1e-1
    assert 0.4 < (rates < 10**-2.5).mean() < 0.6
    assert {each["bits"] for each in drawn} == set(range(2, 17))
    assert {each["kind"] for each in drawn} == {"a", "b"}
    with pytest.raises(ExploreError, match="low to high"):
        Span(2, 1)


def test_each_configuration_is_computed_once_for_a_version(tmp_path):
    log, path = str(tmp_path / "log"), tmp_path / "new" / "results.sqlite"
    called = lambda: len((tmp_path / "log").read_text().splitlines())  # noqa: E731
    told = []
    design = grid(width=(1, 2), height=(3, 4), log=(log,))
    table = sweep(area, design, path, on_result=lambda c, f: told.append((c["width"], f["area"])))
    assert table["area"].tolist() == [3, 4, 6, 8] and table["sides"].tolist()[1] == [1, 4]
    assert told == [(1, 3), (1, 4), (2, 6), (2, 8)] and (table["seconds"] >= 0).all()
    larger = grid(height=(4, 5), width=(2, 1), log=(log,))
    again = sweep(area, larger, path)
    assert again["area"].tolist() == [8, 4, 10, 5]
    assert called() == 6
    sweep(area, design, path, version="2")
    assert called() == 10
    everything = sweeps.load(path)
    assert len(everything) == 10 and set(everything["version"]) == {
        sweeps.code_version(area),
        "2",
    }


def test_processes_and_a_cluster_give_the_same(tmp_path):
    design = grid(width=tuple(range(6)), height=(2, 3))
    alone = sweep(area, design, tmp_path / "one.sqlite").drop(columns="seconds")
    two = sweep(area, design, tmp_path / "two.sqlite", jobs=2).drop(columns="seconds")
    assert alone.equals(two)
    here = 7
    inner = sweep(lambda width: {"sum": width + here}, grid(width=(1, 2)), tmp_path / "l", jobs=2)
    assert inner["sum"].tolist() == [8, 9]

    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        path = tmp_path / "cluster.sqlite"
        dask = sweep(area, design, path, scheduler=cluster.scheduler_address)
    assert alone.equals(dask.drop(columns="seconds"))


def test_no_scheduler_is_told(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def none(*arguments, **options):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", none)
    with pytest.raises(ExploreError, match=r"no scheduler at tcp://127\.0\.0\.1:9: timed out"):
        sweep(area, grid(width=(1,), height=(1,)), tmp_path / "r", scheduler="tcp://127.0.0.1:9")


def failing(number, mended=""):
    if number == 2 and not os.path.exists(mended):
        raise ValueError("two\nis odd")
    return {"double": 2 * number}


def test_a_call_that_fails_costs_the_others_nothing(tmp_path):
    path, mended = tmp_path / "r.sqlite", str(tmp_path / "mended")
    design = grid(number=(1, 2, 3), mended=(mended,))
    with pytest.raises(ExploreError, match=r"1 of 3 calls failed.*'number': 2.*two is odd"):
        sweep(failing, design, path)
    assert sweeps.load(path)["double"].tolist() == [2, 6]
    (tmp_path / "mended").touch()
    assert sweep(failing, design, path)["double"].tolist() == [2, 4, 6]
    with pytest.raises(ExploreError, match="it gave int, expected figures by name"):
        sweep(lambda a: a, grid(a=(1,)), path)
    with pytest.raises(ExploreError, match="'a' is in the configuration and in the figures"):
        sweep(lambda a: {"a": a}, grid(a=(1,)), path)
    with pytest.raises(ExploreError, match="which JSON does not take"):
        sweep(area, grid(width=(object(),)), path)


SLOW = """
import sys, time
from labkit.explore.sweep import grid, sweep
def slow(number, log):
    with open(log, "a") as file:
        file.write(f"{number}\\n")
    time.sleep(0.0 if number < 3 else float(sys.argv[3]))
    return {"square": number**2}
design = grid(number=tuple(range(6)), log=(sys.argv[2],))
print(sweep(slow, design, sys.argv[1], version="1")["square"].tolist())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_kill_loses_nothing_that_was_finished(tmp_path):
    arguments = [sys.executable, "-c", SLOW, str(tmp_path / "r.sqlite"), str(tmp_path / "log")]
    killed = subprocess.Popen([*arguments, "60"])
    log, end = tmp_path / "log", time.monotonic() + 60
    while not (log.exists() and len(log.read_text().split()) == 4) and time.monotonic() < end:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert log.read_text().split() == list("0123")
    assert sweeps.load(tmp_path / "r.sqlite")["square"].tolist() == [0, 1, 4]
    ran = subprocess.run([*arguments, "0"], capture_output=True, text=True, check=True)
    assert ran.stdout == "[0, 1, 4, 9, 16, 25]\n"
    assert log.read_text().split() == list("0123345")


def spoil_bytes(path):
    content = bytearray(path.read_bytes())
    content[4096:] = b"x" * (len(content) - 4096)
    path.write_bytes(bytes(content))


def spoil_kind(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE people (name TEXT)")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_text("width,height\n1,2\n" * 99), "damaged or no results"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "damaged or no results"),
        (spoil_bytes, "damaged or no results"),
        (spoil_kind, "it is another program's"),
        (lambda path: path.unlink() or path.mkdir(), "cannot be used"),
    ],
    ids=["text", "cut", "overwritten", "other", "folder"],
)
def test_a_damaged_file_is_refused_and_left_alone(spoil, message, tmp_path):
    path = tmp_path / "r.sqlite"
    sweep(area, grid(width=tuple(range(60)), height=(1,)), path)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ExploreError, match=message) as caught:
        sweep(area, grid(width=(1,), height=(2,)), path)
    assert str(path) in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_versions_follow_the_code(tmp_path):
    assert sweeps.code_version(area) == sweeps.code_version(failing)  # the same file
    assert sweeps.code_version(area) != sweeps.code_version(grid)
    assert sweeps.code_version(area, "labkit.explore.pareto") != sweeps.code_version(area)
    with pytest.raises(ExploreError, match="there is no file"):
        sweeps.load(tmp_path / "none")
    with pytest.raises(ExploreError, match="jobs is 0"):
        sweep(area, grid(width=(1,), height=(1,)), tmp_path / "r", jobs=0)
