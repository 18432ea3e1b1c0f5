// Chromium, driven through its DevTools protocol over a pipe: no port that others could open, and no library.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

/** How long nothing in a browser takes. */
const PATIENCE = 60_000;

export class Chrome {
  /** Starts it, with what it keeps in a folder under `work`. */
  constructor(work) {
    this.folder = mkdtempSync(join(work, "chromium-"));
    const own = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    const options = ["--headless=new", "--remote-debugging-pipe", `--user-data-dir=${this.folder}`, "--no-first-run",
      "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
      "--force-device-scale-factor=1"];
    this.child = spawn("chromium", [...own, ...options], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.waiting = new Map();
    this.listeners = new Set();
    this.next = 1;
    let begun = "";
    this.child.stdio[4].setEncoding("utf8");
    this.child.stdio[4].on("data", (text) => {
      const messages = (begun + text).split("\0");
      begun = messages.pop();
      messages.forEach((message) => this.take(JSON.parse(message)));
    });
    this.child.on("error", (e) => this.fail(new Error(`chromium does not start: ${e.message}`)));
    this.child.on("exit", (code) => this.fail(new Error(`chromium ended with ${code}`)));
  }

  fail(error) {
    this.failed = error;
    this.waiting.forEach(({ reject }) => reject(error));
    this.waiting.clear();
  }

  take(message) {
    if (!message.id) return this.listeners.forEach((listener) => listener(message));
    const { resolve, reject, method } = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    message.error ? reject(new Error(`${method}: ${message.error.message}`)) : resolve(message.result);
  }

  /** One command of the protocol, and its result. */
  send(method, params = {}, sessionId) {
    if (this.failed) return Promise.reject(this.failed);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${method} takes longer than ${PATIENCE} ms`)), PATIENCE);
      const settle = (then) => (value) => (clearTimeout(late), then(value));
      this.waiting.set(id, { resolve: settle(resolve), reject: settle(reject), method });
      this.child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    });
  }

  /** A tab of its own. */
  async tab() {
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, sessionId, targetId);
    await Promise.all(["Page", "Runtime", "Log", "Network", "DOM"].map((domain) => tab.send(`${domain}.enable`)));
    return tab;
  }

  async close() {
    this.child.removeAllListeners("exit");
    const ended = new Promise((resolve) => this.child.on("exit", resolve));
    const stuck = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    await this.send("Browser.close").catch(() => this.child.kill());
    await ended;
    clearTimeout(stuck);
    // Some of its processes may end a little later, and still write.
    for (let i = 0; i < 20; i++) {
      try {
        return rmSync(this.folder, { recursive: true, force: true });
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}

export class Tab {
  constructor(chrome, session, target) {
    Object.assign(this, { chrome, session, target, complaints: [], asked: [], loaded: () => {} });
    chrome.listeners.add(({ method, params, sessionId }) => {
      if (sessionId !== session) return;
      if (method === "Page.loadEventFired") this.loaded();
      if (method === "Network.requestWillBeSent") this.asked.push(params.request.url);
      if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      if (method === "Runtime.consoleAPICalled") this.complaints.push(params.args.map((arg) => arg.value).join(" "));
      if (method === "Log.entryAdded") this.complaints.push(params.entry.text);
    });
  }

  send(method, params) {
    return this.chrome.send(method, params, this.session);
  }

  /** Does what leads to another page, and waits until it is there. */
  async until_loaded(act) {
    const loaded = new Promise((resolve, reject) => {
      this.loaded = resolve;
      setTimeout(() => reject(new Error("the page does not load")), PATIENCE).unref();
    });
    await act();
    await loaded;
  }

  open(url) {
    return this.until_loaded(async () => {
      const { errorText } = await this.send("Page.navigate", { url });
      if (errorText) throw new Error(`${url}: ${errorText}`);
    });
  }

  /** What `f` gives in the page, as JSON. */
  async run(f, ...args) {
    const expression = typeof f === "string" ? f : `(${f})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async size(width, height = 900, media = {}) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await this.media(media);
  }

  media({ scheme = "light", print = false } = {}) {
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    return this.send("Emulation.setEmulatedMedia", { media: print ? "print" : "", features });
  }

  async press(key) {
    const codes = { Tab: 9, Enter: 13, Escape: 27, Space: 32, ArrowDown: 40 };
    const text = { Enter: "\r", Space: " " }[key];
    const event = { key: key === "Space" ? " " : key, code: key, windowsVirtualKeyCode: codes[key], text };
    await this.send("Input.dispatchKeyEvent", { type: text ? "keyDown" : "rawKeyDown", ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event, text: undefined });
  }

  async picture() {
    const { cssContentSize: { width, height } } = await this.send("Page.getLayoutMetrics");
    const clip = { x: 0, y: 0, width, height: Math.min(height, 16000), scale: 1 };
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true, clip });
    return Buffer.from(data, "base64");
  }
}
