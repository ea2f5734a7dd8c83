import { gatewayAddress, pictureAddress } from "./addresses.js";
import { Thumbq } from "./api.js";
import { runCallback } from "./callback.js";
import { ThumbqError } from "./errors.js";
import { Listener } from "./listener.js";
import { BackOff, pause } from "./network/back_off.js";
import { Credentials } from "./network/credentials.js";
import type { ConnectionOptions, Subscription } from "./subscription.js";
import type { Cursor, JobProgress, Notification, ThumbnailStatus } from "./types.js";

const mostAtOnce = 1_000; // models that one request reads

/** The state of one model, as a page shows it. */
export interface ModelThumbnail {
  modelId: number;
  status: ThumbnailStatus;
  /** The last good picture, for `<img src>`. A new picture has a new address. */
  pictureUrl: string | undefined;
  /** Why the last attempt failed. */
  errorMessage: string | undefined;
}

export interface FollowOptions extends ConnectionOptions {
  /** Without any, no connection is made until models are added. */
  modelIds: Iterable<number>;
  /** Called with the present state of each model first, then after each change. */
  onThumbnail: (thumbnail: ModelThumbnail) => unknown;
  /** Called with the progress of the jobs under way of these models, at most twice a second for each job. */
  onProgress?: (progress: JobProgress) => unknown;
}

/** A subscription to models that may change. */
export interface Following extends Subscription {
  /** Follow these models too, over the same connection. `onThumbnail` is called with the present state of the new ones. */
  add(...modelIds: readonly number[]): void;
  /** Follow these models no more: `onThumbnail` is not called with them again. */
  remove(...modelIds: readonly number[]): void;
}

/** Report the state of models and each change: load, subscribe, and reload when events are missing. */
export function follow(options: FollowOptions): Following {
  return new Follower(options);
}

/** What `follow` returns. Elements ask it for more. */
export class Follower implements Following {
  readonly closed: Promise<void>;
  readonly #gateway: URL;
  readonly #api: Thumbq;
  readonly #credentials: Credentials;
  readonly #options: FollowOptions;
  readonly #listener: Listener;
  readonly #closing = new AbortController();
  readonly #models: Set<number>;
  readonly #pictures = new Map<number, string>();
  readonly #positions = new Map<number, Cursor>(); // of what is shown of each model
  readonly #ended = new Map<number, Notification>(); // the newest of each model, if it ended an attempt
  readonly #added = new Set<number>(); // models that are not loaded yet
  #isAdding = false;
  #request: Promise<void> | undefined; // it has yet to begin

