// Joins the parts of the console: signed in or not, and what begins and ends with that.
import { accounts } from "./accounts.js";
import { byId, sentenceRow } from "./elements.js";
import { startFreshness } from "./freshness.js";
import { startInvoice } from "./invoice.js";
import { reopenLedger, startLedger } from "./ledger.js";
import { live } from "./live.js";
import { openProjection, startProjection } from "./projection.js";
import { session, takeCookieBack } from "./session.js";
import { openStream, startStream } from "./stream.js";

const RETRY_MS = 3000;

let turns = 0; // only the last of the reads that were begun goes on

// In place of what the service put on the page for browsers without scripts.
function takeOver() {
  const rendered = byId("rendered");
  if (rendered) {
    rendered.remove();
    takeCookieBack();
  }
  render();
  if (session.user) return;
  if (session.farewell !== null) {
    byId("sign-in-problem").textContent = session.farewell;
    byId("sign-in-form").elements.username.focus();
  } else if (rendered) byId("sign-in-problem").textContent = "Sign in once more: this page runs with JavaScript now.";
}

function render() {
  const user = session.user;
  byId("sign-in").hidden = Boolean(user);
  byId("console").hidden = !user;
  byId("who").hidden = !user;
  byId("username").textContent = user ? `${user.name}${user.isAdmin ? " (admin)" : ""}` : "";
  if (!user) return;
  accounts.forget();
  if (user.isAdmin) {
    openStream();
    openProjection();
  }
  readAgain();
}

// Reads the accounts, until that succeeds, and follows what happens to them from there.
async function readAgain() {
  const turn = ++turns;
  while (session.user && turn === turns) {
    try {
      const position = await accounts.load();
      if (turn === turns) live.start(position);
      reopenLedger();
      return;
    } catch (problem) {
      if (!session.user) return;
      byId("accounts").replaceChildren(sentenceRow(4, `${problem.message} Trying again…`));
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function startSignIn() {
  const form = byId("sign-in-form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { username, password } = form.elements;
    const button = form.querySelector("button");
    byId("sign-in-problem").textContent = "";
    button.disabled = true;
    try {
      await session.signIn(username.value, password.value);
      form.reset();
      byId("content").focus();
    } catch (problem) {
      byId("sign-in-problem").textContent = problem.status === 401 ? "Username or password is wrong." : problem.message;
      password.select();
    } finally {
      button.disabled = false;
    }
  });
  byId("who").addEventListener("submit", (event) => {
    event.preventDefault();
    session.signOut();
  });
}

startSignIn();
startFreshness(() => {
  byId("content").focus(); // what was pressed goes away
  accounts.forget();
  readAgain();
});
startLedger();
startInvoice();
startStream();
startProjection();
accounts.start();
session.addEventListener("change", render);
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
takeOver();
