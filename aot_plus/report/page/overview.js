// The table of the runs, with the paper's rows below, and the histogram of the second figure.

function showOverview() {
  document.title = `${DATA.dataset} ${DATA.split}: evaluation report`;
  document.getElementById("title").textContent = DATA.dataset;
  const runs = count(DATA.runs.length, "run");
  document.getElementById("subtitle").textContent =
    `Evaluation report · split ${DATA.split} · ${DATA.sequences.length} of ${count(DATA.splitSequences, "sequence")} · ${runs}`;
  showRuns();
  showRunNotes();
  showHistogram();
}

/** Returns whether all runs have the same objects, so that their means can be compared directly. */
function runsAreComparable() {
  return DATA.runs.every((run) => run.all.objects === run.common.objects);
}

function showRuns() {
  const comparable = runsAreComparable();
  const key = comparable ? "all" : "common";
  const head = ["Run", "J", secondName(), ...(comparable ? [] : ["J, own", [...secondName(), ", own"], "Objects"]), "Policy", "Capacity", "Model", "Frames/s", "Memory"];
  const isText = (name) => name === "Policy" || name === "Model";
  const td = (value) => h("td", {}, value);
  const row = (attributes, name, figures, own, run, speed) => h("tr", attributes,
    name,
    figures,
    comparable ? null : own.map(td),
    h("td", { class: "text" }, run.policy ?? "–"), td(run.capacity ?? "–"),
    h("td", { class: "text", title: run.checkpoint }, run.model ?? "–"),
    speed.map(td));
  const best = (figure) => Math.max(...DATA.runs.map((run) => run[key][figure] ?? -1));
  const figure = (run, name) =>
    h("td", { class: DATA.runs.length > 1 && run[key][name] === best(name) ? "best" : null }, percent(run[key][name]));
  const runs = DATA.runs.map((run, index) => row({},
    h("th", { scope: "row", title: run.folder }, swatch(index), run.name),
    [figure(run, "j"), figure(run, "second")],
    [percent(run.all.j), percent(run.all.second), String(run.all.objects)],
    run, [run.framesPerSecond?.toFixed(1) ?? "–", memoryText(run)]));
  const paper = DATA.paper.map((line) => row({ class: "paper" },
    h("th", { scope: "row" }, `Paper: ${line.method}`),
    [td(percent(line.j)), td(percent(line.second))], ["", "", ""], line, ["", ""]));
  document.getElementById("runs").replaceChildren(
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col", class: isText(name) ? "text" : null }, name)))),
    h("tbody", {}, runs),
    ...(paper.length ? [h("tbody", {}, paper)] : []));
}

function memoryText(run) {
  const memory = run.gpuMemory ?? run.memory;
  if (memory == null) return "–";
  return `${(memory / 1024).toFixed(memory < 10240 ? 2 : 1)} GiB${run.gpuMemory == null ? "" : " GPU"}`;
}

function showRunNotes() {
  const notes = DATA.runs.flatMap((run) => run.notes.map((note) => `${run.name}: ${note}`));
  if (!runsAreComparable()) {
    const shared = count(Math.max(...DATA.runs.map((run) => run.common.objects)), "object");
    notes.unshift(`The runs do not cover the same objects. J and ${DATA.second} are means over the ${shared} that all scored runs share; "own" means over all objects of the run.`);
  }
  const whole = DATA.runs.every((run) => run.sequences === DATA.splitSequences);
  if (DATA.paper.length && !whole) notes.push("The paper's figures are for the whole split.");
  const meaning = DATA.second === "F" ? "F compares edges" : "J_tr is J over the last quarter of the scored frames";
  notes.push(`J and ${DATA.second} in percent, means over objects; ${meaning}.`, ...DATA.notes);
  document.getElementById("run-notes").replaceChildren(...notes.map((note) => h("li", {}, subscripts(note))));
}

/** Sets J_tr with a subscript wherever it occurs in a text. */
function subscripts(text) {
  return text.split("J_tr").flatMap((part, index) => (index ? [...jTr(), part] : [part]));
}

const BINS = 10;

function showHistogram() {
  document.getElementById("histogram-title").replaceChildren(...secondName(), " of the objects");
  const bins = DATA.runs.map((_, run) => {
    const counts = new Array(BINS).fill(0);
    for (const sequence of DATA.sequences) {
      for (const [, value] of sequence.runs[run]?.figures ?? []) {
        counts[Math.min(BINS - 1, Math.floor(value / (100 / BINS)))] += 1;
      }
    }
    return counts;
  });
  const box = document.getElementById("histogram");
  whenResized(box, (width) => box.replaceChildren(histogram(bins, width)));
}

function histogram(bins, width) {
  const height = 170, left = 28, bottom = 22, top = 8;
  const most = Math.max(1, ...bins.flat());
  const step = niceStep(most / 4);
  const ceiling = Math.ceil(most / step) * step;
  const y = (value) => height - bottom - (value / ceiling) * (height - bottom - top);
  const slot = (width - left - 6) / BINS;
  const bar = Math.min(18, (slot - 4) / bins.length);
  const parts = [];
  for (let value = 0; value <= ceiling; value += step) {
    parts.push(...gridLine(left, width, y(value), value));
  }
  for (let bin = 0; bin < BINS; bin++) {
    const from = left + bin * slot;
    const range = `${bin * 10}–${(bin + 1) * 10}`;
    const start = from + (slot - bar * bins.length) / 2;
    const words = bins.map((counts, run) => `${DATA.runs[run].name} ${counts[bin]}`).join(", ");
    parts.push(s("g", {}, s("title", {}, `${range}: ${words}`),
      s("rect", { x: from, y: top, width: slot, height: height - bottom - top, fill: "transparent" }),
      bins.map((counts, run) => s("rect", {
        class: "bar", style: runColour(run), "fill-opacity": isDashed(run) ? 0.55 : 1, rx: 1,
        x: start + run * bar, width: Math.max(1, bar - 1), y: y(counts[bin]), height: height - bottom - y(counts[bin]),
      }))));
    if (bin % 2 === 0) parts.push(s("text", { x: from, y: height - 6, "text-anchor": "middle" }, String(bin * 10)));
  }
  parts.push(s("text", { x: width - 6, y: height - 6, "text-anchor": "end" }, "100"));
  const words = bins.map((counts, run) => `${DATA.runs[run].name}: ${counts.join(", ")}`).join("; ");
  return s("svg", { width, height, role: "img", "aria-label": `Objects by ${DATA.second}, in steps of 10 percent. ${words}` }, parts);
}

/** Returns the smallest 1, 2 or 5 times a power of ten that is at least the value and at least 1. */
function niceStep(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value) ?? 10 * power;
}

