// The page: samples from sensors or a recording go to the recogniser, its answers to the reader.
import { load } from "./litert.js";
import { HOP, LABELS, RATE, SAMPLE, WINDOW } from "./preprocess.js";
import { Recogniser } from "./recogniser.js";
import { Rate, Resampler, Sign, sample } from "./sensors.js";

const SHOWN = 5 * RATE; // samples in the picture
const KEPT = 600 * RATE; // and in the file
const SPOKEN = 4; // seconds between two announcements for those who listen

const $ = (id) => document.getElementById(id);
const number = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const symbol = (index) => `#${LABELS[index].replaceAll(" ", "_")}`;

export let recogniser;
let stop = null; // ends what is running
let recorded = []; // samples since the start
let latencies = [];
let history = []; // labels, and how many windows each lasted
let spoken = { label: "", time: -Infinity };

const rows = LABELS.map((label, index) => {
  const row = document.createElement("li");
  row.innerHTML = `<svg aria-hidden="true"><use href="${symbol(index)}"/></svg><span></span>
    <span class="track" aria-hidden="true"><span></span></span><span class="share">–</span>`;
  row.children[1].textContent = label;
  $("activities").append(row);
  return row;
});

function say(text) {
  $("status").textContent = text;
}

function answer({ index, label, confidence, smooth, milliseconds }) {
  $("label").textContent = label;
  $("sure").textContent = `${number(100 * confidence)} % sure, over the last windows`;
  $("figure").setAttribute("href", symbol(index));
  rows.forEach((row, i) => {
    row.classList.toggle("best", i === index);
    row.querySelector(".track span").style.width = `${100 * smooth[i]}%`;
    row.querySelector(".share").textContent = `${number(100 * smooth[i])} %`;
  });
  if (history.at(-1)?.label === label) history.at(-1).windows += 1;
  else history.push({ label, windows: 1 });
  const shown = history.slice(-6).map(
    (part) => `${part.label} ${number((part.windows * HOP) / RATE)} s`,
  );
  $("history").textContent = `${history.length > 6 ? "… " : "So far: "}${shown.join(" → ")}`;
  latencies.push(milliseconds);
  const sorted = latencies.toSorted?.((a, b) => a - b) ?? [...latencies].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  $("latency").textContent = `${number(median, 1)} ms, longest ${number(sorted.at(-1), 1)} ms`;
  $("windows").textContent = number(latencies.length);
  const now = performance.now() / 1000;
  if (label !== spoken.label && now - spoken.time > SPOKEN) {
    spoken = { label, time: now };
    $("heard").textContent = label;
  }
}

// A sample at RATE, six values.
function take(values) {
  recorded.push(values);
  if (recorded.length > KEPT + RATE) recorded = recorded.slice(-KEPT);
  recogniser.push(values);
}

function begin(button, text, ended) {
  stop?.();
  recogniser.reset();
  recorded = [];
  latencies = [];
  history = [];
  spoken = { label: "", time: -Infinity };
  for (const row of rows) {
    row.classList.remove("best");
    row.querySelector(".track span").style.width = "0";
    row.querySelector(".share").textContent = "–";
  }
  $("figure").setAttribute("href", "#nothing");
  $("label").textContent = "listening";
  $("sure").textContent = `The first window takes ${number(WINDOW / RATE, 2)} seconds.`;
  $("latency").textContent = "–";
  $("windows").textContent = "0";
  $("rate").textContent = "–";
  $("history").textContent = "";
  const name = button.textContent;
  button.textContent = text;
  button.classList.add("running");
  $("save").disabled = false;
  const clock = setInterval(draw, 50);
  // A phone that locks its screen keeps its sensors to itself.
  const awake = navigator.wakeLock?.request("screen").catch(() => null);
  stop = () => {
    stop = null;
    clearInterval(clock);
    awake?.then((lock) => lock?.release());
    button.textContent = name;
    button.classList.remove("running");
    ended();
    draw();
  };
}

// Sensors

async function allowed() {
  // iOS asks, and only when a button was pressed; elsewhere there is nothing to ask.
  const kinds = [globalThis.DeviceMotionEvent, globalThis.DeviceOrientationEvent];
  const answers = kinds.map(
    (kind) => kind?.requestPermission?.().catch(() => "denied") ?? "granted",
  );
  return (await answers[0]) === "granted"; // the angles only tell which way acceleration counts
}

async function useSensors() {
  if (!globalThis.isSecureContext || !("DeviceMotionEvent" in globalThis)) {
    say("Here the browser does not let a page use the motion sensors: that takes an https address. Replay a recording.");
    return;
  }
  if (!(await allowed())) {
    say("You did not allow the motion sensors. Reload the page to be asked again, or replay a recording.");
    return;
  }
  const sign = new Sign();
  const resampler = new Resampler(RATE, () => recogniser.reset());
  const rate = new Rate();
  let heard = false;
  const onOrientation = (event) => sign.orient(event);
  const onMotion = (event) => {
    sign.move(event);
    const values = sample(event, $("wearing").value, sign.value);
    if (!values) return;
    if (!heard) say("The sensors are working. Put the phone where you wear it.");
    heard = true;
    const time = event.timeStamp / 1000;
    const found = rate.push(time);
    if (found) $("rate").textContent = `${number(found)} samples a second, resampled to ${RATE}`;
    resampler.push(time, values).forEach(take);
  };
  begin($("sensors"), "Stop", () => {
    removeEventListener("devicemotion", onMotion);
    removeEventListener("deviceorientation", onOrientation);
    say("Stopped.");
  });
  say("Waiting for the sensors.");
  addEventListener("deviceorientation", onOrientation);
  addEventListener("devicemotion", onMotion);
  const mine = stop;
  setTimeout(() => {
    if (heard || stop !== mine) return;
    stop();
    $("label").textContent = "no sensors";
    $("sure").textContent = "Replay a recording instead.";
    say("This device has no motion sensors, or does not let the page use them.");
  }, 3000);
}

