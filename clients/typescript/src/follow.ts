import { gatewayAddress } from "./addresses.js";
import { Follower } from "./follower.js";
import { Listener } from "./listener.js";
import type { ConnectionOptions, Subscription } from "./subscription.js";
import type { ThumbnailStatus } from "./types.js";

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
  /** The models to begin with; default: none. While there are none, there is no connection. */
  modelIds?: Iterable<number>;
  /** Called with the present state of each model first, then after each change. */
  onThumbnail: (thumbnail: ModelThumbnail) => unknown;
}

/** Models that are followed. */
export interface Following extends Subscription {
  /** Follow more models. `onThumbnail` is called with their present state; the others miss nothing meanwhile. */
  add(...modelIds: number[]): void;
  /** Follow these models no longer. */
  remove(...modelIds: number[]): void;
}

/** Report the state of models and each change: load, subscribe, and reload when events are missing. */
export function follow(options: FollowOptions): Following {
  const gateway = gatewayAddress(options.url);
  const follower = new Follower(gateway, options);
  const listener = new Listener(
    gateway,
    {
      ...options,
      modelIds: [],
      onThumbnail: (notification, cursor) => follower.hear(notification, cursor),
      onReset: (_reset, signal) => follower.reload(signal),
    },
    follower,
  );
  return {
    add: (...modelIds) => follower.add(modelIds) && listener.refresh(),
    remove: (...modelIds) => follower.remove(modelIds) && listener.refresh(),
    close: () => listener.close(),
    closed: listener.closed,
    get cursor() {
      return listener.cursor;
    },
  };
}
