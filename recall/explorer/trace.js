// The trace explorer. Draws an interleaved, labelled trace as a picture and its tokens as a heat map, from its own
// seeded generator: no kernel, no server, no network. The same module serves the book page and JupyterLab (anywidget).

const ROW_WIDTH = 9, LEFT = 92, CELL = 11;

// ---------------------------------------------------------------- a trace, as recall.task draws it (compact generator)

function drawTrace({ dimension: n, labels, min_payload, max_payload, seed }) {
  const rng = random(seed * 7919 + n * 131 + labels * 17 + min_payload * 5 + max_payload);
  const mean = (min_payload + max_payload) / 2 + 2;
  const rows = Math.max(Math.round((2 * labels + 3) * mean), max_payload + 2);
  const names = rng.shuffled(labels);
  const shown = Array(labels).fill(0), segments = [];
  const order = []; // systems are numbered as they appear
  for (let start = 0; start < rows;) {
    const drawn = rng.integer(0, labels - 1), length = rng.integer(min_payload, max_payload);
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
  return { rows: rows + 1, labels, dimension: n, segments, observations, tokens: layOut(rows + 1, labels, n, segments, observations) };
}

// What one row is, and what must be predicted on it.
function explain(trace, row) {
  if (row === 0) return "row 0: the start row. The next row is a label, so nothing is predicted here.";
  const s = trace.segments.findLast((each) => each.start <= row);
  const at = row - s.start, name = LETTERS[s.system], again = s.first > 0;
  const what = at === 0 ? `open label ${s.label}` : at <= s.length ? `observation ${s.first + at - 1} of system ${name}` : `close label ${s.label}`;
  if (at > s.length - 1 || row === trace.rows - 1) return `row ${row}: ${what}. Nothing is predicted here.`;
  const k = at + 1;
  const task = again
    ? k === 1 ? `${k}-after-query: only the label says that ${name} goes on from observation ${s.first - 1}`
      : `${k}-after-query: ${k === 2 ? "one resumed observation has" : `${k - 1} resumed observations have`} been seen`
    : `${k}-after-initial: ${k === 1 ? "nothing is known about" : `${k - 1} observation${k > 2 ? "s" : ""} seen of`} system ${name}`;
  return `row ${row}: ${what}. To predict: observation ${s.first + at} of ${name} (${task}).`;
}

// ------------------------------------------------------------------------------------------------------------ drawing

const x = (row) => LEFT + row * ROW_WIDTH;

function picture(trace) {
  const { rows, labels, dimension: n, segments, observations } = trace;
  const bracketTop = 6, statesTop = 46, statesHeight = 96, heatTop = statesTop + statesHeight + 40;
  const columns = 2 * labels + 2 + n, height = heatTop + columns * CELL + 26;
  const svg = node("svg", { width: x(rows) + 8, height, role: "img" });
  svg.append(node("title", {}, `A trace of ${labels} system${labels > 1 ? "s" : ""} in dimension ${n}: ${segments.length} segments on ${rows} rows`));
  const text = (at, top, words, more = {}) => svg.append(node("text", { x: at, y: top, fill: "currentColor", "font-size": 11, ...more }, words));

  // brackets: one per segment
  text(0, bracketTop + 16, "segment");
  for (const s of segments) {
    const colour = COLOURS[s.system], left = x(s.start), right = x(Math.min(s.start + s.length + 2, rows));
    const closed = s.start + s.length + 2 <= rows;
    svg.append(node("rect", { x: left, y: bracketTop, width: right - left - 1, height: 24, rx: 3, fill: colour, "fill-opacity": 0.18 }));
    svg.append(node("path", { d: `M${left + 5} ${bracketTop}h-4v24h4` + (closed ? `M${right - 6} ${bracketTop}h4v24h-4` : ""), stroke: colour, "stroke-width": 2, fill: "none" }));
    const words = right - left > 66 ? `${LETTERS[s.system]} · label ${s.label}` : right - left > 16 ? LETTERS[s.system] : "";
    text((left + right) / 2, bracketTop + 16, words, { "text-anchor": "middle", "font-weight": 600 });
  }

  // first state coordinate, broken where the system is hidden
  const largest = Math.max(1e-6, ...observations.flat().map((state) => Math.abs(state[0])));
  const y = (value) => statesTop + statesHeight / 2 - (value / largest) * (statesHeight / 2 - 4);
  text(0, statesTop + statesHeight / 2 - 4, "observation,");
  text(0, statesTop + statesHeight / 2 + 9, "first entry");
  svg.append(node("line", { x1: LEFT, x2: x(rows), y1: y(0), y2: y(0), stroke: "currentColor", "stroke-opacity": 0.25 }));
  const last = {};
  for (const s of segments) {
    const points = [];
    for (let k = 0; k < s.length && s.start + 1 + k < rows; k++) {
      points.push([x(s.start + 1 + k) + ROW_WIDTH / 2, y(observations[s.system][s.first + k][0])]);
    }
    if (!points.length) continue;
    const colour = COLOURS[s.system];
    if (last[s.system]) {
      const [[ax, ay], [bx, by]] = [last[s.system], points[0]];
      svg.append(node("path", { d: `M${ax} ${ay}C${(ax + bx) / 2} ${ay} ${(ax + bx) / 2} ${by} ${bx} ${by}`, stroke: colour, "stroke-dasharray": "2 4", "stroke-opacity": 0.75, fill: "none" }));
    }
    svg.append(node("polyline", { points: points.map((p) => p.join()).join(" "), stroke: colour, "stroke-width": 1.5, fill: "none" }));
    for (const [cx, cy] of points) svg.append(node("circle", { cx, cy, r: 2.6, fill: colour }));
    last[s.system] = points.at(-1);
  }

  // tokens
  text(LEFT, heatTop - 10, `tokens: ${rows} rows × ${columns} columns (blank = 0, orange = positive, blue = negative)`);
  const group = (from, count, words) => {
    const top = heatTop + from * CELL;
    svg.append(node("line", { x1: 0, x2: x(rows), y1: top, y2: top, stroke: "currentColor", "stroke-opacity": 0.18 }));
    text(0, top + Math.min(count * CELL / 2 + 4, count * CELL - 1), words);
  };
  group(0, 2 * labels, "labels");
  group(2 * labels, 1, "start");
  group(2 * labels + 1, 1, "payload flag");
  group(2 * labels + 2, n, "observation");
  trace.tokens.forEach((token, row) => token.forEach((value, column) => {
    if (!value) return;
    svg.append(node("rect", { x: x(row) + 0.5, y: heatTop + column * CELL + 0.5, width: ROW_WIDTH - 1, height: CELL - 1,
      fill: value > 0 ? POSITIVE : NEGATIVE, "fill-opacity": Math.min(1, 0.15 + Math.abs(value) / Math.SQRT2) }));
  }));
  for (let row = 0; row < rows; row += 10) text(x(row) + ROW_WIDTH / 2, height - 8, row, { "text-anchor": "middle", "font-size": 10 });
  text(0, height - 8, "row");

  const cursor = node("rect", { x: x(0), y: 0, width: ROW_WIDTH, height: heatTop + columns * CELL, fill: "currentColor", "fill-opacity": 0.12, "pointer-events": "none" });
  svg.append(cursor);
  return { svg, cursor };
}

function render({ model, el }) {
  const root = html("div", { class: "recall-trace" });
  const form = html("form", { class: "recall-trace-controls" });
  const readout = html("p", { class: "recall-trace-readout", "aria-live": "polite" });
  const stage = html("div", { class: "recall-trace-stage", tabindex: "0", role: "group", "aria-label": "The trace; left and right arrow keys move through its rows" });
  let row = 1, drawn = null;

  const slider = (name, words, low, high) => {
    const input = html("input", { type: "range", min: low, max: high, step: 1, name });
    const output = html("output", {});
    const read = () => { input.value = model.get(name); output.textContent = model.get(name); };
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
  const button = html("button", { type: "button" }, "new trace");
  button.addEventListener("click", () => { model.set("seed", model.get("seed") + 1); model.save_changes(); });
  form.append(button);
  form.addEventListener("submit", (event) => event.preventDefault());

  const point = (to) => {
    row = Math.max(0, Math.min(drawn.trace.rows - 1, to));
    drawn.cursor.setAttribute("x", x(row));
    readout.textContent = explain(drawn.trace, row);
  };
  const show = () => {
    const settings = Object.fromEntries(["dimension", "labels", "min_payload", "max_payload", "seed"].map((name) => [name, model.get(name)]));
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

  const { leave } = whenChanged(model, ["dimension", "labels", "min_payload", "max_payload", "seed"], show);
  root.append(form, stage, readout);
  root.recall = model; // for tests: what is on screen can be read back
  el.append(root);
  show();
  return leave;
}

export default { render };
