// The eight stops of an invoice (docs/follow-an-invoice.md): what is known of each, and since when.
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

export class Journey {
  #began = performance.now();
  #stops = STOPS.map(([what, code]) => {
    const known = element("p", { class: "known" }, element("code", {}, code));
    return { known, item: element("li", {}, element("p", {}, what), known) };
  });

  constructor() {
    byId("journey-title").textContent = `Its eight stops, sent at ${showClock(Date.now())}`;
    byId("stops").replaceChildren(...this.#stops.map(({ item }) => item));
    byId("journey").hidden = false;
  }

  // Each of the stops, counted from 1, is passed now, if it was not before; `how` says what tells so.
  pass(first, last, how) {
    const after = this.#after();
    for (const stop of this.#stops.slice(first - 1, last)) {
      if (!stop.item.className) this.#mark(stop, "passed", after, how);
    }
  }

  fail(number, why) {
    this.#mark(this.#stops[number - 1], "failed", this.#after(), why);
  }

  #after() {
    return `after ${Math.round(performance.now() - this.#began)} ms`;
  }

  #mark({ item, known }, state, after, how) {
    item.className = state;
    known.replaceChildren(element("b", {}, after), `: ${how}`);
  }
}
