// What both generations share: a client of the API with the settings of the real one, and the twelve events of a job.
import axios from "axios";

export const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

export const client = (baseURL, headers = {}) =>
  axios.create({ baseURL, timeout: 30_000, headers: { "Content-Type": "application/json", ...headers } });

const STEPS = [
  "JobStarted",
  "ModelDownloadStarted",
  "ModelDownloaded",
  "ModelLoadingStarted",
  "ModelLoaded",
  "CameraPositioned",
  "FrameRenderingStarted",
  "FrameRenderingCompleted",
  "EncodingStarted",
  "EncodingCompleted",
];

/** Tells an event; as the real workers do, it takes a failure for granted and goes on. */
export async function tell(api, prefix, jobId, eventType, errorMessage = null) {
  const metadata = JSON.stringify({ eventType, memory: process.memoryUsage().heapUsed });
  try {
    const event = { eventType, message: `${eventType} of ${jobId}`, metadata, errorMessage };
    const answer = await api.post(`${prefix}/thumbnail-jobs/${jobId}/events`, event, { timeout: 10_000 });
    if (!Number.isInteger(answer.data.eventId)) say({ event: "no event id" });
  } catch (error) {
    say({ event: "event failed", status: error.response?.status ?? null, message: error.message });
  }
}

export async function tellSteps(api, prefix, jobId) {
  for (const step of STEPS) await tell(api, prefix, jobId, step);
}
