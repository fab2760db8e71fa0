// Choices to files, files to points, points to a front. A classic script, so that the page also works
// when it is opened as a file.
"use strict";

const TASKS = JSON.parse(document.getElementById("files").textContent);
const CHOICES = ["network", "weights", "clusters", "sparsity"];
const [NARROWEST, WIDEST, HEIGHT] = [320, 560, 380]; // of the picture
const MARGIN = { left: 58, right: 14, top: 14, bottom: 46 };
const LEAST_ERROR = 0.01; // points: where "no errors" goes on a logarithmic axis
const ERRORS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];
const SIZES = { gzip: "size after gzip", bytes: "size of the file" };

const $ = (id) => document.getElementById(id);
const whole = (value) => Math.round(value).toLocaleString("en");

let task = TASKS[0];
let chosen = {}; // by the names of CHOICES
let current = null; // the file that is shown
let seen = []; // files, in the order of being seen
let size = "gzip";
let revealed = false;
let width = WIDEST;

const bad = (file) => (task.higher ? -file.value : file.value);
const value = (file) => {
  const spread = file.spread === undefined ? "" : ` ± ${file.spread.toFixed(task.digits)}`;
  return `${file.value.toFixed(task.digits)}${spread} ${task.unit}`;
};
const named = (file) =>
  file.network === "the whole network" ? file.how : `${file.how}: ${file.network}`;
const bytes = (count) =>
  count >= 1e6 ? `${+(count / 1e6).toPrecision(3)} MB` : `${+(count / 1e3).toPrecision(3)} kB`;

// Which files no other beats in both, the smallest first; of equal ones the first.
function front(files) {
  const sorted = [...files].sort((a, b) => a[size] - b[size] || bad(a) - bad(b));
  const best = [];
  for (const file of sorted) if (!best.length || bad(file) < bad(best.at(-1))) best.push(file);
  return best;
}

// Choices

// None, numbers by their size, the rest.
const rank = (text) => (text === "none" ? -1 : text.includes("-") ? 1000 : Number.parseFloat(text) || 2000);
function options(name) {
  const found = [...new Set(task.files.map((file) => file[name]))];
  const count = (option) => task.files.filter((file) => file[name] === option).length;
  if (name === "network") found.sort((a, b) => count(b) - count(a));
  if (name === "clusters" || name === "sparsity") found.sort((a, b) => rank(a) - rank(b));
  return found;
}

// Files that agree with the choices before the one of this name, or with all.
function matching(name) {
  const before = name ? CHOICES.slice(0, CHOICES.indexOf(name)) : CHOICES;
  return task.files.filter((file) => before.every((other) => file[other] === chosen[other]));
}

function settle() {
  for (const name of CHOICES) {
    const there = new Set(matching(name).map((file) => file[name]));
    if (!there.has(chosen[name])) chosen[name] = options(name).find((option) => there.has(option));
  }
}

function fill(select, entries, selected) {
  select.replaceChildren(...entries.map(([text, key]) => new Option(text, key, false, key === selected)));
}

function radios(name) {
  const box = $(name);
  const there = new Set(matching(name).map((file) => file[name]));
  const all = options(name);
  box.hidden = all.length < 2;
  if (box.dataset.of !== task.data) {
    box.dataset.of = task.data;
    for (const label of box.querySelectorAll("label")) label.remove();
    for (const option of all) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name, value: option });
      const text = document.createElement("span");
      text.textContent = option.includes("-") ? `${option} by layer` : option;
      label.append(input, text);
      box.append(label);
    }
  }
  for (const input of box.querySelectorAll("input")) {
    input.disabled = !there.has(input.value);
    input.checked = input.value === chosen[name];
  }
}

function show(file) {
  current = file;
  if (!seen.includes(file)) seen.push(file);
  fill($("network"), options("network").map((name) => [name, name]), chosen.network);
  $("network-row").hidden = options("network").length < 2;
  for (const name of CHOICES.slice(1)) radios(name);
  const files = matching();
  fill($("how"), files.map((one) => [`${one.how} (lab ${one.lab})`, task.files.indexOf(one)]), task.files.indexOf(file));
  $("how-row").hidden = files.length < 2;
  tell();
  draw();
}

