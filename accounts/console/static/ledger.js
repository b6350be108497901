// The ledger behind a number: each entry that moved an account's total, and the plot of what they come to.
import { accounts } from "./accounts.js";
import { byId, element, offer, sentenceRow } from "./elements.js";
import { entryRows, showRows } from "./entry_rows.js";
import { noteRead } from "./freshness.js";
import { nextPage } from "./http.js";
import { live } from "./live.js";
import { showMoment } from "./moments.js";
import { showCents } from "./money.js";
import { Plot } from "./plot.js";
import { bare, timeOf } from "./position.js";
import { seldom } from "./seldom.js";
import { session } from "./session.js";

const COLUMNS = 5;
const PAGE = 1000;
const PAGES_AT_ONCE = 10;
const SHOWN_AT_ONCE = 50;
const WHAT = { InvoiceCreated: "Invoice", InvoiceDeleted: "Invoice deleted", CustomerDeleted: "Customer deleted" };

let chosen = null; // the id of an account
let entries = []; // in the order of the log
let rows = new Map(); // of entries that are shown, by sequence
let next = null; // the path of those that are not read yet
let reading = false;
let told = []; // while reading: a page may have been answered before them
let shown = SHOWN_AT_ONCE;
let plot;
const showSoon = seldom(100, () => chosen && show());

export function startLedger() {
  plot = new Plot(byId("plot"));
  accounts.addEventListener("chosen", ({ detail }) => open(detail));
  accounts.addEventListener("loaded", () => (showTitle(), noteDeletion()));
  live.addEventListener("revenue", ({ detail }) => {
    if (String(detail.account_id) !== chosen) return;
    if (reading) told.push(detail.entry);
    else if (!next && add([detail.entry])) {
      if (byId("entries").contains(document.activeElement)) shown += 1; // or the row that one is on might go away
      showSoon();
    }
  });
  byId("more-entries").addEventListener("click", () => ((shown += SHOWN_AT_ONCE), show()));
  byId("read-on").addEventListener("click", readOn);
}

// Again from the start: what was read is of another log.
export function reopenLedger() {
  if (chosen) open(chosen);
}

async function open(id) {
  [chosen, entries, rows, shown, reading] = [id, [], new Map(), SHOWN_AT_ONCE, false];
  next = `/accounts/${id}/ledger?limit=${PAGE}`;
  byId("ledger").hidden = false;
  showTitle();
  byId("ledger-total").textContent = byId("ledger-count").textContent = "";
  for (const button of ["more-entries", "read-on"]) offer(button, false, "ledger-title");
  byId("ledger-problem").textContent = "";
  byId("ledger-state").replaceChildren();
  byId("entries").replaceChildren(sentenceRow(COLUMNS, "Loading the ledger…"));
  plot.show([], [], "");
  byId("ledger-title").focus({ preventScroll: true });
  byId("ledger").scrollIntoView({ block: "nearest" });
  await readOn();
}

async function readOn() {
  if (reading) return;
  const opened = entries;
  [reading, told] = [true, []];
  try {
    for (let page = 0; page < PAGES_AT_ONCE && next; page++) {
      const answer = await session.ask(next);
      if (entries !== opened) return;
      noteRead(answer.headers);
      add(answer.content);
      next = nextPage(answer.headers);
    }
    if (!next) add(told); // else they come with the pages behind
    byId("ledger-problem").textContent = "";
    show();
  } catch (problem) {
    if (entries !== opened) return;
    byId("ledger-problem").textContent = `${problem.message} The ledger is not read to its end.`;
    if (!entries.length) byId("entries").replaceChildren();
    offer("read-on", true, "ledger-title");
  } finally {
    if (entries === opened) reading = false;
  }
}

// Of those, in the order of the log, what is new; whether there was any.
function add(found) {
  const last = entries.at(-1)?.sequence ?? 0;
  const unknown = found.filter(({ sequence }) => sequence > last);
  entries.push(...unknown);
  return unknown.length > 0;
}

function showTitle() {
  const found = chosen && accounts.find(chosen);
  if (found) byId("ledger-title").textContent = `Ledger of ${found.account.name}`;
}

// What was read stays, and is said to be of the past.
async function noteDeletion() {
  const opened = entries;
  if (!chosen || accounts.find(chosen) || byId("ledger-state").firstChild) return;
  try {
    await session.ask(`/accounts/${chosen}`); // it may be on a page of the list that is not read
  } catch ({ status, headers }) {
    const position = status === 404 && headers.get("Log-Position");
    if (position && entries === opened) byId("ledger-state").replaceChildren(element("p", { class: "banner warn" }, deletion(position)));
  }
}

const deletion = (position) =>
  `This account is deleted, as of ${bare(position)} (${showMoment(timeOf(position))}). Below stands its ledger as it was read before.`;

function show() {
  const before = rows;
  rows = new Map();
  for (const entry of entries.slice(-shown).reverse()) rows.set(entry.sequence, before.get(entry.sequence) ?? makeRows(entry));
  const none = sentenceRow(COLUMNS, "No entry has moved this total yet. Post an invoice to one of its customers.");
  showRows(byId("entries"), rows.size ? [...rows.values()].flat() : [none]);
  const last = entries.at(-1);
  byId("ledger-total").textContent = last ? showCents(last.balance_cents) : "0.00";
  byId("ledger-count").textContent = next
    ? `after the first ${entries.length.toLocaleString("en")} entries`
    : `from ${entries.length.toLocaleString("en")} ${entries.length === 1 ? "entry" : "entries"}`;
  offer("more-entries", entries.length > shown, "ledger-title");
  offer("read-on", Boolean(next), "ledger-title");
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
      element("td", { class: "words" }, `${WHAT[entry.event_type] ?? entry.event_type} ${of}`),
      element("td", { class: "number" }, showCents(entry.amount_cents)),
      element("td", { class: "number" }, showCents(entry.balance_cents)),
    ],
    `/accounts/${chosen}/ledger?after=${entry.sequence - 1}&limit=1`,
  );
}
