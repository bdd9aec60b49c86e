// Elements without markup in strings: a value from outside is text, whatever it contains.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element: h("a", { href: "#/", onclick: go }, "text", child). */
export const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

/** The same in SVG. */
export const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** A line icon of 20 by 20. */
export const icon = (path) =>
  s("svg", { class: "icon", viewBox: "0 0 20 20", "aria-hidden": "true" }, s("path", { d: path }));

export const ICONS = {
  pause: "M7 4v12M13 4v12",
  play: "M6 4l10 6-10 6z",
  camera: "M3 7h3l1.5-2h5L14 7h3v9H3zM10 13.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  edit: "M4 16l1-4 8-8 3 3-8 8zM11 6l3 3",
  bin: "M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6",
  back: "M12 4l-6 6 6 6",
  close: "M5 5l10 10M15 5L5 15",
  event: "M10 4a4 4 0 0 0-4 4v3l-1.5 2.5h11L14 11V8a4 4 0 0 0-4-4zM8.5 16h3",
};

/** Milliseconds, seconds or minutes, as short as it can be said. */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 100) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** The time of day today, with the date otherwise; in the viewer's own time zone. */
export function moment(time) {
  const date = new Date(time);
  const today = new Date().toDateString() === date.toDateString();
  const clock = date.toLocaleTimeString([], { hour12: false });
  return today ? clock : `${date.toLocaleDateString()} ${clock}`;
}
