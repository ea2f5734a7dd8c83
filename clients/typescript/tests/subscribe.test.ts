import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { ThumbqError, watchQueue } from "thumbq";

import { listen, pauses } from "./listening.js";
import { Recorder } from "./recorder.js";
import { control, hashOf, lineUrl, thumbq, url } from "./service.js";

const announce = (modelId: number): Promise<void> => thumbq.announceTest(modelId, { status: "Ready" });

test("every event comes in order, from the moment of going live", async (t) => {
  const recorder = new Recorder();
  const subscription = listen(t, recorder);
  await recorder.state("live");
  for (const modelId of [1, 2, 3]) await announce(modelId);
  await recorder.count(3);
  assert.deepEqual(recorder.models, [1, 2, 3]);
  assert.deepEqual(recorder.states, ["connecting", "live"]);
  const { status, test: isTest, willRetry, thumbnailUrl } = recorder.notifications[0]!;
  assert.deepEqual([status, isTest, willRetry, thumbnailUrl], ["Ready", true, false, null]);
  subscription.close();
  await subscription.closed;
  assert.equal(subscription.cursor, recorder.cursors[2]);
});

test("only the models and statuses that were asked for come", async (t) => {
  const recorder = new Recorder();
  listen(t, recorder, { modelIds: [2, 3], statuses: ["Ready", "Failed"] });
  await recorder.state("live");
  await announce(1);
  await thumbq.announceTest(2, { status: "Pending" });
  await thumbq.announceTest(2, { status: "Failed", errorMessage: "no faces" });
  await announce(3);
  await recorder.count(2);
  const received = recorder.notifications.map(({ modelId, status }) => `${modelId} ${status}`);
  assert.deepEqual(received, ["2 Failed", "3 Ready"]);
});

test("more models than fit into an address are sorted out here", async (t) => {
  const recorder = new Recorder();
  const many = Array.from({ length: 5_000 }, (_, index) => 1_000_000 + index);
  listen(t, recorder, { modelIds: many });
  await recorder.state("live");
  await announce(1);
  await announce(1_004_999);
  await recorder.count(1);
  assert.deepEqual(recorder.models, [1_004_999]);
});

test("it begins where it is told to", async (t) => {
  await announce(1);
  const cursor = await thumbq.cursor();
  await announce(2);
  const [all, rest] = [new Recorder(), new Recorder()];
  listen(t, all, { after: "earliest" });
  listen(t, rest, { after: cursor });
  await Promise.all([all.count(2), rest.count(1)]);
  await announce(3);
  await Promise.all([all.count(3), rest.count(2)]);
  assert.deepEqual([all.models, rest.models], [[1, 2, 3], [2, 3]]);
});

