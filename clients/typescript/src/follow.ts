import { gatewayAddress, pictureAddress } from "./addresses.js";
import { Thumbq } from "./api.js";
import { runCallback } from "./callback.js";
import { Listener } from "./listener.js";
import type { ConnectionOptions, Subscription } from "./subscription.js";
import type { Cursor, ThumbnailStatus } from "./types.js";

const concurrency = 5; // models that are loaded in parallel; browsers open six connections to one host

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
  /** Without any, nothing is followed, and no connection is made. */
  modelIds: Iterable<number>;
  /** Called with the present state of each model first, then after each change. */
  onThumbnail: (thumbnail: ModelThumbnail) => unknown;
}

/** Report the state of models and each change: load, subscribe, and reload when events are missing. */
export function follow(options: FollowOptions): Subscription {
  const gateway = gatewayAddress(options.url);
  const modelIds = [...new Set(options.modelIds)];
  if (modelIds.length === 0) return followNothing();
  const api = new Thumbq({ url: gateway });
  const pictures = new Map<number, string>();
  const loadedAt = new Map<number, Cursor>();

  function show(modelId: number, status: ThumbnailStatus, errorMessage: string | null): Promise<void> {
    const pictureUrl = pictures.get(modelId);
    return runCallback(() => options.onThumbnail({ modelId, status, pictureUrl, errorMessage: errorMessage ?? undefined }));
  }

  async function load(modelId: number, signal: AbortSignal): Promise<void> {
    const { status, fileUrl, errorMessage, processedAt, cursor } = await api.thumbnail(modelId, { signal });
    if (fileUrl === null) pictures.delete(modelId);
    else pictures.set(modelId, pictureAddress(gateway, fileUrl, processedAt));
    loadedAt.set(modelId, cursor);
    await show(modelId, status, errorMessage);
  }

  async function loadAll(signal: AbortSignal): Promise<void> {
    const waiting = modelIds.values();
    const lane = async (): Promise<void> => {
      for (const modelId of waiting) await load(modelId, signal);
    };
    const lanes = await Promise.allSettled(Array.from({ length: concurrency }, lane));
    const failed = lanes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  }

  return new Listener(
    gateway,
    {
      ...options,
      modelIds,
      onThumbnail({ modelId, status, thumbnailUrl, errorMessage, timestamp }, cursor) {
        if (!isLater(cursor, loadedAt.get(modelId))) return undefined;
        if (thumbnailUrl !== null) pictures.set(modelId, pictureAddress(gateway, thumbnailUrl, timestamp));
        return show(modelId, status, errorMessage);
      },
      onReset: (_reset, signal) => loadAll(signal),
    },
    async (signal) => {
      const cursor = await api.cursor({ signal });
      await loadAll(signal);
      return cursor;
    },
  );
}

function followNothing(): Subscription {
  let close!: () => void;
  const closed = new Promise<void>((resolve) => (close = resolve));
  return { close, cursor: undefined, closed };
}

/** Return whether an event is newer than the loaded state. An event of another log counts as newer. */
function isLater(cursor: Cursor, loaded: Cursor | undefined): boolean {
  const [epoch, seq] = cursor.split("-");
  const [loadedEpoch, loadedSeq] = loaded?.split("-") ?? [];
  return epoch !== loadedEpoch || Number(seq) > Number(loadedSeq);
}
