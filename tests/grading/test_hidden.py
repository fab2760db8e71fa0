import numpy as np
import pytest

from labkit.grading import GradingError, hidden


def test_every_data_set_that_an_assignment_may_name_offers_a_hidden_split():
    assert all(hidden.offered(name).SAMPLES for name in hidden.HIDDEN)


def test_real_images_are_changed_and_say_so(monkeypatch):
    """Drawn hands stand for the real ones."""
    from labkit.datasets import hidden_images, sign_mnist

    drawn = sign_mnist.synthesize(1, 48, seed=0)
    monkeypatch.setattr(hidden_images.HiddenImages, "find", lambda self: ("here",))
    monkeypatch.setattr(hidden_images.HiddenImages, "load", lambda self, mode: drawn)
    split = hidden.make("auto", 24, b"1")
    assert split.source is hidden.SplitOrigin.REAL and "turned" in split.says
    assert hidden.make("synthetic", 24, b"1").source is hidden.SplitOrigin.SYNTHETIC
    assert split.x.shape == (24, 28, 28, 1) and len(split.public_y) == 48
    public = {image.tobytes() for image in split.public_x}
    assert not public & {image.tobytes() for image in split.x}


def test_hidden_images_depend_on_the_secret_alone():
    a, b, c = (hidden.make("synthetic", 24, secret) for secret in (b"1", b"1", b"2"))
    assert a.digest == b.digest != c.digest
    assert a.x.shape == (24, 28, 28, 1) and a.x.dtype == np.uint8 and len(set(a.y)) == 24
    public = {image.tobytes() for image in a.public_x}
    assert not public & {image.tobytes() for image in a.x}


def test_the_order_comes_from_the_whole_secret(split):
    """Of classes whose secrets differ in one byte, no two have the same order of labels."""
    secrets = [bytes(31) + bytes([n]) for n in range(64)] + [
        bytes([n]) + bytes(31) for n in range(64)
    ]
    orders = [tuple(hidden.make("auto", 48, secret, split).y) for secret in secrets]
    assert len(set(orders)) == 127  # the first of both are one
    drawn = hidden.make("synthetic", 48, b"1")
    assert sorted(drawn.y) == sorted(np.arange(48) % 24) and list(drawn.y) != list(
        np.arange(48) % 24
    )


def test_samples_keep_their_targets(split):
    with np.load(split) as own:
        x, y = own["x"], own["y"]
    made = hidden.make("auto", 48, b"1", split)
    known = {image.tobytes(): target for image, target in zip(x, y, strict=True)}
    assert [known[image.tobytes()] for image in made.x] == made.y.tolist()


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((3, 28, 28, 1))},
        {"x": np.zeros((3, 28, 28)), "y": np.zeros(3)},
        {"x": np.zeros((3, 28, 28, 1)), "y": np.zeros(4)},
    ],
)
def test_an_own_split_is_validated(tmp_path, arrays):
    np.savez(tmp_path / "h.npz", **arrays)
    with pytest.raises(GradingError, match=r"h\.npz"):
        hidden.make("auto", 1, b"", tmp_path / "h.npz")
    (tmp_path / "h.npz").write_bytes(b"no")
    with pytest.raises(GradingError, match=r"h\.npz"):
        hidden.make("auto", 1, b"", tmp_path / "h.npz")
