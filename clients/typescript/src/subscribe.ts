import { gatewayAddress } from "./addresses.js";
import { Listener } from "./listener.js";
import { Credentials } from "./network/credentials.js";
import type { SubscribeOptions, Subscription, WatchQueueOptions } from "./subscription.js";
import type { Cursor } from "./types.js";

/** Delivers each change of a thumbnail at least once and in order, through every interruption of the network. */
export function subscribe(options: SubscribeOptions): Subscription {
  const gateway = gatewayAddress(options.url);
  const start = (): Promise<Cursor> => Promise.resolve(options.after ?? "latest");
  return new Listener(gateway, new Credentials(gateway, options), options, start);
}

/** Report the counters of the whole queue and nothing of any model, which costs a busy queue next to nothing. */
export function watchQueue(options: WatchQueueOptions): Subscription {
  const gateway = gatewayAddress(options.url);
  return new Listener(gateway, new Credentials(gateway, options), options, () => Promise.resolve("latest"));
}
