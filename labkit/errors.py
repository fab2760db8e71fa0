"""The root of all errors that labkit raises about what it was given.

Each part has one of its own below it (`DataError`, `NetworkError`, ...). Their messages say what
was wrong, where, and what to do; the command line shows them without a traceback.
"""


class LabkitError(ValueError):
    """What labkit was given cannot be used; the message says what, where and what to do."""
