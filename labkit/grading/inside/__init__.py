"""What runs inside the box, beside a submission: none of it is trusted, none of it knows an answer.

`runner` executes a notebook, `answers` calls a student's function in the notebook's own kernel,
`measuring` reads and runs model files. They talk to the outside through plain values in files.
"""

STARTED = "labkit: started"


def started() -> None:
    """To be called before the first line of untrusted code: what fails before is the machine's."""
    print(STARTED, flush=True)
