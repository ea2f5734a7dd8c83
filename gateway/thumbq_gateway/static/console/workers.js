// The workers: those that are there first, and each by name, so that rows keep their places.

import { number } from "../shared/format.js";
import { get } from "./api.js";
import { byId, element, fill, row } from "./dom.js";
import { ago } from "./times.js";

const names = new Intl.Collator(undefined, { numeric: true });

export async function refreshWorkers() {
  const { workers } = await get("admin/workers");
  workers.sort((one, other) => one.gone - other.gone || names.compare(one.workerId, other.workerId));
  fill(byId("workers"), workers.map(rowOf), byId("no-workers"));
}

function rowOf({ workerId, inFlight, completedPerMinute, failed, lastSeenAt, version, labels, gone }) {
  const state = gone ? "gone" : inFlight ? "rendering" : "waiting for jobs";
  const word = element("span", { class: "status", "data-status": gone ? "Gone" : "Here" }, state);
  const labelled = Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(", ");
  const figures = [inFlight, Number(completedPerMinute.toFixed(1)), failed].map(number);
  return row(workerId, word, ...figures, ago(lastSeenAt), version || "–", labelled);
}
