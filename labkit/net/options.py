"""Options that several commands of `labkit net` share, each written once.

A command takes them as an argument of one of these classes; `spread` makes options of the class's
fields. Nothing here imports more than typer, so that `labkit --help` is quick.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

# Options in panels of their own.
_image = functools.partial(typer.Option, rich_help_panel="Images and network")
_format = functools.partial(typer.Option, rich_help_panel="Formats")


def choice(name: str, *values: str) -> type[Enum]:
    """An enumeration of strings, which typer offers as the values of an option."""
    return Enum(name, {value: value for value in values}, type=str)


NetworkName = choice("NetworkName", "squeezenet", "basicnet", "lenet")
ChannelOrder = choice("ChannelOrder", "rgb", "bgr", "grey")
Logits = choice("Logits", "relu", "linear")
Mode = choice("Mode", "nearest", "floor", "thesis")


@dataclass(frozen=True)
class Given:
    """The images, the network, and what an image goes through before it."""

    data: Annotated[
        Path,
        typer.Argument(help="Folder or zip of images: train/<class>/*, val/<class>/*."),
    ]
    weights: Annotated[
        Path | None,
        _image(
            help=".npz or .caffemodel. A .json beside it, as train and quantize write it, gives "
            "the defaults of these options."
        ),
    ] = None
    network: Annotated[NetworkName | None, _image(help="By default squeezenet.")] = None
    size: Annotated[
        int | None,
        _image(min=1, help="Height and width of an image, pixels."),
    ] = None
    channels: Annotated[
        ChannelOrder | None,
        _image(help="Order of the channels; bgr is Caffe's."),
    ] = None
    mean: Annotated[
        str | None,
        _image(
            help="Mean pixel that is taken off, 0 to 255 in the order of the channels: "
            "104,117,123; or none."
        ),
    ] = None
    scale: Annotated[
        float | None,
        _image(help="Factor on a pixel after that: 1, or 0.00392157 for 0 to 1."),
    ] = None
    width: Annotated[
        float | None,
        _image(help="Factor on squeezenet's filters; by default 1."),
    ] = None
    bypass: Annotated[
        bool | None,
        _image("--bypass/--no-bypass", help="Ways round every second fire module of squeezenet."),
    ] = None
    logits: Annotated[
        Logits | None,
        _image(help="Activation of squeezenet's last convolution; the published one has relu."),
    ] = None
    dropout: Annotated[
        float | None, _image(min=0, max=0.99, help="Share of squeezenet's last maps dropped.")
    ] = None
    batch: Annotated[int, _image(min=1, help="Images at a time.")] = 64

    @property
    def architecture(self) -> dict:
        """What is said of the network's inside: options of `squeezenet.build`."""
        said = {
            "width": self.width,
            "bypass": self.bypass,
            "logits": None if self.logits is None else self.logits.value,
            "dropout": self.dropout,
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True)
class Formats:
    """What the numbers of a quantised network look like."""

    resolution: Annotated[
        str | None,
        _format(help="k:i:o, bits of kernels, inputs and outputs: 8:8:8."),
    ] = None
    percentile: Annotated[
        str,
        _format(
            help="Of the magnitudes that the range of each layer covers: 95, 98, 99.9, 99.99, 100; "
            "or least-error, the range with the smallest squared error."
        ),
    ] = "least-error"
    mode: Annotated[
        Mode | None,
        _format(help="How numbers become codes; by default nearest."),
    ] = None
    calibration: Annotated[
        int,
        _format(min=1, help="Images that the ranges are measured on."),
    ] = 32
    plan: Annotated[
        Path | None,
        _format(help="In place of all these: the plan.json that quantize wrote."),
    ] = None


def spread(command: Callable) -> Callable:
    """A command whose arguments of a class of options are one option for each field.

    Example:
        >>> @app.command()
        ... @spread
        ... def evaluate(given: Given, images: int = 0): ...
    """
    signature = inspect.signature(command, eval_str=True)
    groups = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if dataclasses.is_dataclass(parameter.annotation)
    }
    parameters = [
        spread_parameter
        for name, parameter in signature.parameters.items()
        for spread_parameter in (_parameters(groups[name]) if name in groups else [parameter])
    ]

    @functools.wraps(command)
    def called(**values):
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            values[name] = group(**{field: values.pop(field) for field in fields})
        return command(**values)

    called.__signature__ = signature.replace(
        parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    return called


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
