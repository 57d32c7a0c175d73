// The playground: the trained transformer answers in the reader's page.  It computes in a worker with the published weights: no
// kernel, no server, no network.  The same module serves the book page and JupyterLab (anywidget).

const BASE_SEED = 0; // the prompt that came with the widget; others are drawn here
const NAMES = ["run", "step", "systems", "needle", "length", "shown", "fresh", "equal_norm", "share", "cut", "seed"];

// ------------------------------------------------------------------------------------------------- settings and their limits

const runOf = (model) => model.get("catalogue").find((run) => run.name === model.get("run"));
const longest = (run, systems) => Math.min(16, Math.floor((run.positions - run.dimension - 4) / systems) - 2);
const most = (run) => Math.max(1, ...Array.from({ length: Math.min(run.labels, LETTERS.length) }, (_, i) => i + 1).filter((N) => longest(run, N) >= run.dimension + 2));

// Brings every setting into its range; returns what had to be changed, in words.
function settle(model) {
  const notes = [], put = (name, value, why) => {
    if (model.get(name) === value) return;
    if (why) notes.push(why);
    model.set(name, value);
  };
  const catalogue = model.get("catalogue");
  if (!runOf(model)) put("run", catalogue[0].name, `there is no model ${model.get("run")}`);
  const run = runOf(model), between = (name, low, high, why) => put(name, Math.max(low, Math.min(high, Math.round(model.get(name)) || low)), why);
  if (!run.steps.includes(model.get("step"))) {
    const near = run.steps.reduce((best, step) => (Math.abs(step - model.get("step")) < Math.abs(best - model.get("step")) ? step : best));
    put("step", near, run.steps.length > 1 ? `this model is here at steps ${run.steps.join(", ")}: showing ${near}` : `of this model only step ${near} is here`);
  }
  const before = model.get("systems");
  between("systems", 1, most(run), `this model knows ${run.labels} labels and reads ${run.positions} rows: at most ${most(run)} systems, not ${before}`);
  const N = model.get("systems"), long = model.get("length");
  between("length", run.dimension + 2, longest(run, N), `segments of ${long} states are not to be had here: ${run.dimension + 2} to ${longest(run, N)} with ${N} systems (fewer would not determine a map, more would not fit the ${run.positions} rows the model reads)`);
  const [back, label] = [model.get("needle"), model.get("shown")];
  between("needle", 0, N - 1, `there is no segment ${back} to come back`);
  if (label >= N) put("shown", model.get("needle"), `there is no segment ${label} whose label could be shown`);
  if (model.get("shown") < 0 && N >= run.labels) put("shown", model.get("needle"), `every one of the ${run.labels} labels is in the prompt: there is no unseen one`);
  if ((N < 2 || run.dimension < 2) && model.get("share") > 0) put("share", 0, "one system alone has nothing to be synchronised with");
  const parts = model.get("cut").filter((part, i, all) => partsOf(run).includes(part) && all.indexOf(part) === i);
  if (parts.length !== model.get("cut").length) put("cut", parts, `parts are ${partsOf(run)[0]} to ${partsOf(run).at(-1)}`);
  return notes;
}

function settingsOf(model) {
  const run = runOf(model);
  const given = Object.fromEntries(["systems", "needle", "length", "shown", "fresh", "equal_norm", "share", "cut", "seed"].map((name) => [name, model.get(name)]));
  return { ...given, dimension: run.dimension, labels: run.labels };
}

function baseOf(model) { // the prompt that came along, while it can be used
  const first = model.get("first"), run = runOf(model);
  const fits = first?.base && model.get("seed") === BASE_SEED && first.dimension === run.dimension && first.labels === run.labels && model.get("systems") <= first.base.systems.length;
  return fits ? first.base : null;
}

