import pytest
from nbformat.v4 import new_code_cell

from labkit.authoring.dependencies import needed


def kept(*sources):
    """The sources that the last one depends on, itself left out."""
    cells = [new_code_cell(source) for source in sources]
    cells[-1].metadata.tags = ["check"]
    return [sources[i] for i in sorted(needed(cells, ["check"]))][:-1]


@pytest.mark.parametrize(
    "sources",
    [
        ("a = 1", "a"),
        ("import a.b", "a.b.c"),
        ("from x import y as a", "a"),
        ("def a(): return 1", "b = a()"),
        ("class A: pass", "A()"),
        ("a = {}", "a[0] = 1", "print(a)"),
        ("a = x", "a.b.c[0] = 1", "print(a)"),
        ("a = 1", "a += 1", "a"),
        ("a = 1", "b = a", "b"),
        ("a = 1", "a = a + 1", "a"),
        ("a = []", "def f(): return a", "f()"),
        ("a = 1", "[a for b in range(2)]"),
        ("for a in range(3): pass", "a"),
        ("with open('x') as a: pass", "a"),
        ("a, (b, *c) = 1, (2, 3)", "c"),
        ("a = b = 1", "b"),
        ("(a := 1)", "a"),
        ("write('one.tflite')", "read('one.tflite')"),
        ("a = 1", "a = a if a else 2", "a"),
    ],
)
def test_what_is_taken_is_kept(sources):
    assert kept(*sources) == list(sources[:-1])


@pytest.mark.parametrize(
    "sources",
    [
        ("a = 1", "b"),
        ("print(a)", "a = 1"),
        ("a = 1", "a = 2\na"),  # given anew
        ("a = 1", "for a in range(2): a"),
        ("a = 1", "[a for a in range(2)]"),
        ("a = 1", "def f(a): return a"),
        ("a = 1", "def f():\n    a = 2\n    return a"),
        ("a = 1", "lambda a: a"),
        ("def f():\n    a = 1", "a"),
        ("write('one.tflite')", "read('other.tflite')"),
        ("print('a sentence.')", "print('a sentence.')"),
    ],
)
def test_what_is_not_taken_is_left_out(sources):
    assert kept(*sources) == []


def test_only_the_last_giver_counts():
    assert kept("a = 1", "a = 2", "a") == ["a = 2"]


def test_parts_do_not_give_the_whole():
    """`a` is of the first cell, although the second one stores into it."""
    assert kept("a = {}", "a = {}", "a[1] = 2", "a") == ["a = {}", "a[1] = 2"]
