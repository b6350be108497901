// The ledger behind a number: each entry that moved an account's total, and the plot of what they come to.
import { accounts } from "./accounts.js";
import { byId, element, sentenceRow } from "./elements.js";
import { entryRows, redisCli } from "./entry_rows.js";
import { noteRead } from "./freshness.js";
import { nextPage } from "./http.js";
import { live } from "./live.js";
import { showMoment } from "./moments.js";
import { showCents } from "./money.js";
import { Plot } from "./plot.js";
import { timeOf } from "./position.js";
import { seldom } from "./seldom.js";
import { session } from "./session.js";

const COLUMNS = 5;
const PAGE = 1000;
const PAGES_AT_ONCE = 10;
const SHOWN_AT_ONCE = 50;
const WHAT = { InvoiceCreated: "Invoice", InvoiceDeleted: "Invoice deleted", CustomerDeleted: "Customer deleted" };

let chosen = null; // the id of an account
let entries = []; // in the order of the log
let next = null; // the path of those that are not read yet
let shown = SHOWN_AT_ONCE;
let plot;
const showSoon = seldom(100, () => chosen && show());

export function startLedger() {
  plot = new Plot(byId("plot"));
  accounts.addEventListener("chosen", ({ detail }) => open(detail));
  accounts.addEventListener("loaded", showTitle);
  live.addEventListener("revenue", ({ detail }) => {
    if (String(detail.account_id) !== chosen || next || isKnown(detail.entry)) return;
    entries.push(detail.entry);
    showSoon();
  });
  byId("more-entries").addEventListener("click", () => ((shown += SHOWN_AT_ONCE), show()));
  byId("read-on").addEventListener("click", () => readOn(chosen));
}

export function closeLedger() {
  chosen = null;
  entries = [];
  byId("ledger").hidden = true;
}

// Again from the start: what was read is of another log.
export function reopenLedger() {
  if (chosen) open(chosen);
}

async function open(id) {
  [chosen, entries, shown] = [id, [], SHOWN_AT_ONCE];
  next = `/accounts/${id}/ledger?limit=${PAGE}`;
  byId("ledger").hidden = false;
  showTitle();
  byId("entries").replaceChildren(sentenceRow(COLUMNS, "Loading the ledger…"));
  plot.show([], [], "");
  byId("ledger-title").focus({ preventScroll: true });
  byId("ledger").scrollIntoView({ block: "nearest" });
  await readOn(id);
}

async function readOn(id) {
  try {
    for (let page = 0; page < PAGES_AT_ONCE && next; page++) {
      const answer = await session.ask(next);
      if (id !== chosen) return;
      noteRead(answer.headers);
      entries.push(...answer.content.filter((entry) => !isKnown(entry)));
      next = nextPage(answer.headers);
    }
    show();
  } catch (problem) {
    if (id === chosen) byId("entries").replaceChildren(sentenceRow(COLUMNS, problem.message));
  }
}

const isKnown = (entry) => entries.length > 0 && entry.sequence <= entries.at(-1).sequence;

function showTitle() {
  const found = chosen && accounts.find(chosen);
  if (found) byId("ledger-title").textContent = `Ledger of ${found.account.name}`;
}

function show() {
  const opened = new Set(
    [...byId("entries").querySelectorAll("[aria-expanded=true]")].map((button) => button.textContent),
  );
  const focused = byId("entries").contains(document.activeElement) && document.activeElement.textContent;
  const rows = entries.slice(-shown).reverse().flatMap((entry) => makeRows(entry));
  byId("entries").replaceChildren(
    ...(rows.length ? rows : [sentenceRow(COLUMNS, "No entry has moved this total yet. Post an invoice to one of its customers.")]),
  );
  for (const button of byId("entries").querySelectorAll("[aria-expanded]")) {
    if (opened.has(button.textContent)) button.click();
    if (focused && focused === button.textContent) button.focus();
  }
  const last = entries.at(-1);
  byId("ledger-total").textContent = last ? showCents(last.balance_cents) : "0.00";
  byId("ledger-count").textContent = next
    ? `after the first ${entries.length.toLocaleString("en")} entries`
    : `from ${entries.length.toLocaleString("en")} ${entries.length === 1 ? "entry" : "entries"}`;
  byId("more-entries").hidden = entries.length <= shown;
  byId("read-on").hidden = !next;
  showPlot(last);
}

// From nothing before the first entry up to now.
function showPlot(last) {
  const times = entries.map((entry) => timeOf(entry.position) / 1000);
  const balances = entries.map((entry) => Number(entry.balance_cents) / 100);
  if (!last) return plot.show([], [], "");
  const until = next ? [] : [Math.max(Date.now() / 1000, times.at(-1))];
  plot.show(
    [times[0], ...times, ...until],
    [0, ...balances, ...until.map(() => balances.at(-1))],
    `Balance over time: ${entries.length} steps from ${showMoment(times[0] * 1000)} to ${showMoment(times.at(-1) * 1000)}, ` +
      `now ${showCents(last.balance_cents)}. The table below has each.`,
  );
}

function makeRows(entry) {
  const of = entry.invoice_id ? `${entry.invoice_id} of customer ${entry.customer_id}` : entry.customer_id;
  return entryRows(
    entry.position,
    [
      element("td", { class: "wide" }, showMoment(entry.occurred_at)),
      element("td", {}, `${WHAT[entry.event_type] ?? entry.event_type} ${of}`),
      element("td", { class: "number" }, showCents(entry.amount_cents)),
      element("td", { class: "number" }, showCents(entry.balance_cents)),
    ],
    () => ({ json: entry, command: redisCli(entry.position) }),
  );
}
