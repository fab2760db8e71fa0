"""Grades a class: takes submissions in, executes them apart, measures their files, reports.

The grader measures; it does not believe. Points come from two sources only: model files, which the
grader reads and runs itself on samples that no submission has seen, and answers of the students'
functions to inputs that they have not seen, compared in a process that runs none of their code.
"""

from labkit.errors import LabkitError


class GradingError(LabkitError):
    """An assignment, a class or a setting that cannot be graded with; says what to do."""
