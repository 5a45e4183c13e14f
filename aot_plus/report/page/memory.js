// Frames in the memory: for each run and group, a row per frame, from its arrival until it is dropped.

const LABEL_PITCH = 13; // pixels from row to row; below it, only every other row is labelled
const shading = { name: "relevance" }; // the score by which the rows are shaded

function memoryPanel(sequence, cursor) {
  const names = scoreNames(sequence);
  const timelines = h("div", {});
  const draw = () => timelines.replaceChildren(...DATA.runs.flatMap((run, index) => runTimelines(sequence, run, index, cursor)));
  const choice = names.length && h("label", {}, "Shaded by ", h("select", {
    id: "shading",
    change: (event) => {
      shading.name = event.target.value;
      draw();
    },
  }, names.map((name) => h("option", { value: name, selected: name === shading.name }, name))));
  draw();
  return panel("Memory",
    h("p", { class: "muted small" }, "One row per stored frame, on the same axis as the curve above. A dot at the start means that the frame is a reference, which came with a mask; a line at the end, that the frame was dropped; a stronger colour, a higher score."),
    choice ? h("div", { class: "controls" }, choice) : null,
    timelines);
}

function scoreNames(sequence) {
  return [...new Set(sequence.runs.flatMap((run) => run?.memory ?? []).flatMap((group) => group.names))];
}

function runTimelines(sequence, run, index, cursor) {
  const title = (words) => h("h3", {}, swatch(index), `${run.name}${words}`);
  if (!sequence.runs[index]) return [];
  const groups = sequence.runs[index].memory;
  if (!groups?.length) {
    const why = groups ? "The video is too short: nothing was added after the first frame." : "There is no readable trace: inference writes one with --trace.";
    return [h("div", { class: "timeline" }, title(""), h("p", { class: "muted small" }, why))];
  }
  const bank = [run.policy && `policy ${run.policy}`, run.capacity !== run.policy && run.capacity].filter(Boolean).join(", ");
  return groups.map((group) => timeline(sequence, group, index, cursor,
    title([bank && ` · ${bank}`, groups.length > 1 && ` · group ${group.group + 1} of objects`].filter(Boolean).join(""))));
}

function timeline(sequence, group, run, cursor, title) {
  const box = h("div", {});
  const readout = h("p", { class: "readout", role: "status" });
  const view = { sequence, group, run, cursor, readout, active: null };
  describeTimeline(view);
  whenResized(box, (width) => drawTimeline(box, width, view));
  return h("div", { class: "timeline", style: runColour(run) }, title, readout, box);
}

/** Describes the whole timeline while the pointer is on no row. */
function describeTimeline(view) {
  const { stored } = view.group;
  const dropped = stored.filter((row) => row.until != null).length;
  view.readout.textContent = `${count(stored.length, "frame")} stored, ${dropped} dropped. Point at a row, or use the arrow keys.`;
}

function drawTimeline(box, width, view) {
  const { stored } = view.group;
  const pitch = stored.length > 24 ? 8 : stored.length > 12 ? 10 : LABEL_PITCH;
  const scale = frameScale(view.sequence, width);
  const height = stored.length * pitch + 22;
  const shade = shadeOf(view.group);
  const rows = stored.map((row, index) => storedRow(view, row, index, { scale, pitch, width, shade }));
  if (rows.length) rows[0].setAttribute("tabindex", 0);
  const svg = s("svg", { class: "plot", width, height, role: "group", "aria-label": `Frames in the memory of ${DATA.runs[view.run].name}` },
    rows, frameTicks(view.sequence, scale, height - 6), cursorLine(scale, view.cursor, 0, height - 20));
  followPointer(svg, scale, view.cursor);
  // Registered after followPointer, so that the cursor has moved: the scores shown are those at the cursor.
  svg.addEventListener("pointermove", (event) => {
    const index = rows.indexOf(event.target.closest(".stored"));
    pointAt(view, stored[index] ?? null, rows[index]);
  });
  svg.addEventListener("pointerleave", () => pointAt(view, null));
  box.replaceChildren(svg);
}

/** Returns the opacity for a score, from the group's lowest to its highest. The square root separates low scores,
 *  which most are. */
