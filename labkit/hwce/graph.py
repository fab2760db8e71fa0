"""The layers of a Keras model, read through its own configuration: TensorFlow is not imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from labkit.hwce.operations import OPERATIONS
from labkit.models.operators import LAYERS

#: Layers with weights in codes.
COMPUTED = ("Conv2D", "QuantizedConv2D", "Dense")
#: Layers that do nothing outside training.
IDENTITY = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "InputLayer")


class Node(NamedTuple):
    """A layer of a model: its class, name, configuration and the names of its inputs."""

    kind: str
    name: str
    config: dict
    inputs: tuple[str, ...]


def graph(model) -> list[Node]:
    """The layers of a model in the order of its own configuration, inputs first.

    Raises:
        ValueError: it has several inputs or outputs, or a layer that is used twice.
    """
    content = model.get_config()
    if "layers" not in content:
        raise ValueError(f"{type(model).__name__} is no Functional or Sequential model.")
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors or ()) != 1:
            raise ValueError(
                f"{model.name} has {len(tensors or ())} {what}: networks with one input and one "
                "output run on the engine."
            )
    nodes: list[Node] = []
    for layer in content["layers"]:
        config, kind = layer["config"], layer["class_name"].split(">")[-1]
        if "inbound_nodes" not in layer:  # Sequential
            inputs = (nodes[-1].name,) if nodes else ()
        elif len(layer["inbound_nodes"]) > 1:
            raise ValueError(f"{config['name']}: a layer that is used twice is not supported.")
        else:
            inputs = tuple(_sources(layer["inbound_nodes"]))
        if kind == "TFOpLambda":
            kind, config = _layer(config, layer["inbound_nodes"], len(inputs))
        nodes.append(Node(kind, config["name"], config, inputs))
    return nodes


def _sources(content) -> Iterator[str]:
    """Names of the layers that a configuration names: lists of a name, two numbers and options."""
    if isinstance(content, dict):
        content = list(content.values())
    if not isinstance(content, (list, tuple)):
        return
    if len(content) > 2 and isinstance(content[0], str) and isinstance(content[1], int):
        yield from () if content[0] == "_CONSTANT_VALUE" else (content[0],)
        content = content[3:]
    for part in content:
        yield from _sources(part)


def _layer(config: dict, inbound: list, inputs: int) -> tuple[str, dict]:
    """Class and configuration of the layer that an operator between tensors stands for."""
    kind, settings, count = LAYERS.get(config["function"], (None, {}, 0))
    constants = [n for n in _numbers(inbound) if n is not None]
    if kind not in OPERATIONS or constants or inputs != count:
        raise ValueError(
            f"{config['name']}: a layer of class TFOpLambda ({config['function']}) is not "
            "supported; layers such as Add() and ReLU() are."
        )
    return kind, config | settings


def _numbers(inbound: list) -> Iterator:
    """What an operator is given beside tensors and a name."""
    for call in inbound:
        for part in call if isinstance(call[0], list) else [call]:
            for name, value in (part[3] if len(part) > 3 else {}).items():
                if name != "name" and not list(_sources(value)):
                    yield value
