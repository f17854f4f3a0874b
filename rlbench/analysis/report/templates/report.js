// What a report does beyond being read: its tables sort and filter, and its runs can be looked at one by one.
(() => {
  "use strict";
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...inside) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...inside);
    return node;
  };

  // Tables: a click on a heading sorts, a field above a long one filters.
  const LONG = 12; // rows
  const number = (text) => {
    const found = /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?/i.exec(text.replace(/\u2212/g, "-").replace(/,/g, ""));
    return found ? Number(found[0]) : NaN;
  };
  const before = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
    return isNaN(x) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };
  const sortable = (table) => {
    const headings = all("thead th", table);
    headings.forEach((heading, column) => {
      const button = make("button", { type: "button", className: "sort", textContent: heading.textContent });
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const text = (row) => row.cells[column].textContent.trim();
        const rows = [...body.rows].sort((a, b) => (down ? before(text(b), text(a)) : before(text(a), text(b))));
        rows.forEach((row) => row.classList.remove("group"));
        body.append(...rows);
      });
    });
  };
  const filter = (table, field, output, wanted = () => true) => {
    const rows = [...table.tBodies[0].rows];
    const apply = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted(row) || !words.every((word) => text.includes(word));
      });
      const shown = rows.filter((row) => !row.hidden).length;
      output.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
    };
    field.addEventListener("input", apply);
    return apply;
  };
  all("table").filter((table) => table.tBodies[0].rows.length > 1).forEach(sortable);
  all(".table > table").filter((table) => table.tBodies[0].rows.length > LONG).forEach((table) => {
    const what = table.caption ? table.caption.textContent : table.parentNode.getAttribute("aria-label");
    const field = make("input", { type: "search", placeholder: "Find a word", ariaLabel: `Filter: ${what}` });
    const output = make("output");
    table.parentNode.before(make("div", { className: "filter" }, field, output));
    filter(table, field, output);
  });
  const bar = document.getElementById("filter");
  if (bar) {
    let verdict = "";
    const buttons = all("button", bar);
    const [field, output] = [bar.querySelector("input"), bar.querySelector("output")];
    const wanted = (row) => !verdict || row.dataset.verdict === verdict;
    const apply = filter(document.querySelector("table.claims"), field, output, wanted);
    buttons.forEach((button) => button.addEventListener("click", () => {
      verdict = button.value;
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      apply();
    }));
    bar.hidden = false;
  }

  // Paper shows what is folded.
  addEventListener("beforeprint", () => all("details").forEach((one) => { one.open = true; }));

  // The curves of all runs: which arms, against what, and which run the pointer or the keys are at.
  const place = document.getElementById("explore");
  if (!place) return;
  const data = JSON.parse(document.getElementById("curves").textContent);
  const svg = place.querySelector("svg");
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [860, 400, 72, 34, 12, 46];
  const draw = (tag, attributes, inside = "") => {
    const node = document.createElementNS(svg.namespaceURI, tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    node.textContent = inside;
    return node;
  };
  const short = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 4 });
  const ticks = (low, high) => {
    const rough = (high - low || 1) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
  };
  const named = (name, node) => make("label", {}, `${name} `, node);
  const choice = (names) => make("select", {}, ...names.map((name) => make("option", { textContent: name })));
  const where = choice(data.environments.map((one) => one.name));
  const against = choice(data.against);
  const hidden = new Set();
  const arms = data.arms.map(([arm, color], index) => {
    const swatch = make("span", { className: "swatch", ariaHidden: "true" });
    swatch.style.background = color;
    const button = make("button", { type: "button" }, swatch, arm);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(index)) hidden.add(index);
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      show();
    });
    return button;
  });
  const readout = make("output");
  readout.setAttribute("aria-live", "polite");
  let [lines, at, point] = [[], -1, 0];
  let [across, along] = [(x) => x, (y) => y];
  const mark = draw("circle", { r: 4, visibility: "hidden" });

  const select = (run, index) => {
    lines.forEach((line) => line.path.classList.remove("chosen"));
    [at, point] = [run, index];
    if (run < 0) return;
    const line = lines[run];
    line.path.classList.add("chosen");
    const [x, y] = line.points[index];
    mark.setAttribute("cx", across(x));
    mark.setAttribute("cy", along(y));
    mark.setAttribute("fill", data.arms[line.arm][1]);
    mark.setAttribute("visibility", "visible");
    const end = line.used ? "" : ", not used: it failed or diverged";
    readout.textContent =
      `${data.arms[line.arm][0]}, seed ${line.seed}${end}: return ${short(y)} at ${short(x)} ${against.value}`;
  };

  const show = () => {
    const { steps, rates, runs } = data.environments[where.selectedIndex];
    const unit = against.selectedIndex;
    // What else a run cost grows evenly with its steps.
    lines = runs.filter((run) => !hidden.has(run.arm)).map((run) => {
      const known = run.curve.map((y, i) => [steps[i] * rates[run.arm][unit], y]).filter(([, y]) => y !== null);
      return { ...run, points: known };
    }).filter((run) => run.points.length);
    svg.replaceChildren();
    mark.setAttribute("visibility", "hidden");
    readout.textContent = "";
    [at, point] = [-1, 0];
    if (!lines.length) return;
    const every = lines.flatMap((line) => line.points);
    const most = every.reduce((top, [x]) => Math.max(top, x), 0);
    const [low, high] = every.reduce(([a, b], [, y]) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
    across = (x) => LEFT + (x / (most || 1)) * (WIDTH - LEFT - RIGHT);
    along = (y) => HEIGHT - BOTTOM - ((y - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
    ticks(0, most).forEach((x) => {
      svg.append(draw("line", { x1: across(x), x2: across(x), y1: TOP, y2: HEIGHT - BOTTOM, class: "grid" }));
      svg.append(draw("text", { x: across(x), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, short(x)));
    });
    ticks(low, high).forEach((y) => {
      svg.append(draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: along(y), y2: along(y), class: "grid" }));
      svg.append(draw("text", { x: LEFT - 8, y: along(y) + 4, "text-anchor": "end" }, short(y)));
    });
    const turned = { transform: `translate(16 ${(HEIGHT - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" };
    svg.append(draw("text", turned, "episode return"));
    svg.append(draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, against.value));
    lines.forEach((line) => {
      const path = line.points.map(([x, y]) => `${across(x).toFixed(1)} ${along(y).toFixed(1)}`).join("L");
      const dashes = line.used ? data.arms[line.arm][2] : "1 3";
      line.path = draw("path", { d: `M${path}`, stroke: data.arms[line.arm][1], "stroke-dasharray": dashes });
      svg.append(line.path);
    });
    svg.append(mark);
  };

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const [x, y] = [
      ((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT,
    ];
    let [nearest, run, index] = [Infinity, -1, 0];
    lines.forEach((line, i) => line.points.forEach(([a, b], j) => {
      const away = (across(a) - x) ** 2 + (along(b) - y) ** 2;
      if (away < nearest) [nearest, run, index] = [away, i, j];
    }));
    select(run, index);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || !lines.length) return;
    event.preventDefault();
    const run = at < 0 ? 0 : (at + step[0] + lines.length) % lines.length;
    const last = lines[run].points.length - 1;
    select(run, at < 0 ? last : Math.min(Math.max(point + step[1], 0), last));
  });
  [where, against].forEach((node) => node.addEventListener("change", show));
  const asked = [named("Environment", where), named("Against", against)].filter((one) => one.lastChild.length > 1);
  svg.parentNode.before(make("div", { className: "filter" }, ...asked, ...arms));
  svg.parentNode.after(make("p", {}, readout));
  place.hidden = false;
  show();
})();
