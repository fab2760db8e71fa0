"""One run of one lab: its parameters, data, files, figures and the list of what to hand in."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import tensorflow as tf
from IPython.display import Markdown, display
from tqdm.auto import tqdm

from labkit import checks, datasets, files, measure, processes, runtime, training
from labkit.datasets import sign_mnist
from labkit.measure import Metric, micro
from labkit.models import own
from labkit.training import Network, Trained

#: Trained once per seed in the full profile, so that figures carry a mean and a spread.
REPEATS = {"quick": 1, "full": 3}


@dataclass(frozen=True)
class Artefact:
    """A file that a lab hands in."""

    file: str
    bytes: int
    accuracy: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class Lab:
    """Ties a notebook's parameters to its data set, its output folder and the ledger.

    Args:
        name: the notebook's name, for example "02_dynamic_range".
        profile: "quick" or "full".
        data: "auto", "synthetic" or "real".
        seed: of the first run; the full profile repeats with the next two.
        out: folder for model files, ledger and results.
        dataset: what loads the lab's data set: a `Source`, or a module of `labkit.datasets`.
        headline: the file that the lab is about, as the lab sheet names it; others are written to
            compare with. The first that is handed in without.
        metrics: what its files are judged by; the first one is what tables compare.
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
        dataset: datasets.Source | ModuleType = sign_mnist,
        *,
        headline: str | None = None,
        metrics: Sequence[Metric] = (measure.ACCURACY,),
        repeats: int | None = None,
    ):
        self.name = name
        self.number = name.split("_")[0]
        self.profile = runtime.checked_choice("PROFILE", profile, runtime.PROFILES)
        runtime.checked_choice("DATA", data, runtime.DATA_MODES)
        self.seed = seed
        self.out = Path(out)
        self.headline, self.metrics = headline, tuple(metrics)
        runtime.set_seed(seed)
        checks.reset()
        self.repeats = REPEATS[profile] if repeats is None else repeats
        self.dataset: datasets.Dataset = dataset.load(data, quick=profile == "quick", seed=0)
        self.ledger = measure.Ledger(self.out)
        self._judged_on: dict[str, datasets.Dataset] = {}  # models of other data sets
        self._artefacts: dict[str, Artefact] = {}
        self._measured: dict[tuple[str, str], Path] = {}  # of the first seed, by model, technique
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

    def adopt(self, model: tf.keras.Model, default: ModuleType) -> Network | ModuleType:
        """Keep a student's own untrained network for this lab and those after it, see `own`.

        Returns:
            what `network` gives from now on.
        """
        own.keep(self.out, model)
        return self.network(default)

    def network(self, default: ModuleType) -> Network | ModuleType:
        """The student's own network where the output folder has one, else the default.

        Args:
            default: a module of `labkit.models`; its recipes train both.
        """
        return own.find(self.out, default)

    def trained(self, network: Network | ModuleType, seed: int) -> Trained:
        """A network of this lab, of a seed: loaded from the output folder, or trained now.

        The weights and what they were trained on are kept in the folder "baseline" there.

        Args:
            network: from `network`, or a module of `labkit.models` with `build`, the untrained
                network, and `RECIPES` by profile, for example `sign_cnn`.
            seed: of weights, order and augmentation.
        """
        runtime.set_seed(seed)
        recipe, facts = network.RECIPES[self.profile], getattr(network, "facts", {})
        return training.fitted(self.out, network.build(), self.dataset, recipe, seed, **facts)

    def side_by_side(
        self, work: Callable, calls: Mapping[Hashable, tuple] | Iterable[tuple]
    ) -> dict:
        """What a function gives for each of several arguments, by their names.

        The full profile makes several calls at a time, each in a process of its own, where there
        are several processors: most trainings of the course's networks cannot keep two busy. All
        others are made one after the other, in this process.

        Args:
            work: sets the seed of what it draws, as `trained` and `training.fit` do, and changes
                neither its arguments nor anything outside; see `processes.side_by_side` for what
                it may give.
            calls: its arguments, for example a network and a seed, by any name; without names, the
                arguments themselves are the names.

        Returns:
            the results by name, in the order of the calls.
        """
        calls = dict(calls) if isinstance(calls, Mapping) else {call: call for call in calls}
        jobs = 1 if self.profile == "quick" else processes.jobs_for(len(calls))
        if jobs == 1:
            return {name: work(*call) for name, call in calls.items()}
        # 1 after `runtime.one_thread_an_operation`, else 0.
        threads = tf.config.threading.get_intra_op_parallelism_threads() or None
        given = dict(
            tqdm(
                processes.side_by_side(work, calls.values(), jobs, threads),
                total=len(calls),
                leave=False,
                disable=not runtime.interactive(),
            )
        )
        return {name: given[number] for number, name in enumerate(calls)}

    def judge_on(self, model: str, data: datasets.Dataset) -> None:
        """Measure the files of a model on another data set than the lab's; its rows say so.

        Args:
            model: as the ledger names it.
            data: whose test samples they are measured on from now on.
        """
        self._judged_on[model] = data

    def measure(
        self,
        technique: str,
        path: Path,
        seed: int | None = None,
        model: str = "baseline",
        *,
        reference: Path | None = None,
        harder: datasets.Dataset | None = None,
        outputs=None,
    ) -> dict[str, float]:
        """Measure a model file on the test images and record the figures in the ledger.

        Args:
            model: on its own data set's test images, if it has one from `judge_on`.
            reference: the float file that it was made from, or itself; with `harder`, the file is
                also compared with it on that data set's test samples, see `measure.compare`.
            harder: for example from `Dataset.corrupted`.
            outputs: what the file has made of the test samples, if it has been run already.

        Returns:
            the lab's metrics by name (accuracy as a fraction), "bytes", "gzip_bytes",
            "weight_bits", "coded_bits" and "peak_activation_bytes"; and those of the comparison.
        """
        data = self._data_of(model)
        figures = measure.evaluate(path, data.x_test, data.y_test, self.metrics, outputs)
        if harder is not None:
            figures |= measure.compare(path, reference or path, harder.x_test, harder.y_test)
        self.record(technique, figures, model, seed)
        if seed is None or seed == self.seed:
            self._measured[model, technique] = Path(path)
        artefact = self._artefacts.get(path.name)
        if artefact is not None and path == self.path(path.name):
            judged = {metric.name: figures[metric.name] for metric in self.metrics}
            self._artefacts[path.name] = replace(
                artefact, accuracy=judged.get("accuracy"), metrics=judged
            )
        return figures

    def accuracy_in_keras(self, model: tf.keras.Model) -> float:
        """Top-1 accuracy on the test samples of a Keras model, in percent; no file, no record."""
        outputs = model.predict(self.dataset.x_test, batch_size=500, verbose=0)
        return 100 * measure.ACCURACY.compute(self.dataset.y_test, outputs)

    def latency(self, technique: str, path: Path, model: str = "baseline") -> measure.Latency:
        """Time a model file on one test image, one thread, and record the median."""
        latency = measure.latency(path, self._data_of(model).x_test[:1])
        self.record(technique, {"latency": latency.median_ms}, model)
        return latency

    def mean(self, metric: str, technique: str) -> float:
        """Mean over this run's seeds of a metric of the ledger."""
        rows = self._rows()
        values = rows.loc[(rows["technique"] == technique) & (rows["metric"] == metric), "value"]
        if len(values) == 0:
            raise KeyError(f"no {metric} of {technique!r} was measured in lab {self.number}.")
        return float(values.mean())

    def report(self, device: bool = False) -> pd.DataFrame:
        """The ledger of this lab: a row per technique, mean and spread over the seeds.

        Args:
            device: also run the files that this lab has measured in TensorFlow Lite Micro, those
                of the first seed, and add the columns "microcontroller" ("runs", or what it
                refuses) and "arena (bytes)". Without the package `tflite-micro` there are none.
        """
        verdicts = self._run_on_device() if device else {}
        table = self._summary().drop(columns=["lab", "data", "profile"])
        if verdicts:
            keys = zip(table["model"], table["technique"], strict=True)
            table["microcontroller"] = [verdicts.get(key, "") for key in keys]
        else:  # of an earlier call
            table = table.drop(columns=["microcontroller", "arena (bytes)"], errors="ignore")
        table = table.set_index("technique")
        if (table["coded (bits)"] == table["weights (bits)"]).all():  # no code is shorter
            table = table.drop(columns="coded (bits)")
        table = table.dropna(axis=1, how="all")
        sizes = ("bytes", "gzip (bytes)", "peak RAM (bytes)", "arena (bytes)")
        counted = set(table).intersection((*sizes, "weights (bits)", "coded (bits)"))
        # What was not measured from a file has no size, and `Int64` has gaps.
        return table.astype(dict.fromkeys(counted, "Int64")).round(
            {name: m.digits for m in self.metrics for name in (m.column, m.spread)}
            | {"accuracy, harder (%)": 2, "changed": 1, "SQNR (dB)": 1, "latency (ms)": 3}
        )

    def _run_on_device(self) -> dict[tuple[str, str], str]:
        """Run the measured files in TensorFlow Lite Micro, record what is found, say if they run.

        Returns:
            "runs" or what is refused, by model and technique; empty without the package.
        """
        if not micro.available() or not self._measured:
            return {}
        verdicts = {}
        reports = micro.run_all(self._measured.values())
        for (model, technique), report in zip(self._measured, reports, strict=True):
            figures = {"runs_on_device": float(report.runs)}
            if report.runs:
                figures["arena_bytes"] = report.arena_bytes
            self.record(technique, figures, model)
            verdicts[model, technique] = report.verdict
        return verdicts

    def compare(self, *techniques: str, size: str = "bytes") -> pd.DataFrame:
        """Published figures and this lab's, a row each.

        "lost" is what a technique loses of the lab's first metric against the float model of the
        same source, "smaller" the size of that float model divided by its own.

        Args:
            techniques: those to show, beside float.
            size: which size of this lab's, "bytes" or "gzip (bytes)".
        """
        metric = self.metrics[0]
        ours = self._summary()
        measured = pd.DataFrame(
            {
                "source": f"this lab, {self.dataset.source} data",
                "model": ours["model"],
                "technique": ours["technique"],
                metric.column: ours[metric.column],
                "size": ours[size],
            }
        )
        published = measure.published()
        published = published[[self.number in labs.split() for labs in published["lab"]]]
        published["metric"] = published["metric"].replace(metric.name, metric.column)
        published = published.pivot(
            index=["document", "model", "technique"], columns="metric", values="value"
        ).reset_index(names=["source", "model", "technique"])
        both = pd.concat([published, measured], ignore_index=True)
        base = both.loc[both["technique"] == "float"].drop(columns="technique")
        rows = both[both["technique"].isin(("float", *techniques))].merge(
            base, how="left", on=["source", "model"], suffixes=("", " of float")
        )
        rows[metric.loss] = metric.lost(rows[f"{metric.column} of float"], rows[metric.column])
        rows["smaller (×)"] = rows["size of float"] / rows["size"]
        columns = [f"{metric.name} at least", metric.column, metric.loss, "smaller (×)"]
        table = rows.set_index(["technique", "source", "model"]).reindex(columns=columns)
        table["smaller (×)"] = table["smaller (×)"].round(2)
        table = table.dropna(axis=1, how="all").sort_index(level="technique", sort_remaining=False)
        return measure.printed(table, metric.digits)

    def _summary(self) -> pd.DataFrame:
        return measure.summary(self._rows(), self.metrics)

    def _rows(self) -> pd.DataFrame:
        """This lab's rows of the ledger that belong to this run: each model's of its data set."""
        table = self.ledger.table()
        labels = [self._data_of(model).label for model in table["model"]]
        mine = (
            (table["lab"] == self.number)
            & (table["data"] == pd.Series(labels, table.index, dtype=str))
            & (table["profile"] == self.profile)
            & table["seed"].isin(self.seeds)
        )
        return table[mine]

    def _data_of(self, model: str) -> datasets.Dataset:
        return self._judged_on.get(model, self.dataset)

    def record(
        self,
        technique: str,
        figures: dict[str | Metric, float],
        model: str = "baseline",
        seed: int | None = None,
        data: str | None = None,
        unit: str | None = None,
    ) -> None:
        """Put figures into the ledger.

        Args:
            technique: what was done to the model.
            figures: metric → value: "accuracy" (fraction), "bytes", "latency" (ms), "cycles",
                "energy_lowest", "energy_highest" (µJ), ...; or a `Metric` → value.
            data: what they were measured on, the model's data set without (see `judge_on`).
            unit: of figures that are neither a metric of the lab's nor one of these.

        Raises:
            LedgerError: a figure without a unit.
        """
        judged = (*self.metrics, *(name for name in figures if isinstance(name, Metric)))
        figures = {getattr(name, "name", name): value for name, value in figures.items()}
        self.ledger.add(
            technique,
            figures,
            units={metric.name: metric.unit for metric in judged}
            | (dict.fromkeys(figures, unit) if unit else {}),
            lab=self.number,
            model=model,
            data=data or self._data_of(model).label,
            profile=self.profile,
            seed=self.seed if seed is None else seed,
        )

    def results(self) -> dict:
        """What `results.json` holds: parameters, checks and the files to hand in."""
        artefacts = [asdict(a) for a in self._artefacts.values()]
        first = next(iter(self._artefacts), None)
        headline = self._artefacts.get(self.headline or first)
        return {
            "lab": self.name,
            "profile": self.profile,
            "data": self.dataset.source,
            "seed": self.seed,
            "accuracy": headline.accuracy if headline else None,
            "bytes": headline.bytes if headline else None,
            "metrics": headline.metrics if headline else {},
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
            value = artefact["metrics"].get(self.metrics[0].name)
            shown = "" if value is None else f", {self.metrics[0].text(value)}"
            measured = shown and f"{shown} on the test {self.dataset.noun}"
            rows.append(
                {"hand in": artefact["file"], "what": f"{artefact['bytes']:,} bytes{measured}"}
            )
        rows.append(
            {"hand in": path.relative_to(self.out).as_posix(), "what": "checks and figures"}
        )
        return pd.DataFrame(rows).set_index("hand in")
