// The queue as a whole: figures, plots, pause.

import { now } from "../shared/clock.js";
import { number } from "../shared/format.js";
import { get, post } from "./api.js";
import { drawDepth, drawThroughput } from "./charts.js";
import { confirmed } from "./confirm.js";
import { byId, disable, setText } from "./dom.js";
import { hasSignedIn } from "./sign_in.js";
import { ago, quantiles, span } from "./times.js";

const kept = 900; // points of the depth; then every second pair goes, so that the whole time stays in sight
const minute = 60_000; // milliseconds
const minutesShown = 15;
const minutesTold = 5; // by each look
const counters = ["pending", "processing", "completed", "failed", "cancelled"];
const depth = [];
const minutes = new Map(); // start of a minute that looks have covered → {at} and how many attempts ended in each way
let lookedIn; // the start of the minute of the last look

/** Show a snapshot of the queue, which comes with each change. */
export function showSnapshot(snapshot) {
  showCounters(snapshot);
  addDepth(snapshot.pending);
}

/** Add a point: the line is level between changes, and reaches the present. */
function addDepth(value) {
  const at = Date.now();
  if (depth.length > 1 && depth.at(-1).value === value && depth.at(-2).value === value) depth.pop();
  else if (depth.length > 0) depth.push({ at, value: depth.at(-1).value });
  depth.push({ at, value });
  if (depth.length > kept) depth.splice(0, depth.length, ...depth.filter((_, index) => index % 4 < 2));
  draw();
}

function draw() {
  const ahead = now() - Date.now(); // of the browser's clock
  if (depth.length > 0) drawDepth(byId("depth"), depth.map(({ at, value }) => ({ at: at + ahead, value })));
  if (lookedIn) drawThroughput(byId("throughput"), lately());
}

export async function refreshQueue() {
  const stats = await get("admin/stats");
  showCounters(stats);
  figure("oldest", span(stats.oldestPendingAge));
  figure("wait", quantiles(stats.waitTime));
  figure("took", quantiles(stats.processingTime));
  showPause(stats.pause);
  setText(byId("version"), stats.serverVersion ? `thumbq ${stats.serverVersion}` : "");
  noteMinutes(stats.minutes);
  addDepth(stats.pending);
}

/** Note what a look tells: the last minutes, without those in which no attempt ended. */
function noteMinutes(told) {
  const present = Math.floor(now() / minute) * minute;
  const first = present - (minutesTold - 1) * minute;
  if (lookedIn < first) minutes.delete(lookedIn); // it was not over then, and nobody has looked since
  lookedIn = present;
  for (let at = first; at <= present; at += minute) if (!minutes.has(at)) minutes.set(at, { at });
  for (const { minute: start, ...ended } of told) minutes.set(Date.parse(start), { at: Date.parse(start), ...ended });
}

function showCounters(values) {
  for (const name of counters) figure(name, number(values[name]));
}

function figure(name, text) {
  setText(document.querySelector(`[data-figure="${name}"]`), text);
}

/** Return the minutes up to the last look, oldest first. */
function lately() {
  return Array.from({ length: minutesShown }, (_, index) => {
    const at = lookedIn - (minutesShown - 1 - index) * minute;
    return minutes.get(at) ?? { at, isUnknown: true };
  });
}

function showPause(pause) {
  const notice = byId("paused");
  const resumes = document.activeElement === byId("resume");
  if (pause) notice.hidden = false; // so that it can have the focus
  disable(byId("pause"), Boolean(pause), byId("resume"));
  if (!pause) notice.hidden = true;
  if (!pause && resumes) byId("pause").focus();
  if (!pause) return;
  const by = pause.pausedBy ? ` by ${pause.pausedBy}` : "";
  const why = pause.reason ? `: ${pause.reason}` : "";
  setText(byId("paused-text"), `The queue is paused${by}, ${ago(pause.pausedAt)}${why}. No worker gets a job.`);
}

/** Let the buttons work. `attempt` runs an action and shows what goes wrong. */
export function connectQueue(attempt) {
  byId("pause").addEventListener("click", async () => {
    const reason = await confirmed({
      title: "Pause the queue?",
      text: "No worker gets another job, on every server, until the queue is resumed. What is being rendered goes on.",
      yes: "Pause",
      asksWhy: true,
    });
    if (reason !== undefined) attempt(() => post("admin/pause", { pausedBy: hasSignedIn() ? "" : "console", reason }));
  });
  byId("resume").addEventListener("click", () => attempt(() => post("admin/resume", {})));
  addEventListener("resize", draw);
}
