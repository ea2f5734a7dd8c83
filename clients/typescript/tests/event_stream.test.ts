import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStreamParser, type Frame } from "#thumbq/network/event_stream.js";

function parse(...pieces: string[]): Frame[] {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => [...parser.push(piece)]);
}

const stream =
  'retry: 2153\n\n: a comment\n\nid: 5f-1\nevent: thumbnail\ndata: {"modelId":5}\n\n' +
  ":\n\nid: 5f-2\n\nevent:queue\ndata:one\ndata:  two\n\nunknown: field\n\ndata: unfinished\n";
const frames: Frame[] = [
  { retry: 2153 },
  { id: "5f-1", event: "thumbnail", data: '{"modelId":5}' },
  { id: "5f-2" },
  { event: "queue", data: "one\n two" },
];

test("a stream is read into its frames, and comments are left out", () => {
  assert.deepEqual(parse(stream), frames);
});

test("it does not matter where a stream is cut", () => {
  for (let cut = 0; cut <= stream.length; cut += 1) {
    assert.deepEqual(parse(stream.slice(0, cut), stream.slice(cut)), frames);
  }
  assert.deepEqual(parse(...stream), frames);
});

test("lines may end in any of the three ways, wherever they are cut", () => {
  for (const end of ["\r\n", "\r"]) {
    const other = stream.replaceAll("\n", end);
    assert.deepEqual(parse(other), frames);
    assert.deepEqual(parse(...other), frames);
  }
});

test("a cursor with a NUL and a time that is no number are left out", () => {
  assert.deepEqual(parse("id: a\0b\nretry: soon\ndata\n\n"), [{ data: "" }]);
});
