// The projection that revenue is read from, for admins: how far it is, its generations, what it parked.
import { confirm } from "./confirm.js";
import { announce, byId, element, sentenceRow } from "./elements.js";
import { entryRows, redisCli } from "./entry_rows.js";
import { nextPage, Problem } from "./http.js";
import { live } from "./live.js";
import { bare } from "./position.js";
import { startRebuild, watchRebuild } from "./rebuild.js";
import { seldom } from "./seldom.js";
import { session } from "./session.js";

let shownParked = ""; // as JSON: rows that are open stay so while nothing changes
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
  shownParked = "";
  byId("generations").replaceChildren(sentenceRow(4, text));
  byId("parked").replaceChildren(sentenceRow(3, text));
}

function showFacts({ name, version, generation, log_position: position, sequence, lag, state, message }) {
  const facts = {
    Name: `${name}, version ${version}`,
    "Served generation": generation ?? "none",
    Position: position ? bare(position) : "none",
    "As of number": sequence ?? "none",
    "Entries behind": lag ?? "unknown: the log is away",
    State: state,
  };
  byId("projection-facts").replaceChildren(
    ...Object.entries(facts).flatMap(([what, value]) => [element("dt", {}, what), element("dd", {}, `${value}`)]),
  );
  byId("projection-message").textContent = message;
}

function showGenerations(generations) {
  byId("rollback").disabled = !generations.some(({ state }) => state === "previous");
  const rows = generations.map(({ version, generation, state, sequence }) => {
    const action = element("td", {}, "");
    if (state === "kept" || state === "previous")
      action.append(element("button", { type: "button", onclick: () => serve(generation) }, `Serve ${generation}`));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, `${generation} `, element("span", { class: "hint" }, `v${version}`)),
      element("td", {}, state),
      element("td", { class: "number" }, `${sequence}`),
      action,
    );
  });
  const focused = byId("generations").contains(document.activeElement) && document.activeElement.textContent;
  byId("generations").replaceChildren(...rows);
  for (const button of byId("generations").querySelectorAll("button"))
    if (button.textContent === focused) button.focus();
}

function showParked(parked, more, unacknowledged) {
  byId("acknowledge").hidden = !unacknowledged;
  const now = JSON.stringify(parked);
  if (shownParked === now) return;
  shownParked = now;
  const rows = parked.flatMap((entry) =>
    entryRows(
      entry.position,
      [
        element("td", {}, entry.event_type || "(no type)"),
        element("td", {}, entry.reason, entry.acknowledged_at ? element("span", { class: "hint" }, " (acknowledged)") : ""),
      ],
      () => ({ json: entry, command: redisCli(entry.position) }),
    ),
  );
  if (more) rows.push(sentenceRow(3, "There are more: `accounts parked list` has all."));
  byId("parked").replaceChildren(...(rows.length ? rows : [sentenceRow(3, "Nothing is parked.")]));
}

async function serve(generation) {
  const sure = await confirm(
    `Serve generation ${generation}?`,
    "It is caught up with the log first, then every read is answered from it. Rolling back returns to what is served now.",
    `Serve ${generation}`,
  );
  if (sure) await act(() => session.ask("/projection/switch", { method: "POST", body: { generation } }), served);
}

async function rollBack() {
  const sure = await confirm(
    "Roll back?",
    "The generation that was served before is caught up with the log, then served again. To roll back twice is back again.",
    "Roll back",
  );
  if (sure) await act(() => session.ask("/projection/rollback", { method: "POST" }), served);
}

async function acknowledge() {
  const sure = await confirm(
    "Acknowledge what is parked?",
    "All that is parked now is marked as seen. What is served does not change.",
    "Acknowledge",
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
