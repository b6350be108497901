// The stream of what happens: connects, resumes where it was, and waits longer after each failure.
import { parseJson } from "./money.js";
import { readEvents } from "./server_sent_events.js";
import { session } from "./session.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const SILENT_FOR_MS = 40_000; // a heartbeat comes every 15 s

// Dispatches "revenue" and "projection" with their data as `detail`, and "state" when `state` changes.
class Live extends EventTarget {
  // off, connecting, live, waiting, paused or replaced
  state = "off";
  #last = null;
  #connection = new AbortController();

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#resume()));
  }

  // Tells of what comes behind this Log-Position.
  start(position) {
    this.stop();
    this.#last = position;
    this.#connection = new AbortController();
    this.#run(this.#connection.signal);
  }

  stop() {
    this.#connection.abort();
    this.#become("off");
  }

  // A tab that nobody sees gives back one of six connections of the browser, and a place at the service.
  #pause() {
    if (!["connecting", "live", "waiting"].includes(this.state)) return;
    this.#connection.abort();
    this.#become("paused");
  }

  #resume() {
    if (this.state !== "paused") return;
    this.#connection = new AbortController();
    this.#run(this.#connection.signal);
  }

  async #run(signal) {
    let pause = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      this.#become("connecting");
      try {
        if (await this.#follow(signal, () => (pause = FIRST_PAUSE_MS))) return;
      } catch {
        // no answer, or it broke off
      }
      if (signal.aborted) return;
      this.#become("waiting");
      await elapsed(pause * (0.75 + Math.random() / 2), signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  // Follows one answer to its end; whether that was the last.
  async #follow(signal, onEvent) {
    const silence = new AbortController();
    let timer = 0;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_FOR_MS);
    };
    heard();
    try {
      const token = session.token;
      const headers = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
      if (this.#last) headers["Last-Event-ID"] = this.#last;
      const both = AbortSignal.any([signal, silence.signal]);
      const response = await fetch("/events", { headers, signal: both, cache: "no-store" });
      if (response.status === 412) return this.#end();
      if (response.status === 401 && token === session.token) session.signOut("Your session has ended: sign in again.");
      if (!response.ok) return false;
      this.#become("live");
      for await (const event of readEvents(response.body, heard)) {
        if (signal.aborted) return true;
        if (event.name === "replaced") return this.#end();
        if (event.name === "expired") return false;
        if (event.id) this.#last = event.id;
        onEvent();
        this.dispatchEvent(new CustomEvent(event.name, { detail: { id: event.id, ...parseJson(event.text) } }));
      }
      return false;
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  #end() {
    this.#become("replaced");
    return true;
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

function elapsed(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

export const live = new Live();
