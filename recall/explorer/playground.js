// The playground: the trained transformer answers in the reader's page.  It computes in a worker with the published weights: no
// kernel, no server, no network.  The same module serves the book page and JupyterLab (anywidget).

// Lets the reader carry the label from the query; hold(true or false): taken up, let go; drop(clientX): put down elsewhere.
function draggable(chip, stage, hold, drop) {
  chip.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    chip.setPointerCapture(event.pointerId);
    hold(true);
    const { clientX: fromX, clientY: fromY } = event;
    chip.onpointermove = (move) => {
      chip.setAttribute("transform", `translate(${move.clientX - fromX} ${move.clientY - fromY})`);
      const box = stage.getBoundingClientRect(); // a telephone shows a part of the prompt: near its edge, go on
      if (move.clientX < box.left + 30) stage.scrollLeft -= 12;
      if (move.clientX > box.right - 30) stage.scrollLeft += 12;
    };
    const leave = () => {
      hold(false);
      chip.onpointermove = chip.onpointerup = chip.onpointercancel = null;
      chip.removeAttribute("transform");
    };
    chip.onpointerup = (up) => {
      leave();
      if (Math.abs(up.clientX - fromX) > 12) drop(up.clientX);
    };
    chip.onpointercancel = leave;
  });
}

function render({ model, el }) {
  const root = html("div", { class: "recall-play", "data-state": "waiting" });
  const linked = model.get("linked") && model.load;
  const words = html("p", { class: "recall-play-words" });
  const spoken = html("p", { class: "recall-play-spoken", "aria-live": "polite" });
  const notes = html("p", { class: "recall-play-notes", role: "status" });
  const stage = html("div", {
    class: "recall-play-stage",
    tabindex: "0",
    role: "group",
    "aria-label": "The prompt; scroll sideways to see all of it",
  });
  const figure = (title) => {
    const body = html("div");
    return [html("div", { class: "recall-play-chart" }, html("p", { class: "recall-play-title" }, title), body), body];
  };
  const [pointing, pointingBody] = figure("Where the answers point (weight of each system)");
  const [error, errorBody] = figure(
    "Squared error by k: model (orange), believing the label (line), looking at the states (dashes)",
  );
  const { panel, query, set, read, stop } = controls(model, model.get("parts"));
  let answers;
  let shown = null; // settings, answer and stats that are on screen
  let complaints = [];

  const renew = button("new systems", () => set({ seed: model.get("seed") + 1 }));
  const buttons = html("p", { class: "recall-play-buttons" }, renew);
  if (linked) {
    const link = button("link to this view", () => {
      history.replaceState(null, "", toFragment(model));
      say(["the address of this page now leads here"]);
    });
    buttons.append(link);
  } else if (model.get("more") && model.load) {
    // in JupyterLab that page is not there
    const more = html("a", { href: model.get("more") }, "all controls");
    const address = () => {
      more.href = model.get("more") + toFragment(model);
    };
    for (const event of ["click", "focus"]) more.addEventListener(event, address);
    buttons.append(more);
  }

  // --------------------------------------------------------------------------------------------------------------- drawing
  const say = (list) => {
    notes.textContent = list.map((each) => each[0].toUpperCase() + each.slice(1)).join(". ") + (list.length ? "." : "");
  };
  let scrolled = 0;
  let dragging = false;
  const drawPrompt = () => {
    const { answer, settings } = shown;
    const { svg, chip, middle } = promptPicture(answer, settings, stage.clientWidth || 700);
    const before = stage.scrollLeft;
    stage.replaceChildren(svg);
    stage.scrollLeft = scrolled === answer.prompt.rows ? before : 1e6; // to the query, which is what it is about
    scrolled = answer.prompt.rows;
    const pick = (clientX) => {
      const at = clientX - svg.getBoundingClientRect().left;
      const nearest = middle.reduce((best, m, i) => (Math.abs(m - at) < Math.abs(middle[best] - at) ? i : best), 0);
      if (nearest < settings.systems) set({ shown: nearest }); // else it was put back
    };
    for (const label of svg.querySelectorAll("g[data-segment]:not(.recall-chip)"))
      label.addEventListener("click", () => set({ shown: Number(label.dataset.segment) }));
    draggable(chip, stage, (held) => (dragging = held), pick);
  };
  const drawStats = () => {
    const { stats, settings } = shown;
    const room = (body) => body.clientWidth || 320;
    pointingBody.replaceChildren(pointingChart(stats.weights, settings, room(pointingBody)));
    errorBody.replaceChildren(errorChart(stats, room(errorBody)));
    words.textContent = sentence(stats, settings);
  };

  const show = () => {
    say([...complaints, ...settle(model)]);
    complaints = [];
    model.save_changes();
    read();
    const settings = settingsOf(model);
    const base = baseOf(model);
    const key = `${model.get("run")}-${model.get("step")}`;
    const asked = performance.now();
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
        const { stats } = (shown = { ...shown, stats: data.stats });
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
  const charts = html("div", { class: "recall-play-charts" }, pointing, error);
  root.append(query, words, spoken, stage, charts, buttons, panel, notes);
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
  // a link to where the address already is changes no hash
  const again = (event) => {
    if (event.target.closest?.("a")?.hash === window.location.hash) follow();
  };
  if (linked) {
    complaints = fromFragment(model, window.location.hash);
    window.addEventListener("hashchange", follow);
    document.addEventListener("click", again);
  }
  const first = model.get("first");
  const untouched =
    first?.base && NAMES.every((name) => JSON.stringify(first.settings[name]) === JSON.stringify(model.get(name)));
  if (untouched) {
    const settings = settingsOf(model);
    shown = {
      settings,
      stats: first.stats,
      answer: { prompt: prompt(settings, first.base), predictions: first.predictions },
    };
    drawPrompt();
    drawStats();
    root.dataset.state = "first";
    read();
    say(complaints);
  } else {
    redraw();
  }
  // the reader is coming: fetch the weights before anything is asked
  const warm = () => {
    answers ||= new Answers(model);
    answers.fetch(`${model.get("run")}-${model.get("step")}`).catch(() => {});
  };
  for (const event of ["pointerenter", "focusin"]) root.addEventListener(event, warm, { once: true });
  resized.observe(stage);
  return () => {
    leave();
    stop();
    resized.disconnect();
    window.removeEventListener("hashchange", follow);
    document.removeEventListener("click", again);
    answers?.close();
  };
}

export default { render };
