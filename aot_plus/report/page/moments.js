// Pictures of the worst moments, with the outlines of the ground truth and of each run's prediction.

// Bright enough for photographs, and different in lightness too.
const OBJECT_COLOURS = ["#ffb000", "#4cc9ff", "#ff6fb5", "#3ee6a0", "#c7a3ff", "#ff7f4d", "#f2f25c", "#a8e1ff"];

const outlines = { truth: true, prediction: true };

function momentsPanel(sequence) {
  const toggle = (key, words, mark) => h("label", {},
    h("input", {
      type: "checkbox", checked: outlines[key],
      change: (event) => {
        outlines[key] = event.target.checked;
        show();
      },
    }), mark, words);
  const objects = sequence.objects.length > 1 && h("span", { class: "objects" }, "objects",
    sequence.objects.map((object) => h("span", { class: "object", style: objectColour(sequence, object) }, String(object))));
  const section = panel("Worst moments",
    h("div", { class: "key muted" },
      toggle("prediction", "prediction", h("i")),
      toggle("truth", "ground truth", h("i", { class: "dash" })),
      objects || null),
    h("div", { class: "moments" }, sequence.pictures.map((picture, index) => moment(sequence, picture, index))));
  const show = () => {
    for (const [key, shown] of Object.entries(outlines)) section.classList.toggle(`hide-${key}`, !shown);
  };
  show();
  return section;
}

/** Returns the style that gives an element the colour of an object. */
function objectColour(sequence, object) {
  return `--object: ${OBJECT_COLOURS[sequence.objects.indexOf(object) % OBJECT_COLOURS.length]}`;
}

function moment(sequence, picture, index) {
  const figures = DATA.runs.map((run, number) => picture.runs[number] && momentFigure(sequence, picture, run, number));
  return h("div", { class: "moment-block", id: `moment-${index}`, tabindex: -1 },
    h("h3", {}, `${index + 1} · Frame ${picture.position}`, h("span", { class: "muted" }, picture.frame)),
    h("div", { class: "row" }, figures));
}

function momentFigure(sequence, picture, run, number) {
  const shown = curveOf(sequence, number)[picture.index];
  const image = h("img", {
    src: `data:image/jpeg;base64,${picture.jpeg}`, width: picture.width, height: picture.height,
    alt: `Frame ${picture.position}, ${run.name}: J ${percent(shown)}`, decoding: "async",
  });
  const outline = (kind, shape) => ([object, path]) => s("g", { class: `of-${kind}` },
    s("path", { class: "casing", d: path }),
    s("path", { class: shape, d: path, "fill-rule": "evenodd", style: objectColour(sequence, object) }));
  const drawing = s("svg", { viewBox: `0 0 ${picture.width} ${picture.height}`, "aria-hidden": "true" },
    // The ground truth is drawn first, so that it is visible only where the prediction differs.
    picture.truth.map(outline("truth", "truth")),
    picture.runs[number].map(outline("prediction", "predicted")));
  return h("figure", {},
    h("div", { class: "frame" }, image, drawing),
    h("figcaption", {}, h("span", { class: "name" }, swatch(number), run.name), h("span", {}, "J ", h("b", {}, percent(shown)))));
}

/** Scrolls to a picture. */
function showMoment(index) {
  const block = document.getElementById(`moment-${index}`);
  block?.scrollIntoView({ block: "center" });
  block?.focus({ preventScroll: true });
}
