// JSON as it came: numbers of JavaScript would round those of others.

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

// On lines of their own, each word and number as it stands in the text.
export function indent(text) {
  let deep = 0;
  let shown = "";
  let before = "";
  const newLine = () => `\n${"  ".repeat(deep)}`;
  for (const [token] of text.matchAll(TOKEN)) {
    const opened = before === "{" || before === "[";
    if (token === "}" || token === "]") {
      deep -= 1;
      if (!opened) shown += newLine();
    } else if (opened) shown += newLine();
    shown += token;
    if (token === "{" || token === "[") deep += 1;
    else if (token === ",") shown += newLine();
    else if (token === ":") shown += " ";
    before = token;
  }
  return shown;
}

// Of an indented object, without a member of its own that is text and not its first.
export const without = (name, indented) => indented.replace(new RegExp(`,\\n  "${name}": "(?:[^"\\\\]|\\\\.)*"`), "");

// What is in a list of one.
export const onlyItem = (text) => text.trim().slice(1, -1);
