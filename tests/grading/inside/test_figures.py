"""Model files that pretend: each kind of pretence, and honest files beside them."""

import io

import numpy as np
import pytest

from labkit.grading import hidden, scoring
from labkit.grading.assignment import Requirement
from labkit.grading.inside import measuring

PIXELS, CLASSES = 784, 24


@pytest.fixture(scope="module")
def arrays(split):
    found = hidden.make("synthetic", 48, b"secret", split)
    with np.load(io.BytesIO(found.to_bytes())) as stored:
        return dict(stored)


@pytest.fixture
def measured(arrays):
    return lambda content: measuring.measure(content, arrays)


@pytest.fixture
def honest(network, reader, measured):
    """Figures of a file with the kernel as it is."""

    def honest(kernel=reader[0], scales=()):
        net = network()
        return measured(net.file(net.dense(net.flat(), kernel, reader[1], scales)))

    return honest


def includes(figures, figure, kind):
    return scoring.holds(Requirement(figure, includes=kind), figures)


def eight_bits(kernel):
    """int8 codes (out, in) and the scales of the outputs."""
    scales = np.abs(kernel).max(axis=1) / 127
    return np.round(kernel / scales[:, None]).astype(np.int8), scales


def test_an_honest_file(honest):
    found = honest()
    assert found["accuracy"] == 1.0 and found["macs"] == CLASSES * PIXELS
    assert found["weight_types"] == ["float32"] and found["code_bits"] == 32
    assert includes(found, "weight_types", "float32")


def test_rows_of_a_batch_read_as_one_image_each(forged_files, measured):
    """A table of labels, answered by the row: it knows the order, and would need the batch."""
    _, content = forged_files["answers by the row"]
    assert measured(content)["accuracy"] == pytest.approx(1 / CLASSES)


def test_what_depends_on_the_images_before_is_refused(monkeypatch, network, reader, arrays):
    """A stand-in for a state that no rule below has foreseen: a runtime that counts."""
    from labkit import measure

    class Counting(measure.TFLiteModel):
        def predict(self, x):
            self.seen = getattr(self, "seen", 0) + len(x)
            return super().predict(x) + self.seen

    net = network()
    content = net.file(net.dense(net.flat(), *reader))
    monkeypatch.setattr(measure, "TFLiteModel", Counting)
    assert "depends on the samples before" in measuring.measure(content, arrays)["problem"]


def _reads_what_comes_later(net, x):
    later = net.tensor((1, CLASSES))
    out = net.add("ADD", [x, later], (1, CLASSES))
    net.add("ADD", [x, x], (1, CLASSES), output=later)
    return out


def _reads_what_nobody_writes(net, x):
    return net.add("ADD", [x, net.tensor((1, CLASSES))], (1, CLASSES))


def _writes_twice(net, x):
    net.add("MUL", [x, x], (1, CLASSES), output=x)
    return x


def _keeps_a_variable(net, x):
    state = net.tensor((1, CLASSES), isVariable=True)
    return net.add("ADD", [x, state], (1, CLASSES))


def _outside_the_file(net, x):
    return net.add("ADD", [x, net.tensor((1, CLASSES), externalBuffer=1)], (1, CLASSES))


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (_reads_what_comes_later, "nothing has written before"),
        (_reads_what_nobody_writes, "nothing has written before"),
        (_outside_the_file, "nothing has written before"),
        (_writes_twice, "writes over"),
        (_keeps_a_variable, "variables"),
    ],
)
def test_memory_that_lasts_is_refused(network, reader, measured, forge, told):
    net = network()
    assert told in measured(net.file(forge(net, net.dense(net.flat(), *reader))))["problem"]


def test_outputs_that_are_no_numbers(network, reader, measured):
    net = network()
    bias = np.where(np.arange(CLASSES) == 3, np.nan, reader[1]).astype(np.float32)
    assert "no numbers" in measured(net.file(net.dense(net.flat(), reader[0], bias)))["problem"]


def test_several_outputs_and_none_that_is_written(network, reader, measured):
    net = network()
    out = net.dense(net.flat(), *reader)
    assert "problem" in measured(net.file(out, net.input))
    assert "nothing writes its output" in measured(net.file(net.tensor((1, CLASSES))))["problem"]