// The address of a view: #play:run=…&systems=3.  Reading it back returns complaints.
function toFragment(model) {
  const parts = NAMES.map((name) => [name, model.get(name)]).map(([name, value]) => `${name}=${Array.isArray(value) ? value.join("+") : value}`);
  return `#play:${parts.join("&")}`;
}

function fromFragment(model, fragment) {
  if (!fragment.startsWith("#play:")) return [];
  const complaints = [];
  let text;
  try {
    text = decodeURIComponent(fragment.slice(6));
  } catch {
    return ["the link is damaged: it cannot be decoded"];
  }
  for (const part of text.split("&").filter(Boolean)) {
    const [name, value = ""] = part.split("="), run = runOf(model);
    const number = Number(value), whole = value !== "" && Number.isInteger(number);
    const all = {
      run: [model.get("catalogue").some((each) => each.name === value), value, "a model of this page"],
      fresh: [["true", "false"].includes(value), value === "true", "true or false"],
      equal_norm: [["true", "false"].includes(value), value === "true", "true or false"],
      share: [value !== "" && number >= 0 && number <= 1, number, "0 to 1"],
      cut: [value.split("+").filter(Boolean).every((each) => partsOf(run).includes(each)), value.split("+").filter(Boolean), `parts such as ${partsOf(run)[0]} or 0.mlp`],
      shown: [whole && number >= -1, number, "a segment, or -1 for an unseen label"],
      ...Object.fromEntries(["step", "systems", "needle", "length", "seed"].map((each) => [each, [whole && number >= 0, number, "a whole number"]])),
    };
    const allowed = Object.hasOwn(all, name) ? all[name] : null;
    if (!allowed) complaints.push(`the link sets "${name}", which is not a setting here`);
    else if (!allowed[0]) complaints.push(`the link's ${name} must be ${allowed[2]}, not "${value}"`);
    else model.set(name, allowed[1]);
  }
  return complaints;
}

const partsOf = (run) => Array.from({ length: run.layers }, (_, l) => [...Array.from({ length: run.heads }, (_, h) => `${l}.${h}`), `${l}.mlp`]).flat();

// ------------------------------------------------------------------------------------------------------------- in words

