import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from labkit import measure, runtime
from labkit.compress import affine, post_training

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

ends = st.floats(-1e6, 1e6)
bits = st.integers(2, 16)


def int8(*shape):
    return arrays.arrays(np.int8, shape)


@pytest.mark.parametrize(
    ("low", "high", "settings", "expected"),
    [
        (-1.0, 3.0, {}, (4 / 255, -64)),  # -128 + 63.75, rounded
        (0.0, 25.5, {}, (0.1, -128)),
        (-25.5, 0.0, {}, (0.1, 127)),
        (2.0, 25.5, {}, (0.1, -128)),  # widened to zero
        (-1.0, 2.0, {"bits": 2}, (1.0, -1)),
        (-2.0, 1.0, {"symmetric": True}, (2 / 127, 0)),
        (-2.0, 1.0, {"symmetric": True, "bits": 16}, (2 / 32767, 0)),
        (0.0, 0.0, {}, (1.0, 0)),
    ],
)
def test_parameters_by_hand(low, high, settings, expected):
    scale, zero_point = affine.parameters(low, high, **settings)
    assert scale == pytest.approx(expected[0], rel=1e-12)
    assert zero_point == expected[1]


@given(low=ends, high=ends, bits=bits, symmetric=st.booleans())
def test_zero_is_exact_and_the_range_is_covered(low, high, bits, symmetric):
    low, high = sorted((low, high))
    scale, zero_point = affine.parameters(low, high, bits, symmetric)
    first, last = affine.code_range(bits, narrow=symmetric)
    assert scale > 0 and first <= zero_point <= last
    assert affine.fake_quantize(0.0, scale, zero_point, bits) == 0.0
    # The nudge moves the ends by at most half a step.
    ends_of_grid = affine.dequantize(np.array([first, last]), scale, zero_point)
    assert ends_of_grid[0] - scale * 0.5001 <= min(low, 0)
    assert ends_of_grid[1] + scale * 0.5001 >= max(high, 0)


@given(st.data(), bits, st.booleans())
def test_error_inside_the_range_is_at_most_half_a_step(data, bits, symmetric):
    low, high = sorted((data.draw(ends), data.draw(ends)))
    scale, zero_point = affine.parameters(low, high, bits, symmetric)
    inside = affine.dequantize(
        np.array(affine.code_range(bits, narrow=symmetric)), scale, zero_point
    )
    x = np.clip(data.draw(st.floats(low, high)), *inside)
    error = affine.fake_quantize(x, scale, zero_point, bits, narrow=symmetric) - x
    assert abs(error) <= scale / 2 * (1 + 1e-9)


@given(int8(20), st.floats(1e-6, 1e6), st.integers(-128, 127))
def test_codes_survive_the_way_to_real_numbers_and_back(codes, scale, zero_point):
    values = affine.dequantize(codes, scale, zero_point)
    np.testing.assert_array_equal(affine.quantize(values, scale, zero_point), codes)


def test_quantize_by_hand():
    x = np.array([0.2, 0.3, -1.1, 0.25, -0.25, 100.0, -100.0])
    np.testing.assert_array_equal(affine.quantize(x, 0.5), [0, 1, -2, 1, -1, 127, -128])
    np.testing.assert_array_equal(affine.quantize(x, 0.5, narrow=True)[-1], -127)
    np.testing.assert_array_equal(affine.quantize(x, 0.5, -2, bits=3), [-2, -1, -4, -1, -3, 3, -4])
    np.testing.assert_allclose(
        affine.fake_quantize(x, 0.5), [0, 0.5, -1, 0.5, -0.5, 63.5, -64], rtol=0
    )


def test_quantize_per_channel():
    weights = np.array([[1.0, 10.0], [-0.5, 5.0]])
    codes = affine.quantize(weights, np.array([1 / 127, 10 / 127]), narrow=True)
    np.testing.assert_array_equal(codes, [[127, 127], [-64, 64]])


def test_integer_matmul_by_hand():
    # (10 - 4)(3 - 1) + (20 - 4)(-5 - 1) = 12 - 96
    result = affine.integer_matmul([[10, 20]], 4, [[3], [-5]], 1)
    assert result.dtype == np.int32 and result.tolist() == [[-84]]


@given(int8(3, 7), int8(7, 2), int8(2), st.integers(-128, 127))
def test_integer_matmul_is_the_direct_sum(q_x, q_w, zero_w, zero_x):
    direct = (q_x.astype(int) - zero_x) @ (q_w.astype(int) - zero_w)
    np.testing.assert_array_equal(affine.integer_matmul(q_x, zero_x, q_w, zero_w), direct)


@given(int8(3, 7), int8(7, 2), st.integers(-128, 127))
def test_symmetric_weights_leave_what_is_known_in_advance(q_x, q_w, zero_x):
    known = -zero_x * q_w.astype(int).sum(axis=0)
    products = q_x.astype(int) @ q_w
    np.testing.assert_array_equal(affine.integer_matmul(q_x, zero_x, q_w, 0), products + known)


def test_accumulator_does_not_wrap():
    codes = np.full((1, 2**17), -128)
    with pytest.raises(OverflowError, match="32-bit accumulator"):
        affine.integer_matmul(codes, 0, codes.T, 0)
    assert affine.integer_matmul(codes[:, 1:], 0, codes.T[1:], 0) == 2**31 - 2**14


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.3, (1_288_490_189, -1)),  # 0.6 · 2^-1
        (0.5, (2**30, 0)),
        (3.0, (1_610_612_736, 2)),  # 0.75 · 2^2
        (1 - 2.0**-40, (2**30, 1)),  # rounds up to 1
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
    ],
)
def test_multiplier_by_hand(real, expected):
    assert affine.quantize_multiplier(real) == expected


