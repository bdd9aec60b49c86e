// The live view: one connection for all pictures of a page. Of each camera only the newest message
// that has arrived is handed on; an older one was overtaken and is never decoded.

const HEAD = 16; // bytes before header and picture: float64 now, uint32 and uint32 lengths
const WINDOW = 60; // seconds after which an offset between the clocks is forgotten
const RETRY = 1000;

/** What the server's clock shows: its offset is the smallest between sending and arrival. */
export class ServerClock {
  #windows = [];

  add(sent, arrived) {
    const offset = arrived - sent;
    const last = this.#windows.at(-1);
    if (!last || arrived - last.begun > WINDOW) this.#windows.push({ begun: arrived, offset });
    else last.offset = Math.min(last.offset, offset);
    if (this.#windows.length > 2) this.#windows.shift();
  }

  now() {
    const offset = Math.min(...this.#windows.map((window) => window.offset));
    return performance.now() / 1000 - offset;
  }
}

/** Splits bytes, in whatever pieces they come, into messages. */
export class MessageParser {
  #bytes = new Uint8Array(1 << 18);
  #length = 0;

  /** The messages that are complete now: { now, header, picture }. */
  push(chunk) {
    if (this.#length + chunk.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * (this.#length + chunk.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length += chunk.length;
    const messages = [];
    let start = 0;
    while (this.#length - start >= HEAD) {
      const view = new DataView(this.#bytes.buffer, start, HEAD);
      const [header, picture] = [view.getUint32(8), view.getUint32(12)];
      const end = start + HEAD + header + picture;
      if (end > this.#length) break;
      const text = new TextDecoder().decode(
        this.#bytes.subarray(start + HEAD, start + HEAD + header));
      messages.push({
        now: view.getFloat64(0),
        header: JSON.parse(text),
        picture: this.#bytes.slice(start + HEAD + header, end),
      });
      start = end;
    }
    this.#bytes.copyWithin(0, start, this.#length);
    this.#length -= start;
    return messages;
  }
}

/** Calls onmessage(header, picture) for the newest frames, and connects again when it must. */
export class LiveStream {
  clock = new ServerClock();
  #abort = null;
  #stopped = false;

  constructor(cameras, size, onmessage) {
    this.cameras = cameras;
    this.pipeline = "";
    this.size = size;
    this.onmessage = onmessage;
    this.visibility = () => this.#visible();
    document.addEventListener("visibilitychange", this.visibility);
    this.#visible();
  }

  /** Show these cameras from now on. */
  watch(cameras) {
    if (cameras.join("\n") === this.cameras.join("\n")) return;
    this.cameras = cameras;
    this.#abort?.abort();
    this.#visible();
  }

  /** Show what another pipeline finds. */
  choose(pipeline) {
    this.pipeline = pipeline;
    this.#abort?.abort();
    this.#visible();
  }

  stop() {
    this.#stopped = true;
    document.removeEventListener("visibilitychange", this.visibility);
    this.#abort?.abort();
  }

  // A page that nobody looks at costs the device nothing.
  #visible() {
    if (document.hidden) this.#abort?.abort();
    else if (!this.#stopped && (!this.#abort || this.#abort.signal.aborted)) this.#run();
  }

  async #run() {
    if (!this.cameras.length) return;
    const abort = (this.#abort = new AbortController());
    const query = new URLSearchParams(this.cameras.map((name) => ["camera", name]));
    query.set("size", this.size);
    if (this.pipeline) query.set("pipeline", this.pipeline);
    while (!abort.signal.aborted) {
      try {
        this.clock = new ServerClock(); // the server may have been started again
        const response = await fetch(`api/live?${query}`, { signal: abort.signal });
        if (response.status === 401) location.replace("login");
        if (response.ok) await this.#read(response.body.getReader(), abort.signal);
      } catch {
        // the network's: it is tried again below
      }
      if (!abort.signal.aborted) await new Promise((done) => setTimeout(done, RETRY));
    }
  }

  async #read(reader, signal) {
    const parser = new MessageParser();
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      const arrived = performance.now() / 1000;
      const newest = new Map();
      for (const message of parser.push(value)) {
        this.clock.add(message.now, arrived);
        if (message.header.camera) newest.set(message.header.camera, message);
      }
      for (const { header, picture } of newest.values()) this.onmessage(header, picture);
    }
  }
}
