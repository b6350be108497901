// Asks before something is done.
import { byId } from "./elements.js";

// Whether the person said yes.
export function confirm(title, text, yes) {
  const dialog = byId("confirmation");
  byId("confirmation-title").textContent = title;
  byId("confirmation-text").textContent = text;
  byId("confirmation-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
