// J per frame, as a curve for each run. The cursor is shared with the memory timelines below.

const PLOT = { left: 34, right: 10, top: 24, bottom: 24, height: 230 };

/** Maps frames to x and back, on a plot that is `width` pixels wide including margins. */
function frameScale(sequence, width) {
  const span = Math.max(1, sequence.length - 1);
  const inner = Math.max(1, width - PLOT.left - PLOT.right);
  return {
    x: (frame) => PLOT.left + (frame / span) * inner,
    frame: (x) => Math.min(span, Math.max(0, ((x - PLOT.left) / inner) * span)),
  };
}

/** Holds the frame that all plots of a sequence point at (null: none), and notifies listeners of changes. */
function newCursor() {
  const listeners = [];
  return {
    frame: null,
    onMove: (listener) => listeners.push(listener),
    move(frame) {
      this.frame = frame;
      for (const listener of listeners) listener(frame);
    },
  };
}

/** Makes the cursor follow the pointer while it is over the plot. */
function followPointer(svg, scale, cursor) {
  const move = (event) => cursor.move(scale.frame(event.clientX - svg.getBoundingClientRect().left));
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerdown", move);
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && cursor.move(null));
}

/** Shows an element while the cursor is on a frame; `attributes` returns its position at that frame. */
function atCursor(element, cursor, attributes) {
  element.setAttribute("visibility", "hidden");
  cursor.onMove((frame) => {
    element.setAttribute("visibility", frame == null ? "hidden" : "visible");
    if (frame != null) for (const [name, value] of Object.entries(attributes(frame))) element.setAttribute(name, value);
  });
  return element;
}

/** Builds a dashed line at the cursor. */
function cursorLine(scale, cursor, y1, y2) {
  return atCursor(s("line", { class: "cursor", y1, y2 }), cursor, (frame) => ({ x1: scale.x(frame), x2: scale.x(frame) }));
}

/** Returns the index in `sequence.frames` of the scored frame nearest to a frame of the video. */
function nearestScored(sequence, frame) {
  let best = 0;
  sequence.frames.forEach((other, index) => {
    if (Math.abs(other - frame) < Math.abs(sequence.frames[best] - frame)) best = index;
  });
  return best;
}

/** Builds the panel with the curves. */
function curvePanel(sequence, object, cursor) {
  const curves = DATA.runs.map((_, run) => curveOf(sequence, run, object));
  const box = h("div", { class: "curve-box" });
  const section = h("section", { class: "panel", "aria-label": "J per frame" },
    h("div", { class: "list-head" }, h("h2", {}, "J per frame"), h("span", { class: "muted" }, "in percent")),
    objectChoice(sequence, object),
    curveLegend(sequence, object, curves, cursor),
    box);
  if (!curves.some(Boolean)) box.append(h("p", { class: "muted small" }, "No run could be scored here."));
  else whenResized(box, (width) => drawCurves(box, width, sequence, curves, cursor));
  return section;
}

/** Builds buttons for the mean over objects and for each object. */
function objectChoice(sequence, object) {
  if (sequence.objects.length < 2) return null;
  const choice = (value, words) => h("button", {
    type: "button",
    "aria-pressed": String(value === object),
    "data-choice": value ?? "mean",
    click: () => {
      goTo(sequence.name, value);
      document.querySelector(`[data-choice="${value ?? "mean"}"]`)?.focus();
    },
  }, words);
  return h("div", { class: "controls" }, h("div", { class: "segments wrap", role: "group", "aria-label": "Object" },
    choice(null, "Mean"), sequence.objects.map((number) => choice(number, String(number)))));
}

/** Lists the runs with their figures or, while the cursor is on a frame, with J of that frame. */
function curveLegend(sequence, object, curves, cursor) {
  const heading = h("p", { class: "readout", role: "status" });
  const number = (words, value) => h("span", { class: "figure" }, h("span", { class: "muted" }, words), " ", h("b", {}, percent(value)));
  const values = [];
  const items = DATA.runs.map((run, index) => {
    const value = h("span", {});
    values.push(value);
    return h("li", {}, h("span", { class: "name", title: run.name }, swatch(index), run.name), value);
  });
  const show = (frame) => {
    const index = frame == null ? null : nearestScored(sequence, frame);
    heading.replaceChildren(...(index == null
      ? ["Whole video"]
      : ["Frame ", h("b", {}, String(sequence.frames[index])), ` · ${sequence.frameNames[index]}`]));
    values.forEach((value, run) => {
      const figures = figuresOf(sequence, run, object);
      if (!curves[run]) value.textContent = sequence.runs[run] ? "not scored" : "no masks";
      else if (index == null) value.replaceChildren(number("J", figures.j), number(secondName(), figures.second));
      else value.replaceChildren(number("J", curves[run][index]));
    });
  };
  cursor.onMove(show);
  show(null);
  return h("div", {}, heading, h("ul", { class: "legend" }, items));
}

