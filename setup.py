"""Puts the labs into a built labkit; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What `labkit labs get`, `labkit run` and `labkit grade` read outside a checkout.
COURSE = ("notebooks/*.ipynb", "solutions/*.py", "grading/**/*", "data/README.md")


class BuildWithLabs(build_py):
    """Copies the course's files to labkit/course_files; an editable installation needs none."""

    def run(self):
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for pattern in COURSE:
            for path in sorted(ROOT.glob(pattern)):
                if path.is_file() and "__pycache__" not in path.parts:
                    target = Path(self.build_lib, "labkit", "course_files", path.relative_to(ROOT))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithLabs})
