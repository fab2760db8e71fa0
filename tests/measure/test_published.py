import pytest

from labkit.measure import published
from labkit.measure.published import COLUMNS


def test_schema():
    table = published()
    assert tuple(table.columns) == COLUMNS
    assert table["value"].notna().all()
    assert (table[["document", "table", "lab", "model", "technique", "metric", "unit"]] != "").all(
        axis=None
    )
    assert set(table["unit"]) == {"%", "MB", "KB", "m", "m²", "weight", "sum"}
    assert table.loc[table["unit"] == "%", "value"].between(0, 100).all()
    assert {lab for labs in table["lab"] for lab in labs.split()} <= {f"{n:02}" for n in range(12)}


def test_no_figure_is_given_twice():
    assert not published().duplicated(["document", "table", "model", "technique", "metric"]).any()


def test_every_lab_of_the_first_arc_has_figures():
    for lab in ("00", "01", "02", "03", "04"):
        floor = published(lab).set_index("metric")["value"]["accuracy at least"]
        assert floor == 90


def test_figures_as_printed():
    table = published("02", "Optimal Compression").set_index(["model", "technique", "metric"])
    assert table.loc[("QuantNET cat/dog", "dynamic range", "accuracy"), "value"] == 64.55
    assert table.loc[("QuantNET horse/frog", "float", "accuracy"), "value"] == 92.35
    assert table.loc[("QuantNET cat/dog", "dynamic range", "size"), "value"] == 0.5282


def test_what_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="lab '99'"):
        published("99")
    with pytest.raises(ValueError, match="no such thesis"):
        published(document="no such thesis")
