// The accounts that the person may see, with revenue that changes as the tail applies invoices.
import { announce, byId, element, flash, sentenceRow } from "./elements.js";
import { noteRead } from "./freshness.js";
import { nextPage } from "./http.js";
import { live } from "./live.js";
import { showCents } from "./money.js";
import { bare, isBehind } from "./position.js";
import { seldom } from "./seldom.js";
import { session } from "./session.js";

const COLUMNS = 4;
const ANNOUNCED_EVERY_MS = 5_000;
const CHOSEN = /^#account-([0-9]+)$/;

// Dispatches "loaded" when `all` was read, "chosen" with an account's id.
class Accounts extends EventTarget {
  // As GET /accounts shows them.
  all = [];
  #rows = new Map(); // by id: { row, button, total, cents, position, name }
  #moved = new Set(); // rows whose total is not shown yet
  #pages = 1;
  #readAt = "0-0";
  #chosen = "";

  start() {
    byId("more-accounts").addEventListener("click", () => this.load({ pages: this.#pages + 1 }));
    live.addEventListener("revenue", ({ detail }) => this.#apply(detail));
    live.addEventListener("projection", ({ detail }) => {
      // accounts and customers that are new have moved no total
      if (detail.log_position && detail.log_position !== this.#readAt) this.load().catch(() => {});
    });
  }

  // Reads so many pages, no older than a Log-Position; answers the one that they are true for.
  async load({ pages = this.#pages, atLeast } = {}) {
    const found = [];
    let path = "/accounts";
    let position;
    for (let page = 0; page < pages && path; page++) {
      const answer = await session.ask(path, { headers: atLeast ? { "Min-Log-Position": atLeast, Prefer: "wait=10" } : {} });
      noteRead(answer.headers);
      position ??= answer.headers.get("Log-Position");
      found.push(...answer.content);
      path = nextPage(answer.headers);
    }
    this.#pages = pages;
    this.#readAt = position ?? "0-0";
    this.all = found;
    byId("more-accounts").hidden = !path;
    byId("invoice").hidden = found.length === 0;
    this.#show();
    this.dispatchEvent(new Event("loaded"));
    const before = CHOSEN.exec(location.hash)?.[1]; // by whoever reloads the page, or was given its address
    if (!this.#chosen && this.find(before)) this.choose(before);
    return position;
  }

  forget() {
    this.#rows.clear();
    [this.all, this.#pages, this.#readAt] = [[], 1, "0-0"];
    byId("accounts").replaceChildren(sentenceRow(COLUMNS, "Loading the accounts…"));
  }

  find(id) {
    return this.all.find((shown) => String(shown.account.id) === id);
  }

  choose(id) {
    this.#chosen = id;
    history.replaceState(null, "", `#account-${id}`);
    this.#showHint();
    for (const [each, { row, button }] of this.#rows) {
      row.classList.toggle("chosen", each === id);
      button.setAttribute("aria-pressed", String(each === id));
    }
    this.dispatchEvent(new CustomEvent("chosen", { detail: id }));
  }

  #showHint() {
    byId("accounts-hint").hidden = this.all.length === 0 || Boolean(this.find(this.#chosen));
  }

  #show() {
    this.#showHint();
    const before = new Map(this.#rows);
    this.#rows.clear();
    for (const shown of this.all) {
      const id = String(shown.account.id);
      const kept = before.get(id);
      if (kept && isBehind(this.#readAt, kept.position)) shown.total_revenue_cents = kept.cents;
      this.#rows.set(id, this.#makeRow(id, shown, kept));
    }
    const focused = document.activeElement?.dataset?.account;
    const rows = [...this.#rows.values()].map(({ row }) => row);
    byId("accounts").replaceChildren(...(rows.length ? rows : [sentenceRow(COLUMNS, this.#emptiness())]));
    if (focused) this.#rows.get(focused)?.button.focus();
  }

  #makeRow(id, { account, customers, more_customers: more, total_revenue_cents: cents }, kept) {
    const total = element("td", { class: "number" }, showCents(cents));
    const pressed = { "aria-pressed": String(id === this.#chosen), "data-account": id };
    const button = element("button", { type: "button", class: "link", ...pressed }, account.name);
    button.addEventListener("click", () => this.choose(id));
    const row = element(
      "tr",
      { class: id === this.#chosen ? "chosen" : "" },
      element("th", { scope: "row" }, button, " ", element("span", { class: "hint" }, `#${id}`)),
      element("td", { class: "wide" }, account.owned_by),
      element("td", { class: "number" }, `${customers.length}${more ? "+" : ""}`),
      total,
    );
    if (kept && kept.cents !== cents) flash(total);
    const position = kept && isBehind(this.#readAt, kept.position) ? kept.position : bare(this.#readAt);
    return { row, button, total, cents, position, name: account.name };
  }

  #apply({ id: position, account_id: id, total_revenue_cents: cents }) {
    const row = this.#rows.get(String(id));
    if (!row || !isBehind(row.position, position)) return;
    [row.position, row.cents] = [bare(position), cents];
    if (!this.#moved.size) requestAnimationFrame(() => this.#showMoved());
    this.#moved.add(row);
    this.#announceSoon(row);
  }

  // Once a frame, however many invoices come.
  #showMoved() {
    for (const { total, cents } of this.#moved) {
      total.textContent = showCents(cents);
      flash(total);
    }
    this.#moved.clear();
  }

  #announceSoon = seldom(ANNOUNCED_EVERY_MS, (row) => announce(`Revenue of ${row.name}: ${showCents(row.cents)}`));

  #emptiness() {
    const none = session.user?.isAdmin ? "There are no accounts yet." : "You own no accounts yet.";
    return `${none} POST /accounts makes one; the API of accounts, below, shows how.`;
  }
}

export const accounts = new Accounts();
