import type { Access } from "./network/credentials.js";
import type { Cursor, JobProgress, Notification, QueueSnapshot, Reset, ThumbnailStatus } from "./types.js";

/**
 * The state of the connection. "live": events arrive. "away": the gateway answers, but has lost its server (reported
 * only with `onQueue`). "reconnecting": the gateway does not answer.
 */
export type ConnectionState = "connecting" | "live" | "away" | "reconnecting";

/** How to connect to the gateway. */
export interface ConnectionOptions extends Access {
  /** The gateway, such as "http://localhost:5009". A page that the gateway serves can leave it out. */
  url?: string | URL;
  /** Called after each change of the state. */
  onConnection?: (state: ConnectionState) => void;
  /**
   * The connection counts as dead after this many milliseconds without a byte; default 40,000. The gateway sends a
   * heartbeat every 15 seconds by default.
   */
  silence?: number;
  /** The longest pause between two attempts to connect, in milliseconds; default 30,000. */
  longestPause?: number;
}

export interface SubscribeOptions extends ConnectionOptions {
  /** Only these models; default: all. */
  modelIds?: readonly number[];
  /** Only these statuses; default: all. */
  statuses?: readonly ThumbnailStatus[];
  /** Where to start: "latest" (the default: from now on), "earliest" (everything in the log), or after a cursor. */
  after?: Cursor;
  /** Called for each event in order. If it returns a promise, the next event waits for it. */
  onThumbnail: (notification: Notification, cursor: Cursor) => unknown;
  /**
   * Called when events are missing, because the log no longer holds them: reload your state. Later events wait for the
   * promise that it returns. If it throws or rejects, it is called again later. If it returns a cursor (or "earliest"),
   * the subscription continues from there. The signal is aborted when the subscription is closed.
   */
  onReset: (reset: Reset, signal: AbortSignal) => unknown;
  /** Called with the counters of the whole queue: at once, then after each change. */
  onQueue?: (snapshot: QueueSnapshot) => unknown;
  /**
   * Called with the progress of the jobs of these models, whatever `statuses` says, at most twice a second for each job.
   * It may be lost, and may come just after the event that ends its attempt: that has the same jobId and attemptCount.
   */
  onProgress?: (progress: JobProgress) => unknown;
}

export interface WatchQueueOptions extends ConnectionOptions {
  /** Called with the counters of the whole queue: at once, then after each change. */
  onQueue: (snapshot: QueueSnapshot) => unknown;
}

/** An open subscription. */
export interface Subscription {
  /** End the subscription. No callback is called any more. */
  close(): void;
  /** The position in the log. Pass it as `after` to continue later. */
  readonly cursor: Cursor | undefined;
  /** Fulfilled after `close()`; rejected with ThumbqError if the gateway refuses the subscription for good. */
  readonly closed: Promise<void>;
}
