"""The second step of grading: what a submission holds of what the assignment asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from labkit import runtime
from labkit.grading import intake
from labkit.grading.box.execution import Executed, Execution
from labkit.grading.environment import digest_of, environment_digest
from labkit.grading.names import readable
from labkit.grading.preparation import Prepared
from labkit.grading.reading import Content, Reader, Wanted, WantedLab

SCHEMA = 3  # of grade.json


@dataclass
class Student:
    """A submission on its way to its grade.

    Attributes:
        id, name, folder, late: of the submission, as `intake.Handed` has them.
        key: equal for submissions that must get the same grade.
        content: what was read of it.
        notebooks: what grade.json says of each, by lab.
        executions, executed: what is asked of the box and what came, by lab.
        models: content of the model files that are there, by name.
        absent: why a model file is not there, by name.
        figures: measured, by name of the model file.
    """

    id: str
    name: str
    folder: str
    late: bool
    key: str
    content: Content
    notebooks: dict[str, dict] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    executed: dict[str, Executed] = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict] = field(default_factory=dict)

    def clear(self) -> None:
        """As it is before anything of it was executed or measured."""
        self.executions, self.executed, self.figures = {}, {}, {}
        self.models, self.absent = dict(self.content.models), dict(self.content.absent)
        self.notebooks = {
            lab: {
                "lab": lab,
                "file": read.file,
                "status": read.status,
                "repairs": list(read.repairs),
                "errors": [],
            }
            for lab, read in self.content.labs.items()
        }

    def called(self, lab: str, place: int | None) -> str:
        """What the student knows a cell of an executed notebook as; "" if it is none."""
        cells = json.loads(self.executions[lab].notebook)["cells"]
        if place is None or not 0 <= place < len(cells):
            return ""
        return cells[place]["metadata"].get("labkit", "")


def wanted(prepared: Prepared) -> Wanted:
    """What is looked for in every submission."""
    assignment = prepared.assignment
    parameters = {
        "PROFILE": assignment.profile,
        "DATA": "real" if prepared.real else "synthetic",
        "SEED": 0,
        "OUT": "out",
    }
    labs = [
        WantedLab(
            lab=each.lab,
            accepted=each.accepted,
            given=prepared.labs[each.lab].given,
            parameters=parameters,
            exercises=tuple(prepared.labs[each.lab].cases),
            whole=assignment.execute == "all",
        )
        for each in assignment.notebooks
    ]
    models = {f.name: f.max_bytes for f in assignment.files if f.source == "submission"}
    return Wanted(tuple(labs), models)


def take_in(handed: intake.Handed, folder: str, reader: Reader, prepared: Prepared) -> Student:
    """Read a submission and find in it what the assignment asks for."""
    content = reader.read(handed)
    student = Student(
        id=readable(handed.id),
        name=content.name,
        folder=folder,
        late=content.late,
        key=_key(content, folder, prepared),
        content=content,
    )
    student.clear()
    for lab, read in content.labs.items():
        if read.execute:
            student.executions[lab] = _execution(read.execute, lab, prepared)
    return student


def take_executed(student: Student, name: str) -> None:
    """A model file that the executed notebooks had to write, or why there is none."""
    contents = [e.files[name] for e in student.executed.values() if name in e.files]
    if contents:
        student.models[name] = contents[-1]
    else:
        student.absent[name] = f"no executed notebook has written {name} (or it was too large)."


def _key(content: Content, folder: str, prepared: Prepared) -> str:
    return digest_of(
        [
            *(SCHEMA, content.files, content.problems, content.trouble, content.name, content.late),
            *(content.absent, [vars(lab) for lab in content.labs.values()]),
            *(prepared.assignment.digest, environment_digest(), prepared.isolation.backend),
            *(prepared.split.digest, [lab.source.digest for lab in prepared.labs.values()]),
            prepared.marks.get(folder, {}),
        ]
    )


def _execution(notebook: str, lab: str, prepared: Prepared) -> Execution:
    assignment, cases = prepared.assignment, prepared.labs[lab].cases
    return Execution(
        lab=lab,
        notebook=notebook,
        cases={
            name: {"cases": found.inputs, "answer": found.code} for name, found in cases.items()
        },
        files={f.name: f.max_bytes for f in assignment.files if f.source == "execution"},
        limits=assignment.limits,
        data=prepared.data,
        cache=str(prepared.drawn),
        threads=runtime.threads_each(prepared.settings.jobs),
        environment=environment_digest(),
        imports=prepared.imports,
    )
