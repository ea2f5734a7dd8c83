import assert from "node:assert/strict";
import { test } from "node:test";

import { BackOff, pause } from "#thumbq/network/back_off.js";

function isAbout(milliseconds: number, expected: number): void {
  assert.ok(milliseconds >= expected * 0.8 && milliseconds <= expected * 1.2, `${milliseconds} for ${expected}`);
}

test("pauses double up to the longest one, and begin anew after a success", () => {
  const backOff = new BackOff(6_000);
  for (const expected of [1_000, 2_000, 4_000, 6_000, 6_000]) isAbout(backOff.next(), expected);
  backOff.succeeded(1_500);
  for (const expected of [1_500, 3_000, 6_000]) isAbout(backOff.next(), expected);
  backOff.succeeded();
  isAbout(backOff.next(), 1_500);
});

test("two clients do not come back at the same moment", () => {
  const pauses = Array.from({ length: 50 }, () => new BackOff(30_000).next());
  assert.ok(new Set(pauses).size > 40);
});

test("a pause that nobody wants any more ends at once", async () => {
  const closing = new AbortController();
  const waiting = pause(3_600_000, closing.signal);
  closing.abort();
  await waiting;
  await pause(3_600_000, closing.signal);
});

test("a pause ends when the browser is back online", async () => {
  const events = new EventTarget();
  Object.assign(globalThis, {
    addEventListener: events.addEventListener.bind(events),
    removeEventListener: events.removeEventListener.bind(events),
  });
  const waiting = pause(3_600_000, new AbortController().signal);
  events.dispatchEvent(new Event("online"));
  await waiting;
});
