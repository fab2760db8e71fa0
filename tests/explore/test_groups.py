"""Groups of CNNs equal tfmot's fake quantisation with Keras's Adamax, and resume."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from ranges import ranges_of

from labkit import measure
from labkit.explore import groups, loops, population, reference
from labkit.explore.members import KINDS, Cnn, ExploreError, Member, Quantizer, Scheme, Settings

SMALL = Cnn((3, 4), 3, 2, (5,))


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6, 4)).astype(np.float32)
    y = np.stack([x[:, -1, 0] + x[:, :, 1].mean(axis=1), np.tanh(x[:, 2, 2])], axis=1)
    return (x[:28], y[:28]), (x[28:], y[28:])


def schemes():
    """Every setting of the quantisers of a tensor, and floating point."""
    kinds = itertools.product(KINDS, (False, True), (False, True))
    bits = itertools.cycle([(6, 8), (8, 4), (16, 6)])
    for (kind, symmetric, narrow), other in zip(kinds, KINDS * 4, strict=True):
        w, a = next(bits)
        yield Scheme(
            Quantizer(kind, w, symmetric, narrow), Quantizer(other, a, not symmetric, narrow)
        )
    yield None


def test_a_step_of_all_at_once_is_that_of_tfmot(windows):
    (x, y), _ = windows
    x, y = x[:20], y[:20]
    members = [Member(SMALL, scheme, i, 1e-2) for i, scheme in enumerate(schemes())]
    found = population.train(members, (x, y), settings=Settings(1, batch=32))
    for i, member in enumerate(members):
        model = reference.model(member, (6, 4), 2)
        model.compile(tf.keras.optimizers.Adamax(1e-2), "mse", run_eagerly=True)
        model.train_on_batch(x, y)
        ours, theirs = (
            np.concatenate([array.ravel() for array in arrays])
            for arrays in (found.weights[i], reference.weights_of(model))
        )
        away = np.abs(ours - theirs)
        # Where a code lies between two, or a gradient is nearly zero, Adamax goes either way.
        assert (away < 2e-6).all() if member.scheme is None else (away < 2e-6).mean() > 0.9
        assert away.max() < 2.01e-2
        named = ranges_of(model)
        if member.scheme:
            np.testing.assert_allclose(found.ranges[i][:, 0], named["inputs"], rtol=1e-6)
            np.testing.assert_allclose(found.ranges[i][:, -1], named["activation 3"], rtol=1e-4)
            np.testing.assert_allclose(found.ranges[i][:, 1], named["kernel 0"], rtol=1e-5)
        variables = [v for layer in model.kernels_and_ranges for v in layer[:2]]
        for variable, value in zip(variables, found.weights[i], strict=True):
            variable.assign(value.reshape(variable.shape))
        away = np.abs(found.predict(x, [i])[0] - model(x, training=False))
        assert np.mean(away < 1e-4) > 0.9  # with the same weights


def test_per_channel_is_that_of_dense_layers(samples):
    """A window of one sample makes a convolution's middle tap a dense layer."""
    (x, y), _ = samples
    scheme = Scheme(Quantizer("last value", 4, True, True, per_channel=True))
    network = Cnn((5,), 1, 1, (4,))
    found = population.train(
        [Member(network, scheme)], (x[:24, None], y[:24]), settings=Settings(1)
    )
    dense = Member(population.Mlp((5, 4)), scheme)
    other = population.train([dense], (x[:24], y[:24]), settings=Settings(1))
    for ours, theirs in zip(found.weights[0], other.weights[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(found.ranges[0], other.ranges[0], rtol=1e-5)


def test_learns_keeps_the_best_and_resumes(windows, tmp_path, monkeypatch):
    members = [Member(SMALL, Scheme.of_thesis(8, 8, True), i, 5e-3) for i in range(3)]
    settings = Settings(8, batch=8, weight_decay=1e-3)
    whole = population.train(members, *windows, settings, history=True)
    assert (whole.history[:, -1, 0] < 0.8 * whole.history[:, 0, 0]).all()
    assert (whole.record["best epoch"] == whole.history[:, :, 1].argmin(axis=1) + 1).all()
    scores = whole.score(measure.MEAN_SQUARED_ERROR, *windows[1])
    np.testing.assert_allclose(scores, whole.record["validation"], rtol=1e-4)
    assert whole.table()["parameters"].tolist() == [39 + 40 + 65 + 12] * 3

    monkeypatch.setattr(groups, "_KEEP", 0.0)
    shuffled, calls = loops.shuffled, []

    def killed(*arguments):
        calls.append(arguments[1])
        if arguments[1] == 5:
            raise KeyboardInterrupt
        shuffled(*arguments)

    options = {"history": True, "checkpoint": tmp_path}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loops, "shuffled", killed)
        population.train(members, *windows, settings, **options)
    calls.clear()
    monkeypatch.setattr(loops, "shuffled", lambda *a: calls.append(a[1]) or shuffled(*a))
    again = population.train(members, *windows, settings, **options)
    assert min(calls) == 5
    np.testing.assert_allclose(again.history, whole.history, rtol=1e-4)
    for ours, theirs in zip(again.weights, whole.weights, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_architectures_do_not_mix(windows):
    members = [Member(SMALL), Member(Cnn((3,), 3, 2, (5,)))]
    with pytest.raises(ExploreError, match="several architectures"):
        population.train(members, *windows, Settings(1))
    with pytest.raises(ExploreError, match="pooled away"):
        population.train([Member(Cnn(pool=9))], *windows, Settings(1))
