"""What holds for every data set: those of the registry, and two of other kinds made up here."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest

from labkit.datasets import DataError, Origin, Part, Source, cifar10_pairs, registry
from labkit.datasets.source import in_rounds, one_of
from labkit.runtime import SettingError


def draw_walks(part, count, seed):
    """Time series of six activities; every ten windows are of another subject."""
    classes = in_rounds(6, part, count, seed)
    noise = np.random.default_rng([seed, part == "test"]).normal(size=(count, 128, 9))
    subjects = np.arange(count) // 10 + (1000 if part == "test" else 0)
    return Part((noise + classes[:, None, None]).astype(np.float32), classes, subjects)


def read_walks(found):
    with np.load(found[0]) as stored:
        return {
            part: Part(*(stored[f"{part}_{what}"] for what in "xyg")) for part in ("train", "test")
        }


def write_walks(folder, few):
    parts = {part: draw_walks(part, count, 9) for part, count in few.items()}
    arrays = {f"{p}_{w}": a for p, arrays in parts.items() for w, a in zip("xyg", arrays)}  # noqa: B905
    np.savez(folder / "walks.npz", **arrays)


WALKS = Source(
    name="walks",
    title="Walks",
    rows={"train": 120, "test": 60},
    quick={"train": 60, "test": 30},
    draw=draw_walks,
    find=one_of("walks.npz"),
    read=read_walks,
    class_names=("walking", "upstairs", "downstairs", "sitting", "standing", "lying"),
    version=1,
    file="walks.npz",
    page="https://example.org/walks",
)


def draw_room(part, count, seed):
    """Four sensors and where somebody is in a room; every ten samples are of another track."""
    rng = np.random.default_rng([seed, part == "test"])
    places = rng.uniform(0, 3, (count, 2)).astype(np.float32)
    sensors = np.stack([*places.T, *(3 - places.T)], axis=1)
    tracks = np.array([f"{part} {i // 10}" for i in range(count)])
    return Part(sensors, places, tracks)


def read_room(found):
    with zipfile.ZipFile(found[0]) as archive:
        parts = {}
        for part in ("train", "test"):
            table = np.loadtxt(io.BytesIO(archive.read(f"{part}.csv")), np.float32, delimiter=",")
            tracks = np.array([f"{part} {track:.0f}" for track in table[:, 6]])
            parts[part] = Part(table[:, :4], table[:, 4:6], tracks)
        return parts


def write_room(folder, few):
    with zipfile.ZipFile(folder / "room.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for part, count in few.items():
            sensors, places, _ = draw_room(part, count, 9)
            text = io.StringIO()
            np.savetxt(text, np.c_[sensors, places, np.arange(count) // 10], delimiter=",")
            archive.writestr(f"{part}.csv", text.getvalue())


def write_recording(folder, few):
    sensors, places, _ = draw_room("train", sum(few.values()), 9)
    table = np.c_[sensors, places]
    np.savetxt(
        folder / "localisation.csv", table, fmt="%.5f", delimiter=",", header="a", comments=""
    )


ROOM = Source(
    name="room",
    title="Places in a room",
    rows={"train": 90, "test": 40},
    quick={"train": 40, "test": 20},
    draw=draw_room,
    find=one_of("room.zip"),
    read=read_room,
    coordinates=("x", "y"),
    unit="m",
    file="room.zip",
    page="https://example.org/room",
)

#: Samples of small real files, and of the quick profile, by data set.
FEW = {
    "sign_mnist": ({"train": 48, "test": 24}, {"train": 24, "test": 24}),
    "cifar10": ({"train": 50, "test": 20}, {"train": 20, "test": 10}),
    "cat_dog": ({"train": 10, "test": 2}, {"train": 6, "test": 2}),
    "cat_dog_rotated": ({"train": 10, "test": 2}, {"train": 6, "test": 2}),
    "uci_har": ({"train": 48, "test": 36}, {"train": 24, "test": 18}),
    "localisation": ({"train": 60, "test": 30}, {"train": 40, "test": 20}),
    "walks": (WALKS.rows, WALKS.quick),
    "room": (ROOM.rows, ROOM.quick),
}
PAIRS = {source.name: source for source in (cifar10_pairs.CAT_DOG, cifar10_pairs.ROTATED_CAT_DOG)}
SOURCES = registry.SOURCES | PAIRS | {"walks": WALKS, "room": ROOM}


@pytest.fixture(params=SOURCES)
def source(request, folder, tmp_path, monkeypatch):
    """A data set that is small, with an empty folder and an empty cache."""
    source = SOURCES[request.param]
    for sizes, few in zip((source.rows, source.quick), FEW[request.param], strict=True):
        for part, count in few.items():
            monkeypatch.setitem(sizes, part, count)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return source


@pytest.fixture
def real(source, folder, csvs, batches, archive_of, make_zip, har_files, make_har):
    """Its real files."""
    if source is WALKS:
        write_walks(folder, source.rows)
    elif source is ROOM:
        write_room(folder, source.rows)
    elif source.name in ("cifar10", *PAIRS):
        (folder / source.file).write_bytes(archive_of(batches))
    elif source.name == "uci_har":
        make_har(folder / source.file, har_files)
    elif source.name == "localisation":
        write_recording(folder, source.rows)
    else:
        make_zip(folder / source.file, {f"sign_mnist_{p}.csv": csvs[p] for p in csvs})
    return folder / source.file


def same(a, b):
    arrays = ("x_train", "y_train", "x_test", "y_test", "groups_train", "groups_test")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


def error_of(call, *arguments, **options):
    with pytest.raises(DataError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_real_and_synthetic_are_told_apart(source, real):
    data, drawn = source.load("real"), source.load("synthetic")
    assert data.origin is Origin.REAL and drawn.origin is Origin.SYNTHETIC
    assert same(data, source.load("auto")) and not same(data, drawn)
    assert f"`{source.name}`, real " in data.describe()
    assert "synthetic" in drawn.describe() and "not results on the real" in drawn.describe()
    for each in (data, drawn):
        assert (len(each.x_train), len(each.x_test)) == tuple(source.rows.values())
        assert each.x_train.dtype == each.x_test.dtype == np.float32
        assert each.is_classification == (not source.coordinates)
        assert each.y_train.dtype == (np.int64 if each.is_classification else np.float32)
        assert each.noun != "images" or 0 <= each.x_train.min() < each.x_train.max() <= 1


def test_quick_is_smaller_and_of_all_classes(source, real):
    for mode in ("real", "synthetic"):
        data = source.load(mode, quick=True, seed=2)
        assert (len(data.x_train), len(data.x_test)) == tuple(source.quick.values())
        if data.is_classification:
            assert set(data.y_train) == set(range(len(data.class_names)))
    first, other = (source.load("real", quick=True, seed=seed) for seed in (2, 3))
    assert not same(first, other)


def test_auto_is_synthetic_where_there_is_nothing(source, folder, monkeypatch):
    assert source.load("auto", quick=True).origin is Origin.SYNTHETIC
    monkeypatch.setenv("LABKIT_DATA", str(folder / "nowhere"))
    assert source.load("auto", quick=True).origin is Origin.SYNTHETIC


def test_a_seed_draws_the_same_and_a_smaller_set_begins_a_larger(source):
    large, small = source.synthesize(50, 30, seed=4), source.synthesize(30, 30, seed=4)
    np.testing.assert_array_equal(small.x_train, large.x_train[:30])
    np.testing.assert_array_equal(small.y_train, large.y_train[:30])
    assert (source.synthesize(50, 30, seed=5).x_train != large.x_train).mean() > 0.5


def test_groups_stay_together(source, real):
    whole = source.load("real")
    held = whole.holdout(0.5, seed=1)
    assert len(held.x_train) + len(held.x_test) == len(whole.x_train)
    assert same(held, whole.holdout(0.5, seed=1))
    assert same(held, whole.holdout(0.5, seed=2)) == source.in_order
    if source.name in ("uci_har", "walks", "room"):
        assert not set(held.groups_train) & set(held.groups_test)
        assert set(held.groups_train) | set(held.groups_test) == set(whole.groups_train)
    if held.is_classification and held.groups_train is None:
        shares = np.bincount(held.y_test) / np.bincount(whole.y_train)
        assert shares.min() >= 0.4 and shares.max() <= 0.6


def test_missing_files_say_what_to_do(source, folder):
    for message in (error_of(source.load, "real"), error_of(source.verify)):
        assert message.startswith(f"{source.title} is not in {folder}: ")
        assert f"put {source.file} from {source.page} there; or set LABKIT_DATA" in message
        assert "use the synthetic data (DATA = 'synthetic')" in message
        assert ("`labkit data get" in message) == bool(source.url or source.kaggle)


def test_a_source_of_real_data_alone(source):
    alone = dataclasses.replace(source, draw=None)
    assert "is not in" in error_of(alone.load) and "synthetic" not in error_of(alone.load)
    assert "there is no synthetic form" in error_of(alone.load, "synthetic")


def test_incomplete_files_are_told(source, real):
    source.rows["test"] += 1
    count = source.rows["test"]
    message = error_of(source.load)
    assert str(real) in message and f"test has {count - 1} samples, expected {count}" in message
    assert " again." in message


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"<html>sign in</html>"])
def test_damaged_files_are_told_in_every_mode_but_synthetic(source, real, damage):
    real.write_bytes(damage(real.read_bytes()))
    for call in (source.load, source.verify, source.get):
        message = error_of(call)
        assert str(real) in message and " again." in message
    assert source.load("synthetic", quick=True).origin is Origin.SYNTHETIC


def test_verify_knows_the_published_bytes(source, real):
    assert not source.verify().published
    if source.is_published is None:
        import pooch

        sums = {real.name: pooch.file_hash(str(real))}
        report = dataclasses.replace(source, sha256=sums).verify()
        assert report.published and report.files == (real,) and report.rows == source.rows
        assert f"{source.name}: {source.rows['train']} train + " in str(report)


def test_get_without_a_connection_or_a_server(source, folder):
    away = dataclasses.replace(
        source, url="http://127.0.0.1:9/file", sha256={source.file: "0" * 64}
    )
    assert "no connection to the server" in error_of(away.get)
    by_hand = dataclasses.replace(source, url="", kaggle="")
    assert f"put {source.file} from {source.page} there" in error_of(by_hand.get)
    assert not list(folder.iterdir())


def test_what_was_drawn_is_kept_and_mended(source, tmp_path):
    first, kept = source.synthesize(24, 24), list((tmp_path / "cache").glob("*.npz"))
    assert len(kept) == (0 if source.version is None else 2)
    if kept:
        assert same(first, dataclasses.replace(source, draw=0).synthesize(24, 24))
    for damage in (lambda c: c[:3000], lambda c: b"", lambda c: c[:-2000] + b"x" * 2000):
        for path in kept:
            path.write_bytes(damage(path.read_bytes()))
        assert same(first, source.synthesize(24, 24))
    assert sorted((tmp_path / "cache").glob("*")) == sorted(kept)
    newer = dataclasses.replace(source, version=99)
    assert same(first, newer.synthesize(24, 24))
    assert len(list((tmp_path / "cache").glob("*"))) == len(kept) + 2


def test_an_interrupted_write_leaves_nothing_behind(source, tmp_path, monkeypatch):
    def killed(path, *arrays, **more):
        path.write_bytes(b"PK half of it")
        raise KeyboardInterrupt

    source = dataclasses.replace(source, version=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "savez", killed)
        source.synthesize(24, 24)
    assert not list((tmp_path / "cache").iterdir())
    assert same(source.synthesize(24, 24), source.synthesize(24, 24))


def test_no_place_for_the_cache_is_no_error(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file"))
    assert len(source.synthesize(24, 24).x_train) == 24


def test_wrong_settings(source):
    with pytest.raises(SettingError, match="mode is 'reel'"):
        source.load("reel")


def test_a_room_is_measured_and_described(monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", "nowhere")
    data = ROOM.load()
    assert data.y_train.shape == (90, 2) and data.class_names is None
    assert data.describe().endswith("90 for training, 40 for testing, to estimate x, y (m).")
