"""One run of one lab: its parameters, data, files, figures and the list of what to hand in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType

import pandas as pd
from IPython.display import Markdown, display

from labkit import checks, datasets, files, measure, runtime
from labkit.datasets import sign_mnist
from labkit.models import sign_cnn
from labkit.models.trained import Trained

#: Trained once a seed in the full profile, so that figures carry a mean and a spread.
REPEATS = {"quick": 1, "full": 3}

#: The file that each lab is about, as the lab sheet names it; others are written to compare with.
HEADLINES = {
    "00": "first_model.tflite",
    "01": "sign_mnist.tflite",
    "02": "sign_mnist_quant_dyn.tflite",
    "03": "sign_mnist_quant_int16x8.tflite",
    "04": "sign_mnist_quant_aware_training.tflite",
    "05": "sign_mnist_clustered.tflite",
    "06": "sign_mnist_pruned.tflite",
    "07": "sign_mnist_4bit.tflite",
    "10": "squeezenet_cifar10_6bit.tflite",
}

_UNITS = {
    "accuracy": "fraction",
    "bytes": "byte",
    "gzip_bytes": "byte",
    "weight_bits": "bit",
    "coded_bits": "bit",
    "latency": "ms",
    "cycles": "cycle",
    "energy_lowest": "µJ",
    "energy_highest": "µJ",
    "packed_bytes": "byte",
    "saturations": "word",
}


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
        dataset: the module of `labkit.datasets` that loads the lab's data set.
        repeats: trainings with other seeds; the profile's number of them without.

    Raises:
        runtime.SettingError: a parameter is not one of those.
        datasets.DataError: the real data is asked for and missing, or damaged.
    """

    def __init__(
        self,
        name: str,
        profile: str,
        data: str,
        seed: int,
        out: str,
        dataset: ModuleType = sign_mnist,
        repeats: int | None = None,
    ):
        self.name = name
        self.number = name.split("_")[0]
        self.profile = runtime.checked_choice("PROFILE", profile, runtime.PROFILES)
        runtime.checked_choice("DATA", data, runtime.DATA_MODES)
        self.seed = seed
        self.out = Path(out)
        runtime.set_seed(seed)
        checks.reset()
        self.repeats = REPEATS[profile] if repeats is None else repeats
        self.dataset: datasets.Dataset = dataset.load(data, profile=profile, seed=0)
        self.ledger = measure.Ledger(self.out)
        self._artefacts: dict[str, Artefact] = {}
        display(
            Markdown(
                f"**Data:** {self.dataset.describe()}  \n"
                f"**Profile:** {profile} · **seed:** {seed} · **files go to** "
                f"`{self.out.as_posix()}/`"
            )
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of this run's repeats, the first being the one that is handed in."""
        return tuple(range(self.seed, self.seed + self.repeats))

    def path(self, file: str, seed: int | None = None) -> Path:
        """Where a model file goes: repeats of other seeds lie in a folder of their own."""
        if seed is None or seed == self.seed:
            return self.out / file
        return self.out / "repeats" / f"seed{seed}" / file

    def write(
        self, file: str, content: bytes, seed: int | None = None, hand_in: bool = True
    ) -> Path:
        """Write a model file atomically.

        Args:
            file: its name in the output folder, for example "sweep/clusters_16.tflite".
            hand_in: list it to be handed in (if it is the first seed's): not for one of a sweep.
        """
        path = files.write_bytes(self.path(file, seed), content)
        if hand_in and path == self.out / file:
            self._artefacts[file] = Artefact(file, len(content))
        return path

    def baseline(self, seed: int) -> Trained:
        """The trained baseline of a seed: loaded from the output folder, or trained now."""
        return sign_cnn.baseline(self.dataset, self.profile, seed, self.out)

    def measure(
        self, technique: str, path: Path, seed: int | None = None, model: str = "baseline"
    ) -> dict[str, float]:
        """Measure a model file on the test images and record the figures in the ledger.

        Returns:
            "accuracy" (fraction), "bytes", "gzip_bytes", "weight_bits" and "coded_bits".
        """
        figures = measure.evaluate(path, self.dataset.x_test, self.dataset.y_test)
        self.record(technique, figures, model, seed)
        artefact = self._artefacts.get(path.name)
        if artefact is not None and path == self.path(path.name):
            self._artefacts[path.name] = replace(artefact, accuracy=figures["accuracy"])
        return figures

    def latency(self, technique: str, path: Path, model: str = "baseline") -> measure.Latency:
        """Time a model file on one test image, one thread, and record the median."""
        latency = measure.latency(path, self.dataset.x_test[:1])
        self.record(technique, {"latency": latency.median_ms}, model)
        return latency

    def mean(self, metric: str, technique: str) -> float:
        """Mean over this run's seeds of a metric of the ledger."""
        rows = self._rows()
        values = rows.loc[(rows["technique"] == technique) & (rows["metric"] == metric), "value"]
        if len(values) == 0:
            raise KeyError(f"no {metric} of {technique!r} was measured in lab {self.number}.")
        return float(values.mean())

    def report(self) -> pd.DataFrame:
        """The ledger of this lab: a row a technique, mean and spread over the seeds."""
        table = measure.summary(self._rows()).drop(columns=["lab", "data", "profile"])
        table = table.set_index("technique")
        if (table["coded (bits)"] == table["weights (bits)"]).all():  # no code is shorter
            table = table.drop(columns="coded (bits)")
        table = table.dropna(axis=1, how="all")
        counted = {"bytes", "gzip (bytes)", "weights (bits)", "coded (bits)"} & set(table)
        # What was not measured from a file has no size: such columns stay floats.
        whole = [column for column in counted if table[column].notna().all()]
        return table.astype(dict.fromkeys(whole, int)).round(
            {"accuracy (%)": 2, "± (%)": 2, "latency (ms)": 3}
        )

    def compare(self, *techniques: str, size: str = "bytes") -> pd.DataFrame:
        """Published figures and this lab's, a row each.

        "lost" is the accuracy that a technique loses against the float model of the same source,
        "smaller" the size of that float model divided by its own.

        Args:
            techniques: those to show, beside float.
            size: which size of this lab's, "bytes" or "gzip (bytes)".
        """
        ours = measure.summary(self._rows())
        measured = pd.DataFrame(
            {
                "source": f"this lab, {self.dataset.source} data",
                "model": ours["model"],
                "technique": ours["technique"],
                "accuracy (%)": ours["accuracy (%)"],
                "size": ours[size],
            }
        )
        published = measure.published(self.number)
        published["metric"] = published["metric"].replace("accuracy", "accuracy (%)")
        published = published.pivot(
            index=["document", "model", "technique"], columns="metric", values="value"
        ).reset_index(names=["source", "model", "technique"])
        both = pd.concat([published, measured], ignore_index=True)
        base = both.loc[both["technique"] == "float"].drop(columns="technique")
        rows = both[both["technique"].isin(("float", *techniques))].merge(
            base, how="left", on=["source", "model"], suffixes=("", " of float")
        )
        rows["lost (points)"] = rows["accuracy (%) of float"] - rows["accuracy (%)"]
        rows["smaller (×)"] = rows["size of float"] / rows["size"]
        columns = ["accuracy at least", "accuracy (%)", "lost (points)", "smaller (×)"]
        table = rows.set_index(["technique", "source", "model"]).reindex(columns=columns).round(2)
        table = table.dropna(axis=1, how="all").sort_index(level="technique", sort_remaining=False)
        return table.astype(object).where(table.notna(), "")

    def _rows(self) -> pd.DataFrame:
        """This lab's rows of the ledger that belong to this run."""
        table = self.ledger.table()
        mine = (
            (table["lab"] == self.number)
            & (table["data"] == self.dataset.label)
            & (table["profile"] == self.profile)
            & table["seed"].isin(self.seeds)
        )
        return table[mine]

    def record(
        self,
        technique: str,
        figures: dict[str, float],
        model: str = "baseline",
        seed: int | None = None,
        data: str | None = None,
    ) -> None:
        """Put figures into the ledger.

        Args:
            technique: what was done to the model.
            figures: metric → value: "accuracy" (fraction), "bytes", "latency" (ms), "cycles",
                "energy_lowest", "energy_highest" (µJ), ...
            data: what they were measured on, the lab's data set without.
        """
        run = {
            "lab": self.number,
            "model": model,
            "technique": technique,
            "data": data or self.dataset.label,
            "profile": self.profile,
            "seed": self.seed if seed is None else seed,
        }
        self.ledger.record(
            [run | {"metric": m, "value": float(v), "unit": _UNITS[m]} for m, v in figures.items()]
        )

    def results(self) -> dict:
        """What `results.json` holds: parameters, checks and the files to hand in."""
        artefacts = [asdict(a) for a in self._artefacts.values()]
        headline = self._artefacts.get(HEADLINES[self.number])
        return {
            "lab": self.name,
            "profile": self.profile,
            "data": self.dataset.source,
            "seed": self.seed,
            "accuracy": headline.accuracy if headline else None,
            "bytes": headline.bytes if headline else None,
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
            rows.append(
                {"hand in": artefact["file"], "what": f"{artefact['bytes']:,} bytes{measured}"}
            )
        rows.append(
            {"hand in": path.relative_to(self.out).as_posix(), "what": "checks and figures"}
        )
        return pd.DataFrame(rows).set_index("hand in")
