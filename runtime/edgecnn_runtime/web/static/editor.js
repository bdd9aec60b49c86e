// Zones, lines and masks, drawn on the picture; all in fractions of it. Mouse, finger and keyboard.

import { h, icon, ICONS, s } from "./dom.js";

const STEP = 0.005; // of the picture, per arrow key; ten times that with Shift
const KINDS = {
  zone: { title: "Zone", least: 3, start: [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]] },
  line: { title: "Line", least: 2, start: [[0.25, 0.6], [0.75, 0.6]] },
  mask: { title: "Mask", least: 3, start: [[0.0, 0.0], [0.25, 0.0], [0.25, 0.2], [0.0, 0.2]] },
};
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const HINTS = {
  rest: "Drag points or whole areas. Click an edge twice to add a point, press Delete to remove one. "
    + "With the keyboard: Tab to a point, arrow keys move it.",
  draw: "Click to set points; Done, Enter or a click on the first point ends the area, Escape drops it. "
    + "Done without a point puts one in the middle, to be moved.",
};
const BLIND = "No picture has come yet: you see its frame alone until the camera shows one. ";
const clamp = (value) => Math.min(1, Math.max(0, value));

export class AreaEditor {
  #shapes = []; // { kind, name, points }
  #chosen = -1;
  #point = -1; // of the chosen one, the point that was touched last
  #drawing = null; // the kind that is being drawn
  #fresh = []; // its points so far
  #drag = null;

  #saved = new Set(); // what was there when it was read, as text

