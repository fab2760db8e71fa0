"""Runs a `.tflite` file once, on zeros, which may end this process; started by `measure.trial`.

A program of its own that imports nothing of labkit, so that it starts quickly. Its argument is the
file's path. An error of the runtime's is none here: whoever runs the file will meet it.
"""

import sys

del sys.path[0]  # this folder, whose modules are labkit's

import contextlib  # noqa: E402

import numpy as np  # noqa: E402
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: E402


def main() -> None:
    """Load the file and run it once."""
    kernels = OpResolverType.BUILTIN_REF if sys.argv[2] == "reference" else OpResolverType.AUTO
    with contextlib.suppress(RuntimeError, ValueError):
        interpreter = Interpreter(sys.argv[1], experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        interpreter.invoke()


if __name__ == "__main__":
    main()
