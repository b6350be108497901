// Whether the numbers on the page can be trusted now, and if not, why: the chip at the top and the banner.
import { byId, element } from "./elements.js";
import { live } from "./live.js";
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
    "The log (Redis) is away.",
    "What you see is what was applied last. Nothing can be written until the log is back.",
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

let projection = "following";
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

// Signed out: nothing on the page is anybody's.
export function forgetFreshness() {
  note("following", "");
}

function note(state, at) {
  [projection, position] = [state, at];
  show();
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
  const reason = live.state === "replaced" || /verdict=(replaced|rewound)/.test(projection) ? OTHER_LOG : REASONS[projection.split(";")[0]];
  const banner = byId("banner");
  const said = live.state === "off" || !reason ? "" : `${live.state === "replaced"} ${projection}`;
  if (banner.dataset.said === said) return; // or it would be read out again
  banner.dataset.said = said;
  banner.replaceChildren();
  if (!said) return;
  const [look, what, meaning] = reason;
  const asOf = position ? `As of ${bare(position)}. ` : "";
  banner.append(
    element(
      "div",
      { class: `banner ${look}` },
      element("p", {}, element("strong", {}, what), ` ${meaning}`),
      element("p", {}, asOf, element("a", { href: "/health/ready" }, "The service's health"), " says more."),
      ...(live.state === "replaced"
        ? [element("p", {}, element("button", { type: "button", onclick: () => readAgain() }, "Read what is there now"))]
        : []),
    ),
  );
}

function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
