// What the playground draws: a prompt with the model's answers, where they point, and errors by k.

const CAPTIONS = 70, STATE = 13, ERROR_MOST = 2.5, ERROR_HEIGHT = 54, ARC = 30, BRACKET = 26;
const colourOf = (system, N) => (system < N ? COLOURS[system] : NEW_COLOUR);
const letterOf = (system, N) => (system < N ? LETTERS[system] : "new");

const INK = { "#e69f00": "#000", "#56b4e9": "#000", "#cc79a7": "#000", "#009e73": "#000" }; // of letters on a system's colour; else white

// answer and settings: of core().  Returns the picture, the query's label (to be dragged) and the middle of each segment.
function promptPicture({ prompt, predictions }, settings, room) {
  const named = settings.shown, { rows, segments, observations, dimension: n, query } = prompt, N = segments.length - 1, asked = segments[N];
  const cell = Math.max(11, Math.min(24, (room - CAPTIONS - 4) / rows)), x = (row) => CAPTIONS + row * cell;
  const brackets = ARC + 2, states = brackets + BRACKET + 8, answers = states + n * STATE + 8, errors = answers + n * STATE + 12;
  const height = errors + ERROR_HEIGHT + 18;
  const svg = node("svg", { width: x(rows) + 4, height, role: "img", "aria-label": `Prompt of ${N} systems in dimension ${n}: the query shows ${named < 0 ? "a label that nobody has" : `${LETTERS[named]}'s label`}, then ${letterOf(asked.system, N)} goes on; with the model's answers` });
  const text = (at, top, words, more = {}) => svg.append(node("text", { x: at, y: top, fill: "currentColor", "font-size": 11, ...more }, words));
  svg.append(node("rect", { x: x(query) - 1, y: 0, width: x(rows) - x(query) + 3, height, fill: "currentColor", "fill-opacity": 0.05, rx: 4 }));
  text(0, brackets + 17, "segments");
  text(0, states + n * STATE / 2 + 4, "states");
  text(0, answers + n * STATE / 2 + 4, "model says");
  text(0, errors + ERROR_HEIGHT / 2, "squared");
  text(0, errors + ERROR_HEIGHT / 2 + 12, "error");

  const middle = segments.map((s) => x(s.start + 1 + s.length / 2));
  const arc = (to, colour, dash) => {
    const [from, down] = [x(query) + cell / 2, brackets - 1];
    svg.append(node("path", { d: `M${from} ${down}C${from - 14} ${-ARC * 0.2} ${to + 14} ${-ARC * 0.2} ${to} ${down}`, fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash }));
  };
  if (named >= 0) arc(x(segments[named].start) + cell / 2, COLOURS[named], "none");

  let chip;
  segments.forEach((s, i) => {
    const colour = colourOf(s.system, N), left = x(s.start), right = x(Math.min(s.start + s.length + 2, rows)), last = i === N;
    svg.append(node("rect", { x: left, y: brackets, width: right - left - 2, height: BRACKET, rx: 4, fill: colour, "fill-opacity": 0.2 }));
    svg.append(node("path", { d: `M${left + 6} ${brackets}h-5v${BRACKET}h5` + (last ? "" : `M${right - 8} ${brackets}h5v${BRACKET}h-5`), stroke: colour, "stroke-width": 2, fill: "none" }));
    text(middle[i] + cell, brackets + 17, letterOf(s.system, N) + (last ? " goes on" : ""), { "text-anchor": "middle", "font-weight": 600 });
    const shade = last ? (named < 0 ? NEW_COLOUR : COLOURS[named]) : colour;
    const label = node("g", { class: last ? "recall-chip" : "", "data-segment": i });
    label.append(node("rect", { x: left + 3, y: brackets + 4, width: 19, height: BRACKET - 8, rx: 9, fill: shade, stroke: "currentColor", "stroke-width": last ? 1.5 : 0,
      "stroke-dasharray": last && named < 0 ? "3 2" : "none" }));
    label.append(node("text", { x: left + 12.5, y: brackets + 17, "text-anchor": "middle", "font-size": 11, "font-weight": 700, fill: INK[shade] || "#fff" }, s.label));
    label.append(node("title", {}, last ? `the label at the query: ${s.label}; drag it onto another segment` : `label ${s.label} names ${letterOf(s.system, N)}`));
    svg.append(label);
    if (last) chip = label;
  });

  const largest = Math.max(...observations.flat(2).map(Math.abs), 1e-9);
  const strip = (row, top, state) => state.forEach((value, i) => svg.append(node("rect", {
    x: x(row) + 0.5, y: top + i * STATE + 0.5, width: cell - 1, height: STATE - 1, fill: value > 0 ? POSITIVE : NEGATIVE,
    "fill-opacity": Math.min(1, 0.06 + 0.94 * Math.abs(value) / largest), ...(value < 0 ? { stroke: NEGATIVE, "stroke-dasharray": "2 2" } : {}) })));
  const y = (error) => (ERROR_HEIGHT * Math.min(error, ERROR_MOST)) / ERROR_MOST;
  svg.append(node("line", { x1: CAPTIONS, x2: x(rows), y1: errors + ERROR_HEIGHT, y2: errors + ERROR_HEIGHT, stroke: "currentColor", "stroke-opacity": 0.4 }));
  segments.forEach((s, i) => {
    for (let k = 0; k < s.length; k++) {
      const row = s.start + 1 + k, state = observations[s.system][s.first + k], said = predictions[row - 1];
      strip(row, states, state);
      strip(row, answers, said);
      const error = squared(minus(said, state));
      const bar = node("rect", { x: x(row) + 1, y: errors + ERROR_HEIGHT - y(error), width: cell - 2, height: Math.max(1, y(error)), fill: i === N ? "#d1660f" : "currentColor", "fill-opacity": i === N ? 1 : 0.35 });
      bar.append(node("title", {}, `${error.toFixed(2)}`));
      svg.append(bar);
      if (i === N) text(x(row) + cell / 2, height - 4, k + 1, { "text-anchor": "middle", "font-size": 10 });
    }
  });
  text(x(query) - 4, height - 4, "k =", { "text-anchor": "end", "font-size": 10 });
  return { svg, chip, middle };
}

// A bar per system for k = 1, 2, 3: weights [K][N] of the answers on what each system would do next.
function pointingChart(weights, settings, room) {
  const named = settings.shown, going = settings.fresh ? -1 : settings.needle;
  const N = weights[0].length, thick = N > 4 ? 11 : 15, gap = 14, left = 74, right = 40, width = Math.max(220, room);
  const height = 3 * (N * thick + gap) + 20, x = (value) => left + (width - left - right) * Math.max(0, Math.min(1.1, value)) / 1.1;
  const svg = node("svg", { width, height, role: "img", "aria-label": `Where the answers point: ${weights.slice(0, 3).map((each, k) => `k = ${k + 1}: ${each.map((w, i) => `${LETTERS[i]} ${w.toFixed(2)}`).join(", ")}`).join("; ")}` });
  const text = (at, top, words, more = {}) => svg.append(node("text", { x: at, y: top, fill: "currentColor", "font-size": 11, ...more }, words));
  for (const value of [0, 0.5, 1]) {
    svg.append(node("line", { x1: x(value), x2: x(value), y1: 0, y2: height - 18, stroke: "currentColor", "stroke-opacity": 0.25 }));
    text(x(value), height - 5, value, { "text-anchor": "middle", "font-size": 10 });
  }
  for (let k = 0; k < 3; k++) {
    const top = k * (N * thick + gap) + 4;
    text(0, top + (N * thick) / 2 + 4, `k = ${k + 1}`, { "font-weight": 600 });
    weights[k].forEach((weight, i) => {
      const at = top + i * thick;
      text(left - 8, at + thick / 2 + 4, LETTERS[i], { "text-anchor": "end", "font-weight": 600, "font-size": thick > 11 ? 11 : 10 });
      svg.append(node("rect", { x: x(0), y: at + 1, width: Math.max(1, x(weight) - x(0)), height: thick - 2, fill: COLOURS[i], rx: 2 }));
      const role = [i === named ? "label" : "", i === going ? "states" : "", weight < -0.1 ? weight.toFixed(2) : ""].filter(Boolean).join(", ");
      if (role) text(x(Math.max(0, weight)) + 5, at + thick / 2 + 4, role, { "font-size": 10 });
    });
  }
  return svg;
}

// Errors by k: means with a 95 % interval for the model, lines for the references.
function errorChart({ error, count }, room) {
  const K = error.model.length, width = Math.max(220, room), height = 190, left = 34, bottom = 34, top = 8;
  const most = Math.max(2.1, ...error.model.map((e) => Math.min(4, e.mean))), x = (k) => left + 14 + ((width - left - 30) * (k - 1)) / (K - 1);
  const y = (value) => top + (height - top - bottom) * (1 - Math.min(value, most) / most);
  const svg = node("svg", { width, height, role: "img", "aria-label": `Squared error of the model by k after the query, mean of ${count} prompts: ${error.model.map((e) => e.mean.toFixed(2)).join(", ")}` });
  const text = (at, down, words, more = {}) => svg.append(node("text", { x: at, y: down, fill: "currentColor", "font-size": 11, ...more }, words));
  for (const value of [0, 0.5, 1, 1.5, 2]) {
    svg.append(node("line", { x1: left, x2: width - 4, y1: y(value), y2: y(value), stroke: "currentColor", "stroke-opacity": value ? 0.15 : 0.4 }));
    text(left - 6, y(value) + 4, value, { "text-anchor": "end", "font-size": 10 });
  }
  for (let k = 1; k <= K; k++) text(x(k), height - bottom + 14, k, { "text-anchor": "middle", "font-size": 10 });
  text((left + width) / 2, height - 4, "k after the query", { "text-anchor": "middle" });
  const line = (values, more) => svg.append(node("polyline", { points: values.map((e, i) => `${x(i + 1)},${y(e.mean)}`).join(" "), fill: "none", stroke: "currentColor", ...more }));
  line(error.byLabel, { "stroke-width": 1.5 });
  line(error.byState, { "stroke-width": 1.5, "stroke-dasharray": "5 4" });
  line(error.model, { stroke: "#d1660f", "stroke-width": 2.5 });
  error.model.forEach((e, i) => {
    if (e.half > 0) svg.append(node("line", { x1: x(i + 1), x2: x(i + 1), y1: y(e.mean + e.half), y2: y(Math.max(0, e.mean - e.half)), stroke: "#d1660f", "stroke-width": 4, "stroke-opacity": 0.45 }));
    svg.append(node("circle", { cx: x(i + 1), cy: y(e.mean), r: 3.5, fill: "#d1660f" }));
  });
  return svg;
}
