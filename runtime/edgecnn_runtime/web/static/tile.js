// One camera's picture, with its state and its age. A picture that is not of now looks like it.

import { duration, h } from "./dom.js";
import { inWords, paint } from "./paint.js";

const LATE = 1.0; // seconds after which an age is remarkable
const STALE = 2.0; // and after which a picture is not shown as if it were of now

const TITLES = {
  connecting: "Connecting", stalled: "Stalled", "backing-off": "No connection", paused: "Paused",
};
export const PROBLEMS = {
  frozen: "The picture is frozen", black: "The picture is black", "too slow": "The model is too slow for this camera",
};

export class Tile {
  #newest = null; // the newest message, while an older picture is being decoded
  #busy = false;
  #current = null; // what the canvas shows: { header, bitmap }
  #status = null;
  #observer = new ResizeObserver(() => this.#repaint());

  constructor(name) {
    this.name = name;
    this.canvas = h("canvas", { role: "img", "aria-label": `${name}: no picture yet` });
    this.title = h("b");
    this.words = h("span");
    this.veil = h("div", { class: "veil" }, this.title, this.words);
    this.picture = h("div", { class: "picture" }, this.canvas, this.veil);
    this.age = h("span", { class: "age" });
    this.fps = h("span", { class: "fps" });
    this.chip = h("span", { class: "chip" });
    this.areas = null;
    this.clock = null;
    this.onframe = () => {};
    this.#observer.observe(this.canvas);
  }

  close() {
    this.#observer.disconnect();
    this.#current?.bitmap.close();
  }

  /** The state machine's view of it. */
  update(status) {
    this.#status = status;
    if (status.width) this.picture.style.aspectRatio = `${status.width} / ${status.height}`;
    this.tick();
  }

  /** A new frame; while one is being decoded, only the newest waits. */
  show(header, picture, clock) {
    this.clock = clock;
    this.#newest = { header, picture };
    if (!this.#busy) this.#decode();
  }

  async #decode() {
    this.#busy = true;
    while (this.#newest) {
      const { header, picture } = this.#newest;
      this.#newest = null;
      try {
        const bitmap = await createImageBitmap(new Blob([picture], { type: "image/jpeg" }));
        this.#current?.bitmap.close();
        this.#current = { header, bitmap };
        this.#repaint();
        this.canvas.setAttribute("aria-label", inWords(header));
        this.canvas.dataset.index = header.index;
        this.onframe(header, this.frameAge());
        this.tick();
      } catch {
        // a picture that cannot be decoded: the next one comes
      }
    }
    this.#busy = false;
  }

  #repaint() {
    if (this.#current) paint(this.canvas, this.#current.bitmap, this.#current.header, this.areas);
  }

  get hasPicture() {
    return this.#current !== null;
  }

  redraw() {
    this.#repaint();
  }

  /** Seconds since the picture that is shown was taken; null where frames have no age. */
  frameAge() {
    const captured = this.#current?.header.captured;
    return captured === null || captured === undefined ? null : this.clock.now() - captured;
  }

  /** The camera's state: a picture that was taken after a state began says that it is over. */
  get state() {
    const { state, since } = this.#status;
    return this.#current?.header.time > since ? "live" : state;
  }

  /** What changes by itself as time passes. */
  tick() {
    const status = this.#status;
    const state = status && this.state;
    const age = this.frameAge();
    const old = age !== null && age > STALE;
    const away = status && state !== "live";
    const reason = (state === status?.state && status?.reason) || PROBLEMS[status?.problem] || "";
    if (status) {
      this.chip.className = `chip ${status.problem ? "warn" : state}`;
      this.chip.textContent = status.problem || state;
      this.chip.title = reason;
      this.fps.textContent = away ? "" : `${status.stats.fps_now.toFixed(1)} fps`;
    }
    this.age.textContent = age === null ? "" : duration(Math.max(0, age));
    this.age.classList.toggle("late", age !== null && age > LATE);
    this.picture.classList.toggle("stale", Boolean(this.#current && (away || old)));
    this.veil.hidden = Boolean(this.#current && !away && !old);
    if (this.veil.hidden) return;
    this.title.textContent = away ? TITLES[state] : old ? "No new picture" : "Waiting";
    const since = status ? Date.now() / 1000 - status.since : 0;
    const wait = old ? `this picture is ${duration(age)} old` : `for ${duration(Math.max(1, since))}`;
    this.words.textContent = [reason, away || old ? wait : "for a picture"].filter(Boolean).join(" · ");
  }
}