  constructor(areas, onsave, oncancel) {
    this.#shapes = shapesOf(areas);
    this.#saved = new Set(this.#shapes.map(asText));
    this.size = [16, 9];
    this.pictured = false; // whether there is a picture to draw on
    this.svg = s("svg", {
      class: "editor", tabindex: "0", role: "application", "aria-label": "Editor of zones and lines",
      onpointerdown: (event) => this.#down(event), onpointermove: (event) => this.#move(event),
      onpointerup: () => this.#up(), onpointercancel: () => this.#up(),
      ondblclick: (event) => this.#split(event), onkeydown: (event) => this.#key(event),
    });
    this.list = h("ul", { class: "areas" });
    this.hint = h("p", { class: "hint" });
    this.problem = h("p", { class: "hint", role: "alert" });
    this.tools = Object.entries(KINDS).map(([kind, { title }]) =>
      h("button", { type: "button", "aria-pressed": "false", "data-kind": kind,
        onclick: () => this.#draw(this.#drawing === kind ? null : kind) }, `+ ${title}`));
    // what Enter and Delete do, for those who have no keys
    this.done = h("button", { type: "button", class: "primary", onclick: () => this.#complete() }, "Done");
    this.less = h("button", { type: "button", onclick: () => this.#removePoint(this.#point) }, "Remove point");
    this.element = h("section", { class: "panel", "aria-label": "Zones and lines" },
      h("header", {}, h("h2", {}, "Zones and lines")),
      h("div", { class: "tools" }, ...this.tools, this.done, this.less), this.hint, this.list, this.problem,
      h("div", { class: "tools" },
        h("button", { type: "button", class: "primary", onclick: () => this.#save(onsave) }, "Save"),
        h("button", { type: "button", onclick: oncancel }, "Cancel")));
    this.#refresh();
  }

  /** The frame's size in pixels, so that circles are round, and whether one is there. */
  resize(width, height, pictured) {
    this.size = [width, height];
    this.pictured = pictured;
    this.#render();
    this.#advise();
  }

  /** Take in what somebody else has saved meanwhile; what was drawn here stays. */
  merge(areas) {
    const theirs = shapesOf(areas);
    const known = new Set(theirs.map(asText));
    // what was not touched here, and is not there any more, they have removed or moved
    this.#shapes = this.#shapes.filter((shape) => known.has(asText(shape)) || !this.#saved.has(asText(shape)));
    const mine = new Set(this.#shapes.map(asText));
    for (const shape of theirs) {
      if (mine.has(asText(shape)) || this.#saved.has(asText(shape))) continue;
      const used = new Set(this.#shapes.filter(({ kind }) => kind === shape.kind).map(({ name }) => name));
      const { name } = shape;
      for (let number = 2; name && used.has(shape.name); number += 1) shape.name = `${name}-${number}`;
      this.#shapes.push(shape);
    }
    this.#saved = known;
    this.#chosen = this.#point = -1;
    this.#refresh();
  }

  /** What is drawn now. */
  areas() {
    const of = (kind) => this.#shapes.filter((shape) => shape.kind === kind);
    const named = (kind) => Object.fromEntries(of(kind).map(({ name, points }) => [name, points]));
    return { zones: named("zone"), lines: named("line"), mask: of("mask").map(({ points }) => points) };
  }

  async #save(onsave) {
    const problem = this.#mistake();
    this.problem.textContent = problem;
    if (problem) return;
    try {
      await onsave(this.areas());
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }

  #mistake() {
    for (const kind of ["zone", "line"]) {
      const names = this.#shapes.filter((shape) => shape.kind === kind).map(({ name }) => name);
      const bad = names.find((name) => !NAME.test(name));
      if (bad !== undefined) {
        return bad ? `“${bad}” cannot be a name: letters, digits, _ . and -` : `A ${kind} lacks its name.`;
      }
      const twice = names.find((name, i) => names.indexOf(name) !== i);
      if (twice) return `There are two ${kind}s named ${twice}.`;
    }
    return "";
  }

  #draw(kind) {
    this.#drawing = kind;
    this.#fresh = [];
    if (kind) {
      this.#chosen = -1;
      this.svg.focus();
    }
    this.#refresh();
  }

  #finish(points) {
    const kind = this.#drawing;
    const used = new Set(this.#shapes.map(({ name }) => name));
    let number = 1;
    while (used.has(`${kind}-${number}`)) number += 1;
    this.#shapes.push({ kind, name: kind === "mask" ? "" : `${kind}-${number}`, points });
    this.#chosen = this.#shapes.length - 1;
    this.#drawing = null;
    this.#refresh();
    this.list.querySelector(".chosen input")?.select();
  }

  /** End what is being drawn; without a point yet, put a whole area in the middle. */
  #complete() {
    const { least, start } = KINDS[this.#drawing];
    if (this.#fresh.length >= least) this.#finish(this.#fresh);
    else if (!this.#fresh.length) this.#finish(start.map((each) => [...each]));
  }

  #remove(index) {
    this.#shapes.splice(index, 1);
    this.#chosen = this.#point = -1;
    this.#refresh();
  }

  /** Without enough points left, the area goes. */
  #removePoint(point) {
    const { kind, points } = this.#shapes[this.#chosen];
    if (points.length <= KINDS[kind].least) this.#remove(this.#chosen);
    else points.splice(point, 1);
    this.#point = -1;
    this.#refresh();
  }

  #place(event) {
    const box = this.svg.getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)]
      .map((value) => Math.round(1e4 * value) / 1e4);
  }

  #down(event) {
    const place = this.#place(event);
    const { shape, point } = event.target.dataset;
    if (this.#drawing) {
      if (point === "0" && this.#fresh.length >= KINDS[this.#drawing].least) this.#finish(this.#fresh);
      else this.#fresh.push(place);
      if (this.#drawing === "line" && this.#fresh.length === 2) this.#finish(this.#fresh);
      this.#render();
      return;
    }
    this.#chosen = shape === undefined ? -1 : Number(shape);
    this.#point = point === undefined ? -1 : Number(point);
    if (shape !== undefined) {
      const points = this.#shapes[this.#chosen].points.map((each) => [...each]);
      this.#drag = { from: place, points, point: point === undefined ? null : Number(point) };
      this.svg.setPointerCapture(event.pointerId);
    }
    this.#refresh();
    if (point !== undefined) this.#focus(point);
  }

  #move(event) {
    if (!this.#drag) return;
    const { from, points, point } = this.#drag;
    const [x, y] = this.#place(event);
    const shape = this.#shapes[this.#chosen];
    if (point !== null) shape.points[point] = [x, y];
    else {
      // the area stops at the border as a whole, and keeps its shape
      const shift = (axis, way) => Math.min(1 - Math.max(...points.map((each) => each[axis])),
        Math.max(-Math.min(...points.map((each) => each[axis])), way));
      const [dx, dy] = [shift(0, x - from[0]), shift(1, y - from[1])];
      shape.points = points.map((each) =>
        [each[0] + dx, each[1] + dy].map((value) => Math.round(1e4 * value) / 1e4));
    }
    this.#render();
  }

  #up() {
    this.#drag = null;
  }

  /** A new point on the edge that was clicked twice. */
  #split(event) {
    const index = Number(event.target.dataset.shape ?? -1);
    const shape = this.#shapes[index];
    if (!shape || shape.kind === "line" || event.target.dataset.point !== undefined) return;
    const place = this.#place(event);
    const away = (i) => {
      const [a, b] = [shape.points[i], shape.points[(i + 1) % shape.points.length]];
      const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
      const t = clamp(((place[0] - a[0]) * dx + (place[1] - a[1]) * dy) / (dx * dx + dy * dy || 1));
      return Math.hypot(place[0] - a[0] - t * dx, place[1] - a[1] - t * dy);
    };
    const edges = shape.points.map((_, i) => away(i));
    const edge = edges.indexOf(Math.min(...edges));
    shape.points.splice(edge + 1, 0, place);
    this.#chosen = index;
    this.#refresh();
  }

  #key(event) {
    const { shape, point } = event.target.dataset;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    if (this.#drawing && event.key === "Enter") this.#complete();
    else if (this.#drawing && event.key === "Escape") this.#draw(null);
    else if (point !== undefined && arrow) {
      const points = this.#shapes[Number(shape)].points;
      const step = event.shiftKey ? 10 * STEP : STEP;
      points[Number(point)] = points[Number(point)].map(
        (value, axis) => Math.round(1e4 * clamp(value + step * arrow[axis])) / 1e4);
      this.#render();
      this.#focus(point);
    } else if (["Delete", "Backspace"].includes(event.key) && this.#chosen >= 0) {
      if (point === undefined) this.#remove(this.#chosen);
      else this.#removePoint(Number(point));
    } else return;
    event.preventDefault();
  }

  #touch(index, point) {
    if (this.#chosen === index && this.#point === point) return;
    [this.#chosen, this.#point] = [index, point];
    this.#refresh();
    this.#focus(point);
  }

  #focus(point) {
    this.svg.querySelector(`[data-shape="${this.#chosen}"][data-point="${point}"]`)?.focus();
  }

  #advise() {
    const words = (this.pictured ? "" : BLIND) + (this.#drawing ? HINTS.draw : HINTS.rest);
    if (this.hint.textContent !== words) this.hint.textContent = words;
  }

  #refresh() {
    this.#render();
    this.#advise();
    this.svg.classList.toggle("draw", Boolean(this.#drawing));
    this.done.hidden = !this.#drawing;
    this.less.hidden = Boolean(this.#drawing) || this.#chosen < 0 || this.#point < 0
      || this.#shapes[this.#chosen].kind === "line";
    for (const tool of this.tools) {
      tool.setAttribute("aria-pressed", String(tool.dataset.kind === this.#drawing));
    }
    this.list.replaceChildren(...this.#shapes.map((shape, i) => this.#row(shape, i)));
  }

  #row(shape, index) {
    const { title } = KINDS[shape.kind];
    const name = shape.kind === "mask"
      ? h("span", { class: "soft" }, "blacked out")
      : h("input", {
        value: shape.name, "aria-label": `Name of the ${shape.kind}`, spellcheck: "false",
        onfocus: () => { this.#chosen = index; this.#render(); },
        oninput: (event) => { shape.name = event.target.value.trim(); this.#render(); },
      });
    return h("li", { class: index === this.#chosen ? "chosen" : "" },
      h("i", { class: shape.kind, title }), name,
      h("button", { type: "button", class: "quiet", title: "Remove",
        "aria-label": `Remove ${shape.name || title}`, onclick: () => this.#remove(index) }, icon(ICONS.bin)));
  }

  #render() {
    const [width, height] = this.size;
    const unit = width / (this.svg.clientWidth || width); // one CSS pixel in frame pixels
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const scaled = (points) => points.map(([x, y]) => [x * width, y * height]);
    const parts = this.#shapes.flatMap((shape, i) => this.#outline(shape, i, scaled(shape.points), unit));
    const active = document.activeElement?.dataset?.point;
    if (this.#drawing) {
      const points = scaled(this.#fresh);
      parts.push(s("polyline", { class: `area ${this.#drawing}`, "fill-opacity": "0", points: points.join(" ") }),
        ...points.map(([cx, cy], i) => s("circle", { class: "point", cx, cy, r: 6 * unit, "data-point": i })));
    }
    this.#show(parts);
    if (active !== undefined && this.#chosen >= 0) this.#focus(active);
  }

  /** Change what is there where the areas are the same: a finger must not lose what it touches. */
  #show(parts) {
    const shown = [...this.svg.children];
    const same = shown.length === parts.length && parts.every((part, i) => part.tagName === shown[i].tagName
      && part.dataset.shape === shown[i].dataset.shape && part.dataset.point === shown[i].dataset.point);
    if (!same) {
      this.svg.replaceChildren(...parts);
      return;
    }
    parts.forEach((part, i) => {
      if (part.childElementCount) {
        shown[i].replaceWith(part);
        return;
      }
      for (const { name, value } of part.attributes) {
        if (shown[i].getAttribute(name) !== value) shown[i].setAttribute(name, value);
      }
      if (shown[i].textContent !== part.textContent) shown[i].textContent = part.textContent;
    });
  }

  #outline(shape, index, points, unit) {
    const chosen = index === this.#chosen ? "chosen" : "";
    const tag = shape.kind === "line" ? "polyline" : "polygon";
    const common = { points: points.join(" "), "data-shape": index };
    const [x, y] = points[0];
    const title = shape.name || KINDS[shape.kind].title;
    return [
      s(tag, { class: `area ${shape.kind} ${chosen}`, ...common }),
      s(tag, { class: "hit", ...common, "pointer-events": "stroke" }),
      ...(shape.kind === "line" ? [arrow(points, unit)] : []),
      s("text", { x: x + 8 * unit, y: y - 8 * unit, "font-size": 13 * unit, "pointer-events": "none" }, title),
      ...points.map(([cx, cy], i) => s("circle", {
        class: "point", cx, cy, r: (chosen ? 7 : 5) * unit, "data-shape": index, "data-point": i,
        tabindex: "0", role: "button", "aria-label": `Point ${i + 1} of ${title}`,
        onfocus: () => this.#touch(index, i),
      })),
    ];
  }
}

const asText = ({ kind, name, points }) => JSON.stringify([kind, name, points]);

function shapesOf(areas) {
  return [
    ...Object.entries(areas.zones).map(([name, points]) => ({ kind: "zone", name, points })),
    ...Object.entries(areas.lines).map(([name, points]) => ({ kind: "line", name, points })),
    ...areas.mask.map((points) => ({ kind: "mask", name: "", points })),
  ];
}

/** Which way "in" is: from the left of the line to its right, seen from its first point. */
function arrow([[x1, y1], [x2, y2]], unit) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [nx, ny] = [-(y2 - y1) / length, (x2 - x1) / length];
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const tip = [x + 26 * unit * nx, y + 26 * unit * ny];
  const wing = (side) => [tip[0] - 8 * unit * (nx + side * ny), tip[1] - 8 * unit * (ny - side * nx)];
  const path = `M${x} ${y}L${tip.join(" ")}M${wing(1).join(" ")}L${tip.join(" ")}L${wing(-1).join(" ")}`;
  return s("g", { "pointer-events": "none" },
    s("path", { class: "area line", d: path }),
    s("text", { x: tip[0] + 6 * unit, y: tip[1] + 14 * unit, "font-size": 12 * unit }, "in"));
}