function choose(name, option) {
  chosen[name] = option;
  settle();
  show(matching()[0]);
}

function jump(file) {
  for (const name of CHOICES) chosen[name] = file[name];
  show(file);
}

function begin(next) {
  task = next;
  chosen = {};
  seen = [];
  settle();
  show(matching()[0]);
}

// Words

// The network's largest file, to compare with.
function largest() {
  const same = task.files.filter((file) => file.network === current.network);
  return same.reduce((a, b) => (a.bytes >= b.bytes ? a : b));
}

function tell() {
  const [file, of] = [current, largest()];
  const times = of.gzip / file.gzip;
  $("now").textContent =
    `${file.how}: ${value(file)}, ${whole(file.bytes)} bytes, ${whole(file.gzip)} after gzip` +
    (of === file ? "." : `: ${times.toFixed(times < 10 ? 1 : 0)} times less than “${of.how}”.`);
  const [mine, best] = [front(seen), front(task.files)];
  const found = best.filter((one) => seen.includes(one)).length;
  const count = `You have seen ${seen.length} of ${task.files.length} files; ${mine.length} ${mine.length === 1 ? "is" : "are"} on your front.`;
  $("their-key").hidden = !revealed;
  $("verdict").textContent = revealed
    ? `${count} The labs' front has ${best.length}: you have found ${found} of them.`
    : count;
  table(mine, best);
}

function table(mine, best) {
  const head = ["file", task.metric, "bytes", "after gzip", "lab", "on the front"];
  const rows = [...seen].sort((a, b) => a[size] - b[size]);
  const row = (cells, kind) => {
    const line = document.createElement("tr");
    cells.forEach((text, i) => {
      const cell = document.createElement(kind === "th" || i === 0 ? "th" : "td");
      if (cell.tagName === "TH") cell.scope = kind === "th" ? "col" : "row";
      cell.textContent = text;
      line.append(cell);
    });
    return line;
  };
  const places = (file) =>
    [mine.includes(file) && "yours", revealed && best.includes(file) && "the labs'"].filter(Boolean).join(", ") || "no";
  const parts = [document.createElement("thead"), document.createElement("tbody")];
  parts[0].append(row(head, "th"));
  parts[1].append(
    ...rows.map((file) =>
      row([named(file), value(file), whole(file.bytes), whole(file.gzip), file.lab, places(file)], "td"),
    ),
  );
  $("seen").replaceChildren(...parts);
}

// The picture

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, content] of Object.entries(attributes)) made.setAttribute(key, content);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Places along an axis, and its ticks as [place, text].
function across() {
  const all = task.files.map((file) => file[size]);
  const [low, high] = [Math.min(...all) / 1.25, Math.max(...all) * 1.25];
  const place = (count) =>
    MARGIN.left + (Math.log(count / low) / Math.log(high / low)) * (width - MARGIN.left - MARGIN.right);
  const ticks = [];
  for (let decade = 10 ** Math.floor(Math.log10(low)); decade <= high; decade *= 10)
    for (const step of high / low < width / 2 ? [1, 2, 5] : [1])
      if (step * decade >= low && step * decade <= high)
        ticks.push([place(step * decade), bytes(step * decade)]);
  return { place: (file) => place(file[size]), ticks };
}

function up() {
  const inner = HEIGHT - MARGIN.top - MARGIN.bottom;
  if (task.higher && task.unit === "%") {
    const error = (file) => Math.max(LEAST_ERROR, 100 - file.value);
    const all = task.files.map(error);
    const [low, high] = [Math.min(...all) / 1.4, Math.max(...all) * 1.3];
    const place = (points) => MARGIN.top + (Math.log(points / low) / Math.log(high / low)) * inner;
    const ticks = ERRORS.filter((tick) => tick >= low && tick <= high).map((tick) => [
      place(tick),
      tick === LEAST_ERROR ? "≥ 99.99" : `${+(100 - tick).toFixed(2)}`,
    ]);
    return { place: (file) => place(error(file)), ticks };
  }
  const all = task.files.map((file) => file.value);
  const margin = 0.06 * (Math.max(...all) - Math.min(...all));
  const [low, high] = [Math.min(...all) - margin, Math.max(...all) + margin];
  const place = (v) => {
    const part = (v - low) / (high - low);
    return MARGIN.top + (task.higher ? 1 - part : part) * inner;
  };
  let step = 10 ** Math.floor(Math.log10((high - low) / 2));
  while ((high - low) / step > 8) step *= 2;
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++)
    ticks.push([place(i * step), `${+(i * step).toPrecision(3)}`]);
  return { place: (file) => place(file.value), ticks };
}

