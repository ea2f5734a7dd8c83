// A worker as generation 1 is: it never polls, takes one job for a JobEnqueued message, and drops those that come while
// it is busy. It reads the message in PascalCase, so it never acknowledges a job.
import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { client, say, tell, tellSteps } from "./events.mjs";

const [baseUrl, workerId] = process.argv.slice(2);
const most = Number(process.env.MAX_CONCURRENT_JOBS ?? 3);
const renderMilliseconds = Number(process.env.RENDER_MILLISECONDS ?? 20);
const picture = Buffer.from(process.env.PICTURE ?? "", "base64");
const losesAnswers = Boolean(process.env.LOSES_ANSWERS);
const api = client(baseUrl);

let active = 0;
let rendererIsReady = false;

async function takeOne(message) {
  if (active >= most) return;
  active += 1;
  try {
    if (message.JobId !== undefined) await connection.invoke("AcknowledgeJobProcessing", message.JobId, workerId);
    const answer = await api.post("/api/thumbnail-jobs/dequeue", { workerId });
    if (answer.status !== 204) await work(answer.data);
  } catch (error) {
    if (error.response?.status !== 404) say({ event: "dropped", message: error.message });
  } finally {
    active -= 1;
  }
}

async function work(job) {
  say({ event: "took", jobId: job.id, attempt: job.attemptCount });
  try {
    await tellSteps(api, "/api", job.id);
    await render();
    const stored = await upload(job.modelId);
    await api.post(`/api/thumbnail-jobs/${job.id}/complete`, stored);
    if (losesAnswers) throw new Error("socket hang up");
    say({ event: "completed", jobId: job.id, modelId: job.modelId });
    await tell(api, "/api", job.id, "JobCompleted");
  } catch (error) {
    await tell(api, "/api", job.id, "JobFailed", error.message);
    try {
      await api.post(`/api/thumbnail-jobs/${job.id}/fail`, { errorMessage: `${error.message}\n${"    at x\n".repeat(300)}` });
      say({ event: "failed", jobId: job.id });
    } catch (refused) {
      say({ event: "abandoned", jobId: job.id, status: refused.response?.status ?? null });
    }
  }
}

/** The first jobs that come at once race the renderer's own start. */
async function render() {
  const isFirst = !rendererIsReady && active > 1;
  await new Promise((resolve) => setTimeout(resolve, renderMilliseconds));
  rendererIsReady = true;
  if (isFirst) throw new Error("Renderer not initialized");
}

async function upload(modelId) {
  if (picture.length === 0) return { thumbnailPath: "/default/path", sizeBytes: 0, width: 256, height: 256 };
  const form = new FormData();
  form.append("file", new Blob([picture], { type: "image/webp" }), "thumbnail.webp");
  form.append("width", "256");
  form.append("height", "256");
  const { data } = await api.post(`/models/${modelId}/thumbnail/upload`, form, {
    headers: { "Content-Type": "multipart/form-data" },
  });
  const { thumbnailPath, sizeBytes, width, height } = data;
  return { thumbnailPath, sizeBytes, width, height };
}

const connection = new HubConnectionBuilder()
  .withUrl(`${baseUrl}/thumbnailJobHub`)
  .withAutomaticReconnect([0, 2000, 10_000, 30_000])
  .configureLogging(LogLevel.None)
  .build();
connection.on("JobEnqueued", (message) => void takeOne(message));
connection.on("JobStatusChanged", () => {});
connection.on("JobAcknowledged", () => {});
connection.on("WorkerRegistered", () => {});
connection.on("WorkerUnregistered", () => {});
connection.onreconnected(async () => {
  await connection.invoke("RegisterWorker", workerId);
  say({ event: "registered again" });
});
connection.onclose(() => setTimeout(() => void start().catch(() => say({ event: "deaf" })), 5000));

async function start() {
  await connection.start();
  await connection.invoke("RegisterWorker", workerId);
  say({ event: "registered" });
}

process.on("SIGTERM", async () => {
  await connection.invoke("UnregisterWorker", workerId);
  await connection.stop();
  say({ event: "unregistered" });
});
process.stdin.on("data", () => process.exit());

for (const path of ["/health", "/openapi/v1.json"]) {
  await api.get(path, { timeout: 3000 }).catch((error) => say({ event: "warning", path, message: error.message }));
}
await start();
