// Jobs that failed for good, gathered by reason.

import { count, number } from "../shared/format.js";
import { get, post } from "./api.js";
import { confirmed } from "./confirm.js";
import { button, byId, fill, link, row, setText } from "./dom.js";
import { ago } from "./times.js";

const looked = 500; // the newest failed jobs
let reasons = new Map(); // reason → how many jobs, when the last one ended, and its number
let hasOlder = false; // failed jobs, which are not counted

/** Show the reasons. `attempt` runs what a button does, and shows what goes wrong. */
export async function refreshFailures(attempt) {
  const { jobs, nextPageToken } = await firstPage();
  reasons = new Map();
  for (const { errorMessage = "", finishedAt, id } of jobs) {
    const known = reasons.get(errorMessage);
    if (known) known.jobs += 1;
    else reasons.set(errorMessage, { jobs: 1, last: finishedAt, id });
  }
  const most = [...reasons].sort(([, one], [, other]) => other.jobs - one.jobs);
  fill(byId("failures"), most.map(([reason, found]) => rowOf(reason, found, attempt)), byId("no-failures"));
  hasOlder = Boolean(nextPageToken);
  const limit = byId("failures-limit");
  limit.hidden = !hasOlder;
  setText(limit, `Of the failed jobs, the newest ${number(jobs.length)} are counted here. There may be older ones.`);
}

/** Return the first page with jobs, or the last one: behind many cancelled jobs, pages before it may be empty. */
async function firstPage() {
  let page = { nextPageToken: "" };
  do {
    page = await get(`admin/dead-letters?pageSize=${looked}&pageToken=${page.nextPageToken}`);
  } while (page.jobs.length === 0 && page.nextPageToken);
  return page;
}

function rowOf(reason, { jobs, last, id }, attempt) {
  const example = link(reason || "no reason was given", `#job/${id}`);
  example.dataset.key = `job of ${reason}`; // its newest job changes, and the focus stays
  const retry = button("Retry", reason, () => redrive(reason, attempt));
  retry.setAttribute("aria-label", `Retry the jobs that failed with: ${reason}`);
  retry.disabled = !reason;
  return row(example, number(jobs), ago(last), retry);
}

async function redrive(reason, attempt) {
  const answer = await confirmed({
    title: `Retry ${count(containing(reason), "job")}${hasOlder ? " or more" : ""}?`,
    text: `All jobs whose last error contains "${reason}" start again with all their attempts.`,
    yes: "Retry",
  });
  if (answer === undefined) return;
  attempt(async () => {
    let pageToken = "";
    do {
      ({ nextPageToken: pageToken } = await post("admin/dead-letters/redrive", { reason, pageToken }));
    } while (pageToken);
  });
}

/** Return how many of the jobs that are counted start again: a reason may be a part of others. */
function containing(reason) {
  const part = reason.toLowerCase();
  return [...reasons].reduce((sum, [whole, { jobs }]) => sum + (whole.toLowerCase().includes(part) ? jobs : 0), 0);
}
