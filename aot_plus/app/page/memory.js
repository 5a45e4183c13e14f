// The memory bank after the frame that is shown: its frames, their scores, which one was dropped and why.

const SCORES = ["relevance", "novelty"];

class MemoryPanel {
  constructor(goTo, fetchThumbnails) {
    this.goTo = goTo;
    this.fetchThumbnails = fetchThumbnails;
    this.pictures = {}; // by frame
    this.line = h("p", { class: "muted small", role: "status" });
    this.cards = h("div", { class: "cards" });
    this.element = h("section", { class: "panel memory", id: "memory", "aria-label": "Memory bank" }, h("h2", {}, "Memory bank"), this.line, this.cards);
  }

  /** Discards the pictures, because masks have changed. */
  forget() {
    this.pictures = {};
    this.content = null;
  }

  /** Redraws only if something changed: a card that is replaced while it is pressed loses the click. */
  async show(memory) {
    const content = JSON.stringify(memory);
    if (content === this.content) return;
    this.content = content;
    this.memory = memory;
    this.line.textContent = memory ? describe(memory) : "Empty: it fills during a run, and no run has reached this frame yet.";
    const held = memory?.held ?? [];
    const missing = held.map((item) => item.frame).filter((frame) => !(frame in this.pictures));
    this.draw();
    if (missing.length) {
      Object.assign(this.pictures, await this.fetchThumbnails(missing));
      if (this.memory === memory) this.draw();
    }
  }

  draw() {
    const held = this.memory?.held ?? [];
    const names = SCORES.filter((name) => held.some((item) => name in item.scores));
    const highest = Object.fromEntries(names.map((name) => [name, Math.max(...held.map((item) => item.scores[name] ?? 0), 1e-9)]));
    this.cards.replaceChildren(...held.map((item) => this.card(item, names, highest)));
  }

  card(item, names, highest) {
    const bar = (name) => {
      const value = item.scores[name];
      return h("span", { class: "score", title: value == null ? `${name}: not yet scored` : `${name} ${value.toFixed(4)}` },
        h("span", {}, name), h("b", {}, value == null ? "–" : value.toFixed(3)),
        h("i", { style: `--share: ${value == null ? 0 : Math.max(0, value) / highest[name]}` }));
    };
    return h("button", { type: "button", class: `card ${item.mark}`, click: () => this.goTo(item.frame), "aria-label": `Go to frame ${item.frame}` },
      h("img", { alt: "", src: this.pictures[item.frame] ?? false }),
      h("span", { class: "caption" }, h("b", {}, String(item.frame)), h("span", { class: "mark" }, item.mark)),
      names.map(bar));
  }
}

function describe(memory) {
  const frames = memory.held.filter((item) => !["dropped", "declined"].includes(item.mark)).length;
  const capacity = memory.capacity ? ` of ${memory.capacity}` : "";
  const groups = memory.groups > 1 ? ` (the first of ${memory.groups} groups of objects)` : "";
  const held = `After frame ${memory.frame}: ${frames}${capacity} frames, policy ${memory.policy}${groups}. `;
  const score = memory.held.find((item) => item.mark === "dropped")?.scores.score;
  if (memory.dropped != null) return `${held}Frame ${memory.dropped} was dropped: ${memory.reason}${score == null ? "" : ` (${score.toFixed(3)})`}.`;
  if (memory.declined) return `${held}Frame ${memory.frame} was not stored: ${memory.policy} declined it.`;
  return held + (memory.capacity ? "No frame is dropped until the memory bank is full." : "No frame is dropped.");
}
