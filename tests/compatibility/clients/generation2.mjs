// A worker as generation 2 is: it polls at the start and every few seconds until there is nothing, also when its hub
// tells it to, and keeps what it took in a queue of its own while the leases run.
import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { client, say, tell, tellSteps } from "./events.mjs";

const [baseUrl, workerId] = process.argv.slice(2);
const key = process.env.WORKER_API_KEY;
const keyed = client(baseUrl, key ? { "X-Api-Key": key } : {});
const keyless = client(baseUrl);
const pollMilliseconds = Number(process.env.POLL_MILLISECONDS ?? 5000);
const renderMilliseconds = Number(process.env.RENDER_MILLISECONDS ?? 20);
const local = [];
let isPolling = false;

async function poll() {
  if (isPolling) return;
  isPolling = true;
  try {
    for (let taken = 0; taken < 100; taken += 1) {
      const answer = await keyed.post("/thumbnail-jobs/dequeue", { workerId });
      if (answer.status === 204) break;
      if (answer.data.assetType !== "Model") continue;
      local.push(answer.data);
      say({ event: "took", jobId: answer.data.id });
    }
  } catch (error) {
    say({ event: "poll failed", message: error.message });
  } finally {
    isPolling = false;
  }
}

async function work() {
  for (;;) {
    const job = local.shift();
    if (!job) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      continue;
    }
    const unknown = { sizeBytes: null, width: null, height: null, errorMessage: null };
    try {
      await tellSteps(keyless, "", job.id);
      await new Promise((resolve) => setTimeout(resolve, renderMilliseconds));
      const report = { success: true, thumbnailPath: `/uploads/${job.modelId}.webp`, ...unknown };
      await keyed.post(`/thumbnail-jobs/${job.id}/finish`, report);
      say({ event: "completed", jobId: job.id, modelId: job.modelId });
      await tell(keyless, "", job.id, "JobCompleted");
    } catch (error) {
      say({ event: "finish failed", jobId: job.id, status: error.response?.status ?? null });
    }
  }
}

const connection = new HubConnectionBuilder()
  .withUrl(`${baseUrl}/jobProcessingHub`)
  .withAutomaticReconnect([0, 2000, 10_000, 30_000])
  .configureLogging(LogLevel.None)
  .build();
connection.on("JobEnqueued", () => void poll());
connection.onreconnected(() => connection.invoke("RegisterWorker", workerId));
process.stdin.on("data", () => process.exit());

await connection.start();
await connection.invoke("RegisterWorker", workerId);
say({ event: "registered" });
setInterval(() => void poll(), pollMilliseconds);
void poll();
await work();
