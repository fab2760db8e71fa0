"""The 561 features: their names, and their values of signals whose values are known."""

import numpy as np
import pytest

from labkit.datasets import DataError, har_features
from labkit.datasets.har_features import NAMES

TIME = np.arange(128) / 50
SIGNALS = ("body", "gyro", "total")


def window(**signals):
    """One window (1, 128, 9); of each signal x, y, z or the three of them, else 0."""
    made = np.zeros((1, 128, 9))
    for name, values in signals.items():
        kind, _, axis = name.partition("_")
        column = 3 * SIGNALS.index(kind)
        if axis:
            made[0, :, column + "xyz".index(axis)] = values
        else:
            made[0, :, column : column + 3] = values
    return made


def features(**signals):
    """Features by their names; of a name that comes again, the first."""
    values = har_features.extract(window(**signals))
    assert values.shape == (1, 561) and values.dtype == np.float32
    found = {}
    for name, value in zip(NAMES, values[0], strict=True):
        found.setdefault(name, float(value))
    return found


def test_names():
    assert len(NAMES) == 561 and len(set(NAMES)) == 477
    # Places that UCI's features.txt gives them, counted from 1.
    places = {
        1: "tBodyAcc-mean()-X",
        16: "tBodyAcc-sma()",
        26: "tBodyAcc-arCoeff()-X,1",
        40: "tBodyAcc-correlation()-Y,Z",
        41: "tGravityAcc-mean()-X",
        201: "tBodyAccMag-mean()",
        265: "tBodyGyroJerkMag-arCoeff()4",
        266: "fBodyAcc-mean()-X",
        291: "fBodyAcc-maxInds-X",
        298: "fBodyAcc-kurtosis()-X",
        303: "fBodyAcc-bandsEnergy()-1,8",
        317: "fBodyAcc-bandsEnergy()-1,8",
        502: "fBodyGyro-bandsEnergy()-25,48",
        516: "fBodyBodyAccJerkMag-mean()",
        554: "fBodyBodyGyroJerkMag-kurtosis()",
        555: "angle(tBodyAccMean,gravity)",
        556: "angle(tBodyAccJerkMean),gravityMean)",
        561: "angle(Z,gravityMean)",
    }
    assert {place: NAMES[place - 1] for place in places} == places


def test_a_sine():
    """Three volts of five periods, as it were: amplitude 3 at the fifth frequency component."""
    found = features(body_x=0.5 + 3 * np.sin(2 * np.pi * 5 * np.arange(128) / 128))
    about = lambda value: pytest.approx(value, rel=0.02, abs=1e-4)  # noqa: E731
    assert found["tBodyAcc-mean()-X"] == about(0.5)
    assert found["tBodyAcc-std()-X"] == about(3 / 2**0.5)
    assert found["tBodyAcc-max()-X"] == about(3.5) and found["tBodyAcc-min()-X"] == about(-2.5)
    assert found["tBodyAcc-mad()-X"] == about(3 * np.sin(np.pi / 4))
    assert found["tBodyAcc-iqr()-X"] == about(2 * 3 * np.sin(np.pi / 4))
    assert found["tBodyAcc-energy()-X"] == about(0.5**2 + 3**2 / 2)
    assert found["tBodyAccJerk-std()-X"] == about(3 / 2**0.5 * 2 * np.pi * 5 * 50 / 128)
    assert found["tBodyAccMag-std()"] < found["tBodyAcc-std()-X"]  # it has no sign

    assert found["fBodyAcc-max()-X"] == about(3 * 64)
    assert found["fBodyAcc-maxInds-X"] == 5
    assert found["fBodyAcc-mean()-X"] == about((0.5 * 128 + 3 * 64) / 64)
    assert found["fBodyAcc-meanFreq()-X"] == about(5 * 3 * 64 / (0.5 * 128 + 3 * 64))
    assert found["fBodyAcc-bandsEnergy()-1,8"] == about((3 * 64) ** 2 + (0.5 * 128) ** 2)
    assert found["fBodyAcc-bandsEnergy()-9,16"] == about(0)
    assert found["fBodyAcc-bandsEnergy()-1,24"] == found["fBodyAcc-bandsEnergy()-1,16"]
    assert found["fBodyAcc-skewness()-X"] > 5 and found["fBodyAcc-kurtosis()-X"] > 25


