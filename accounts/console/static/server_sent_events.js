// Reads server-sent events from the body of a fetch: EventSource would send no Authorization.

// Yields { name, id, text }; `onBytes` hears of each piece that arrives, heartbeats too.
export async function* readEvents(body, onBytes) {
  let name = "";
  let id;
  let text = [];
  for await (const line of readLines(body, onBytes)) {
    if (line === "") {
      if (name || text.length) yield { name: name || "message", id, text: text.join("\n") };
      [name, id, text] = ["", undefined, []];
      continue;
    }
    const [, field, value = ""] = /^([^:]*)(?::\x20?(.*))?$/.exec(line);
    if (field === "event") name = value;
    else if (field === "id") id = value;
    else if (field === "data") text.push(value);
  }
}

async function* readLines(body, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/); // a last \r may be half of an end of line
      rest = lines.pop();
      yield* lines;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
