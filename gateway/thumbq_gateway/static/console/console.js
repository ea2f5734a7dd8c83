// The operator's console. The event stream says when the queue has changed; the JSON routes say what.

import { watchQueue } from "../thumbq/index.js";
import { byId, setText } from "./dom.js";
import { refreshFailures } from "./failures.js";
import { connectJob, refreshJob } from "./job.js";
import { connectJobs } from "./jobs.js";
import { connectQueue, refreshQueue, showSnapshot } from "./queue.js";
import { connectSignOut, signedIn } from "./sign_in.js";
import { refreshWorkers } from "./workers.js";

const soon = 1_000; // milliseconds after a change, so that a burst of changes costs one look
const often = 10_000; // milliseconds between looks without any change
// While jobs move, the pause after a look is so many times as long as the look took: watching stays cheap.
const restFactor = 100;
const longestRest = 5_000; // milliseconds
const connections = { connecting: "Connecting", live: "Live", away: "Server away", reconnecting: "Reconnecting" };

const trouble = byId("trouble");
const complaint = byId("complaint");
let isOfLook = false; // what is complained of, so that it is over when a look succeeds
let timer = 0;
let dueAt = Infinity;
let restsUntil = 0; // a change is looked at after this
let isLooking = false;
let attempts = 0;
let hasNews = false; // came while the console was looking

/** Do something, show what goes wrong, and look at the result. */
async function attempt(action) {
  const mine = ++attempts;
  try {
    await action();
    if (mine === attempts) complaint.hidden = true; // what a later one complains of stays
  } catch (error) {
    complain(error);
  }
  lookIn(0);
}

function complain(error, ofLook = false) {
  setText(trouble, error.message);
  complaint.hidden = false;
  isOfLook = ofLook;
}

function lookIn(milliseconds) {
  const at = performance.now() + milliseconds;
  if (at >= dueAt) return;
  dueAt = at;
  clearTimeout(timer);
  timer = setTimeout(look, milliseconds);
}

async function look() {
  dueAt = Infinity;
  hasNews = isLooking;
  if (document.hidden || isLooking) return;
  isLooking = true;
  const began = performance.now();
  restsUntil = began + longestRest;
  const parts = [refreshQueue(), refreshWorkers(), refreshFailures(attempt), refreshJob()];
  const results = await Promise.allSettled(parts);
  isLooking = false;
  const ended = performance.now();
  restsUntil = ended + Math.min(longestRest, restFactor * (ended - began));
  // Without a server there is nothing to say beyond the state of the connection.
  const refused = results.find(({ reason }) => reason?.status >= 400 && reason.status < 500);
  if (refused?.reason.status === 401) location.reload(); // the key has ended
  else if (refused) complain(refused.reason, refused.reason.status !== 404); // a job that is gone stays so
  else if (isOfLook && results.every(({ status }) => status === "fulfilled")) complaint.hidden = true;
  lookIn(hasNews ? soon : often);
}

connectSignOut(attempt);
await signedIn();
connectQueue(attempt);
connectJobs(attempt);
connectJob(attempt);
byId("dismiss").addEventListener("click", () => (complaint.hidden = true));
document.addEventListener("visibilitychange", () => lookIn(0));
const subscription = watchQueue({
  onQueue(snapshot) {
    showSnapshot(snapshot);
    lookIn(Math.max(soon, restsUntil - performance.now()));
  },
  onConnection(state) {
    document.documentElement.dataset.connection = state;
    setText(byId("connection"), connections[state]);
    if (state === "live") lookIn(0);
  },
});
// Refused for good: when the key has ended, the next look finds that out, too.
subscription.closed.catch((error) => {
  complain(error);
  lookIn(0);
});
lookIn(0);
