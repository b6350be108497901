// One request, its answer as JSON, and what can go wrong with it.
import { parseJson } from "./money.js";

// An answer that is a problem (RFC 9457): `name` is the last part of its type.
export class Problem extends Error {
  constructor(status, { type = "", title = `Status ${status}`, detail = "" }, headers) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
    this.name = type.split("/").pop();
    this.headers = headers;
  }
}

// No answer came.
export class Unreachable extends Error {}

export async function send(url, { body, headers = {}, ...rest } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(url, { ...rest, headers: sent, body: body && JSON.stringify(body) });
    text = await response.text();
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Unreachable(`${new URL(url, location).origin} does not answer.`);
  }
  const content = text && response.headers.get("Content-Type")?.includes("json") ? parseJson(text) : {};
  if (!response.ok) throw new Problem(response.status, content, response.headers);
  return { status: response.status, content, text, headers: response.headers };
}

// The path that `Link: </accounts?after=7>; rel="next"` names; null at the end of a list.
export function nextPage(headers) {
  return /<([^>]+)>;\s*rel="?next"?/.exec(headers.get("Link") ?? "")?.[1] ?? null;
}
