"""The network of the page on a phone: the one that lab 08 hands in, or a quick one made now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import labkit
from labkit.authoring.pages import PageError
from labkit.datasets import cache, uci_har
from labkit.har.pipeline import Pipeline
from labkit.har.pipeline import uci_har as uci_har_pipeline

FILE = "har_micro.tflite"
_RECIPE, _SEED = "quick", 0


@dataclass(frozen=True)
class HandNetwork:
    """A network with what goes before it.

    Attributes:
        content: of its `.tflite` file.
        pipeline: what samples go through.
        trained: what it was trained on, in a sentence.
    """

    content: bytes
    pipeline: Pipeline
    trained: str


def of_lab(out: str | Path) -> HandNetwork:
    """The network that lab 08 has written into an output folder.

    Raises:
        PageError: it has not.
    """
    out = Path(out)
    try:
        content = (out / FILE).read_bytes()
        results = json.loads((out / "results" / "08.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise PageError(f"there is no {error.filename}: run lab 08 with OUT={out}.") from error
    (figures,) = (a["metrics"] for a in results["artefacts"] if a["file"] == FILE)
    data = {"real": "recordings of UCI HAR", "synthetic": "recordings that labkit simulates"}
    trained = (
        f"Trained by lab 08 ({results['profile']} profile) on {data[results['data']]}, of people "
        "who wore a phone at the waist; it reads "
        f"{100 * figures['accuracy']:.1f} % of the windows of others."
    )
    return HandNetwork(content, Pipeline.read(out / Path(FILE).with_suffix(".json")), trained)


def quick() -> HandNetwork:
    """A network of lab 08, trained in half a minute on simulated recordings, and cached.

    It is what lab 08 hands in after a run in the quick profile on synthetic data.
    """
    # "as" becomes 2 once _train does something else
    key = {"labkit": labkit.__version__, "drawn": uci_har.SOURCE.version, "as": 1}
    content, accuracy = cache.kept("har_micro", key, _train)
    trained = (
        "This copy of the page was built without lab 08's files: its network was trained for a few "
        "seconds on recordings that labkit simulates. It reads "
        f"{100 * float(accuracy):.1f} % of other simulated windows, and has never felt a real "
        "person walk."
    )
    steps = uci_har_pipeline([0] * 9, np.repeat(uci_har.SENSOR_SIZES, 3), uci_har.LIMIT)
    return HandNetwork(content.tobytes(), steps, trained)


def _train() -> tuple[np.ndarray, np.ndarray]:
    """Content and accuracy of a file, made as lab 08 makes it."""
    from labkit import measure, runtime, training
    from labkit.compress import minimal, quantization_aware
    from labkit.models import har

    runtime.set_seed(_SEED)
    data = har.scaled(uci_har.load("synthetic", quick=True, seed=0))
    network = har.NETWORKS["separable"]
    recipe = network.RECIPES[_RECIPE]
    model = network.build()
    training.fit(model, data, recipe, _SEED)
    aware = quantization_aware.quantize(model)
    quantization_aware.calibrate(aware, data.representative(300, seed=_SEED))
    training.fit(aware, data, recipe.but(epochs=1, learning_rate=1e-4), _SEED)
    content = minimal.for_device(quantization_aware.convert(aware, batch=1))
    accuracy = measure.evaluate(content, data.x_test, data.y_test)["accuracy"]
    return np.frombuffer(content, np.uint8), np.array(accuracy)
