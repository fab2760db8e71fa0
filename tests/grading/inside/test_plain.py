import json

import numpy as np
import pytest

from labkit.grading.inside import plain


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**70,
        -0.5,
        "é",
        [1, [2.0, "x"]],
        {"a": [1], "b": {"c": None}},
        np.arange(6, dtype=np.int8).reshape(2, 3),
        np.array(["a", "bc"]),
        np.float32([1.5, np.inf]),
    ],
)
def test_values_survive(value):
    back = plain.decode(json.loads(json.dumps(plain.encode(value))))
    if isinstance(value, np.ndarray):
        assert back.dtype == value.dtype and np.array_equal(back, value)
    else:
        assert back == value and type(back) is type(value)


def test_tuples_become_lists_and_numpy_scalars_numbers():
    assert plain.decode(plain.encode((1, np.float64(2.5), np.array(3)))) == [1, 2.5, 3]


class Liar(str):
    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", len, Liar("x"), np.array([object()])])
def test_anything_else_is_refused(value):
    with pytest.raises(plain.NotPlainError):
        plain.encode(value)


def test_endless_nesting_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(plain.NotPlainError):
        plain.encode(loop)


@pytest.mark.parametrize(
    "content",
    [
        1,
        {},
        {"value": []},
        {"array": ["|O", [1], "AAAAAAAAAAA="]},
        {"array": ["<f8", [9], ""]},
        {"array": ["<f8", [-1, 2], "AAAA"]},
        {"array": 3},
        {"list": 3},
        {"other": 1},
        {"value": 1, "list": []},
        {"array": ["<f8", [10**12], "AAAA"]},
    ],
)
def test_what_a_submission_makes_up_is_refused(content):
    with pytest.raises(ValueError):
        plain.decode(content)


@pytest.mark.parametrize(
    ("expected", "got", "agrees"),
    [
        (3, 3, True),
        (3, 3.0, True),
        (3, 4, False),
        (3, "3", False),
        (3, None, False),
        (0.5, 0.5 + 1e-9, True),
        (0.5, 0.51, False),
        (0.5, np.nan, False),
        (0.5, True, False),
        ([1, 2.0], [1, 2.0], True),
        ([1, 2.0], [1], False),
        ([1, 2], np.array([1, 2]), True),
        (np.array([1.0, 1e-9]), [1.0, 0.0], True),
        (np.array([1, 2]), [[1, 2]], False),
        (np.array([1, 2]), np.array([1, 3]), False),
        ("a", "a", True),
        ("a", "b", False),
        (True, True, True),
        (True, 1, False),
        (None, None, True),
        (None, 0, False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        (np.inf, np.inf, True),
        (np.array([1.0]), [["x"]], False),
        (1.0, [1.0, [2]], False),
    ],
)
def test_agreement(expected, got, agrees):
    assert plain.agrees(expected, got, 1e-6) is agrees


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        (1.0, "1", "text; expected: numbers"),
        (1.0, None, "nothing (None); expected: numbers"),
        (np.ones(2), [1.0, 1.01], "some of the values off by 1 to 10 %"),
        ([1.0, 2.0], np.ones(2), "part 2 of 2: off by 10 to 100 %"),
        (np.ones(2), [[1.0], "x"], "a list; expected: numbers"),
        (np.ones((2, 3)), np.ones((3, 2)), "another shape than the expected (2, 3)"),
        (1.0, np.ones(4), "an array, not a number"),
        ([1.0, 2.0], [1.0], "another length than the expected 2"),
        ([1.0, 2.0], [1.0, 2.1], "part 2 of 2: off by 1 to 10 %"),
        (np.array([1.0, 2.0]), np.array([1.0, 2.001]), "some of the values off by less than 1 %"),
        (np.array([1.0, 2.0]), np.array([2.0, 4.0]), "all values off by 100 % or more"),
        (np.array([1.0, 2.0]), np.array([-1.0, -2.0]), "the opposite sign"),
        (1.0, np.nan, "not finite"),
        (np.zeros(0), np.ones(2), "another shape"),
        (0.0, 1e300, "100 % or more"),
    ],
)
def test_how_a_wrong_answer_differs_is_told(expected, got, told):
    assert told in plain.difference(expected, got)


def test_a_difference_tells_no_number_that_the_answer_chose():
    """A function could put what it was asked into the shape or the size of what it returns."""
    rng = np.random.default_rng(0)
    shapes = {plain.difference(np.ones(3), np.ones(int(n))) for n in rng.integers(4, 999, 50)}
    sizes = {plain.difference(1.0, float(x)) for x in 10.0 ** rng.uniform(-9, 9, 300)}
    assert len(shapes) == 1 and len(sizes) <= 5


@pytest.mark.parametrize("dtype", ["(1,,2)f8", "O", "<f8,<f8", "V8", "{'names': []}", 3, None])
def test_types_that_are_no_plain_arrays_are_refused(dtype):
    with pytest.raises(ValueError, match="no plain"):
        plain.decode({"array": [dtype, [1], "AAAAAAAAAAA="]})
