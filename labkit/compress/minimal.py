"""A TFLite file without the parts that running it does not need."""

from __future__ import annotations

from labkit import flatbuffer
from labkit.flatbuffer import schema

#: Types of biases beside int8 and int16 activations.
_BIASES = (schema.TensorType.INT32, schema.TensorType.INT64)
#: Of the outputs' scale, by which LiteRT lets a bias's scale differ (`kernel_util.cc`).
_SCALE_GAP = 0.02


def without_names(content: bytes) -> bytes:
    """The same model without names of tensors, signatures, descriptions and metadata.

    On a network of a few thousand weights they are a sixth of the file. What is lost is what a
    reader of the file would want: `measure.inspect` shows operators in place of layers then.

    Args:
        content: of a `.tflite` file.

    Returns:
        the content of a smaller one, which computes the same.

    Raises:
        ModelFileError: not a TFLite file.
    """
    model = flatbuffer.unpack(content)
    model.description = model.metadata = model.metadataBuffer = model.signatureDefs = None
    for graph in model.subgraphs:
        graph.name = None
        for tensor in graph.tensors:
            tensor.name = None
    _drop_unused_buffers(model)
    return flatbuffer.pack(model)


def for_device(content: bytes) -> bytes:
    """The same model without what TensorFlow Lite Micro does not read.

    Names go as in `without_names`; the scales of biases, which are those of input times weights and
    take twelve bytes per channel; the ranges that calibration has noted; what is there twice, as
    the zero points of channels, is written once. A file of some thousand int8 weights halves.

    TensorFlow Lite Micro computes the same, to the last bit. LiteRT's fast kernels do not take
    biases without scales: it uses the reference ones for such a file. These ask dense layers for a
    scale that differs from that of input times weights by at most 2 % of the outputs': the biases
    that would fail there keep theirs.

    Args:
        content: of a `.tflite` file, best converted with a fixed batch of one: a free one brings
            operators that compute shapes.

    Returns:
        the content of a smaller one.

    Raises:
        ModelFileError: not a TFLite file.
    """
    model = flatbuffer.unpack(without_names(content))
    for graph in model.subgraphs:
        asked_for = _asked_for(model, graph)
        for index, tensor in enumerate(graph.tensors):
            tensor.shapeSignature = None
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None
            is_bias = tensor.type in _BIASES and _is_constant(model, tensor)
            if is_bias and index not in asked_for:
                tensor.quantization = None
    return flatbuffer.pack(model, share=True)


def _asked_for(model: schema.ModelT, graph: schema.SubGraphT) -> set[int]:
    """Biases of dense layers whose scale LiteRT looks at, and would miss."""
    found = set()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        dense = max(code.builtinCode, code.deprecatedBuiltinCode)
        if dense != schema.BuiltinOperator.FULLY_CONNECTED or len(operator.inputs) < 3:
            continue
        x, weights, y = (
            _scales(graph, index) for index in (*operator.inputs[:2], operator.outputs[0])
        )
        if len(x) == len(weights) == len(y) == 1 and x[0] * weights[0] > _SCALE_GAP * y[0]:
            found.add(int(operator.inputs[2]))
    return found


def _scales(graph: schema.SubGraphT, index: int) -> list[float]:
    quantization = graph.tensors[index].quantization
    scales = None if quantization is None else quantization.scale
    return [] if scales is None else list(scales)


def _is_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    return model.buffers[tensor.buffer].data is not None


def _drop_unused_buffers(model: schema.ModelT) -> None:
    """Remove the buffers that no tensor holds (those of the metadata), and count anew."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    used = sorted({0} | {tensor.buffer for tensor in tensors})  # buffer 0 is the empty one
    model.buffers = [model.buffers[index] for index in used]
    place = {index: position for position, index in enumerate(used)}
    for tensor in tensors:
        tensor.buffer = place[tensor.buffer]
