import assert from "node:assert/strict";
import { test } from "node:test";

import { thumbq, url } from "./service.js";

test("a call that comes too often is made again when the gateway says so", async () => {
  const statuses = await Promise.all(
    Array.from({ length: 30 }, async () => (await fetch(new URL("api/notifications/cursor", url))).status),
  );
  assert.ok(statuses.includes(429), "the gateway has refused none");
  const cursors = await Promise.all(Array.from({ length: 5 }, () => thumbq.cursor()));
  assert.equal(new Set(cursors).size, 1);
});
