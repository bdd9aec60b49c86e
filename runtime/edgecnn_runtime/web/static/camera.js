// One camera: its picture, its figures, its events, and the editor of its areas.

import { api } from "./api.js";
import { LatencyChart } from "./chart.js";
import { duration, h, icon, ICONS } from "./dom.js";
import { AreaEditor } from "./editor.js";
import { Feed } from "./feed.js";
import { LiveStream } from "./stream.js";
import { PROBLEMS, Tile } from "./tile.js";

/** The page of a camera; the function that it returns ends it. */
export function cameraPage(main, watchCameras, name, role) {
  const tile = new Tile(name);
  const chart = new LatencyChart();
  const feed = new Feed({ camera: name }, 12);
  const stream = new LiveStream([name], "full", (header, picture) => {
    tile.show(header, picture, stream.clock);
    chart.add(header);
    editor?.resize(header.width, header.height, true);
  });
  let editor = null;
  let status = null;
  const notice = h("p", { class: "notice bad", role: "alert", hidden: true });
  const figures = h("div", { class: "tiles" });
  const facts = h("table");
  const side = h("div", { class: "side" });
  const pause = h("button", { type: "button", onclick: () => attempt(togglePause) });
  const choice = h("select", { "aria-label": "Pipeline", hidden: true, onchange: () => {
    stream.choose(choice.value);
    chart.clear();
    if (status) show();
  } });
  const edit = h("button", { type: "button", onclick: () => attempt(startEditing) },
    icon(ICONS.edit), "Zones and lines");
  const snapshot = h("a", { class: "button", href: api.snapshot(name), download: `${name}.jpg` },
    icon(ICONS.camera), "Snapshot");
  const operator = role === "operator";
  pause.hidden = edit.hidden = !operator;
  main.append(
    h("div", { class: "head" },
      h("a", { class: "button quiet", href: "#/", "aria-label": "All cameras" }, icon(ICONS.back)),
      h("h1", {}, name), tile.chip, tile.age,
      h("div", { class: "rest" }, choice, edit, snapshot, pause)),
    notice,
    h("div", { class: "split one" },
      h("article", { class: "tile", "aria-label": name }, tile.picture),
      side,
      h("section", { class: "panel", "aria-label": "Events of this camera" },
        h("header", {}, h("h2", {}, "Events"),
          h("a", { href: `#/events?camera=${encodeURIComponent(name)}` }, "all")), feed.element)));
  const watching = [
    h("section", { class: "panel", "aria-label": "Figures" }, figures),
    h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Latency")), chart.element),
    h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Camera")), h("div", { class: "body" }, facts)),
  ];
  side.append(...watching);
  loadAreas().catch(fail);
  feed.open().catch(fail);

  function fail(error) {
    notice.textContent = error.message;
    notice.hidden = false;
  }

  async function attempt(action) {
    notice.hidden = true;
    await action().catch(fail);
  }

  async function loadAreas() {
    tile.areas = await api.areas(name);
    tile.redraw();
  }

  async function togglePause() {
    await (status.state === "paused" ? api.resume(name) : api.pause(name));
  }

  async function startEditing() {
    let [areas, revision] = await api.areasToEdit(name);
    tile.areas = null; // the editor draws them
    tile.redraw();
    editor = new AreaEditor(areas, async (changed) => {
      try {
        await api.setAreas(name, changed, revision);
      } catch (error) {
        if (error.status !== 412) throw error;
        [areas, revision] = await api.areasToEdit(name);
        editor.merge(areas);
        throw new Error("Somebody else has saved other areas meanwhile. They are here now, beside yours, "
          + "and nothing is saved yet: look at all of them, and save again.");
      }
      await stopEditing();
    }, () => attempt(stopEditing));
    tile.picture.append(editor.svg);
    if (status?.width) editor.resize(status.width, status.height, tile.hasPicture);
    side.replaceChildren(editor.element);
    edit.disabled = true;
    if (innerWidth < 1020) tile.picture.scrollIntoView({ block: "start" });
  }

  async function stopEditing() {
    editor.svg.remove();
    editor = null;
    side.replaceChildren(...watching);
    edit.disabled = false;
    await loadAreas();
    edit.focus();
  }

  const unwatch = watchCameras((cameras) => {
    status = cameras.find((each) => each.name === name) ?? null;
    if (!status) return fail(new Error(`There is no camera ${name}.`));
    tile.update(status);
    const paused = status.state === "paused";
    pause.replaceChildren(icon(paused ? ICONS.play : ICONS.pause), paused ? "Resume" : "Pause");
    const names = [...choice.options].map((each) => each.value);
    if (names.join("\n") !== status.pipelines.join("\n")) {
      choice.replaceChildren(...status.pipelines.map((each) => h("option", { value: each }, shortened(each))));
      if (status.pipelines.includes(stream.pipeline)) choice.value = stream.pipeline;
      else if (stream.pipeline) {
        stream.choose(""); // the one that was chosen is gone: the first one is shown
        chart.clear();
      }
    }
    choice.hidden = status.pipelines.length < 2;
    show();
    return undefined;
  });

  function show() {
    const stats = status.pipeline_stats[choice.value] ?? status.stats;
    const times = (pair) => (pair ? duration(pair[0]) : "–");
    figures.replaceChildren(
      figure(times(stats.age), `age p50${stats.age ? `, p95 ${duration(stats.age[1])}` : ""}`),
      figure(stats.fps_now.toFixed(1), "results per second"),
      figure(times(stats.latency), `inference${stats.frames ? `, p95 ${duration(stats.latency[1])}` : ""}`),
      figure(stats.results.toLocaleString(), `found in ${stats.frames.toLocaleString()} frames`));
    const dropped = Object.entries(stats.dropped).map(([reason, n]) => `${n.toLocaleString()} ${reason}`);
    facts.replaceChildren(...Object.entries({
      Source: status.source,
      State: tile.state === status.state
        ? `${status.state} for ${duration(Math.max(1, Date.now() / 1000 - status.since))}` : tile.state,
      Reason: status.reason || PROBLEMS[status.problem],
      "Main stream": status.main && [status.main.state, status.main.reason].filter(Boolean).join(": "),
      Picture: status.width ? `${status.width} × ${status.height}` : "",
      Pipelines: status.pipelines.map(shortened).join(", "),
      Dropped: dropped.join(", ") || "none",
      Reconnects: String(status.reconnects),
    }).filter(([, value]) => value).map(([key, value]) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, value))));
  }

  const timer = setInterval(() => tile.tick(), 250);
  const drawing = setInterval(() => chart.draw(), 1000);
  chart.draw();
  return () => {
    unwatch();
    clearInterval(timer);
    clearInterval(drawing);
    feed.close();
    stream.stop();
    tile.close();
  };
}

const shortened = (pipeline) => pipeline.split("/").at(-1);
const figure = (value, words) => h("div", {}, h("b", {}, value), h("small", {}, words));
