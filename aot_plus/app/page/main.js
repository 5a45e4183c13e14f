// Puts the parts together: shows answers, sends requests to the program, handles keys.

const POLL = 250; // milliseconds between two requests for a run's progress
const TOOLS = [
  ["brush", "Brush", "Paint the selected object (b)"], ["eraser", "Eraser", "Erase what is painted (e)"],
  ["box", "Box", "Drag a box around the selected object (x)"],
];
const KEYS = [
  ["← →", "previous, next frame (with Shift, ten frames)"], ["Home End", "first, last frame"], ["b e x", "brush, eraser, box"],
  ["[ ]", "smaller, larger brush"], ["1–9", "select an object"], ["Ctrl+Z", "undo"], ["s", "start or stop segmenting"],
];
const DEAD = "The program does not respond. If it was stopped, restart it and reload this page: everything is saved.";

class Studio {
  constructor(main, side, server, upload) {
    this.server = server;
    this.upload = upload;
    this.state = null;
    this.has = -1; // the frame whose picture is shown
    this.tool = "brush";
    this.diameter = 0;
    this.chosen = null; // id of the object to paint
    this.newest = null; // id of the last object in the list: a new object is chosen automatically
    this.follow = true; // whether the page follows the run
    this.wanted = null; // the frame to go to after the next answer
    this.asked = Promise.resolve(); // resolves when all requests are answered
    this.waiting = 0; // number of unanswered requests
    this.stage = new Stage((begins) => this.hand(begins), (stroke) => this.paint(stroke), (frame, box) => this.ask("box", { frame, id: this.chosen, box }));
    this.timeline = new Timeline((frame) => this.goTo(frame));
    this.memory = new MemoryPanel((frame) => this.goTo(frame), async (frames) => (await this.call("thumbnails", { frames })).thumbnails ?? {});
    this.objects = new ObjectList((action, values) => this.ask(action, values), (id) => this.choose(id));
    this.run = new RunPanel((step) => this.segment(step), () => this.ask("stop", { follow: this.follow }));
    for (const part of [main, side]) part.classList.add("aot");
    main.replaceChildren(this.toolbar(), this.stage.element, this.timeline.element, this.memory.element);
    side.replaceChildren(this.objects.element, this.run.element);
    this.element = main;
    this.keys = (event) => this.key(event);
    document.addEventListener("keydown", this.keys);
    this.back = () => (this.element.isConnected ? this.ask("look") : window.removeEventListener("focus", this.back));
    window.addEventListener("focus", this.back); // another tab may have opened another project
  }

  toolbar() {
    this.tools = TOOLS.map(([tool, name, title]) =>
      h("button", { type: "button", "data-tool": tool, title, click: () => this.useTool(tool) }, name));
    this.sizer = h("input", { type: "range", min: 1, max: 100, id: "diameter", "aria-label": "Brush size", input: () => { this.diameter = this.fromSlider(); } });
    this.undo = h("button", { type: "button", id: "undo", title: "Undo (Ctrl+Z)", click: () => this.ask("undo") }, "Undo");
    const file = h("input", { type: "file", accept: ".png,.bmp,.webp", hidden: true, id: "mask-file", change: (event) => this.loadMask(event.target) });
    return h("div", { class: "toolbar", role: "toolbar", "aria-label": "Tools" },
      h("div", { class: "segments", role: "group", "aria-label": "Tool" }, this.tools),
      h("label", { class: "small", title: "[ and ]" }, "Size ", this.sizer),
      this.undo,
      h("button", { type: "button", class: "quiet", title: "Load this frame's mask from a file", click: () => file.click() }, "Load a mask …"), file,
      h("details", { class: "keys small" }, h("summary", {}, "Keys"), h("dl", {}, KEYS.map(([key, effect]) => [h("dt", {}, key), h("dd", {}, effect)]))));
  }

  // --- requests to the program

  async call(action, values = {}) {
    let answer;
    try {
      const project = this.state && { project: this.state.project };
      answer = await this.server.ask({ action, values: { ...values, ...project, has: this.has } });
    } catch {} // the browser logs what went wrong
    answer ??= { error: DEAD };
    if (answer.error) this.say(answer.error);
    return answer;
  }

  /** Sends a request after all earlier ones are answered, because the program may handle two at once, in either
   *  order. Shows the answer. `stroke`: what the request paints. */
  ask(action, values = {}, stroke = null) {
    this.waiting += 1;
    const answer = this.asked.then(() => this.askNow(action, values, stroke));
    this.asked = answer.catch(() => {}).then(() => { this.waiting -= 1; });
    return answer;
  }

  async askNow(action, values, stroke) {
    const changes = !["look", "show", "segment"].includes(action); // masks or objects, at once
    this.element.classList.toggle("busy", action === "box");
    const answer = await this.call(action, values);
    this.element.classList.remove("busy");
    if (changes || action === "segment") this.hideZip();
    const isOther = this.state && answer.state && answer.state.project !== this.state.project;
    if (isOther && this.element.isConnected) location.reload(); // the title, settings and export belong to it too
    if (changes) this.memory.forget();
    if (answer.state) this.show(answer, stroke);
    else if (stroke) this.stage.forget(stroke);
    if (changes) this.refreshAreas();
    if (answer.state) this.watchRun(); // otherwise the program is gone
    return answer;
  }

  /** Hides the button that downloads the exported zip, because the masks in it are no longer those of the project. */
  hideZip() {
    const button = document.querySelector("#download");
    if (button) button.style.display = "none"; // the next export makes a new one
  }

