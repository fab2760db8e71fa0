"""Populations against tfmot's `model.fit`: the thesis's study of 225 designs, and how it scales.

    python benchmarks/explore.py [--epochs 1000] [--share 1.0] [--rounds 3]

The study is 225 combinations of bits, ten runs each, over 1,000 epochs, on 976 samples of four
inputs, 325 more being looked at after each epoch. `--share` trains that part of it and extrapolates
by members and epochs. The reference is one member through tfmot and Keras's `fit` over a few
epochs, graphs traced before, in the same run and in alternation: its time for the whole study is
extrapolated too, and said to be. All processors are used by both.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from labkit import runtime

runtime.set_seed(0)

import tensorflow as tf  # noqa: E402

from labkit.datasets import localisation  # noqa: E402
from labkit.explore import population, reference  # noqa: E402
from labkit.explore.members import Member, Mlp, Scheme, Settings  # noqa: E402

DESIGNS = [(w, a) for w in range(2, 17) for a in range(2, 17)]
RUNS, EPOCHS, REFERENCE_EPOCHS = 10, 1000, 10


def samples() -> tuple[population.Samples, population.Samples]:
    """The simulated recording, 976 for training and 325 held out."""
    data = localisation.load("synthetic").standardised().holdout(0.25)
    return (data.x_train, data.y_train), (data.x_test, data.y_test)


def members(count: int) -> list[Member]:
    """So many of the study's members, and more of other seeds."""
    return [
        Member(Mlp((32,)), Scheme.of_thesis(*DESIGNS[i % len(DESIGNS)]), i // len(DESIGNS))
        for i in range(count)
    ]


def seconds(work) -> np.ndarray:
    """By the clock, and of all processors together, for one call."""
    start = time.perf_counter(), time.process_time()
    work()
    return np.subtract((time.perf_counter(), time.process_time()), start)


def study(parts, epochs: int, share: float, rounds: int) -> None:
    """The study, and a sample of it through tfmot, in alternation."""
    everyone = members(len(DESIGNS) * RUNS)
    some = everyone[:: max(1, round(1 / share))]
    own = Settings(epochs)
    begun = seconds(lambda: population.train(some[:1], *parts, Settings(1)))
    print(f"compiled or loaded in {begun[0]:.1f} s ({begun[1]:.1f} s of processors)")

    models = [(m, reference.model(m, (4,), 2)) for m in (everyone[DESIGNS.index((6, 6))],)]
    for member, model in models:
        tf.keras.utils.set_random_seed(0)
        model.compile(tf.keras.optimizers.Adamax(member.learning_rate), "mse")

    def fit() -> None:
        for _, model in models:
            model.fit(
                *parts[0],
                batch_size=32,
                epochs=REFERENCE_EPOCHS,
                validation_data=parts[1],
                verbose=0,
            )

    fit()  # traces
    whole = len(everyone) * EPOCHS
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(seconds(fit) / REFERENCE_EPOCHS)
        ours.append(seconds(lambda: population.train(some, *parts, own)) / (len(some) * epochs))
    ours, theirs = np.array(ours), np.array(theirs)
    part = f"{len(some):,} of {len(everyone):,} members, {epochs} of {EPOCHS} epochs"
    print(f"\n{part}, {rounds} rounds")
    print("medians: by the clock (of processors)")
    for name, times in (("population", ours), ("tfmot, model.fit", theirs)):
        one, all_of_it = np.median(times, axis=0) * 1e6, np.median(times, axis=0) * whole
        print(
            f"{name:18} {one[0]:9.1f} ({one[1]:9.1f}) µs per member and epoch; the study "
            f"{all_of_it[0] / 60:8.1f} ({all_of_it[1] / 60:8.1f}) minutes"
        )
    ratios = np.median(theirs / ours, axis=0)
    print(f"{'ratio':18} {ratios[0]:9.0f} ({ratios[1]:9.0f})")


def scaling(parts, most: int, epochs: int) -> None:
    """Time and memory over the number of members and of epochs."""
    print(f"\n{'members':>9}{'epochs':>8}{'s':>9}{'processor s':>13}{'µs each':>9}{'peak MB':>9}")
    for count, passes in ((1000, epochs), (10_000, epochs), (most, epochs), (1000, 10 * epochs)):
        chosen = members(count)
        wall, processor = seconds(lambda: population.train(chosen, *parts, Settings(passes)))  # noqa: B023
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each = 1e6 * processor / (count * passes)
        print(f"{count:9,}{passes:8}{wall:9.1f}{processor:13.1f}{each:9.1f}{peak:9.0f}")


def main() -> None:
    """Print the comparison and the scaling."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the population's members")
    parser.add_argument("--share", type=float, default=1.0, help="of the members, 0 to 1")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--members", type=int, default=100_000, help="of the last population")
    parser.add_argument("--passes", type=int, default=2, help="epochs of the large populations")
    options = parser.parse_args()
    parts = samples()
    study(parts, options.epochs, options.share, options.rounds)
    scaling(parts, options.members, options.passes)


if __name__ == "__main__":
    main()
