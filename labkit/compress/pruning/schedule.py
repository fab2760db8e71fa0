"""How the sparsity rises over a training."""

from __future__ import annotations

#: Part of a fine-tuning in which weights are taken away; the rest lets the remaining ones settle.
PRUNING_PART = 0.5


def polynomial_sparsity(
    step: int, begin: int, end: int, initial: float, final: float, power: float = 3
) -> float:
    """Sparsity at a training step: fast at first, slowly where few weights are left.

    Args:
        step: of the training.
        begin: step at which pruning begins, with `initial`.
        end: step from which on the sparsity is `final`.
        initial: sparsity at the beginning, a part from 0 to 1.
        final: sparsity at the end.
        power: 1 is a straight line.

    Raises:
        ValueError: end is not after begin.

    Example:
        >>> polynomial_sparsity(50, begin=0, end=100, initial=0.0, final=0.8)
        0.7

    Source: Zhu & Gupta, *To prune, or not to prune*, arXiv:1710.01878 (2017), equation 1.
    """
    if end <= begin:
        raise ValueError(f"pruning begins at step {begin} and ends at {end}, expected later.")
    progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return final + (initial - final) * (1 - progress) ** power
