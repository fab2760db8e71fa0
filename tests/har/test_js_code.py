import shutil
import subprocess

import numpy as np
import pytest

from labkit.har import export, js_code
from labkit.har.pipeline import Clip, Gravity, LowPass, Median, Pipeline, uci_har

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here, which runs JavaScript")

DRIVER = """\
import { readFileSync, writeFileSync } from "node:fs";
import * as P from "./preprocess.mjs";
const samples = new Float32Array(readFileSync("samples.bin").buffer);
const stream = new P.Stream();
const length = Number(process.argv[2]) * 6;
const windows = [];
for (let start = 0; start < samples.length; start += length) {
  stream.reset();
  for (let i = start; i < start + length; i += 6) {
    const window = stream.push(samples.subarray(i, i + 6));
    if (window) windows.push(window.slice());
  }
}
const all = new Float32Array(windows.length * P.WINDOW * P.CHANNELS);
windows.forEach((window, i) => all.set(window, i * window.length));
writeFileSync("windows.bin", Buffer.from(all.buffer));
"""


def windows(folder, pipeline, samples):
    """What node makes of recordings (N, time, 6): (windows, window, channels)."""
    (folder / "preprocess.mjs").write_text(js_code.preprocessing(pipeline))
    (folder / "driver.mjs").write_text(DRIVER)
    samples.tofile(folder / "samples.bin")
    command = [NODE, "driver.mjs", str(samples.shape[1])]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    found = np.fromfile(folder / "windows.bin", np.float32)
    return found.reshape(-1, pipeline.window, pipeline.channels)


@needs_node
def test_javascript_gives_python_s_bits_on_a_thousand_windows(pipeline, tmp_path):
    samples = export.recordings(100, 128 + 9 * 64, pipeline.rate, 0)
    found = windows(tmp_path, pipeline, samples)
    expected = np.concatenate([pipeline.windows(recording) for recording in samples])
    assert len(expected) == 1000
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@needs_node
@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Median(), Clip(0.3)),
        (LowPass(4, 5.0), Gravity(2, 1.0), Gravity(1, 1.0)),
        uci_har([0.1] * 9, [0.7] * 9, 2).steps,
    ],
)
def test_javascript_of_other_pipelines(steps, tmp_path):
    pipeline = Pipeline(steps, window=20, hop=7)
    samples = export.recordings(5, 83, 50, 3)
    found = windows(tmp_path, pipeline, samples)
    expected = np.concatenate([pipeline.windows(recording) for recording in samples])
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_numbers_are_the_float32_they_were():
    text = js_code.preprocessing(Pipeline((LowPass(3, 0.3), Clip(0.1))))
    exact = repr(float(np.float32(0.1)))
    assert f"larger(-{exact}, smaller(x[i], {exact}))" in text
    assert "float" not in text.replace("Float32Array", "")
