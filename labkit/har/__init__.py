"""`labkit har`: a network of human activities on its way to a device, and on a stream of samples.

`pipeline` says what happens to a sample before the network, once for Python and C; `export` writes
both as C; `stream` runs them on samples from a file or a serial port.
"""

from labkit.errors import LabkitError


class HarError(LabkitError):
    """A pipeline, a model or samples that do not go together; the message is one line."""
