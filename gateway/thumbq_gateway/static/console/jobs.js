// Jobs that are looked for, newest first.

import { count } from "../shared/format.js";
import { get } from "./api.js";
import { byId, element, fill, link, row } from "./dom.js";
import { moment } from "./times.js";

const pageSize = 50;
let search = { text: "", status: "" }; // what was looked for, whatever the form says by now
let shown = new Map(); // number of a job → the job
let nextPage = "";

/** Let the form work. `attempt` runs a search and shows what goes wrong. */
export function connectJobs(attempt) {
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => find({ text: byId("number").value.trim(), status: byId("status").value }));
  });
  byId("more").addEventListener("click", () => attempt(load));
}

async function find(wanted) {
  if (wanted.text && !/^0*[1-9][0-9]*$/.test(wanted.text)) {
    throw new Error(`"${wanted.text}" is no number of a model or a job.`);
  }
  search = wanted;
  shown = new Map();
  nextPage = "";
  await load();
}

async function load() {
  const wanted = search;
  const { text, status } = wanted;
  const query = new URLSearchParams({ pageSize });
  if (text) query.set("modelId", text);
  if (status) query.set("status", status);
  if (nextPage) query.set("pageToken", nextPage);
  const page = await get(`thumbnail-jobs?${query}`);
  const found = shown.size === 0 && text ? await jobOf(text, status) : [];
  if (wanted !== search) return; // another search has begun meanwhile
  for (const job of [...found, ...page.jobs]) if (!shown.has(job.id)) shown.set(job.id, job);
  nextPage = page.nextPageToken;
  fill(byId("jobs"), [...shown.values()].map(rowOf));
  byId("found").textContent = shown.size ? count(shown.size, "job") + (nextPage ? ", and older ones" : "") : "No job was found.";
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
  const word = element("span", { class: "status", "data-status": status }, status);
  const attempts = `${attemptCount} of ${maxAttempts}`;
  const error = element("span", {}, errorMessage);
  return row(link(String(id), `#job/${id}`), String(modelId), word, attempts, moment(updatedAt), error);
}
