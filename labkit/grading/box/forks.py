"""Children that go on in this interpreter, where others start a program: what it has imported is
there. POSIX alone.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Callable

_DESCRIPTORS = 1 << 20


def forked(function: Callable[[], None], **options) -> subprocess.Popen:
    """A child that goes on with a function, as `Popen` starts a program.

    Args:
        options: of `subprocess.Popen`.
    """

    def go_on() -> None:
        close_descriptors()  # with the pipe by whose end `Popen` learns that all went well
        finish(function)

    return subprocess.Popen(["fork"], preexec_fn=go_on, restore_signals=False, **options)


def close_descriptors() -> None:
    """Close all but the standard streams."""
    os.closerange(3, _DESCRIPTORS)


def finish(function: Callable[[], None]) -> None:
    """Call a function, with the standard streams as they are by now, and end as a program would."""
    code = 1
    try:
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", errors="surrogateescape", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1, closefd=False)
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code & 0xFF)


def run_python(command: list[str], environment: dict[str, str]) -> None:
    """Go on as Python would with some arguments.

    Args:
        command: -m MODULE or -c CODE.
        environment: variables besides this interpreter's.
    """
    os.environ.update(environment)
    tempfile.tempdir = None  # it may have been asked for, with other variables
    option, what = command
    sys.argv = [option]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), vars(module))
