"""Seeds repeat a run, whatever has been done in the process before; loops are compiled anywhere."""

import numba
import numpy as np
import tensorflow as tf

from labkit import runtime


def drawn(seed):
    runtime.set_seed(seed)
    kernel = tf.keras.layers.Dense(4)
    kernel.build((None, 4))
    return np.concatenate([kernel.kernel.numpy().ravel(), np.random.rand(2)])


def test_a_seed_repeats_the_weights():
    first, again, other = drawn(0), drawn(0), drawn(1)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_seed_that_was_set_for_keras_is_no_longer_in_force():
    first = drawn(0)
    tf.keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(drawn(0), first)


def test_without_a_folder_for_compiled_code_it_still_compiles(monkeypatch):
    """Numba refuses to keep code where it finds no folder to write to."""
    original = numba.njit

    def nowhere(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    monkeypatch.setattr(numba, "njit", nowhere)
    doubled = runtime.compiled()(lambda x: x + x)
    assert doubled(21) == 42
