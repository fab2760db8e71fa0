"""One run of one lab: its parameters, data, files, figures and the list of what to hand in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from labkit import checks, datasets, files, measure, runtime
from labkit.datasets import sign_mnist

#: Trained once a seed in the full profile, so that figures carry a mean and a spread.
REPEATS = {"quick": 1, "full": 3}


@dataclass(frozen=True)
class Artefact:
    """A file that a lab hands in."""

    file: str
    bytes: int
    accuracy: float | None = None


class Lab:
    """Ties a notebook's parameters to its data set, its output folder and the ledger.

    Args:
        name: the notebook's name, for example "02_dynamic_range".
        profile: "quick" or "full".
        data: "auto", "synthetic" or "real".
        seed: of the first run; the full profile repeats with the next two.
        out: folder for model files, ledger and results.

    Raises:
        runtime.SettingError: a parameter is not one of those.
        datasets.DataError: the real data is asked for and missing, or damaged.
    """

    def __init__(self, name: str, profile: str, data: str, seed: int, out: str):
        self.name = name
        self.number = name.split("_")[0]
        self.profile = runtime.checked_choice("PROFILE", profile, runtime.PROFILES)
        runtime.checked_choice("DATA", data, runtime.DATA_MODES)
        self.seed = seed
        self.out = Path(out)
        runtime.set_seed(seed)
        checks.reset()
        self.dataset: datasets.Dataset = sign_mnist.load(data, profile=profile, seed=0)
        self.ledger = measure.Ledger(self.out)
        self._artefacts: dict[str, Artefact] = {}
        display(
            Markdown(
                f"**Data:** {self.dataset.describe()}  \n"
                f"**Profile:** {profile} · **seed:** {seed} · **files go to** `{self.out.as_posix()}/`"
            )
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of this run's repeats, the first being the one that is handed in."""
        return tuple(range(self.seed, self.seed + REPEATS[self.profile]))

    def path(self, file: str, seed: int | None = None) -> Path:
        """Where a model file goes: repeats of other seeds lie in a folder of their own."""
        if seed is None or seed == self.seed:
            return self.out / file
        return self.out / "repeats" / f"seed{seed}" / file

    def write(self, file: str, content: bytes, seed: int | None = None) -> Path:
        """Write a model file atomically; that of the first seed is listed to be handed in."""
        path = files.write_bytes(self.path(file, seed), content)
        if path == self.out / file:
            self._artefacts[file] = Artefact(file, len(content))
        return path

    def measure(self, technique: str, path: Path, seed: int | None = None) -> dict[str, float]:
        """Measure a model file on the test images and record every figure in the ledger.

        Returns:
            accuracy (fraction), bytes, gzip bytes and bits of weights, as `measure.evaluate`.
        """
        figures = self._evaluate(technique, path, self.seed if seed is None else seed)
        if path.name in self._artefacts and path == self.out / path.name:
            known = self._artefacts[path.name]
            self._artefacts[path.name] = Artefact(known.file, known.bytes, figures["accuracy"])
        return figures

    def results(self) -> dict:
        """What `results.json` holds: parameters, checks and the files to hand in."""
        artefacts = [asdict(a) for a in self._artefacts.values()]
        headline = artefacts[-1] if artefacts else {"accuracy": None, "bytes": None}
        return {
            "lab": self.name,
            "profile": self.profile,
            "data": self.dataset.source,
            "seed": self.seed,
            "accuracy": headline["accuracy"],
            "bytes": headline["bytes"],
            "artefacts": artefacts,
            "checks": checks.results(),
        }

    def finish(self) -> pd.DataFrame:
        """Write `results/NN.json` and list what is to be handed in."""
        results = self.results()
        path = self.out / "results" / f"{self.number}.json"
        files.write_text(path, json.dumps(results, indent=2) + "\n")
        rows = [{"hand in": f"{self.name}.ipynb", "what": "this notebook, executed and saved"}]
        for artefact in results["artefacts"]:
            accuracy = artefact["accuracy"]
            measured = "" if accuracy is None else f", {accuracy:.1%} on the test images"
            rows.append({"hand in": artefact["file"], "what": f"{artefact['bytes']:,} bytes{measured}"})
        rows.append({"hand in": path.relative_to(self.out).as_posix(), "what": "checks and figures"})
        return pd.DataFrame(rows).set_index("hand in")
