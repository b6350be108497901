// Who is signed in: tokens kept for this tab alone, renewed before the access token ends.
import { byId } from "./elements.js";
import { Problem, send } from "./http.js";

const KEY = "session";
const ENDED = "Your session has ended: sign in again.";
const FAREWELL = "farewell"; // what is said to who was signed in, on the page that comes then

// Dispatches "change" when somebody has signed in.
class Session extends EventTarget {
  #kept = readKept();
  #renewal = 0;
  #renewing = null;

  // Why nobody is signed in any more, for the person who was, "" if it was wanted; null where nobody was.
  farewell = sessionStorage.getItem(FAREWELL);

  constructor() {
    super();
    sessionStorage.removeItem(FAREWELL);
    if (this.#kept && this.#kept.endsAt <= Date.now()) {
      this.#forget();
      this.farewell = ENDED;
    }
    this.#renewLater();
  }

  get token() {
    return this.#kept?.token ?? null;
  }

  // Who it is, as the token says: { name, isAdmin }; null for nobody.
  get user() {
    return this.#kept && userOf(this.#kept.token);
  }

  async signIn(username, password) {
    this.#keep(await send("/auth/login", { method: "POST", body: { username, password } }));
    takeCookieBack();
    this.dispatchEvent(new Event("change"));
  }

  // Leaves for a new page, with nothing of what this one showed or remembers; the answer takes the cookie back.
  signOut(farewell = "") {
    if (!this.#kept) return;
    endSession(this.#kept.refreshToken);
    this.#forget();
    sessionStorage.setItem(FAREWELL, farewell);
    byId("console").hidden = true; // a browser may keep a page that was left
    byId("who").submit();
  }

  // A request with the token, to either service. Who is no longer let in is renewed or signed out.
  async ask(url, { headers = {}, ...rest } = {}) {
    const token = this.token;
    const asked = () => send(url, { ...rest, headers: { ...headers, Authorization: `Bearer ${this.token}` } });
    try {
      return await asked();
    } catch (problem) {
      if (isUnauthorized(problem) && (await this.renew(token))) return await asked();
      throw problem;
    }
  }

  // Whether there is a newer token than this one, which is no longer good. Who cannot have one is signed out.
  async renew(token) {
    if (this.#kept && token === this.token) await (this.#renewing ??= this.#renew().finally(() => (this.#renewing = null)));
    return this.#kept !== null && token !== this.token;
  }

  #keep({ content }) {
    const now = Date.now();
    this.#kept = {
      token: content.access_token,
      refreshToken: content.refresh_token,
      endsAt: now + content.refresh_expires_in * 1000,
      renewAt: now + content.expires_in * 500,
    };
    sessionStorage.setItem(KEY, JSON.stringify(this.#kept));
    this.#renewLater();
  }

  #forget() {
    this.#kept = null;
    clearTimeout(this.#renewal);
    sessionStorage.clear(); // what a form has not been answered, too
  }

  #renewLater() {
    clearTimeout(this.#renewal);
    if (this.#kept) this.#renewal = setTimeout(() => this.renew(this.token), Math.max(0, this.#kept.renewAt - Date.now()));
  }

  async #renew() {
    const { token, refreshToken } = this.#kept;
    try {
      const answer = await send("/auth/refresh", { method: "POST", body: { refresh_token: refreshToken } });
      if (token === this.token) this.#keep(answer);
      else endSession(answer.content.refresh_token); // signed out meanwhile
    } catch (problem) {
      if (token !== this.token) return;
      if (isUnauthorized(problem)) this.signOut(ENDED);
      else this.#renewal = setTimeout(() => this.renew(token), 10_000);
    }
  }
}

function isUnauthorized(problem) {
  return problem instanceof Problem && problem.status === 401;
}

// Told even while the page is left; where that fails, the session ends by itself, in two weeks.
function endSession(refreshToken) {
  const body = JSON.stringify({ refresh_token: refreshToken });
  const headers = { "Content-Type": "application/json" };
  fetch("/auth/logout", { method: "POST", headers, body, keepalive: true }).catch(() => {});
}

// Of an earlier sign-in by the form, without scripts. Where that fails, the next page tries again.
export function takeCookieBack() {
  fetch("/sign-out", { method: "POST", redirect: "manual" }).catch(() => {});
}

// null for what no page of ours has written.
function readKept() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return kept && userOf(kept.token) && kept.refreshToken && Number.isFinite(kept.endsAt) && Number.isFinite(kept.renewAt) ? kept : null;
  } catch {
    sessionStorage.removeItem(KEY);
    return null;
  }
}

function userOf(token) {
  const claims = JSON.parse(decodeBase64Url(token.split(".")[1]));
  return { name: claims.sub, isAdmin: claims.role === "admin" };
}

function decodeBase64Url(text) {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}

export const session = new Session();
