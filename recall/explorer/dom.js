// Elements, and the colours of systems: Okabe-Ito's, told apart by colour-blind readers; every system also carries its letter.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8d6fd1", "#7f7f7f"];
const NEW_COLOUR = "#7f7f7f";
const LETTERS = "ABCDEFGH";
const POSITIVE = "#e07b00", NEGATIVE = "#2f7fc1"; // of a number's sign

function node(name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const KEYS = "data-lm-suppress-shortcuts"; // JupyterLab would take an element's keys for its own

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  if (name === "input" || name === "button" || "tabindex" in attributes) element.setAttribute(KEYS, "true");
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Calls `draw` once after however many traits change in one move; what it changes itself is not drawn again.
function whenChanged(model, names, draw) {
  let queued = false, drawing = false;
  const redraw = () => {
    if (queued || drawing) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      drawing = true;
      try { draw(); } finally { drawing = false; }
    });
  };
  names.forEach((name) => model.on(`change:${name}`, redraw));
  return { redraw, leave: () => names.forEach((name) => model.off(`change:${name}`, redraw)) };
}
