from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import pytest

from labkit.measure import Ledger, LedgerError, front, summary
from labkit.measure.ledger import COLUMNS

RUN = {
    "lab": "02",
    "model": "baseline",
    "technique": "dynamic range",
    "data": "synthetic",
    "profile": "quick",
    "seed": 0,
}


def row(value, metric="accuracy", unit="fraction", **run):
    return RUN | run | {"metric": metric, "value": value, "unit": unit}


def test_rows_come_back_as_they_were_written(tmp_path):
    Ledger(tmp_path).record([row(0.1 + 0.2), row(43_000, "bytes", "byte")])
    table = Ledger(tmp_path).table()
    assert tuple(table.columns) == COLUMNS
    assert table["value"].tolist() == [0.1 + 0.2, 43_000]
    assert table["lab"].tolist() == ["02", "02"]  # not the number 2
    assert table["seed"].tolist() == [0, 0]
    assert (tmp_path / "ledger" / "02.csv").read_bytes().count(b"\r") == 0


def test_a_second_run_replaces_its_own_rows_only(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record([row(0.9), row(0.8, seed=1), row(43_000, "bytes", "byte")])
    ledger.record([row(0.95)])
    table = ledger.table()
    assert len(table) == 3
    by_key = table.set_index(["metric", "seed"])["value"]
    assert by_key["accuracy", 0] == 0.95
    assert by_key["accuracy", 1] == 0.8
    assert by_key["bytes", 0] == 43_000


@pytest.mark.parametrize("name", ["lab", "model", "technique", "data", "profile", "seed"])
def test_every_part_of_the_key_tells_rows_apart(tmp_path, name):
    ledger = Ledger(tmp_path)
    ledger.record([row(0.9)])
    ledger.record([row(0.8, **{name: 7 if name == "seed" else "other"})])
    assert sorted(ledger.table()["value"]) == [0.8, 0.9]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(float("nan"))], "accuracy of 'dynamic range' is nan"),
        ([row(float("inf"))], "finite"),
        ([{"lab": "02"}], "exactly the columns"),
        ([row(1, lab="02"), row(1, lab="03")], "rows of one lab"),
        ([row(1, lab="../x")], "lab is '../x'"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_written(tmp_path, rows, message):
    with pytest.raises(LedgerError, match=message):
        Ledger(tmp_path).record(rows)
    assert Ledger(tmp_path).table().empty
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\n02,b,t,d,p,x,m,1,u\n"]
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "ledger" / "02.csv"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(LedgerError, match=r"02\.csv is damaged"):
        Ledger(tmp_path).table()


def _write_many(folder, lab):
    for seed in range(20):
        Ledger(folder).record([row(seed / 20, lab=lab, seed=seed)])


def test_labs_that_run_at_the_same_time_lose_nothing(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write_many, [tmp_path] * 2, ["02", "03"]))
    assert Ledger(tmp_path).table().groupby("lab").size().to_dict() == {"02": 20, "03": 20}
    assert not list(tmp_path.rglob(".*"))  # no temporary file is left


def test_an_empty_ledger_has_its_columns(tmp_path):
    table = Ledger(tmp_path).table()
    assert tuple(table.columns) == COLUMNS
    assert table.empty
    assert summary(table).empty


def test_summary_gives_mean_and_spread_over_the_seeds(tmp_path):
    ledger = Ledger(tmp_path)
    for seed, accuracy in enumerate((0.98, 0.97, 0.99)):
        ledger.record([row(accuracy, seed=seed), row(1000 + seed, "bytes", "byte", seed=seed)])
    ledger.record([row(0.5, technique="float"), row(2.0, "latency", "ms", technique="float")])
    table = summary(ledger.table()).set_index("technique")
    several = table.loc["dynamic range"]
    assert several["accuracy (%)"] == pytest.approx(98)
    assert several["± (%)"] == pytest.approx(1)
    assert (several["seeds"], several["bytes"]) == (3, 1001)
    assert table.loc["float", "latency (ms)"] == 2.0
    assert pd.isna(table.loc["float", "± (%)"])
    assert pd.isna(several["gzip (bytes)"])


def report(*points, data="real"):
    return pd.DataFrame(
        [
            {
                "technique": name,
                "accuracy (%)": accuracy,
                "bytes": size,
                "data": data,
                "profile": "full",
            }
            for name, accuracy, size in points
        ]
    )


def test_front_keeps_what_nothing_beats():
    table = report(
        ("big", 99, 400),
        ("worse", 97, 300),
        ("small", 98, 100),
        ("twin", 97, 100),
        ("tiny", 90, 50),
        ("equal", 98, 120),
    )
    assert front(table)["technique"].tolist() == ["tiny", "small", "big"]


def test_front_does_not_compare_across_data():
    table = pd.concat(
        [report(("a", 99, 100)), report(("b", 90, 200), data="synthetic")], ignore_index=True
    )
    assert sorted(front(table)["technique"]) == ["a", "b"]


def test_front_leaves_out_what_was_not_measured():
    table = report(("a", 99, 100), ("b", float("nan"), 50))
    assert front(table)["technique"].tolist() == ["a"]


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_file_that_a_spreadsheet_has_saved_is_the_same(tmp_path, between):
    Ledger(tmp_path).record([row(0.1 + 0.2), row(43_000, "bytes", "byte")])
    before = Ledger(tmp_path).table()
    path = tmp_path / "ledger" / "02.csv"
    text = path.read_text(encoding="utf-8").replace(",", between)
    if between == ";":  # where a comma is the decimal point
        text = text.replace("0.3", "0,3").replace("43000.0", "43000,0")
    path.write_text(text.replace("\n", "\r\n") + "\r\n", encoding="utf-8-sig", newline="")
    pd.testing.assert_frame_equal(Ledger(tmp_path).table(), before)


def test_comparisons_get_columns_where_there_are_any(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add("float", {"accuracy": 1.0, "peak_activation_bytes": 100})
    assert "accuracy, harder (%)" not in summary(ledger.table())
    ledger.add("float", {"harder_accuracy": 0.75}, seed=0)
    for seed, changed in enumerate((3, 4)):
        ledger.add(
            "int8",
            {
                "accuracy": 1.0,
                "harder_accuracy": 0.5,
                "changed_answers": changed,
                "output_sqnr": 21.5,
            },
            seed=seed,
        )
    table = summary(ledger.table()).set_index("technique")
    columns = ["accuracy, harder (%)", "changed", "SQNR (dB)"]
    assert table.loc["int8", columns].tolist() == [50, 3.5, 21.5]
    assert table.loc["float", columns[0]] == 75 and table.loc["float", "peak RAM (bytes)"] == 100
    assert pd.isna(table.loc["float", "changed"])
