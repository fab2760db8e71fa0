"""docs/adding_a_lab.md: its code, a lab of regression on arrays, runs as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_lab_is_added_as_the_document_says(tmp_path):
    text = (ROOT / "docs" / "adding_a_lab.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert re.findall(r"^\*\*(\d+)\.", text, re.MULTILINE) == [str(n) for n in range(1, 11)]
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert "average distance error (m)" in ran.stdout and "rings_int8.tflite" in ran.stdout
    results = json.loads((tmp_path / "out" / "results" / "12.json").read_text("utf-8"))
    assert 0 < results["metrics"]["average distance error"] < 0.3
    assert results["accuracy"] is None and results["bytes"] > 0
    assert (tmp_path / "out" / "baseline" / "rings_mlp-synthetic-quick-seed0.npz").exists()
