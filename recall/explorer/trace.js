// The trace explorer. Draws an interleaved, labelled trace as a picture and its tokens as a heat map, from its own
// seeded generator: no kernel, no server, no network. The same module serves the book page and JupyterLab (anywidget).

const ROW_WIDTH = 9;
const LEFT = 92;
const CELL = 11;
const STATES = 96; // height of the states' band
const SETTINGS = ["dimension", "labels", "min_payload", "max_payload", "seed"];

// ---------------------------------------------------------------- a trace, as recall.task draws it (compact generator)

function drawTrace({ dimension: n, labels, min_payload, max_payload, seed }) {
  const rng = random(seed * 7919 + n * 131 + labels * 17 + min_payload * 5 + max_payload);
  const mean = (min_payload + max_payload) / 2 + 2;
  const rows = Math.max(Math.round((2 * labels + 3) * mean), max_payload + 2);
  const names = rng.shuffled(labels);
  const shown = Array(labels).fill(0);
  const segments = [];
  const order = []; // systems are numbered as they appear
  for (let start = 0; start < rows;) {
    const drawn = rng.integer(0, labels - 1);
    const length = rng.integer(min_payload, max_payload);
    if (!order.includes(drawn)) order.push(drawn);
    const system = order.indexOf(drawn);
    segments.push({ system, label: names[system], start: start + 1, length, first: shown[system] });
    shown[system] += length;
    start += length + 2;
  }
  const observations = shown.map((steps) => {
    const U = haar(n, rng);
    let x = firstState(n, rng);
    return Array.from({ length: Math.max(steps, 1) }, () => {
      const now = x;
      x = times(U, now);
      return now;
    });
  });
  const tokens = layOut(rows + 1, labels, n, segments, observations);
  return { rows: rows + 1, labels, dimension: n, segments, observations, tokens };
}

// What one row is, and what must be predicted on it.
function explain(trace, row) {
  if (row === 0) return "row 0: the start row. The next row is a label, so nothing is predicted here.";
  const s = trace.segments.findLast((each) => each.start <= row);
  const at = row - s.start;
  const name = LETTERS[s.system];
  const observation = (i) => `observation ${s.first + i} of`;
  const inside = at <= s.length ? `${observation(at - 1)} system ${name}` : `close label ${s.label}`;
  const what = at === 0 ? `open label ${s.label}` : inside;
  if (at > s.length - 1 || row === trace.rows - 1) return `row ${row}: ${what}. Nothing is predicted here.`;
  return `row ${row}: ${what}. To predict: ${observation(at)} ${name} (${taskOf(s, at + 1, name)}).`;
}

// The k-th observation of a segment as a task: after a first label nothing is known of a system, later it goes on.
function taskOf({ first }, k, name) {
  const seen = k - 1;
  if (first === 0) {
    const known = seen === 0 ? "nothing is known about" : `${seen} observation${seen > 1 ? "s" : ""} seen of`;
    return `${k}-after-initial: ${known} system ${name}`;
  }
  if (seen === 0) return `${k}-after-query: only the label says that ${name} goes on from observation ${first - 1}`;
  const resumed = seen === 1 ? "one resumed observation has" : `${seen} resumed observations have`;
  return `${k}-after-query: ${resumed} been seen`;
}

// ------------------------------------------------------------------------------------------------------------ drawing

const x = (row) => LEFT + row * ROW_WIDTH;

function picture(trace) {
  const { rows, labels, dimension: n, segments } = trace;
  const brackets = 6; // tops of the three bands
  const states = 46;
  const tokens = states + STATES + 40;
  const columns = 2 * labels + 2 + n;
  const height = tokens + columns * CELL + 26;
  const svg = node("svg", { width: x(rows) + 8, height, role: "img" });
  const pen = brush(svg);
  const systems = `${labels} system${labels > 1 ? "s" : ""}`;
  pen.put("title", {}, `A trace of ${systems} in dimension ${n}: ${segments.length} segments on ${rows} rows`);
  drawSegments(pen, trace, brackets);
  drawStates(pen, trace, states);
  drawTokens(pen, trace, tokens, columns);
  const small = { "text-anchor": "middle", "font-size": 10 };
  for (let row = 0; row < rows; row += 10) pen.text(x(row) + ROW_WIDTH / 2, height - 8, row, small);
  pen.text(0, height - 8, "row");
  const bar = { x: x(0), y: 0, width: ROW_WIDTH, height: tokens + columns * CELL };
  const cursor = pen.put("rect", { ...bar, fill: "currentColor", "fill-opacity": 0.12, "pointer-events": "none" });
  return { svg, cursor };
}

// A bracket around each segment, open where the trace ends before it does.
function drawSegments({ put, curve, text }, { rows, segments }, top) {
  text(0, top + 16, "segment");
  for (const s of segments) {
    const colour = COLOURS[s.system];
    const left = x(s.start);
    const right = x(Math.min(s.start + s.length + 2, rows));
    const closed = s.start + s.length + 2 <= rows;
    put("rect", { x: left, y: top, width: right - left - 1, height: 24, rx: 3, fill: colour, "fill-opacity": 0.18 });
    const ends = `M${left + 5} ${top}h-4v24h4` + (closed ? `M${right - 6} ${top}h4v24h-4` : "");
    curve(ends, colour, { "stroke-width": 2 });
    const words = [`${LETTERS[s.system]} · label ${s.label}`, LETTERS[s.system], ""];
    const fitting = words[right - left > 66 ? 0 : right - left > 16 ? 1 : 2];
    text((left + right) / 2, top + 16, fitting, { "text-anchor": "middle", "font-weight": 600 });
  }
}

