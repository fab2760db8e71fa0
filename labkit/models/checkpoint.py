"""Checkpoints: what a run has reached, in one file, so that a killed run goes on from there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from labkit import files
from labkit.errors import LabkitError


class CheckpointError(LabkitError):
    """A checkpoint that cannot be read, or that belongs to another run."""


class Checkpoint:
    """Arrays and a history after the last finished part of a run.

    Args:
        path: `.npz`; None to keep nothing.
        fingerprint: all that decides how the run ends, as JSON takes it.
    """

    def __init__(self, path: str | Path | None, fingerprint: dict):
        self.path = None if path is None else Path(path)
        self.fingerprint = json.dumps(fingerprint, sort_keys=True)

    def read(self) -> tuple[list[np.ndarray], list[dict]]:
        """Arrays and history as they were written; both empty where there is no file.

        Raises:
            CheckpointError: the file is damaged, or of another run.
        """
        if self.path is None or not self.path.exists():
            return [], []
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                note = json.loads(str(stored["note"]))
                arrays = [stored[f"arr_{i}"] for i in range(len(stored.files) - 1)]
        except Exception as error:  # a damaged file raises whatever it likes
            raise CheckpointError(
                f"{self.path} cannot be read ({error}): delete it to begin anew."
            ) from error
        if note["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                f"{self.path} belongs to a run with another network, plan, schedule or "
                "images: name another folder, or delete it."
            )
        return arrays, note["history"]

    def write(self, arrays: list[np.ndarray], history: list[dict]) -> None:
        """Replace what was written before."""
        if self.path is None:
            return
        note = json.dumps({"fingerprint": self.fingerprint, "history": history})
        with files.replacing(self.path) as temporary:
            np.savez(temporary, *arrays, note=np.array(note))
