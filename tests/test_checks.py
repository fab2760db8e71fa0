import numpy as np
import pytest

from labkit import checks
from labkit.checks import CheckFailed, check


@pytest.fixture(autouse=True)
def _fresh():
    checks.reset()


def run(body, exercise="e"):
    """The message of a failed check, or None."""
    try:
        with check("title", exercise=exercise, what="w", why="y") as c:
            body(c)
    except CheckFailed as error:
        return str(error)
    return None


def status():
    return [result["status"] for result in checks.results()]


def test_a_right_answer_passes():
    assert run(lambda c: c.close("scale", 4 / 255, 4 / 255)) is None
    assert checks.results() == [{"check": "title", "exercise": "e", "status": "passed"}]


def test_a_misconception_is_named():
    body = lambda c: c.close("scale", 4 / 256, 4 / 255, misconceptions=[(4 / 256, "255 steps")])  # noqa: E731
    message = run(body)
    assert "255 steps" in message and "expected 0.0156863, yours 0.015625" in message
    assert status() == ["failed"]


def test_another_wrong_answer_gets_no_wrong_hint():
    assert "steps" not in run(
        lambda c: c.close("scale", 1.0, 4 / 255, misconceptions=[(4 / 256, "255 steps")])
    )


def test_none_asks_for_the_return():
    assert "is there a `return`?" in run(lambda c: c.equal("x", None, 3))


def test_every_item_is_shown():
    def body(c):
        c.equal("first", 1, 2)
        c.equal("second", 3, 3)
        c.that("third", False, otherwise="do this")

    message = run(body)
    assert "first" in message and "do this" in message and "second" not in message


def test_a_long_answer_is_cut():
    long = list(range(500))
    message = run(lambda c: c.equal("many", long, long[::-1]))
    assert "[0, 1, 2," in message and "… (500 values)" in message and len(message) < 600


def test_unfilled_is_told_apart_from_wrong():
    def unfilled():
        raise NotImplementedError

    assert "not filled in yet: exercise e" in run(lambda c: c.equal("x", unfilled(), 1))
    assert status() == ["unfilled"]


def test_a_name_that_its_cell_did_not_define_is_unfilled_but_a_typo_is_not():
    cell = "with check('title', exercise='e') as c: c.equal('x', {}(1), 1)"
    with pytest.raises(CheckFailed, match="not filled in yet: exercise e"):
        exec(cell.format("double"), {"check": check})
    assert status() == ["unfilled"]
    namespace = {"check": check}
    exec("def double(x): return 2 * y", namespace)
    with pytest.raises(CheckFailed, match="your code raised NameError: name 'y' is not defined"):
        exec(cell.format("double"), namespace)
    assert status() == ["failed"]


def test_the_students_error_is_shown():
    assert "your code raised ZeroDivisionError" in run(lambda c: c.equal("x", 1 / 0, 1))
    assert status() == ["failed"]


def test_an_interrupt_is_not_an_answer():
    with pytest.raises(KeyboardInterrupt), check("title"):
        raise KeyboardInterrupt
    assert checks.results() == []


def test_a_check_without_items_does_not_pass():
    assert "tested nothing" in run(lambda c: None)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ((1, 2), (1, 2)),
        (np.int64(3), 3),
        (np.array([1, 2]), [1, 2]),
        ((np.array([1.0]), 2), ([1.0], 2)),
        ("a", "a"),
        (["a", "b"], ["a", "b"]),
        ([[1.0]], np.array([[1.0]])),
    ],
)
def test_equal(got, expected):
    assert run(lambda c: c.equal("x", got, expected)) is None


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ((1, 3), (1, 2)),
        ((1, 2, 3), (1, 2)),
        (np.array([[1, 2]]), np.array([1, 2])),
        (float("nan"), 1),
        ("1", 2),
        ([1, "x"], [1, 2]),
        (object(), 1),
        (None, 0),
        ({}, 0),
    ],
)
def test_not_equal(got, expected):
    assert run(lambda c: c.equal("x", got, expected)) is not None


class Liar:
    shape = ()

    def __eq__(self, other):
        return True

    __hash__ = None


def test_an_overridden_eq_is_not_asked():
    assert run(lambda c: c.equal("x", Liar(), 1)) is not None
    assert run(lambda c: c.equal("x", Liar(), "1")) is not None
    assert run(lambda c: c.equal("x", (Liar(),), ("1",))) is not None


def test_tolerance_is_relative_to_the_largest_magnitude():
    assert run(lambda c: c.close("x", [1000.0005, 0.0], [1000, 0.0], tolerance=1e-6)) is None
    assert run(lambda c: c.close("x", [1000.005, 0.0], [1000, 0.0], tolerance=1e-6)) is not None


def test_shape_dtype_between():
    def body(c):
        c.shape("s", np.zeros((1, 2)), (1, 2))
        c.dtype("d", np.zeros(2, np.int8), np.int8)
        c.between("b", 0.5, 0, 1)

    assert run(body) is None
    assert "shape (2, 1)" in run(lambda c: c.shape("s", np.zeros((2, 1)), (1, 2)))
    assert "float64" in run(lambda c: c.dtype("d", np.zeros(2), np.int8))
    assert run(lambda c: c.between("b", 2, 0, 1)) is not None
    assert run(lambda c: c.between("b", float("nan"), 0, 1)) is not None


def test_tensors_are_answers_too():
    import tensorflow as tf

    assert run(lambda c: c.close("x", tf.constant([1.0, 2.0]), [1, 2])) is None
    assert run(lambda c: c.dtype("x", tf.constant([1.0]), np.float32)) is None


def test_the_box_is_escaped(capsys):
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "display", shown.append)
        run(lambda c: c.equal("<script>alert(1)</script>", "<b>", "<i>"))
    html = shown[0]._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<i>" not in html and "✗" in html


def test_code_in_a_text_looks_like_code():
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "display", shown.append)
        run(lambda c: c.equal("`f(x)`", "`a`", "b", misconceptions=[("`a`", "call `f<g>`")]))
    html = shown[0]._repr_html_()
    assert "<code>f(x)</code>" in html and "call <code>f&lt;g&gt;</code>" in html
    assert "`a`" in html  # an answer is shown as it is


def test_the_last_run_counts():
    run(lambda c: c.equal("x", 1, 2))
    run(lambda c: c.equal("x", 2, 2))
    assert status() == ["passed"]


def test_predictions():
    assert checks.predict("q", "which?", ["a", "b"]) is None
    assert checks.predict("q", "which?", ["a", "b"], answer="a") == "a"
    with pytest.raises(ValueError, match="'c' is not one of 'a', 'b'"):
        checks.predict("q", "which?", ["a", "b"], answer="c")
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "display", shown.append)
        for answer in (None, "a", "b"):
            checks.reveal("q", answer, "a", "because")
    texts = [str(note) for note in shown]
    assert "no prediction" in texts[0] and "right" in texts[1] and "surprise" in texts[2]
