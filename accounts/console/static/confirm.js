// Asks before something is done.
import { byId, goOnFrom } from "./elements.js";

// Whether the person said yes. The focus returns to what was pressed, or to `goOn` if that went away meanwhile.
export function confirm(title, text, yes, goOn) {
  const dialog = byId("confirmation");
  byId("confirmation-title").textContent = title;
  byId("confirmation-text").textContent = text;
  byId("confirmation-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => (goOnFrom(goOn), resolve(dialog.returnValue === "yes"));
    dialog.addEventListener("close", closed, { once: true });
  });
}
