import json
import shutil
import subprocess

import numpy as np
import pytest

from labkit.authoring.pages import PageError, network, npm, phone, sources
from labkit.har import pipeline

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here, which runs JavaScript")


def javascript(code, tmp_path):
    """What node prints, read as JSON, of code that has everything of sensors.js."""
    shutil.copy(sources("phone") / "sensors.js", tmp_path / "sensors.mjs")
    (tmp_path / "test.mjs").write_text(
        'import * as S from "./sensors.mjs";\nconst tell = (x) => console.log(JSON.stringify(x));\n'
        + code
    )
    done = subprocess.run(
        [NODE, "test.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


EVENT = """
const event = (a, r) => ({
  accelerationIncludingGravity: { x: a[0], y: a[1], z: a[2] },
  rotationRate: { alpha: r[0], beta: r[1], gamma: r[2] },
});
"""


@needs_node
def test_units_and_axes_of_a_sample(tmp_path):
    """The edge that is up says +1 g along x; the screen's normal stays z; turns go with it."""
    found = javascript(
        EVENT
        + """
        const up = { top: [0, 1, 0], right: [1, 0, 0], bottom: [0, -1, 0], left: [-1, 0, 0] };
        tell(Object.entries(up).map(([edge, v]) => [
          S.sample(event(v.map((x) => x * 9.80665), [0, 0, 180]), edge, 1),
          S.sample(event([0, 0, -9.80665], v.map((x) => x * 90)), edge, -1),
        ]));
        """,
        tmp_path,
    )
    for gravity_up, screen_up in found:
        np.testing.assert_allclose(gravity_up, [1, 0, 0, 0, 0, np.pi], atol=1e-12)
        np.testing.assert_allclose(screen_up, [0, 0, 1, np.pi / 2, 0, 0], atol=1e-12)


@needs_node
def test_wearings_turn_the_phone_and_do_not_mirror_it(tmp_path):
    found = javascript("tell(S.WEARINGS);", tmp_path)
    assert set(found) == {"top", "right", "bottom", "left"}
    for matrix in found.values():
        assert np.linalg.det(matrix) == pytest.approx(1)


@needs_node
def test_a_device_without_sensors_gives_no_sample(tmp_path):
    code = (
        "tell([S.sample(event([null, null, null], [1, 2, 3]), 'top', 1), S.sample({}, 'top', 1)]);"
    )
    assert javascript(EVENT + code, tmp_path) == [None, None]


@needs_node
def test_which_way_acceleration_counts_is_told_by_the_angles(tmp_path):
    """Screen up on a table, upright, on its right side, upside down; of both kinds of platforms."""
    found = javascript(
        EVENT
        + """
        const places = [[0, 0, [0, 0, 1]], [90, 0, [0, 1, 0]], [0, 90, [-1, 0, 0]],
                        [-90, 0, [0, -1, 0]], [30, 40, null]];
        const all = [];
        for (const truth of [1, -1])
          for (const userAgent of ["Linux; Android", "iPhone"])
            for (let [beta, gamma, up] of places) {
              const [b, c] = [beta, gamma].map((x) => (x * Math.PI) / 180);
              up ??= [-Math.cos(b) * Math.sin(c), Math.sin(b), Math.cos(b) * Math.cos(c)];
              const sign = new S.Sign({ userAgent, platform: "" });
              const before = sign.value;
              sign.move(event(up.map((x) => 9.8 * x * truth), [0, 0, 0]));
              const still = sign.value;
              sign.orient({ beta, gamma });
              sign.move(event(up.map((x) => 9.8 * x * truth), [0, 0, 0]));
              all.push([truth, userAgent, before, still, sign.value]);
            }
        tell(all);
        """,
        tmp_path,
    )
    assert len(found) == 20
    for truth, agent, before, still, after in found:
        assert before == still == (-1 if agent == "iPhone" else 1)
        assert after == truth


@needs_node
def test_resampling(tmp_path):
    """Lines between neighbours, at 60 Hz and at odd times; a gap begins anew."""
    found = javascript(
        """
        const times = [0, 1, 2, 3, 4, 5, 6].map((i) => i / 60).concat([0.13, 0.131, 0.19]);
        let gaps = 0;
        const resampler = new S.Resampler(50, () => (gaps += 1));
        const due = times.flatMap((t) => resampler.push(t, [t, 2 * t, 0, 0, 0, 1]));
        const repeated = resampler.push(0.19, [9, 9, 9, 9, 9, 9]);
        const after = resampler.push(1.5, [5, 0, 0, 0, 0, 0]);
        tell({ due, repeated, after, gaps });
        """,
        tmp_path,
    )
    expected = np.arange(10) / 50
    np.testing.assert_allclose(np.array(found["due"])[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(np.array(found["due"])[:, 1], 2 * expected, atol=1e-12)
    assert found["repeated"] == [] and found["gaps"] == 1
    assert found["after"] == [[5, 0, 0, 0, 0, 0]]


def test_without_npm_the_page_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PageError, match="npm is not installed"):
        phone.build(tmp_path / "phone")
    assert not (tmp_path / "phone").exists()


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm here")
def test_another_package_than_the_locked_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    locked = tmp_path / "npm"
    shutil.copytree(sources("phone") / "npm", locked)
    lock = json.loads((locked / "package-lock.json").read_text())
    lock["packages"]["node_modules/@litertjs/wasm-utils"]["integrity"] = "sha512-" + "A" * 86 + "=="
    (locked / "package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(PageError, match="npm cannot install"):
        npm.packages(locked)
    assert not list((tmp_path / "cache").glob("npm-*"))


def test_every_package_is_pinned_by_its_hash():
    lock = json.loads((sources("phone") / "npm" / "package-lock.json").read_text())
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert set(packages) == {f"node_modules/@litertjs/{n}" for n in ("core", "wasm-utils")}
    for package in packages.values():
        assert package["integrity"].startswith("sha512-") and package["license"] == "Apache-2.0"
        assert "resolved" not in package


def test_the_network_of_lab_08(tmp_path):
    with pytest.raises(PageError, match=r"har_micro.tflite: run lab 08 with OUT="):
        network.of_lab(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "har_micro.tflite").write_bytes(b"content")
    steps = pipeline.uci_har([0] * 9, [1] * 9, 4)
    steps.write(tmp_path / "har_micro.json")
    artefact = {"file": "har_micro.tflite", "metrics": {"accuracy": 0.9736}}
    results = {"profile": "full", "data": "real", "artefacts": [artefact]}
    (tmp_path / "results" / "08.json").write_text(json.dumps(results))
    found = network.of_lab(tmp_path)
    assert (found.content, found.pipeline) == (b"content", steps)
    assert "recordings of UCI HAR" in found.trained and "97.4 %" in found.trained