function drawCurves(box, width, sequence, curves, cursor) {
  const scale = frameScale(sequence, width);
  const y = (value) => PLOT.top + (1 - value / 100) * (PLOT.height - PLOT.top - PLOT.bottom);
  const floor = y(0);
  const svg = s("svg", {
    class: "plot", width, height: PLOT.height, tabindex: 0, role: "img",
    "aria-label": `J per frame of ${sequence.name}. The left and right arrow keys move from frame to frame.`,
  },
    lastQuarter(sequence, scale, floor),
    [0, 25, 50, 75, 100].flatMap((value) => gridLine(PLOT.left, width - PLOT.right, y(value), value)),
    frameTicks(sequence, scale, PLOT.height - 8),
    curves.map((values, run) => values && s("polyline", {
      class: "curve", style: runColour(run), "stroke-dasharray": isDashed(run) ? "5 3" : null,
      points: values.flatMap((value, index) => value == null ? [] : `${scale.x(sequence.frames[index]).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
    })),
    cursorLine(scale, cursor, PLOT.top, floor),
    curvePoints(sequence, curves, scale, y, cursor),
    momentMarks(sequence, scale));
  followPointer(svg, scale, cursor);
  svg.addEventListener("keydown", (event) => moveByKey(event, sequence, cursor));
  svg.addEventListener("blur", () => cursor.move(null));
  box.replaceChildren(svg);
}

/** Shades the frames that count in J_tr; nothing if there is no J_tr. */
function lastQuarter(sequence, scale, floor) {
  if (sequence.last == null) return [];
  const from = scale.x(sequence.frames[sequence.last]);
  const to = scale.x(sequence.frames.at(-1));
  return [
    s("rect", { class: "shade", x: from, y: PLOT.top, width: Math.max(1, to - from), height: floor - PLOT.top }),
    s("text", { x: to - 4, y: floor - 6, "text-anchor": "end" }, "last quarter"),
  ];
}

/** Builds the frame numbers under the axis, at round steps. */
function frameTicks(sequence, scale, y) {
  const last = sequence.length - 1;
  const step = niceStep(last / 6);
  const ticks = [];
  for (let frame = 0; frame <= last; frame += step) {
    ticks.push(s("text", { x: scale.x(frame), y, "text-anchor": "middle" }, String(frame)));
  }
  return ticks;
}

/** Builds a dot on every curve at the cursor. */
function curvePoints(sequence, curves, scale, y, cursor) {
  return curves.map((values, run) => values && atCursor(s("circle", { class: "point", style: runColour(run), r: 4 }), cursor, (frame) => {
    const index = nearestScored(sequence, frame);
    if (values[index] == null) return { visibility: "hidden" };
    return { cx: scale.x(sequence.frames[index]), cy: y(values[index]) };
  }));
}

/** Builds numbered marks above the curve, at the frames of the pictures. */
function momentMarks(sequence, scale) {
  return sequence.pictures.map((picture, index) => {
    const x = scale.x(picture.position);
    return s("g", { class: "moment", click: () => showMoment(index) },
      s("title", {}, `Picture ${index + 1}: frame ${picture.position}`),
      s("line", { class: "grid", x1: x, x2: x, y1: 18, y2: PLOT.top }),
      s("circle", { cx: x, cy: 10, r: 8 }),
      s("text", { x, y: 13.5 }, String(index + 1)));
  });
}

function moveByKey(event, sequence, cursor) {
  const here = cursor.frame == null ? -1 : nearestScored(sequence, cursor.frame);
  const next = target(event.key, "ArrowLeft", "ArrowRight", here, sequence.frames.length);
  if (next === undefined) return;
  cursor.move(sequence.frames[next]);
  event.preventDefault();
}
