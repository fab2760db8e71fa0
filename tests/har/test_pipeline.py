import json

import numpy as np
import pytest
from scipy import signal

from labkit.har import HarError
from labkit.har.pipeline import (
    Clip,
    Gravity,
    LowPass,
    Median,
    Pipeline,
    Standardise,
    Stream,
    uci_har,
)


def alone(step):
    return Pipeline((step,))


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(size=(300, 6)).cumsum(axis=0).astype(np.float32)


def test_median_takes_outliers_away(noise):
    got = alone(Median()).filtered(noise)
    expected = np.median([noise[:-2], noise[1:-1], noise[2:]], axis=0)
    np.testing.assert_array_equal(got[2:], expected)
    np.testing.assert_array_equal(got[0], noise[0])
    spike = np.zeros((9, 6))
    spike[4] = 100
    assert not alone(Median()).filtered(spike).any()


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("cutoff", [0.3, 20])
def test_low_pass_is_a_butterworth_filter(noise, order, cutoff):
    got = alone(LowPass(order, cutoff)).filtered(noise)
    sos = signal.butter(order, cutoff, fs=50, output="sos")
    start = signal.sosfilt_zi(sos)[:, :, None] * noise[0]
    expected, _ = signal.sosfilt(sos, noise.astype(float), axis=0, zi=start)
    np.testing.assert_allclose(got, expected, atol=2e-3)  # float32 near the poles


def test_gravity_of_a_device_at_rest_is_all_its_acceleration():
    still = np.tile([0.6, 0.0, 0.8, 0.1, 0.2, 0.3], (500, 1))
    got = alone(Gravity()).filtered(still)
    np.testing.assert_allclose(got[:, :3], 0, atol=1e-4)
    np.testing.assert_array_equal(got[:, 3:6], still[:, 3:].astype(np.float32))
    np.testing.assert_array_equal(got[:, 6:], still[:, :3].astype(np.float32))


def test_gravity_leaves_fast_movement():
    time = np.arange(1000)[:, None] / 50
    moved = np.sin(2 * np.pi * 3 * time) * np.ones(6)
    got = alone(Gravity()).filtered(moved + 1)
    np.testing.assert_allclose(got[500:, :3], moved[500:, :3], atol=0.01)


def test_standardise(noise):
    step = Standardise((1.0,) * 6, (2.0,) * 6)
    np.testing.assert_array_equal(alone(step).filtered(noise), (noise - 1) / 2)


def test_clip(noise):
    np.testing.assert_array_equal(alone(Clip(0.5)).filtered(noise), noise.clip(-0.5, 0.5))
    assert uci_har([0] * 9, [1] * 9, 4).steps[-1] == Clip(4.0)
    with pytest.raises(HarError, match="clip has the limit 0"):
        Clip(0)


def test_a_stream_gives_the_windows_of_the_whole_bit_for_bit(pipeline, samples):
    whole = pipeline.windows(samples[:, 1:])
    stream = Stream(pipeline)
    found = [window for x in samples[:, 1:] if (window := stream.push(x)) is not None]
    assert whole.shape == (22, 128, 9) and whole.dtype == np.float32
    np.testing.assert_array_equal(np.stack(found), whole)


def test_recordings_are_independent(pipeline, samples):
    parts = np.stack([samples[:200, 1:], samples[200:400, 1:]])
    both = pipeline.filtered(parts)
    np.testing.assert_array_equal(both[1], pipeline.filtered(parts[1]))


def test_hop_and_window():
    pipeline = Pipeline((), window=10, hop=3)
    samples = np.arange(20)[:, None] * np.ones(6)
    assert pipeline.windows(samples)[:, 0, 0].tolist() == [0, 3, 6, 9]
    assert pipeline.windows(samples[:9]).shape == (0, 10, 6)


def test_written_and_read(pipeline, tmp_path):
    path = pipeline.write(tmp_path / "p.json")
    assert Pipeline.read(path) == pipeline
    assert json.loads(path.read_text())["steps"][2] == {"gravity": {"order": 3, "cutoff": 0.3}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [{"fourier": {}}]}, "there is no step 'fourier'; there are median"),
        ({"steps": [{"low_pass": {"order": 0, "cutoff": 3}}]}, "order 0"),
        ({"steps": [{"low_pass": {"ordr": 3}}]}, "not a pipeline: TypeError"),
        ({"steps": [{"standardise": {"mean": [1], "deviation": [1]}}]}, "1 means for 6 channels"),
        ({"steps": [{"standardise": {"mean": [1], "deviation": [0]}}]}, "positive deviation"),
        ({"hop": 0}, "hop"),
        ({"speed": 1}, "not a pipeline"),
    ],
)
def test_what_is_no_pipeline_is_one_line(change, message, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(uci_har().as_dict() | change))
    with pytest.raises(HarError, match=message) as caught:
        Pipeline.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_recording():
    with pytest.raises(HarError, match="expected"):
        uci_har().filtered(np.zeros((10, 3)))
    with pytest.raises(HarError, match="NaN"):
        uci_har().filtered(np.full((10, 6), np.nan))
    with pytest.raises(HarError, match="below 10 Hz"):
        Pipeline((LowPass(3, 20),), rate=20).filtered(np.zeros((10, 6)))
