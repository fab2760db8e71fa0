"""The layers of a Keras model, read through its own configuration: TensorFlow is not imported."""

from __future__ import annotations

from typing import NamedTuple

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
    """The layers of a model in the order of its own configuration, inputs first."""
    content = model.get_config()
    if "layers" not in content:
        raise ValueError(f"{type(model).__name__} is no Functional or Sequential model.")
    nodes: list[Node] = []
    for layer in content["layers"]:
        config, kind = layer["config"], layer["class_name"].split(">")[-1]
        if "inbound_nodes" not in layer:  # Sequential
            inputs = (nodes[-1].name,) if nodes else ()
        elif len(layer["inbound_nodes"]) > 1:
            raise ValueError(f"{config['name']}: a layer that is used twice is not supported.")
        else:
            inbound = layer["inbound_nodes"]
            inputs = tuple(source[0] for source in inbound[0]) if inbound else ()
        nodes.append(Node(kind, config["name"], config, inputs))
    return nodes
