import { ThumbqError } from "../errors.js";
import type { Frame } from "../network/event_stream.js";
import { Credentials } from "../network/credentials.js";
import { readStream } from "../network/stream.js";
import { changeModels, newStreamName, streamAddress, type StreamRequest } from "../network/stream_request.js";
import type { Cursor } from "../types.js";
import { isEarlier } from "./cursors.js";
import { openChannel, type Message, type SharedError } from "./messages.js";
import { whenGone } from "./presence.js";
import { union } from "./union.js";

/** Holds the one connection of all tabs, and passes on what comes. Each tab drops what it has seen or does not want. */
export class Leader {
  readonly #id = crypto.randomUUID();
  readonly #gateway: URL;
  readonly #credentials: Credentials; // none: only pages without share a connection
  readonly #channel: BroadcastChannel;
  readonly #members = new Map<string, StreamRequest>();
  readonly #waiting = new Set<string>(); // members that the present connection does not serve yet
  #position: Cursor | undefined; // no member is behind it
  #served = ""; // the filter of the present connection, empty without one
  #name = ""; // of the present connection's stream
  #changes = Promise.resolve();
  #silence = Infinity;
  #connection = new AbortController();
  #signal = AbortSignal.abort(); // of the lead
  #wake: () => void = () => undefined;
  #latest = new Map<string, Frame>(); // the last queue and heartbeat, for members that come later

  constructor(gateway: URL) {
    this.#gateway = gateway;
    this.#credentials = new Credentials(gateway, {});
    this.#channel = openChannel(gateway);
  }

  /** Lead until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const end = (): void => this.#restart();
    this.#signal = signal;
    signal.addEventListener("abort", end);
    this.#channel.addEventListener("message", ({ data }: MessageEvent<Message>) => this.#hear(data));
    this.#say({ type: "leading", from: this.#id });
    while (!signal.aborted) {
      if (this.#members.size === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
      else await this.#connect();
    }
    signal.removeEventListener("abort", end);
    this.#channel.close();
  }

  async #connect(): Promise<void> {
    const connection = (this.#connection = new AbortController());
    const request = union(this.#members.values());
    this.#served = filterOf(request);
    this.#latest.clear();
    this.#name = newStreamName();
    const after = this.#position ?? "earliest";
    const { address, body } = streamAddress(this.#gateway, this.#name, { ...request, after });
    let error: SharedError = { message: "The gateway ended the stream." };
    try {
      for await (const frame of readStream(address, this.#silence, connection.signal, this.#credentials, body)) {
        if (connection.signal.aborted) return;
        this.#pass(frame);
      }
    } catch (caught) {
      error = shared(caught);
    }
    if (connection.signal.aborted) return;
    this.#served = "";
    this.#members.clear(); // each one joins again after its own pause
    this.#waiting.clear();
    this.#position = undefined;
    this.#say({ type: "ended", from: this.#id, error });
  }

  #hear(message: Message): void {
    if (message.type === "join") this.#join(message.member, message.request, message.silence);
    else if (message.type === "leave") this.#leave(message.member);
    else if (message.type === "change") this.#changes = this.#changes.then(() => this.#change(message.member, message.modelIds));
  }

  #join(member: string, request: StreamRequest, silence: number): void {
    if (!this.#members.has(member)) void whenGone(member, this.#signal, () => this.#leave(member));
    this.#members.set(member, request);
    this.#silence = Math.min(this.#silence, silence);
    const isBehind = request.thumbnails && (this.#position === undefined || isEarlier(request.after, this.#position));
    if (isBehind) this.#position = request.after;
    if (isBehind || filterOf(union(this.#members.values())) !== this.#served) {
      this.#waiting.add(member);
      this.#restart();
    } else if (this.#waiting.size > 0) {
      this.#waiting.add(member); // the connection is only being made
    } else {
      this.#admit(member);
    }
  }

  async #change(member: string, modelIds: readonly number[]): Promise<void> {
    const request = this.#members.get(member);
    if (request === undefined) return; // it joins again with its new models
    this.#members.set(member, { ...request, modelIds });
    const connection = this.#connection;
    const wanted = union(this.#members.values());
    if (filterOf(wanted) !== this.#served) {
      const isDone = await changeModels(
        this.#gateway,
        this.#name,
        wanted.modelIds,
        connection.signal,
        this.#credentials,
      );
      // A connection that was made meanwhile has asked for them itself; a new one replays what came after the position.
      if (connection === this.#connection && isDone) this.#served = filterOf(wanted);
      else if (connection === this.#connection) this.#restart();
    }
    this.#say({ type: "changed", from: this.#id, member });
  }

  #leave(member: string): void {
    if (!this.#members.delete(member)) return;
    this.#waiting.delete(member);
    if (this.#members.size > 0) return;
    this.#position = undefined;
    this.#silence = Infinity;
    this.#served = "";
    this.#latest.clear();
    this.#restart();
  }

  #restart(): void {
    this.#connection.abort();
    this.#wake();
  }

  #admit(member: string): void {
    this.#say({ type: "admitted", from: this.#id, member, frames: [...this.#latest.values()] });
  }

  #pass(frame: Frame): void {
    for (const member of this.#waiting) this.#admit(member);
    this.#waiting.clear();
    this.#position = frame.id ?? this.#position;
    if (frame.event === "queue" || frame.event === "heartbeat") this.#latest.set(frame.event, frame);
    this.#say({ type: "frame", from: this.#id, frame });
  }

  #say(message: Message): void {
    this.#channel.postMessage(message);
  }
}

function filterOf({ modelIds, statuses, thumbnails, queue, progress }: StreamRequest): string {
  return JSON.stringify([modelIds, statuses, thumbnails, queue, progress]);
}

function shared(error: unknown): SharedError {
  if (!(error instanceof ThumbqError)) return { message: String(error) };
  const { message, httpStatus, code, retryAfter } = error;
  return { message, httpStatus, code, retryAfter };
}
