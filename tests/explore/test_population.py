"""Populations equal tfmot's fake quantisation with Keras's Adamax, step by step, and resume."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from ranges import ranges_of

from labkit import measure
from labkit.checkpoint import CheckpointError
from labkit.explore import loops, population, reference
from labkit.explore.members import (
    KINDS,
    Cnn,
    ExploreError,
    Member,
    Mlp,
    Quantizer,
    Scheme,
    Settings,
)


def schemes():
    """Every setting of both quantisers, with bits that go with them in turn."""
    bits = itertools.cycle([(6, 8), (5, 3), (8, 4), (7, 16), (16, 6), (4, 5)])
    kinds = itertools.product(KINDS, (False, True), (False, True), (False, True))
    for (kind, symmetric, narrow, per_channel), other in zip(kinds, KINDS * 8, strict=True):
        if not (per_channel and kind == "all values"):
            w, a = next(bits)
            yield Scheme(
                Quantizer(kind, w, symmetric, narrow, per_channel),
                Quantizer(other, a, not symmetric, narrow),
            )
    for symmetric, narrow, per_channel in itertools.product((False, True), repeat=3):
        weights = Quantizer("moving average", 4, symmetric, narrow, per_channel, measured=True)
        yield Scheme(weights, Quantizer("last value", 8))
    yield Scheme(Quantizer("last value", 4), None, None)
    yield Scheme(None, Quantizer("last value", 4), None)


def trained_by_keras(member, x, y, epochs, batch):
    """What Keras and tfmot make of the same batches."""
    model = reference.model(member, x.shape[1:], y.shape[1])
    optimizer = tf.keras.optimizers.Adamax(member.learning_rate)
    model.compile(optimizer, "mse", run_eagerly=True)
    order = np.empty(len(x), np.int64)
    for epoch in range(epochs):
        loops.shuffled(np.uint64(member.seed), epoch, order)
        for start in range(0, len(x), batch):
            part = order[start : start + batch]
            model.train_on_batch(x[part], y[part])
    return model


def assert_same(found, i, model, x, atol):
    """Weights, ranges and outputs."""
    for ours, theirs in zip(found.weights[i], reference.weights_of(model), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)
    named, at = ranges_of(model), 1
    if "inputs" in named:
        np.testing.assert_allclose(found.ranges[i][:, 0], named["inputs"], rtol=1e-6)
    for layer, bias in enumerate(found.weights[i][1::2]):
        if f"kernel {layer}" in named:
            theirs = named[f"kernel {layer}"].reshape(2, -1)
            ours = found.ranges[i][:, at : at + theirs.shape[1]]
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=atol)
        at += bias.size
        if f"activation {layer}" in named:
            ours = found.ranges[i][:, at]
            np.testing.assert_allclose(ours, named[f"activation {layer}"], rtol=1e-4, atol=atol)
        at += 1


@pytest.mark.parametrize("scheme", [None, *schemes()], ids=repr)
def test_a_step_is_that_of_tfmot_and_adamax(scheme, samples):
    """One batch, one step, from the same weights: for every setting."""
    (x, y), _ = samples
    x, y = x[:27], y[:27]
    member = Member(Mlp((5,)), scheme, seed=3, learning_rate=1e-2)
    found = population.train([member], (x, y), settings=Settings(1))
    model = trained_by_keras(member, x, y, 1, 32)
    assert_same(found, 0, model, x, 1e-6)
    rounded = scheme is not None and scheme.activations is not None
    step = np.ptp(found.ranges[0][:, -1]) / (2**scheme.activations.bits - 2) if rounded else 1e-5
    ours, theirs = found.predict(x)[0], model.predict(x, verbose=0)
    # A code that lies between two may be rounded either way.
    assert np.mean(np.abs(ours - theirs) < 1e-4) > 0.97
    assert np.abs(ours - theirs).max() <= 1.01 * step
    first = population.initial(member, [(4, 5), (5, 2)])
    assert np.abs(np.concatenate([w.ravel() for w in found.weights[0]]) - first).max() > 5e-3


@pytest.mark.parametrize("hidden", [(), (7,), (6, 5, 4)])
@pytest.mark.parametrize("scheme", [None, Scheme.of_thesis(8, 8)], ids=["float", "8-8"])
def test_epochs_are_those_of_tfmot(hidden, scheme, samples):
    """Some epochs with a last batch that is not full, any number of layers.

    Where a code lies between two, single precision may round it either way, and the weights go
    apart by as much as a step of Adamax.
    """
    (x, y), validation = samples
    member = Member(Mlp(hidden), scheme, seed=11, learning_rate=2e-3)
    found = population.train([member], (x, y), validation, Settings(4, batch=24), history=True)
    model = trained_by_keras(member, x, y, 4, 24)
    loss = model.evaluate(*validation, verbose=0)
    assert found.history[0, -1, 1] == pytest.approx(loss, rel=1e-4 if scheme is None else 0.02)
    if found.record["best epoch"][0] == 4:
        assert_same(found, 0, model, x, 1e-5 if scheme is None else 2e-2)
    assert (np.diff(found.history[0, :, 0]) < 0).all()


def test_weight_decay_is_kerass_regulariser(samples):
    (x, y), _ = samples
    member = Member(Mlp((6,)), Scheme.of_thesis(8, 8), learning_rate=1e-2)
    found = population.train([member], (x[:30], y[:30]), settings=Settings(1, weight_decay=0.1))
    model = reference.model(member, (4,), 2)
    optimizer = tf.keras.optimizers.Adamax(1e-2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x[:30], training=True) - y[:30]) ** 2)
        for kernel, _, _ in model.kernels_and_ranges:
            loss += 0.1 / 2 * tf.reduce_sum(kernel**2)
    variables = [v for pair in model.kernels_and_ranges for v in pair[:2]]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    for ours, theirs in zip(found.weights[0], reference.weights_of(model), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def mixed():
    """Members that differ in everything, more than a block of them."""
    bits = itertools.cycle([(4, 8), (8, 4), (6, 6)])
    sizes = itertools.cycle([(8,), (4, 6), (), (12,)])
    members = [
        Member(Mlp(next(sizes)), Scheme.of_thesis(*next(bits)) if i % 5 else None, seed=i)
        for i in range(population.BLOCK + 9)
    ]
    return members


def same(a, b):
    for ours, theirs in zip(a.weights, b.weights, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    for ours, theirs in zip(a.ranges, b.ranges, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert a.record.equals(b.record)
    np.testing.assert_array_equal(a.history, b.history)


def test_a_member_does_not_depend_on_others_or_threads(samples):
    members = mixed()
    settings = Settings(6)
    whole = population.train(members, *samples, settings, threads=2, history=True)
    backwards = population.train(members[::-1], *samples, settings, threads=1, history=True)
    for i in (0, 7, len(members) - 1):
        alone = population.train([members[i]], *samples, settings, history=True)
        np.testing.assert_array_equal(
            whole.predict(samples[1][0], [i]), alone.predict(samples[1][0])
        )
        np.testing.assert_array_equal(alone.history[0], backwards.history[len(members) - 1 - i])
    table = whole.table()
    assert table["neurons"].tolist()[:4] == ["8", "4 6", "", "12"]
    assert table["weight bits"].tolist()[:4] == [32, 4, 8, 6]
    assert table["parameters"].tolist()[:3] == [58, 64, 10]


def test_the_best_epoch_is_kept(samples):
    (x, y), validation = samples
    members = [Member(Mlp((16,)), Scheme.of_thesis(4, 4), seed, 2e-2) for seed in range(3)]
    found = population.train(members, (x, y), validation, Settings(40), history=True)
    epochs = found.history[:, :, 1].argmin(axis=1)
    assert (found.record["best epoch"] == epochs + 1).all() and (epochs < 39).any()
    scores = found.score(measure.MEAN_SQUARED_ERROR, *validation)
    np.testing.assert_allclose(scores, found.record["validation"], rtol=1e-5)
    np.testing.assert_allclose(found.history[:, -1, 1], found.record["last validation"], rtol=1e-6)
    without = population.train(members, (x, y), settings=Settings(40), history=True)
    assert (without.record["best epoch"] == without.history[:, :, 0].argmin(axis=1) + 1).all()


def test_a_killed_training_ends_as_another(samples, tmp_path, monkeypatch):
    members, settings = mixed(), Settings(12)
    whole = population.train(members, *samples, settings, history=True)
    monkeypatch.setattr(population, "_KEEP", 0.0)
    trained = loops.train

    def killed(*arguments):
        if arguments[7][0] >= 5:
            raise KeyboardInterrupt
        trained(*arguments)

    options = {"history": True, "checkpoint": tmp_path, "threads": 1}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loops, "train", killed)
        population.train(members, *samples, settings, **options)
    kept = list(tmp_path.glob("*.npz"))
    assert kept
    begun = []

    def watched(*arguments):
        begun.append(arguments[7][0])
        trained(*arguments)

    monkeypatch.setattr(loops, "train", watched)
    same(whole, population.train(members, *samples, settings, **options))
    assert max(begun) >= 5  # a block goes on where it was
    begun.clear()
    same(whole, population.train(members, *samples, settings, **options))
    assert not begun
    with pytest.raises(CheckpointError, match="another epochs"):
        population.train(members, *samples, Settings(13), **options)
    kept[0].write_bytes(kept[0].read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        population.train(members, *samples, settings, **options)


def test_progress_counts_to_the_end(samples):
    told = []
    population.train(mixed(), *samples, Settings(3), on_progress=told.append)
    assert told == sorted(told) and told[-1] == 1


def test_orders_are_permutations_and_differ():
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (2**62, 5)):
        order = np.empty(976, np.int64)
        loops.shuffled(np.uint64(seed), epoch, order)
        assert (np.sort(order) == np.arange(976)).all()
        orders.append(order)
    for a, b in itertools.combinations(orders, 2):
        assert (a == b).mean() < 0.02 and abs(np.corrcoef(a, b)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Quantizer("median"), "kind is 'median', expected one of moving average, last"),
        (lambda: Quantizer(bits=17), "bits is 17, expected an integer from 2 to 16"),
        (lambda: Quantizer("all values", per_channel=True), "one range per tensor"),
        (lambda: Scheme(None, Quantizer(per_channel=True)), "activations per channel"),
        (lambda: Quantizer(measured=True), "measured is for a moving average"),
        (
            lambda: Scheme(None, Quantizer("moving average", measured=True)),
            "only weights are known",
        ),
        (lambda: Mlp((3, 0)), "hidden has 0"),
        (lambda: Cnn(kernel=2), "an odd kernel"),
        (lambda: Member(seed=-1), "seed is -1"),
        (lambda: Settings(epochs=0), "epochs has 0"),
    ],
)
def test_what_there_is_not(call, message):
    with pytest.raises(ExploreError, match=message):
        call()


X, Y = np.ones((8, 4), np.float32), np.ones((8, 2), np.float32)


@pytest.mark.parametrize(
    ("members", "training", "validation", "message"),
    [
        ([], (X, Y), None, "0 kinds of networks"),
        ([Member(), Member(Cnn())], (X, Y), None, "2 kinds of networks"),
        ([Member()], (X, Y[:3]), None, r"x \(8, 4\) and y \(3, 2\)"),
        ([Member()], (X, Y), (X[:, :2], Y), r"validation has samples of \(2,\)"),
        ([Member()], (X * np.nan, Y), None, "not finite"),
        ([Member()], (X[:0], Y[:0]), None, "no samples"),
        ([Member()], (X[:, :, None], Y), None, r"expected \(N, inputs\)"),
    ],
)
def test_samples_that_do_not_fit(members, training, validation, message):
    with pytest.raises(ExploreError, match=message):
        population.train(members, training, validation, Settings(1))
