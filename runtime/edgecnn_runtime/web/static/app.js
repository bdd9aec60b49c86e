// Which page is shown, and what all pages share: the state of the cameras, the health of the daemon.

import { api } from "./api.js";
import { camerasPage } from "./cameras.js";
import { cameraPage } from "./camera.js";
import { eventDialog, eventsPage } from "./events.js";

const EVERY = 2000; // milliseconds between two looks at the states of the cameras

const main = document.getElementById("main");
const health = document.getElementById("health");
const watchers = new Set();
let cameras = null;
let role = "viewer";
let leave = () => {};
let page = "";
let dialog = null;

/** Calls back with the cameras, now and whenever they were looked at; returns what ends that. */
function watchCameras(callback) {
  watchers.add(callback);
  if (cameras) callback(cameras);
  return () => watchers.delete(callback);
}

function say(words, kind) {
  health.textContent = words;
  health.className = `chip ${kind}`;
  health.hidden = !words;
}

async function look() {
  if (document.hidden) return;
  try {
    cameras = await api.cameras();
    const status = await api.status();
    say(status.problem ? "not ready" : "", "warn");
    health.title = status.problem;
    for (const callback of [...watchers]) callback(cameras);
  } catch {
    say("no connection", "bad");
  }
}

/** #/ · #/cameras/NAME · #/events?camera=NAME · #/events/ID, which opens over the page before. */
function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [, first, second] = path.split("/").map(decodeURIComponent);
  if (first === "events" && second) {
    if (!page) show("events", "");
    if (!dialog) {
      dialog = eventDialog(second, () => {
        dialog = null;
        if (location.hash.startsWith("#/events/")) location.hash = page;
      });
    }
    return;
  }
  dialog?.then((element) => element.close());
  show(first ?? "", second ?? "", new URLSearchParams(query));
}

function show(first, second, query = new URLSearchParams()) {
  const hash = first === "cameras" && second
    ? `#/cameras/${encodeURIComponent(second)}`
    : `#/${first === "events" ? "events" : ""}${String(query) && `?${query}`}`;
  if (hash === page) return;
  page = hash;
  leave();
  main.replaceChildren();
  if (first === "events") leave = eventsPage(main, watchCameras, query);
  else if (second) leave = cameraPage(main, watchCameras, second, role);
  else leave = camerasPage(main, watchCameras);
  document.title = `${second || (first === "events" ? "Events" : "Cameras")} · edgecnn`;
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    const here = link.dataset.page === (first === "events" ? "events" : "cameras");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function start() {
  const status = await api.status();
  role = status.role;
  document.documentElement.dataset.role = role;
  addEventListener("hashchange", route);
  document.addEventListener("visibilitychange", look);
  setInterval(look, EVERY);
  route();
  look();
}

start().catch((error) => say(error.message, "bad"));
