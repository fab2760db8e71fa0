"""The page that recognises activities: with a phone's sensors, with recordings, without network."""

import re
import shutil
import time

import numpy as np
import pytest
from forked_kernels import PATIENCE

from labkit.authoring.pages import PageError, phone
from labkit.datasets import har_simulator
from labkit.har import export
from labkit.har.pipeline import Pipeline
from labkit.har.stream import Exponential, Recogniser

WALKING, LAYING = 0, 5
SUBJECT = 24
SENSORS = ("accelerometer", "linear-acceleration", "gyroscope")
#: From the axes of a sample (up, right, forward) to those of a phone whose top edge is up.
TO_PHONE = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def site(chromium, serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    try:
        phone.build(folder / "phone", home="../index.html")
    except PageError as error:
        pytest.skip(str(error))
    (folder / "index.html").write_text("<!doctype html><title>course</title>")
    with serve(folder) as server:
        yield server


@pytest.fixture(scope="module")
def page(opened, site):
    """The page as a phone shows it, loaded."""
    screen = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
    sensors = ["accelerometer", "gyroscope"]  # which the shell does not allow by itself
    with opened(is_mobile=True, permissions=sensors, **screen) as page:
        page.goto(f"{site.address}/phone/index.html")
        until(page, lambda: text(page, "status").startswith("Ready"))
        yield page


def until(page, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        said = f"the page says {text(page, 'status')!r}, {text(page, 'label')!r}"
        assert time.monotonic() < end, said
        page.wait_for_timeout(100)


def text(page, name):
    return page.locator(f"#{name}").inner_text()


def press(page, name):
    page.click(f"#{name}")


def windows(page):
    return int(text(page, "windows"))


def replay(page, activity):
    """Label and history after two windows of a recording."""
    page.select_option("#recording", label=activity)
    press(page, "replay")
    until(page, lambda: windows(page) >= 2)
    # At once: a recording that has ended meanwhile would begin anew.
    return page.evaluate(
        """
        () => {
          const [button, label, history] = ["replay", "label", "history"].map(
            (id) => document.getElementById(id));
          const found = [label.textContent, history.textContent];
          if (button.textContent === "Stop") button.click();
          return found;
        }
        """
    )


def worn(activity, seconds):
    """What a phone whose top edge is up measures: m/s² (N, 3) and rad/s (N, 3), 50 a second."""
    count = int(50 * seconds)
    samples = har_simulator.record(np.array([activity]), np.array([SUBJECT]), count, 8)[0]
    return samples[:, :3] @ TO_PHONE.T * 9.80665, samples[:, 3:] @ TO_PHONE.T


@pytest.fixture
def feel(page):
    """A function that gives Chromium's virtual sensors a reading: acceleration, turning."""
    tools = page.context.new_cdp_session(page)

    def enable(enabled):
        for kind in SENSORS:
            options = {"enabled": enabled, "type": kind, "metadata": {"available": True}}
            tools.send("Emulation.setSensorOverrideEnabled", options)

    def give(acceleration, turning):
        for kind, xyz in zip(SENSORS, (acceleration, 0 * acceleration, turning), strict=True):
            reading = {"xyz": dict(zip("xyz", map(float, xyz), strict=True))}
            given = {"type": kind, "reading": reading}
            tools.send("Emulation.setSensorOverrideReadings", given)

    enable(True)
    yield give
    enable(False)
    tools.detach()


def test_it_says_what_it_is_and_what_it_weighs(page, site):
    size = (site.folder / "phone" / "har_micro.tflite").stat().st_size
    body = page.locator("body").inner_text()
    assert f"A network of {size:,} bytes" in body and "built without lab 08's files" in body
    assert "This network recognises all of them." in body
    assert "works offline from now on" in text(page, "status")
    assert text(page, "runtime").endswith("MB")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.get_by_role("link", name="← The course").is_visible()


def test_without_sensors_it_says_so_and_replays(page, site):
    press(page, "sensors")
    until(page, lambda: "no motion sensors" in text(page, "status"))
    asked = len(site.asked)
    label, history = replay(page, "walking")
    assert label == "walking" and re.match(r"So far: walking \d s", history)
    assert page.locator("#heard").text_content() == "walking"
    assert len(site.asked) == asked


def test_whoever_refuses_the_sensors_is_told(page):
    """As iOS asks for them; Chromium does not ask."""
    page.evaluate("DeviceMotionEvent.requestPermission = async () => 'denied'")
    try:
        press(page, "sensors")
        until(page, lambda: "did not allow" in text(page, "status"))
        assert text(page, "sensors") == "Use the sensors"
    finally:
        page.evaluate("delete DeviceMotionEvent.requestPermission")


def test_walking_and_lying_as_events_tell(page, site):
    """Sixty events a second with times of their own, so that a slow machine does not matter."""
    asked = len(site.asked)
    time_of_event, rows = np.arange(0, 9.9, 1 / 60), []
    for activity in (WALKING, LAYING):
        acceleration, turning = worn(activity, 10)
        both = np.hstack([acceleration, np.degrees(turning)])
        at = [np.interp(time_of_event, np.arange(500) / 50, column) for column in both.T]
        rows.append(np.column_stack(at).tolist())
    press(page, "sensors")
    labels = page.evaluate(
        """
        async (activities) => {
          const { recogniser } = await import("./page.js");
          const labels = [];
          let time = performance.now();
          for (const rows of activities) {
            for (const [x, y, z, alpha, beta, gamma] of rows) {
              const event = new DeviceMotionEvent("devicemotion", {
                accelerationIncludingGravity: { x, y, z },
                rotationRate: { alpha, beta, gamma },
                interval: 16,
              });
              time += 1000 / 60;
              Object.defineProperty(event, "timeStamp", { value: time });
              dispatchEvent(event);
            }
            await recogniser.queue;
            labels.push(document.getElementById("label").textContent);
          }
          return labels;
        }
        """,
        rows,
    )
    assert labels == ["walking", "laying"]
    # A window ends with the 128th sample, the 192nd, …
    assert windows(page) == 1 + (2 * len(time_of_event) * 50 // 60 - 128) // 64
    assert text(page, "rate") == "60 samples a second, resampled to 50"
    assert re.fullmatch(r"So far: walking \d+ s → .*laying \d+ s", text(page, "history"))
    press(page, "sensors")
    assert text(page, "status") == "Stopped."
    assert len(site.asked) == asked, "the page has asked its server for something"


def test_walking_and_lying_with_the_browser_s_sensors(page, feel):
    """From Chromium's virtual sensors on, in real time."""
    press(page, "sensors")
    acceleration, turning = worn(LAYING, 1)
    feel(acceleration[0], turning[0])
    until(page, lambda: windows(page) >= 2)
    assert text(page, "label") == "laying"
    acceleration, turning = worn(WALKING, 40)
    start = time.monotonic()
    readings = 0
    while text(page, "label") != "walking":
        for _ in range(20):
            passed = time.monotonic() - start
            assert passed < 40, f"walking is taken for {text(page, 'label')}"
            feel(acceleration[int(50 * passed)], turning[int(50 * passed)])
            readings += 1
        if passed > 5 and readings < 30 * passed:
            pytest.skip(f"{readings / passed:.0f} readings a second are no walk: too slow here")
    press(page, "sensors")


def test_it_gives_what_python_gives_on_a_thousand_windows(page, site):
    """Windows and smoothing bit for bit; kernels on WebAssembly round some sums the other way."""
    folder = site.folder / "phone"
    pipeline = Pipeline.read(folder / "har_micro.json")
    recordings = export.recordings(100, pipeline.window + 9 * pipeline.hop, pipeline.rate, 5)
    whole = np.concatenate([_windows(rows, pipeline) for rows in pipeline.filtered(recordings)])
    recordings.tofile(folder / "recordings_of_the_test.bin")
    whole.tofile(folder / "windows_of_the_test.bin")
    different, answers = page.evaluate(
        """
        async (length) => {
          const { recogniser } = await import("./page.js");
          const { Recogniser } = await import("./recogniser.js");
          const read = async (name) => (await fetch(`${name}_of_the_test.bin`)).arrayBuffer();
          const samples = new Float32Array(await read("recordings"));
          const expected = new Uint32Array(await read("windows"));
          let [different, seen] = [0, 0];
          const answers = [];
          const run = (window) => {
            const bits = new Uint32Array(window.buffer);
            for (const one of bits) different += one !== expected[seen++];
            return recogniser.run(window);
          };
          const mine = new Recogniser(run, (answer) => answers.push(answer));
          for (let start = 0; start < samples.length; start += 6 * length) {
            mine.reset();
            for (let i = start; i < start + 6 * length; i += 6) {
              mine.push(samples.subarray(i, i + 6));
            }
            await mine.queue;
          }
          return [different, answers.map((a) => [a.index, a.confidence, ...a.probabilities])];
        }
        """,
        recordings.shape[1],
    )
    assert (different, len(answers)) == (0, 1000)
    index, confidence, probabilities = np.split(np.float32(answers), [1, 2], axis=1)
    expected = Recogniser(folder / "har_micro.tflite", pipeline).probabilities(whole)
    assert (probabilities.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.995
    assert (probabilities != expected).mean() < 0.05
    assert np.abs(probabilities - expected).max() < 0.05
    for start in range(0, 1000, 10):
        smoother = Exponential(3)
        for i in range(start, start + 10):
            smooth = smoother.push(probabilities[i])
            assert smooth == (index[i, 0], confidence[i, 0])


def _windows(rows, pipeline):
    starts = range(0, len(rows) - pipeline.window + 1, pipeline.hop)
    return np.stack([rows[i : i + pipeline.window] for i in starts])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_a_reader_s_way(page, violations, scheme):
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []


def test_everything_is_reached_with_the_keyboard(page):
    script = "[...document.querySelectorAll('a, button:enabled, select')].map((e) => e.tabIndex)"
    order = page.evaluate(script)
    assert set(order) == {0} and len(order) >= 6


def test_it_works_without_network(page, site):
    """Last: the server is gone after it."""
    assert all(address.startswith("/") for address in site.asked)
    origins = page.evaluate(
        "performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)"
    )
    assert set(origins) == {site.address}
    site.stop()
    shutil.rmtree(site.folder)
    page.reload()
    until(page, lambda: text(page, "status").startswith("Ready"))
    assert replay(page, "laying")[0] == "laying"
    # LiteRT.js looks for a graphics processor first and says that there is none.
    assert [fault for fault in page.faults if "GPU" not in fault and "adapters" not in fault] == []
