import assert from "node:assert/strict";
import { test } from "node:test";

import type { JobProgress, ModelThumbnail } from "thumbq";

import { fetched, open, Page, rendered } from "./page.js";
import { fetchOnHold } from "./requests.js";
import { control, hashOf, thumbq } from "./service.js";

test("a page sees what is there, and then what comes", async (t) => {
  await rendered(1, "first");
  const page = new Page();
  open(t, page, [1, 2]);
  await page.state("live");
  assert.equal(await fetched(page.shown.get(1)?.pictureUrl), "first");
  assert.deepEqual(page.shown.get(2), {
    modelId: 2,
    status: "Pending",
    pictureUrl: undefined,
    errorMessage: undefined,
  });
  await rendered(2, "second");
  await page.status(2, "Ready");
  assert.equal(await fetched(page.shown.get(2)?.pictureUrl), "second");
});

test("a page that asks is told how far the jobs of its models have come", async (t) => {
  const page = new Page();
  const told: JobProgress[] = [];
  const tell = (progress: JobProgress): void => {
    told.push(progress);
    page.changed();
  };
  open(t, page, [1], { onProgress: tell });
  await page.state("live");
  for (const modelId of [1, 2]) await thumbq.enqueue({ modelId, modelHash: hashOf(modelId) });
  const jobs = await thumbq.dequeueMany({ workerId: "worker-1", wait: 10, maxJobs: 2 });
  for (const { id, leaseToken } of jobs) await thumbq.reportProgress(id, { leaseToken, progress: 0.4, progressText: "meshing" });
  await page.until(() => told.length > 0);
  for (const { id, leaseToken } of jobs) await thumbq.reportProgress(id, { leaseToken, progress: 1 });
  await page.until(() => told.at(-1)?.progress === 1);
  const first = jobs.find(({ modelId }) => modelId === 1);
  for (const { modelId, jobId, attemptCount } of told) assert.deepEqual([modelId, jobId, attemptCount], [1, first?.id, 1]);
  assert.equal(told[0]?.progressText, "meshing");
});

test("a model that is forgotten has no picture any more", async (t) => {
  await rendered(71, "first");
  const page = new Page();
  open(t, page, [71]);
  await page.status(71, "Ready");
  await thumbq.forget(71);
  await page.status(71, "None");
  assert.equal(page.shown.get(71)?.pictureUrl, undefined);
});

test("a new picture has a new address, and a failed one leaves the last good one", async (t) => {
  await rendered(1, "old");
  const page = new Page();
  open(t, page, [1]);
  await page.status(1, "Ready");
  const before = page.shown.get(1)?.pictureUrl;
  await rendered(1, "new");
  await page.until(() => page.shown.get(1)?.pictureUrl !== before);
  const after = page.shown.get(1)?.pictureUrl;
  assert.equal(await fetched(after), "new");
  await thumbq.enqueue({ modelId: 1, modelHash: hashOf(1), force: true });
  const job = await thumbq.dequeue({ workerId: "worker-1", wait: 10 });
  await thumbq.fail(job!.id, { errorMessage: "no faces", retryable: false });
  await page.status(1, "Failed");
  assert.deepEqual(page.shown.get(1), { modelId: 1, status: "Failed", pictureUrl: after, errorMessage: "no faces" });
});

test("a browser may keep a picture, whether it was loaded or came with an event", async (t) => {
  await rendered(1, "loaded");
  const page = new Page();
  open(t, page, [1, 2]);
  await page.status(1, "Ready");
  await page.state("live");
  await rendered(2, "came");
  await page.status(2, "Ready");
  for (const { pictureUrl } of page.shown.values()) {
    const answer = await fetch(pictureUrl ?? "");
    assert.match(answer.headers.get("Cache-Control") ?? "", /immutable/);
  }
});

test("what was loaded is not overwritten by what happened before", async (t) => {
  const page = new Page();
  const loading = fetchOnHold(t, /\/models\/thumbnails$/);
  open(t, page, [1]);
  await loading.begun;
  await rendered(1, "ready");
  loading.proceed();
  await page.status(1, "Ready");
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "the end" });
  await page.status(1, "Failed");
  assert.deepEqual(page.all.map(({ status }) => status), ["Ready", "Failed"]);
});

test("a log of another queue has everything loaded anew", async (t) => {
  await rendered(1, "picture");
  const page = new Page();
  open(t, page, [1, 2]);
  await page.status(1, "Ready");
  await page.state("live");
  await control("server/another-queue");
  await page.status(1, "Pending");
  assert.equal(page.shown.get(1)?.pictureUrl, undefined);
  await control("announce/2");
  await page.status(2, "Ready");
});

test("a log that has gone back has everything loaded anew", async (t) => {
  const original = globalThis.fetch;
  let isAhead = true;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    const answer = await original(input, init);
    if (!isAhead || !/\/(cursor|thumbnails)$/.test(input.pathname)) return answer;
    const content = (await answer.json()) as { cursor: string };
    return Response.json({ ...content, cursor: content.cursor.replace(/\d+$/, "1000") });
  });
  const page = new Page();
  open(t, page, [1]);
  await page.status(1, "Pending");
  isAhead = false;
  await page.until(() => page.all.length === 2);
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "the end" });
  await page.status(1, "Failed");
});

test("a page that is opened before its gateway sees everything when that has come", async (t) => {
  await rendered(1, "picture");
  await control("gateway/stop");
  const page = new Page();
  open(t, page, Array.from({ length: 20 }, (_, index) => index + 1));
  await page.state("reconnecting");
  await control("gateway/start");
  await page.state("live");
  assert.equal(page.shown.size, 20);
  assert.equal(page.shown.get(1)?.status, "Ready");
});

test("a page that is opened before its gateway has reached a server shows each state once", async (t) => {
  await control("server/stop");
  await control("gateway/stop");
  await control("gateway/start");
  const page = new Page();
  open(t, page, [1]);
  await page.state("reconnecting");
  await control("server/start");
  await page.state("live");
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "the end" });
  await page.status(1, "Failed");
  assert.deepEqual(page.all.map(({ status }) => status), ["Pending", "Failed"]);
});

test("a load that failed is tried again before anything else is told", async (t) => {
  await rendered(2, "picture");
  const original = globalThis.fetch;
  let failures = 0;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    if (/\/models\/thumbnails$/.test(input.href) && failures++ === 0) throw new TypeError("the network is away");
    return original(input, init);
  });
  const page = new Page();
  open(t, page, [1, 2, 3]);
  await page.state("live");
  assert.deepEqual(page.states, ["connecting", "reconnecting", "live"]);
  assert.equal(page.shown.get(2)?.status, "Ready");
});

test("a page without models makes no request until it is closed", async (t) => {
  const requests = t.mock.method(globalThis, "fetch");
  const subscription = open(t, new Page(), []);
  subscription.close();
  await subscription.closed;
  assert.equal(requests.mock.callCount(), 0);
});

test("what is no model is not followed", async (t) => {
  await assert.rejects(open(t, new Page(), [-5]).closed, { name: "ThumbqError" });
});

test("a page that is closed while it loads is told nothing more", async (t) => {
  const page = new Page();
  const onThumbnail = (thumbnail: ModelThumbnail): void => {
    page.show(thumbnail);
    following.close();
  };
  const following = open(t, page, [1, 2, 3], { onThumbnail });
  await following.closed;
  assert.deepEqual(page.all.map(({ modelId }) => modelId), [1]);
});
