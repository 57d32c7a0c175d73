// You first: the reader says where the next state of a plane system will be, then sees what the transformer said.

const SIDE = 340, REACH = 1.9; // pixels of the plane; its half width
const FAR = 1.75; // systems that live further out are not drawn
const KINDS = { "1 with": "k = 1, label shown", "1 without": "k = 1, label hidden", "2 with": "k = 2, label shown", "2 without": "k = 2, label hidden" };

function render({ model, el }) {
  const root = html("div", { class: "recall-play recall-guess", "data-state": "waiting" });
  const words = html("p", { class: "recall-play-words", "aria-live": "polite" }), spoken = html("p", { class: "recall-play-spoken", "aria-live": "polite" });
  const plane = node("svg", { width: SIDE, height: SIDE, viewBox: `0 0 ${SIDE} ${SIDE}`, tabindex: 0, role: "application", [KEYS]: "true",
    "aria-label": "The plane of states. Click where the next state will be, or move the cross with the arrow keys and press Enter" });
  const board = html("div", { class: "recall-guess-board" });
  const next = html("button", { type: "button" }, "next");
  const shown = html("input", { type: "checkbox", name: "labelled" });
  const toggle = html("label", { class: "recall-play-check" }, shown, html("span", {}, "show the label (from the next round)"));
  const scores = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, { you: [], model: [], ideal: [] }]));
  const [run] = model.get("catalogue"), N = 2;
  let answers, round = null, cross = [0, 0], moved = false;

  const px = (state) => [SIDE / 2 + (state[0] * SIDE) / 2 / REACH, SIDE / 2 - (state[1] * SIDE) / 2 / REACH];
  const put = (name, attributes, text) => { const made = node(name, attributes, text); plane.append(made); return made; };
  const dot = (state, attributes) => { const [cx, cy] = px(state); return put("circle", { cx, cy, ...attributes }); };
  const mark = (state, colour, words, size = 7) => {
    const [x, y] = px(state);
    put("path", { d: `M${x - size} ${y - size}L${x + size} ${y + size}M${x - size} ${y + size}L${x + size} ${y - size}`, stroke: colour, "stroke-width": 2.5 });
    if (words) put("text", { x: x + size + 3, y: y - size, fill: "currentColor", "font-size": 11, "font-weight": 600 }, words);
  };

  function picture() {
    const { first, k, labelled, guess } = round, { prompt, truth, predictions } = first, going = prompt.segments[N].system;
    plane.replaceChildren();
    put("line", { x1: 0, x2: SIDE, y1: SIDE / 2, y2: SIDE / 2, stroke: "currentColor", "stroke-opacity": 0.2 });
    put("line", { y1: 0, y2: SIDE, x1: SIDE / 2, x2: SIDE / 2, stroke: "currentColor", "stroke-opacity": 0.2 });
    for (let i = 0; i < N; i++) {
      const states = prompt.observations[i].slice(0, prompt.segments[i].length);
      put("polyline", { points: states.map((s) => px(s).join()).join(" "), fill: "none", stroke: COLOURS[i], "stroke-opacity": 0.35 });
      states.forEach((state, t) => dot(state, { r: t === states.length - 1 ? 7 : 3, fill: COLOURS[i], "fill-opacity": 0.35 + (0.65 * t) / states.length }));
      const [x, y] = px(states.at(-1));
      put("text", { x, y: y + 4, "text-anchor": "middle", "font-size": 10, "font-weight": 700, fill: "#fff" }, LETTERS[i]);
    }
    if (k === 2) { dot(truth[0], { r: 7, fill: "none", stroke: "currentColor", "stroke-width": 2 }); }
    if (!guess) { mark(cross, "currentColor", "", 5); return; }
    dot(truth[k - 1], { r: 9, fill: "none", stroke: COLOURS[going], "stroke-width": 3 });
    mark(guess, "currentColor", "you");
    mark(predictions[prompt.query + k - 1], "#d1660f", "model");
  }

  function table() {
    const mean = (list) => (list.length ? (list.reduce((a, b) => a + b, 0) / list.length).toFixed(2) : "–");
    const row = (cells, cell = "td") => html("tr", {}, ...cells.map((each) => html(cell, {}, each)));
    board.replaceChildren(html("table", { class: "recall-table" }, html("thead", {}, row(["mean squared error", "you", "model", "could be known", "tries"], "th")),
      html("tbody", {}, ...Object.entries(KINDS).map(([kind, title]) => row([title, mean(scores[kind].you), mean(scores[kind].model), mean(scores[kind].ideal), String(scores[kind].you.length)])))));
  }

  function ask() {
    const { first, k, labelled, guess } = round, going = LETTERS[first.prompt.segments[N].system];
    picture();
    next.disabled = !guess;
    next.textContent = guess && k === 2 ? "new systems" : "next";
    if (!guess) {
      words.textContent = k === 1
        ? labelled ? `${going} is called by its label. It goes on from its large dot. Click where its next state will be.` : "One of the two goes on from its large dot, but you are not told which. Click where the next state will be. (The transformer sees a label that neither had.)"
        : `The ring is the state that came. Where does it go from there?${labelled ? "" : " (Whose state is it?)"}`;
      return;
    }
    const { you, model, ideal } = round.errors;
    words.textContent = `It was ${going}${k === 1 ? "" : ", still"}: the coloured ring. Squared error: you ${you.toFixed(2)}, the model ${model.toFixed(2)}, what could be known ${ideal.toFixed(2)}.`;
  }

  function place(state) {
    if (!round || round.guess) return;
    const { first, k, labelled } = round, kind = `${k} ${labelled ? "with" : "without"}`;
    const truth = first.truth[k - 1], known = (labelled ? first.byLabel : first.byState)[k - 1];
    round.guess = state;
    round.errors = { you: squared(minus(state, truth)), model: squared(minus(first.predictions[first.prompt.query + k - 1], truth)), ideal: squared(minus(known, truth)) };
    for (const [who, error] of Object.entries(round.errors)) scores[kind][who].push(error);
    table();
    ask();
  }

  function begin() {
    const labelled = model.get("labelled"), drawn = (seed) => draw({ dimension: 2, labels: run.labels, systems: N, seed }).systems;
    let seed = model.get("seed");
    while (drawn(seed).some(({ x0 }) => Math.hypot(...x0) > FAR)) seed += 1000;
    const needle = random(seed).integer(0, N - 1);
    round = null;
    next.disabled = true;
    shown.checked = labelled;
    const settings = { dimension: 2, labels: run.labels, systems: N, needle, length: 10, shown: labelled ? needle : -1, fresh: false, equal_norm: false, share: 0, cut: [], seed };
    root.dataset.state = "asking";
    answers ||= new Answers(model);
    answers.ask(`${run.name}-${run.steps.at(-1)}`, settings, null, (data) => {
      if (data.failed) { root.dataset.state = "failed"; words.textContent = `No answer: ${data.failed}.`; return; }
      if (!data.first) return;
      round = { first: data.first, k: 1, labelled, guess: null };
      cross = [0, 0];
      root.dataset.state = "ready";
      ask();
      const at = (i) => data.first.prompt.observations[i][9].map((v) => v.toFixed(2)).join(", ");
      spoken.textContent = `Last state of A at ${at(0)}; of B at ${at(1)}.`;
      if (moved) plane.focus(); // the button that was pressed is gone grey
    }, 0);
  }

  plane.addEventListener("click", (event) => {
    const box = plane.getBoundingClientRect();
    place([(2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height].map((v) => v * REACH));
  });
  plane.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!round || round.guess || !(move || event.key === "Enter")) return;
    event.preventDefault();
    if (!move) return place(cross);
    cross = cross.map((v, i) => Math.max(-REACH, Math.min(REACH, v + move[i] * 0.05)));
    spoken.textContent = `Cross at ${cross.map((v) => v.toFixed(2)).join(", ")}`;
    picture();
  });
  next.addEventListener("click", () => {
    if (!round?.guess) return;
    if (round.k === 1) { round = { ...round, k: 2, guess: null }; ask(); plane.focus(); return; }
    moved = true;
    model.set("seed", model.get("seed") + 1);
    model.save_changes();
  });
  const { leave } = whenChanged(model, ["seed"], begin);
  shown.addEventListener("change", () => { model.set("labelled", shown.checked); model.save_changes(); });

  root.append(words, spoken, html("div", { class: "recall-guess-row" }, plane, html("div", {}, board, html("p", { class: "recall-play-buttons" }, next), toggle)));
  el.append(root);
  root.recall = model;
  root.round = () => round;
  table();
  words.textContent = "Loading the model…";
  begin();
  return () => { leave(); answers?.close(); };
}

export default { render };
