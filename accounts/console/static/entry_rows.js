// Rows of entries, each of which opens to its JSON and to the command that shows it in redis-cli.
import { announce, element, meta } from "./elements.js";

// The row, and the one below it that is shown while it is open. `opened` is asked for { json, command } then.
export function entryRows(position, cells, opened) {
  const row = element("tr", {});
  const below = element("tr", { class: "opened", hidden: true });
  const button = element("button", { type: "button", class: "link position", "aria-expanded": "false" }, position);
  button.addEventListener("click", () => {
    below.hidden = !below.hidden;
    button.setAttribute("aria-expanded", String(!below.hidden));
    if (!below.firstChild) below.append(element("td", { colspan: cells.length + 1 }, ...showOpened(opened())));
  });
  row.append(element("th", { scope: "row" }, button), ...cells);
  return [row, below];
}

export function redisCli(position) {
  return `redis-cli XRANGE ${meta("stream")} ${position} ${position}`;
}

function showOpened({ json, command }) {
  const copy = element("button", { type: "button" }, "Copy the command");
  copy.hidden = !navigator.clipboard;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    announce("The command is copied.");
  });
  return [element("pre", {}, JSON.stringify(json, null, 2)), element("p", {}, element("code", {}, command), " ", copy)];
}
