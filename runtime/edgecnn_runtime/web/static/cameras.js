// All cameras at a glance, and what has happened.

import { api } from "./api.js";
import { h } from "./dom.js";
import { Feed } from "./feed.js";
import { LiveStream } from "./stream.js";
import { Tile } from "./tile.js";

/** The page; the function that it returns ends it. */
export function camerasPage(main, watchCameras) {
  const grid = h("div", { class: "grid" });
  const empty = h("p", { class: "empty panel", hidden: true },
    "No cameras yet: add one to site.yaml, or through the API.");
  const feed = new Feed();
  const panel = h("section", { class: "panel", "aria-labelledby": "feed-title" },
    h("header", {}, h("h2", { id: "feed-title" }, "Events"), h("a", { href: "#/events" }, "all")),
    feed.element);
  main.append(h("h1", { class: "skip" }, "Cameras"),
    h("div", { class: "split" }, h("section", { "aria-label": "Cameras" }, grid, empty), panel));
  const tiles = new Map();
  const onScreen = new Set();
  const stream = new LiveStream([], "grid", (header, picture) =>
    tiles.get(header.camera)?.show(header, picture, stream.clock));
  // The device encodes only what somebody sees: what is scrolled away is not asked for.
  let settle = 0;
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) onScreen.add(target.ariaLabel);
      else onScreen.delete(target.ariaLabel);
    }
    clearTimeout(settle);
    settle = setTimeout(() => stream.watch([...tiles.keys()].filter((name) => onScreen.has(name))), 100);
  }, { rootMargin: "150px" });

  function card(tile, status) {
    const link = h("a", { href: `#/cameras/${encodeURIComponent(status.name)}` }, status.name);
    return h("article", { class: "tile", "aria-label": status.name },
      h("a", { href: link.getAttribute("href"), tabindex: "-1", "aria-hidden": "true" }, tile.picture),
      h("div", { class: "caption" }, h("b", {}, link), tile.chip,
        h("span", { class: "figures" }, tile.age, tile.fps)));
  }

  const unwatch = watchCameras((cameras) => {
    const names = cameras.map((status) => status.name);
    if (names.join("\n") !== [...tiles.keys()].join("\n")) {
      for (const tile of tiles.values()) tile.close();
      tiles.clear();
      onScreen.clear();
      observer.disconnect();
      for (const status of cameras) {
        const tile = new Tile(status.name);
        tiles.set(status.name, tile);
        api.areas(status.name).then((areas) => (tile.areas = areas), () => {});
      }
      grid.replaceChildren(...cameras.map((status) => card(tiles.get(status.name), status)));
      for (const article of grid.children) observer.observe(article);
      grid.classList.toggle("few", names.length <= 4);
      empty.hidden = names.length > 0;
    }
    for (const status of cameras) tiles.get(status.name).update(status);
  });
  const timer = setInterval(() => tiles.forEach((tile) => tile.tick()), 250);
  feed.open().catch((error) => panel.append(h("p", { class: "empty" }, error.message)));
  return () => {
    unwatch();
    clearInterval(timer);
    feed.close();
    clearTimeout(settle);
    observer.disconnect();
    stream.stop();
    for (const tile of tiles.values()) tile.close();
  };
}
