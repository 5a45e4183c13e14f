// The slider through the frames, and under it the objects' areas; a click goes to a frame.

const CURVES = 84; // pixels: height of the plot of areas

class Timeline {
  constructor(goTo) {
    this.areas = null;
    this.state = null;
    this.box = h("div", { class: "curves", id: "areas", click: (event) => goTo(this.frameAt(event)) });
    this.slider = h("input", {
      type: "range", min: 0, id: "slider", "aria-label": "Frame",
      input: () => goTo(Number(this.slider.value)),
    });
    this.number = h("input", {
      type: "number", min: 0, id: "number", "aria-label": "Frame number",
      change: () => {
        if (this.number.value) goTo(Number(this.number.value));
        this.number.value = this.state.frame; // clamped to the video
      },
      keydown: (event) => event.key === "Enter" && this.number.blur(), // so that keys work again
    });
    this.total = h("span", { class: "muted" });
    this.name = h("span", { class: "muted name" });
    this.tag = h("span", { class: "tag", hidden: true }, "given by hand");
    const step = (by, label, sign) => h("button", { type: "button", class: "quiet icon", "aria-label": label, title: label, click: () => goTo(this.state.frame + by) }, sign);
    this.element = h("section", { class: "panel timeline", "aria-label": "Frames" },
      h("div", { class: "transport" },
        step(-1, "Previous frame (left arrow)", "◀"), step(1, "Next frame (right arrow)", "▶"),
        h("label", {}, "Frame ", this.number), this.total, this.name, this.tag),
      this.slider,
      this.box);
    whenResized(this.box, () => this.draw());
  }

  setState(state) {
    this.state = state;
    this.slider.max = this.number.max = state.frames - 1;
    if (document.activeElement !== this.slider || state.run.running) this.slider.value = state.frame;
    if (document.activeElement !== this.number) this.number.value = state.frame;
    this.total.textContent = `/ ${state.frames - 1}`;
    this.name.textContent = state.name === String(state.frame).padStart(5, "0") ? "" : state.name;
    this.tag.hidden = !state.given.includes(state.frame);
    this.drawCursor();
  }

  setAreas(areas) {
    this.areas = areas;
    this.draw();
  }

  x(frame) {
    const last = Math.max(1, this.state.frames - 1);
    return 8 + ((this.box.clientWidth - 16) * frame) / last; // half of the slider's 16-pixel thumb on each side
  }

  frameAt(event) {
    const share = (event.clientX - this.box.getBoundingClientRect().left - 8) / (this.box.clientWidth - 16);
    return Math.round(share * (this.state.frames - 1));
  }

  draw() {
    const width = this.box.clientWidth;
    if (!this.areas || !this.state || !width) return;
    const shown = this.areas.objects.filter((object) => !this.state.objects.find((item) => item.id === object.id)?.hidden);
    const highest = Math.max(0, ...shown.flatMap((object) => object.shares));
    const y = (share) => CURVES - 4 - ((CURVES - 20) * share) / (highest || 1);
    const plot = s("svg", { width, height: CURVES, role: "img", "aria-label": "Areas of the objects over time" },
      s("line", { class: "grid", x1: 8, x2: width - 8, y1: CURVES - 4, y2: CURVES - 4 }),
      s("text", { x: 8, y: 10 }, highest ? `area: up to ${highest.toFixed(highest < 0.1 ? 2 : 1)} % of the frame` : "areas of the objects over time"),
      shown.flatMap((object) => this.pieces(object.shares).map((piece) =>
        s("polyline", { class: "curve", style: `--colour: ${this.colour(object.id)}`, points: piece.map(([frame, share]) => `${this.x(frame).toFixed(1)},${y(share).toFixed(1)}`).join(" ") }))),
      this.state.given.map((frame) => s("path", { class: "given", d: `M${this.x(frame) - 4} ${CURVES} l4 -6 l4 6 z` })));
    this.cursor = s("line", { class: "cursor", y1: 0, y2: CURVES });
    plot.append(this.cursor);
    this.box.replaceChildren(plot);
    this.drawCursor();
  }

  drawCursor() {
    if (!this.cursor) return;
    const x = this.x(this.state.frame);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
  }

  colour(id) {
    return this.state.objects.find((item) => item.id === id)?.colour ?? "transparent";
  }

  /** Returns the stretches without a gap, as lists of (frame, share); a single moment gets some width. */
  pieces(shares) {
    const pieces = [];
    let piece = null;
    shares.forEach((share, moment) => {
      if (share == null) piece = null;
      else if (piece) piece.push([moment * this.areas.every, share]);
      else pieces.push((piece = [[moment * this.areas.every, share]]));
    });
    return pieces.map((own) => (own.length > 1 ? own : [own[0], [own[0][0] + 0.4, own[0][1]]]));
  }
}
