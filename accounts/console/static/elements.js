// Makes elements: element("td", { class: "number" }, "12"). What begins with "on" listens.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

export const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;

// One row that says a sentence, in place of a table's rows.
export function sentenceRow(columns, text) {
  return element("tr", {}, element("td", { colspan: columns, class: "empty" }, text));
}

// Shows a button, or hides it: who was on it goes on from another element then.
export function offer(id, isOffered, goOn) {
  const button = byId(id);
  if (!isOffered && button === document.activeElement) byId(goOn).focus();
  button.hidden = !isOffered;
}

// Lets a button be pressed, or not: who was on it goes on from another element then.
export function allow(id, isAllowed, goOn) {
  const button = byId(id);
  if (!isAllowed && button === document.activeElement) byId(goOn).focus();
  button.disabled = !isAllowed;
}

// Where what one was on has gone away, one goes on from another element.
export function goOnFrom(id) {
  const at = document.activeElement;
  if (at === document.body || !at.checkVisibility()) byId(id).focus(); // hidden: of a dialog that was just closed
}

// Shows an element's change to who looks at it.
export function flash(changed) {
  changed.classList.remove("changed");
  void changed.offsetWidth; // or the animation would not begin again
  changed.classList.add("changed");
}

// Says it to who listens to the page instead of looking at it.
export function announce(text) {
  byId("announcement").textContent = text;
}
