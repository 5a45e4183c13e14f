// The list of objects beside the picture, and the buttons that start and stop a run.

class ObjectList {
  /** `act` sends an action to the program; `choose` makes an object the one to paint. */
  constructor(act, choose) {
    this.act = act;
    this.choose = choose;
    this.list = h("ul", { class: "objects", id: "objects" });
    this.element = h("section", { class: "panel", "aria-label": "Objects" },
      h("h2", {}, "Objects"), this.list,
      h("button", { type: "button", id: "add", click: () => act("add") }, "Add an object"));
  }

  /** Updates existing rows: a row that is replaced while it is pressed loses the click and the focus. */
  show(state, chosen) {
    const ids = state.objects.map((item) => item.id).join();
    if (ids !== this.ids) {
      this.ids = ids;
      this.rows = state.objects.map((item) => this.row(item));
      this.list.replaceChildren(...this.rows);
    }
    state.objects.forEach((item, place) => this.update(this.rows[place], item, item.id === chosen));
  }

  row({ id, colour }) {
    const name = h("input", {
      "aria-label": "Name", maxlength: 60, spellcheck: "false",
      focus: () => this.choose(id),
      change: () => this.act("rename", { id, name: name.value }),
      keydown: (event) => event.key === "Enter" && name.blur(),
    });
    return h("li", { "data-id": id },
      h("button", { type: "button", class: "swatch-button", style: `--colour: ${colour}`, title: "Paint this object", click: () => this.choose(id) }, String(id)),
      name,
      h("button", { type: "button", class: "quiet", "data-do": "hide", click: (event) => this.act("hide", { id, hidden: event.currentTarget.getAttribute("aria-pressed") === "false" }) }),
      h("button", { type: "button", class: "quiet icon", "data-do": "remove", title: "Remove from all frames", click: () => this.act("remove", { id }) }, "✕"));
  }

  update(row, item, isChosen) {
    const [swatch, name, hide, remove] = row.children;
    if (isChosen && !row.classList.contains("chosen")) this.scrollTo(row);
    row.classList.toggle("chosen", isChosen);
    row.classList.toggle("hidden-object", item.hidden);
    swatch.setAttribute("aria-pressed", isChosen);
    swatch.setAttribute("aria-label", `Paint ${item.name}`);
    if (document.activeElement !== name) name.value = item.name;
    hide.setAttribute("aria-pressed", item.hidden);
    hide.textContent = item.hidden ? "Show" : "Hide";
    remove.setAttribute("aria-label", `Remove ${item.name}`);
  }

  /** Scrolls a row of a long list into view, without scrolling the page. */
  scrollTo(row) {
    const top = row.offsetTop - this.list.offsetTop;
    if (top < this.list.scrollTop || top + row.offsetHeight > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top;
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

const START = "Paint each object on one frame, with the brush or a box. Then click Segment to track them from that frame on.";

function progressText({ run, given }) {
  const way = run.step > 0 ? "forward" : "backward";
  const counted = `${run.done} of ${run.total} frames ${way}`;
  switch (run.state) {
    case "idle": return given.length ? "Segments from the current frame to the end of the video, or back to its beginning." : START;
    case "loading": return "Loading the model …";
    case "remembering": return `Restoring the memory before this frame: ${run.message} …`;
    case "running": return `${counted} · ${run.fps.toFixed(1)} frames/s · ${run.seconds_left == null ? "…" : `${duration(run.seconds_left)} left`}`;
    case "stopped": return `Stopped after ${counted}. To correct a frame, paint on it, then segment from there.`;
    case "done": return `Done: ${counted}${run.fps ? `, ${run.fps.toFixed(1)} frames/s at the end` : ""}.${run.done < run.total ? " The other frames cannot be read." : ""}`;
    default: return run.message;
  }
}

function duration(seconds) {
  const whole = Math.ceil(seconds);
  const two = (number) => String(number).padStart(2, "0");
  return whole < 3600 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}
