from labkit.authoring.mutation import prove
from labkit.authoring.source import sources

PARAMETERS = {"PROFILE": "quick", "DATA": "synthetic", "SEED": 0}


def proof(course):
    (source,) = sources(root=course)
    return prove(source, PARAMETERS | {"OUT": str(course / "out")})


def test_a_good_lab_is_proved(course):
    found = proof(course)
    assert found.problems == [] and found.exercises == ["double"]


def test_a_check_that_cannot_fail_is_found(course, edit):
    edit('    c.equal("3", double(3), 6)', '    c.equal("3", 6, 6)')
    problems = "\n".join(proof(course).problems)
    assert "exercise double: its check passes although nothing is filled in" in problems
    assert "exercise double: its check passes on the untouched notebook" in problems


def test_a_solution_that_fails_its_check_is_found(course, edit):
    edit("secret_answer = x + x", "secret_answer = x + x + 1")
    assert "CheckFailed" in "\n".join(proof(course).problems)
