// A rebuild beside what is served: begun after a question, watched to its end, compared.
import { confirm } from "./confirm.js";
import { allow, byId, element } from "./elements.js";
import { session } from "./session.js";

const ASKED_EVERY_MS = 500;

let ended;
let serve;
let watching = false;

// `onEnd` is called when one has ended, `onServe` with the generation that the person chose.
export function startRebuild(onEnd, onServe) {
  [ended, serve] = [onEnd, onServe];
  byId("rebuild").addEventListener("click", begin);
}

// Shows the rebuild that runs, or the last one.
export async function watchRebuild() {
  if (watching) return;
  watching = true;
  try {
    for (let wasRunning = false; session.user?.isAdmin; wasRunning = true) {
      const { content } = await session.ask("/projection/rebuild");
      show(content);
      if (content.state !== "running") {
        if (wasRunning) await ended();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, ASKED_EVERY_MS));
    }
  } catch (problem) {
    say(problem.message);
  } finally {
    watching = false;
  }
}

async function begin() {
  const sure = await confirm(
    "Rebuild beside what is served?",
    "A new generation is built from the log and compared, row by row, with the one that is served. Reads go on; nothing is switched.",
    "Rebuild",
    "rebuild-status",
  );
  if (!sure) return;
  try {
    await session.ask("/projection/rebuild", { method: "POST" });
  } catch (problem) {
    say(problem.message);
    return;
  }
  await watchRebuild();
}

function show({ state, progress, result, error }) {
  allow("rebuild", state !== "running", "rebuild-status");
  if (state === "running") showProgress(progress);
  else if (state === "failed") say(`The rebuild failed: ${error}`);
  else if (state === "done") showComparison(result);
  else byId("rebuild-status").replaceChildren();
}

function showProgress(progress) {
  const bar = byId("rebuild-status").querySelector("progress") ?? element("progress", { "aria-label": "Rebuild" });
  if (progress) {
    [bar.max, bar.value] = [progress.of || 1, progress.applied];
    bar.title = `${progress.applied} of ${progress.of} entries`;
  }
  if (!bar.isConnected) byId("rebuild-status").replaceChildren(element("p", {}, "Rebuilding…"), bar);
}

function showComparison({ generation, rows, same, tables }) {
  const differ = tables.map(
    ({ table, added, removed, changed }) => `${table}: ${added} added, ${removed} removed, ${changed} changed`,
  );
  const compared = same ? `no row of ${rows} differs` : same === null ? "there was nothing to compare it with" : `these differ: ${differ.join("; ")}`;
  byId("rebuild-status").replaceChildren(
    element("p", {}, `Generation ${generation} is built: ${compared}.`),
    element("button", { type: "button", onclick: () => serve(generation) }, `Serve generation ${generation}`),
  );
}

const say = (text) => byId("rebuild-status").replaceChildren(element("p", { class: "problem" }, text));
