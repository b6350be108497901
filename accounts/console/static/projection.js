// The projection that revenue is read from, for admins: how far it is, its generations, what it parked.
import { confirm } from "./confirm.js";
import { allow, announce, byId, element, goOnFrom, offer, sentenceRow } from "./elements.js";
import { entryRows, logPath, showPosition, showRows } from "./entry_rows.js";
import { nextPage, Problem } from "./http.js";
import { live } from "./live.js";
import { bare } from "./position.js";
import { startRebuild, watchRebuild } from "./rebuild.js";
import { seldom } from "./seldom.js";
import { session } from "./session.js";

let generationRows = new Map(); // by all that is said of a generation
let parkedRows = new Map(); // by all that is said of an entry
const readSoon = seldom(1000, () => session.user?.isAdmin && !byId("projection").hidden && read());

export function startProjection() {
  live.addEventListener("revenue", readSoon);
  live.addEventListener("projection", readSoon);
  startRebuild(read, serve);
  byId("rollback").addEventListener("click", rollBack);
  byId("acknowledge").addEventListener("click", acknowledge);
}

export async function openProjection() {
  byId("projection").hidden = false;
  byId("projection-facts").replaceChildren();
  empty("Loading…");
  await Promise.all([read(), watchRebuild()]);
}

async function read() {
  try {
    const [{ content: projection }, parked] = await Promise.all([
      session.ask("/projection"),
      session.ask("/projection/parked"),
    ]);
    showFacts(projection);
    showGenerations(projection.generations);
    showParked(parked.content, nextPage(parked.headers), projection.parked?.unacknowledged);
    say("");
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 403) byId("projection").hidden = true;
    else {
      say(problem.message);
      if (!byId("projection-facts").firstChild) empty("Not available.");
    }
  }
}

function empty(text) {
  byId("generations").replaceChildren(sentenceRow(4, text));
  byId("parked").replaceChildren(sentenceRow(3, text));
}

function showFacts({ name, version, generation, log_position: position, sequence, lag, state, message }) {
  const facts = {
    Name: `${name}, version ${version}`,
    "Served generation": generation ?? "none",
    Position: position ? element("span", { class: "position" }, ...showPosition(bare(position))) : "none",
    "As of number": sequence ?? "none",
    "Entries behind": lag ?? "unknown: the log is away",
    State: state,
  };
  byId("projection-facts").replaceChildren(
    ...Object.entries(facts).flatMap(([what, value]) => [element("dt", {}, what), element("dd", {}, value)]),
  );
  byId("projection-message").textContent = message;
}

function showGenerations(generations) {
  const previous = generations.find(({ state }) => state === "previous");
  allow("rollback", Boolean(previous), "generations-title");
  byId("rollback").textContent = previous ? `Roll back to generation ${previous.generation}` : "Roll back";
  const before = generationRows;
  const makeRow = ({ version, generation, state, sequence }) => {
    const action = element("td", { class: "words" });
    if (state === "kept") // to the one before it is rolled back, below
      action.append(element("button", { type: "button", onclick: () => serve(generation) }, `Serve ${generation}`));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, `${generation} `, element("span", { class: "hint" }, `v${version}`)),
      element("td", {}, state),
      element("td", { class: "number" }, `${sequence}`),
      action,
    );
  };
  const said = generations.map((each) => [JSON.stringify(each), each]);
  generationRows = new Map(said.map(([all, each]) => [all, before.get(all) ?? makeRow(each)]));
  const wasIn = byId("generations").contains(document.activeElement);
  showRows(byId("generations"), [...generationRows.values()]);
  if (wasIn) goOnFrom("generations-title");
}

function showParked(parked, more, unacknowledged) {
  offer("acknowledge", Boolean(unacknowledged), "parked-title");
  const before = parkedRows;
  parkedRows = new Map();
  for (const entry of parked) {
    const said = JSON.stringify(entry);
    parkedRows.set(said, before.get(said) ?? makeParkedRows(entry));
  }
  const rows = [...parkedRows.values()].flat();
  if (more) rows.push(sentenceRow(3, "There are more: `accounts parked list` has all."));
  showRows(byId("parked"), rows.length ? rows : [sentenceRow(3, "Nothing is parked.")]);
}

function makeParkedRows({ position, event_type: type, reason, acknowledged_at: acknowledgedAt }) {
  const seen = acknowledgedAt ? element("span", { class: "hint" }, " (acknowledged)") : "";
  const cells = [element("td", {}, type || "(no type)"), element("td", {}, reason, seen)];
  return entryRows(position, cells, logPath(position));
}

async function serve(generation) {
  const sure = await confirm(
    `Serve generation ${generation}?`,
    "It is caught up with the log first, then every read is answered from it. Rolling back returns to what is served now.",
    `Serve ${generation}`,
    "generations-title",
  );
  if (sure) await act(() => session.ask("/projection/switch", { method: "POST", body: { generation } }), served);
}

async function rollBack() {
  const sure = await confirm(
    "Roll back?",
    "The generation that was served before is caught up with the log, then served again. To roll back twice is back again.",
    "Roll back",
    "generations-title",
  );
  if (sure) await act(() => session.ask("/projection/rollback", { method: "POST" }), served);
}

async function acknowledge() {
  const sure = await confirm(
    "Acknowledge what is parked?",
    "All that is parked now is marked as seen. What is served does not change.",
    "Acknowledge",
    "parked-title",
  );
  const acknowledged = ({ acknowledged: count }) => `${count} parked ${count === 1 ? "entry is" : "entries are"} acknowledged.`;
  if (sure) await act(() => session.ask("/projection/parked/acknowledge", { method: "POST" }), acknowledged);
}

const served = ({ generation }) => `Generation ${generation} is served.`;

async function act(ask, describe) {
  try {
    const { content } = await ask();
    await read();
    announce(describe(content));
  } catch (problem) {
    say(problem.message);
  }
}

function say(text) {
  if (byId("projection-problem").textContent !== text) byId("projection-problem").textContent = text;
}
