import type { Cursor, ThumbnailStatus } from "../types.js";
import type { Credentials } from "./credentials.js";
import { Deadline } from "./deadline.js";

const mostModels = 10_000; // of one subscription, at the gateway; the events of more are sorted out here
const longestAddress = 4_000; // characters of a list of models; a longer one is posted
const answerTimeout = 15_000; // milliseconds

/** The events that a stream is to have. */
export interface StreamRequest {
  after: Cursor;
  /** Empty: all models. */
  modelIds: readonly number[];
  /** Empty: all statuses. */
  statuses: readonly ThumbnailStatus[];
  /** False: no events of the log, and no position in it. */
  thumbnails: boolean;
  queue: boolean;
  progress: boolean;
}

/** Return a name for a stream, with which its models can be changed. Nobody else guesses it. */
export function newStreamName(): string {
  // crypto.randomUUID is missing in pages that come over plain HTTP from another machine.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the address of a stream, and the body to post when the models do not fit into the address. */
export function streamAddress(gateway: URL, name: string, request: StreamRequest): { address: URL; body?: string } {
  const address = new URL("api/notifications", gateway);
  address.searchParams.set("stream", name);
  const modelIds = request.modelIds.length > mostModels ? "" : request.modelIds.join(",");
  if (modelIds.length > longestAddress) return { address, body: JSON.stringify(request) };
  address.searchParams.set("after", request.after);
  if (modelIds) address.searchParams.set("modelId", modelIds);
  if (request.statuses.length > 0) address.searchParams.set("status", request.statuses.join(","));
  if (!request.thumbnails) address.searchParams.set("thumbnails", "false");
  if (request.progress) address.searchParams.set("progress", "true");
  if (request.queue) address.searchParams.set("queue", "true");
  return { address };
}

/**
 * Have an open stream send the events of these models from now on, and of no others. Returns false when it cannot: it
 * has ended, or it is at another gateway. A new connection helps then.
 */
export async function changeModels(
  gateway: URL,
  stream: string,
  modelIds: readonly number[],
  signal: AbortSignal,
  credentials: Credentials,
): Promise<boolean> {
  if (modelIds.length === 0 || modelIds.length > mostModels) return false;
  const deadline = new Deadline(signal);
  try {
    const request = (shown: Record<string, string>): Promise<Response> =>
      deadline.limit(
        answerTimeout,
        fetch(new URL("api/notifications/models", gateway), {
          method: "POST",
          headers: { "Content-Type": "application/json", ...shown },
          body: JSON.stringify({ stream, modelIds }),
          signal: deadline.signal,
        }),
      );
    const response = await deadline.wait(credentials.send(request));
    return response.ok;
  } catch {
    return false;
  } finally {
    deadline.end();
  }
}
