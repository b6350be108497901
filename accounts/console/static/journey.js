// The eight stops of an invoice (docs/follow-an-invoice.md): what this page knows of each, and by whose clock.
import { byId, element } from "./elements.js";
import { showClock } from "./moments.js";

const STOPS = [
  ["The request is let in and read", "customers/routes.py create_invoice"],
  ["It becomes a command with a time", "customers/command_handler.py create_invoice"],
  ["It is decided: this invoice may be", "customers/decider.py decide"],
  ["It is in the stream, and on disk", "eventlog/log.py publish"],
  ["The tail of accounts reads it", "eventlog/subscription.py run_once"],
  ["It becomes changes of rows", "accounts/revenue.py invoice_created"],
  ["They are committed with the checkpoint", "accounts/revenue.py list_account_revenue"],
  ["It is in the total", "accounts/routes.py list_accounts"],
];

// Each stop is told by its number, from 1 on; moments are milliseconds since 1970.
export class Journey {
  #sentAt = Date.now();
  #stops = STOPS.map(([what, code]) => {
    const known = element("p", { class: "known" }, element("code", {}, code));
    return { known, item: element("li", {}, element("p", {}, what), known) };
  });

  constructor() {
    byId("stops").replaceChildren(...this.#stops.map(({ item }) => item));
    byId("journey").hidden = false;
    this.#say(1, "", `Sent at ${showClock(this.#sentAt)}`, "by this browser's clock; not answered yet");
  }

  answered(what) {
    const now = Date.now();
    const between = `Between ${showClock(this.#sentAt)}, when it was sent, and ${showClock(now)}, when it was answered`;
    this.#say(1, "passed", between, `by this browser's clock, ${now - this.#sentAt} ms: ${what}`);
  }

  // `moment` is by the clock of `whose`.
  passAt(number, moment, whose, how) {
    this.#say(number, "passed", showClock(moment), `by the clock of ${whose}: ${how}`);
  }

  // What told so came at `moment` of this browser's clock.
  passBefore(number, moment, how) {
    this.#say(number, "passed", `Before ${showClock(moment)}`, `by this browser's clock, ${moment - this.#sentAt} ms after it was sent: ${how}`);
  }

  // Surely, for what comes later was.
  passUnseen(first, last) {
    for (let number = first; number <= last; number++) {
      if (!this.isPassed(number)) this.#say(number, "passed", "Passed", "when is not known to this page");
    }
  }

  isPassed(number) {
    return this.#stops[number - 1].item.className === "passed";
  }

  fail(number, why) {
    const now = Date.now();
    this.#say(number, "failed", showClock(now), `by this browser's clock, ${now - this.#sentAt} ms after it was sent: ${why}`);
  }

  #say(number, state, when, how) {
    const { item, known } = this.#stops[number - 1];
    item.className = state;
    known.replaceChildren(element("b", {}, when), `, ${how}`);
  }
}
