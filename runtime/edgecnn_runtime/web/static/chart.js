// Where the age of each frame comes from, over the last two minutes of this page.

import { duration, h, s } from "./dom.js";

const SECONDS = 120;
const STAGES = ["waiting", "resizing", "engine", "decoding"];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [320, 130, 46, 18];

export class LatencyChart {
  #points = [];

  constructor() {
    this.plot = s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.key = h("div", { class: "key" },
      ...STAGES.map((name, i) => h("span", {}, h("i", { class: `s${i}` }), name)));
    this.element = h("div", { class: "body" }, this.plot, this.key);
  }

  add(header) {
    const now = performance.now() / 1000;
    this.#points.push({ at: now, stages: header.timings });
    while (this.#points.length && now - this.#points[0].at > SECONDS) this.#points.shift();
  }

  clear() {
    this.#points = [];
  }

  draw() {
    const now = performance.now() / 1000;
    const totals = this.#points.map((point) => point.stages.reduce((sum, each) => sum + each, 0));
    const top = niceAbove(Math.max(0.01, ...totals));
    const x = (at) => LEFT + (1 - (now - at) / SECONDS) * (WIDTH - LEFT);
    const y = (seconds) => (1 - seconds / top) * (HEIGHT - BOTTOM - 6) + 6;
    const shapes = [];
    for (const part of [0, 0.5, 1]) {
      const level = y(part * top);
      shapes.push(s("path", { class: "line", d: `M${LEFT} ${level}H${WIDTH}` }),
        s("text", { x: LEFT - 6, y: level + 4, "text-anchor": "end" },
          part ? duration(part * top) : "0"));
    }
    const floor = this.#points.map(() => 0);
    STAGES.forEach((_, stage) => {
      const lower = this.#points.map((point, i) => `${x(point.at)} ${y(floor[i])}`);
      this.#points.forEach((point, i) => (floor[i] += point.stages[stage]));
      const upper = this.#points.map((point, i) => `${x(point.at)} ${y(floor[i])}`);
      if (lower.length > 1) {
        shapes.push(s("path", { class: `s${stage}`, d: `M${upper.join("L")}L${lower.reverse().join("L")}Z` }));
      }
    });
    shapes.push(
      s("text", { x: LEFT, y: HEIGHT - 4 }, "2 min ago"),
      s("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
    this.plot.replaceChildren(...shapes);
    const last = totals.at(-1);
    this.plot.setAttribute("aria-label", `Latency: ${last === undefined ? "no results" : duration(last)}`);
  }
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}
