import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { Thumbq, ThumbqError, type Job } from "thumbq";

import { folder, hashOf, thumbq } from "./service.js";

async function claimed(modelId: number): Promise<Job> {
  await thumbq.enqueue({ modelId, modelHash: hashOf(modelId) });
  const job = await thumbq.dequeue({ workerId: "worker-1", wait: 10 });
  assert.ok(job);
  return job;
}

async function picture(): Promise<{ thumbnailPath: string; sizeBytes: number; width: number; height: number }> {
  const thumbnailPath = join(folder, "picture.png");
  await writeFile(thumbnailPath, "not really a picture");
  return { thumbnailPath, sizeBytes: 20, width: 512, height: 256 };
}

const isError = (httpStatus: number, code: string | undefined, message: RegExp) => (error: unknown) =>
  error instanceof ThumbqError && error.httpStatus === httpStatus && error.code === code && message.test(error.message);

test("a job is enqueued, claimed and completed, and its picture is there", async () => {
  assert.deepEqual(await thumbq.enqueue({ modelId: 1, modelHash: hashOf(1), priority: 3, maxAttempts: 2 }), {
    jobId: 1,
    outcome: "Created",
  });
  assert.equal((await thumbq.enqueue({ modelId: 1, modelHash: hashOf(1) })).outcome, "Existing");
  const job = await thumbq.dequeue({ workerId: "worker-1" });
  assert.ok(job);
  const { modelId, priority, maxAttempts, attemptCount, status } = job;
  assert.deepEqual([modelId, priority, maxAttempts, attemptCount, status], [1, 3, 2, 1, "Processing"]);
  const ended = thumbq.job(job.id, { wait: 20 });
  const reported = await thumbq.complete(job.id, { ...(await picture()), leaseToken: job.leaseToken });
  assert.deepEqual([reported.modelId, reported.status], [1, "Ready"]);
  assert.equal((await ended).status, "Completed");
  const thumbnail = await thumbq.thumbnail(1);
  assert.deepEqual([thumbnail.status, thumbnail.width, thumbnail.height], ["Ready", 512, 256]);
  assert.equal(thumbnail.cursor, await thumbq.cursor());
});

test("with no job due, a claim is answered with undefined", async () => {
  assert.equal(await thumbq.dequeue({ workerId: "worker-1" }), undefined);
  assert.deepEqual(await thumbq.dequeueMany({ workerId: "worker-1", maxJobs: 5 }), []);
});

test("a failed attempt says why, and a last one is retried by hand", async () => {
  const job = await claimed(2);
  const failure = { errorMessage: "no faces", retryable: false, leaseToken: job.leaseToken };
  assert.equal((await thumbq.fail(job.id, failure)).status, "Failed");
  const failed = await thumbq.job(job.id);
  assert.deepEqual([failed.status, failed.errorMessage], ["Failed", "no faces"]);
  assert.equal((await thumbq.retry(job.id)).status, "Pending");
  assert.equal((await thumbq.cancel(job.id)).status, "Cancelled");
});

test("many jobs go in, out and back in one call each", async () => {
  const jobs = [3, 4, 5, 6].map((modelId) => ({ modelId, modelHash: hashOf(modelId) }));
  assert.deepEqual((await thumbq.enqueueMany(jobs)).map(({ outcome }) => outcome), Array(4).fill("Created"));
  const claims = await thumbq.dequeueMany({ workerId: "worker-1", maxJobs: 3, wait: 10 });
  const [first, second, third] = claims.map(({ leaseToken }) => leaseToken);
  assert.ok(first && second && third);
  const exceptions = await thumbq.reportResults([
    { leaseToken: first, complete: await picture() },
    { leaseToken: second, fail: { errorMessage: "broken", retryDelay: 60 } },
    { leaseToken: third, release: {} },
    { leaseToken: "nonsense", release: {} },
  ]);
  assert.deepEqual(exceptions.map(({ leaseToken }) => leaseToken), ["nonsense"]);
  const page = await thumbq.jobs({ status: "Pending", pageSize: 2 });
  assert.deepEqual(page.jobs.map(({ modelId }) => modelId), [6, 5]);
  assert.equal(page.cursor, await thumbq.cursor());
  const rest = await thumbq.jobs({ status: "Pending", pageSize: 2, pageToken: page.nextPageToken });
  assert.deepEqual([rest.jobs.map(({ modelId }) => modelId), rest.nextPageToken], [[4], ""]);
  assert.deepEqual((await thumbq.jobs({ modelId: 3 })).jobs.map(({ status }) => status), ["Completed"]);
});

test("a lease is extended, and given back with its attempt", async () => {
  const { id, leaseToken, leaseExpiresAt } = await claimed(7);
  const extended = await thumbq.extendLease(id, { leaseToken, duration: 3_600 });
  assert.ok(Date.parse(extended) > Date.parse(leaseExpiresAt ?? ""));
  await thumbq.release(id, { leaseToken });
  const job = await thumbq.job(id);
  assert.deepEqual([job.status, job.attemptCount], ["Pending", 0]);
  assert.deepEqual(await thumbq.cancelModelJobs(7), [id]);
});

test("progress keeps a job, and shows how far it is", async () => {
  const { jobId } = await thumbq.enqueue({ modelId: 80, modelHash: hashOf(80) });
  const job = await thumbq.dequeue({ workerId: "worker-1", wait: 10 });
  assert.equal(job?.id, jobId);
  const { leaseToken } = job;
  const end = await thumbq.reportProgress(jobId, { leaseToken, progress: 0.4, progressText: "meshing" });
  assert.ok(end > job.leaseExpiresAt!);
  let shown = await thumbq.job(jobId);
  while (shown.progress === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 100)); // the gateway refuses those that ask too often
    shown = await thumbq.job(jobId);
  }
  assert.deepEqual([shown.progress, shown.progressText], [0.4, "meshing"]);
});

test("a model is forgotten with its jobs", async () => {
  const { id } = await claimed(8);
  assert.deepEqual(await thumbq.forget(8), [id]);
  await assert.rejects(thumbq.job(id), isError(404, "NOT_FOUND", /was not found/));
  assert.deepEqual(await thumbq.forget(8), []);
});

test("a refusal tells its status, code and reason", async () => {
  await assert.rejects(thumbq.job(404), isError(404, "NOT_FOUND", /404/));
  await assert.rejects(thumbq.enqueue({ modelId: 1, modelHash: "short" }), isError(400, "INVALID_ARGUMENT", /hash/i));
  await assert.rejects(thumbq.dequeue({ workerId: " " }), isError(400, undefined, /workerId/i));
  await assert.rejects(thumbq.announceTest(-1, { status: "Ready" }), isError(400, undefined, /model/i));
});

test("a call that nobody waits for any more ends", async () => {
  const closing = new AbortController();
  const waiting = thumbq.dequeue({ workerId: "worker-1", wait: 30 }, { signal: closing.signal });
  closing.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await assert.rejects(thumbq.cursor({ signal: closing.signal }), { name: "AbortError" });
});

test("outside of a page the gateway has to be named", () => {
  assert.throws(() => new Thumbq(), /url has to name the gateway/);
});
