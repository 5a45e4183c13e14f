// The frame with its objects, and drawing on it.

/** Shows a frame and the layer of its objects, and turns what is drawn into strokes and boxes. */
class Stage {
  /** `hand` returns what to draw with and where: tool, object, diameter, colour, frame. `onStroke` and `onBox` get
   *  the results, with the frame on which they were begun, because a run may have moved on since. */
  constructor(hand, onStroke, onBox) {
    this.hand = hand;
    this.onStroke = onStroke;
    this.onBox = onBox;
    this.size = [1, 1]; // width and height of the frame, in its pixels
    this.turn = Promise.resolve(); // shows pictures in the order in which they arrived
    this.layer = null;
    this.strokes = []; // drawn but not yet in the layer
    this.current = null;
    this.picture = h("img", { alt: "", draggable: "false" });
    this.canvas = h("canvas", {});
    this.cursor = h("div", { class: "brush", hidden: true });
    this.rubber = h("div", { class: "rubber", hidden: true });
    this.element = h("div", { class: "stage", id: "stage" }, this.picture, this.canvas, this.rubber, this.cursor);
    for (const [name, act] of Object.entries({ pointerdown: "down", pointermove: "move", pointerup: "up", pointercancel: "cancel", pointerleave: "leave" }))
      this.element.addEventListener(name, (event) => this[act](event));
  }

  setSize(width, height) {
    this.size = [this.canvas.width, this.canvas.height] = [width, height];
    this.element.style.setProperty("--aspect", `${width} / ${height}`);
    this.element.style.setProperty("--ratio", width / height);
  }

  /** Shows a new layer ("": none), and a new picture if given ("": removes it). `stroke`: one that the layer now holds. */
  show(picture, layer, stroke) {
    const loading = [picture, layer].map((address) => (address ? loaded(address) : null));
    this.turn = this.turn.then(async () => {
      const [image, objects] = await Promise.all(loading);
      if (image) {
        this.picture.src = image.src;
        [this.canvas.width, this.canvas.height] = [image.naturalWidth, image.naturalHeight];
      } else if (picture === "") this.picture.removeAttribute("src");
      this.layer = objects;
      this.strokes = this.strokes.filter((other) => other !== stroke);
      this.draw();
    });
  }

  forget(stroke) {
    this.strokes = this.strokes.filter((other) => other !== stroke);
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.layer) context.drawImage(this.layer, 0, 0, this.canvas.width, this.canvas.height);
    for (const stroke of this.current ? [...this.strokes, this.current] : this.strokes) this.drawStroke(context, stroke);
  }

  drawStroke(context, stroke) {
    const scale = this.canvas.width / this.size[0];
    context.globalCompositeOperation = stroke.id ? "source-over" : "destination-out";
    context.globalAlpha = stroke.id ? 0.6 : 1;
    context.strokeStyle = stroke.colour;
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = stroke.diameter * scale;
    context.beginPath();
    const [first, ...others] = stroke.points;
    context.moveTo(first[0] * scale, first[1] * scale);
    for (const [x, y] of others.length ? others : [first]) context.lineTo(x * scale, y * scale + 0.01);
    context.stroke();
    context.globalAlpha = 1;
  }

  /** Returns the position of an event in pixels of the frame. */
  place(event) {
    const box = this.element.getBoundingClientRect();
    const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return at.map((share, axis) => Math.round(share * this.size[axis] * 10) / 10);
  }

  down(event) {
    if (event.button !== 0 || this.current || this.corner) return;
    const { tool, id, diameter, colour, frame } = this.hand(true);
    if (id == null) return;
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    if (tool === "box") [this.corner, this.boxFrame] = [this.place(event), frame];
    else {
      this.current = { frame, id: tool === "eraser" ? 0 : id, diameter, colour, points: [this.place(event)] };
      this.draw();
    }
  }

  move(event) {
    this.showCursor(event);
    if (this.current) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.current.points.push(this.place(each));
      this.draw();
    } else if (this.corner) this.showRubber(this.place(event));
  }

  up(event) {
    const stroke = this.current;
    if (stroke) {
      this.current = null;
      this.strokes.push(stroke);
      this.draw();
      this.onStroke(stroke);
    } else if (this.corner) {
      const [x, y, width, height] = this.boxTo(this.place(event));
      this.cancel();
      if (width >= 3 && height >= 3) this.onBox(this.boxFrame, [x, y, width, height].map(Math.round));
    }
  }

  cancel() {
    this.current = this.corner = null;
    this.rubber.hidden = true;
    this.draw();
  }

  leave() {
    if (!this.current) this.cursor.hidden = true;
  }

  showCursor(event) {
    const { tool, diameter, colour } = this.hand(false);
    this.element.dataset.tool = tool;
    this.cursor.hidden = tool === "box" || event.pointerType === "touch";
    const box = this.element.getBoundingClientRect();
    const width = (diameter / this.size[0]) * box.width;
    Object.assign(this.cursor.style, {
      width: `${width}px`,
      height: `${width}px`,
      left: `${event.clientX - box.left}px`,
      top: `${event.clientY - box.top}px`,
      borderColor: tool === "eraser" ? "#fff" : colour,
    });
  }

  /** Returns the box from the corner where it was begun to a place, as x, y, width, height. */
  boxTo([x, y]) {
    const [startX, startY] = this.corner;
    return [Math.min(startX, x), Math.min(startY, y), Math.abs(startX - x), Math.abs(startY - y)];
  }

  showRubber(place) {
    const [left, top, width, height] = this.boxTo(place).map((value, index) => `${(100 * value) / this.size[index % 2]}%`);
    Object.assign(this.rubber.style, { left, top, width, height });
    this.rubber.hidden = false;
  }
}

/** Returns an image that is ready to be drawn. */
async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}