test("nothing is missed while the gateway is away, again and again", async (t) => {
  const recorder = new Recorder();
  listen(t, recorder);
  await recorder.state("live");
  for (const round of [0, 1, 2]) {
    await announce(3 * round + 1);
    await recorder.count(3 * round + 1);
    await control("gateway/stop");
    await recorder.state("reconnecting");
    await control(`announce/${3 * round + 2}`);
    await control("gateway/start");
    await control(`announce/${3 * round + 3}`);
    await recorder.state("live");
    await recorder.count(3 * round + 3);
  }
  assert.deepEqual(recorder.models, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(recorder.resets, []);
});

test("a line that went dead is noticed by its silence, and nothing is missed", async (t) => {
  const recorder = new Recorder();
  listen(t, recorder, { url: lineUrl, silence: 3_000 });
  await recorder.state("live");
  await control("line/dead");
  for (const modelId of [1, 2, 3]) await announce(modelId);
  await recorder.state("reconnecting");
  await control("line/mended");
  await recorder.count(3);
  assert.deepEqual(recorder.models, [1, 2, 3]);
});

test("a log of another queue is told once, and the subscription goes on in it", async (t) => {
  const recorder = new Recorder();
  listen(t, recorder);
  await recorder.state("live");
  await announce(1);
  await recorder.count(1);
  await control("server/another-queue");
  await recorder.until(() => recorder.resets.length > 0);
  await control("announce/2");
  await recorder.count(2);
  assert.deepEqual(recorder.models, [1, 2]);
  assert.deepEqual(recorder.resets.map(({ reason }) => reason), ["OtherLog"]);
});

test("events wait until the state is loaded anew, and a load that failed is tried again", async (t) => {
  t.mock.method(console, "error", () => undefined);
  const recorder = new Recorder();
  const story: string[] = [];
  await announce(1);
  const cursor = await thumbq.cursor();
  listen(t, recorder, {
    after: cursor.replace(/^[^-]+/, "00000000"),
    async onReset(reset) {
      story.push("load");
      await announce(2);
      await announce(3);
      if (story.length === 1) throw new ThumbqError("not now", 400);
      recorder.onReset(reset);
      story.push("loaded");
    },
    onThumbnail(notification, at) {
      story.push(`model ${notification.modelId}`);
      recorder.onThumbnail(notification, at);
    },
  });
  await recorder.count(2);
  assert.deepEqual(story, ["load", "load", "loaded", "model 2", "model 3"]);
});

test("a reset may name where to go on", async (t) => {
  await announce(1);
  await announce(2);
  const recorder = new Recorder();
  listen(t, recorder, { after: "00000000-7", onReset: (reset) => (recorder.onReset(reset), "earliest") });
  await recorder.count(2);
  assert.deepEqual([recorder.models, recorder.resets.length], [[1, 2], 1]);
});

test("the next event waits for the promise of the one before", async (t) => {
  for (const modelId of [1, 2, 3]) await announce(modelId);
  const recorder = new Recorder();
  let open = 0;
  listen(t, recorder, {
    after: "earliest",
    async onThumbnail(notification, cursor) {
      open += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(open, 1);
      open -= 1;
      recorder.onThumbnail(notification, cursor);
    },
  });
  await recorder.count(3);
  assert.deepEqual(recorder.models, [1, 2, 3]);
});

test("who watches the queue hears its counters, and when the server behind the gateway is away", async (t) => {
  const recorder = new Recorder();
  listen(t, recorder, { onQueue: recorder.onQueue });
  await recorder.state("live");
  await thumbq.enqueue({ modelId: 1, modelHash: hashOf(1) });
  await recorder.until(() => recorder.snapshots.at(-1)?.pending === 1);
  await control("server/stop");
  await recorder.state("away");
  await control("server/start");
  await recorder.state("live");
  await announce(2);
  await recorder.count(2);
  assert.deepEqual(recorder.states, ["connecting", "live", "away", "live"]);
  assert.deepEqual(recorder.models, [1, 2]);
});

test("who watches the queue alone hears no events of models", async (t) => {
  const recorder = new Recorder();
  const { onQueue, onConnection } = recorder;
  const watch = watchQueue({ url, onQueue, onConnection, ...pauses });
  t.after(() => watch.close());
  await recorder.state("live");
  await thumbq.enqueue({ modelId: 1, modelHash: hashOf(1) });
  await recorder.until(() => recorder.snapshots.at(-1)?.pending === 1);
  await control("server/stop");
  await recorder.state("away");
  await control("server/start");
  await recorder.state("live");
  assert.deepEqual([recorder.states, watch.cursor], [["connecting", "live", "away", "live"], undefined]);
});

test("who comes while the server is away is told so first", async (t) => {
  const [first, second] = [new Recorder(), new Recorder()];
  listen(t, first, { onQueue: first.onQueue });
  await first.state("live");
  await control("server/stop");
  await first.state("away");
  listen(t, second, { onQueue: second.onQueue, after: "earliest" });
  await second.state("away");
  await setImmediate(); // every callback of the same frame has run
  assert.deepEqual(second.states, ["connecting", "away"]);
});

test("a reset tells who comes before the gateway has reached a server, and each event comes once", async (t) => {
  await control("server/stop");
  await control("gateway/stop");
  await control("gateway/start");
  const recorder = new Recorder();
  listen(t, recorder, { onQueue: recorder.onQueue });
  await recorder.state("away");
  await control("server/start");
  await recorder.until(() => recorder.resets.length > 0);
  await recorder.state("live");
  await announce(1);
  await announce(2);
  await recorder.count(2);
  assert.deepEqual(recorder.models, [1, 2]);
  assert.deepEqual(recorder.resets.map(({ reason }) => reason), ["UnknownStart"]);
});

test("after it is closed nothing is called any more", async (t) => {
  const recorder = new Recorder();
  const subscription = listen(t, recorder, { after: "earliest" });
  await announce(1);
  await recorder.count(1);
  subscription.close();
  await subscription.closed;
  const other = new Recorder();
  listen(t, other, { after: recorder.cursors[0]! });
  await announce(2);
  await other.count(1);
  assert.deepEqual([recorder.models, recorder.states], [[1], ["connecting", "live"]]);
});

test("a handler may close it in the middle of what has come", async (t) => {
  for (const modelId of [1, 2, 3]) await announce(modelId);
  const recorder = new Recorder();
  const subscription = listen(t, recorder, {
    after: "earliest",
    onThumbnail(notification, cursor) {
      recorder.onThumbnail(notification, cursor);
      subscription.close();
    },
  });
  await subscription.closed;
  assert.deepEqual(recorder.models, [1]);
});
