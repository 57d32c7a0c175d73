// Elements, and the colours of systems: Okabe-Ito's, told apart by colour-blind readers; every system also carries its letter.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8d6fd1", "#7f7f7f"];
const NEW_COLOUR = "#7f7f7f";
const LETTERS = "ABCDEFGH";
const POSITIVE = "#e07b00"; // of a number's sign
const NEGATIVE = "#2f7fc1";
const MODEL = "#d1660f"; // what the transformer says
const KEYS = "data-lm-suppress-shortcuts"; // JupyterLab would take an element's keys for its own

function node(name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Draws into an SVG element: each call appends one child and returns it.
function brush(svg) {
  const put = (name, attributes, text) => {
    const made = node(name, attributes, text);
    svg.append(made);
    return made;
  };
  const ruled = (ends, opacity) => put("line", { ...ends, stroke: "currentColor", "stroke-opacity": opacity });
  return {
    put,
    across: (x1, x2, y, opacity) => ruled({ x1, x2, y1: y, y2: y }, opacity),
    down: (y1, y2, x, opacity) => ruled({ x1: x, x2: x, y1, y2 }, opacity),
    curve: (d, stroke, more) => put("path", { d, fill: "none", stroke, ...more }),
    polyline: (points, stroke, more) =>
      put("polyline", { points: points.map((p) => p.join()).join(" "), fill: "none", stroke, ...more }),
    text: (x, y, words, more) => put("text", { x, y, fill: "currentColor", "font-size": 11, ...more }, words),
  };
}

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  if (name === "input" || name === "button" || "tabindex" in attributes) element.setAttribute(KEYS, "true");
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function button(words, press, attributes = {}) {
  const made = html("button", { type: "button", ...attributes }, words);
  made.addEventListener("click", press);
  return made;
}

// Calls `draw` once after however many traits change in one move; what it changes itself is not drawn again.
function whenChanged(model, names, draw) {
  let queued = false;
  let drawing = false;
  const redraw = () => {
    if (queued || drawing) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      drawing = true;
      try {
        draw();
      } finally {
        drawing = false;
      }
    });
  };
  names.forEach((name) => model.on(`change:${name}`, redraw));
  return { redraw, leave: () => names.forEach((name) => model.off(`change:${name}`, redraw)) };
}