// First entry of the state, dotted where the system is hidden.
function drawStates({ put, across, curve, polyline, text }, { rows, segments, observations }, top) {
  const centre = top + STATES / 2;
  const largest = Math.max(1e-6, ...observations.flat().map((state) => Math.abs(state[0])));
  const y = (value) => centre - (value / largest) * (STATES / 2 - 4);
  text(0, centre - 4, "observation,");
  text(0, centre + 9, "first entry");
  across(LEFT, x(rows), y(0), 0.25);
  const last = {};
  for (const s of segments) {
    const colour = COLOURS[s.system];
    const points = [];
    for (let k = 0; k < s.length && s.start + 1 + k < rows; k++) {
      points.push([x(s.start + 1 + k) + ROW_WIDTH / 2, y(observations[s.system][s.first + k][0])]);
    }
    if (!points.length) continue;
    if (last[s.system]) {
      const [[ax, ay], [bx, by]] = [last[s.system], points[0]];
      const half = (ax + bx) / 2;
      const dotted = { "stroke-dasharray": "2 4", "stroke-opacity": 0.75 };
      curve(`M${ax} ${ay}C${half} ${ay} ${half} ${by} ${bx} ${by}`, colour, dotted);
    }
    polyline(points, colour, { "stroke-width": 1.5 });
    for (const [cx, cy] of points) put("circle", { cx, cy, r: 2.6, fill: colour });
    last[s.system] = points.at(-1);
  }
}

// Every row as a column of cells.
function drawTokens({ put, across, text }, { rows, labels, dimension: n, tokens }, top, columns) {
  text(LEFT, top - 10, `tokens: ${rows} rows × ${columns} columns (blank = 0, orange = positive, blue = negative)`);
  const group = (from, count, words) => {
    const y = top + from * CELL;
    across(0, x(rows), y, 0.18);
    text(0, y + Math.min((count * CELL) / 2 + 4, count * CELL - 1), words);
  };
  group(0, 2 * labels, "labels");
  group(2 * labels, 1, "start");
  group(2 * labels + 1, 1, "payload flag");
  group(2 * labels + 2, n, "observation");
  tokens.forEach((token, row) =>
    token.forEach((value, column) => {
      if (!value) return;
      const place = { x: x(row) + 0.5, y: top + column * CELL + 0.5, width: ROW_WIDTH - 1, height: CELL - 1 };
      const opacity = Math.min(1, 0.15 + Math.abs(value) / Math.SQRT2);
      put("rect", { ...place, fill: value > 0 ? POSITIVE : NEGATIVE, "fill-opacity": opacity });
    }),
  );
}

function render({ model, el }) {
  const root = html("div", { class: "recall-trace" });
  const form = html("form", { class: "recall-trace-controls" });
  const readout = html("p", { class: "recall-trace-readout", "aria-live": "polite" });
  const stage = html("div", {
    class: "recall-trace-stage",
    tabindex: "0",
    role: "group",
    "aria-label": "The trace; left and right arrow keys move through its rows",
  });
  let row = 1;
  let drawn = null;

  const slider = (name, words, low, high) => {
    const input = html("input", { type: "range", min: low, max: high, step: 1, name });
    const output = html("output", {});
    const read = () => {
      input.value = model.get(name);
      output.textContent = model.get(name);
    };
    input.addEventListener("input", () => {
      const value = Number(input.value);
      model.set(name, value);
      if (name === "min_payload" && value > model.get("max_payload")) model.set("max_payload", value);
      if (name === "max_payload" && value < model.get("min_payload")) model.set("min_payload", value);
      model.save_changes();
    });
    form.append(html("label", {}, html("span", {}, words), output, input));
    return read;
  };
  const readers = [
    slider("dimension", "system dimension", 2, 8),
    slider("labels", "label count", 1, 8),
    slider("min_payload", "shortest segment", 1, 15),
    slider("max_payload", "longest segment", 1, 15),
  ];
  const renew = () => {
    model.set("seed", model.get("seed") + 1);
    model.save_changes();
  };
  form.append(button("new trace", renew));
  form.addEventListener("submit", (event) => event.preventDefault());

  const point = (to) => {
    row = Math.max(0, Math.min(drawn.trace.rows - 1, to));
    drawn.cursor.setAttribute("x", x(row));
    readout.textContent = explain(drawn.trace, row);
  };
  const show = () => {
    const settings = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
    if (settings.min_payload > settings.max_payload) return; // half way through a change of both
    readers.forEach((read) => read());
    const trace = drawTrace(settings);
    drawn = { trace, ...picture(trace) };
    stage.replaceChildren(drawn.svg);
    const resumed = trace.segments.find((s) => s.first > 0 && s.start < trace.rows - 1);
    point(resumed ? resumed.start : 1);
    model.set("trace", trace);
    model.save_changes();
  };
  stage.addEventListener("pointermove", (event) => {
    point(Math.floor((event.clientX - drawn.svg.getBoundingClientRect().left - LEFT) / ROW_WIDTH));
  });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    point(row + step);
    const seen = x(row) - stage.scrollLeft;
    if (seen > stage.clientWidth - 20 || seen < LEFT) stage.scrollLeft = x(row) - stage.clientWidth / 2;
  });

  const { leave } = whenChanged(model, SETTINGS, show);
  root.append(form, stage, readout);
  root.recall = model; // for tests: what is on screen can be read back
  el.append(root);
  show();
  return leave;
}

export default { render };
