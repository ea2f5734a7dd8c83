// A worker in node, on the worker's stream: `node worker.js THUMBNAILS RENDER [SERVER]`.
// RENDER is a program: it gets the model's id and the path for the picture, and prints width and height.
import { execFile } from "node:child_process";
import { mkdir, rename, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { promisify } from "node:util";

import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [thumbnails, render, server = "localhost:50051"] = process.argv.slice(2);
const concurrency = 4;
const pause = 500; // milliseconds before another connection

const includeDirs = ["proto", "third_party/googleapis"].map((path) => resolve(import.meta.dirname, "../..", path));
const options = { includeDirs, longs: String, defaults: true, oneofs: true };
const { thumbq } = loadPackageDefinition(loadSync("thumbq/v1/queue.proto", options));
// gRPC takes a proxy from http_proxy and the like, even for this machine, which a proxy cannot reach.
const isHere = /^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$/.test(server);
const queue = new thumbq.v1.QueueService(server, credentials.createInsecure(), {
  "grpc.enable_http_proxy": isHere ? 0 : 1,
});

const workerId = `${hostname()}-node`;
const held = new Map(); // leases of running jobs, each with what ends its program
const unacknowledged = new Map(); // results by the number of their message
let sessionId = "";
let lastNumber = 0;
let stream; // undefined while there is no connection that takes messages
let isStopping = false;

function connect() {
  const call = queue.StreamJobs();
  let heartbeat;
  const handlers = {
    welcome({ sessionId: id, heartbeatInterval, resumedLeaseTokens }) {
      sessionId = id;
      stream = call;
      // Results whose acknowledgement got lost are sent again: a second one changes nothing.
      for (const [number, results] of unacknowledged) call.write({ results: { number, results } });
      const reported = [...unacknowledged.values()].flat().map(({ leaseToken }) => leaseToken);
      const unknown = resumedLeaseTokens.filter((token) => !held.has(token) && !reported.includes(token));
      if (unknown.length > 0) report(unknown.map((leaseToken) => ({ leaseToken, release: {} })));
      if (held.size < concurrency) call.write({ credit: { add: concurrency - held.size } });
      const beat = () => call.write({ heartbeat: { leaseTokens: [...held.keys()] } });
      heartbeat = setInterval(beat, heartbeatInterval.seconds * 1_000 + heartbeatInterval.nanos / 1e6);
      beat();
      if (isStopping) call.write({ drain: {} });
    },
    jobs({ number, jobs }) {
      call.write({ received: { number } });
      for (const job of jobs) void work(job);
    },
    leaseLost({ leaseTokens }) {
      for (const token of leaseTokens) held.get(token)?.abort();
    },
    resultAcks({ number, exceptions }) {
      unacknowledged.delete(Number(number));
      for (const { jobId, message } of exceptions) console.error(`The result of job ${jobId} was refused: ${message}`);
    },
    drain() {
      leave();
      call.end(); // running jobs go on, and are reported over the next connection
    },
  };
  const leave = () => {
    clearInterval(heartbeat);
    if (stream === call) stream = undefined;
  };
  call.on("data", (message) => handlers[message.message]?.(message[message.message]));
  call.on("error", (error) => console.error(`The connection broke: ${error.details}`));
  call.on("status", () => {
    leave();
    if (isStopping && held.size === 0 && unacknowledged.size === 0) process.exit();
    setTimeout(connect, pause);
  });
  call.write({ hello: { workerId, sessionId } });
}

async function work(job) {
  const abort = new AbortController();
  held.set(job.leaseToken, abort);
  let outcome;
  try {
    outcome = { complete: await draw(job, abort.signal) };
  } catch (error) {
    outcome = { fail: { errorMessage: error.stderr?.trim() || error.message } };
  }
  held.delete(job.leaseToken);
  if (!abort.signal.aborted) report([{ leaseToken: job.leaseToken, ...outcome }]);
  if (!isStopping) stream?.write({ credit: { add: 1 } });
}

async function draw(job, signal) {
  const thumbnailPath = resolve(thumbnails, `${job.modelHash}.png`);
  const draft = `${thumbnailPath}.${job.id}-${job.attemptCount}`;
  const { stdout } = await promisify(execFile)(render, [job.modelId, draft], { signal });
  const [width, height] = stdout.trim().split(" ").map(Number);
  await rename(draft, thumbnailPath); // in one step: a page sees the old picture or the new one
  return { thumbnailPath, sizeBytes: (await stat(thumbnailPath)).size, width, height };
}

function report(results) {
  lastNumber += 1;
  unacknowledged.set(lastNumber, results);
  stream?.write({ results: { number: lastNumber, results } });
}

process.on("SIGTERM", () => {
  isStopping = true;
  stream?.write({ drain: {} }); // the server ends the stream when the last job is reported
});

await mkdir(thumbnails, { recursive: true });
connect();
