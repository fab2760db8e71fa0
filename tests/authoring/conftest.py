"""A small course of one lab in a temporary folder."""

import pytest

LAB = '''# %% [markdown]
# # Lab 00 · Tiny

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %%
import json
from pathlib import Path

from labkit.checks import check

# %% tags=["exercise"] exercise="double"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    secret_answer = x + x
    return secret_answer
    ### END SOLUTION


# %% tags=["check"] exercise="double" points=2
with check("doubling", exercise="double", what="three.", why="because.") as c:
    c.equal("3", double(3), 6)

# %%
# NBVAL_CHECK_OUTPUT
print("six", double(3))

# %% [markdown] tags=["written"] question="why" points=3
# **Why?**
#
# <!-- BEGIN SOLUTION -->
# Because of the secret reason.
# <!-- END SOLUTION -->

# %%
folder = Path(OUT) / "results"
folder.mkdir(parents=True, exist_ok=True)
result = {"accuracy": 0.5, "bytes": 10, "seed": SEED, "profile": PROFILE, "data": DATA}
(folder / "00.json").write_text(json.dumps(result))
'''


@pytest.fixture
def course(tmp_path):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "solutions" / "00_tiny.py").write_text(LAB, encoding="utf-8")
    return tmp_path


@pytest.fixture
def edit(course):
    """Replace text in the tiny lab."""

    def replace(old, new):
        path = course / "solutions" / "00_tiny.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace
