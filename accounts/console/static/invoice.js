// Posts an invoice to customers, and follows it on its way into the total.
import { accounts } from "./accounts.js";
import { announce, byId, element, meta } from "./elements.js";
import { Problem, Unreachable } from "./http.js";
import { Journey } from "./journey.js";
import { live } from "./live.js";
import { showClock } from "./moments.js";
import { readCents, showCents } from "./money.js";
import { bare, timeOf } from "./position.js";
import { session } from "./session.js";

const WAITS = 6; // of 10 s each

// The last stop that it surely passed, and the one where it ended, by what was answered.
const ENDED = { "not-found": [2, 3], conflict: [2, 3], "not-written": [1, 4], "outcome-unknown": [3, 4] };

const customers = meta("customers-url");
let key = null; // of what is in the form, until it was answered
let followed = null;

export function startInvoice() {
  const form = byId("invoice-form");
  form.elements.purchase_date.value = today();
  form.addEventListener("input", () => (key = null));
  form.addEventListener("submit", (event) => submitted(event, "invoice-problem", () => postInvoice(form)));
  const customer = byId("customer-form");
  customer.addEventListener("submit", (event) => submitted(event, "customer-problem", () => addCustomer(customer)));
  accounts.addEventListener("loaded", showChoices);
  live.addEventListener("revenue", ({ detail }) => {
    if (!followed || bare(detail.id) !== followed.position) return;
    followed.journey.pass(5, 7, `accounts told that the total is ${showCents(detail.total_revenue_cents)}`);
  });
}

export function forgetInvoice() {
  [key, followed] = [null, null];
  byId("journey").hidden = true;
  byId("invoice-form").reset();
  byId("invoice-form").elements.purchase_date.value = today();
}

async function submitted(event, problemId, act) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const problem = byId(problemId);
  problem.textContent = "";
  button.disabled = true;
  try {
    await act();
  } catch (wrong) {
    problem.textContent = explain(wrong);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

async function postInvoice({ elements }) {
  const body = {
    customer_id: elements.customer_id.value,
    purchase_date: elements.purchase_date.value,
    purchase_price_cents: readCents(elements.amount.value),
  };
  key ??= newKey();
  followed = null;
  const journey = new Journey();
  let answer;
  try {
    answer = await session.ask(`${customers}/invoices`, { method: "POST", body, headers: { "Idempotency-Key": key } });
  } catch (problem) {
    if (problem instanceof Problem && problem.status < 500) key = null;
    const [passed, ended] = ENDED[problem.name] ?? [0, 1];
    journey.pass(1, passed, `customers answered ${problem.status}`);
    journey.fail(ended, problem.message);
    throw problem;
  }
  key = null;
  const position = answer.headers.get("Log-Position");
  journey.pass(1, 3, `customers answered ${answer.status}, invoice ${answer.content.id}`);
  if (!position) return;
  journey.pass(4, 4, `as ${bare(position)}, appended at ${showClock(timeOf(position))} by the clock of Redis`);
  announce(`Invoice ${answer.content.id} is in the stream.`);
  followed = { journey, position: bare(position) };
  follow(followed, position, body.customer_id);
}

// The read at the end of the way waits until accounts has come that far.
async function follow(following, position, customerId) {
  for (let wait = 0; wait < WAITS && following === followed; wait++) {
    try {
      await accounts.load({ atLeast: position });
      const shown = accounts.all.find(({ customers: all }) => all.some((each) => each.customer_id === customerId));
      const total = shown ? `${shown.account.name} has ${showCents(shown.total_revenue_cents)}` : "it counts";
      following.journey.pass(5, 7, "a read of accounts is that far");
      following.journey.pass(8, 8, `GET /accounts says that ${total}`);
      announce(`The invoice is in the total: ${total}.`);
      return;
    } catch (problem) {
      if (problem.name === "not-yet-applied") continue;
      if (following === followed) following.journey.fail(8, problem.message);
      return;
    }
  }
  if (following === followed) following.journey.fail(8, "accounts is not that far after a minute");
}

async function addCustomer({ elements }) {
  const body = { name: elements.name.value, account_id: elements.account_id.value };
  const answer = await session.ask(`${customers}/customers`, { method: "POST", body });
  announce(`${body.name} is customer ${answer.content.id}.`);
  byId("invoice-form").elements.customer_id.value = answer.content.id;
  elements.name.value = "";
  byId("new-customer").open = false;
  await accounts.load({ atLeast: answer.headers.get("Log-Position") });
}

function showChoices() {
  const known = accounts.all.flatMap(({ account, customers: all }) =>
    all.map(({ customer_id: id, name }) => element("option", { value: id }, `${name}, account ${account.name}`)),
  );
  byId("known-customers").replaceChildren(...known);
  const nobody = accounts.all.length > 0 && known.length === 0;
  byId("no-customers").hidden = !nobody;
  if (nobody) byId("new-customer").open = true;
  const choice = byId("customer-form").elements.account_id;
  const before = choice.value;
  choice.replaceChildren(
    ...accounts.all.map(({ account }) => element("option", { value: account.id }, `${account.name} (${account.id})`)),
  );
  if (before) choice.value = before;
}

function explain(problem) {
  if (problem instanceof Unreachable)
    return `${problem.message} Is customers running there, and does it allow this page (CORS_ORIGINS)? Nothing was answered: to send the same again does it once.`;
  if (problem instanceof Problem && problem.status === 503) return `${problem.message} To send the same again does it once.`;
  return problem.message;
}

function today() {
  const now = new Date();
  return new Date(now - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
