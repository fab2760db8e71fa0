# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 90 · Rehearsal
#
# A lab of one minute, made to try the grader: two exercises, one question, one file.

# %% tags=["parameters"]
from labkit import runtime

PROFILE = runtime.default_profile()
DATA = runtime.default_data_mode()
SEED = 0
OUT = runtime.default_out()

# %% tags=["setup"]
import numpy as np

from labkit.checks import check

# %% [markdown]
# ### Your turn: the step of a grid


# %% tags=["exercise"] exercise="step"
def step(low, high, bits):
    """Distance of the 2**bits codes of an affine grid over [low, high]."""
    ### BEGIN SOLUTION
    return (high - low) / (2**bits - 1)
    ### END SOLUTION


# %% tags=["check"] exercise="step" points=2
with check(
    "step",
    exercise="step",
    what="eight bits over [-1, 1].",
    why="half of it is the largest rounding error.",
) as c:
    c.close("[-1, 1]", step(-1.0, 1.0, 8), 2 / 255,
            misconceptions=[(2 / 256, "256 codes have 255 steps between them.")])

# %% [markdown]
# ### Your turn: rounding to the grid


# %% tags=["exercise"] exercise="rounded"
def rounded(x, scale):
    """x (any shape) rounded to multiples of scale."""
    x = np.asarray(x)
    ### BEGIN SOLUTION
    return scale * np.round(x / scale)
    ### END SOLUTION


# %% tags=["check"] exercise="rounded" points=3
with check(
    "rounded",
    exercise="rounded",
    what="three numbers.",
    why="this is what a quantised weight is.",
) as c:
    c.close("three numbers", rounded([0.2, 0.3, -1.1], 0.5), [0, 0.5, -1],
            misconceptions=[([0, 0, -1], "Round to the nearest, do not cut off.")])

# %% [markdown] tags=["written"] question="why_steps" points=5
# **Why does a grid of 256 codes have 255 steps?**
#
# <!-- BEGIN SOLUTION -->
# A step lies between two neighbouring codes, and 256 codes in a row have 255 gaps.
# <!-- END SOLUTION -->

# %% tags=["finish"]
print("finished")
