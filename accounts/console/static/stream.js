// The stream as it grows, for admins: the newest entries, each opening to its JSON and its command.
import { byId, element, sentenceRow } from "./elements.js";
import { entryRows, logPath } from "./entry_rows.js";
import { Problem } from "./http.js";
import { live } from "./live.js";
import { seldom } from "./seldom.js";
import { session } from "./session.js";

const COLUMNS = 3;
const SHOWN = 50;

let last = null; // the position of the newest that is shown
let state = ""; // of the projection, as told last
let reading = false;
const readSoon = seldom(250, () => session.user?.isAdmin && readOn());

export function startStream() {
  live.addEventListener("revenue", readSoon);
  live.addEventListener("projection", ({ detail }) => {
    const isNew = detail.state !== state;
    state = detail.state;
    if (isNew && state.includes("verdict") && session.user?.isAdmin) openStream(); // the log may be another one
    else readSoon();
  });
}

export async function openStream() {
  last = null;
  byId("stream").hidden = false;
  byId("log-entries").replaceChildren(sentenceRow(COLUMNS, "Loading the stream…"));
  await readOn();
}

async function readOn() {
  if (reading) return readSoon();
  reading = true;
  try {
    const path = last ? `/log/entries?after=${last}&limit=1000` : `/log/entries?newest=true&limit=${SHOWN}`;
    show((await session.ask(path)).content);
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 403) byId("stream").hidden = true;
    else if (!last) byId("log-entries").replaceChildren(sentenceRow(COLUMNS, problem.message));
  } finally {
    reading = false;
  }
}

function show(found) {
  const body = byId("log-entries");
  const newest = found.slice(-SHOWN).reverse();
  if (!last || newest.length === SHOWN) body.replaceChildren();
  if (!newest.length && !last) return body.replaceChildren(sentenceRow(COLUMNS, "The log has no entry yet."));
  body.prepend(...newest.flatMap((entry) => makeRows(entry)));
  last = newest[0]?.position ?? last;
  const rows = [...body.children];
  for (const row of rows.slice(2 * SHOWN)) row.remove();
}

function makeRows({ position, sequence, event_type: type }) {
  const cells = [element("td", { class: "number" }, `${sequence ?? ""}`), element("td", {}, type || "(no type)")];
  return entryRows(position, cells, logPath(position));
}
