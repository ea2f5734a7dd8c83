import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { ThumbqError } from "thumbq";

import { listen } from "./listening.js";
import { Recorder } from "./recorder.js";
import { control } from "./service.js";

test("a request that is refused for good ends it with the reason", async (t) => {
  const recorder = new Recorder();
  const subscription = listen(t, recorder, { modelIds: [-1] });
  await assert.rejects(subscription.closed, (error) => error instanceof ThumbqError && error.httpStatus === 400);
  assert.deepEqual(recorder.states, ["connecting"]);
});

test("a gateway that is full is asked again, not before the time that it names", async (t) => {
  const asked: number[] = [];
  const gateway = createServer((_request, response) => {
    asked.push(performance.now());
    response.writeHead(503, { "Retry-After": "2" }).end("full");
    if (asked.length === 2) recorder.changed();
  });
  await new Promise<void>((resolve) => gateway.listen(0, "127.0.0.1", resolve));
  t.after(() => gateway.close().closeAllConnections());
  const recorder = new Recorder();
  listen(t, recorder, { url: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}` });
  await recorder.until(() => asked.length === 2);
  assert.ok(asked[1]! - asked[0]! >= 2_000);
  assert.deepEqual(recorder.states, ["connecting", "reconnecting"]);
});

test("an address that has all its subscriptions gets the next one when another ends", async (t) => {
  await control("gateway/stop");
  await control("gateway/start-for-one");
  const [first, second] = [new Recorder(), new Recorder()];
  const subscription = listen(t, first);
  await first.state("live");
  listen(t, second);
  await second.state("reconnecting");
  subscription.close();
  await second.state("live");
  assert.deepEqual(second.states, ["connecting", "reconnecting", "live"]);
});

test("an answer that is no event stream is not taken for one", async (t) => {
  const gateway = createServer((_request, response) => response.end("<title>Please log in</title>"));
  await new Promise<void>((resolve) => gateway.listen(0, "127.0.0.1", resolve));
  t.after(() => gateway.close().closeAllConnections());
  const recorder = new Recorder();
  listen(t, recorder, { url: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}` });
  await recorder.state("reconnecting");
  assert.deepEqual(recorder.states, ["connecting", "reconnecting"]);
});