@given(st.floats(2.0**-31, 2.0**29))
def test_multiplier_is_normalised_and_exact_to_31_bits(real):
    multiplier, shift = affine.quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=2.0**-31)


@pytest.mark.parametrize(
    ("sums", "real", "expected"),
    [
        ([10, 11, -10, -11, 1000], 0.5, [5, 6, -5, -5, 127]),  # halves upwards
        ([1, -1, 3], 4.0, [4, -4, 12]),
        ([2**30], 2.0**-31, [1]),
    ],
)
def test_requantize_by_hand(sums, real, expected):
    codes = affine.requantize(np.array(sums), *affine.quantize_multiplier(real))
    np.testing.assert_array_equal(codes, expected)


@given(arrays.arrays(np.int32, 20), st.floats(2.0**-31, 1.0), st.integers(-128, 127))
def test_requantize_is_the_rounded_product(sums, real, zero_point):
    codes = affine.requantize(sums, *affine.quantize_multiplier(real), zero_point)
    exact = np.clip(sums * real + zero_point, -128, 127)
    assert np.abs(codes - exact).max() <= 0.5 + 1e-6


def dense_layer_in_a_file(seed):
    """An int8 file of one dense layer with 40 inputs and 16 outputs."""
    runtime.set_seed(seed)
    rng = np.random.default_rng(seed)
    model = tf.keras.Sequential([tf.keras.layers.Dense(16, input_shape=(40,))])
    model.layers[0].bias.assign(rng.normal(size=16))
    images = rng.normal(size=(200, 40)).astype(np.float32)
    return post_training.convert(model, "int8", images)


@pytest.mark.parametrize("seed", [0, 1])
def test_dense_layer_to_the_bit_as_tflite(seed):
    """Codes in, codes out: only the file's own codes, scales and zero points are used."""
    interpreter = Interpreter(
        model_content=dense_layer_in_a_file(seed),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    q_x = np.random.default_rng(seed).integers(-128, 128, (2000, 40)).astype(np.int8)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], q_x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], q_x)
    interpreter.invoke()
    tflite = interpreter.get_tensor(target["index"])

    constants = {
        (np.dtype(t["dtype"]).name, tuple(t["shape"])): t for t in interpreter.get_tensor_details()
    }
    kernel, bias = constants["int8", (16, 40)], constants["int32", (16,)]
    (scale_x, zero_x), (scale_y, zero_y) = source["quantization"], target["quantization"]
    scale_w = kernel["quantization_parameters"]["scales"].astype(np.float64)
    assert len(scale_w) == 16 and not kernel["quantization_parameters"]["zero_points"].any()

    sums = affine.integer_matmul(q_x, zero_x, interpreter.get_tensor(kernel["index"]).T)
    sums += interpreter.get_tensor(bias["index"])
    factors = [affine.quantize_multiplier(scale_x * s / scale_y) for s in scale_w]
    ours = affine.requantize(sums, *np.transpose(factors), zero_y)
    np.testing.assert_array_equal(ours, tflite)
    assert len(np.unique(ours)) > 200


def test_two_roundings_by_hand():
    """5.4966 at seven places is 703.6: 704, which is 5.5, which is 6."""
    multiplier, shift = affine.quantize_multiplier(5.4966 / 1000)
    assert shift == -7
    sums = np.array([1000, -1000])
    assert affine.requantize(sums, multiplier, shift).tolist() == [5, -5]
    assert affine.requantize(sums, multiplier, shift, twice=True).tolist() == [6, -6]
    large = affine.quantize_multiplier(3.0)
    assert affine.requantize(np.array([7, -7]), *large, twice=True).tolist() == [21, -21]


def test_convolution_to_the_bit_as_tflite():
    """It rounds twice where a dense layer rounds once."""
    runtime.set_seed(0)
    layer = tf.keras.layers.Conv2D(8, 3, padding="valid", use_bias=False, input_shape=(9, 9, 4))
    images = np.random.default_rng(0).normal(size=(100, 9, 9, 4)).astype(np.float32)
    content = post_training.convert(tf.keras.Sequential([layer]), "int8", images)
    graph = measure.read_graph(content)
    (operator,) = graph.operators
    x, w, y = (graph.tensors[i] for i in (*operator.inputs[:2], *operator.outputs))
    q_x = affine.quantize(images, x.scales[0], x.zero_points[0])
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.resize_tensor_input(graph.inputs[0], q_x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(graph.inputs[0], q_x.astype(np.int8))
    interpreter.invoke()
    theirs = interpreter.get_tensor(graph.outputs[0])
    kernel = np.moveaxis(w.codes, 0, -1).astype(np.float64)
    sums = tf.nn.conv2d((q_x - x.zero_points[0]).astype(np.float64), kernel, 1, "VALID").numpy()
    factors = [affine.quantize_multiplier(float(x.scales[0]) * s / y.scales[0]) for s in w.scales]
    differ = {
        twice: np.count_nonzero(
            theirs
            != affine.requantize(
                sums.astype(np.int64), *np.transpose(factors), y.zero_points[0], twice=twice
            )
        )
        for twice in (False, True)
    }
    assert differ[True] == 0 < differ[False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affine.parameters(3, 1), r"\[3, 1\], expected finite, in this order"),
        (lambda: affine.parameters(0, np.inf), "finite"),
        (lambda: affine.parameters(0, 1, bits=1), "bits is 1, expected 2 to 32"),
        (lambda: affine.quantize_multiplier(0.0), "the factor is 0.0"),
        (lambda: affine.quantize_multiplier(2.0**30), "below"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
