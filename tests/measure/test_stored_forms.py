"""Constants that the file does not hold as a plain array: sparse ones, and in blocks."""

import numpy as np
import pytest
from built import file, operator, tensor

from labkit import measure
from labkit.flatbuffer import schema
from labkit.measure import ModelFileError


def vector(values, kind="Int32Vector"):
    made = getattr(schema, f"{kind}T")()
    made.values = np.asarray(values, np.int32)
    return getattr(schema.SparseIndexVector, kind), made


def level(size=None, segments=None, indices=None):
    """A dense dimension of a size, or a sparse one."""
    made = schema.DimensionMetadataT()
    made.format, made.denseSize = (0, size) if segments is None else (1, 0)
    if segments is not None:
        made.arraySegmentsType, made.arraySegments = vector(segments)
        made.arrayIndicesType, made.arrayIndices = vector(indices)
    return made


def sparse(dense, block=0):
    """Tensor, and its sparsity: rows dense, columns (or blocks of them) as indices."""
    groups = dense.reshape(len(dense), -1, max(block, 1))
    kept = groups.any(axis=2)
    made = schema.SparsityParametersT()
    made.traversalOrder = [0, 1, 2] if block else [0, 1]
    made.blockMap = [1] if block else None
    made.dimMetadata = [
        level(len(dense)),
        level(segments=np.append(0, np.cumsum(kept.sum(axis=1))), indices=np.nonzero(kept)[1]),
        *([level(block)] if block else []),
    ]
    return groups[kept].ravel(), made


def dense_layer(weights):
    """A file of one dense layer."""
    units, width = weights.shape
    graph = [tensor([1, width]), weights, tensor([1, units])]
    return file((graph, [operator("FULLY_CONNECTED", [0, 1], [2])], [0], [2]))


def kernel(block=0):
    random = np.random.default_rng(0)
    groups = random.normal(size=(6, 8 // max(block, 1), max(block, 1)))
    return (groups * (random.uniform(size=groups.shape[:2]) < 0.3)[..., None]).reshape(6, 8)


@pytest.mark.parametrize("block", [0, 4])
def test_a_sparse_kernel_is_laid_out(block):
    wanted = kernel(block).astype(np.float32)
    stored, sparsity = sparse(wanted, block)
    content = dense_layer(tensor([6, 8], stored, sparsity=sparsity))
    np.testing.assert_array_equal(next(iter(measure.weights(content).values())), wanted)
    (row,) = measure.inspect(content).weights.to_dict("records")
    assert row["sparsity"] == np.mean(wanted == 0)
    assert row["unique"] == len(np.unique(wanted))
    indices = len(sparsity.dimMetadata[1].arraySegments.values)
    indices += len(sparsity.dimMetadata[1].arrayIndices.values)
    assert row["bytes"] == 4 * len(stored) + 4 * indices


def test_integers_of_a_sparse_kernel_have_their_channels_scales():
    codes = np.round(20 * kernel()).astype(np.int8)
    stored, sparsity = sparse(codes)
    scales = schema.QuantizationParametersT()
    scales.scale, scales.zeroPoint = np.arange(1, 7, dtype=np.float32), np.zeros(6, np.int64)
    weights = tensor([6, 8], stored, "INT8", sparsity=sparsity, quantization=scales)
    (values,) = measure.weights(dense_layer(weights)).values()
    np.testing.assert_array_equal(values, codes * np.arange(1, 7)[:, None])


def test_the_codes_of_a_sparse_kernel_are_counted_as_those_of_a_dense_one():
    wanted = kernel().astype(np.float32)
    stored, sparsity = sparse(wanted)
    whole, part = (
        measure.coding(dense_layer(weights)).to_dict("records")
        for weights in (tensor([6, 8], wanted), tensor([6, 8], stored, sparsity=sparsity))
    )
    assert whole == part


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.dimMetadata[1].arrayIndices.values.__setitem__(0, 99),
        lambda s: s.dimMetadata[1].arraySegments.values.__setitem__(-1, 999),
        lambda s: s.dimMetadata[1].arraySegments.values.__setitem__(1, -5),
        lambda s: setattr(s, "traversalOrder", [0, 0]),
        lambda s: setattr(s.dimMetadata[0], "denseSize", 10**6),
    ],
)
def test_a_damaged_sparse_kernel_is_refused(damage):
    stored, sparsity = sparse(kernel().astype(np.float32))
    damage(sparsity)
    with pytest.raises(ModelFileError, match="damaged"):
        measure.inspect(dense_layer(tensor([6, 8], stored, sparsity=sparsity)))


def blockwise(scales, kind="BlockwiseQuantization"):
    """A file of one dense layer, 2 units of 8 weights with a scale for every 4 of them."""
    codes = np.arange(-8, 8, dtype=np.int8).reshape(2, 8)
    details = schema.QuantizationParametersT()
    details.detailsType = getattr(schema.QuantizationDetails, kind)
    details.details = getattr(schema, f"{kind}T")()
    if kind == "BlockwiseQuantization":
        details.details.scales, details.details.blockSize = 3, 4
    weights = tensor([2, 8], codes, "INT8", quantization=details)
    parts = tensor(scales.shape, scales.astype(np.float16), "FLOAT16")
    graph = [tensor([1, 8]), weights, tensor([1, 2]), parts]
    return codes, file((graph, [operator("FULLY_CONNECTED", [0, 1], [2])], [0], [2]))


def test_blocks_of_a_kernel_have_scales_of_their_own():
    scales = np.array([[0.5, 1], [2, 4]])
    codes, content = blockwise(scales)
    (values,) = measure.weights(content).values()
    np.testing.assert_array_equal(values, codes * np.repeat(scales, 4, axis=1))


def test_codes_in_blocks_that_do_not_fit_or_in_another_form_have_no_values():
    _, content = blockwise(np.ones((2, 3)))
    with pytest.raises(ModelFileError, match="blocks"):
        measure.weights(content)
    _, content = blockwise(np.ones((2, 2)), "CustomQuantization")
    with pytest.raises(ModelFileError, match="neither as a whole"):
        measure.weights(content)
