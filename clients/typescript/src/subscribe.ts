import { gatewayAddress } from "./addresses.js";
import { Listener } from "./listener.js";
import type { SubscribeOptions, Subscription } from "./subscription.js";

/** Delivers each change of a thumbnail at least once and in order, through every interruption of the network. */
export function subscribe(options: SubscribeOptions): Subscription {
  return new Listener(gatewayAddress(options.url), options, () => Promise.resolve(options.after ?? "latest"));
}
