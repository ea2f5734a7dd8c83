// The gateway's JSON routes, as the console uses them.

import { noteTime } from "../shared/clock.js";

const longest = 45_000; // milliseconds, more than the gateway waits for its server

export const get = (path) => send(path, { cache: "no-store" });

export const remove = (path) => send(path, { method: "DELETE" });

export function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return send(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function send(path, request) {
  const [response, text] = await answer(path, request);
  if (response.ok) return text ? JSON.parse(text) : {};
  const error = new Error(sentence(response, text));
  error.status = response.status;
  throw error;
}

async function answer(path, request) {
  try {
    const response = await fetch(`/api/${path}`, { ...request, signal: AbortSignal.timeout(longest) });
    noteTime(response); // before the text, which may take seconds to come
    return [response, await response.text()];
  } catch {
    throw new Error("The gateway does not answer.");
  }
}

function sentence({ status, headers }, text) {
  const page = headers.get("Content-Type")?.startsWith("text/html"); // of a proxy
  try {
    return JSON.parse(text).message || text;
  } catch {
    return (!page && text) || `The gateway answered ${status}.`;
  }
}
