import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { readStream } from "#thumbq/network/stream.js";

const silence = 40_000; // milliseconds

test("comments keep a line up, and silence ends it", async (t) => {
  const pieces = new Pieces(t);
  const frames = readStream(new URL("http://gateway.invalid/"), silence, new AbortController().signal);
  const reading = (async () => {
    for await (const frame of frames) assert.deepEqual(frame, {}); // a heartbeat
  })();
  for (let beat = 0; beat < 5; beat += 1) {
    await pieces.wanted();
    t.mock.timers.tick(silence - 1);
    pieces.send(":\n\n");
  }
  await pieces.wanted();
  t.mock.timers.tick(silence);
  await assert.rejects(reading, { name: "TimeoutError" });
});

test("a reader that is busy is not taken for a silent line", async (t) => {
  const pieces = new Pieces(t);
  const frames = readStream(new URL("http://gateway.invalid/"), silence, new AbortController().signal);
  const first = frames.next();
  await pieces.wanted();
  pieces.send("data: one\n\n");
  assert.deepEqual((await first).value, { data: "one" });
  t.mock.timers.tick(10 * silence);
  const second = frames.next();
  await pieces.wanted();
  pieces.send("data: two\n\n");
  assert.deepEqual((await second).value, { data: "two" });
});

/** The body of a fetch(), which a test sends in pieces. The clock stands still. */
class Pieces {
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #isWanted = false;
  #notify: () => void = () => undefined;

  constructor(t: TestContext) {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    t.mock.method(globalThis, "fetch", async (_address: URL, request: { signal: AbortSignal }) =>
      this.#answer(request.signal),
    );
  }

  async wanted(): Promise<void> {
    while (!this.#isWanted) await new Promise<void>((resolve) => (this.#notify = resolve));
    this.#isWanted = false;
  }

  send(text: string): void {
    this.#controller.enqueue(new TextEncoder().encode(text));
  }

  #answer(signal: AbortSignal): Response {
    const source: UnderlyingDefaultSource<Uint8Array> = {
      start: (controller) => {
        this.#controller = controller;
        signal.addEventListener("abort", () => controller.error(signal.reason));
      },
      pull: () => {
        this.#isWanted = true;
        this.#notify();
      },
    };
    const body = new ReadableStream(source, { highWaterMark: 0 });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }
}
