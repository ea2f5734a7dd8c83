import { runCallback } from "./callback.js";
import { ThumbqError } from "./errors.js";
import { BackOff, pause } from "./network/back_off.js";
import type { Credentials } from "./network/credentials.js";
import type { Frame } from "./network/event_stream.js";
import { openStream, type OpenStream } from "./sharing/shared_stream.js";
import type { ConnectionState, SubscribeOptions, Subscription } from "./subscription.js";
import type { Cursor, JobProgress, Notification, QueueSnapshot, Reset } from "./types.js";

const silence = 40_000; // milliseconds: two heartbeats may be lost
const longestPause = 30_000; // milliseconds

/** Without `onThumbnail`, the connection has no events of the log, and so no reset. */
export type ListenerOptions = Partial<SubscribeOptions>;

/** Keeps one subscription open over many connections. Each connection starts where the last one ended. */
export class Listener implements Subscription {
  readonly closed: Promise<void>;
  readonly #gateway: URL;
  readonly #credentials: Credentials;
  readonly #options: ListenerOptions;
  readonly #start: (signal: AbortSignal) => Promise<Cursor>;
  readonly #needsModels: boolean;
  #modelIds: ReadonlySet<number>;
  readonly #backOff: BackOff;
  readonly #closing = new AbortController();
  #connection = new AbortController();
  #stream: OpenStream = {};
  #wake: () => void = () => undefined;
  #mustStart = false; // it had no models for a moment, and the present ones are to be loaded
  #position: Cursor | undefined;
  #state: ConnectionState | undefined;

  /**
   * @param start returns the first position; called until it succeeds
   * @param needsModels without any models, there is no connection; otherwise there are events of all models
   */
  constructor(
    gateway: URL,
    credentials: Credentials,
    options: ListenerOptions,
    start: (signal: AbortSignal) => Promise<Cursor>,
    needsModels = false,
  ) {
    this.#gateway = gateway;
    this.#credentials = credentials;
    this.#options = options;
    this.#start = start;
    this.#needsModels = needsModels;
    this.#modelIds = new Set(options.modelIds);
    this.#backOff = new BackOff(options.longestPause ?? longestPause);
    this.closed = Promise.resolve().then(() => this.#listen());
  }

  get cursor(): Cursor | undefined {
    return this.#position?.includes("-") ? this.#position : undefined;
  }

  close(): void {
    this.#closing.abort();
    this.#connection.abort();
    this.#wake();
  }

  /** Want other models from now on. Fulfilled when every later event of them arrives. */
  async changeModels(modelIds: Iterable<number>): Promise<void> {
    this.#modelIds = new Set(modelIds);
    this.#mustStart ||= this.#isIdle;
    this.#wake();
    const connection = this.#connection; // one that comes meanwhile has asked for them itself
    if (!this.#isIdle && (await this.#stream.changeModels?.([...this.#modelIds]))) return;
    connection.abort(); // the next one begins where this one is
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  get #isIdle(): boolean {
    return this.#needsModels && this.#modelIds.size === 0;
  }

  async #listen(): Promise<void> {
    while (!this.#isClosed) {
      if (this.#mustStart) this.#position = undefined;
      this.#mustStart = false;
      if (this.#isIdle) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      if (this.#state === undefined) this.#setState("connecting");
      this.#connection = new AbortController();
      let leastPause = 0;
      try {
        this.#position ??= await this.#start(this.#closing.signal);
        if (await this.#connect(this.#position)) continue;
      } catch (error) {
        if (error instanceof ThumbqError && !this.#isClosed) {
          if (error.isFinal) throw error;
          leastPause = (error.retryAfter ?? 0) * 1_000;
        }
      } finally {
        this.#stream = {};
      }
      if (this.#connection.signal.aborted) continue; // other models are wanted
      this.#setState("reconnecting");
      await pause(leastPause + this.#backOff.next(), this.#closing.signal);
    }
  }

  /** Follow one connection to its end. Returns true if the next connection may start at once. */
  async #connect(position: Cursor): Promise<boolean> {
    const { statuses = [], onThumbnail, onQueue, onProgress } = this.#options;
    const has = (callback: unknown): boolean => callback !== undefined;
    const also = { thumbnails: has(onThumbnail), queue: has(onQueue), progress: has(onProgress) };
    const request = { after: position, modelIds: [...this.#modelIds], statuses, ...also };
    const { signal } = this.#connection;
    const longest = this.#options.silence ?? silence;
    const frames = openStream(this.#gateway, request, longest, signal, this.#stream, this.#credentials);
    let isKnown = false; // whether the gateway has its server
    let hasEvent = !this.#options.onQueue; // with onQueue, the first event says whether the gateway has its server
    for await (const frame of frames) {
      if (signal.aborted) return false;
      this.#backOff.succeeded(frame.retry);
      if (frame.event === "reset") {
        const next = await this.#reset(frame);
        if (next !== undefined && next !== position) {
          this.#position = next;
          return true;
        }
      } else if (frame.data !== undefined) {
        await this.#deliver(frame, frame.data);
      }
      this.#position = frame.id ?? this.#position;
      hasEvent ||= frame.event !== undefined;
      isKnown ||= frame.event === "heartbeat";
      // With "latest", the subscription is live once it has a cursor: from then on it misses nothing.
      if (!isKnown && hasEvent && (!also.thumbnails || this.#position !== "latest")) {
        isKnown = true;
        this.#setState("live");
      }
    }
    return false;
  }

  async #deliver(frame: Frame, data: string): Promise<void> {
    const { onThumbnail, onQueue, onProgress } = this.#options;
    const content = JSON.parse(data) as unknown;
    if (frame.event === "thumbnail") {
      const notification = content as Notification;
      if (!this.#wants(notification.modelId)) return;
      await runCallback(() => onThumbnail?.(notification, frame.id ?? ""));
    } else if (frame.event === "queue") {
      await runCallback(() => onQueue?.(content as QueueSnapshot));
    } else if (frame.event === "progress") {
      const progress = content as JobProgress;
      if (this.#wants(progress.modelId)) await runCallback(() => onProgress?.(progress));
    } else if (frame.event === "heartbeat") {
      this.#setState((content as { connected: boolean }).connected ? "live" : "away");
    }
  }

  #wants(modelId: number): boolean {
    return (!this.#needsModels && this.#modelIds.size === 0) || this.#modelIds.has(modelId);
  }

  async #reset(frame: Frame): Promise<Cursor | undefined> {
    try {
      const next = await this.#options.onReset?.(JSON.parse(frame.data ?? "") as Reset, this.#closing.signal);
      return typeof next === "string" ? next : undefined;
    } catch (error) {
      // The position stays as it is, so the next connection begins with the same reset.
      console.error("thumbq: the state could not be reloaded; thumbq will try again", error);
      throw new Error("not loaded", { cause: error });
    }
  }

  #setState(state: ConnectionState): void {
    if (state === this.#state || this.#isClosed) return;
    this.#state = state;
    void runCallback(() => this.#options.onConnection?.(state));
  }
}
