// What the playground draws: a prompt with the model's answers, where they point, and errors by k.

const CAPTIONS = 70; // pixels left of the rows
const STATE = 13; // height of one entry of a state
const ERROR_MOST = 2.5; // the highest bar
const ERROR_HEIGHT = 54;
const ARC = 30; // room for the line from the query's label to its segment
const BRACKET = 26;
const colourOf = (system, N) => (system < N ? COLOURS[system] : NEW_COLOUR);
const letterOf = (system, N) => (system < N ? LETTERS[system] : "new");

const INK = { "#e69f00": "#000", "#56b4e9": "#000", "#cc79a7": "#000", "#009e73": "#000" }; // of letters on a system's colour; else white

// answer and settings: of core().  Returns the picture, the query's label (to be dragged) and the middle of each segment.
function promptPicture({ prompt, predictions }, settings, room) {
  const named = settings.shown;
  const { rows, segments, observations, dimension: n, query } = prompt;
  const N = segments.length - 1;
  const cell = Math.max(11, Math.min(24, (room - CAPTIONS - 4) / rows));
  const x = (row) => CAPTIONS + row * cell;
  const brackets = ARC + 2; // tops of the four bands
  const states = brackets + BRACKET + 8;
  const answers = states + n * STATE + 8;
  const errors = answers + n * STATE + 12;
  const height = errors + ERROR_HEIGHT + 18;
  const whose = named < 0 ? "a label that nobody has" : `${LETTERS[named]}'s label`;
  const said =
    `Prompt of ${N} systems in dimension ${n}: the query shows ${whose}, ` +
    `then ${letterOf(segments[N].system, N)} goes on; with the model's answers`;
  const svg = node("svg", { width: x(rows) + 4, height, role: "img", "aria-label": said });
  const { put, across, curve, text } = brush(svg);
  put("rect", {
    x: x(query) - 1,
    y: 0,
    width: x(rows) - x(query) + 3,
    height,
    fill: "currentColor",
    "fill-opacity": 0.05,
    rx: 4,
  });
  text(0, brackets + 17, "segments");
  text(0, states + (n * STATE) / 2 + 4, "states");
  text(0, answers + (n * STATE) / 2 + 4, "model says");
  text(0, errors + ERROR_HEIGHT / 2, "squared");
  text(0, errors + ERROR_HEIGHT / 2 + 12, "error");

  const middle = segments.map((s) => x(s.start + 1 + s.length / 2));
  if (named >= 0) {
    const from = x(query) + cell / 2;
    const to = x(segments[named].start) + cell / 2;
    const [low, high] = [brackets - 1, -ARC * 0.2];
    curve(`M${from} ${low}C${from - 14} ${high} ${to + 14} ${high} ${to} ${low}`, COLOURS[named], {
      "stroke-width": 2,
      "stroke-dasharray": "none",
    });
  }

  let chip;
  segments.forEach((s, i) => {
    const colour = colourOf(s.system, N);
    const left = x(s.start);
    const right = x(Math.min(s.start + s.length + 2, rows));
    const last = i === N;
    const box = { x: left, y: brackets, width: right - left - 2, height: BRACKET, rx: 4 };
    put("rect", { ...box, fill: colour, "fill-opacity": 0.2 });
    const ends = `M${left + 6} ${brackets}h-5v${BRACKET}h5` + (last ? "" : `M${right - 8} ${brackets}h5v${BRACKET}h-5`);
    curve(ends, colour, { "stroke-width": 2 });
    const centred = { "text-anchor": "middle", "font-weight": 600 };
    text(middle[i] + cell, brackets + 17, letterOf(s.system, N) + (last ? " goes on" : ""), centred);
    const label = labelOf(s, i, left, last ? named : i);
    svg.append(label);
    if (last) chip = label;
  });

  // the label that a segment shows: its own, or at the query that of another segment (-1: nobody's)
  function labelOf(s, i, left, owner) {
    const last = i === N;
    const shade = owner < 0 ? NEW_COLOUR : COLOURS[owner];
    const label = node("g", { class: last ? "recall-chip" : "", "data-segment": i });
    const { put } = brush(label);
    put("rect", {
      x: left + 3,
      y: brackets + 4,
      width: 19,
      height: BRACKET - 8,
      rx: 9,
      fill: shade,
      stroke: "currentColor",
      "stroke-width": last ? 1.5 : 0,
      "stroke-dasharray": owner < 0 ? "3 2" : "none",
    });
    const ink = { "font-size": 11, "font-weight": 700, fill: INK[shade] || "#fff" };
    put("text", { x: left + 12.5, y: brackets + 17, "text-anchor": "middle", ...ink }, s.label);
    const drag = `the label at the query: ${s.label}; drag it onto another segment`;
    put("title", {}, last ? drag : `label ${s.label} names ${letterOf(s.system, N)}`);
    return label;
  }

  const largest = Math.max(...observations.flat(2).map(Math.abs), 1e-9);
  const strip = (row, top, state) =>
    state.forEach((value, i) =>
      put("rect", {
        x: x(row) + 0.5,
        y: top + i * STATE + 0.5,
        width: cell - 1,
        height: STATE - 1,
        fill: value > 0 ? POSITIVE : NEGATIVE,
        "fill-opacity": Math.min(1, 0.06 + (0.94 * Math.abs(value)) / largest),
        ...(value < 0 ? { stroke: NEGATIVE, "stroke-dasharray": "2 2" } : {}),
      }),
    );
  const y = (error) => (ERROR_HEIGHT * Math.min(error, ERROR_MOST)) / ERROR_MOST;
  across(CAPTIONS, x(rows), errors + ERROR_HEIGHT, 0.4);
  segments.forEach((s, i) => {
    const ink = i === N ? { fill: MODEL, "fill-opacity": 1 } : { fill: "currentColor", "fill-opacity": 0.35 };
    for (let k = 0; k < s.length; k++) {
      const row = s.start + 1 + k;
      const state = observations[s.system][s.first + k];
      const said = predictions[row - 1];
      strip(row, states, state);
      strip(row, answers, said);
      const error = squared(minus(said, state));
      const top = errors + ERROR_HEIGHT - y(error);
      const bar = put("rect", { x: x(row) + 1, y: top, width: cell - 2, height: Math.max(1, y(error)), ...ink });
      bar.append(node("title", {}, error.toFixed(2)));
      if (i === N) text(x(row) + cell / 2, height - 4, k + 1, { "text-anchor": "middle", "font-size": 10 });
    }
  });
  text(x(query) - 4, height - 4, "k =", { "text-anchor": "end", "font-size": 10 });
  return { svg, chip, middle };
}

