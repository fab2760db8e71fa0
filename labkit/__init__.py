"""Fit neural networks into embedded devices: the package behind the labs."""

from labkit import runtime

__version__ = "1.0.0"

# TensorFlow reads these settings once, on import: set them before anything can import it.
runtime.prepare()
