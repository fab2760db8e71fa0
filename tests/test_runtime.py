"""Seeds repeat a run, whatever was done before; threads of an operation; compiled loops."""

import subprocess
import sys

import numba
import numpy as np
import pytest
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


def test_an_operation_has_one_thread_where_nothing_was_computed_before():
    code = """
from labkit import runtime
runtime.one_thread_an_operation()
import tensorflow as tf
tf.ones(3) + 1
runtime.one_thread_an_operation()
print(tf.config.threading.get_intra_op_parallelism_threads())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
    tf.ones(3) + 1
    before = tf.config.threading.get_intra_op_parallelism_threads()
    runtime.one_thread_an_operation()  # too late
    assert tf.config.threading.get_intra_op_parallelism_threads() == before


def test_processors_are_shared_among_jobs(monkeypatch):
    monkeypatch.setattr(runtime, "processors", lambda: 4)
    assert [runtime.threads_each(jobs) for jobs in (1, 2, 3, 9)] == [4, 2, 1, 1]


def test_code_that_cannot_be_kept_is_compiled_all_the_same():
    """Numba refuses to keep it where it finds no folder to write to, as beside no file."""
    without_file = eval("lambda x: x + x")
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(without_file)
    assert runtime.compiled()(without_file)(21) == 42
