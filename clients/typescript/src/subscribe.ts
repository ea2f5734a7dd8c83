import { gatewayAddress } from "./addresses.js";
import { Listener } from "./listener.js";
import type { Cursor, Notification, QueueSnapshot, Reset, ThumbnailStatus } from "./types.js";

/**
 * What is known of the way to the service: "live"; "away", when the gateway is there and the server behind it is not
 * (told only with `onQueue`); "reconnecting", when the gateway is not to be reached.
 */
export type ConnectionState = "connecting" | "live" | "away" | "reconnecting";

/** How to get to the gateway, and what to know of it. */
export interface ConnectionOptions {
  /** The gateway, such as "http://localhost:5009". In a page that comes from it nothing is needed. */
  url?: string | URL;
  /** Called when the state has changed. */
  onConnection?: (state: ConnectionState) => void;
  /**
   * Milliseconds without any sign of life after which the connection is taken to be dead; default 40,000. The gateway
   * sends a heartbeat every 15 seconds, unless it was told otherwise.
   */
  silence?: number;
  /** Milliseconds between two attempts to connect, at most; default 30,000. */
  longestPause?: number;
}

export interface SubscribeOptions extends ConnectionOptions {
  /** Only these models; without it all. */
  modelIds?: readonly number[];
  /** Only these statuses; without it all. */
  statuses?: readonly ThumbnailStatus[];
  /** Where to begin: "latest" (default: from now on), "earliest" (all that the log holds), or after a cursor. */
  after?: Cursor;
  /** Called for each event in order. When it returns a promise, the next one waits for it. */
  onThumbnail: (notification: Notification, cursor: Cursor) => unknown;
  /**
   * Called when the log does not reach back to where this subscription was: load your state anew. Events that follow
   * wait for the promise that it returns; when it throws or rejects, it is called again later. A cursor that it returns
   * (or "earliest") is where the subscription goes on. The signal is aborted when the subscription is closed.
   */
  onReset: (reset: Reset, signal: AbortSignal) => unknown;
  /** Called with the counters of the whole queue, first at once, then when they have changed. */
  onQueue?: (snapshot: QueueSnapshot) => unknown;
}

/** A standing subscription. */
export interface Subscription {
  /** Ends it; nothing is called any more. */
  close(): void;
  /** Where it is in the log: `after` for one that goes on later. */
  readonly cursor: Cursor | undefined;
  /** Fulfilled when it was closed; rejected with ThumbqError when the gateway refuses it for good. */
  readonly closed: Promise<void>;
}

/** Tells what happens to thumbnails, each event at least once and in order, through whatever happens to the network. */
export function subscribe(options: SubscribeOptions): Subscription {
  return new Listener(gatewayAddress(options.url), options, () => Promise.resolve(options.after ?? "latest"));
}
