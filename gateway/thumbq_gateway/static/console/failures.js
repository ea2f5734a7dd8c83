// Jobs that failed for good, gathered by reason.

import { count, number } from "../shared/format.js";
import { get, post } from "./api.js";
import { confirmed } from "./confirm.js";
import { button, byId, element, fill, row, setText } from "./dom.js";
import { ago } from "./times.js";

const looked = 500; // the newest failed jobs

/** Show the reasons. `attempt` runs what a button does, and shows what goes wrong. */
export async function refreshFailures(attempt) {
  const { jobs, nextPageToken } = await firstPage();
  const reasons = new Map();
  for (const { errorMessage = "", finishedAt, id } of jobs) {
    const known = reasons.get(errorMessage);
    if (known) known.jobs += 1;
    else reasons.set(errorMessage, { jobs: 1, last: finishedAt, id });
  }
  const most = [...reasons].sort(([, one], [, other]) => other.jobs - one.jobs);
  fill(byId("failures"), most.map(([reason, found]) => rowOf(reason, found, attempt)), byId("no-failures"));
  const limit = byId("failures-limit");
  limit.hidden = !nextPageToken;
  setText(limit, `Only the newest ${number(looked)} failed jobs are counted here.`);
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
  const example = element("a", { href: `#job/${id}` }, reason || "no reason was given");
  const retry = button("Retry", reason, () => redrive(reason, jobs, attempt));
  retry.setAttribute("aria-label", `Retry the jobs that failed with: ${reason}`);
  retry.disabled = !reason;
  return row(example, number(jobs), ago(last), retry);
}

async function redrive(reason, jobs, attempt) {
  const answer = await confirmed({
    title: `Retry ${count(jobs, "job")}?`,
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