  constructor(options: FollowOptions) {
    this.#gateway = gatewayAddress(options.url);
    this.#credentials = new Credentials(this.#gateway, options);
    this.#api = new Thumbq({ url: this.#gateway }, this.#credentials);
    this.#options = options;
    this.#models = new Set(options.modelIds);
    const events = {
      ...options,
      modelIds: [...this.#models],
      onThumbnail: this.#change.bind(this),
      ...(options.onProgress && { onProgress: this.#tell.bind(this) }),
      onReset: (_reset: unknown, signal: AbortSignal) => this.#loadAnew(signal),
    };
    this.#listener = new Listener(this.#gateway, this.#credentials, events, this.#start.bind(this), true);
    this.closed = this.#listener.closed;
  }

  get cursor(): Cursor | undefined {
    return this.#listener.cursor;
  }

  close(): void {
    this.#closing.abort();
    this.#listener.close();
  }

  add(...modelIds: readonly number[]): void {
    const wasEmpty = this.#models.size === 0;
    for (const modelId of modelIds) {
      if (this.#models.has(modelId)) continue;
      this.#models.add(modelId);
      if (!wasEmpty) this.#added.add(modelId); // otherwise the start loads them
    }
    if (wasEmpty) void this.#listener.changeModels(this.#models);
    else if (this.#added.size > 0 && !this.#isAdding) void this.#loadAdded();
  }

  remove(...modelIds: readonly number[]): void {
    for (const modelId of modelIds) {
      this.#models.delete(modelId);
      this.#added.delete(modelId);
      this.#pictures.delete(modelId);
      this.#positions.delete(modelId);
      this.#ended.delete(modelId);
    }
    if (this.#models.size === 0) void this.#listener.changeModels(this.#models);
    else if (this.#credentials.areGiven) void this.#changeModels(); // a ticket for the rest opens no stream of all
  }

  /** Have the stream send the events of the present models. A page changes them one by one, and one request is enough. */
  #changeModels(): Promise<void> {
    this.#request ??= Promise.resolve().then(() => {
      this.#request = undefined;
      return this.#listener.changeModels(this.#models);
    });
    return this.#request;
  }

  /**
   * Return a state that `onThumbnail` was called with, for a picture that is loaded only now: its address has the present
   * ticket. Without any ticket it returns nothing, and `onThumbnail` is called once there is one.
   */
  async renewed(thumbnail: ModelThumbnail): Promise<ModelThumbnail | undefined> {
    const { modelId, pictureUrl } = thumbnail;
    try {
      return { ...thumbnail, pictureUrl: pictureUrl && (await this.#credentials.inAddress(pictureUrl)) };
    } catch {
      this.#loadAgain(modelId);
      return undefined;
    }
  }

  /** Load the models that were added, once their events arrive: so no change falls in between. */
  async #loadAdded(): Promise<void> {
    const backOff = new BackOff(this.#options.longestPause ?? 30_000);
    this.#isAdding = true;
    await Promise.resolve(); // a page adds its models one by one, and one request is enough for them
    while (this.#added.size > 0 && !this.#closing.signal.aborted) {
      const models = [...this.#added];
      this.#added.clear();
      try {
        await this.#changeModels();
        await this.#load(models, this.#closing.signal);
      } catch (error) {
        for (const modelId of models) this.#addAgain(modelId);
        if (error instanceof ThumbqError && error.isFinal) break;
        await pause(backOff.next(), this.#closing.signal);
      }
    }
    this.#isAdding = false;
  }

  /** Have a model loaded once more, unless it was removed. */
  #addAgain(modelId: number): void {
    if (this.#models.has(modelId)) this.#added.add(modelId);
  }

  #loadAgain(modelId: number): void {
    this.#addAgain(modelId);
    if (!this.#isAdding) void this.#loadAdded();
  }

  async #start(signal: AbortSignal): Promise<Cursor> {
    const cursor = await this.#api.cursor({ signal });
    await this.#load([...this.#models], signal);
    return cursor;
  }

  /** Load everything after a reset. What is shown may be newer than the log, which has gone back then. */
  #loadAnew(signal: AbortSignal): Promise<void> {
    this.#positions.clear();
    return this.#load([...this.#models], signal);
  }

  async #load(modelIds: readonly number[], signal: AbortSignal): Promise<void> {
    for (let first = 0; first < modelIds.length; first += mostAtOnce) {
      const { thumbnails, cursor } = await this.#api.thumbnails(modelIds.slice(first, first + mostAtOnce), { signal });
      for (const { modelId, status, fileUrl, errorMessage, processedAt } of thumbnails) {
        if (!this.#models.has(modelId) || isOlder(cursor, this.#positions.get(modelId))) continue;
        if (fileUrl === null) this.#pictures.delete(modelId);
        else this.#pictures.set(modelId, pictureAddress(this.#gateway, fileUrl, processedAt));
        this.#positions.set(modelId, cursor);
        await this.#show(modelId, status, errorMessage);
      }
    }
  }

  async #change(notification: Notification, cursor: Cursor): Promise<void> {
    const { modelId, status, thumbnailUrl, errorMessage, timestamp } = notification;
    if (!this.#models.has(modelId) || !isLater(cursor, this.#positions.get(modelId))) return;
    this.#positions.set(modelId, cursor);
    if (status === "Ready" || status === "Failed") this.#ended.set(modelId, notification);
    else this.#ended.delete(modelId);
    if (status === "None") this.#pictures.delete(modelId); // the model was forgotten
    if (thumbnailUrl !== null) this.#pictures.set(modelId, pictureAddress(this.#gateway, thumbnailUrl, timestamp));
    try {
      await this.#show(modelId, status, errorMessage);
    } catch {
      this.#loadAgain(modelId); // there is no ticket for its picture at the moment
    }
  }

  #tell(progress: JobProgress): unknown {
    if (!this.#models.has(progress.modelId)) return undefined;
    const ended = this.#ended.get(progress.modelId);
    // It may have been under way when its attempt ended.
    if (ended?.jobId === progress.jobId && progress.attemptCount <= ended.attemptCount) return undefined;
    return this.#options.onProgress?.(progress);
  }

  async #show(modelId: number, status: ThumbnailStatus, errorMessage: string | null): Promise<void> {
    const picture = this.#pictures.get(modelId);
    const pictureUrl = picture && (await this.#credentials.inAddress(picture));
    if (this.#closing.signal.aborted || !this.#models.has(modelId)) return;
    const thumbnail = { modelId, status, pictureUrl, errorMessage: errorMessage ?? undefined };
    await runCallback(() => this.#options.onThumbnail(thumbnail));
  }
}

/** Return whether an event is newer than what is shown. An event of another log counts as newer. */
function isLater(cursor: Cursor, shown: Cursor | undefined): boolean {
  const [epoch, seq] = cursor.split("-");
  const [shownEpoch, shownSeq] = shown?.split("-") ?? [];
  return epoch !== shownEpoch || Number(seq) > Number(shownSeq);
}

/** Return whether a state that was read is older than what is shown: an event of a model that was added overtook it. */
function isOlder(cursor: Cursor, shown: Cursor | undefined): boolean {
  const [epoch, seq] = cursor.split("-");
  const [shownEpoch, shownSeq] = shown?.split("-") ?? [];
  return epoch === shownEpoch && Number(seq) < Number(shownSeq);
}
