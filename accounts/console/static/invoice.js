// Posts an invoice to customers, and follows it on its way into the total.
import { accounts } from "./accounts.js";
import { announce, byId, element } from "./elements.js";
import { Problem, Unreachable } from "./http.js";
import { Journey } from "./journey.js";
import { live } from "./live.js";
import { readCents, showCents } from "./money.js";
import { customers, Once } from "./once.js";
import { bare, timeOf } from "./position.js";
import { session } from "./session.js";

const WAITS = 6; // of 10 s each

// The last stop that it surely passed, and the one where it ended, by what was answered.
const ENDED = { "not-found": [2, 3], conflict: [2, 3], "not-written": [1, 4], "outcome-unknown": [3, 4] };

const invoices = new Once("/invoices");
const newCustomers = new Once("/customers");
let followed = null; // { journey, position once it is known, told: what came of any invoice before }

export function startInvoice() {
  const form = byId("invoice-form");
  form.elements.purchase_date.value = today();
  form.addEventListener("submit", (event) => submitted(event, "invoice-problem", () => postInvoice(form)));
  const customer = byId("customer-form");
  customer.addEventListener("submit", (event) => submitted(event, "customer-problem", () => addCustomer(customer)));
  accounts.addEventListener("loaded", showChoices);
  live.addEventListener("revenue", ({ detail }) => {
    if (!followed || (followed.position && followed.position !== bare(detail.id))) return;
    followed.told.set(bare(detail.id), { at: Date.now(), cents: detail.total_revenue_cents });
    showTold(followed);
  });
}

function showTold({ journey, position, told }) {
  const found = position && told.get(position);
  if (!found) return;
  journey.passUnseen(5, 6);
  journey.passBefore(7, found.at, `GET /events told that the total is ${showCents(found.cents)}`);
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
  const journey = new Journey();
  followed = { journey, position: null, told: new Map() };
  let answer;
  try {
    answer = await invoices.post(body);
  } catch (problem) {
    followed = null;
    const [passed, ended] = ENDED[problem.name] ?? [0, 1];
    if (passed) journey.answered(`customers answered ${problem.status}`);
    journey.passUnseen(2, passed);
    journey.fail(ended, problem.message);
    throw problem;
  }
  journey.answered(`customers answered ${answer.status}, invoice ${answer.content.id}`);
  journey.passUnseen(2, 3);
  const position = answer.headers.get("Log-Position");
  if (!position) return;
  journey.passAt(4, timeOf(position), "Redis", `appended as ${bare(position)}`);
  announce(`Invoice ${answer.content.id} is in the stream.`);
  followed.position = bare(position);
  showTold(followed);
  showCommand(journey, answer.content.id, position);
  follow(followed, position, body.customer_id);
}

// When it became a command is kept with the invoice.
async function showCommand(journey, id, position) {
  const headers = { "Min-Log-Position": position, Prefer: "wait=10" };
  const found = await session.ask(`${customers}/invoices/${id}`, { headers }).catch(() => null);
  if (found) journey.passAt(2, Date.parse(found.content.created_date), "customers", "the invoice's created_date");
}

// The read at the end of the way waits until accounts has come that far.
async function follow(following, position, customerId) {
  const { journey } = following;
  for (let wait = 0; wait < WAITS && following === followed; wait++) {
    try {
      await accounts.load({ atLeast: position });
      const shown = accounts.all.find(({ customers: all }) => all.some((each) => each.customer_id === customerId));
      const total = shown ? `${shown.account.name} has ${showCents(shown.total_revenue_cents)}` : "it counts";
      journey.passUnseen(5, 7);
      journey.passBefore(8, Date.now(), `GET /accounts says that ${total}`);
      announce(`The invoice is in the total: ${total}.`);
      return;
    } catch (problem) {
      if (problem.name === "not-yet-applied") continue;
      if (following === followed) journey.fail(8, problem.message);
      return;
    }
  }
  if (following === followed) journey.fail(8, "accounts is not that far after a minute");
}

async function addCustomer({ elements }) {
  const body = { name: elements.name.value, account_id: elements.account_id.value };
  const answer = await newCustomers.post(body);
  announce(`${body.name} is customer ${answer.content.id}.`);
  byId("invoice-form").elements.customer_id.value = answer.content.id;
  elements.name.value = "";
  byId("new-customer").open = false;
  await accounts.load({ atLeast: answer.headers.get("Log-Position") }).catch(() => {}); // it is told later, too
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
