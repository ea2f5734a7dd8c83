import assert from "node:assert/strict";
import { test } from "node:test";

import { Credentials } from "#thumbq/network/credentials.js";

test("a ticket that does not come is asked for again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answers = [new Promise<string>(() => undefined), "tt1.1.1.600.rest"];
  const ticket = (): string | Promise<string> => answers.shift() ?? "";
  const credentials = new Credentials(new URL("http://gateway.invalid/"), { ticket });
  const first = credentials.inAddress("http://gateway.invalid/1.png");
  t.mock.timers.tick(30_000);
  await assert.rejects(first, { name: "TimeoutError" });
  const second = await credentials.inAddress("http://gateway.invalid/1.png");
  assert.equal(second, "http://gateway.invalid/1.png?ticket=tt1.1.1.600.rest");
});
