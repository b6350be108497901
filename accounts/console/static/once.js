// Posts what a form says to customers, so that it is done once however often it is sent.
import { meta } from "./elements.js";
import { Problem } from "./http.js";
import { session } from "./session.js";

export const customers = meta("customers-url");

// What is asked at one path. Until it is answered it is kept for this tab: the page may be read anew meanwhile.
export class Once {
  #path;
  #place;

  constructor(path) {
    [this.#path, this.#place] = [path, `unanswered ${path}`];
  }

  async post(body) {
    const asked = JSON.stringify(body);
    const unanswered = this.#unanswered();
    const key = unanswered.asked === asked ? unanswered.key : newKey();
    sessionStorage.setItem(this.#place, JSON.stringify({ asked, key }));
    try {
      const answer = await session.ask(customers + this.#path, { method: "POST", body, headers: { "Idempotency-Key": key } });
      sessionStorage.removeItem(this.#place);
      return answer;
    } catch (problem) {
      if (problem instanceof Problem && problem.status < 500) sessionStorage.removeItem(this.#place);
      throw problem;
    }
  }

  #unanswered() {
    try {
      return JSON.parse(sessionStorage.getItem(this.#place)) ?? {};
    } catch {
      return {}; // no page of ours has written it
    }
  }
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
