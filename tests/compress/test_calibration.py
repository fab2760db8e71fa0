import numpy as np
import pytest

from labkit.compress import calibration


def test_ranges_contain_what_the_layers_give(sign_model, tiny_data):
    ranges = calibration.activation_ranges(sign_model, tiny_data.x_train)
    assert list(ranges.index) == ["image", "relu1", "relu2", "relu3", "relu4"]
    assert ranges.loc["image", "min"] == tiny_data.x_train.min()
    assert ranges.loc["image", "max"] == tiny_data.x_train.max()
    assert (ranges["min"] <= ranges["p0.5"]).all() and (ranges["p99.5"] <= ranges["max"]).all()
    assert (ranges.loc["relu1":, "min"] == 0).all()


@pytest.mark.parametrize("factor", [0.25, 256])
@pytest.mark.parametrize("layer", ["norm1", "norm2", "norm3", "norm4"])
def test_stretching_keeps_the_function(sign_model, tiny_data, layer, factor):
    stretched = calibration.stretch_channel(sign_model, layer, 3, factor)
    expected = sign_model.predict(tiny_data.x_test, verbose=0)
    np.testing.assert_allclose(stretched.predict(tiny_data.x_test, verbose=0), expected, atol=1e-5)


def test_stretching_stretches_one_channel(sign_model, tiny_data):
    name = "norm2"
    before = calibration.activation_ranges(sign_model, tiny_data.x_train)
    stretched = calibration.stretch_channel(sign_model, name, 3, 1000)
    after = calibration.activation_ranges(stretched, tiny_data.x_train)
    assert after.loc["relu2", "max"] > 20 * before.loc["relu2", "max"]
    for other in ("image", "relu1", "relu3", "relu4"):
        assert after.loc[other, "max"] == pytest.approx(before.loc[other, "max"], rel=1e-4)


def test_all_normalisations_of_the_baseline_can_be_stretched(sign_model):
    assert calibration.stretchable_layers(sign_model) == ["norm1", "norm2", "norm3", "norm4"]


def test_errors(sign_model):
    with pytest.raises(ValueError, match="positive"):
        calibration.stretch_channel(sign_model, "norm1", 0, -2)
    with pytest.raises(ValueError, match="these can"):
        calibration.stretch_channel(sign_model, "relu1", 0, 2)
    with pytest.raises(ValueError, match="channels 0 to 15"):
        calibration.stretch_channel(sign_model, "norm1", 16, 2)