@pytest.mark.parametrize("kind", ["an operator", "zeros", "a tensor"])
def test_what_reaches_no_output_counts_for_nothing(network, reader, measured, honest, kind):
    net = network()
    x = net.flat()
    out = net.dense(x, *reader)
    if kind == "an operator":
        net.dense(x, np.ones((200, PIXELS), np.int8), scales=[0.01])
    elif kind == "zeros":
        net.dense(x, np.zeros((200, PIXELS), np.float32))
    else:
        net.tensor((1, 1), "INT16", [0.1])
    found, expected = measured(net.file(out)), honest()
    same = set(expected) - {"bytes", "gzip_bytes", "sha256"}
    assert {k: found[k] for k in same} == {k: expected[k] for k in same}


@pytest.mark.parametrize("kind", ["zeros", "times nothing", "a tiny scale"])
def test_what_changes_no_output_is_not_boasted_of(network, reader, measured, kind):
    """Eight-bit weights and zeros on a way from the input to the output that do nothing there."""
    net = network()
    x = net.flat()
    draw = np.random.default_rng(0)
    kernel = draw.integers(-127, 128, (200, PIXELS)).astype(np.int8)
    kernel[:, ::2] = 0
    scale = 1e-30 if kind == "a tiny scale" else 0.01
    side = net.dense(x, kernel * (kind != "zeros"), scales=[scale])
    if kind == "times nothing":
        side = net.add("MUL", [side, net.constant(np.zeros(1, np.float32))], (1, 200))
    back = net.dense(side, np.ones((CLASSES, 200), np.float32))
    found = measured(net.file(net.add("ADD", [net.dense(x, *reader), back], (1, CLASSES))))
    assert found["accuracy"] == 1.0 and found["sparsity"] < 0.01
    assert found["weight_types"] == ["float32", "int8"]
    assert not includes(found, "weight_types", "int8")


@pytest.mark.parametrize("kind", ["a tenth of the outputs", "the same for all classes"])
def test_most_of_the_weights_are_not_included_where_others_do_the_reading(
    network, reader, measured, kind
):
    """Eight-bit weights that change the outputs, and not what they say."""
    net = network()
    x, draw = net.flat(), np.random.default_rng(0)
    codes = draw.integers(-127, 128, (200, PIXELS)).astype(np.int8)
    back = draw.normal(size=(CLASSES, 200)) * 3e-3
    if kind == "the same for all classes":
        back = np.tile(100 * back[:1], (CLASSES, 1))
    side = net.dense(x, codes, scales=[0.01])
    side = net.dense(side, back.astype(np.float32))
    found = measured(net.file(net.add("ADD", [net.dense(x, *reader), side], (1, CLASSES))))
    assert found["accuracy"] == 1.0 and found["weight_types"] == ["float32", "int8"]
    assert not includes(found, "weight_types", "int8")
    assert found["shares"]["weight_types"]["float32"] < 0.5  # it boasts of none of the two


def test_most_of_the_products_are_not_included_where_others_do_the_reading(
    network, reader, measured
):
    """Products in sixteen bits, beside a network that has no need of them."""
    net = network()
    x = net.flat()
    short = net.add("QUANTIZE", [x], (1, PIXELS), "INT16", [1 / 32767])
    codes = np.random.default_rng(0).integers(-127, 128, (200, PIXELS)).astype(np.int8)
    kernel = net.constant(codes, [0.01])
    side = net.add("FULLY_CONNECTED", [short, kernel, -1], (1, 200), "INT16", [0.01])
    side = net.add("DEQUANTIZE", [side], (1, 200))
    back = net.dense(side, np.full((CLASSES, 200), 1e-3, np.float32))
    whole = net.add("ADD", [net.dense(x, *reader), back], (1, CLASSES))
    found = measured(net.file(whole))
    assert found["accuracy"] == 1.0 and "int16" in found["activation_types"]
    assert not includes(found, "activation_types", "int16")


def test_each_of_two_types_in_a_row_is_carrying(network, reader, measured):
    """Half-way in eight bits, half-way in floats: without either, nothing is read."""
    net = network()
    codes, scales = eight_bits(reader[0])
    hidden = net.dense(net.flat(), codes, reader[1], scales)
    found = measured(net.file(net.dense(hidden, np.eye(CLASSES, dtype=np.float32))))
    assert found["accuracy"] == 1.0 and set(found["shares"]["weight_types"]) == {"int8", "float32"}
    assert includes(found, "weight_types", "int8")


