// Draws what the chapters stored in their outputs: Vega-Lite figures and explorer widgets, without a kernel.
(() => {
  "use strict";

  // Controls that carry the same name in several figures of a page move together: the figure under the reader's hand at
  // once, the others one by one when the page has a moment.
  const views = [];
  const idle = window.requestIdleCallback || ((call) => setTimeout(call, 50));
  const root = document.documentElement;
  const following = () => root.hasAttribute("data-following"); // while one is not yet where the others are
  function link(view) {
    const names = new Set(Object.keys(view.getState({ signals: (name) => name.startsWith("pick_") }).signals));
    const figure = { view, names, due: new Map(), follows: false };
    for (const name of names) {
      view.addSignalListener(name, (_, value) => {
        if (figure.follows) return; // what it was told comes from a figure that tells all
        for (const other of views) if (other !== figure && other.names.has(name)) other.due.set(name, value);
        if (following()) return;
        root.setAttribute("data-following", "");
        idle(follow);
      });
    }
    views.push(figure);
  }
  async function follow() {
    const figure = views.find((each) => each.due.size);
    if (!figure) {
      root.removeAttribute("data-following");
      return;
    }
    for (const [name, value] of figure.due) figure.view.signal(name, value);
    figure.due.clear();
    figure.follows = true;
    try {
      await figure.view.runAsync();
    } finally {
      // one figure that fails must not hold up the others
      figure.follows = false;
      idle(follow);
    }
  }

  async function draw(figure) {
    const canvas = figure.querySelector(".recall-canvas");
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const controls = figure.querySelector(".recall-controls");
    if (canvas.clientWidth < 480) {
      // a telephone: a legend in one line would run off the edge
      Object.assign(spec.config.legend, { columns: 2, columnPadding: 6, labelFontSize: 10.5, symbolSize: 70 });
    }
    try {
      const { view } = await window.vegaEmbed(canvas, spec, { renderer: "svg", actions: false, bind: controls });
      link(view);
      figure.dataset.state = "drawn";
    } catch (error) {
      canvas.textContent = `This figure could not be drawn: ${error.message}`;
      figure.dataset.state = "failed";
      console.error(error);
    }
  }

  // A checkpoint is a script of its own: a page opened from a folder may load nothing else.
  const here = new URL(".", document.currentScript.src);
  const waiting = {};
  const loaded = {};
  window.recallWeights = (key, packed) => {
    loaded[key] = packed;
  };
  function load(key) {
    return (waiting[key] ||= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`weights/${key}.js`, here);
      script.onload = () => (key in loaded ? resolve(loaded[key]) : reject(new Error("the file holds something else")));
      script.onerror = () => {
        delete waiting[key];
        script.remove();
        reject(new Error("the file is missing"));
      };
      document.head.append(script);
    }));
  }

  // Just enough of anywidget's model for a page without a kernel.
  function pageModel(state) {
    const listeners = {};
    return {
      load,
      get: (name) => state[name],
      set: (name, value) => {
        if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
        state[name] = value;
        for (const call of listeners[`change:${name}`] || []) call();
      },
      on: (event, call) => (listeners[event] ||= []).push(call),
      off: (event, call) => {
        listeners[event] = (listeners[event] || []).filter((each) => each !== call);
      },
      save_changes: () => {},
    };
  }

  function mount(element) {
    const stored = element.querySelector("script[type='application/json']");
    const model = pageModel(JSON.parse(stored.textContent));
    const meanwhile = [...element.childNodes];
    element.replaceChildren();
    try {
      window.recallWidgets[element.dataset.widget].render({ model, el: element });
    } catch (error) {
      element.replaceChildren(`This could not be started: ${error.message}`, ...meanwhile);
      console.error(error);
    }
  }

  function start() {
    for (const figure of document.querySelectorAll(".recall-figure:has(.recall-canvas)")) draw(figure);
    for (const element of document.querySelectorAll(".recall-explorer")) mount(element);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