// A bar per system for k = 1, 2, 3: weights [K][N] of the answers on what each system would do next.
function pointingChart(weights, settings, room) {
  const going = settings.fresh ? -1 : settings.needle;
  const N = weights[0].length;
  const thick = N > 4 ? 11 : 15;
  const gap = 14;
  const left = 74;
  const right = 40;
  const width = Math.max(220, room);
  const height = 3 * (N * thick + gap) + 20;
  const x = (value) => left + ((width - left - right) * Math.max(0, Math.min(1.1, value))) / 1.1;
  const listed = (each, k) => `k = ${k + 1}: ${each.map((w, i) => `${LETTERS[i]} ${w.toFixed(2)}`).join(", ")}`;
  const said = `Where the answers point: ${weights.slice(0, 3).map(listed).join("; ")}`;
  const svg = node("svg", { width, height, role: "img", "aria-label": said });
  const { put, down, text } = brush(svg);
  for (const value of [0, 0.5, 1]) {
    down(0, height - 18, x(value), 0.25);
    text(x(value), height - 5, value, { "text-anchor": "middle", "font-size": 10 });
  }
  for (let k = 0; k < 3; k++) {
    const top = k * (N * thick + gap) + 4;
    text(0, top + (N * thick) / 2 + 4, `k = ${k + 1}`, { "font-weight": 600 });
    weights[k].forEach((weight, i) => {
      const at = top + i * thick;
      const letter = { "text-anchor": "end", "font-weight": 600, "font-size": thick > 11 ? 11 : 10 };
      text(left - 8, at + thick / 2 + 4, LETTERS[i], letter);
      const long = Math.max(1, x(weight) - x(0));
      put("rect", { x: x(0), y: at + 1, width: long, height: thick - 2, fill: COLOURS[i], rx: 2 });
      const roles = [
        i === settings.shown ? "label" : "",
        i === going ? "states" : "",
        weight < -0.1 ? weight.toFixed(2) : "",
      ];
      const role = roles.filter(Boolean).join(", ");
      if (role) text(x(Math.max(0, weight)) + 5, at + thick / 2 + 4, role, { "font-size": 10 });
    });
  }
  return svg;
}

// Errors by k: means with a 95 % interval for the model, lines for the references.
function errorChart({ error, count }, room) {
  const K = error.model.length;
  const width = Math.max(220, room);
  const height = 190;
  const [left, bottom, top] = [34, 34, 8];
  const most = Math.max(2.1, ...error.model.map((e) => Math.min(4, e.mean)));
  const x = (k) => left + 14 + ((width - left - 30) * (k - 1)) / (K - 1);
  const y = (value) => top + (height - top - bottom) * (1 - Math.min(value, most) / most);
  const means = error.model.map((e) => e.mean.toFixed(2)).join(", ");
  const said = `Squared error of the model by k after the query, mean of ${count} prompts: ${means}`;
  const svg = node("svg", { width, height, role: "img", "aria-label": said });
  const { put, across, polyline, text } = brush(svg);
  for (const value of [0, 0.5, 1, 1.5, 2]) {
    across(left, width - 4, y(value), value ? 0.15 : 0.4);
    text(left - 6, y(value) + 4, value, { "text-anchor": "end", "font-size": 10 });
  }
  for (let k = 1; k <= K; k++) text(x(k), height - bottom + 14, k, { "text-anchor": "middle", "font-size": 10 });
  text((left + width) / 2, height - 4, "k after the query", { "text-anchor": "middle" });
  const points = (values) => values.map((e, i) => [x(i + 1), y(e.mean)]);
  polyline(points(error.byLabel), "currentColor", { "stroke-width": 1.5 });
  polyline(points(error.byState), "currentColor", { "stroke-width": 1.5, "stroke-dasharray": "5 4" });
  polyline(points(error.model), MODEL, { "stroke-width": 2.5 });
  error.model.forEach((e, i) => {
    const at = x(i + 1);
    if (e.half > 0) {
      const ends = { x1: at, x2: at, y1: y(e.mean + e.half), y2: y(Math.max(0, e.mean - e.half)) };
      put("line", { ...ends, stroke: MODEL, "stroke-width": 4, "stroke-opacity": 0.45 });
    }
    put("circle", { cx: at, cy: y(e.mean), r: 3.5, fill: MODEL });
  });
  return svg;
}