def test_a_type_is_included_from_half_of_the_weights_on(honest, network, reader, measured):
    codes, scales = eight_bits(reader[0])
    dynamic = honest(codes, scales)
    assert dynamic["accuracy"] == 1.0 and includes(dynamic, "weight_types", "int8")
    net = network()
    x = net.flat()
    few = net.dense(x, codes[:2], scales=scales[:2])
    rest = net.dense(x, reader[0][2:])
    both = net.add("CONCATENATION", [few, rest], (1, CLASSES), axis=1)
    found = measured(net.file(net.add("ADD", [both, net.constant(reader[1][None])], (1, CLASSES))))
    assert found["accuracy"] == 1.0 and found["weight_types"] == ["float32", "int8"]
    assert not includes(found, "weight_types", "int8")


def test_sixteen_bits_of_activations_count_by_multiplications(network, reader, measured):
    """Floats that pass through int16 once: nothing is computed in it."""
    net = network()
    x = net.flat()
    short = net.add("QUANTIZE", [x], (1, PIXELS), "INT16", [1 / 32767])
    net_out = net.dense(x, *reader)
    detour = net.add("DEQUANTIZE", [short], (1, PIXELS))
    side = net.dense(detour, np.full((1, PIXELS), 1e-9, np.float32))
    found = measured(net.file(net.add("ADD", [net_out, side], (1, CLASSES))))
    assert found["accuracy"] == 1.0 and "int16" in found["activation_types"]
    assert not includes(found, "activation_types", "int16")
    assert includes(found, "activation_types", "float32")


def test_weights_in_other_operators_are_weights(network, reader, measured, honest):
    """Half-precision kernels beside products with numbers of full precision."""
    net = network()
    half = net.constant(reader[0].astype(np.float16))
    kernel = net.add("DEQUANTIZE", [half], reader[0].shape)
    x = net.flat()
    draw = np.random.default_rng(0)
    for _ in range(3):
        x = net.add(
            "MUL",
            [x, net.constant(draw.uniform(1, 1.01, (1, PIXELS)).astype(np.float32))],
            (1, PIXELS),
        )
    out = net.add("FULLY_CONNECTED", [x, kernel, net.constant(reader[1])], (1, CLASSES))
    found = measured(net.file(out))
    assert found["accuracy"] == 1.0 and found["weight_types"] == ["float16", "float32"]
    assert found["storage_bits"] == found["code_bits"] == 32


def split_up(net, x, kernel, width):
    """The products of a kernel as sums over layers of a few inputs each."""
    total = None
    for start in range(0, PIXELS, width):
        stop = min(PIXELS, start + width)
        bounds = [net.constant(np.array(v, np.int32)) for v in ([0, start], [0, stop], [1, 1])]
        part = net.add("STRIDED_SLICE", [x, *bounds], (1, stop - start), beginMask=1, endMask=1)
        part = net.dense(part, kernel[:, start:stop])
        total = part if total is None else net.add("ADD", [total, part], (1, CLASSES))
    return total


