// One job: what it is, why it waits, its attempts, its log, and its picture.

import { get, post } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, disable, element, fill, renew, row, setText } from "./dom.js";
import { between, moment } from "./times.js";

let wanted; // the number of the job in the address
let shown; // the number of the job on the page

/** Let the address (#job/7) and the buttons work. `attempt` runs an action and shows what goes wrong. */
export function connectJob(attempt) {
  const title = byId("job-title");
  addEventListener("hashchange", () => attempt(follow));
  if (location.hash) attempt(follow);
  addEventListener("click", ({ target }) => {
    if (shown && target.closest("a")?.hash === `#job/${shown}`) title.focus(); // the address stays, so nothing else happens
  });
  byId("job-retry").addEventListener("click", () => attempt(() => post(`thumbnail-jobs/${shown}/retry`, {})));
  byId("job-cancel").addEventListener("click", async () => {
    const id = shown;
    const answer = await confirmed({
      title: `Cancel job ${id}?`,
      text: "It ends as Cancelled. A worker that renders it is told to stop.",
      yes: "Cancel the job",
    });
    if (answer !== undefined) attempt(() => post(`thumbnail-jobs/${id}/cancel`, {}));
  });
}

/** Show the job that the address names, and lead the reader to it, or back to where it was chosen. */
async function follow() {
  const before = shown;
  wanted = location.hash.match(/^#job\/([0-9]+)$/)?.[1];
  const loaded = refreshJob();
  if (wanted) byId("job-title").scrollIntoView({ block: "nearest" });
  else if (before) document.querySelector(`a[href="#job/${before}"]`)?.focus();
  try {
    await loaded;
  } catch (error) {
    if (error.status < 500) throw error; // otherwise the server is away, and a later look shows the job
  }
  if (shown) byId("job-title").focus();
}

/** Load the job that is wanted, again or for the first time. What was loaded of it stays while the server is away. */
export async function refreshJob() {
  const id = wanted;
  if (!id) return show(undefined);
  if (shown !== id) announce(id);
  const [why, { attempts }, { events }] = await Promise.all(
    ["why", "attempts", "events"].map((part) => get(`thumbnail-jobs/${id}/${part}`)),
  ).catch((error) => {
    if (error.status === 404 && wanted === id) show((wanted = undefined));
    throw error;
  });
  if (wanted !== id) return;
  const { job, sentence } = why;
  setText(byId("job-title"), `Job ${id}`);
  setText(byId("job-why"), sentence);
  disable(byId("job-retry"), job.status === "Processing", byId("job-title"));
  disable(byId("job-cancel"), !["Pending", "Processing"].includes(job.status), byId("job-title"));
  showFields(job);
  showPicture(job);
  fill(byId("attempts"), attempts.map(attemptRow), byId("no-attempts"));
  renew(byId("events"), events.map(line));
  byId("no-events").hidden = events.length > 0;
  show(id);
}

/** Show that a job is being loaded, and nothing of the one before. */
function announce(id) {
  show(undefined);
  setText(byId("job-title"), `Job ${id}`);
  setText(byId("job-why"), "It is being loaded.");
  for (const name of ["job-retry", "job-cancel"]) byId(name).disabled = true;
  for (const name of ["job-link", "no-attempts", "no-events"]) byId(name).hidden = true;
  for (const name of ["job-fields", "events"]) byId(name).replaceChildren();
  byId("job-picture").removeAttribute("src");
  fill(byId("attempts"), []);
  byId("job").hidden = false;
}

function show(id) {
  shown = id;
  byId("job").hidden = !id;
}

function showFields(job) {
  const fields = {
    Status: job.status,
    Model: String(job.modelId),
    Version: job.modelVersionId && String(job.modelVersionId),
    Hash: job.modelHash,
    Kind: job.assetType !== "Model" && job.assetType,
    Options: job.options && JSON.stringify(job.options),
    Priority: String(job.priority),
    Attempts: `${job.attemptCount} of ${job.maxAttempts}`,
    "Asked for": moment(job.createdAt),
    "Due at": job.runAt && moment(job.runAt),
    Worker: job.workerId,
    Progress: job.progressAt && `${Math.floor(job.progress * 100)} % ${job.progressText ?? ""}`,
    "Lease until": job.leaseExpiresAt && moment(job.leaseExpiresAt),
    "Last error": job.errorMessage,
    "Ended at": job.finishedAt && moment(job.finishedAt),
  };
  const pairs = Object.entries(fields).filter(([, value]) => value);
  renew(
    byId("job-fields"),
    pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", { dir: "auto" }, value)]),
  );
}

/** Show what the model shows: the job's own picture, or a newer one. */
function showPicture({ modelId, status, finishedAt }) {
  const picture = byId("job-picture");
  const link = byId("job-link");
  const version = encodeURIComponent(finishedAt ?? "");
  const address = status === "Completed" ? `/models/${modelId}/thumbnail/file?v=${version}` : null;
  if (picture.getAttribute("src") === address) return;
  link.hidden = true;
  picture.removeAttribute("src");
  if (!address) return;
  picture.onload = () => (link.hidden = false);
  picture.onerror = () => picture.removeAttribute("src"); // so that the next look tries again
  picture.alt = `Thumbnail of model ${modelId}`;
  picture.src = address;
  link.href = address;
}

function attemptRow({ attempt, outcome, workerId, claimedAt, endedAt, errorMessage }) {
  const word = element("span", { class: "status", "data-status": outcome }, outcome);
  return row(String(attempt), word, workerId || "–", moment(claimedAt), between(claimedAt, endedAt), errorMessage || "");
}

function line({ createdAt, eventType, message, errorMessage }) {
  const texts = [eventType, message, errorMessage].filter(Boolean);
  return element("li", {}, moment(createdAt), ...texts.flatMap((text) => [" · ", element("bdi", {}, text)]));
}
