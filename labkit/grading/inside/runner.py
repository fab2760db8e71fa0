"""Executes one prepared notebook inside the sandbox. Run as a program in its scratch folder.

A failing cell does not stop the ones after it (papermill would): each exercise stands for itself.
What it writes about the run is shown to people and never scored.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from labkit.grading.box import forks

NOTEBOOK, EXECUTED, RUN = "notebook.ipynb", "executed.ipynb", "run.json"
#: What this program and a kernel need, a statement a line.
IMPORTS = "import nbclient\nimport nbformat\nimport ipykernel.ipkernel\nimport ipykernel.kernelapp"


def main() -> None:
    """Execute every cell of the notebook in the current folder and write what came of it."""
    import nbformat
    from jupyter_client import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.client import CellExecutionComplete
    from nbclient.exceptions import DeadKernelError

    from labkit.grading.inside import started

    # Before there is a loop of events, which it must not share.
    forks_kernel = sys.platform == "linux"
    if forks_kernel:
        kernel = forks.forked(_be_kernel, stdin=subprocess.PIPE, start_new_session=True)

    class Client(NotebookClient):
        def process_message(self, *arguments):
            try:
                return super().process_message(*arguments)
            except CellExecutionComplete:
                raise
            except Exception:  # an output that nbformat refuses is dropped, the cell goes on
                return None

    class Manager(AsyncKernelManager):
        """Of a kernel that is a fork of this process, with what this process has imported."""

        async def _async_launch_kernel(self, kernel_cmd, **options):
            arguments = kernel_cmd[kernel_cmd.index("ipykernel_launcher") :]
            with kernel.stdin:
                kernel.stdin.write(json.dumps(arguments).encode())
            kernel.stdin, self.provisioner.process = None, kernel

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    run = {"cell": None, "errors": [], "died": False, "finished": False}

    def note(**facts) -> None:
        run.update(facts)
        Path(RUN).write_text(json.dumps(run), encoding="utf-8")

    def on_start(cell, cell_index) -> None:
        note(cell=cell_index)

    def on_error(cell, cell_index, execute_reply) -> None:
        content = execute_reply["content"]
        error = f"{content.get('ename')}: {content.get('evalue')}"[:500]
        note(errors=[*run["errors"], {"cell": cell_index, "error": error}])

    client = Client(
        notebook,
        kernel_name="python3",
        kernel_manager_class=Manager if forks_kernel else AsyncKernelManager,
        timeout=None,
        allow_errors=True,
        startup_timeout=120,
        extra_arguments=["--IPKernelApp.log_level=50", "--HistoryManager.enabled=False"],
        on_cell_start=on_start,
        on_cell_error=on_error,
    )
    with client.setup_kernel():
        started()
        try:
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            note(finished=True)
        except DeadKernelError:
            note(died=True)
        text = nbformat.writes(notebook).encode("utf-8", "replace")  # half characters, too
        Path(EXECUTED).write_bytes(text)


def _be_kernel() -> None:
    """Become the kernel that standard input describes, by its command line."""
    from ipykernel import kernelapp

    sys.argv = json.loads(sys.stdin.read())
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    sys.exit(main())