// Recordings

async function replay(recordings) {
  const chosen = $("recording").value;
  const parts = chosen === "all" ? recordings.activities.map((_, i) => i) : [Number(chosen)];
  const all = parts.flatMap((part) => recordings.of(part));
  begin($("replay"), "Stop", () => say("The replay is over."));
  say("A simulated recording is replayed, as fast as it was recorded.");
  $("rate").textContent = `a recording, ${RATE} samples a second`;
  const started = performance.now();
  let done = 0;
  const clock = setInterval(() => {
    const due = Math.min(all.length, Math.floor(((performance.now() - started) / 1000) * RATE));
    while (done < due) take(all[done++]);
    if (done === all.length) recogniser.queue.then(() => ended === stop && stop());
  }, 1000 / RATE);
  const before = stop;
  const ended = () => {
    clearInterval(clock);
    before();
  };
  stop = ended;
}

async function readRecordings() {
  const [about, content] = await Promise.all([
    fetch("recordings.json").then((response) => response.json()),
    fetch("recordings.bin").then((response) => response.arrayBuffer()),
  ]);
  const values = new Float32Array(content);
  const length = about.samples * SAMPLE.length;
  return {
    activities: about.activities,
    of: (part) =>
      Array.from({ length: about.samples }, (_, i) =>
        Array.from(values.subarray(part * length + i * SAMPLE.length).subarray(0, SAMPLE.length)),
      ),
  };
}

// The picture, and the file

function draw() {
  const canvas = $("trace");
  const scale = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const left = 26;
  const x = (age) => width - (age / SHOWN) * (width - left);
  const y = (g) => height / 2 - (Math.max(-2, Math.min(2, g)) / 2) * (height / 2 - 10);
  context.fillStyle = colour("--window");
  context.fillRect(x(WINDOW), 0, width - x(WINDOW), height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const g of [-2, -1, 0, 1, 2]) {
    context.fillStyle = colour("--line");
    context.fillRect(left, y(g), width - left, 1);
    context.fillStyle = colour("--soft");
    context.fillText(g < 0 ? `−${-g}` : `${g}`, 4, y(g));
  }
  const last = recorded.slice(-SHOWN);
  for (const [axis, name] of ["--x", "--y", "--z"].entries()) {
    context.strokeStyle = colour(name);
    context.lineWidth = 1.8;
    context.beginPath();
    last.forEach((values, i) => context.lineTo(x(last.length - 1 - i), y(values[axis])));
    context.stroke();
  }
}

function save() {
  const text = recorded.map((values, i) => [i / RATE, ...values].map((v) => +v.toPrecision(9)).join(","));
  const file = new Blob([`t,${SAMPLE.join(",")}\n${text.join("\n")}\n`], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "samples.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

// For when there is no network: true once the page and all that it has loaded are kept.
async function keep() {
  if (!("serviceWorker" in navigator)) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    if (navigator.serviceWorker.controller) return true;
    return await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", () => resolve(true));
      setTimeout(() => resolve(Boolean(navigator.serviceWorker.controller)), 3000);
    });
  } catch {
    return false; // a private window, or no https
  }
}

async function start() {
  draw();
  const about = await (await fetch("model.json")).json();
  for (const place of document.querySelectorAll("[data-fact]")) {
    const fact = about[place.dataset.fact];
    place.textContent = typeof fact === "number" ? number(fact) : fact;
  }
  const kept = await keep(); // before the runtime is loaded, so that it is kept too
  const recordings = await readRecordings();
  recordings.activities.forEach((name, i) => $("recording").append(new Option(name, i)));
  $("recording").append(new Option("all six, one after the other", "all"));
  recogniser = new Recogniser(await load("har_micro_float_ends.tflite"), answer);
  const wasm = performance.getEntriesByType("resource").find((entry) => entry.name.endsWith(".wasm"));
  if (wasm?.decodedBodySize) $("runtime").textContent = `${number(wasm.decodedBodySize / 1e6, 1)} MB`;
  for (const id of ["sensors", "replay"]) $(id).disabled = false;
  $("sensors").addEventListener("click", () => (runs("sensors") ? stop() : useSensors()));
  $("replay").addEventListener("click", () => (runs("replay") ? stop() : replay(recordings)));
  $("save").addEventListener("click", save);
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  say(kept ? "Ready. It works offline from now on." : "Ready.");
}

const runs = (id) => $(id).classList.contains("running");

start().catch((error) => {
  say(`The network cannot be loaded here: ${error.message}`);
  throw error;
});
