"""What is explored: networks of some architecture, quantised in some way, begun with some seed."""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit.errors import LabkitError

#: How a range follows the values that it is of, as tfmot names its quantizers.
KINDS = ("moving average", "last value", "all values")


class ExploreError(LabkitError):
    """Members, settings or results that cannot be used."""


@dataclass(frozen=True)
class Quantizer:
    """How a tensor is rounded while a network is trained: one of tfmot's quantizers.

    Attributes:
        kind: of `KINDS`. "moving average" moves its range by a thousandth of the way to that of
            each batch, from -6 to 6 on; "last value" takes that of each batch; "all values" widens
            a range that begins empty.
        bits: of a code, 2 to 16.
        symmetric: the range is as wide below zero as above.
        narrow_range: the lowest code is not used.
        per_channel: weights have a range for each unit or filter. tfmot's own quantizer has it for
            "last value" alone, its operation for "moving average" too.
        measured: a moving average of weights begins with their range, not with -6 to 6: few bits
            round all weights to zero until that has come down, and a network that is pulled to
            zero by a weight decay meanwhile does not come back.

    Source: tfmot, `quantizers.py` and `quant_ops.py`.
    """

    kind: str = "last value"
    bits: int = 8
    symmetric: bool = False
    narrow_range: bool = False
    per_channel: bool = False
    measured: bool = False

    def __post_init__(self):
        """Refuse what there is not."""
        if self.kind not in KINDS:
            raise ExploreError(f"kind is {self.kind!r}, expected one of {', '.join(KINDS)}.")
        if self.bits not in range(2, 17):
            raise ExploreError(f"bits is {self.bits}, expected an integer from 2 to 16.")
        if self.per_channel and self.kind == "all values":
            raise ExploreError("'all values' has one range per tensor: per_channel is not for it.")
        if self.measured and self.kind != "moving average":
            raise ExploreError(f"measured is for a moving average, not for {self.kind!r}.")


#: What tfmot puts behind the inputs of a quantised network.
INPUTS = Quantizer("all values", 8)


@dataclass(frozen=True)
class Scheme:
    """Quantisers of a network.

    Attributes:
        weights: of every kernel; biases stay in floating point.
        activations: behind every activation, and behind the last layer.
        inputs: of the network; tfmot's own by default, None for none.
    """

    weights: Quantizer | None = None
    activations: Quantizer | None = None
    inputs: Quantizer | None = INPUTS

    def __post_init__(self):
        """Refuse ranges of activations that an integer layer cannot have."""
        for name in ("activations", "inputs"):
            quantizer = getattr(self, name)
            if quantizer is not None and quantizer.per_channel:
                raise ExploreError(
                    f"{name} per channel: sums over channels could not be made of integers."
                )
            if quantizer is not None and quantizer.measured:
                raise ExploreError(f"{name} measured: before a training only weights are known.")

    @classmethod
    def of_thesis(
        cls,
        weights: int,
        activations: int,
        narrow_activations: bool = False,
        measured: bool = False,
    ) -> Scheme:
        """The scheme that the thesis settles on, with so many bits.

        Args:
            weights, activations: bits.
            narrow_activations: True for its CNN, False for its MLP.
            measured: begin with the range of the weights; the thesis has tfmot's -6 to 6.

        Source: sections 3.2, 3.3.2 and 3.4.2.
        """
        return cls(
            Quantizer("moving average", weights, True, True, measured=measured),
            Quantizer("last value", activations, narrow_range=narrow_activations),
        )


@dataclass(frozen=True)
class Mlp:
    """Dense layers with ReLU, and a last one without.

    Attributes:
        hidden: neurons of each hidden layer; none for a linear network.
    """

    hidden: tuple[int, ...] = (32,)

    def __post_init__(self):
        """Refuse layers without neurons."""
        object.__setattr__(self, "hidden", tuple(self.hidden))
        _positive("hidden", self.hidden)


@dataclass(frozen=True)
class Cnn:
    """Convolutions along a window, as `models.localisation.cnn` has them.

    Attributes:
        filters: of each convolution.
        kernel: samples that a filter sees, an odd number.
        pool: samples whose maximum goes on, after the first convolution.
        hidden: neurons of each dense layer but the last.
    """

    filters: tuple[int, ...] = (64, 64)
    kernel: int = 3
    pool: int = 3
    hidden: tuple[int, ...] = (32, 32)

    def __post_init__(self):
        """Refuse layers without filters or neurons, and kernels without a middle."""
        for name in ("filters", "hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            _positive(name, getattr(self, name))
        if not self.filters or self.kernel < 1 or self.kernel % 2 == 0 or self.pool < 1:
            raise ExploreError(
                f"{self}: expected a convolution at least, an odd kernel, and a pool of 1 or more."
            )


@dataclass(frozen=True)
class Member:
    """A network to be trained.

    Attributes:
        network: its architecture.
        scheme: how it is quantised; None for floating point.
        seed: of its weights and of the order of its samples.
        learning_rate: of Adamax.
    """

    network: Mlp | Cnn = field(default_factory=Mlp)
    scheme: Scheme | None = None
    seed: int = 0
    learning_rate: float = 1e-3

    def __post_init__(self):
        """Refuse numbers out of their range."""
        if not 0 <= self.seed < 2**63:
            raise ExploreError(f"seed is {self.seed}, expected an integer from 0 to 2**63 - 1.")
        if not self.learning_rate > 0:
            raise ExploreError(f"learning_rate is {self.learning_rate}, expected more than 0.")


@dataclass(frozen=True)
class Settings:
    """How all members of a population are trained, by Adamax on the mean squared error.

    Attributes:
        epochs: passes over the training samples.
        batch: samples per step; the last one of an epoch may have fewer.
        weight_decay: L2 penalty on kernels, decay / 2 · Σ w².
    """

    epochs: int = 1000
    batch: int = 32
    weight_decay: float = 0.0

    def __post_init__(self):
        """Refuse numbers out of their range."""
        _positive("epochs", (self.epochs,))
        _positive("batch", (self.batch,))
        if self.weight_decay < 0:
            raise ExploreError(f"weight_decay is {self.weight_decay}, expected 0 or more.")


def _positive(name: str, values: tuple[int, ...]) -> None:
    for value in values:
        if int(value) != value or value < 1:
            raise ExploreError(f"{name} has {value}, expected integers of 1 or more.")