@pytest.mark.parametrize("component", [1, 7, 8, 20, 40, 63])
def test_a_tone_is_in_its_bands_alone(component):
    found = features(gyro_z=np.cos(2 * np.pi * component * np.arange(128) / 128))
    energies = har_features.extract(window(gyro_z=np.cos(2 * np.pi * component * TIME * 50 / 128)))
    start = NAMES.index("fBodyGyro-bandsEnergy()-1,8") + 2 * 14  # the bands of z
    for (first, last), energy in zip(har_features.BANDS, energies[0, start:], strict=False):
        inside = first <= component + 1 <= last
        assert energy == pytest.approx(64**2 if inside else 0, abs=1e-3)
    assert found["fBodyGyro-maxInds-Z"] == component
    assert found["fBodyGyro-meanFreq()-Z"] == pytest.approx(component, abs=1e-4)
    assert found["fBodyGyro-meanFreq()-X"] == found["fBodyGyro-maxInds-X"] == 0


def test_areas_magnitudes_and_angles():
    found = features(body=[0.3, -0.4, 0], gyro=[0, 0, 2], total=[1.3, -0.4, 0])
    assert found["tBodyAcc-sma()"] == pytest.approx(0.7 / 3)
    assert found["tBodyAccMag-mean()"] == found["tBodyAccMag-sma()"] == pytest.approx(0.5)
    assert found["tGravityAcc-mean()-X"] == pytest.approx(1)
    assert found["tGravityAccMag-energy()"] == pytest.approx(1)
    assert found["angle(tBodyAccMean,gravity)"] == pytest.approx(np.arccos(0.6))
    assert found["angle(tBodyGyroMean,gravityMean)"] == pytest.approx(np.pi / 2)
    assert found["angle(X,gravityMean)"] == pytest.approx(0, abs=1e-3)
    assert found["angle(Y,gravityMean)"] == pytest.approx(np.pi / 2)
    assert found["tBodyAccJerk-max()-X"] == found["tBodyAccJerkMag-energy()"] == 0
    assert found["tBodyAcc-entropy()-X"] == pytest.approx(np.log(128))  # all shares are alike
    assert found["fBodyAcc-entropy()-X"] == pytest.approx(0, abs=1e-5)  # 0 Hz alone


def test_correlation():
    sine, cosine = np.sin(2 * np.pi * 3 * TIME * 50 / 128), np.cos(2 * np.pi * 3 * TIME * 50 / 128)
    found = features(body_x=sine, body_y=5 - 2 * sine, body_z=sine + cosine)
    assert found["tBodyAcc-correlation()-X,Y"] == pytest.approx(-1)
    assert found["tBodyAcc-correlation()-X,Z"] == pytest.approx(0.5**0.5)
    assert found["tBodyAcc-correlation()-Y,Z"] == pytest.approx(-(0.5**0.5))


@pytest.mark.parametrize("order", [2, 4])
def test_an_autoregressive_process_gives_its_coefficients(order):
    wanted = np.array([-1.2, 0.9, -0.3, 0.2])[:order]
    noise = np.random.default_rng(5).normal(size=21_000)
    signal = np.zeros_like(noise)
    for t in range(order, len(noise)):
        signal[t] = noise[t] - wanted @ signal[t - order : t][::-1]
    found = har_features.burg(signal[1000:] + 7, order)
    np.testing.assert_allclose(found, wanted, atol=0.03)
    assert features(body_z=signal[-128:])["tBodyAcc-arCoeff()-Z,1"] == pytest.approx(
        har_features.burg(signal[-128:])[0], abs=1e-5
    )


def test_burg_predicts_a_sine():
    """Two coefficients are enough for it: x[t] = 2 cos(w) x[t-1] - x[t-2]."""
    found = har_features.burg(np.sin(0.3 * np.arange(2000)), 2)
    np.testing.assert_allclose(found, [-2 * np.cos(0.3), 1], atol=2e-3)


