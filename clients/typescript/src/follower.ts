import { pictureAddress } from "./addresses.js";
import { Thumbq } from "./api.js";
import { runCallback } from "./callback.js";
import type { FollowOptions } from "./follow.js";
import type { Source } from "./listener.js";
import type { Cursor, Notification, ThumbnailStatus } from "./types.js";

/** Knows what followed models show: loads each before the stream has its events, and drops events that are older. */
export class Follower implements Source {
  readonly modelIds: Set<number>;
  readonly #gateway: URL;
  readonly #api: Thumbq;
  readonly #onThumbnail: FollowOptions["onThumbnail"];
  readonly #pictures = new Map<number, string>();
  readonly #loadedAt = new Map<number, Cursor>();
  #begin: Cursor | undefined; // no model was loaded before it
  #wake: () => void = () => undefined;

  constructor(gateway: URL, options: FollowOptions) {
    this.modelIds = new Set(options.modelIds);
    this.#gateway = gateway;
    this.#api = new Thumbq({ url: gateway });
    this.#onThumbnail = options.onThumbnail;
  }

  /** Return whether there are new models among these. */
  add(modelIds: readonly number[]): boolean {
    const before = this.modelIds.size;
    for (const modelId of modelIds) this.modelIds.add(modelId);
    this.#wake();
    return this.modelIds.size > before;
  }

  /** Return whether no model is left. Otherwise the stream may go on: events of other models are dropped. */
  remove(modelIds: readonly number[]): boolean {
    for (const modelId of modelIds) {
      this.modelIds.delete(modelId);
      this.#pictures.delete(modelId);
      this.#loadedAt.delete(modelId);
    }
    return this.modelIds.size === 0;
  }

  async wanted(signal: AbortSignal): Promise<void> {
    while (this.modelIds.size === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** Load the models that are new. The stream starts before that, so that it has every event after it. */
  async prepare(position: Cursor | undefined, signal: AbortSignal): Promise<Cursor> {
    const start = position ?? (this.#begin ??= await this.#api.cursor({ signal }));
    await this.#load([...this.modelIds].filter((modelId) => !this.#loadedAt.has(modelId)), signal);
    return start;
  }

  /** Load all models, because events are missing. */
  reload(signal: AbortSignal): Promise<void> {
    return this.#load([...this.modelIds], signal);
  }

  /** Tell an event, unless the model was loaded after it. */
  hear({ modelId, status, thumbnailUrl, errorMessage, timestamp }: Notification, cursor: Cursor): unknown {
    if (!this.modelIds.has(modelId) || !isLater(cursor, this.#loadedAt.get(modelId))) return undefined;
    if (thumbnailUrl !== null) this.#pictures.set(modelId, pictureAddress(this.#gateway, thumbnailUrl, timestamp));
    return this.#show(modelId, status, errorMessage);
  }

  async #load(modelIds: readonly number[], signal: AbortSignal): Promise<void> {
    for (const thumbnail of await this.#api.thumbnails(modelIds, { signal })) {
      const { modelId, status, fileUrl, errorMessage, processedAt, cursor } = thumbnail;
      if (!this.modelIds.has(modelId)) continue; // removed meanwhile
      if (fileUrl === null) this.#pictures.delete(modelId);
      else this.#pictures.set(modelId, pictureAddress(this.#gateway, fileUrl, processedAt));
      this.#loadedAt.set(modelId, cursor);
      await this.#show(modelId, status, errorMessage);
    }
  }

  #show(modelId: number, status: ThumbnailStatus, errorMessage: string | null): Promise<void> {
    const pictureUrl = this.#pictures.get(modelId);
    return runCallback(() => this.#onThumbnail({ modelId, status, pictureUrl, errorMessage: errorMessage ?? undefined }));
  }
}

/** Return whether an event is newer than the loaded state. An event of another log counts as newer. */
function isLater(cursor: Cursor, loaded: Cursor | undefined): boolean {
  const [epoch, seq] = cursor.split("-");
  const [loadedEpoch, loadedSeq] = loaded?.split("-") ?? [];
  return epoch !== loadedEpoch || Number(seq) > Number(loadedSeq);
}
