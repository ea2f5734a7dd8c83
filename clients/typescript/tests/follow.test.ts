import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { follow, type Following, type FollowOptions, type ModelThumbnail } from "thumbq";

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

test("models can be added to an empty page and removed from it", async (t) => {
  await rendered(2, "second");
  const page = new Page();
  const subscription = open(t, page, []);
  subscription.add(1, 2);
  await page.status(2, "Ready");
  await page.state("live");
  subscription.remove(1);
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "unseen" });
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "seen" });
  await page.status(2, "Failed");
  assert.equal(page.shown.get(1)?.status, "Pending");
  assert.deepEqual(page.states, ["connecting", "live"]);
});

test("a page without models left has no connection, and loads again what comes back to it", async (t) => {
  const page = new Page();
  const subscription = open(t, page, [1]);
  await page.state("live");
  subscription.remove(1);
  await rendered(1, "meanwhile");
  const requests = t.mock.method(globalThis, "fetch");
  subscription.add(1);
  await page.status(1, "Ready");
  await thumbq.announceTest(1, { status: "Failed", errorMessage: "seen" });
  await page.status(1, "Failed");
  const paths = requests.mock.calls.map((call) => new URL(String(call.arguments[0])).pathname);
  assert.deepEqual(paths.sort(), ["/api/notifications", "/api/test/thumbnail-complete/1", "/models/thumbnails"]);
});

test("models that are there already make no request", async (t) => {
  const page = new Page();
  const subscription = open(t, page, [1, 2]);
  await page.state("live");
  const requests = t.mock.method(globalThis, "fetch");
  subscription.add(2, 1);
  subscription.remove(1, 7);
  subscription.add();
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "the end" });
  await page.status(2, "Failed");
  const paths = requests.mock.calls.map((call) => new URL(String(call.arguments[0])).pathname);
  assert.deepEqual(paths, ["/api/test/thumbnail-complete/2"]);
});

test("while models are added and removed, no event of the others is lost, doubled or late", async (t) => {
  const page = new Page();
  const subscription = open(t, page, [1]);
  await page.state("live");
  const expected = Array.from({ length: 60 }, (_, index) => String(index));
  for (const errorMessage of expected) {
    const modelId = 100 + Number(errorMessage);
    const announced = thumbq.announceTest(1, { status: "Failed", errorMessage });
    subscription.add(modelId);
    if (modelId % 3 === 0) subscription.remove(modelId - 1);
    await announced;
  }
  const ofTheFirst = (): ModelThumbnail[] => page.all.filter(({ modelId, status }) => modelId === 1 && status === "Failed");
  await page.until(() => ofTheFirst().at(-1)?.errorMessage === expected.at(-1));
  assert.deepEqual(ofTheFirst().map(({ errorMessage }) => errorMessage), expected);
});

test("what happens to a model while it is added is shown in the end", async (t) => {
  const page = new Page();
  const subscription = open(t, page, [1]);
  await page.state("live");
  const loading = fetchOnHold(t, /\/models\/thumbnails$/);
  subscription.add(2);
  await loading.begun;
  subscription.add(3);
  await rendered(2, "second");
  await rendered(3, "third");
  await rendered(1, "first");
  loading.proceed();
  await Promise.all([1, 2, 3].map((modelId) => page.status(modelId, "Ready")));
  assert.equal(await fetched(page.shown.get(3)?.pictureUrl), "third");
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