function draw() {
  // As wide as it is shown, so that its words are as large as those around it.
  width = Math.max(NARROWEST, Math.min(WIDEST, $("picture").clientWidth || WIDEST));
  $("picture").setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const [x, y] = [across(), up()];
  const [floor, right] = [HEIGHT - MARGIN.bottom, width - MARGIN.right];
  const parts = [];
  let free = 0; // from where on there is room for the next word
  for (const [place, text] of x.ticks) {
    parts.push(element("path", { class: "grid", d: `M${place} ${MARGIN.top}V${floor}` }));
    const half = 4 * text.length;
    if (place - half < free || place + half > width) continue;
    parts.push(element("text", { x: place, y: floor + 17, "text-anchor": "middle" }, text));
    free = place + half;
  }
  for (const [place, text] of y.ticks) {
    parts.push(element("path", { class: "grid", d: `M${MARGIN.left} ${place}H${right}` }));
    parts.push(element("text", { x: MARGIN.left - 6, y: place + 4, "text-anchor": "end" }, text));
  }
  const below = { class: "name", x: (MARGIN.left + right) / 2, y: HEIGHT - 8, "text-anchor": "middle" };
  parts.push(element("text", below, SIZES[size]));
  const turn = `translate(13 ${(MARGIN.top + floor) / 2}) rotate(-90)`;
  const beside = `${task.metric} (${task.unit})`;
  parts.push(element("text", { class: "name", transform: turn, "text-anchor": "middle" }, beside));

  const line = (files, name) => {
    const steps = files.map((file, i) => {
      const [px, py] = [x.place(file), y.place(file)];
      return i ? `H${px}V${py}` : `M${px} ${py}`;
    });
    parts.push(element("path", { class: name, d: `${steps.join("")}H${right}` }));
  };
  const point = (file, name, radius) => {
    const circle = element("circle", { class: name, cx: x.place(file), cy: y.place(file), r: radius });
    circle.append(element("title", {}, `${named(file)} (lab ${file.lab}): ${value(file)}, ${whole(file[size])} bytes`));
    circle.addEventListener("click", () => jump(file));
    parts.push(circle);
  };
  if (revealed) {
    line(front(task.files), "theirs");
    for (const file of task.files) if (!seen.includes(file)) point(file, "unseen-file", 4);
  }
  line(front(seen), "mine");
  for (const file of seen) point(file, "seen-file", 5);
  parts.push(element("circle", { class: "ring", cx: x.place(current), cy: y.place(current), r: 10 }));
  $("picture").replaceChildren(...parts);
}

// Begin

fill($("task"), TASKS.map((one, i) => [one.data, i]), 0);
$("task").addEventListener("change", () => begin(TASKS[$("task").value]));
$("network").addEventListener("change", () => choose("network", $("network").value));
for (const name of CHOICES.slice(1))
  $(name).addEventListener("change", (event) => choose(name, event.target.value));
$("how").addEventListener("change", () => show(task.files[$("how").value]));
$("size").addEventListener("change", (event) => {
  size = event.target.value;
  tell();
  draw();
});
$("reveal").addEventListener("click", () => {
  revealed = !revealed;
  $("reveal").setAttribute("aria-pressed", revealed);
  tell();
  draw();
});
$("anew").addEventListener("click", () => begin(task));
addEventListener("resize", draw);
$("tool").hidden = $("seen-card").hidden = false;
begin(task);
