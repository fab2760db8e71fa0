"""Data sets, real where they lie on the disk and synthetic where they do not."""

from labkit.datasets.dataset import DataError, Dataset, Origin, Part, stratified
from labkit.datasets.source import Source

__all__ = ["DataError", "Dataset", "Origin", "Part", "Source", "stratified"]
