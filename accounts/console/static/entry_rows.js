// Rows of entries, each of which opens to its JSON and to the command that shows it in redis-cli.
import { announce, element, meta } from "./elements.js";
import { indent, onlyItem, without } from "./raw_json.js";
import { session } from "./session.js";

// The row, and the one below it that is shown while it is open. `path` answers a list of this entry alone.
export function entryRows(position, cells, path) {
  const row = element("tr", {});
  const place = element("td", { colspan: cells.length + 1, "aria-live": "polite" });
  const below = element("tr", { class: "opened", hidden: true }, place);
  const button = element("button", { type: "button", class: "link position", "aria-expanded": "false" }, ...showPosition(position));
  button.addEventListener("click", () => {
    below.hidden = !below.hidden;
    button.setAttribute("aria-expanded", String(!below.hidden));
    if (!below.hidden) open(place, position, path);
  });
  row.append(element("th", { scope: "row" }, button), ...cells);
  return [row, below];
}

// What is there already stays as it is, with the focus and what was opened in it.
export function showRows(body, wanted) {
  let at = body.firstChild;
  for (const row of wanted) {
    if (row === at) at = at.nextSibling;
    else body.insertBefore(row, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// Of the entry at a position, whatever wrote it; for admins.
export function logPath(position) {
  const [ms, number] = position.split("-");
  return `/log/entries?before=${ms}-${BigInt(number) + 1n}&limit=1`;
}

// May go on in the next line behind the dash.
export function showPosition(position) {
  const [ms, number] = position.split("-");
  return [`${ms}-`, element("wbr"), number];
}

async function open(place, position, path) {
  if (place.firstChild) return;
  place.append(element("p", { class: "empty" }, "Loading the entry…"));
  try {
    const { text, content } = await session.ask(path);
    if (content[0]?.position !== position) throw new Error("This entry is not there any more.");
    const command = content[0].redis_cli ?? `${meta("look-into-log")} ${position} ${position}`;
    place.replaceChildren(...showOpened(without("redis_cli", indent(onlyItem(text))), command));
  } catch (problem) {
    const again = () => (place.replaceChildren(), open(place, position, path));
    const button = element("button", { type: "button", onclick: again }, "Try again");
    place.replaceChildren(element("p", { class: "problem" }, problem.message), button);
  }
}

function showOpened(json, command) {
  const copy = element("button", { type: "button" }, "Copy the command");
  copy.hidden = !navigator.clipboard;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    announce("The command is copied.");
  });
  return [element("pre", {}, json), element("p", {}, element("code", {}, command), " ", copy)];
}
