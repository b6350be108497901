// Whole cents, exactly: as 64 bits have them, which numbers of JavaScript do not.

const WHOLE = new Intl.NumberFormat("en");

// JSON in which cents beyond what a number holds are text.
export function parseJson(text) {
  return JSON.parse(text.replace(/"(\w+_cents)":\s*(-?\d{16,})(?=[,}\]\s])/g, '"$1":"$2"'));
}

// 123450 as 1,234.50.
export function showCents(cents) {
  const exact = BigInt(cents);
  const size = exact < 0n ? -exact : exact;
  return `${exact < 0n ? "-" : ""}${WHOLE.format(size / 100n)}.${String(size % 100n).padStart(2, "0")}`;
}

// "1234.5" as 123450; null for what is no amount.
export function readCents(text) {
  const found = /^(\d{1,10})(?:\.(\d{1,2}))?$/.exec(text.trim());
  return found && Number(found[1] + (found[2] ?? "").padEnd(2, "0"));
}
