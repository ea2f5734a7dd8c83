// One job: what it is, why it waits, its attempts, its log, and its picture.

import { get, post } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, element, fill, row, setText } from "./dom.js";
import { between, moment } from "./times.js";

let shown; // the number of the job that is shown

/** Let the address (#job/7) and the buttons work. `attempt` runs an action and shows what goes wrong. */
export function connectJob(attempt) {
  const follow = () => attempt(async () => {
    await open(location.hash.match(/^#job\/([0-9]+)$/)?.[1]);
    if (shown) byId("job-title").focus();
  });
  addEventListener("hashchange", follow);
  if (location.hash) follow();
  byId("job-retry").addEventListener("click", () => attempt(() => post(`thumbnail-jobs/${shown}/retry`, {})));
  byId("job-cancel").addEventListener("click", async () => {
    const answer = await confirmed({
      title: `Cancel job ${shown}?`,
      text: "It ends as Cancelled. A worker that renders it is told to stop.",
      yes: "Cancel the job",
    });
    if (answer !== undefined) attempt(() => post(`thumbnail-jobs/${shown}/cancel`, {}));
  });
}

/** Load the job again that is shown. */
export const refreshJob = () => (shown ? open(shown) : undefined);

async function open(id) {
  const isShownAgain = shown === id;
  shown = id;
  byId("job").hidden = !id;
  if (!id) return;
  const [why, { attempts }, { events }] = await Promise.all(
    ["why", "attempts", "events"].map((part) => get(`thumbnail-jobs/${id}/${part}`)),
  ).catch((error) => {
    if (isShownAgain && error.status !== 404) throw error; // what was loaded stays while the server is away
    byId("job").hidden = true;
    shown = undefined;
    throw error;
  });
  if (shown !== id) return;
  const { job, sentence } = why;
  setText(byId("job-title"), `Job ${id}`);
  setText(byId("job-why"), sentence);
  byId("job-retry").disabled = job.status === "Processing";
  byId("job-cancel").disabled = !["Pending", "Processing"].includes(job.status);
  showFields(job);
  showPicture(job);
  fill(byId("attempts"), attempts.map(attemptRow), byId("no-attempts"));
  byId("events").replaceChildren(...events.map(line));
  byId("no-events").hidden = events.length > 0;
}

function showFields(job) {
  const fields = {
    Status: job.status,
    Model: String(job.modelId),
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
  byId("job-fields").replaceChildren(
    ...pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

/** Show what the model shows: the job's own picture, or a newer one. */
function showPicture({ modelId, status, finishedAt }) {
  const picture = byId("job-picture");
  const link = byId("job-link");
  const address = `/models/${modelId}/thumbnail/file?v=${encodeURIComponent(finishedAt ?? "")}`;
  link.hidden = true;
  if (status !== "Completed") return;
  picture.onload = () => (link.hidden = false);
  picture.alt = `Thumbnail of model ${modelId}`;
  picture.src = address;
  link.href = address;
}

function attemptRow({ attempt, outcome, workerId, claimedAt, endedAt, errorMessage }) {
  const word = element("span", { class: "status", "data-status": outcome }, outcome);
  return row(String(attempt), word, workerId || "–", moment(claimedAt), between(claimedAt, endedAt), errorMessage || "");
}

function line({ createdAt, eventType, message, errorMessage }) {
  return element("li", {}, [moment(createdAt), eventType, message, errorMessage].filter(Boolean).join(" · "));
}
