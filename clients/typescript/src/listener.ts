import { BackOff, pause } from "./back_off.js";
import { called } from "./callback.js";
import { ThumbqError } from "./errors.js";
import type { Frame } from "./event_stream.js";
import { readStream } from "./stream.js";
import type { ConnectionState, SubscribeOptions, Subscription } from "./subscribe.js";
import type { Cursor, Notification, QueueSnapshot, Reset } from "./types.js";

const silence = 40_000; // milliseconds: two heartbeats may be lost
const longestPause = 30_000; // milliseconds
const longestFilter = 4_000; // characters in the address; beyond that everything is sent, and sorted out here

/** Keeps one subscription going: one connection after the other, each from where the last one ended. */
export class Listener implements Subscription {
  readonly closed: Promise<void>;
  readonly #gateway: URL;
  readonly #options: SubscribeOptions;
  readonly #start: (signal: AbortSignal) => Promise<Cursor>;
  readonly #modelIds: ReadonlySet<number>;
  readonly #backOff: BackOff;
  readonly #closing = new AbortController();
  #position: Cursor | undefined;
  #state: ConnectionState | undefined;

  /** @param start finds where to begin; called until it succeeds */
  constructor(gateway: URL, options: SubscribeOptions, start: (signal: AbortSignal) => Promise<Cursor>) {
    this.#gateway = gateway;
    this.#options = options;
    this.#start = start;
    this.#modelIds = new Set(options.modelIds);
    this.#backOff = new BackOff(options.longestPause ?? longestPause);
    this.closed = Promise.resolve().then(() => this.#listen());
  }

  get cursor(): Cursor | undefined {
    return this.#position?.includes("-") ? this.#position : undefined;
  }

  close(): void {
    this.#closing.abort();
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #listen(): Promise<void> {
    this.#tell("connecting");
    while (!this.#isClosed) {
      let leastPause = 0;
      try {
        this.#position ??= await this.#start(this.#closing.signal);
        if (await this.#connect(this.#position)) continue;
      } catch (error) {
        if (error instanceof ThumbqError && !this.#isClosed) {
          if (error.isFinal) throw error;
          leastPause = (error.retryAfter ?? 0) * 1_000;
        }
      }
      this.#tell("reconnecting");
      await pause(leastPause + this.#backOff.next(), this.#closing.signal);
    }
  }

  /** Follows one connection to its end; true when another one shall follow at once. */
  async #connect(position: Cursor): Promise<boolean> {
    const frames = readStream(this.#address(position), this.#options.silence ?? silence, this.#closing.signal);
    let isKnown = false; // whether there is a server behind the gateway
    let hasEvent = !this.#options.onQueue; // who watches the queue hears of it, or of the server's absence, at once
    for await (const frame of frames) {
      if (this.#isClosed) return false;
      this.#backOff.succeeded(frame.retry);
      if (frame.event === "reset") {
        const next = await this.#reset(frame);
        if (next !== undefined && next !== position) {
          this.#position = next;
          return true;
        }
      } else if (frame.data !== undefined) {
        await this.#take(frame, frame.data);
      }
      this.#position = frame.id ?? this.#position;
      hasEvent ||= frame.event !== undefined;
      isKnown ||= frame.event === "heartbeat";
      // Whoever asked for what comes from now on misses nothing as soon as it is known from where.
      if (!isKnown && hasEvent && this.#position !== "latest") {
        isKnown = true;
        this.#tell("live");
      }
    }
    return false;
  }

  async #take(frame: Frame, data: string): Promise<void> {
    const { onThumbnail, onQueue } = this.#options;
    const content = JSON.parse(data) as unknown;
    if (frame.event === "thumbnail") {
      const notification = content as Notification;
      if (this.#modelIds.size > 0 && !this.#modelIds.has(notification.modelId)) return;
      await called(() => onThumbnail(notification, frame.id ?? ""));
    } else if (frame.event === "queue") {
      await called(() => onQueue?.(content as QueueSnapshot));
    } else if (frame.event === "heartbeat") {
      this.#tell((content as { connected: boolean }).connected ? "live" : "away");
    }
  }

  async #reset(frame: Frame): Promise<Cursor | undefined> {
    try {
      const next = await this.#options.onReset(JSON.parse(frame.data ?? "") as Reset, this.#closing.signal);
      return typeof next === "string" ? next : undefined;
    } catch (error) {
      // The position stays as it is, so the next connection begins with the same reset.
      console.error("thumbq: the state could not be loaded anew, and will be again", error);
      throw new Error("not loaded", { cause: error });
    }
  }

  #tell(state: ConnectionState): void {
    if (state === this.#state || this.#isClosed) return;
    this.#state = state;
    void called(() => this.#options.onConnection?.(state));
  }

  #address(position: Cursor): URL {
    const address = new URL("api/notifications", this.#gateway);
    const { statuses = [], onQueue } = this.#options;
    const modelIds = [...this.#modelIds].join(",");
    address.searchParams.set("after", position);
    if (modelIds && modelIds.length <= longestFilter) address.searchParams.set("modelId", modelIds);
    if (statuses.length > 0) address.searchParams.set("status", statuses.join(","));
    if (onQueue) address.searchParams.set("queue", "true");
    return address;
  }
}
