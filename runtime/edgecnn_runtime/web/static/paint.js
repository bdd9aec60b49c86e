// A frame and what was found in it, drawn in one go on one canvas: they cannot belong to two frames.

const PALETTE = ["#4ade80", "#60a5fa", "#fbbf24", "#f472b6", "#22d3ee", "#f87171", "#a78bfa",
  "#a3e635", "#fb923c", "#2dd4bf"];
const INK = "#12141a";
const AREA_COLORS = { zones: "#4ade80", lines: "#fbbf24" };
const VISIBLE = 0.25; // keypoints of a lower score are not drawn
const FONT = "system-ui, sans-serif";

const color = (index) => PALETTE[index % PALETTE.length];

/** What a box is called, the longest first: its name or else its class, and its score. */
function captions(item) {
  const name = item.name || item.label || "";
  return [`${name} ${item.score.toFixed(2)}`.trim(), name];
}

/** What is drawn of a frame: its tracks, or what the detector found where nothing is tracked. */
export const items = (header) => (header.tracks.length ? header.tracks : header.results);

/** In words, for those who do not see it. */
export function inWords(header) {
  const counts = new Map();
  for (const item of items(header)) {
    const name = item.name || item.text || item.label || "object";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const words = [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name));
  return `${header.camera}: ${words.join(", ") || "nothing found"}`;
}

/** Draw a frame with its results; the canvas is as large as it is shown. */
export function paint(canvas, bitmap, header, areas) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d", { alpha: false });
  const scale = Math.min(width / header.width, height / header.height);
  const left = (width - header.width * scale) / 2;
  const top = (height - header.height * scale) / 2;
  context.fillStyle = "#14171a";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, left, top, header.width * scale, header.height * scale);
  const place = ([x, y]) => [left + x * scale, top + y * scale];
  const unit = ratio * Math.max(1, Math.sqrt(Math.min(width, height) / ratio / 300));
  if (areas) drawAreas(context, areas, header, place, unit);
  const boxes = items(header).filter((item) => item.box);
  for (const item of boxes) drawBox(context, item, place, unit);
  for (const item of boxes) drawPose(context, item, header.skeleton, place, unit);
  for (const item of boxes) drawTag(context, item, place, unit, width);
  const lines = items(header).filter((item) => !item.box && item.score !== undefined);
  drawBanner(context, lines, unit, left, top);
}

function drawBox(context, item, place, unit) {
  const [x1, y1] = place(item.box.slice(0, 2));
  const [x2, y2] = place(item.box.slice(2, 4));
  const arm = Math.min(x2 - x1, y2 - y1) / 4;
  context.strokeStyle = context.fillStyle = color(item.index ?? 0);
  for (const polygon of item.polygons ?? []) {
    trace(context, polygon.map(place));
    context.globalAlpha = 0.35;
    context.fill();
  }
  context.globalAlpha = item.state === "lost" ? 0.45 : 1;
  context.setLineDash(item.state === "lost" ? [4 * unit, 3 * unit] : []);
  context.lineWidth = unit;
  if (item.corners) {
    context.lineWidth = 1.6 * unit;
    trace(context, item.corners.map(place));
    context.stroke();
    context.globalAlpha = 1;
    return;
  }
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
  context.lineWidth = 2.2 * unit;
  context.lineCap = "round";
  context.beginPath();
  for (const [x, inwardX] of [[x1, arm], [x2, -arm]]) {
    for (const [y, inwardY] of [[y1, arm], [y2, -arm]]) {
      context.moveTo(x, y + inwardY);
      context.lineTo(x, y);
      context.lineTo(x + inwardX, y);
    }
  }
  context.stroke();
  for (const point of item.points ?? []) {
    context.beginPath();
    context.arc(...place(point), Math.min(1.6 * unit, 0.3 * arm), 0, 7);
    context.fillStyle = color(item.index ?? 0);
    context.fill();
  }
  context.globalAlpha = 1;
}

/** A closed path. */
function trace(context, points) {
  context.beginPath();
  for (const point of points) context.lineTo(...point);
  context.closePath();
}

function drawPose(context, item, skeleton, place, unit) {
  const seen = (item.keypoints ?? []).map(([x, y, score]) => (score >= VISIBLE ? place([x, y]) : null));
  context.strokeStyle = context.fillStyle = color(item.index ?? 0);
  context.lineWidth = 1.6 * unit;
  context.beginPath();
  for (const [a, b] of skeleton ?? []) {
    if (!seen[a] || !seen[b]) continue;
    context.moveTo(...seen[a]);
    context.lineTo(...seen[b]);
  }
  if (seen.length) context.stroke();
  for (const point of seen.filter(Boolean)) {
    context.beginPath();
    context.arc(...point, 1.8 * unit, 0, 7);
    context.fill();
  }
}

function drawTag(context, item, place, unit, width) {
  const size = 10.5 * unit;
  context.font = `600 ${size}px ${FONT}`;
  const pad = 0.4 * size;
  const [x, y] = place(item.box);
  const room = 1.25 * (place([item.box[2], 0])[0] - x);
  const fits = (words) => context.measureText(words).width + 2 * pad <= room;
  const text = captions(item).find(fits) ?? captions(item).at(-1);
  if (!text) return;
  const wide = context.measureText(text).width + 2 * pad;
  const tall = 1.45 * size;
  const left = Math.max(0, Math.min(x - unit, width - wide));
  const top = y - tall < 0 ? y : y - tall;
  context.globalAlpha = item.state === "lost" ? 0.5 : 1;
  context.fillStyle = color(item.index ?? 0);
  context.beginPath();
  context.roundRect(left, top, wide, tall, size / 4);
  context.fill();
  context.fillStyle = INK;
  context.textBaseline = "middle";
  context.fillText(text, left + pad, top + 0.54 * tall);
  context.globalAlpha = 1;
}

/** One class or line of text for the whole picture. */
function drawBanner(context, lines, unit, left, top) {
  lines.slice(0, 3).forEach((item, number) => {
    const text = item.text ?? item.label;
    if (!text) return;
    const size = 15 * unit;
    context.font = `600 ${size}px ${FONT}`;
    const words = `${text}  ${Math.round(100 * item.score)} %`;
    const wide = context.measureText(words).width + size;
    const y = top + 0.6 * size + number * 2 * size;
    context.fillStyle = "rgba(18,20,26,.75)";
    context.beginPath();
    context.roundRect(left + 0.6 * size, y, wide, 1.8 * size, 0.4 * size);
    context.fill();
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(words, left + 1.1 * size, y + 0.95 * size);
  });
}

function drawAreas(context, areas, header, place, unit) {
  const inPixels = ([x, y]) => place([x * header.width, y * header.height]);
  for (const kind of ["zones", "lines"]) {
    for (const [name, points] of Object.entries(areas[kind])) {
      const path = points.map(inPixels);
      context.beginPath();
      path.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (kind === "zones") context.closePath();
      context.strokeStyle = context.fillStyle = AREA_COLORS[kind];
      context.globalAlpha = 0.09;
      if (kind === "zones") context.fill();
      context.globalAlpha = 0.75;
      context.lineWidth = unit;
      context.setLineDash([5 * unit, 3 * unit]);
      context.stroke();
      context.setLineDash([]);
      context.font = `500 ${10 * unit}px ${FONT}`;
      context.textBaseline = "bottom";
      context.fillText(name, path[0][0] + 4 * unit, path[0][1] - 2 * unit);
      context.globalAlpha = 1;
    }
  }
}
