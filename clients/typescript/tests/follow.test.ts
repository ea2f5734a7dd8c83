import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { follow, type Following, type FollowOptions, type JobProgress, type ModelThumbnail } from "thumbq";

import { Recorder } from "./recorder.js";
import { control, folder, hashOf, thumbq, url } from "./service.js";

/** A page: the last state of each model, and every state in order. */
class Page extends Recorder {
  readonly shown = new Map<number, ModelThumbnail>();
  readonly all: ModelThumbnail[] = [];

  readonly show = (thumbnail: ModelThumbnail): void => {
    this.shown.set(thumbnail.modelId, thumbnail);
    this.all.push(thumbnail);
    this.changed();
  };

  status(modelId: number, status: string): Promise<void> {
    return this.until(() => this.shown.get(modelId)?.status === status);
  }
}

function open(t: TestContext, page: Page, modelIds: number[], options: Partial<FollowOptions> = {}): Following {
  const { show, onConnection } = page;
  const subscription = follow({ url, modelIds, onThumbnail: show, onConnection, longestPause: 1_000, ...options });
  t.after(() => subscription.close());
  return subscription;
}

async function rendered(modelId: number, content: string): Promise<void> {
  await thumbq.enqueue({ modelId, modelHash: hashOf(modelId), force: true });
  const job = await thumbq.dequeue({ workerId: "worker-1", wait: 10 });
  assert.equal(job?.modelId, modelId);
  const thumbnailPath = join(folder, `${modelId}-${content}.png`);
  await writeFile(thumbnailPath, content);
  await thumbq.complete(job.id, { thumbnailPath, sizeBytes: content.length, width: 1, height: 1 });
}

const fetched = async (address: string | undefined): Promise<string> => (await fetch(address ?? "")).text();

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

test("models are added and removed over the same connection", async (t) => {
  await rendered(2, "second");
  const page = new Page();
  const streams = requestsTo(t, /\/api\/notifications\?/);
  const following = open(t, page, [1]);
  await page.state("live");
  following.add(2, 3);
  following.add(4);
  await page.status(2, "Ready");
  await page.until(() => page.shown.has(4));
  await rendered(3, "third");
  await page.status(3, "Ready");
  following.remove(1, 3);
  const before = page.all.length;
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "not followed" });
  await thumbq.announceTest(3, { status: "Failed", errorMessage: "not followed" });
  await thumbq.announceTest(4, { status: "Failed", errorMessage: "the end" });
  await page.status(4, "Failed");
  assert.deepEqual(page.all.slice(before).map(({ modelId }) => modelId), [4]);
  assert.equal(streams.length, 1);
});

test("a stream that cannot be changed is replaced, and misses nothing", async (t) => {
  const page = new Page();
  const streams = requestsTo(t, /\/api\/notifications\?/);
  const following = open(t, page, [1]);
  await page.state("live");
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", (input: URL, init?: RequestInit) => {
    if (input.href.endsWith("/api/notifications/models")) return Promise.resolve(new Response("", { status: 404 }));
    return original(input, init);
  });
  following.add(2);
  await page.until(() => page.shown.has(2));
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "the end" });
  await page.status(2, "Failed");
  assert.equal(streams.length, 2);
  assert.ok(!page.states.includes("reconnecting"));
});

test("models that are added at once are loaded with one request", async (t) => {
  const page = new Page();
  const following = open(t, page, [1]);
  await page.state("live");
  const loads = requestsTo(t, /\/models\/thumbnails$/);
  for (let modelId = 2; modelId <= 1_500; modelId++) following.add(modelId);
  await page.until(() => page.shown.size === 1_500);
  assert.equal(loads.length, 2); // each reads up to a thousand
});

test("a page that begins with no models connects when one is added, and rests when the last is removed", async (t) => {
  await rendered(1, "first");
  const page = new Page();
  const streams = requestsTo(t, /\/api\/notifications\?/);
  const following = open(t, page, []);
  following.add(1);
  await page.status(1, "Ready");
  await page.state("live");
  following.remove(1);
  await rendered(1, "not followed");
  const before = page.shown.get(1)?.pictureUrl;
  following.add(1, 2);
  await page.until(() => page.shown.get(1)?.pictureUrl !== before);
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "the end" });
  await page.status(2, "Failed");
  assert.equal(streams.length, 2);
});

test("a model that is added while the gateway is away is followed when that has come back", async (t) => {
  await rendered(2, "second");
  const page = new Page();
  const following = open(t, page, [1]);
  await page.state("live");
  await control("gateway/stop");
  following.add(2);
  await page.state("reconnecting");
  await control("gateway/start");
  await page.status(2, "Ready");
  await page.state("live");
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "the end" });
  await page.status(2, "Failed");
});

test("an event that overtakes the load of an added model is not overwritten by it", async (t) => {
  const page = new Page();
  const following = open(t, page, [1]);
  await page.state("live");
  const loading = answerOnHold(t, /\/models\/thumbnails$/);
  following.add(2);
  await loading.begun;
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "newer" });
  await page.status(2, "Failed");
  loading.proceed();
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "the end" });
  await page.status(1, "Failed");
  following.add(3);
  await page.until(() => page.shown.has(3));
  assert.deepEqual(page.shown.get(2)?.errorMessage, "newer");
});

test("what is no model is not followed", async (t) => {
  await assert.rejects(open(t, new Page(), [-5]).closed, { name: "ThumbqError" });
});

/** Hold the first request to a matching address until the test lets it continue. */
function fetchOnHold(t: TestContext, address: RegExp): { begun: Promise<void>; proceed: () => void } {
  let begin: () => void;
  let proceed!: () => void;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const wait = new Promise<void>((resolve) => (proceed = resolve));
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    if (address.test(input.href)) {
      begin();
      await wait;
    }
    return original(input, init);
  });
  return { begun, proceed };
}

/** Hold the first answer from a matching address until the test lets it pass. */
function answerOnHold(t: TestContext, address: RegExp): { begun: Promise<void>; proceed: () => void } {
  let begin: () => void;
  let proceed!: () => void;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const wait = new Promise<void>((resolve) => (proceed = resolve));
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    const answer = await original(input, init);
    if (address.test(input.href)) {
      begin();
      await wait;
    }
    return answer;
  });
  return { begun, proceed };
}

/** Return the list of all requests to a matching address, which grows. */
function requestsTo(t: TestContext, address: RegExp): string[] {
  const requests: string[] = [];
  const original = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (input: URL, init?: RequestInit) => {
    if (address.test(input.href)) requests.push(input.href);
    return original(input, init);
  });
  return requests;
}
