import { errorOf } from "../errors.js";
import type { Credentials } from "./credentials.js";
import { Deadline } from "./deadline.js";
import { EventStreamParser, type Frame } from "./event_stream.js";

const answerTimeout = 15_000; // milliseconds; a gateway answers at once, but a reused connection may be dead

/**
 * Read one event stream to its end. It uses fetch(), since EventSource hides comments, which are the gateway's
 * heartbeats: each one is an empty frame. Throws when the stream is refused, breaks, or sends nothing for `silence`
 * milliseconds. The time in which the reader is busy with a frame does not count. A `body` is posted.
 */
export async function* readStream(
  address: URL,
  silence: number,
  signal: AbortSignal,
  credentials?: Credentials,
  body?: string,
): AsyncGenerator<Frame> {
  const deadline = new Deadline(signal);
  try {
    const request = (shown: Record<string, string>): Promise<Response> => {
      const headers = { Accept: "text/event-stream", ...(body && { "Content-Type": "application/json" }), ...shown };
      return deadline.limit(
        Math.min(silence, answerTimeout),
        fetch(address, { headers, cache: "no-store", signal: deadline.signal, ...(body && { method: "POST", body }) }),
      );
    };
    const response = await deadline.wait(credentials ? credentials.send(request) : request({}));
    if (!response.ok) throw await deadline.limit(silence, errorOf(response));
    if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      throw new TypeError(`There is no event stream at ${address.href}`);
    }
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventStreamParser();
    for (;;) {
      const { done, value } = await deadline.limit(silence, reader.read());
      if (done) return;
      let isHeartbeat = true;
      for (const frame of parser.push(decoder.decode(value, { stream: true }))) {
        isHeartbeat = false;
        yield frame;
      }
      if (isHeartbeat) yield {};
    }
  } finally {
    deadline.end();
  }
}
