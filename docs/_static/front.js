// The results: which picture is shown, which files are shown in it and in the ledger, and what the
// pointer is on. Without this script all pictures and the whole ledger are on the page.
(() => {
  const filters = document.getElementById("front-filters");
  if (!filters) return;
  const figures = [...document.querySelectorAll(".front-figure")];
  const rows = [...document.querySelectorAll("tr[data-lab]")];
  document.documentElement.classList.add("with-script");

  const select = (legend, values) => {
    const label = document.createElement("label");
    label.append(`${legend} `);
    const list = document.createElement("select");
    list.className = "form-select";
    for (const value of new Set(values)) list.append(new Option(value, value));
    label.append(list);
    return { label, list };
  };
  const sets = select("data", figures.map((figure) => figure.dataset.set));
  const sizes = select("size", figures.map((figure) => figure.dataset.size));
  const choice = document.createElement("fieldset");
  choice.innerHTML = "<legend>picture</legend>";
  choice.append(sets.label, sizes.label);
  filters.prepend(choice);
  const ledger = document.createElement("label");
  ledger.innerHTML = '<input type="checkbox"> only files of this data in the ledger below';
  choice.append(ledger);
  const boxes = [...filters.querySelectorAll("[data-filter]")];

  const chosen = (kind) =>
    new Set(boxes.filter((box) => box.dataset.filter === kind && box.checked).map((box) => box.value));

  const update = () => {
    const labs = chosen("lab");
    const techniques = chosen("techniques");
    const wanted = (thing) =>
      labs.has(thing.dataset.lab) &&
      thing.dataset.techniques.split(" ").some((name) => techniques.has(name));
    const onlyShown = ledger.firstChild.checked;
    for (const row of rows) {
      row.hidden = !wanted(row) || (onlyShown && row.lastElementChild.textContent !== sets.list.value);
    }
    for (const figure of figures) {
      figure.hidden =
        figure.dataset.set !== sets.list.value || figure.dataset.size !== sizes.list.value;
      if (figure.hidden) continue;
      const shown = [];
      for (const circle of figure.querySelectorAll("circle")) {
        const on = wanted(circle);
        circle.style.display = on ? "" : "none";
        if (on) shown.push([Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
      }
      figure.querySelector(".front").setAttribute("d", steps(shown, figure));
    }
  };

  // Along the files that none of those shown beats: to the right, and up where the next one is.
  const steps = (points, figure) => {
    points.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    let path = "";
    let best = Infinity;
    for (const [x, y] of points) {
      if (y >= best) continue;
      best = y;
      path += path ? `H${x}V${y}` : `M${x} ${y}`;
    }
    return path && `${path}H${figure.querySelector(".front").dataset.right}`;
  };

  for (const figure of figures) {
    const tip = document.createElement("p");
    tip.className = "front-tip";
    const rest = "Point at a circle or touch it to see which file it is.";
    tip.textContent = rest;
    figure.querySelector("svg").after(tip);
    const circles = [...figure.querySelectorAll("circle")];
    const point = (event) => {
      const box = figure.querySelector("svg").getBoundingClientRect();
      const scale = figure.querySelector("svg").viewBox.baseVal.width / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let nearest = null;
      let least = (18 * scale) ** 2;
      for (const circle of circles) {
        circle.classList.remove("pointed");
        if (circle.style.display === "none") continue;
        const far =
          (circle.getAttribute("cx") - x) ** 2 + (circle.getAttribute("cy") - y) ** 2;
        if (far < least) [nearest, least] = [circle, far];
      }
      nearest?.classList.add("pointed");
      tip.textContent = nearest ? nearest.querySelector("title").textContent : rest;
    };
    figure.querySelector("svg").addEventListener("pointermove", point);
    figure.querySelector("svg").addEventListener("pointerdown", point);
  }
  filters.addEventListener("change", update);
  update();
})();
