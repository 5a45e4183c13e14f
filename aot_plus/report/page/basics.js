// Building blocks of the page, numbers as text, and the data.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUN_COLOURS = 6;

/** Builds a panel with a heading. */
function panel(title, ...content) {
  return h("section", { class: "panel", "aria-label": title }, h("h2", {}, title), ...content);
}

/** Returns the index that a key moves to among `length` items, from `here` (-1: none); undefined for other keys. */
function target(key, back, forth, here, length) {
  const last = length - 1;
  const targets = { [back]: here < 0 ? last : Math.max(0, here - 1), [forth]: Math.min(last, here + 1), Home: 0, End: last };
  return targets[key];
}

/** Focuses one of several rows and makes it the only one that Tab reaches. */
function focusRow(rows, row) {
  for (const other of rows) other.setAttribute("tabindex", -1);
  row.setAttribute("tabindex", 0);
  row.focus();
}

/** Builds a horizontal line with its value before it. */
function gridLine(left, right, y, value) {
  return [
    s("line", { class: "grid", x1: left, x2: right, y1: y, y2: y }),
    s("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, String(value)),
  ];
}

/** Formats a figure in percent with one decimal; a dash if there is none. */
function percent(value) {
  return value == null ? "–" : value.toFixed(1);
}

/** Formats a difference with its sign: coloured, but readable without colour. */
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

/** Returns the style that gives an element the colour of a run. */
function runColour(run) {
  return `--colour: var(--run-${run % RUN_COLOURS})`;
}

/** Runs after the first six reuse the same colours, dashed. */
function isDashed(run) {
  return run >= RUN_COLOURS;
}

function swatch(run) {
  return h("span", { class: isDashed(run) ? "swatch dashed" : "swatch", style: runColour(run), "aria-hidden": "true" });
}

function count(number, singular) {
  return `${number} ${singular}${number === 1 ? "" : "s"}`;
}

/** Builds J_tr with its subscript. */
function jTr() {
  return [document.createTextNode("J"), h("sub", {}, "tr")];
}

/** Builds the name of the second figure, beside J: J_tr, or F if the protocol has it. */
function secondName() {
  return DATA.second === "F" ? ["F"] : jTr();
}

/** Returns the row of one object from `rows`, which has one row per object; all rows if `object` is null. */
function ofObject(sequence, rows, object) {
  return (rows ?? []).filter((_, index) => object == null || sequence.objects[index] === object);
}

/** Returns J and the second figure of a run in a sequence: of one object, or the mean of all; nulls if not scored. */
function figuresOf(sequence, run, object = null) {
  const rows = ofObject(sequence, sequence.runs[run]?.figures, object);
  return { j: mean(rows.map((pair) => pair[0])), second: mean(rows.map((pair) => pair[1])) };
}

/** Returns J of every scored frame of a run in a sequence: of one object, or the mean of all; null if not scored. */
function curveOf(sequence, run, object = null) {
  const rows = ofObject(sequence, sequence.runs[run]?.j, object);
  return rows.length ? sequence.frames.map((_, frame) => mean(rows.map((values) => values[frame]))) : null;
}
