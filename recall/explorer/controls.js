// The playground's controls.  Each group of them is a fieldset; `read` puts the model's settings into all of them.

// parts: names of the groups that are there (none: all).
function controls(model, parts) {
  const panel = html("form", { class: "recall-play-controls", "aria-label": "Settings of the playground" });
  const query = html("form", { class: "recall-play-query", "aria-label": "The query" });
  for (const form of [panel, query]) form.addEventListener("submit", (event) => event.preventDefault());
  const readers = [];
  const group = (part, title, children, where = panel) => {
    if (parts.length && !parts.includes(part)) return;
    where.append(html("fieldset", {}, html("legend", {}, title), ...children));
  };
  const get = (name) => () => model.get(name);
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const run = () => runOf(model);
  const steps = () => run().steps; // uneven: the slider counts checkpoints

  // ------------------------------------------------------------------------------------------------------------- kinds

  // range: () => [low, high, step].  words: of a value.
  const slider = (name, text, range, words = (value) => value, value = get(name), pick = (v) => set({ [name]: v })) => {
    const input = html("input", { type: "range", name, "aria-label": text });
    const output = html("span", { class: "recall-play-value", "aria-hidden": "true" });
    input.addEventListener("input", () => {
      training.stop();
      pick(Number(input.value));
    });
    readers.push(() => {
      const [low, high, step] = range();
      Object.assign(input, { min: low, max: high, step });
      input.value = value();
      input.disabled = low === high;
      output.textContent = words(value());
      input.setAttribute("aria-valuetext", output.textContent);
    });
    return html("label", {}, html("span", {}, text), output, input);
  };

  const tick = (name, text) => {
    const input = html("input", { type: "checkbox", name });
    input.addEventListener("change", () => set({ [name]: input.checked }));
    readers.push(() => {
      input.checked = model.get(name);
    });
    return html("label", { class: "recall-play-check" }, input, html("span", {}, text));
  };

  // Radio buttons that look like a row of keys.  options: () => [{ key, label, colour, disabled, title }].
  const keys = (name, text, options, value, pick) => {
    const box = html("div", { class: "recall-play-keys", role: "radiogroup", "aria-label": text });
    const id = `${name}-${Math.random().toString(36).slice(2)}`;
    const made = ({ key, label, colour, disabled, title }) => {
      const input = html("input", { type: "radio", name: id, value: key, "data-name": name });
      input.disabled = Boolean(disabled);
      input.addEventListener("change", () => pick(key));
      const look = { title: title || "", style: colour ? `--key: ${colour}` : "" };
      return html("label", look, input, html("span", {}, label));
    };
    let drawn = "";
    readers.push(() => {
      const list = options();
      const now = JSON.stringify(list);
      if (now !== drawn) box.replaceChildren(...list.map(made)); // else focus stays on the key
      drawn = now;
      for (const input of box.querySelectorAll("input")) input.checked = input.value === String(value());
    });
    return html("div", {}, html("span", { class: "recall-play-caption" }, text), box);
  };

  // ------------------------------------------------------------------------------------------------------------- query

  const labelsShown = () => {
    const all = model.get("systems") >= run().labels;
    const segments = upTo(model.get("systems")).map((i) => ({
      key: i,
      label: `${LETTERS[i]}'s`,
      colour: COLOURS[i],
      title: i === model.get("needle") ? "the right label" : "a misdirected label",
    }));
    const title = all ? "every label is in the prompt" : "a label that the prompt does not hold";
    return [...segments, { key: -1, label: "unseen", disabled: all, title }];
  };
  const whatComes = () => [
    { key: 0, label: "the needle goes on" },
    { key: 1, label: "a new system" },
  ];
  const showLabel = (shown) => set({ shown });
  const isFresh = () => Number(model.get("fresh"));
  const setFresh = (fresh) => set({ fresh: Boolean(fresh) });
  const label = keys("shown", "label shown (or drag it in the picture)", labelsShown, get("shown"), showLabel);
  group("label", "The query", [label, keys("fresh", "what then comes", whatComes, isFresh, setFresh)], query);

  // ------------------------------------------------------------------------------------------------------------- model

  const catalogue = get("catalogue");
  const like = (wanted) => catalogue().filter((each) => Object.keys(wanted).every((key) => each[key] === wanted[key]));
  const values = (runs, name) => {
    const unique = [...new Set(runs.map((each) => each[name]))];
    return unique.sort((a, b) => a - b).map((value) => ({ key: value, label: value }));
  };
  // the nearest model: what was asked for, then as little else changed as possible
  const toRun = (wanted) => {
    const now = run();
    const far = (each) =>
      (each.labels !== now.labels) + (each.dimension !== now.dimension) + 0.5 * (each.kind !== now.kind);
    const next = like(wanted).reduce((best, each) => (far(each) < far(best) ? each : best));
    const last = model.get("step") === now.steps.at(-1);
    set({ run: next.name, ...(last ? { step: next.steps.at(-1) } : {}) });
  };
  const dimensions = () => values(catalogue(), "dimension");
  const labelCounts = () => values(like({ dimension: run().dimension }), "labels");
  const alike = () => {
    const { dimension, labels } = run();
    return like({ dimension, labels }).map((each) => ({ key: each.name, label: each.kind, title: each.name }));
  };
  const pickRun = (name) => set({ run: name, step: like({ name })[0].steps.at(-1) });
  const ofRun = (name) => () => run()[name];
  group("model", "The model", [
    keys("dimension", "system dimension", dimensions, ofRun("dimension"), (dimension) => toRun({ dimension })),
    keys("labels", "label count in training", labelCounts, ofRun("labels"), (labels) =>
      toRun({ labels, dimension: run().dimension }),
    ),
    keys("run", "which one", alike, get("run"), pickRun),
  ]);

  // ---------------------------------------------------------------------------------------------------------- training

  const training = playback(model, steps, set);
  const only = html("p", { class: "recall-play-hint" });
  readers.push(() => {
    training.button.disabled = steps().length < 2;
    only.textContent = steps().length < 2 ? "of this model only its last step is here" : "";
  });
  const places = () => [0, steps().length - 1, 1];
  const place = () => steps().indexOf(model.get("step"));
  const stepWords = (i) => `${steps()[i]} of ${steps().at(-1)}`;
  const toPlace = (i) => set({ step: steps()[i] });
  group("step", "Training", [slider("place", "step", places, stepWords, place, toPlace), training.button, only]);

  // ------------------------------------------------------------------------------------------------- prompt and states

  const needles = () => [0, model.get("systems") - 1, 1];
  const lengths = () => [shortest(run()), longest(run(), model.get("systems")), 1];
  group("prompt", "The prompt", [
    slider("systems", "systems (label count in use)", () => [1, most(run()), 1]),
    slider("needle", "system that comes back", needles, (i) => LETTERS[i]),
    slider("length", "states in a segment", lengths),
  ]);
  const shares = () => [0, model.get("systems") > 1 ? 1 : 0, 0.05];
  group("states", "Its states", [
    slider("share", "synchronise the next states", shares, (value) => `${Math.round(100 * value)} %`),
    tick("equal_norm", "equal norms"),
  ]);

  // --------------------------------------------------------------------------------------------------------------- cut

  const cutter = html("div", {
    class: "recall-play-cut",
    role: "group",
    "aria-label": "Parts of the model; pressed ones are cut",
  });
  const partButton = (part) => {
    const [layer, inside] = part.split(".");
    const title = `layer ${layer}, ${inside === "mlp" ? "MLP" : `head ${inside}`}`;
    const flip = () => {
      const old = model.get("cut");
      set({ cut: old.includes(part) ? old.filter((each) => each !== part) : [...old, part] });
    };
    return button(part, flip, { "data-part": part, title });
  };
  let cutDrawn = "";
  readers.push(() => {
    const { layers, heads } = run();
    const now = `${layers} ${heads}`;
    if (now !== cutDrawn) {
      cutter.style.setProperty("--columns", heads + 1);
      cutter.replaceChildren(...partsOf(run()).map(partButton));
      cutDrawn = now;
    }
    const cut = model.get("cut");
    for (const each of cutter.children) each.setAttribute("aria-pressed", cut.includes(each.dataset.part));
  });
  group("cut", "Cut: outputs set to 0", [cutter, button("restore all", () => set({ cut: [] }))]);

  return { panel, query, set, read: () => readers.forEach((read) => read()), stop: training.stop };
}

// A button that moves through the steps of training, one each PACE.
const PACE = 900; // milliseconds

function playback(model, steps, set) {
  let playing = 0;
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    made.textContent = "▶ play training";
  };
  const made = button("▶ play training", () => {
    if (playing) return stop();
    let at = model.get("step") === steps().at(-1) ? 0 : steps().indexOf(model.get("step"));
    made.textContent = "■ stop";
    set({ step: steps()[at] });
    playing = setInterval(() => {
      if (!made.isConnected || ++at >= steps().length) return stop();
      set({ step: steps()[at] });
    }, PACE);
  });
  return { button: made, stop };
}