function shadeOf(group) {
  const values = group.stored.flatMap((row) => row.scores.map((score) => scoreOf(group, score, shading.name)));
  const there = values.filter((value) => value != null);
  const lowest = Math.min(...there);
  const span = Math.max(...there) - lowest;
  return (value) => (span > 0 ? Math.sqrt((value - lowest) / span).toFixed(3) : 0.5);
}

function storedRow(view, row, index, { scale, pitch, width, shade }) {
  const y = index * pitch;
  const from = scale.x(row.frame);
  const end = row.until ?? view.sequence.length - 1;
  const hasScores = view.group.names.length > 0;
  const bar = { y: y + 1.5, height: pitch - 3 };
  const parts = [
    s("rect", { class: "hit", x: PLOT.left, width: width - PLOT.left - PLOT.right, y, height: pitch }),
    s("rect", { class: hasScores ? "track" : "track plain", x: from, width: Math.max(2, scale.x(end) - from), ...bar }),
  ];
  row.scores.forEach((score, position) => {
    const value = scoreOf(view.group, score, shading.name);
    if (value == null) return;
    const start = scale.x(score[0]);
    const stop = scale.x(row.scores[position + 1]?.[0] ?? end);
    if (stop > start) parts.push(s("rect", { class: "score", x: start, width: stop - start, opacity: shade(value), ...bar }));
  });
  if (row.reference) parts.push(s("circle", { class: "reference", cx: from, cy: y + pitch / 2, r: pitch / 2 - 1.5 }));
  if (row.until != null) parts.push(s("line", { class: "end", x1: scale.x(end), x2: scale.x(end), y1: y + 1, y2: y + pitch - 1 }));
  if (pitch >= LABEL_PITCH || index % 2 === 0) parts.push(s("text", { x: PLOT.left - 8, y: y + pitch / 2 + 3.5, "text-anchor": "end" }, String(row.frame)));
  const element = s("g", {
    class: "stored", tabindex: -1, role: "img", "aria-label": rowWords(view, row, null).join(""),
    focus: () => pointAt(view, row, element),
    blur: () => pointAt(view, null),
    keydown: (event) => timelineKey(event, view, row),
  }, parts);
  return element;
}

function scoreOf(group, score, name) {
  const position = group.names.indexOf(name);
  return position < 0 ? null : score[position + 1];
}

/** Highlights a row (null: none) and describes it at the cursor. */
function pointAt(view, row, element) {
  view.active?.classList.remove("on");
  view.active = element ?? null;
  view.active?.classList.add("on");
  if (!row) describeTimeline(view);
  else {
    const score = row.scores.findLast((one) => view.cursor.frame != null && one[0] <= view.cursor.frame);
    view.readout.replaceChildren(...rowWords(view, row, score ?? row.scores.at(-1)));
  }
}

/** Describes a stored frame in words; `score` is one of its scores, or null. */
function rowWords(view, row, score) {
  const stay = row.until == null ? "kept to the end" : `dropped at frame ${row.until}`;
  const words = [`Frame ${row.frame}: ${row.reference ? "a reference, " : ""}${stay}.`];
  if (!score) return words;
  const values = view.group.names
    .map((name, index) => [name, score[index + 1]])
    .filter(([, value]) => value != null)
    .map(([name, value]) => `${name} ${value.toPrecision(3)}`);
  return [...words, ` At frame ${score[0]}: ${values.join(", ")}.`];
}

/** Up and down move between rows, left and right along a row's scores. */
function timelineKey(event, view, row) {
  const element = event.currentTarget;
  const rows = [...element.parentElement.querySelectorAll(".stored")];
  const frames = row.scores.map((score) => score[0]);
  const here = view.cursor.frame == null ? -1 : frames.findLastIndex((frame) => frame <= view.cursor.frame);
  const index = target(event.key, "ArrowUp", "ArrowDown", rows.indexOf(element), rows.length);
  const score = target(event.key, "ArrowLeft", "ArrowRight", here, frames.length);
  if (index !== undefined) focusRow(rows, rows[index]);
  else if (score !== undefined) {
    view.cursor.move(frames[score] ?? null);
    pointAt(view, row, element);
  } else return;
  event.preventDefault();
}
