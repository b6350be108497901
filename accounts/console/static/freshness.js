// Whether the numbers on the page can be trusted now, and if not, why: the chip at the top and the banner.
import { byId, element } from "./elements.js";
import { live } from "./live.js";
import { showTime } from "./moments.js";
import { bare } from "./position.js";

const CHIPS = {
  connecting: ["Connecting", "warn"],
  live: ["Live", "good"],
  waiting: ["Not connected: trying again", "warn"],
  paused: ["Paused while hidden", "warn"],
  replaced: ["Stopped: another log", "warn"],
};

const REASONS = {
  "catching-up": ["warn", "The service is catching up with the log.", "Totals are incomplete until it has."],
  retrying: [
    "warn",
    "The log (Redis) does not answer.",
    "What you see is what was applied last. Nothing can be written until it answers; the service waits for it, and the page goes on by itself.",
  ],
  halted: ["bad", "The service has stopped applying the log.", "It says why, and what mends it, in its health."],
  stopped: ["warn", "The tail is stopped.", "Numbers stand still until somebody starts it."],
  dead: ["warn", "The tail gives no sign of life.", "Numbers stand still until somebody starts it."],
};

const OTHER_LOG = [
  "bad",
  "This log is not the one I was reading.",
  "It was replaced or restored, so what you see cannot be brought up to date from it.",
];

// Why nothing arrives, by what `live` says of it.
const TROUBLES = {
  away: [
    "Accounts does not answer.",
    "What you see was true as of the position below, and does not change by itself until accounts is back.",
  ],
  full: [
    "Too many watch the revenue already.",
    "What you see was true as of the position below, and does not change by itself until there is a place. All else here works.",
  ],
  refused: [
    "Accounts does not tell what changes.",
    "What you see was true as of the position below, and does not change by itself.",
  ],
  paused: [
    "Paused, because this page was hidden.",
    "What you see was true as of the position below. What came since is told as soon as the page is seen.",
  ],
};

const PATIENCE_MS = 3000; // a busy machine is silent for a second, too

let projection = "following";
let silence = null; // while the log does not answer: since when, and whether for long enough to be told
let position = "";
let readAgain = () => {};

// What a read of the projection said of itself.
export function noteRead(headers) {
  note(headers.get("Projection-State") ?? projection, headers.get("Log-Position") ?? position);
}

// What is to be done where the person asks to begin with the log that is there now.
export function startFreshness(onReadAgain) {
  readAgain = onReadAgain;
  live.addEventListener("state", show);
  live.addEventListener("projection", ({ detail }) => note(detail.state, detail.log_position ?? ""));
  live.addEventListener("revenue", ({ detail }) => (position = detail.id));
}

function note(state, at) {
  [projection, position] = [state, at];
  if (!state.startsWith("retrying")) silence = null;
  else if (!silence) noteSilence();
  show();
}

function noteSilence() {
  const begun = { since: Date.now(), isLong: false };
  silence = begun;
  setTimeout(() => ((begun.isLong = true), show()), PATIENCE_MS);
}

function show() {
  const [label, look] = CHIPS[live.state] ?? ["", ""];
  const chip = byId("live");
  chip.hidden = !label;
  const trusted = projection === "following";
  setText(chip, live.state === "live" && !trusted ? "Connected, not up to date" : label);
  chip.className = `chip ${trusted ? look : "warn"}`;
  showBanner();
}

function showBanner() {
  const [said, reason, ...more] = whatIsWrong();
  const banner = byId("banner");
  if (banner.dataset.said !== said) fill(banner, said, reason, more); // or it would be read out again
  if (!said) return;
  const since = silence ? `Since ${showTime(silence.since)}. ` : "";
  setText(byId("as-of"), position ? `${since}As of ${bare(position)}. ` : since);
  if (live.state === "waiting" && live.trouble)
    setText(byId("next-try"), `The page tries again at ${showTime(live.triesAt)}, and goes on, with pauses of 40 seconds at most.`);
}

// A name for it, "" where nothing is; its look, what it is and what that means; what else stands below.
function whatIsWrong() {
  if (live.state === "off") return [""];
  if (live.state === "replaced")
    return ["replaced", OTHER_LOG, element("button", { type: "button", onclick: () => readAgain() }, "Read what is there now")];
  if (live.trouble) {
    const [what, meaning] = TROUBLES[live.trouble];
    const next = element("span", { id: "next-try", "aria-live": "off" });
    return [`${live.trouble} ${live.said}`, ["warn", what, live.trouble === "refused" ? `${meaning} ${live.said}` : meaning], next];
  }
  if (/verdict=(replaced|rewound)/.test(projection)) return [projection, OTHER_LOG];
  if (silence && !silence.isLong) return [""];
  const reason = REASONS[projection.split(";")[0]];
  return reason ? [projection, reason] : [""];
}

function fill(banner, said, reason, more) {
  banner.dataset.said = said;
  banner.replaceChildren();
  if (!said) return;
  const [look, what, meaning] = reason;
  const health = live.trouble === "away" ? [] : [element("a", { href: "/health/ready" }, "The service's health"), " says more."];
  banner.append(
    element(
      "div",
      { class: `banner ${look}` },
      element("p", {}, element("strong", {}, what), ` ${meaning}`),
      element("p", {}, element("span", { id: "as-of", "aria-live": "off" }), ...health),
      ...more.map((each) => element("p", {}, each)),
    ),
  );
}

function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
