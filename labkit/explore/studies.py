"""The studies of the thesis on indoor localisation, as functions that `sweep` calls.

Each trains one design several times and judges every run on the test samples, as the thesis did;
beside its best run stands the one that validation would have chosen, and the mean.

Source: L. Battiato, *Tensorflow-driven neural network quantization for resource-constrained
devices* (Politecnico di Torino, 2020), chapter 3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from labkit import measure
from labkit.datasets import Dataset, localisation
from labkit.explore import population
from labkit.explore.members import Cnn, ExploreError, Member, Mlp, Quantizer, Scheme, Settings
from labkit.explore.sweep import code_version, grid

_WIDTHS = tuple(range(2, 17))
_ADE = measure.AVERAGE_DISTANCE_ERROR


@dataclass(frozen=True)
class Study:
    """A function and what it is called with.

    Attributes:
        name: on the command line.
        title: what it is.
        function: for `sweep`.
        levels: of its grid, by name.
    """

    name: str
    title: str
    function: Callable[..., dict]
    levels: dict = field(default_factory=dict)

    def design(self, **changes) -> list[dict]:
        """Its grid, some levels of it changed, see `chosen`."""
        return grid(**self.chosen(**changes))

    def chosen(self, **changes) -> dict:
        """Its levels, some of them changed.

        "auto" data is what is there now: results stay with the data that they are of.
        """
        if unknown := set(changes) - set(self.levels):
            raise ExploreError(
                f"{self.name} has no {unknown.pop()!r}; it has {', '.join(self.levels)}."
            )
        levels = {**self.levels, **changes}
        here = "real" if localisation.SOURCE.found() else "synthetic"
        levels["data"] = tuple(here if data == "auto" else data for data in levels["data"])
        return levels

    @property
    def version(self) -> str:
        """Of the code that its results depend on."""
        parts = ("loops", "population", "groups", "members")
        modules = [f"labkit.explore.{part}" for part in parts]
        data = ("localisation", "localisation_simulator", "dataset")
        return code_version(self.function, *modules, *(f"labkit.datasets.{each}" for each in data))


@functools.lru_cache(maxsize=4)
def samples(data: str = "auto", seed: int = 0) -> tuple[Dataset, Dataset]:
    """The windows of the recording, standardised, and their training part with the last quarter
    held out.

    Args:
        data: "auto", "real" or "synthetic".
        seed: of synthetic data.

    Returns:
        windows x (N, 30, 4), and the same whose test part is the validation.
    """
    whole = localisation.load(data, seed=seed).standardised()
    return localisation.windows(whole), localisation.windows(whole.holdout(0.25))


def judged(members: list[Member], settings: Settings, data: str, seed: int) -> dict:
    """Figures of runs of one design: errors on the test samples, and what chose which.

    Returns:
        "ADE (m)" the mean over the runs, "best ADE (m)", "chosen ADE (m)" of the run with the best
        validation, "MSE (m²)" the mean, "ADE of runs (m)" and "best epochs" as lists, "parameters".
    """
    whole, held = samples(data, seed)
    if isinstance(members[0].network, Mlp):
        whole, held = localisation.latest(whole), localisation.latest(held)
    parts = (held.x_train, held.y_train), (held.x_test, held.y_test)
    found = population.train(members, *parts, settings)
    errors = found.score(_ADE, whole.x_test, whole.y_test)
    return {
        "ADE (m)": errors.mean(),
        "best ADE (m)": errors.min(),
        "chosen ADE (m)": errors[found.record["validation"].argmin()],
        "MSE (m²)": found.score(measure.MEAN_SQUARED_ERROR, whole.x_test, whole.y_test).mean(),
        "ADE of runs (m)": errors,
        "best epochs": found.record["best epoch"].to_numpy(),
        "parameters": sum(array.size for array in found.weights[0]),
    }


def mlp_neurons(neurons, repeats, epochs, learning_rate, seed, data) -> dict:
    """A float MLP with so many neurons (table 3.1)."""
    members = _members(Mlp((neurons,)), None, repeats, learning_rate, seed)
    return judged(members, Settings(epochs), data, 0)


def mlp_bits(weight_bits, activation_bits, neurons, repeats, epochs, learning_rate, seed, data):
    """An MLP with these bits (section 3.3.2); 32 and 32 for floating point."""
    scheme = _scheme(weight_bits, activation_bits, False)
    members = _members(Mlp((neurons,)), scheme, repeats, learning_rate, seed)
    return judged(members, Settings(epochs), data, 0)


def mlp_quantizers(
    weights,
    weights_symmetric,
    weights_narrow,
    activations,
    activations_symmetric,
    activations_narrow,
    weight_bits,
    activation_bits,
    repeats,
    epochs,
    learning_rate,
    seed,
    data,
) -> dict:
    """An MLP with these quantisers (table 3.3 is of the CNN)."""
    scheme = Scheme(
        Quantizer(weights, weight_bits, weights_symmetric, weights_narrow),
        Quantizer(activations, activation_bits, activations_symmetric, activations_narrow),
    )
    return judged(_members(Mlp(), scheme, repeats, learning_rate, seed), Settings(epochs), data, 0)


def cnn_bits(
    weight_bits, activation_bits, repeats, epochs, learning_rate, weight_decay, seed, data
) -> dict:
    """The CNN with these bits (section 3.4.2); 32 and 32 for floating point.

    Ranges of weights begin with those of the weights: from -6 to 6, a weight decay would have
    pulled them to zero before the range has come down.
    """
    scheme = _scheme(weight_bits, activation_bits, True, measured=True)
    members = _members(Cnn(), scheme, repeats, learning_rate, seed)
    return judged(members, Settings(epochs, weight_decay=weight_decay), data, 0)


def _members(network, scheme, repeats, learning_rate, seed) -> list[Member]:
    return [Member(network, scheme, seed + i, learning_rate) for i in range(repeats)]


def _scheme(
    weight_bits: int, activation_bits: int, narrow: bool, measured: bool = False
) -> Scheme | None:
    """Of the thesis; None for 32 bits of both."""
    if (weight_bits, activation_bits) == (32, 32):
        return None
    return Scheme.of_thesis(weight_bits, activation_bits, narrow, measured)


_TRAINED = {"repeats": (10,), "epochs": (1000,), "learning_rate": (1e-3,)}
_ON = {"seed": (0,), "data": ("auto",)}
_BITS = {"weight_bits": _WIDTHS, "activation_bits": _WIDTHS}
_EITHER = (False, True)

#: By name.
STUDIES = {
    study.name: study
    for study in (
        Study(
            "mlp-neurons",
            "float MLPs with 22 to 52 neurons, ten runs each (table 3.1)",
            mlp_neurons,
            {"neurons": tuple(range(22, 53)), **_TRAINED, **_ON},
        ),
        Study(
            "mlp-bits",
            "MLPs with 2 to 16 bits of weights and activations, ten runs each (section 3.3.2)",
            mlp_bits,
            {**_BITS, "neurons": (32,), **_TRAINED, **_ON},
        ),
        Study(
            "mlp-quantizers",
            "quantisers and their settings on the bits that suit hardware (as table 3.3)",
            mlp_quantizers,
            {
                "weights": ("moving average", "last value"),
                "weights_symmetric": _EITHER,
                "weights_narrow": _EITHER,
                "activations": ("moving average", "last value"),
                "activations_symmetric": _EITHER,
                "activations_narrow": _EITHER,
                "weight_bits": (4,),
                "activation_bits": (4, 8, 16),
                **_TRAINED,
                **_ON,
            },
        ),
        Study(
            "cnn-bits",
            "the CNN with these bits, a few runs each (section 3.4.2); it takes hours",
            cnn_bits,
            {
                **_BITS,
                "repeats": (5,),
                "epochs": (250,),
                "learning_rate": (1e-3,),
                "weight_decay": (2e-2,),
                **_ON,
            },
        ),
    )
}


def study(name: str) -> Study:
    """The study of that name.

    Raises:
        ExploreError: there is none; the message lists those there are.
    """
    if name not in STUDIES:
        raise ExploreError(f"there is no study {name!r}; labkit has {', '.join(STUDIES)}.")
    return STUDIES[name]


def runs(table, row: int) -> np.ndarray:
    """The errors of all runs of a design, float64 (repeats,), for `selection`."""
    return np.array(table["ADE of runs (m)"].iloc[row], np.float64)
