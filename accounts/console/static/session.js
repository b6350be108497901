// Who is signed in: a token kept for this tab alone, renewed before it ends.
import { Problem, send } from "./http.js";

const KEY = "session";

class Session extends EventTarget {
  #kept = JSON.parse(sessionStorage.getItem(KEY));
  #renewal = 0;

  // Why nobody is signed in any more, for the person who was.
  farewell = "";

  constructor() {
    super();
    if (this.#kept && this.#kept.endsAt <= Date.now()) this.#forget("Your session has ended: sign in again.");
    this.#renewLater();
  }

  get token() {
    return this.#kept?.token ?? null;
  }

  // Who it is, as the token says: { name, isAdmin }; null for nobody.
  get user() {
    if (!this.#kept) return null;
    const claims = JSON.parse(decodeBase64Url(this.#kept.token.split(".")[1]));
    return { name: claims.sub, isAdmin: claims.role === "admin" };
  }

  async signIn(username, password) {
    this.#keep(await send("/auth/login", { method: "POST", body: { username, password } }));
    this.farewell = "";
    this.dispatchEvent(new Event("change"));
  }

  signOut(farewell = "") {
    if (!this.#kept) return;
    this.#forget(farewell);
    this.dispatchEvent(new Event("change"));
  }

  // A request with the token, to either service. Who is no longer let in is signed out.
  async ask(url, { headers = {}, ...rest } = {}) {
    const token = this.token;
    try {
      return await send(url, { ...rest, headers: { ...headers, Authorization: `Bearer ${token}` } });
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 401 && token === this.token)
        this.signOut("Your session has ended: sign in again.");
      throw problem;
    }
  }

  #keep({ content }) {
    const now = Date.now();
    const lifetime = content.expires_in * 1000;
    this.#kept = { token: content.access_token, endsAt: now + lifetime, renewAt: now + lifetime / 2 };
    sessionStorage.setItem(KEY, JSON.stringify(this.#kept));
    this.#renewLater();
  }

  #forget(farewell) {
    this.farewell = farewell;
    this.#kept = null;
    clearTimeout(this.#renewal);
    sessionStorage.removeItem(KEY);
  }

  #renewLater() {
    clearTimeout(this.#renewal);
    if (this.#kept) this.#renewal = setTimeout(() => this.#renew(), Math.max(0, this.#kept.renewAt - Date.now()));
  }

  async #renew() {
    const token = this.token;
    try {
      const answer = await this.ask("/auth/refresh", { method: "POST" });
      if (token === this.token) this.#keep(answer);
    } catch {
      if (this.#kept) this.#renewal = setTimeout(() => this.#renew(), 10_000);
    }
  }
}

function decodeBase64Url(text) {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}

export const session = new Session();
