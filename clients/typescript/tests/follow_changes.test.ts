import assert from "node:assert/strict";
import { test } from "node:test";

import { open, Page, rendered } from "./page.js";
import { answerOnHold, requestsTo } from "./requests.js";
import { control, thumbq } from "./service.js";

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

test("models that come and go together change the stream with one request", async (t) => {
  const page = new Page();
  const following = open(t, page, [1, 2]);
  await page.state("live");
  const changes = requestsTo(t, /\/api\/notifications\/models$/);
  following.add(3);
  following.remove(1);
  following.remove(2);
  await page.until(() => page.shown.has(3));
  assert.equal(changes.length, 1);
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

test("a model that takes the place of the last one is loaded", async (t) => {
  const page = new Page();
  const following = open(t, page, [1]);
  await page.state("live");
  following.remove(1);
  following.add(5);
  await page.status(5, "Pending");
  await thumbq.announceTest(5, { status: "Failed", errorMessage: "the end" });
  await page.status(5, "Failed");
});

test("a model that takes the place of the last one while that is loaded is loaded", async (t) => {
  const page = new Page();
  const loading = answerOnHold(t, /\/models\/thumbnails$/);
  const following = open(t, page, [1]);
  await loading.begun;
  following.remove(1);
  following.add(5);
  loading.proceed();
  await page.status(5, "Pending");
  assert.ok(!page.shown.has(1));
});
