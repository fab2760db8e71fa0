"""The networks that the command line knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from labkit.datasets.image_folder import Preprocessing
from labkit.models import classic, squeezenet
from labkit.models.graph import NetworkError


@dataclass(frozen=True)
class Network:
    """A kind of network.

    Attributes:
        name: as the command line says it.
        build: of (input_shape, classes), the untrained Keras model.
        preprocessing: what its images go through, at its usual size.
    """

    name: str
    build: Callable[..., tf.keras.Model]
    preprocessing: Preprocessing


NETWORKS = {
    network.name: network
    for network in (
        Network("squeezenet", squeezenet.build, squeezenet.PREPROCESSING),
        Network("basicnet", classic.basicnet, Preprocessing(32)),
        Network("lenet", classic.lenet, Preprocessing(28, "grey")),
    )
}


def network(name: str) -> Network:
    """The kind of network of that name.

    Raises:
        NetworkError: there is none; the message lists those there are.
    """
    if name not in NETWORKS:
        raise NetworkError(f"there is no network {name!r}; labkit knows {', '.join(NETWORKS)}.")
    return NETWORKS[name]
