// The site's search runs in a Worker, which browsers refuse to start for pages opened from disk.
// There a hidden frame does its work: it loads the same script and exchanges the same messages.
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.postMessage = (data) => {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    };
    inside.importScripts = async (...urls) => {
      for (const each of urls) await loadScript(inside.document, each);
    };
    this.ready = loadScript(inside.document, url);
  }

  postMessage(data) {
    this.ready.then(() => {
      const copy = structuredClone(data); // as a Worker receives it: nothing is shared
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data: copy }));
    });
  }

  terminate() {
    this.frame.remove();
  }
}

function loadScript(page, url) {
  return new Promise((resolve, reject) => {
    const script = page.createElement("script");
    script.src = new URL(url, location.href).href;
    script.onload = resolve;
    script.onerror = reject;
    page.body.append(script);
  });
}

if (location.protocol === "file:") window.Worker = FrameWorker;