@pytest.mark.parametrize("width", [16, 112])
def test_a_kernel_in_pieces_needs_as_many_bits_as_the_whole(network, reader, measured, width):
    """Each piece has few distinct weights in a channel: for want of weights, or nearly so."""
    kernel = reader[0].copy()
    levels = max(16, width // 7)  # of 112 inputs of a channel 16 have a value of their own
    for start in range(0, PIXELS, width):
        kernel[:, start + levels : start + width] = kernel[:, [start]] * (width < 100)
    net = network()
    out = net.add(
        "ADD",
        [split_up(net, net.flat(), kernel, width), net.constant(reader[1][None])],
        (1, CLASSES),
    )
    found = measured(net.file(out))
    assert found["code_bits"] > 4
    if width == 16:
        assert found["code_bits"] == 32 and found["unique_per_channel"] > 1000


def test_weights_of_few_bits_that_do_nothing_make_no_mean(network, reader, measured):
    """Pieces whose codebooks just pay, beside a large kernel of ones that is taken times zero."""
    kernel = reader[0].copy()
    for start in range(0, PIXELS, 19):  # 19 weights, 16 values, in a channel
        kernel[:, start + 16 : start + 19] = kernel[:, [start]]
    net = network()
    x = net.flat()
    side = net.dense(x, np.ones((300, PIXELS), np.float32))
    side = net.add("MUL", [side, net.constant(np.zeros(1, np.float32))], (1, 300))
    side = net.dense(side, np.ones((CLASSES, 300), np.float32))
    whole = net.add("ADD", [split_up(net, x, kernel, 19), side], (1, CLASSES))
    out = net.add("ADD", [whole, net.constant(reader[1][None])], (1, CLASSES))
    found = measured(net.file(out))
    assert found["code_bits"] > 16


def test_pieces_of_eight_bits_have_as_many_distinct_weights_as_the_whole(network, reader, arrays):
    codes, scales = eight_bits(reader[0])
    figures = []
    for width in (PIXELS, 16):
        net = network()
        x, total = net.flat(), None
        for start in range(0, PIXELS, width):
            bounds = [
                net.constant(np.array(v, np.int32))
                for v in ([0, start], [0, start + width], [1, 1])
            ]
            part = net.add("STRIDED_SLICE", [x, *bounds], (1, width), beginMask=1, endMask=1)
            part = net.dense(part, codes[:, start : start + width], scales=scales)
            total = part if total is None else net.add("ADD", [total, part], (1, CLASSES))
        figures.append(measuring.measure(net.file(total), arrays))
    assert figures[0]["code_bits"] == 8 <= figures[1]["code_bits"]
    assert min(found["unique_per_channel"] for found in figures) > 200


def four_bits(kernel):
    return np.round(kernel / np.abs(kernel).max(axis=1, keepdims=True) * 7)


@pytest.mark.parametrize("kind", ["a grid", "a grid in bytes", "powers of two", "sixteen values"])
def test_four_bits_are_four_bits_however_they_are_stored(honest, reader, kind):
    kernel, scales = reader[0], ()
    largest = np.abs(kernel).max(axis=1, keepdims=True)
    if kind == "powers of two":
        exponents = np.clip(np.round(np.log2(np.abs(kernel) / largest + 1e-9)), -7, 0)
        kernel = np.sign(kernel + 1e-9) * 2.0**exponents * largest
    elif kind == "sixteen values":
        values = np.quantile(kernel, np.linspace(0, 1, 16))
        kernel = values[np.abs(kernel[..., None] - values).argmin(axis=-1)]
    else:
        kernel = four_bits(kernel) / 7 * largest
    if kind == "a grid in bytes":
        kernel, scales = eight_bits(kernel)
    else:
        kernel = kernel.astype(np.float32)
    found = honest(kernel, scales)
    assert found["code_bits"] == 4 and found["unique_per_channel"] <= 16


def test_zeros_between_weights_are_sparsity_and_filters_of_zeros_are_not(honest, reader):
    kernel = np.where(np.abs(reader[0]) < np.median(np.abs(reader[0])), 0, reader[0])
    assert honest(kernel)["sparsity"] == pytest.approx(0.5, abs=0.01)
    kernel = reader[0].copy()
    kernel[:, ::2] = 0  # half of the inputs are read by nobody
    assert honest(kernel)["sparsity"] < 0.01


def test_rows_of_zeros_in_a_sparse_tensor_are_no_sparsity(network, reader, measured):
    kernel = np.where(np.abs(reader[0]) < np.median(np.abs(reader[0])), 0, reader[0])
    net = network()
    padded = np.concatenate([kernel, np.zeros((200, PIXELS), np.float32)])
    dense = net.add("DENSIFY", [net.sparse(padded)], padded.shape)
    wide = net.add("FULLY_CONNECTED", [net.flat(), dense, -1], (1, len(padded)))
    bounds = [net.constant(np.array(v, np.int32)) for v in ([0, 0], [0, CLASSES], [1, 1])]
    read = net.add("STRIDED_SLICE", [wide, *bounds], (1, CLASSES), beginMask=1, endMask=1)
    found = measured(net.file(net.add("ADD", [read, net.constant(reader[1][None])], (1, CLASSES))))
    assert found["sparsity"] == pytest.approx(0.5, abs=0.01)


def test_products_are_counted_by_the_runtimes_shapes(network, reader, measured):
    net = network()
    x = net.flat()
    net.graph.tensors[x].shape = [1, 1]
    out = net.dense(x, *reader)
    net.graph.tensors[out].shape = [1, 1]
    found = measured(net.file(out))
    assert found.get("macs", CLASSES * PIXELS) == CLASSES * PIXELS
    assert found.get("accuracy", 1.0) == 1.0
