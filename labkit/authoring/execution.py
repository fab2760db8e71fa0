"""One notebook executed with papermill."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbformat import NotebookNode

from labkit import runtime


class _Kernel(AsyncKernelManager):
    """A kernel that keeps what C++ code prints to its notebook: ipykernel copies it to stderr."""

    async def start_kernel(self, **options):
        await super().start_kernel(stderr=subprocess.DEVNULL, **options)


def execute_notebook(
    notebook: NotebookNode,
    result: Path,
    parameters: dict,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    progress: bool = False,
) -> str:
    """Execute a notebook with papermill into `result`; returns "" or the error in one line."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    result.parent.mkdir(parents=True, exist_ok=True)
    source = result.with_suffix(".source.ipynb")
    nbformat.write(notebook, source)
    try:
        with runtime.environment(environment or {}):
            papermill.execute_notebook(
                str(source),
                str(result),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=progress,
                cwd=str(cwd) if cwd else None,
                kernel_manager_class=_Kernel,
                # It warns of its own defaults, and calls the interrupt that ends it an error.
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
    except PapermillExecutionError as error:
        return f"cell {error.cell_index} stopped with {error.ename}: {error.evalue}"
    except DeadKernelError:
        return "the kernel died: out of memory, or a crash in a library"
    finally:
        source.unlink(missing_ok=True)
    return ""
