"""The page that recognises activities: with a phone's sensors, with recordings, without network."""

import re
import shutil
import time

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

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
def site(browser, serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    try:
        phone.build(folder / "phone", home="../index.html")
    except PageError as error:
        pytest.skip(str(error))
    (folder / "index.html").write_text("<!doctype html><title>course</title>")
    with serve(folder) as server:
        yield server


@pytest.fixture(scope="module")
def page(browser, site):
    """The page as a phone shows it, loaded."""
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get_log("browser")  # of other tests
    browser.get(f"{site.address}/phone/index.html")
    until(browser, lambda: text(browser, "status").startswith("Ready"))
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def until(browser, condition, seconds=30):
    def met(_):
        return condition()

    wait = WebDriverWait(browser, seconds, poll_frequency=0.1)
    wait.until(met, f"the page says {text(browser, 'status')!r}, {text(browser, 'label')!r}")


def text(browser, name):
    return browser.find_element(By.ID, name).text


def press(browser, name):
    browser.find_element(By.ID, name).click()


def windows(browser):
    return int(text(browser, "windows"))


def replay(browser, activity):
    """Label and history after two windows of a recording."""
    Select(browser.find_element(By.ID, "recording")).select_by_visible_text(activity)
    press(browser, "replay")
    until(browser, lambda: windows(browser) >= 2)
    # At once: a recording that has ended meanwhile would begin anew.
    return browser.execute_script(
        """
        const [button, label, history] = ["replay", "label", "history"].map(
          (id) => document.getElementById(id));
        const found = [label.textContent, history.textContent];
        if (button.textContent === "Stop") button.click();
        return found;
        """
    )


def worn(activity, seconds):
    """What a phone whose top edge is up measures: m/s² (N, 3) and rad/s (N, 3), 50 a second."""
    count = int(50 * seconds)
    samples = har_simulator.record(np.array([activity]), np.array([SUBJECT]), count, 8)[0]
    return samples[:, :3] @ TO_PHONE.T * 9.80665, samples[:, 3:] @ TO_PHONE.T


def sensors(browser, enabled):
    for kind in SENSORS:
        options = {"enabled": enabled, "type": kind, "metadata": {"available": True}}
        browser.execute_cdp_cmd("Emulation.setSensorOverrideEnabled", options)


def feel(browser, acceleration, turning):
    for kind, xyz in zip(SENSORS, (acceleration, 0 * acceleration, turning), strict=True):
        reading = {"xyz": dict(zip("xyz", map(float, xyz), strict=True))}
        given = {"type": kind, "reading": reading}
        browser.execute_cdp_cmd("Emulation.setSensorOverrideReadings", given)


def test_it_says_what_it_is_and_what_it_weighs(page, site):
    size = (site.folder / "phone" / "har_micro.tflite").stat().st_size
    body = page.find_element(By.TAG_NAME, "body").text
    assert f"A network of {size:,} bytes" in body and "built without lab 08's files" in body
    assert "This network recognises all of them." in body
    assert "works offline from now on" in text(page, "status")
    assert text(page, "runtime").endswith("MB")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    page.find_element(By.LINK_TEXT, "← The course")


def test_without_sensors_it_says_so_and_replays(page, site):
    press(page, "sensors")
    until(page, lambda: "no motion sensors" in text(page, "status"))
    asked = len(site.asked)
    label, history = replay(page, "walking")
    assert label == "walking" and re.match(r"So far: walking \d s", history)
    assert page.find_element(By.ID, "heard").get_attribute("textContent") == "walking"
    assert len(site.asked) == asked


def test_whoever_refuses_the_sensors_is_told(page):
    """As iOS asks for them; Chromium does not ask."""
    page.execute_script("DeviceMotionEvent.requestPermission = async () => 'denied'")
    try:
        press(page, "sensors")
        until(page, lambda: "did not allow" in text(page, "status"))
        assert text(page, "sensors") == "Use the sensors"
    finally:
        page.execute_script("delete DeviceMotionEvent.requestPermission")


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
    labels = page.execute_async_script(
        """
        const [activities, done] = arguments;
        (async () => {
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
        })().then(done, (error) => done(String(error)));
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


def test_walking_and_lying_with_the_browser_s_sensors(page):
    """From Chromium's virtual sensors on, in real time."""
    sensors(page, True)
    try:
        press(page, "sensors")
        acceleration, turning = worn(LAYING, 1)
        feel(page, acceleration[0], turning[0])
        until(page, lambda: windows(page) >= 2)
        assert text(page, "label") == "laying"
        acceleration, turning = worn(WALKING, 40)
        start = time.monotonic()
        readings = 0
        while text(page, "label") != "walking":
            for _ in range(20):
                passed = time.monotonic() - start
                assert passed < 40, f"walking is taken for {text(page, 'label')}"
                feel(page, acceleration[int(50 * passed)], turning[int(50 * passed)])
                readings += 1
            if passed > 5 and readings < 30 * passed:
                pytest.skip(f"{readings / passed:.0f} readings a second are no walk: too slow here")
        press(page, "sensors")
    finally:
        sensors(page, False)


def test_it_gives_what_python_gives_on_a_thousand_windows(page, site):
    """Windows and smoothing bit for bit; kernels on WebAssembly round some sums the other way."""
    folder = site.folder / "phone"
    pipeline = Pipeline.read(folder / "har_micro.json")
    recordings = export.recordings(100, pipeline.window + 9 * pipeline.hop, pipeline.rate, 5)
    whole = np.concatenate([_windows(rows, pipeline) for rows in pipeline.filtered(recordings)])
    recordings.tofile(folder / "recordings_of_the_test.bin")
    whole.tofile(folder / "windows_of_the_test.bin")
    different, answers = page.execute_async_script(
        """
        const [length, done] = arguments;
        (async () => {
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
        })().then(done, (error) => done([String(error), []]));
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
    assert violations(page, scheme) == []


def test_everything_is_reached_with_the_keyboard(page):
    script = (
        "return [...document.querySelectorAll('a, button:enabled, select')].map((e) => e.tabIndex)"
    )
    assert set(page.execute_script(script)) == {0}
    assert len(page.execute_script(script)) >= 6


def test_it_works_without_network(page, site):
    """Last: the server is gone after it."""
    assert all(address.startswith("/") for address in site.asked)
    origins = page.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)"
    )
    assert set(origins) == {site.address}
    site.stop()
    shutil.rmtree(site.folder)
    page.refresh()
    until(page, lambda: text(page, "status").startswith("Ready"))
    assert replay(page, "laying")[0] == "laying"
    errors = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in errors if site.address in message] == []
