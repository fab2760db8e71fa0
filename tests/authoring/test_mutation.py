from labkit.authoring.mutation import prove
from labkit.authoring.source import sources

PARAMETERS = {"PROFILE": "quick", "DATA": "synthetic", "SEED": 0}


def proof(course, wrong=None):
    (source,) = sources(root=course)
    return prove(source, PARAMETERS | {"OUT": str(course / "out")}, wrong)


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


def test_what_no_check_needs_is_not_run(course, edit):
    edit("# NBVAL_CHECK_OUTPUT\n", "raise OSError('run')\n")
    assert proof(course).problems == []


def test_a_hidden_dependency_is_run_after_all(course, edit):
    """The check needs what a cell does without a name that shows it."""
    edit(
        '# %% tags=["exercise"]',
        '# %%\nchange = json.__dict__.update\nchange(six=6)\n\n# %% tags=["exercise"]',
    )
    edit("double(3), 6)", "double(3), json.six)")
    found = proof(course)
    assert found.problems == [] and found.exercises == ["double"]


def test_wrong_answers_are_told_from_right_ones(course):
    answers = ["return 3 * x", "y = 2 * x\nreturn y", "return undefined"]
    found = proof(course, {"double": answers})
    assert found.problems == []
    assert "expected 6, yours 9" in found.verdicts["double", 0]
    assert found.verdicts["double", 1] == ""
    assert "NameError" in found.verdicts["double", 2]
