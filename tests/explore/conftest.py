"""Samples for small networks: two smooth functions of four inputs."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def samples():
    """Training and validation, x (N, 4) and y (N, 2)."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (120, 4)).astype(np.float32)
    y = np.stack([np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2], np.cos(x[:, 3]) * x[:, 0]], axis=1)
    return (x[:80], y[:80]), (x[80:], y[80:])
