"""Runs TensorFlow Lite Micro, which may end its process; started by `labkit.measure.micro`.

A program of its own that imports nothing of labkit, so that it starts quickly. Its argument is a
folder of tasks `N.npz`; it writes `N.log`, what the C++ code printed, and `N.out.npz`, the result.
A task without a result is one that the process did not survive.
"""

import sys

del sys.path[0]  # this folder, whose modules are labkit's

import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from tflite_micro import runtime  # noqa: E402

_LARGEST = 1 << 26  # bytes of arena
_ALIGNMENT = 16
_SECONDS = 20  # for one run on zeros


def main() -> None:
    """Do the tasks of a folder, in their order, but for those that have a result."""
    folder = Path(sys.argv[1])
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        log = folder / f"{number}.log"
        with log.open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        with np.load(folder / f"{number}.npz") as task:
            task = dict(task)
        notes, arrays = _tables(task) if "tables" in task else _run(task, log)
        temporary = folder / f"{number}.tmp.npz"
        np.savez(temporary, notes=json.dumps(notes), **arrays)
        temporary.rename(folder / f"{number}.out.npz")


def _run(task: dict, log: Path) -> tuple[dict, dict]:
    """Measure the arena, then run the samples."""
    model = task["model"].tobytes()
    try:
        interpreter = _started(model, _LARGEST)
        interpreter.print_allocations()
    except (RuntimeError, ValueError) as error:
        return {"error": str(error)}, {}
    printed = log.read_text("utf-8", "replace")
    total, head = (int(re.search(rf"{what} (\d+)", printed)[1]) for what in ("total", "head"))
    notes = {"arena": _smallest(model, total), "head": head}
    inputs = [task[name] for name in sorted(task) if name.startswith("x")]
    if not inputs:
        return notes, {}
    outputs = []
    for sample in zip(*inputs, strict=True):
        interpreter.reset()  # an LSTM's state would survive from one sample to the next
        for place, x in enumerate(sample):
            interpreter.set_input(x[None], place)
        interpreter.invoke()
        outputs.append([interpreter.get_output(i) for i in range(int(task["outputs"]))])
    arrays = (np.concatenate(part) for part in zip(*outputs, strict=True))
    return notes, {f"y{i}": array for i, array in enumerate(arrays)}


def _started(model: bytes, arena: int) -> runtime.Interpreter:
    """An interpreter that has run once, on zeros; RuntimeError if it cannot."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
    for place in range(runtime.convert_bytearray_to_object(model).subgraphs[0].inputs.size):
        details = interpreter.get_input_details(place)
        interpreter.set_input(np.zeros(details["shape"], details["dtype"]), place)
    interpreter.invoke()
    return interpreter


def _smallest(model: bytes, total: int) -> int:
    """The smallest arena that works, a multiple of the alignment.

    What the allocator has counted is where it begins: planning may have needed more for a moment.
    """

    def works(units: int) -> bool:
        # In a process of its own: the interpreter may end it where memory is short.
        process = os.fork()
        if process:
            return os.waitpid(process, 0)[1] == 0
        signal.alarm(_SECONDS)
        try:
            _started(model, units * _ALIGNMENT)
            os._exit(0)
        except BaseException:
            os._exit(1)

    fails, fits = 0, -(-total // _ALIGNMENT)
    while not works(fits):
        fails, fits = fits, 2 * fits
    if works(fits - 1):
        fits -= 1
    else:
        fails = fits - 1
    while fits - fails > 1:
        middle = (fails + fits) // 2
        fails, fits = (fails, middle) if works(middle) else (middle, fits)
    return fits * _ALIGNMENT


def _tables(task: dict) -> tuple[dict, dict]:
    """Replace constants by indices into look-up tables."""
    from tflite_micro.tensorflow.lite.micro.compression import compress, compressor, spec

    specs = []
    for subgraph, tensor, bits, axis in json.loads(str(task["tables"])):
        mode = spec.PerTensor() if axis < 0 else spec.PerChannel(axis)
        specs.append(spec.Tensor(subgraph, tensor, [spec.LookUpTableCompression(bits, mode)]))
    try:
        content = _without_scales(bytes(compress(task["model"].tobytes(), specs)))
    except compressor.CompressionError as error:
        return {"error": str(error)}, {}
    return {}, {"model": np.frombuffer(content, np.uint8)}


def _without_scales(content: bytes) -> bytes:
    """Packed constants without the scales of what they unpack to, which nothing reads.

    The package leaves them, twelve bytes per channel, on tensors whose shape they do not fit.
    """
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.tools import tflite_flatbuffer_align_wrapper as align

    model = runtime.convert_bytearray_to_object(content)
    for graph in model.subgraphs:
        decoders = (
            operator
            for operator in graph.operators
            if model.operatorCodes[operator.opcodeIndex].customCode == b"TFLM_DECODE"
        )
        for index in {index for operator in decoders for index in operator.inputs[::2]}:
            graph.tensors[index].quantization = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    with tempfile.TemporaryDirectory() as name:
        packed, aligned = Path(name, "packed"), Path(name, "aligned")
        packed.write_bytes(builder.Output())
        align.align_tflite_model(str(packed), str(aligned))
        return aligned.read_bytes()


if __name__ == "__main__":
    main()