  show(answer, stroke) {
    const isOther = this.state?.project !== answer.state.project;
    this.state = answer.state;
    if (answer.picture != null) this.has = answer.state.frame; // empty if the frame cannot be read
    if (isOther) this.begin();
    const newest = this.state.objects.at(-1)?.id ?? null;
    if (newest > this.newest || !this.state.objects.some((item) => item.id === this.chosen)) this.chosen = newest;
    this.newest = newest;
    this.stage.show(answer.picture, answer.layer, stroke);
    this.timeline.setState(this.state);
    this.memory.show(answer.memory);
    this.objects.show(this.state, this.chosen);
    this.run.show(this.state);
    this.undo.disabled = !this.state.undo;
  }

  /** Resets the page for another project. */
  begin() {
    const { width, height } = this.state;
    this.stage.setSize(width, height);
    this.diameter = Math.max(3, Math.round(Math.min(width, height) / 12));
    this.setSlider();
    this.useTool(this.tool);
    this.memory.forget();
    this.refreshAreas();
  }

  async refreshAreas() {
    const answer = await this.call("areas");
    if (answer.areas) this.timeline.setAreas(answer.areas);
  }

  // --- what the user does

  async goTo(frame) {
    this.follow = false;
    this.wanted = Math.min(Math.max(Math.round(frame) || 0, 0), this.state.frames - 1);
    this.state.frame = this.wanted;
    this.timeline.setState(this.state);
    if (this.going) return;
    this.going = true;
    while (this.wanted != null) {
      const next = this.wanted;
      this.wanted = null;
      await this.ask("show", { frame: next });
    }
    this.going = false;
  }

  /** Returns what to draw with, and on which frame. `begins`: drawing begins, so the page stops following a run. */
  hand(begins) {
    const item = this.state?.objects.find((each) => each.id === this.chosen);
    if (begins && !item) this.say("Add an object before painting.");
    if (begins) this.follow = false;
    return { tool: this.tool, id: item?.id, colour: item?.colour, diameter: this.diameter, frame: this.has };
  }

  paint(stroke) {
    this.ask("paint", { frame: stroke.frame, id: stroke.id, points: stroke.points, diameter: stroke.diameter }, stroke);
  }

  segment(step) {
    this.follow = true;
    this.ask("segment", { frame: this.state.frame, step });
  }

  choose(id) {
    this.chosen = id;
    if (this.tool === "eraser") this.useTool("brush");
    this.objects.show(this.state, id);
  }

  useTool(tool) {
    this.tool = tool;
    this.stage.element.dataset.tool = tool;
    for (const button of this.tools) button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }

  async loadMask(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      const { path } = await this.upload(file);
      await this.ask("load", { path, frame: this.state.frame });
    } catch {
      this.say(DEAD);
    }
  }

  /** Maps the slider's 1..100 to diameters from 1 pixel to half the frame, on a logarithmic scale. */
  fromSlider() {
    return Math.max(1, Math.round(Math.exp((Math.log(this.largest()) * this.sizer.value) / 100)));
  }

  setSlider() {
    this.sizer.value = (100 * Math.log(this.diameter)) / Math.log(this.largest());
  }

  largest() {
    return Math.max(2, Math.min(this.state.width, this.state.height) / 2);
  }

  key(event) {
    if (!this.element.isConnected) return document.removeEventListener("keydown", this.keys);
    const target = event.target;
    const typing = target.matches("textarea, select, [contenteditable]") || (target.matches("input") && target.type !== "range");
    if (typing || !this.state || event.altKey) return;
    const undo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    const act = undo ? () => this.undo.click() : event.ctrlKey || event.metaKey ? null : this.actOf(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  actOf(event) {
    const far = event.shiftKey ? 10 : 1;
    const resize = (factor) => () => { this.diameter = Math.min(this.largest(), Math.max(1, Math.round(this.diameter * factor + Math.sign(factor - 1)))); this.setSlider(); };
    const numbered = this.state.objects[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key)) return numbered && (() => this.choose(numbered.id));
    return {
      ArrowLeft: () => this.goTo(this.state.frame - far), ArrowRight: () => this.goTo(this.state.frame + far),
      Home: () => this.goTo(0), End: () => this.goTo(this.state.frames - 1),
      b: () => this.useTool("brush"), e: () => this.useTool("eraser"), x: () => this.useTool("box"),
      "[": resize(1 / 1.2), "]": resize(1.2),
      s: !event.repeat && (() => (this.state.run.running ? this.run.stopping : this.run.forward).click()),
    }[event.key];
  }

  // --- during a run

  watchRun() {
    if (this.state?.run.running && !this.timer) this.timer = setTimeout(() => this.look(), POLL);
  }

  async look() {
    this.timer = null;
    if (!this.element.isConnected) return;
    if (this.waiting) return this.watchRun();
    await this.ask("look", { follow: this.follow });
    this.looks = (this.looks ?? 0) + 1;
    if (!this.state.run.running) {
      this.memory.forget(); // some thumbnails were drawn before their masks existed
      this.memory.show(this.memory.memory);
    }
    if (this.looks % 4 === 0 || !this.state.run.running) await this.refreshAreas();
  }

  say(message) {
    const note = h("div", { class: "note", role: "alert" }, h("span", {}, message), h("button", { type: "button", class: "quiet icon", "aria-label": "Close", click: () => note.remove() }, "✕"));
    document.querySelector(".notes-here")?.remove();
    const place = h("div", { class: "notes-here" }, note);
    document.body.append(place);
    setTimeout(() => place.remove(), 12_000);
  }
}

const parts = {};

/** Called by each of the page's two parts once it is in the document, and when another project is opened. */
function mount(name, element, server, upload) {
  parts[name] = { element, server, upload };
  const { main, side } = parts;
  if (!main?.element.isConnected || !side?.element.isConnected) return;
  window.aotStudio = new Studio(main.element, side.element, main.server, main.upload);
  window.aotStudio.ask("look");
}

window.aotApp = { mount };
