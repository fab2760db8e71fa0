"""Builds the student notebooks from the solutions, executes and verifies them."""

from labkit.errors import LabkitError


class CourseError(LabkitError):
    """A lab that does not exist, a source that breaks the conventions, or no course around."""
