"""Builds the student notebooks from the solutions, executes and verifies them."""


class CourseError(ValueError):
    """A lab that does not exist, a source that breaks the conventions, or no course around."""
