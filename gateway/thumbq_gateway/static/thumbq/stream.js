// Generated from clients/typescript/src/stream.ts by `make typescript`. Change it there.
import { errorOf } from "./errors.js";
import { EventStreamParser } from "./event_stream.js";
import { Patience } from "./patience.js";
const longestAnswer = 15_000; // milliseconds; a gateway answers at once, but a connection left over may be dead
/**
 * Reads one event stream to its end. fetch() rather than EventSource: that one hides comments, and with them the
 * gateway's heartbeats. Throws when the stream is refused, breaks, or says nothing for `silence` milliseconds; while
 * the reader is busy with a frame nobody is timed.
 */
export async function* readStream(address, silence, signal) {
    const patience = new Patience(signal);
    try {
        const response = await patience.wait(Math.min(silence, longestAnswer), fetch(address, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: patience.signal }));
        if (!response.ok)
            throw await patience.wait(silence, errorOf(response));
        if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
            throw new TypeError(`There is no event stream at ${address.href}`);
        }
        const reader = response.body.getReader();
        const decoder = new TextDecoder();
        const parser = new EventStreamParser();
        for (;;) {
            const { done, value } = await patience.wait(silence, reader.read());
            if (done)
                return;
            yield* parser.push(decoder.decode(value, { stream: true }));
        }
    }
    finally {
        patience.end();
    }
}