def test_what_has_no_value_is_zero():
    found = har_features.extract(np.zeros((2, 128, 9)))
    angles = np.char.startswith(NAMES, "angle")
    assert (found[:, ~angles] == 0).all()
    assert found[:, angles] == pytest.approx(np.pi / 2)
    assert har_features.extract(np.zeros((0, 128, 9))).shape == (0, 561)


def test_windows_do_not_depend_on_one_another():
    some = np.random.default_rng(0).normal(size=(70, 128, 9))
    together = har_features.extract(some)
    for i in (0, 63, 64, 69):
        np.testing.assert_allclose(
            har_features.extract(some[i : i + 1])[0], together[i], 1e-5, 1e-5
        )


@pytest.mark.parametrize("shape", [(128, 9), (2, 127, 9), (2, 9, 128)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match=r"expected \(N, 128, 9\)"):
        har_features.extract(np.zeros(shape))


def test_the_scaler_puts_the_training_part_between_minus_one_and_one():
    train = np.random.default_rng(0).normal(size=(30, 561)).astype(np.float32)
    scaled = har_features.scaler(train).transform(train)
    np.testing.assert_allclose(scaled.min(axis=0), -1, atol=1e-6)
    np.testing.assert_allclose(scaled.max(axis=0), 1, atol=1e-6)


class Counted:
    """A number that counts what is done with it."""

    counts: dict[str, int]

    def __init__(self, value):
        self.value = float(getattr(value, "value", value))

    def _with(self, kind, value):
        Counted.counts[kind] += 1
        return Counted(value)

    def _of(kind, operation):  # noqa: N805
        def apply(self, other):
            return self._with(kind, operation(self.value, float(getattr(other, "value", other))))

        return apply

    __add__ = __radd__ = _of("additions", lambda a, b: a + b)
    __sub__ = _of("additions", lambda a, b: a - b)
    __mul__ = __rmul__ = _of("multiplications", lambda a, b: a * b)
    __truediv__ = _of("divisions", lambda a, b: a / b)
    __pow__ = _of("functions", lambda a, b: a**b)

    def __abs__(self):
        return self._with("comparisons", abs(self.value))

    def __neg__(self):
        return Counted(-self.value)

    def __gt__(self, other):
        return self.value > other

    def __bool__(self):
        return self.value != 0

    def __ge__(self, other):
        Counted.counts["comparisons"] += 1
        return self.value >= float(getattr(other, "value", other))

    def sqrt(self):
        return self._with("functions", self.value**0.5)

    def log(self):
        return self._with("functions", np.log(self.value))


@pytest.mark.parametrize(
    ("step", "function", "shape"),
    [
        ("jerk", har_features.jerk, (1, 128)),
        ("entropy", har_features.entropy, (1, 128)),
        ("arCoeff", har_features.burg, (1, 128)),
        ("correlation", har_features.correlation, (1, 3, 128)),
        ("moments", har_features.moments, (1, 64)),
        ("bandsEnergy", har_features.band_energies, (1, 64)),
        ("meanFreq", har_features.mean_frequency, (1, 64)),
    ],
)
def test_the_model_of_the_cost_counts_what_is_computed(step, function, shape):
    numbers = np.random.default_rng(0).uniform(0.1, 1, shape)
    kinds = ("additions", "multiplications", "divisions", "comparisons", "functions")
    Counted.counts = dict.fromkeys(kinds, 0)
    function(np.vectorize(Counted, otypes=[object])(numbers))
    signals, spectra, count, _ = har_features._COST[step]
    modelled = dict(zip(kinds, count(shape[-1]), strict=True))
    assert signals + spectra > 0
    for kind in kinds:
        assert Counted.counts[kind] == pytest.approx(modelled[kind], rel=0.03, abs=3), kind


def test_the_cost():
    table = har_features.cost()
    operations = table.columns[:-1]
    assert (table.drop("total")[operations].sum() == table.loc["total", operations]).all()
    assert 200_000 < table.loc["total", operations].sum() < 400_000
    memory = table.loc["total", "memory (bytes)"]
    assert 4 * (128 * 9 + 561) < memory < 12_000
