// You first: the reader says where the next state of a plane system will be, then sees what the transformer said.

const SIDE = 340; // pixels of the plane
const REACH = 1.9; // its half width
const FAR = 1.75; // systems that live further out are not drawn
const KINDS = {
  "1 with": "k = 1, label shown",
  "1 without": "k = 1, label hidden",
  "2 with": "k = 2, label shown",
  "2 without": "k = 2, label hidden",
};

function render({ model, el }) {
  const root = html("div", { class: "recall-play recall-guess", "data-state": "waiting" });
  const words = html("p", { class: "recall-play-words", "aria-live": "polite" });
  const spoken = html("p", { class: "recall-play-spoken", "aria-live": "polite" });
  const plane = node("svg", {
    width: SIDE,
    height: SIDE,
    viewBox: `0 0 ${SIDE} ${SIDE}`,
    tabindex: 0,
    role: "application",
    [KEYS]: "true",
    "aria-label":
      "The plane of states. Click where the next state will be, or move the cross with the arrow keys and press Enter",
  });
  const board = html("div", { class: "recall-guess-board" });
  const next = button("next", proceed);
  const shown = html("input", { type: "checkbox", name: "labelled" });
  const wish = html("span", {}, "show the label (from the next round)");
  const toggle = html("label", { class: "recall-play-check" }, shown, wish);
  const scores = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, { you: [], model: [], ideal: [] }]));
  const [run] = model.get("catalogue");
  const N = 2;
  let answers;
  let round = null;
  let cross = [0, 0];
  let moved = false;

  const { put, across, down, curve, polyline, text } = brush(plane);
  const px = (state) => [SIDE / 2 + (state[0] * SIDE) / 2 / REACH, SIDE / 2 - (state[1] * SIDE) / 2 / REACH];
  const dot = (state, attributes) => {
    const [cx, cy] = px(state);
    put("circle", { cx, cy, ...attributes });
  };
  const ring = (state, r, stroke, width) => dot(state, { r, fill: "none", stroke, "stroke-width": width });
  const mark = (state, colour, words, size = 7) => {
    const [x, y] = px(state);
    const [left, right, top, low] = [x - size, x + size, y - size, y + size];
    curve(`M${left} ${top}L${right} ${low}M${left} ${low}L${right} ${top}`, colour, { "stroke-width": 2.5 });
    if (words) text(right + 3, top, words, { "font-weight": 600 });
  };

  function picture() {
    const { first, k, guess } = round;
    const { prompt, truth, predictions } = first;
    plane.replaceChildren();
    across(0, SIDE, SIDE / 2, 0.2);
    down(0, SIDE, SIDE / 2, 0.2);
    for (let i = 0; i < N; i++) {
      const states = prompt.observations[i].slice(0, prompt.segments[i].length);
      const last = states.length - 1;
      polyline(states.map(px), COLOURS[i], { "stroke-opacity": 0.35 });
      states.forEach((state, t) => {
        const opacity = 0.35 + (0.65 * t) / states.length; // later states stand out
        dot(state, { r: t === last ? 7 : 3, fill: COLOURS[i], "fill-opacity": opacity });
      });
      const [x, y] = px(states[last]);
      text(x, y + 4, LETTERS[i], { "text-anchor": "middle", "font-size": 10, "font-weight": 700, fill: "#fff" });
    }
    if (k === 2) ring(truth[0], 7, "currentColor", 2);
    if (!guess) return mark(cross, "currentColor", "", 5);
    ring(truth[k - 1], 9, COLOURS[prompt.segments[N].system], 3);
    mark(guess, "currentColor", "you");
    mark(predictions[prompt.query + k - 1], MODEL, "model");
  }

  function table() {
    const mean = (list) => (list.length ? (list.reduce((a, b) => a + b, 0) / list.length).toFixed(2) : "–");
    const row = (cells, cell = "td") => html("tr", {}, ...cells.map((each) => html(cell, {}, each)));
    const body = Object.entries(KINDS).map(([kind, title]) => {
      const { you, model, ideal } = scores[kind];
      return row([title, mean(you), mean(model), mean(ideal), String(you.length)]);
    });
    const head = html("thead", {}, row(["mean squared error", "you", "model", "could be known", "tries"], "th"));
    board.replaceChildren(html("table", { class: "recall-table" }, head, html("tbody", {}, ...body)));
  }

  function question(going, k, labelled) {
    if (k === 2) {
      return `The ring is the state that came. Where does it go from there?${labelled ? "" : " (Whose state is it?)"}`;
    }
    if (labelled) {
      return `${going} is called by its label. It goes on from its large dot. Click where its next state will be.`;
    }
    return (
      "One of the two goes on from its large dot, but you are not told which. Click where the next state will be. " +
      "(The transformer sees a label that neither had.)"
    );
  }

  function verdict(going, k, { you, model, ideal }) {
    const [yours, its, known] = [you, model, ideal].map((error) => error.toFixed(2));
    return (
      `It was ${going}${k === 1 ? "" : ", still"}: the coloured ring. ` +
      `Squared error: you ${yours}, the model ${its}, what could be known ${known}.`
    );
  }

  function ask() {
    const { first, k, labelled, guess } = round;
    const going = LETTERS[first.prompt.segments[N].system];
    picture();
    next.disabled = !guess;
    next.textContent = guess && k === 2 ? "new systems" : "next";
    words.textContent = guess ? verdict(going, k, round.errors) : question(going, k, labelled);
  }

  function place(state) {
    if (!round || round.guess) return;
    const { first, k, labelled } = round;
    const kind = `${k} ${labelled ? "with" : "without"}`;
    const truth = first.truth[k - 1];
    const known = (labelled ? first.byLabel : first.byState)[k - 1];
    round.guess = state;
    round.errors = {
      you: squared(minus(state, truth)),
      model: squared(minus(first.predictions[first.prompt.query + k - 1], truth)),
      ideal: squared(minus(known, truth)),
    };
    for (const [who, error] of Object.entries(round.errors)) scores[kind][who].push(error);
    table();
    ask();
  }

  function begin() {
    const labelled = model.get("labelled");
    const drawn = (seed) => draw({ dimension: 2, labels: run.labels, systems: N, seed }).systems;
    let seed = model.get("seed");
    while (drawn(seed).some(({ x0 }) => Math.hypot(...x0) > FAR)) seed += 1000;
    const needle = random(seed).integer(0, N - 1);
    round = null;
    next.disabled = true;
    shown.checked = labelled;
    const query = { needle, length: 10, shown: labelled ? needle : -1, fresh: false };
    const plain = { equal_norm: false, share: 0, cut: [] };
    const settings = { dimension: 2, labels: run.labels, systems: N, ...query, ...plain, seed };
    const tell = (data) => {
      if (data.failed) {
        root.dataset.state = "failed";
        words.textContent = `No answer: ${data.failed}.`;
        return;
      }
      if (!data.first) return;
      round = { first: data.first, k: 1, labelled, guess: null };
      cross = [0, 0];
      root.dataset.state = "ready";
      ask();
      const at = (i) => data.first.prompt.observations[i][9].map((v) => v.toFixed(2)).join(", ");
      spoken.textContent = `Last state of A at ${at(0)}; of B at ${at(1)}.`;
      if (moved) plane.focus(); // the button that was pressed is gone grey
    };
    root.dataset.state = "asking";
    answers ||= new Answers(model);
    answers.ask(`${run.name}-${run.steps.at(-1)}`, settings, null, tell, 0);
  }

  plane.addEventListener("click", (event) => {
    const box = plane.getBoundingClientRect();
    const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    place([(2 * across - 1) * REACH, (1 - 2 * down) * REACH]);
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
  function proceed() {
    if (!round?.guess) return;
    if (round.k === 1) {
      round = { ...round, k: 2, guess: null };
      ask();
      plane.focus();
      return;
    }
    moved = true;
    model.set("seed", model.get("seed") + 1);
    model.save_changes();
  }
  const { leave } = whenChanged(model, ["seed"], begin);
  shown.addEventListener("change", () => {
    model.set("labelled", shown.checked);
    model.save_changes();
  });

  const side = html("div", {}, board, html("p", { class: "recall-play-buttons" }, next), toggle);
  root.append(words, spoken, html("div", { class: "recall-guess-row" }, plane, side));
  el.append(root);
  root.recall = model;
  root.round = () => round;
  table();
  words.textContent = "Loading the model…";
  begin();
  return () => {
    leave();
    answers?.close();
  };
}

export default { render };
