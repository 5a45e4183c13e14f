// Building elements, numbers as text, and the data. All text goes in as text nodes: names are never HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUN_COLOURS = 6;

/** An HTML element; attributes that are functions become listeners, null or false ones are left out. */
function h(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** An SVG element. */
function s(tag, attributes, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** A figure in percent with one decimal; a dash where there is none. */
function percent(value) {
  return value == null ? "–" : value.toFixed(1);
}

/** A difference with its sign, coloured and readable without colour. */
function difference(value) {
  if (value == null) return h("span", { class: "muted" }, "–");
  const rounded = Math.round(value * 10) / 10;
  if (rounded === 0) return h("span", { class: "muted" }, "0.0");
  const text = (rounded > 0 ? "+" : "−") + Math.abs(rounded).toFixed(1);
  return h("span", { class: rounded > 0 ? "better" : "worse" }, text);
}

function minus(a, b) {
  return a == null || b == null ? null : a - b;
}

function mean(values) {
  const there = values.filter((value) => value != null);
  return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
}

/** Style that gives an element the colour of a run. */
function runColour(run) {
  return `--colour: var(--run-${run % RUN_COLOURS})`;
}

/** The runs after the first six have the same colours again, dashed. */
function isDashed(run) {
  return run >= RUN_COLOURS;
}

function swatch(run) {
  return h("span", { class: isDashed(run) ? "swatch dashed" : "swatch", style: runColour(run), "aria-hidden": "true" });
}

function count(number, singular) {
  return `${number} ${singular}${number === 1 ? "" : "s"}`;
}

/** J with the index of J_tr. */
function jTr() {
  return [document.createTextNode("J"), h("sub", {}, "tr")];
}

const waiting = []; // what is to be drawn once its element is on the page

/** Draws when `drawWaiting` is called, and whenever the element gets another width. */
function whenResized(element, draw) {
  let last = 0;
  const update = () => {
    const width = Math.floor(element.clientWidth);
    if (!element.isConnected) observer.disconnect();
    else if (width > 0 && width !== last) draw((last = width));
  };
  const observer = new ResizeObserver(update);
  observer.observe(element);
  waiting.push(update);
}

function drawWaiting() {
  for (const update of waiting.splice(0)) update();
}

/** J and J_tr of a run in a sequence: of one object, or the mean of all; nulls where it was not scored. */
function figuresOf(sequence, run, object = null) {
  const figures = sequence.runs[run]?.figures ?? [];
  const chosen = object == null ? figures : figures.filter((_, index) => sequence.objects[index] === object);
  return { j: mean(chosen.map((pair) => pair[0])), jTr: mean(chosen.map((pair) => pair[1])) };
}

/** J of every scored frame of a run in a sequence: of one object, or the mean of all; null if not scored. */
function curveOf(sequence, run, object = null) {
  const curves = sequence.runs[run]?.j ?? [];
  const chosen = object == null ? curves : curves.filter((_, index) => sequence.objects[index] === object);
  if (!chosen.length) return null;
  return sequence.frames.map((_, frame) => mean(chosen.map((values) => values[frame])));
}
