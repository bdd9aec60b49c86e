// Events as they come: one list, kept up to date by the server.

import { api } from "./api.js";
import { h, icon, ICONS, moment } from "./dom.js";

const BEGINNING = "0".repeat(32); // an id before that of any event
const WORDS = {
  entered: "entered", recognized: "recognized", crossed: "crossed a line", present: "still there",
  left: "left", camera: "camera",
};

/** What happened, in a few words. */
export function headline(event) {
  if (event.type === "camera") {
    const subject = event.details.stream ? `${event.camera}, ${event.details.stream} stream,` : event.camera;
    return `${subject} is ${event.details.problem || event.details.state}`;
  }
  return event.name || event.text || event.label || "something";
}

/** Where and how, in a few more. */
export function subline(event) {
  const where = event.zone || event.line;
  const way = event.direction ? ` ${event.direction}` : "";
  const parts = event.type === "camera"
    ? [event.details.reason || "state of the camera"]
    : [event.camera, `${WORDS[event.type]}${way}`, where, event.name && event.text];
  return parts.filter(Boolean).join(" · ");
}

/** One event as a link to its details. */
export function entry(event) {
  const name = ["crop", "frame"].find((each) => event.evidence[each]);
  const sign = () => icon(event.type === "camera" ? ICONS.camera : ICONS.event);
  const picture = name
    ? h("img", {
      src: api.evidence(event.id, name), alt: "", loading: "lazy", decoding: "async",
      onerror: (failure) => failure.target.replaceWith(sign()), // it was stored for fewer days
    })
    : sign();
  return h("a", { class: `entry ${event.text ? "text" : ""}`, href: `#/events/${event.id}` },
    h("span", { class: "thumb" }, picture),
    h("b", {}, headline(event)),
    h("time", { datetime: new Date(event.time).toISOString() }, moment(event.time)),
    h("small", {}, subline(event)));
}

/** A list of events that grows at its head; query holds what it is restricted to. */
export class Feed {
  #source = null;
  #last = ""; // the id of the newest event that is listed
  #live = false;

  constructor(query = {}, limit = 30) {
    this.query = query;
    this.limit = limit;
    this.list = h("ol", { class: "feed", "aria-label": "Events", tabindex: "0" });
    this.empty = h("p", { class: "empty" }, "No events yet.");
    this.element = h("div", {}, this.list, this.empty);
    this.next = "";
    this.visibility = () => this.#listen();
    document.addEventListener("visibilitychange", this.visibility);
  }

  /** Load the newest ones, then listen for more; false lists what was, and no more. */
  async open(live = true) {
    const page = await api.events({ ...this.query, limit: this.limit });
    this.#append(page);
    this.#last = page.events[0]?.id ?? BEGINNING;
    this.#live = live;
    this.#listen();
  }

  // A browser opens six connections to a host: a page that nobody looks at needs none.
  #listen() {
    this.#source?.close();
    if (!this.#live || document.hidden) return;
    const parts = { camera: this.query.camera ?? "", after: this.#last };
    const query = new URLSearchParams(Object.entries(parts).filter(([, value]) => value));
    this.#source = new EventSource(`api/events/stream?${query}`);
    this.#source.addEventListener("event", (message) => this.#arrive(JSON.parse(message.data)));
  }

  /** The page of events before the last one. */
  async older() {
    this.#append(await api.events({ ...this.query, limit: this.limit, before: this.next }));
  }

  close() {
    this.#live = false;
    this.#source?.close();
    document.removeEventListener("visibilitychange", this.visibility);
  }

  #append(page) {
    this.next = page.next;
    this.list.append(...page.events.map((event) => h("li", {}, entry(event))));
    this.empty.hidden = this.list.childElementCount > 0;
  }

  #arrive(event) {
    this.#last = event.id;
    if (this.list.querySelector(`[href="#/events/${event.id}"]`)) return;
    if (this.query.type && event.type !== this.query.type) return;
    const words = [event.label, event.text, event.name].join("\0").toLowerCase();
    if (this.query.text && !words.includes(this.query.text.toLowerCase())) return;
    this.list.prepend(h("li", { class: "new" }, entry(event)));
    this.empty.hidden = true;
    while (this.list.childElementCount > 10 * this.limit) this.list.lastElementChild.remove();
  }
}
