"""Training: one engine for every network, a recipe that is data, and runs that go on after a kill.

A technique adds callbacks or a context of its own; the engine knows neither techniques nor data
sets.
"""

from labkit.checkpoint import Checkpoint, CheckpointError
from labkit.training import series
from labkit.training.best import Best
from labkit.training.data import (
    ArrayBatches,
    Batches,
    FolderBatches,
    mirrored_and_shifted,
    steps,
)
from labkit.training.engine import Trainer, TrainingError, fit
from labkit.training.evaluation import accuracy, predictor, ranks
from labkit.training.recipe import Recipe, Schedule, momentum_sgd
from labkit.training.trained import Network, Trained, fitted, keep, provenance, recipes

__all__ = [
    "ArrayBatches",
    "Batches",
    "Best",
    "Checkpoint",
    "CheckpointError",
    "FolderBatches",
    "Network",
    "Recipe",
    "Schedule",
    "Trained",
    "Trainer",
    "TrainingError",
    "accuracy",
    "fit",
    "fitted",
    "keep",
    "mirrored_and_shifted",
    "momentum_sgd",
    "predictor",
    "provenance",
    "ranks",
    "recipes",
    "series",
    "steps",
]
