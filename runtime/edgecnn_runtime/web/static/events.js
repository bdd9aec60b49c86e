// All events: found by camera, kind, time and words; and everything about one of them.

import { api } from "./api.js";
import { duration, h, icon, ICONS, moment, s } from "./dom.js";
import { Feed, headline, subline } from "./feed.js";

const TYPES = ["entered", "recognized", "crossed", "present", "left", "camera"];
const PAGE = 40;

/** The page of events; the function that it returns ends it. */
export function eventsPage(main, watchCameras, query) {
  const camera = h("select", { name: "camera", "aria-label": "Camera" }, h("option", { value: "" }, "all cameras"));
  const type = h("select", { name: "type", "aria-label": "What" }, h("option", { value: "" }, "everything"),
    ...TYPES.map((each) => h("option", { value: each }, each)));
  const text = h("input", { type: "search", name: "text", "aria-label": "Search", placeholder: "name, text or class" });
  const since = h("input", { type: "datetime-local", name: "since", "aria-label": "From" });
  const until = h("input", { type: "datetime-local", name: "until", "aria-label": "Until" });
  const form = h("form", { class: "filters", "aria-label": "Which events" },
    h("label", {}, "Search", text), h("label", {}, "Camera", camera), h("label", {}, "What", type),
    h("label", {}, "From", since), h("label", {}, "Until", until));
  const list = h("section", { class: "panel wide", "aria-label": "Events" });
  const more = h("button", { type: "button" }, "Older events");
  main.append(h("div", { class: "head" }, h("h1", {}, "Events")), form, list);
  text.value = query.get("text") ?? "";
  type.value = query.get("type") ?? "";
  let feed = null;

  const seconds = (input) => (input.value ? new Date(input.value).getTime() / 1000 : "");

  async function search() {
    feed?.close();
    feed = new Feed({
      camera: camera.value, type: type.value, text: text.value.trim(),
      since: seconds(since), until: seconds(until),
    }, PAGE);
    list.replaceChildren(feed.element, h("div", { class: "more" }, more));
    more.hidden = true;
    try {
      await feed.open(!until.value);
      more.hidden = !feed.next;
    } catch (error) {
      list.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message));
    }
  }

  more.addEventListener("click", async () => {
    await feed.older();
    more.hidden = !feed.next;
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", search);
  let waiting = 0;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 250);
  });
  let names = "";
  const unwatch = watchCameras((cameras) => {
    const now = cameras.map((each) => each.name);
    if (now.join("\n") === names) return;
    names = now.join("\n");
    const chosen = camera.value || query.get("camera") || "";
    camera.replaceChildren(h("option", { value: "" }, "all cameras"),
      ...now.map((name) => h("option", { value: name }, name)));
    camera.value = now.includes(chosen) ? chosen : "";
    if (feed === null || feed.query.camera !== camera.value) search();
  });
  return () => {
    unwatch();
    clearTimeout(waiting);
    feed?.close();
  };
}

/** One event, over whatever page is there. */
export async function eventDialog(id, onclose) {
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close() },
    icon(ICONS.close));
  const title = h("h1", {}, "Event");
  const body = h("div", { class: "detail" });
  const dialog = h("dialog", { "aria-label": "Event", onclose: () => { dialog.remove(); onclose(); },
    onclick: (event) => event.target === dialog && dialog.close() },
    h("header", {}, title, close), body);
  document.body.append(dialog);
  dialog.showModal();
  try {
    const event = await api.event(id);
    title.textContent = headline(event);
    body.replaceChildren(evidence(event), table(event));
  } catch (error) {
    body.replaceChildren(h("p", { class: "empty", role: "alert" }, error.message));
  }
  return dialog;
}

function evidence(event) {
  const figures = ["frame", "crop"].filter((name) => event.evidence[name]).map((name) =>
    h("figure", { class: name },
      h("div", { class: "shot" },
        h("img", {
          src: api.evidence(event.id, name),
          alt: name === "crop" ? headline(event) : `${event.camera}, the whole picture`,
        }),
        name === "frame" && event.relative_box ? outline(event.relative_box) : null),
      h("figcaption", {}, name === "crop" ? "The object" : subline(event))));
  return h("div", { class: "evidence" },
    ...(figures.length ? figures : [h("p", { class: "empty" }, "No pictures were stored of this event.")]));
}

function outline([x1, y1, x2, y2]) {
  return s("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: 0.004 }));
}

function table(event) {
  const percent = (score) => `${Math.round(100 * score)} %`;
  const facts = {
    Time: moment(event.time),
    Camera: event.camera,
    What: event.type,
    Name: event.name,
    Text: event.text,
    Characters: event.part_scores.map((score, i) => `${event.text[i] ?? ""} ${percent(score)}`).join("  "),
    Class: event.label,
    Score: event.score ? percent(event.score) : "",
    Zone: event.zone,
    Line: [event.line, event.direction].filter(Boolean).join(", "),
    Track: event.track === null ? "" : String(event.track),
    Seen: event.seconds ? `for ${duration(event.seconds)}` : "",
    Age: event.age === null ? "" : duration(event.age),
    Details: Object.entries(event.details).filter(([, value]) => value !== "").map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", "),
    Engine: event.choice,
    Model: event.model.slice(0, 12),
    Id: event.id,
  };
  return h("table", {}, ...Object.entries(facts).filter(([, value]) => value).map(([key, value]) =>
    h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, value))));
}
