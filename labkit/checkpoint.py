"""What a run has reached, or ended with, in one file that belongs to that run alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from labkit import files
from labkit.errors import LabkitError


class CheckpointError(LabkitError):
    """A checkpoint that cannot be read, or that belongs to another run."""


class Checkpoint:
    """Arrays and a note under the fingerprint of a run; written whole or not at all.

    Args:
        path: `.npz`; None to keep nothing.
        fingerprint: all that decides how the run ends, as JSON takes it.
    """

    def __init__(self, path: str | Path | None, fingerprint: dict):
        self.path = None if path is None else Path(path)
        self.fingerprint = json.loads(json.dumps(fingerprint))

    def read(self) -> tuple[list[np.ndarray], dict]:
        """Arrays and note as they were written; both empty where there is no file.

        Raises:
            CheckpointError: the file is damaged, or of another run.
        """
        if self.path is None or not self.path.exists():
            return [], {}
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                content = json.loads(str(stored["note"]))
                arrays = [stored[f"arr_{i}"] for i in range(len(stored.files) - 1)]
                before, note = content["fingerprint"], content["note"]
        except Exception as error:  # a damaged file raises whatever it likes
            raise CheckpointError(
                f"{self.path} cannot be read ({error}): delete it to begin anew."
            ) from error
        keys = {**before, **self.fingerprint}
        other = [key for key in keys if before.get(key) != self.fingerprint.get(key)]
        if other:
            raise CheckpointError(
                f"{self.path} belongs to a run with another {', '.join(other)}: name another "
                "folder, or delete it."
            )
        return arrays, note

    def write(self, arrays: list[np.ndarray], note: dict) -> None:
        """Replace what was written before; the note as JSON takes it."""
        if self.path is None:
            return
        text = json.dumps({"fingerprint": self.fingerprint, "note": note})
        with files.replacing(self.path) as temporary:
            np.savez(temporary, *arrays, note=np.array(text))
