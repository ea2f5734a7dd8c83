// Jobs that are looked for, newest first.

import { count } from "../shared/format.js";
import { get } from "./api.js";
import { byId, element, fill, row } from "./dom.js";
import { moment } from "./times.js";

const pageSize = 50;
let rows = [];
let nextPage = "";

/** Let the form work. `attempt` runs a search and shows what goes wrong. */
export function connectJobs(attempt) {
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => find(byId("number").value.trim(), byId("status").value));
  });
  byId("more").addEventListener("click", () => attempt(() => load(byId("number").value.trim(), byId("status").value)));
}

async function find(text, status) {
  if (text && !/^[0-9]+$/.test(text)) throw new Error(`"${text}" is no number of a model or a job.`);
  rows = [];
  nextPage = "";
  await load(text, status);
}

async function load(text, status) {
  const query = new URLSearchParams({ pageSize });
  if (text) query.set("modelId", text);
  if (status) query.set("status", status);
  if (nextPage) query.set("pageToken", nextPage);
  const page = await get(`thumbnail-jobs?${query}`);
  const found = rows.length === 0 && text ? await jobOf(text, status) : [];
  rows.push(...[...found, ...page.jobs].map(rowOf));
  nextPage = page.nextPageToken;
  fill(byId("jobs"), rows);
  byId("found").textContent = rows.length ? count(rows.length, "job") + (nextPage ? ", and older ones" : "") : "No job was found.";
  byId("more").hidden = !nextPage;
}

/** Return the job of that number, if there is one: the number may name a model or a job. */
async function jobOf(text, status) {
  try {
    const job = await get(`thumbnail-jobs/${text}`);
    return status && job.status !== status ? [] : [job];
  } catch (error) {
    if (error.status === 404) return [];
    throw error;
  }
}

function rowOf({ id, modelId, status, attemptCount, maxAttempts, updatedAt, errorMessage = "" }) {
  const link = element("a", { href: `#job/${id}` }, String(id));
  const word = element("span", { class: "status", "data-status": status }, status);
  return row(link, String(modelId), word, `${attemptCount} of ${maxAttempts}`, moment(updatedAt), errorMessage);
}
