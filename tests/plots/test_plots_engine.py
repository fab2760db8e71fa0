"""Figures of the engine."""

from plot_examples import nanojoules, texts

from labkit import plots


def test_energy_adds_up():
    shown = [text for text, _ in texts(plots.energy(nanojoules()))]
    assert {"680", "270", "165"} <= set(shown)
