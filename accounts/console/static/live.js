// The stream of what happens: connects, resumes where it was, and waits longer after each failure.
import { Problem } from "./http.js";
import { parseJson } from "./money.js";
import { readEvents } from "./server_sent_events.js";
import { session } from "./session.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const SILENT_FOR_MS = 40_000; // a heartbeat comes every 15 s

// Dispatches "revenue" and "projection" with their data as `detail`, and "state" when one of these changes.
class Live extends EventTarget {
  // off, connecting, live, waiting, paused or replaced
  state = "off";
  // Why nothing is told now, until something is: away, full, refused or paused.
  trouble = null;
  // Of `trouble`, what the service said of it.
  said = "";
  // When it tries again, in milliseconds since 1970; of the last time while it tries.
  triesAt = 0;
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
    this.#become("off", null);
  }

  // A tab that nobody sees gives back one of six connections of the browser, and a place at the service.
  #pause() {
    if (!["connecting", "live", "waiting"].includes(this.state)) return;
    this.#connection.abort();
    this.#become("paused", "paused");
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
      const attempt = { isAnswered: false, refusal: null };
      try {
        if (await this.#follow(signal, attempt, () => (pause = FIRST_PAUSE_MS))) return;
      } catch {
        // no answer, or it broke off
      }
      if (signal.aborted) return;
      const askedPause = Number(attempt.refusal?.headers.get("Retry-After") ?? 0) * 1000 || 0;
      const waited = Math.max(pause * (0.75 + Math.random() / 2), askedPause);
      this.triesAt = Date.now() + waited;
      this.#become("waiting", attempt.isAnswered ? this.trouble : troubleOf(attempt.refusal), attempt.refusal?.message);
      await elapsed(waited, signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  // Follows one answer to its end; whether that was the last.
  async #follow(signal, attempt, onEvent) {
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
      if (response.status === 401) {
        await session.renew(token);
        return session.token === null;
      }
      if (!response.ok) {
        attempt.refusal = new Problem(response.status, await problemIn(response), response.headers);
        return false;
      }
      attempt.isAnswered = true;
      this.#become("live", null);
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
    this.#become("replaced", null);
    return true;
  }

  #become(state, trouble = this.trouble, said = this.said) {
    if (state === this.state && trouble === this.trouble && said === this.said && state !== "waiting") return;
    [this.state, this.trouble, this.said] = [state, trouble, trouble ? said : ""];
    this.dispatchEvent(new Event("state"));
  }
}

function troubleOf(refusal) {
  if (!refusal) return "away";
  return refusal.name === "too-many-waiting" ? "full" : "refused";
}

async function problemIn(response) {
  try {
    return await response.json();
  } catch {
    return {}; // of something in between
  }
}

function elapsed(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

export const live = new Live();