function sentence(stats, settings) {
  const N = settings.systems, named = settings.shown, who = (i) => LETTERS[i];
  const going = settings.fresh ? -1 : settings.needle;
  const setting = `${named < 0 ? "The label is one that the prompt does not hold" : `The label is ${who(named)}'s`}; ${settings.fresh ? "a new system comes" : `${who(going)} goes on`}.`;
  if (!stats) return setting;
  const place = (k) => { // k = 0: from the label alone, no state has been seen yet
    const weights = stats.weights[k], total = weights.reduce((a, b) => a + b, 0), best = weights.indexOf(Math.max(...weights));
    if (weights[best] < 0.25 && Math.abs(total) < 0.4) return "points at none of them";
    if (weights[best] > 0.7) {
      const why = best === named && best === going ? (k ? "as label and states say" : "as the label says") : best === named ? "as the label says"
        : best !== going ? "" : k ? "as the states say" : "although the label is not its own";
      return `goes to ${who(best)}${why ? `, ${why}` : ""}`;
    }
    const names = weights.map((w, i) => [w, i]).filter(([w]) => w > 0.15).map(([w, i]) => `${who(i)} (${w.toFixed(2)})`);
    return names.length > 1 ? `lies between ${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.length ? `goes part of the way to ${names[0]}` : "is spread over all of them";
  };
  const known = N > 1 ? ` The first answer ${place(0)}; the second ${place(1)}.` : "";
  return `${setting}${known} Squared error ${stats.error.model[0].mean.toFixed(2)} at k = 1, ${stats.error.model[1].mean.toFixed(2)} at k = 2 (mean of ${stats.count} fresh prompts).`;
}

// -------------------------------------------------------------------------------------------------------------- the widget

function render({ model, el }) {
  const root = html("div", { class: "recall-play", "data-state": "waiting" });
  const parts = model.get("parts"), linked = model.get("linked") && model.load;
  const words = html("p", { class: "recall-play-words" }), spoken = html("p", { class: "recall-play-spoken", "aria-live": "polite" });
  const notes = html("p", { class: "recall-play-notes", role: "status" });
  const stage = html("div", { class: "recall-play-stage", tabindex: "0", role: "group", "aria-label": "The prompt; scroll sideways to see all of it" });
  const figure = (title) => {
    const body = html("div");
    return [html("div", { class: "recall-play-chart" }, html("p", { class: "recall-play-title" }, title), body), body];
  };
  const [pointing, pointingBody] = figure("Where the answers point (weight of each system)");
  const [error, errorBody] = figure("Squared error by k: model (orange), believing the label (line), looking at the states (dashes)");
  const panel = html("form", { class: "recall-play-controls", "aria-label": "Settings of the playground" });
  const query = html("form", { class: "recall-play-query", "aria-label": "The query" });
  for (const form of [panel, query]) form.addEventListener("submit", (event) => event.preventDefault());
  let answers, shown = null, complaints = []; // shown: settings, answer and stats that are on screen
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };

  // -------------------------------------------------------------------------------------------------------------- controls
  const readers = [];
  const group = (part, title, children, where = panel) => {
    if (parts.length && !parts.includes(part)) return;
    where.append(html("fieldset", {}, html("legend", {}, title), ...children));
  };
  const slider = (name, text, range, shownAs = (value) => value, get = () => model.get(name), pick = (value) => set({ [name]: value })) => {
    const input = html("input", { type: "range", name, "aria-label": text }), output = html("span", { class: "recall-play-value", "aria-hidden": "true" });
    input.addEventListener("input", () => { stop(); pick(Number(input.value)); });
    readers.push(() => {
      const [low, high, step] = range();
      Object.assign(input, { min: low, max: high, step });
      input.value = get();
      input.disabled = low === high;
      output.textContent = shownAs(get());
      input.setAttribute("aria-valuetext", output.textContent);
    });
    return html("label", {}, html("span", {}, text), output, input);
  };
  const check = (name, text) => {
    const input = html("input", { type: "checkbox", name });
    input.addEventListener("change", () => set({ [name]: input.checked }));
    readers.push(() => { input.checked = model.get(name); });
    return html("label", { class: "recall-play-check" }, input, html("span", {}, text));
  };
  const choice = (name, text, options, value, pick) => { // radio buttons that look like a row of keys
    const box = html("div", { class: "recall-play-keys", role: "radiogroup", "aria-label": text });
    const id = `${name}-${Math.random().toString(36).slice(2)}`;
    let drawn = "";
    readers.push(() => {
      const list = options(), now = JSON.stringify(list);
      if (now !== drawn) { // rebuilt only when the options change: focus stays on the key
        box.replaceChildren(...list.map(({ key, label, colour, disabled, title }) => {
          const input = html("input", { type: "radio", name: id, value: key, "data-name": name });
          input.disabled = Boolean(disabled);
          input.addEventListener("change", () => pick(key));
          return html("label", { title: title || "", style: colour ? `--key: ${colour}` : "" }, input, html("span", {}, label));
        }));
        drawn = now;
      }
      for (const input of box.querySelectorAll("input")) input.checked = input.value === String(value());
    });
    return html("div", {}, html("span", { class: "recall-play-caption" }, text), box);
  };
  const catalogue = () => model.get("catalogue");
  const unique = (values) => [...new Set(values)].sort((a, b) => a - b);
  const toRun = (wanted) => { // nearest model: what was asked for first, then as little else changed as possible
    const run = runOf(model), near = (each) => (each.labels !== run.labels) + (each.dimension !== run.dimension) + 0.5 * (each.kind !== run.kind);
    const fitting = catalogue().filter((each) => Object.entries(wanted).every(([name, value]) => each[name] === value));
    const next = fitting.reduce((best, each) => (near(each) < near(best) ? each : best));
    const last = model.get("step") === run.steps.at(-1);
    set({ run: next.name, ...(last ? { step: next.steps.at(-1) } : {}) });
  };
  const alternatives = () => catalogue().filter((each) => each.dimension === runOf(model).dimension && each.labels === runOf(model).labels);

  group("label", "The query", [
    choice("shown", "label shown (or drag it in the picture)", () => [
      ...Array.from({ length: model.get("systems") }, (_, i) => ({ key: i, label: `${LETTERS[i]}'s`, colour: COLOURS[i], title: i === model.get("needle") ? "the right label" : "a misdirected label" })),
      { key: -1, label: "unseen", disabled: model.get("systems") >= runOf(model).labels, title: model.get("systems") >= runOf(model).labels ? "every label is in the prompt" : "a label that the prompt does not hold" },
    ], () => model.get("shown"), (key) => set({ shown: key })),
    choice("fresh", "what then comes", () => [{ key: 0, label: "the needle goes on" }, { key: 1, label: "a new system" }], () => Number(model.get("fresh")), (key) => set({ fresh: Boolean(key) }))], query);
  group("model", "The model", [
    choice("dimension", "system dimension", () => unique(catalogue().map((each) => each.dimension)).map((n) => ({ key: n, label: n })), () => runOf(model).dimension, (n) => toRun({ dimension: n })),
    choice("labels", "label count in training", () => unique(catalogue().filter((each) => each.dimension === runOf(model).dimension).map((each) => each.labels)).map((L) => ({ key: L, label: L })),
      () => runOf(model).labels, (L) => toRun({ labels: L, dimension: runOf(model).dimension })),
    choice("run", "which one", () => alternatives().map((each) => ({ key: each.name, label: each.kind, title: each.name })), () => model.get("run"), (name) => {
      const next = catalogue().find((each) => each.name === name);
      set({ run: name, step: next.steps.at(-1) });
    })]);
  const play = html("button", { type: "button" }, "▶ play training");
  let playing = 0;
  const stop = () => { clearInterval(playing); playing = 0; play.textContent = "▶ play training"; };
  const steps = () => runOf(model).steps; // uneven: the slider counts checkpoints
  const only = html("p", { class: "recall-play-hint" });
  readers.push(() => { only.textContent = steps().length < 2 ? "of this model only its last step is here" : ""; });
  group("step", "Training", [slider("place", "step", () => [0, steps().length - 1, 1], (i) => `${steps()[i]} of ${steps().at(-1)}`,
    () => steps().indexOf(model.get("step")), (i) => set({ step: steps()[i] })), play, only]);
  group("prompt", "The prompt", [
    slider("systems", "systems (label count in use)", () => [1, most(runOf(model)), 1]),
    slider("needle", "system that comes back", () => [0, model.get("systems") - 1, 1], (i) => LETTERS[i]),
    slider("length", "states in a segment", () => [runOf(model).dimension + 2, longest(runOf(model), model.get("systems")), 1])]);
  group("states", "Its states", [
    slider("share", "synchronise the next states", () => [0, model.get("systems") > 1 ? 1 : 0, 0.05], (value) => `${Math.round(100 * value)} %`),
    check("equal_norm", "equal norms")]);
  const cutter = html("div", { class: "recall-play-cut", role: "group", "aria-label": "Parts of the model; pressed ones are cut" });
  let cutDrawn = "";
  readers.push(() => {
    const run = runOf(model), now = `${run.layers} ${run.heads}`, cut = model.get("cut");
    if (now !== cutDrawn) {
      cutter.style.setProperty("--columns", run.heads + 1);
      cutter.replaceChildren(...partsOf(run).map((part) => {
        const button = html("button", { type: "button", "data-part": part, title: `layer ${part.split(".")[0]}, ${part.endsWith("mlp") ? "MLP" : `head ${part.split(".")[1]}`}` }, part);
        button.addEventListener("click", () => {
          const old = model.get("cut");
          set({ cut: old.includes(part) ? old.filter((each) => each !== part) : [...old, part] });
        });
        return button;
      }));
      cutDrawn = now;
    }
    for (const button of cutter.children) button.setAttribute("aria-pressed", cut.includes(button.dataset.part));
  });
  const mend = html("button", { type: "button" }, "restore all");
  mend.addEventListener("click", () => set({ cut: [] }));
  group("cut", "Cut: outputs set to 0", [cutter, mend]);

  const renew = html("button", { type: "button" }, "new systems");
  renew.addEventListener("click", () => set({ seed: model.get("seed") + 1 }));
  const buttons = html("p", { class: "recall-play-buttons" }, renew);
  if (linked) {
    const link = html("button", { type: "button" }, "link to this view");
    link.addEventListener("click", () => { history.replaceState(null, "", toFragment(model)); say(["the address of this page now leads here"]); });
    buttons.append(link);
  } else if (model.get("more") && model.load) { // in JupyterLab that page is not there
    const more = html("a", { href: model.get("more") }, "all controls");
    more.addEventListener("click", () => { more.href = model.get("more") + toFragment(model); });
    more.addEventListener("focus", () => { more.href = model.get("more") + toFragment(model); });
    buttons.append(more);
  }

  play.addEventListener("click", () => {
    if (playing) return stop();
    let at = model.get("step") === steps().at(-1) ? 0 : steps().indexOf(model.get("step"));
    play.textContent = "■ stop";
    set({ step: steps()[at] });
    playing = setInterval(() => {
      if (!root.isConnected || ++at >= steps().length) return stop();
      set({ step: steps()[at] });
    }, 900);
  });
  readers.push(() => { play.disabled = steps().length < 2; });

  // --------------------------------------------------------------------------------------------------------------- drawing
  const say = (list) => { notes.textContent = list.map((each) => each[0].toUpperCase() + each.slice(1)).join(". ") + (list.length ? "." : ""); };
  let scrolled = 0, dragging = false;
  const drawPrompt = () => {
    const { answer, settings } = shown, { svg, chip, middle } = promptPicture(answer, settings, stage.clientWidth || 700);
    const before = stage.scrollLeft;
    stage.replaceChildren(svg);
    stage.scrollLeft = scrolled === answer.prompt.rows ? before : 1e6; // to the query, which is what it is about
    scrolled = answer.prompt.rows;
    const pick = (clientX) => {
      const at = clientX - svg.getBoundingClientRect().left;
      const nearest = middle.reduce((best, m, i) => (Math.abs(m - at) < Math.abs(middle[best] - at) ? i : best), 0);
      if (nearest < settings.systems) set({ shown: nearest }); // else it was put back
    };
    for (const label of svg.querySelectorAll("g[data-segment]:not(.recall-chip)")) label.addEventListener("click", () => set({ shown: Number(label.dataset.segment) }));
    chip.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      chip.setPointerCapture(event.pointerId);
      dragging = true;
      const from = event.clientX, fromY = event.clientY;
      chip.onpointermove = (move) => {
        chip.setAttribute("transform", `translate(${move.clientX - from} ${move.clientY - fromY})`);
        const box = stage.getBoundingClientRect(); // a telephone shows a part of the prompt: near its edge, go on
        if (move.clientX < box.left + 30) stage.scrollLeft -= 12;
        if (move.clientX > box.right - 30) stage.scrollLeft += 12;
      };
      const leave = () => {
        dragging = false;
        chip.onpointermove = chip.onpointerup = chip.onpointercancel = null;
        chip.removeAttribute("transform");
      };
      chip.onpointerup = (up) => { leave(); if (Math.abs(up.clientX - from) > 12) pick(up.clientX); };
      chip.onpointercancel = leave;
    });
  };
  const drawStats = () => {
    const { stats, settings } = shown, room = (body) => body.clientWidth || 320;
    pointingBody.replaceChildren(pointingChart(stats.weights, settings, room(pointingBody)));
    errorBody.replaceChildren(errorChart(stats, room(errorBody)));
    words.textContent = sentence(stats, settings);
  };

  const show = () => {
    say([...complaints, ...settle(model)]);
    complaints = [];
    model.save_changes();
    readers.forEach((read) => read());
    const settings = settingsOf(model), base = baseOf(model), key = `${model.get("run")}-${model.get("step")}`, asked = performance.now();
    root.dataset.state = "asking";
    root.dataset.key = key;
    const tell = (data) => {
      if (data.failed) {
        root.dataset.state = "failed";
        say([`no answer: ${data.failed}`, ...(shown ? ["the picture still shows what was asked before"] : [])]);
        return;
      }
      if (data.first) {
        shown = { ...shown, answer: data.first, settings };
        root.dataset.milliseconds = Math.round(performance.now() - asked);
        if (!dragging) drawPrompt();
      }
      if (data.stats) {
        const { stats } = shown = { ...shown, stats: data.stats };
        drawStats();
        const name = { 10: "interval", 50: "fifty", [FRESH]: "all" }[stats.count]; // for tests: what the reader waited
        if (name) root.dataset[name] = Math.round(performance.now() - asked);
        if (stats.count === FRESH) {
          root.dataset.state = "ready";
          spoken.textContent = words.textContent;
        }
      }
    };
    try {
      answers ||= new Answers(model);
      answers.ask(key, settings, base, tell);
    } catch (error) {
      tell({ failed: `this browser allows no worker here (${error.message})` });
    }
  };

  const { redraw, leave } = whenChanged(model, [...NAMES, "catalogue"], show);
  const resized = new ResizeObserver(() => {
    scrolled = 0; // another width: to the query again
    if (shown?.answer && !dragging) drawPrompt();
    if (shown?.stats) drawStats();
  });
  root.append(query, words, spoken, stage, html("div", { class: "recall-play-charts" }, pointing, error), buttons, panel, notes);
  el.append(root);
  root.recall = model; // for tests: what is on screen can be read back
  root.base = () => baseOf(model) || draw(settingsOf(model));
  root.answer = () => shown?.answer;
  root.stats = () => shown?.stats;

  // the first view came along: it stands there before weights and worker do
  const follow = () => {
    if (!window.location.hash.startsWith("#play:")) return;
    complaints = fromFragment(model, window.location.hash);
    root.scrollIntoView({ block: "nearest" });
    redraw();
  };
  const again = (event) => { // a link to where the address already is changes no hash
    if (event.target.closest?.("a")?.hash === window.location.hash) follow();
  };
  if (linked) {
    complaints = fromFragment(model, window.location.hash);
    window.addEventListener("hashchange", follow);
    document.addEventListener("click", again);
  }
  const first = model.get("first");
  const untouched = first?.base && NAMES.every((name) => JSON.stringify(first.settings[name]) === JSON.stringify(model.get(name)));
  if (untouched) {
    const settings = settingsOf(model);
    shown = { settings, stats: first.stats, answer: { prompt: prompt(settings, first.base), predictions: first.predictions } };
    drawPrompt();
    drawStats();
    root.dataset.state = "first";
    readers.forEach((read) => read());
    say(complaints);
  } else {
    redraw();
  }
  const warm = () => { // the reader is coming: fetch the weights before anything is asked
    answers ||= new Answers(model);
    answers.fetch(`${model.get("run")}-${model.get("step")}`).catch(() => {});
  };
  for (const event of ["pointerenter", "focusin"]) root.addEventListener(event, warm, { once: true });
  resized.observe(stage);
  return () => { leave(); stop(); resized.disconnect(); window.removeEventListener("hashchange", follow); document.removeEventListener("click", again); answers?.close(); };
}

export default { render };
