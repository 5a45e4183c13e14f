// The objects beside the picture, and the buttons that have them followed.

class ObjectList {
  /** `act` asks the program for something by name; `choose` makes an object the one that is painted. */
  constructor(act, choose) {
    this.act = act;
    this.choose = choose;
    this.list = h("ul", { class: "objects", id: "objects" });
    this.element = h("section", { class: "panel", "aria-label": "Objects" },
      h("h2", {}, "Objects"), this.list,
      h("button", { type: "button", id: "add", click: () => act("add") }, "Add an object"));
  }

  show(state, chosen) {
    const editing = this.list.contains(document.activeElement) && document.activeElement.tagName === "INPUT";
    if (editing && this.list.childElementCount === state.objects.length) return;
    this.list.replaceChildren(...state.objects.map((item) => this.row(item, item.id === chosen)));
  }

  row(item, isChosen) {
    const name = h("input", {
      value: item.name, "aria-label": "Name", maxlength: 60, spellcheck: "false",
      focus: () => this.choose(item.id),
      change: (event) => this.act("rename", { id: item.id, name: event.target.value }),
      keydown: (event) => event.key === "Enter" && event.target.blur(),
    });
    return h("li", { class: `${isChosen ? "chosen" : ""} ${item.hidden ? "hidden-object" : ""}`, "data-id": item.id },
      h("button", { type: "button", class: "swatch-button", style: `--colour: ${item.colour}`, "aria-pressed": isChosen ? "true" : "false", "aria-label": `Paint ${item.name}`, title: "Paint this object", click: () => this.choose(item.id) }, String(item.id)),
      name,
      h("button", { type: "button", class: "quiet", "data-do": "hide", "aria-pressed": item.hidden ? "true" : "false", click: () => this.act("hide", { id: item.id, hidden: !item.hidden }) }, item.hidden ? "Show" : "Hide"),
      h("button", { type: "button", class: "quiet icon", "data-do": "remove", "aria-label": `Remove ${item.name}`, title: "Remove from all frames", click: () => this.act("remove", { id: item.id }) }, "✕"));
  }
}

class RunPanel {
  constructor(segment, stop) {
    this.forward = h("button", { type: "button", class: "primary", id: "segment", click: () => segment(1) }, "Segment");
    this.backward = h("button", { type: "button", id: "backward", click: () => segment(-1) }, "Backward");
    this.stopping = h("button", { type: "button", class: "primary", id: "stop", hidden: true, click: stop }, "Stop");
    this.bar = h("i", {});
    this.text = h("p", { class: "small", role: "status", id: "progress" });
    this.element = h("section", { class: "panel run", "aria-label": "Segment" },
      h("h2", {}, "Segment"),
      h("div", { class: "buttons" }, this.forward, this.stopping, this.backward),
      h("div", { class: "bar" }, this.bar), this.text);
  }

  show(state) {
    const { run } = state;
    this.forward.hidden = run.running;
    this.stopping.hidden = !run.running;
    this.backward.disabled = run.running || state.frame === 0;
    this.forward.disabled = state.frame === state.frames - 1;
    this.bar.style.width = `${run.total ? (100 * run.done) / run.total : 0}%`;
    this.text.textContent = progressText(state);
    this.text.classList.toggle("worse", run.state === "failed");
  }
}

const START = "Paint each object on one frame, with the brush or a box. Then segment: they are followed from that frame on.";

function progressText({ run, given }) {
  const way = run.step > 0 ? "forward" : "backward";
  const counted = `${run.done} of ${run.total} frames ${way}`;
  switch (run.state) {
    case "idle": return given.length ? "Goes from the frame that is shown to the end of the video, or back to its beginning." : START;
    case "loading": return "Loading the model …";
    case "remembering": return `Going back to this moment's memory: ${run.message} …`;
    case "running": return `${counted} · ${run.fps.toFixed(1)} frames/s · ${run.seconds_left == null ? "…" : `${duration(run.seconds_left)} left`}`;
    case "stopped": return `Stopped after ${counted}. Correct a frame by painting, then segment from there.`;
    case "done": return `Done: ${counted}${run.fps ? `, ${run.fps.toFixed(1)} frames/s at the end` : ""}.`;
    default: return run.message;
  }
}

function duration(seconds) {
  const whole = Math.ceil(seconds);
  const two = (number) => String(number).padStart(2, "0");
  return whole < 3600 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}
